//! The settings of sign-in through an OIDC provider.

use anyhow::{Context, Result, ensure};
use millpond_oidc::{ClientSecret, Settings};

/// A provider, and what becomes of people whom nobody knows yet.
pub struct Oidc {
    /// What the relying party needs.
    pub settings: Settings,
    /// Whether they become users.
    pub create_users: bool,
}

impl Oidc {
    /// `text` gives a setting that is set, `list` its items. `None`: no provider is set.
    ///
    /// # Errors
    /// Something is missing, or not as it must be.
    pub fn build<'a>(
        text: &dyn Fn(&str) -> Option<&'a str>,
        list: &dyn Fn(&str) -> Vec<&'a str>,
    ) -> Result<Option<Self>> {
        let Some(issuer) = text("auth.oidc.issuer") else {
            for name in
                ["client_id", "client_secret", "groups_claim", "groups", "default_groups", "required_claims"]
            {
                let name = format!("auth.oidc.{name}");
                ensure!(
                    text(&name).is_none(),
                    "{name} is set but auth.oidc.issuer is not: name the provider"
                );
            }
            return Ok(None);
        };
        let external_url = text("external_url").context(
            "auth.oidc.issuer is set but external_url is not: the provider must know where to send browsers back to",
        )?;
        ensure!(
            text("tls.cert").is_none() || external_url.starts_with("https://"),
            "external_url is '{external_url}', but with tls.cert cookies are for https only: begin it with https://"
        );
        let redirect_url =
            format!("{}{}", external_url.trim_end_matches('/'), millpond_http::OIDC_CALLBACK_PATH);
        let owned = |name: &str| list(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let settings = Settings {
            issuer: issuer.to_owned(),
            client_id: text("auth.oidc.client_id").context("auth.oidc.client_id is not set")?.to_owned(),
            client_secret: text("auth.oidc.client_secret").map(ClientSecret::new),
            scopes: owned("auth.oidc.scopes"),
            redirect_url,
            username_claim: text("auth.oidc.username_claim").unwrap_or("sub").to_owned(),
            groups_claim: text("auth.oidc.groups_claim").map(str::to_owned),
            groups: pairs("auth.oidc.groups", &list("auth.oidc.groups"))?,
            default_groups: owned("auth.oidc.default_groups"),
            required_claims: pairs("auth.oidc.required_claims", &list("auth.oidc.required_claims"))?,
        };
        ensure!(
            settings.groups.is_empty() || settings.groups_claim.is_some(),
            "auth.oidc.groups is set but auth.oidc.groups_claim is not: name the claim that holds the groups"
        );
        let create_users = match text("auth.oidc.create_users") {
            Some("true") | None => true,
            Some("false") => false,
            Some(other) => anyhow::bail!("auth.oidc.create_users is '{other}', but must be true or false"),
        };
        Ok(Some(Self { settings, create_users }))
    }
}

fn pairs(name: &str, items: &[&str]) -> Result<Vec<(String, String)>> {
    let pair = |item: &&str| {
        let (left, right) = item.split_once('=')?;
        let (left, right) = (left.trim(), right.trim());
        (!left.is_empty() && !right.is_empty()).then(|| (left.to_owned(), right.to_owned()))
    };
    let all: Option<Vec<_>> = items.iter().map(pair).collect();
    all.with_context(|| format!("{name} must be a list of pairs NAME=VALUE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(pairs: &[(&str, &'static str)]) -> Result<Option<Oidc>> {
        let text = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
        let list = |name: &str| text(name).map(|text| text.split(',').collect()).unwrap_or_default();
        Oidc::build(&text, &list)
    }

    const GOOD: &[(&str, &str)] = &[
        ("auth.oidc.issuer", "https://id.example"),
        ("auth.oidc.client_id", "millpond"),
        ("external_url", "https://here.example/"),
    ];

    #[test]
    fn a_provider_with_what_it_needs() {
        assert!(build(&[]).expect("none").is_none());
        let more = [("auth.oidc.groups_claim", "groups"), ("auth.oidc.groups", "ops = Admins,a=b=c")];
        let oidc = build(&[GOOD, &more].concat()).expect("right").expect("set");
        assert_eq!(oidc.settings.redirect_url, "https://here.example/api/v1/oidc/callback");
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(oidc.settings.groups, [pair("ops", "Admins"), pair("a", "b=c")]);
        assert!(oidc.create_users);
        let closed =
            build(&[GOOD, &[("auth.oidc.create_users", "false")]].concat()).expect("right").expect("set");
        assert!(!closed.create_users);
    }

    #[test]
    fn what_is_missing_is_named() {
        let without = |name: &str| GOOD.iter().copied().filter(|(n, _)| *n != name).collect::<Vec<_>>();
        let with = |name: &'static str, text: &'static str| [GOOD, &[(name, text)]].concat();
        for (pairs, part) in [
            (without("auth.oidc.issuer"), "auth.oidc.issuer"),
            (without("auth.oidc.client_id"), "auth.oidc.client_id"),
            (without("external_url"), "external_url"),
            (with("auth.oidc.groups", "ops=Admins"), "groups_claim"),
            (with("auth.oidc.required_claims", "hd"), "NAME=VALUE"),
            (with("auth.oidc.required_claims", "=x"), "NAME=VALUE"),
            (with("auth.oidc.create_users", "yes"), "true or false"),
            (
                [&[("external_url", "http://127.0.0.1"), ("tls.cert", "c")], GOOD].concat(),
                "begin it with https://",
            ),
        ] {
            let error = build(&pairs).err().expect("refused").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
