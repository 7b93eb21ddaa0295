//! The provider's public keys, as far as they may verify ID tokens.

use crate::error::{Error, Result};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Algorithms that tokens may be signed with. Symmetric ones are missing on purpose: their key would be public.
pub const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// One key.
pub struct Key {
    id: Option<String>,
    /// The one algorithm that its owner wants it used with, if he says so.
    only: Option<String>,
    kind: Kind,
    public: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    Ed25519,
}

impl Key {
    /// A key of a set; `None` for one that verifies no ID token: of another kind, curve or use.
    fn parse(value: &Value) -> Option<Self> {
        let jwk = Jwk::deserialize(value).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let kind = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Kind::Rsa,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Kind::P256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Kind::Ed25519,
            _ => return None,
        };
        let only = value.get("alg").and_then(Value::as_str).map(str::to_owned);
        Some(Self { id: jwk.common.key_id.clone(), only, kind, public: DecodingKey::from_jwk(&jwk).ok()? })
    }

    fn fits(&self, name: &str, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => Kind::Rsa,
            Algorithm::ES256 => Kind::P256,
            Algorithm::EdDSA => Kind::Ed25519,
            _ => return false,
        };
        self.kind == kind && self.only.as_ref().is_none_or(|only| only == name)
    }
}

/// All keys of a provider.
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads a JWK set. Keys that are of no use here are passed over.
    ///
    /// # Errors
    /// [`Error::Misfit`] for what is no set, or holds no usable key.
    pub fn parse(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json)
            .map_err(|_| Error::Misfit("its set of keys is not a JSON Web Key Set".into()))?;
        let keys: Vec<Key> = set.keys.iter().filter_map(Key::parse).collect();
        if keys.is_empty() {
            let names: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
            return Err(Error::Misfit(format!("it has no key for any of {}", names.join(", "))));
        }
        Ok(Self(keys))
    }

    /// The key of a token; `None` when there is none, or a token without a key id could mean several.
    pub fn find(&self, id: Option<&str>, name: &str, algorithm: Algorithm) -> Option<&DecodingKey> {
        let is_asked = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let mut fitting = self.0.iter().filter(|key| key.fits(name, algorithm)).filter(is_asked);
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then_some(&first.public)
    }
}
