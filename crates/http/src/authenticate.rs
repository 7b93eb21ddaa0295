//! Who sends a request (API-2.1 to 2.6): a bearer token, a key with its secret, or a session cookie. The
//! first that is present decides; a wrong one ends the request.
//!
//! A browser sends the cookie along with whatever any page makes it send. So where the cookie decides, a request
//! that may change something must come from a page of this server.

use crate::error::{Handled, Refusal};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use millpond_service::{Error, Kind, Principal, Service};

/// Name of the session cookie; its value is the token of a session.
pub const COOKIE: &str = "internal_auth_session";

/// The credentials of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    Nobody,
    /// A signed token.
    Token(String),
    /// The token of a session, in a cookie.
    Session(String),
    /// An access key id and its secret.
    Key(String, String),
    /// Present, but not even readable.
    Unreadable,
}

/// Finds the principal; `None` for a request without credentials.
pub async fn principal(service: &Service, head: &Parts) -> Handled<Option<Principal>> {
    let checked = match credentials(&head.headers) {
        Credentials::Nobody => return Ok(None),
        Credentials::Unreadable => return Err(Refusal::unauthenticated()),
        Credentials::Token(token) => service.authenticate_token(&token).await,
        Credentials::Session(token) => {
            if !matches!(head.method, Method::GET | Method::HEAD) {
                require_own_page(&head.headers, &head.uri)?;
            }
            service.authenticate_session(&token).await
        }
        Credentials::Key(id, secret) => service.authenticate_key(&id, &secret).await,
    };
    checked.map(Some).map_err(refusal)
}

/// The access key that a request says it comes with; empty: none.
pub fn claimed(headers: &HeaderMap) -> String {
    match credentials(headers) {
        Credentials::Key(id, _) => id,
        _ => String::new(),
    }
}

/// Only a failure of our own shows through; everything else is one and the same refusal.
pub fn refusal(error: Error) -> Refusal {
    match error.kind {
        Kind::Busy | Kind::Internal => error.into(),
        _ => Refusal::unauthenticated(),
    }
}

/// Refuses what a page of somebody else made a browser send. Browsers say where a request comes from; other clients
/// say nothing, and nobody makes them send anything.
pub fn require_own_page(headers: &HeaderMap, uri: &Uri) -> Handled<()> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let own = match (text(HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, None) => true,
        (None, Some(origin)) => {
            let host = text(header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
            let origin = origin.parse::<Uri>().ok();
            let of_page = origin.as_ref().and_then(Uri::authority).map(|authority| authority.as_str());
            of_page.is_some() && of_page == host
        }
    };
    if own {
        return Ok(());
    }
    let mut refusal = Refusal::invalid("a page of another site made the browser send this; it is not done");
    refusal.code = "other-site";
    Err(refusal.with_status(StatusCode::FORBIDDEN))
}

/// The credentials of a request.
pub fn credentials(headers: &HeaderMap) -> Credentials {
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
    // What cannot be one of ours counts as absent (API-2.3).
    let session = cookie(headers, COOKIE).filter(|token| is_token(token, "mps_"));
    session.map_or(Credentials::Nobody, |token| Credentials::Session(token.to_owned()))
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = all.flat_map(|value| value.to_str().unwrap_or_default().split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Whether it looks like a token of sessions (`mps_`) or links (`mpl_`).
pub fn is_token(text: &str, kind: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.strip_prefix(kind).is_some_and(|rest| rest.len() == 43 && rest.bytes().all(is_plain))
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
        let session = format!("mps_{}", "a-_Z1".repeat(9).split_at(43).0);
        let text = format!("a=b; internal_auth_session={session}");
        let cookie = ("cookie", &*text);
        assert_eq!(of(&[]), Credentials::Nobody);
        assert_eq!(of(&[("authorization", "Bearer t.o.k"), cookie]), Credentials::Token("t.o.k".into()));
        // `key:se:cret`
        let key = Credentials::Key("key".into(), "se:cret".into());
        assert_eq!(of(&[("authorization", "basic a2V5OnNlOmNyZXQ="), cookie]), key);
        assert_eq!(of(&[("authorization", "Basic ***"), cookie]), Credentials::Unreadable);
        assert_eq!(of(&[cookie]), Credentials::Session(session.clone()));
        assert_eq!(of(&[("authorization", "Digest x"), cookie]), Credentials::Session(session));
        assert_eq!(of(&[("cookie", "internal_auth_session=")]), Credentials::Nobody);
        assert_eq!(of(&[("cookie", "internal_auth_session=garbage")]), Credentials::Nobody);
        assert_eq!(of(&[("cookie", "internal_auth_session=of.an.earlier-version")]), Credentials::Nobody);
    }

    #[test]
    fn only_own_pages_act_with_the_cookie() {
        let table: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://here:8000")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://proxy")], true),
            (&[("origin", "http://here:8000")], true),
            (&[("origin", "http://here:8001")], false),
            (&[("origin", "http://there:8000")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://here:8000.evil.org")], false),
        ];
        for (headers, own) in table {
            let mut request = http::Request::post("/api/v1/repositories").header("host", "here:8000");
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(require_own_page(&head.headers, &head.uri).is_ok(), *own, "{headers:?}");
        }
    }
}
