//! Session tokens: JWTs as clients of the lakeFS API expect them (API-2.11, 2.12).

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use millpond_types::{Random, Timestamp};
use serde::{Deserialize, Serialize};

/// Seven days.
pub const TOKEN_LIFETIME_SECONDS: i64 = 7 * 24 * 3600;

/// Bytes of the signing key; HS512 wants as many as its hash has.
pub const SIGNING_KEY_BYTES: usize = 64;

const AUDIENCE: &str = "login";

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    #[serde(default, skip_serializing_if = "Audience::is_empty")]
    aud: Audience,
    sub: String,
    jti: String,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    /// Ours: which user of that name, in hex, and the access key that the token was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// Whom a token is for.
pub struct Bearer<'a> {
    pub user: &'a str,
    pub incarnation: u64,
    pub key: Option<&'a str>,
}

/// What a token that is ours and alive says.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub user: String,
    /// `None` in tokens of earlier versions.
    pub incarnation: Option<u64>,
    pub key: Option<String>,
    pub id: String,
    pub issued_seconds: i64,
    pub expires_seconds: i64,
}

/// RFC 7519 lets it be one text or a list.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audience {
    fn is_empty(&self) -> bool {
        match self {
            Self::One(name) => name.is_empty(),
            Self::Many(names) => names.is_empty(),
        }
    }
    fn is_ours(&self) -> bool {
        self.is_empty()
            || match self {
                Self::One(name) => name == AUDIENCE,
                Self::Many(names) => names.iter().any(|name| name == AUDIENCE),
            }
    }
}

/// Signs and checks with one key.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    rules: Validation,
}

impl Tokens {
    pub fn new(key: &[u8]) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        // The library would ask the machine's clock, and refuse an empty audience: both are checked here.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        Self { signing: EncodingKey::from_secret(key), checking: DecodingKey::from_secret(key), rules }
    }

    /// A token and the end of its life, which is at most `end`.
    pub fn issue(
        &self,
        bearer: &Bearer<'_>,
        now: Timestamp,
        end: Option<Timestamp>,
        random: &dyn Random,
    ) -> (String, Timestamp) {
        let full = now.seconds().saturating_add(TOKEN_LIFETIME_SECONDS);
        let expires = end.map_or(full, |end| full.min(end.seconds()));
        let claims = Claims {
            iss: "auth".to_owned(),
            aud: Audience::One(AUDIENCE.to_owned()),
            sub: bearer.user.to_owned(),
            jti: new_uuid(random),
            iat: now.seconds(),
            exp: expires,
            nbf: None,
            uid: Some(format!("{:016x}", bearer.incarnation)),
            key: bearer.key.map(str::to_owned),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .expect("claims are plain JSON and an HMAC takes any key");
        (token, Timestamp::from_seconds(expires))
    }

    /// What a token says that is ours and alive; `None` for every other text.
    pub fn claims(&self, token: &str, now: Timestamp) -> Option<Said> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.rules).ok()?.claims;
        let alive = now.seconds() < claims.exp && claims.nbf.is_none_or(|start| start <= now.seconds());
        if !alive || !claims.aud.is_ours() || claims.sub.is_empty() {
            return None;
        }
        let incarnation = match claims.uid {
            None => None,
            Some(uid) => Some(u64::from_str_radix(&uid, 16).ok()?),
        };
        Some(Said {
            user: claims.sub,
            incarnation,
            key: claims.key,
            id: claims.jti,
            issued_seconds: claims.iat,
            expires_seconds: claims.exp,
        })
    }
}

/// A new signing key, as bytes.
pub fn new_signing_key(random: &dyn Random) -> [u8; SIGNING_KEY_BYTES] {
    let mut key = [0; SIGNING_KEY_BYTES];
    random.fill(&mut key);
    key
}

/// A UUID of version 4.
fn new_uuid(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::Counting;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_780_000_000_000);
    const ADMIN: Bearer<'_> = Bearer { user: "admin", incarnation: 7, key: None };
    const KEY: [u8; SIGNING_KEY_BYTES] = [9; SIGNING_KEY_BYTES];

    fn forged(header: Header, claims: serde_json::Value, key: &[u8]) -> String {
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key)).expect("encodes")
    }

    fn unchecked_claims(token: &str) -> serde_json::Value {
        let middle = token.split('.').nth(1).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).expect("base64")).expect("JSON")
    }

    #[test]
    fn an_issued_token_names_its_user_until_it_expires() {
        let tokens = Tokens::new(&KEY);
        let (token, expires) = tokens.issue(&ADMIN, NOW, None, &Counting::default());
        assert_eq!(expires.seconds() - NOW.seconds(), 604_800);
        let before = Timestamp::from_seconds(expires.seconds() - 1);
        let said = tokens.claims(&token, before).expect("alive");
        assert_eq!((&*said.user, said.incarnation, said.key), ("admin", Some(7), None));
        assert_eq!(tokens.claims(&token, expires), None);
        let end = Timestamp::from_seconds(NOW.seconds() + 60);
        let (short, short_end) = tokens.issue(&ADMIN, NOW, Some(end), &Counting::default());
        assert_eq!(short_end, end);
        assert!(tokens.claims(&short, NOW).is_some() && tokens.claims(&short, end).is_none());
        let claims = unchecked_claims(&token);
        assert_eq!(
            (&claims["iss"], &claims["aud"], &claims["sub"]),
            (&json!("auth"), &json!("login"), &json!("admin"))
        );
        assert_eq!(claims["exp"], json!(expires.seconds()));
        assert_eq!(claims["jti"].as_str().expect("text").len(), 36);
    }

    #[test]
    fn what_is_accepted_and_what_is_not() {
        let tokens = Tokens::new(&KEY);
        let later = NOW.seconds() + 60;
        let claims = |aud: serde_json::Value, exp: i64| json!({"iss": "auth", "aud": aud, "sub": "admin", "jti": "1", "iat": NOW.seconds(), "exp": exp});
        let good = claims(json!("login"), later);
        let mut no_expiry = good.clone();
        no_expiry.as_object_mut().expect("an object").remove("exp");
        let mut early = good.clone();
        early["nbf"] = json!(later);
        let mut no_audience = good.clone();
        no_audience.as_object_mut().expect("an object").remove("aud");
        let by = |algorithm| Header::new(algorithm);
        let table = [
            ("HS256", forged(by(Algorithm::HS256), good.clone(), &KEY), true),
            ("HS384", forged(by(Algorithm::HS384), good.clone(), &KEY), true),
            ("HS512", forged(by(Algorithm::HS512), good.clone(), &KEY), true),
            ("no audience", forged(by(Algorithm::HS256), no_audience, &KEY), true),
            ("empty audience", forged(by(Algorithm::HS256), claims(json!(""), later), &KEY), true),
            ("audience list", forged(by(Algorithm::HS256), claims(json!(["x", "login"]), later), &KEY), true),
            ("other audience", forged(by(Algorithm::HS256), claims(json!("reset"), later), &KEY), false),
            ("other audiences", forged(by(Algorithm::HS256), claims(json!(["x"]), later), &KEY), false),
            ("other key", forged(by(Algorithm::HS256), good.clone(), &[8; 64]), false),
            ("expired", forged(by(Algorithm::HS256), claims(json!("login"), NOW.seconds()), &KEY), false),
            ("no expiry", forged(by(Algorithm::HS256), no_expiry, &KEY), false),
            ("not yet", forged(by(Algorithm::HS256), early, &KEY), false),
        ];
        for (name, token, accepted) in table {
            assert_eq!(tokens.claims(&token, NOW).is_some(), accepted, "{name}");
        }
    }

    #[test]
    fn an_unsigned_token_is_nobody() {
        let tokens = Tokens::new(&KEY);
        let (token, _) = tokens.issue(&ADMIN, NOW, None, &Counting::default());
        let middle = token.split('.').nth(1).expect("three parts");
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        for unsigned in
            [format!("{head}.{middle}."), format!("{head}.{middle}"), String::new(), "a.b.c".to_owned()]
        {
            assert_eq!(tokens.claims(&unsigned, NOW), None, "{unsigned}");
        }
        let mut changed = token.into_bytes();
        *changed.last_mut().expect("not empty") ^= 4;
        assert_eq!(tokens.claims(std::str::from_utf8(&changed).expect("ASCII"), NOW), None);
    }
}
