//! The provider's own description (OpenID Connect Discovery 1.0).

use crate::encode::form;
use crate::error::{Error, Result, visible};
use crate::settings::address;
use reqwest::Url;
use serde::Deserialize;

/// What is needed of it.
#[derive(Debug)]
pub struct Provider {
    /// Where browsers go.
    authorization: Url,
    /// Where codes are traded.
    pub token: Url,
    /// Where the keys are.
    pub keys: Url,
    /// Where more is said about a person.
    pub userinfo: Option<Url>,
    /// Whether the secret goes into the form and not into a header.
    pub secret_in_form: bool,
    /// Whether its answers name it (RFC 9207).
    pub names_itself: bool,
}

/// The same as it is written.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Where the description of an issuer is.
pub fn description(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

impl Provider {
    /// Reads a description.
    ///
    /// # Errors
    /// [`Error::Misfit`]: of another issuer, with addresses that secrets must not go to, or without what is needed.
    pub fn parse(json: &[u8], issuer: &str) -> Result<Self> {
        let misfit = |text: String| Error::Misfit(format!("its description {text}"));
        let found: Document =
            serde_json::from_slice(json).map_err(|error| misfit(format!("is incomplete: {error}")))?;
        if found.issuer != issuer {
            let text = format!("is of the issuer '{}', not of '{issuer}'", visible(&found.issuer));
            return Err(misfit(text));
        }
        let place = |what: &str, text: &str| {
            address(text)
                .map_err(|rule| misfit(format!("says that the {what} is '{}', which {rule}", visible(text))))
        };
        if found
            .code_challenge_methods_supported
            .is_some_and(|all| !all.iter().any(|method| method == "S256"))
        {
            return Err(misfit("offers no PKCE with S256".into()));
        }
        let basic = |all: &Vec<String>| all.iter().any(|method| method == "client_secret_basic");
        Ok(Self {
            authorization: place("authorization_endpoint", &found.authorization_endpoint)?,
            token: place("token_endpoint", &found.token_endpoint)?,
            keys: place("jwks_uri", &found.jwks_uri)?,
            userinfo: found.userinfo_endpoint.map(|text| place("userinfo_endpoint", &text)).transpose()?,
            secret_in_form: found.token_endpoint_auth_methods_supported.is_some_and(|all| !basic(&all)),
            names_itself: found.authorization_response_iss_parameter_supported,
        })
    }

    /// Where to send a browser.
    pub fn authorization(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = self.authorization.clone();
        let query = [url.query().unwrap_or_default(), &form(parameters)].join("&");
        url.set_query(Some(query.trim_start_matches('&')));
        url.set_fragment(None);
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ISSUER: &str = "https://id.example/tenant";

    fn document() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example/auth?tenant=7#x",
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://keys.example/keys",
        })
    }

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Provider> {
        let mut document = document();
        change(&mut document);
        Provider::parse(document.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn what_is_needed_is_read() {
        let provider = parse(|_| {}).unwrap();
        assert!(!provider.secret_in_form && !provider.names_itself && provider.userinfo.is_none());
        let url = provider.authorization(&[("state", "a&b")]);
        assert_eq!(url, "https://id.example/auth?tenant=7&state=a%26b");
        assert!(
            parse(|d| d["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]))
                .unwrap()
                .secret_in_form
        );
        let both = json!(["client_secret_post", "client_secret_basic"]);
        assert!(!parse(|d| d["token_endpoint_auth_methods_supported"] = both).unwrap().secret_in_form);
        assert!(parse(|d| d["code_challenge_methods_supported"] = json!(["plain", "S256"])).is_ok());
        assert_eq!(description(ISSUER), "https://id.example/tenant/.well-known/openid-configuration");
        assert_eq!(description("https://id.example/"), "https://id.example/.well-known/openid-configuration");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let table: &[(&str, Value, &str)] = &[
            ("issuer", json!("https://id.example/tenant/"), "of the issuer"),
            ("issuer", json!("https://evil.example\n"), "evil.example?"),
            ("token_endpoint", json!("http://id.example/token"), "token_endpoint"),
            ("jwks_uri", json!("file:///keys"), "jwks_uri"),
            ("jwks_uri", Value::Null, "incomplete"),
            ("userinfo_endpoint", json!("http://169.254.169.254/"), "userinfo_endpoint"),
            ("code_challenge_methods_supported", json!(["plain"]), "PKCE"),
        ];
        for (name, value, part) in table {
            let error = parse(|d| d[*name] = value.clone()).unwrap_err();
            assert!(matches!(error, Error::Misfit(_)) && error.to_string().contains(part), "{error}");
        }
        assert!(Provider::parse(b"<html>", ISSUER).is_err());
    }
}
