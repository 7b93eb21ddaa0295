//! What this server was told about its provider.

use crate::error::{Error, Result};
use reqwest::Url;
use std::fmt;

/// Longest issuer: with a `sub` behind it, it is the id of a principal.
const ISSUER_BYTES_MAX: usize = 255;

/// What proves to the provider that this server is its client.
#[derive(Clone)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// What to ask whom, and which claims mean what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As the provider spells it, to the byte.
    pub issuer: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// `None` for a public client.
    pub client_secret: Option<ClientSecret>,
    /// What is asked for; `openid` is added where it is missing.
    pub scopes: Vec<String>,
    /// Where the provider sends browsers back to, as it is registered there.
    pub redirect_url: String,
    /// The claim that names new users.
    pub username_claim: String,
    /// The claim with the groups; `None`: the provider gives none.
    pub groups_claim: Option<String>,
    /// Names of groups at the provider and here; empty: they are the same.
    pub groups: Vec<(String, String)>,
    /// Groups of everybody who signs in.
    pub default_groups: Vec<String>,
    /// Claims and the values that they must have.
    pub required_claims: Vec<(String, String)>,
}

#[cfg(test)]
impl Settings {
    /// What is right of a provider, and no more than has to be there.
    pub(crate) fn plain() -> Self {
        Self {
            issuer: "https://id".into(),
            client_id: "us".into(),
            client_secret: None,
            scopes: vec![],
            redirect_url: "https://here/back".into(),
            username_claim: "sub".into(),
            groups_claim: None,
            groups: vec![],
            default_groups: vec![],
            required_claims: vec![],
        }
    }
}

impl Settings {
    /// # Errors
    /// [`Error::Settings`] says which is wrong, and the rule.
    pub(crate) fn check(&self) -> Result<()> {
        let url = address(&self.issuer).map_err(|rule| wrong("issuer", &self.issuer, rule))?;
        if url.query().is_some() || url.fragment().is_some() || self.issuer.len() > ISSUER_BYTES_MAX {
            return Err(wrong("issuer", &self.issuer, "has a query, a fragment, or more than 255 bytes"));
        }
        address(&self.redirect_url)
            .map_err(|rule| wrong("address of this server", &self.redirect_url, rule))?;
        let needed = [("client id", &self.client_id), ("claim of the user's name", &self.username_claim)];
        match needed.iter().find(|(_, text)| text.is_empty()) {
            Some((what, text)) => Err(wrong(what, text, "is empty")),
            None => Ok(()),
        }
    }
}

fn wrong(what: &str, text: &str, rule: &str) -> Error {
    Error::Settings(format!("the {what} '{text}' {rule}"))
}

/// An address that secrets may be sent to: https, or on this machine's loopback.
///
/// # Errors
/// The rule that it breaks.
pub fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is no address like https://sign-in.example.org")?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        _ if has_user => Err("holds a user name"),
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err("must begin with https://; http:// is for the loopback of this machine"),
    }
}

/// Whether it is on this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_https_or_loopback_only() {
        for right in ["https://a.example/x", "http://127.0.0.1:9", "http://localhost/", "http://[::1]:80/x"] {
            assert!(address(right).is_ok(), "{right}");
        }
        for wrong in [
            "a.example",
            "http://a.example",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "https://user@a.example",
            "https://user:pass@a.example",
            "",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", ClientSecret::new("hush")), "ClientSecret(..)");
    }
}
