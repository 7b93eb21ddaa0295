//! Checking an ID token: each way of being wrong has a name and a test.

use crate::encode::{base64url, from_base64url, sha256, sha512};
use crate::keys::{ALGORITHMS, Keys};
use aws_lc_rs::constant_time;
use jsonwebtoken::Algorithm;
use millpond_types::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What somebody says about somebody.
pub type Claims = Map<String, Value>;

/// How far the provider's clock may be from ours.
const GRACE_SECONDS: f64 = 60.0;

/// Longest `sub` (OpenID Connect Core, 2), in bytes.
const SUBJECT_BYTES_MAX: usize = 255;

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each is said in its message")]
pub enum Fault {
    #[error("it is no signed token")]
    Malformed,
    #[error("it is signed with an algorithm that is not allowed")]
    Algorithm,
    #[error("its header names a type that is not that of ID tokens")]
    Type,
    #[error("its header holds extensions that must be understood")]
    Critical,
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it was issued by somebody else")]
    Issuer,
    #[error("it does not say whom it is about")]
    Subject,
    #[error("it is for another client")]
    Audience,
    #[error("it was issued to another client")]
    AuthorizedParty,
    #[error("it lacks its times")]
    Times,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it was issued in the future; compare the clocks")]
    FromTheFuture,
    #[error("it belongs to another attempt to sign in")]
    Nonce,
    #[error("it came with an access token that is not its own")]
    AccessToken,
}

/// What a token must fit.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    /// What came beside it, if anything.
    pub access_token: Option<&'a str>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// What a token says, if it is signed by one of these keys and fits (OpenID Connect Core, 3.1.3.7).
///
/// # Errors
/// The first [`Fault`] found.
pub fn verify(token: &str, keys: &Keys, expected: &Expected<'_>, now: Timestamp) -> Result<Claims, Fault> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed);
    };
    let header = from_base64url(header).ok_or(Fault::Malformed)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| Fault::Malformed)?;
    let found = ALGORITHMS.iter().find(|(name, _)| *name == header.alg);
    let (name, algorithm) = *found.ok_or(Fault::Algorithm)?;
    if header.typ.is_some_and(|kind| !kind.eq_ignore_ascii_case("JWT")) {
        return Err(Fault::Type);
    }
    if header.crit.is_some() {
        return Err(Fault::Critical);
    }
    let key = keys.find(header.kid.as_deref(), name, algorithm).ok_or(Fault::UnknownKey)?;
    let signed = &token.as_bytes()[..token.len() - signature.len() - 1];
    let is_right = jsonwebtoken::crypto::verify(signature, signed, key, algorithm);
    if !is_right.map_err(|_| Fault::Signature)? {
        return Err(Fault::Signature);
    }
    let payload = from_base64url(payload).ok_or(Fault::Malformed)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Fault::Malformed)?;
    check(&claims, algorithm, expected, now)?;
    Ok(claims)
}

fn check(
    claims: &Claims,
    algorithm: Algorithm,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<(), Fault> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(Fault::Issuer);
    }
    subject(claims).ok_or(Fault::Subject)?;
    let audience: Vec<Option<&str>> = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect(),
        one => vec![one.and_then(Value::as_str)],
    };
    if !audience.contains(&Some(expected.client_id)) {
        return Err(Fault::Audience);
    }
    match claims.get("azp") {
        None if audience.len() == 1 => {}
        Some(party) if party == expected.client_id => {}
        _ => return Err(Fault::AuthorizedParty),
    }
    let now = now.seconds() as f64;
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or(Fault::Times)).transpose();
    if now >= time("exp")?.ok_or(Fault::Times)? + GRACE_SECONDS {
        return Err(Fault::Expired);
    }
    if time("nbf")?.is_some_and(|start| now < start - GRACE_SECONDS) {
        return Err(Fault::NotYet);
    }
    if now < time("iat")?.ok_or(Fault::Times)? - GRACE_SECONDS {
        return Err(Fault::FromTheFuture);
    }
    let nonce = text("nonce").unwrap_or_default();
    if constant_time::verify_slices_are_equal(nonce.as_bytes(), expected.nonce.as_bytes()).is_err() {
        return Err(Fault::Nonce);
    }
    if let (Some(hash), Some(access_token)) = (claims.get("at_hash"), expected.access_token) {
        let full = match algorithm {
            // Ed25519 hashes with SHA-512 inside.
            Algorithm::EdDSA => sha512(access_token.as_bytes()),
            _ => sha256(access_token.as_bytes()),
        };
        if *hash != base64url(&full[..full.len() / 2]) {
            return Err(Fault::AccessToken);
        }
    }
    Ok(())
}

/// Whom claims are about.
pub fn subject(claims: &Claims) -> Option<&str> {
    let subject = claims.get("sub")?.as_str()?;
    let is_plain = subject.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    ((1..=SUBJECT_BYTES_MAX).contains(&subject.len()) && is_plain).then_some(subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{Signer, unsigned};
    use aws_lc_rs::hmac;
    use serde_json::json;

    const NOW: i64 = 1_790_000_000;

    fn claims() -> Value {
        json!({
            "iss": "https://id", "sub": "eve", "aud": "us", "nonce": "n", "iat": NOW - 1, "exp": NOW + 300,
        })
    }

    fn keys(all: &[Value]) -> Keys {
        Keys::parse(json!({ "keys": all }).to_string().as_bytes()).unwrap()
    }

    fn check(token: &str, keys: &Keys) -> Result<Claims, Fault> {
        let expected =
            Expected { issuer: "https://id", client_id: "us", nonce: "n", access_token: Some("access") };
        verify(token, keys, &expected, Timestamp::from_seconds(NOW))
    }

    #[test]
    fn tokens_of_each_allowed_algorithm_are_accepted() {
        let (rsa, p256, ed) = (Signer::rsa(), Signer::p256(), Signer::ed25519());
        let keys = keys(&[rsa.jwk("r"), p256.jwk("e"), ed.jwk("d")]);
        for (alg, kid, signer) in
            [("RS256", "r", &rsa), ("PS256", "r", &rsa), ("ES256", "e", &p256), ("EdDSA", "d", &ed)]
        {
            for header in [json!({"alg": alg, "kid": kid, "typ": "JWT"}), json!({"alg": alg})] {
                let claims = check(&signer.sign(&header, &claims()), &keys).unwrap();
                assert_eq!(subject(&claims), Some("eve"), "{alg}");
            }
        }
    }

    /// One change each of a token that would be accepted.
    #[test]
    fn each_bad_claim_is_refused_by_its_name() {
        let signer = Signer::p256();
        let keys = keys(&[signer.jwk("k")]);
        let far: i64 = 100_000_000_000;
        let table: &[(&str, Value, Option<Fault>)] = &[
            ("iss", json!("https://id/"), Some(Fault::Issuer)),
            ("iss", json!("http://id"), Some(Fault::Issuer)),
            ("iss", Value::Null, Some(Fault::Issuer)),
            ("sub", json!(""), Some(Fault::Subject)),
            ("sub", json!(7), Some(Fault::Subject)),
            ("sub", json!("e\nve"), Some(Fault::Subject)),
            ("sub", json!("x".repeat(256)), Some(Fault::Subject)),
            ("sub", json!("x".repeat(255)), None),
            ("aud", json!("them"), Some(Fault::Audience)),
            ("aud", json!("US"), Some(Fault::Audience)),
            ("aud", json!([]), Some(Fault::Audience)),
            ("aud", Value::Null, Some(Fault::Audience)),
            ("aud", json!({"us": true}), Some(Fault::Audience)),
            ("aud", json!(["us"]), None),
            ("aud", json!(["them", "us"]), Some(Fault::AuthorizedParty)),
            ("azp", json!("them"), Some(Fault::AuthorizedParty)),
            ("azp", json!(["us"]), Some(Fault::AuthorizedParty)),
            ("azp", json!("us"), None),
            ("exp", json!(NOW - 60), Some(Fault::Expired)),
            ("exp", json!(NOW - 59), None),
            ("exp", json!(f64::from(2_000_000_000) + 0.5), None),
            ("exp", json!("2099"), Some(Fault::Times)),
            ("exp", Value::Null, Some(Fault::Times)),
            ("nbf", json!(NOW + 61), Some(Fault::NotYet)),
            ("nbf", json!(NOW + 60), None),
            ("nbf", json!("now"), Some(Fault::Times)),
            ("iat", json!(NOW + 61), Some(Fault::FromTheFuture)),
            ("iat", json!(far), Some(Fault::FromTheFuture)),
            ("iat", json!(NOW + 60), None),
            ("iat", Value::Null, Some(Fault::Times)),
            ("nonce", json!("m"), Some(Fault::Nonce)),
            ("nonce", json!(""), Some(Fault::Nonce)),
            ("nonce", Value::Null, Some(Fault::Nonce)),
            ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA"), Some(Fault::AccessToken)),
            ("at_hash", json!(7), Some(Fault::AccessToken)),
            ("at_hash", json!(base64url(&sha256(b"access")[..16])), None),
            ("at_hash", json!(base64url(&sha256(b"access")[..15])), Some(Fault::AccessToken)),
        ];
        for (name, value, fault) in table {
            let mut changed = claims();
            changed[*name] = value.clone();
            if value.is_null() {
                changed.as_object_mut().unwrap().remove(*name);
            }
            let token = signer.sign(&json!({"alg": "ES256", "kid": "k"}), &changed);
            assert_eq!(check(&token, &keys).err(), *fault, "{name}: {value}");
        }
        let mut several = claims();
        several["aud"] = json!(["them", "us"]);
        several["azp"] = json!("us");
        assert!(check(&signer.sign(&json!({"alg": "ES256"}), &several), &keys).is_ok());
    }

    #[test]
    fn the_hash_of_the_access_token_follows_the_algorithm() {
        let signer = Signer::ed25519();
        let keys = keys(&[signer.jwk("k")]);
        let mut hashed = claims();
        for (hash, right) in
            [(base64url(&sha512(b"access")[..32]), true), (base64url(&sha256(b"access")[..16]), false)]
        {
            hashed["at_hash"] = json!(hash);
            assert_eq!(check(&signer.sign(&json!({"alg": "EdDSA"}), &hashed), &keys).is_ok(), right);
        }
    }

    #[test]
    fn bad_headers_and_signatures_are_refused_by_their_name() {
        let (signer, other, rsa) = (Signer::p256(), Signer::p256(), Signer::rsa());
        let mut for_encryption = other.jwk("enc");
        for_encryption["use"] = json!("enc");
        let mut for_pss = rsa.jwk("pss");
        for_pss["alg"] = json!("PS256");
        let keys = keys(&[
            signer.jwk("k"),
            for_encryption,
            for_pss,
            json!({"kty": "oct", "k": "AAAA", "kid": "o"}),
            json!(7),
        ]);
        let sign = |header: Value| signer.sign(&header, &claims());
        let good = sign(json!({"alg": "ES256", "kid": "k"}));
        assert!(check(&good, &keys).is_ok());
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = message.split_once('.').unwrap();
        let mut promoted = claims();
        promoted["sub"] = json!("admin");
        let promoted = unsigned(&json!({"alg": "ES256", "kid": "k"}), &promoted);
        let none = unsigned(&json!({"alg": "none"}), &claims());
        let confused = |key: &[u8]| {
            let message = unsigned(&json!({"alg": "HS256", "kid": "k"}), &claims());
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
            format!("{message}.{}", base64url(tag.as_ref()))
        };
        let table = [
            (String::new(), Fault::Malformed),
            ("a.b".to_owned(), Fault::Malformed),
            (format!("{good}.x"), Fault::Malformed),
            (format!("!{good}"), Fault::Malformed),
            (format!("{}.{payload}.{signature}", base64url(b"[]")), Fault::Malformed),
            (sign(json!({"kid": "k"})), Fault::Malformed),
            (format!("{none}."), Fault::Algorithm),
            (format!("{none}.{signature}"), Fault::Algorithm),
            (confused(&signer.public_der()), Fault::Algorithm),
            (confused(signer.jwk("k").to_string().as_bytes()), Fault::Algorithm),
            (sign(json!({"alg": "NONE"})), Fault::Algorithm),
            (sign(json!({"alg": "es256", "kid": "k"})), Fault::Algorithm),
            (sign(json!({"alg": "ES384", "kid": "k"})), Fault::Algorithm),
            (sign(json!({"alg": "RS512", "kid": "k"})), Fault::Algorithm),
            (sign(json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"})), Fault::Type),
            (sign(json!({"alg": "ES256", "kid": "k", "typ": "logout+jwt"})), Fault::Type),
            (sign(json!({"alg": "ES256", "kid": "k", "crit": ["exp"]})), Fault::Critical),
            (sign(json!({"alg": "ES256", "kid": "unknown"})), Fault::UnknownKey),
            // The key is there, but of another kind than the algorithm.
            (sign(json!({"alg": "RS256", "kid": "k"})), Fault::UnknownKey),
            (sign(json!({"alg": "EdDSA", "kid": "k"})), Fault::UnknownKey),
            (sign(json!({"alg": "ES256", "kid": "o"})), Fault::UnknownKey),
            (other.sign(&json!({"alg": "ES256", "kid": "enc"}), &claims()), Fault::UnknownKey),
            (rsa.sign(&json!({"alg": "RS256", "kid": "pss"}), &claims()), Fault::UnknownKey),
            (other.sign(&json!({"alg": "ES256", "kid": "k"}), &claims()), Fault::Signature),
            (format!("{promoted}.{signature}"), Fault::Signature),
            (format!("{header}.{payload}."), Fault::Signature),
            (format!("{header}.{payload}.AAAA"), Fault::Signature),
            (format!("{header}.{payload}.{signature}="), Fault::Signature),
        ];
        for (token, fault) in table {
            assert_eq!(check(&token, &keys).err(), Some(fault), "{token}");
        }
    }

    /// A key that a token brings along is nobody's.
    #[test]
    fn keys_in_the_header_are_not_looked_at() {
        let (ours, theirs) = (Signer::p256(), Signer::p256());
        let header = json!({"alg": "ES256", "jwk": theirs.jwk("k"), "jku": "https://evil/keys", "kid": "k"});
        assert_eq!(
            check(&theirs.sign(&header, &claims()), &keys(&[ours.jwk("k")])).err(),
            Some(Fault::Signature)
        );
    }

    #[test]
    fn a_token_without_a_key_id_must_mean_one_key() {
        let (one, two) = (Signer::p256(), Signer::p256());
        let token = one.sign(&json!({"alg": "ES256"}), &claims());
        assert!(check(&token, &keys(&[one.jwk("1")])).is_ok());
        assert_eq!(check(&token, &keys(&[one.jwk("1"), two.jwk("2")])).err(), Some(Fault::UnknownKey));
    }

    #[test]
    fn sets_without_a_usable_key_are_refused() {
        let mut curve = Signer::p256().jwk("k");
        curve["crv"] = json!("P-384");
        for set in [
            json!({"keys": []}),
            json!({"keys": [curve]}),
            json!({"keys": [{"kty": "oct", "k": "AAAA"}]}),
            json!([]),
        ] {
            assert!(Keys::parse(set.to_string().as_bytes()).is_err(), "{set}");
        }
    }

    #[test]
    fn fuzz_id_token() {
        let signer = Signer::p256();
        let keys = keys(&[signer.jwk("k")]);
        let token = signer.sign(&json!({"alg": "ES256", "kid": "k"}), &claims());
        let words = [".", "eyJ", "=", "e30"];
        let fuzz = millpond_testkit::fuzz::Fuzz {
            name: "id_token",
            seeds: vec![token.clone().into_bytes()],
            words: &words,
        };
        fuzz.run(|input| match check(&String::from_utf8_lossy(input), &keys) {
            Ok(_) => {
                assert_eq!(input, token.as_bytes(), "a changed token is accepted");
                "accepted".to_owned()
            }
            Err(fault) => format!("{fault:?}"),
        });
    }
}
