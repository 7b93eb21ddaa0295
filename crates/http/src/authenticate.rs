//! Who sends a request (API-2.1 to 2.6): a bearer token, a key with its secret, or a session cookie. The
//! first that is present decides; a wrong one ends the request.

use crate::error::{Handled, Refusal};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use millpond_service::{Error, Kind, Principal, Service};

/// Name of the session cookie; its value is a session token.
pub const COOKIE: &str = "internal_auth_session";

/// The credentials of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    Nobody,
    /// A session token.
    Token(String),
    /// An access key id and its secret.
    Key(String, String),
    /// Present, but not even readable.
    Unreadable,
}

/// Finds the principal; `None` for a request without credentials.
pub async fn principal(service: &Service, headers: &HeaderMap) -> Handled<Option<Principal>> {
    let checked = match credentials(headers) {
        Credentials::Nobody => return Ok(None),
        Credentials::Unreadable => return Err(Refusal::unauthenticated()),
        Credentials::Token(token) => service.authenticate_token(&token).await,
        Credentials::Key(id, secret) => service.authenticate_key(&id, &secret).await,
    };
    checked.map(Some).map_err(refusal)
}

/// Only a failure of our own shows through; everything else is one and the same refusal.
pub fn refusal(error: Error) -> Refusal {
    match error.kind {
        Kind::Busy | Kind::Internal => error.into(),
        _ => Refusal::unauthenticated(),
    }
}

fn credentials(headers: &HeaderMap) -> Credentials {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let Ok(text) = value.to_str() else { return Credentials::Unreadable };
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            return Credentials::Token(rest.trim().to_owned());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(rest.trim()).unwrap_or(Credentials::Unreadable);
        }
    }
    for value in headers.get_all(header::COOKIE) {
        let pairs = value.to_str().unwrap_or_default().split(';');
        let session = pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
        // What is no token at all counts as absent (API-2.3).
        if let Some((_, token)) = session.filter(|(_, token)| token.split('.').count() == 3) {
            return Credentials::Token(token.to_owned());
        }
    }
    Credentials::Nobody
}

fn basic(encoded: &str) -> Option<Credentials> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some(Credentials::Key(id.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Credentials {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        credentials(&headers)
    }

    #[test]
    fn the_first_credentials_present_decide() {
        let cookie = ("cookie", "a=b; internal_auth_session=x.y.z");
        assert_eq!(of(&[]), Credentials::Nobody);
        assert_eq!(of(&[("authorization", "Bearer t.o.k"), cookie]), Credentials::Token("t.o.k".into()));
        // `key:se:cret`
        let key = Credentials::Key("key".into(), "se:cret".into());
        assert_eq!(of(&[("authorization", "basic a2V5OnNlOmNyZXQ="), cookie]), key);
        assert_eq!(of(&[("authorization", "Basic ***"), cookie]), Credentials::Unreadable);
        assert_eq!(of(&[cookie]), Credentials::Token("x.y.z".into()));
        assert_eq!(of(&[("authorization", "Digest x"), cookie]), Credentials::Token("x.y.z".into()));
        assert_eq!(of(&[("cookie", "internal_auth_session=")]), Credentials::Nobody);
        assert_eq!(of(&[("cookie", "internal_auth_session=garbage")]), Credentials::Nobody);
    }
}
