//! Signing keys that were derived before.
//!
//! A key is derived from a secret in four steps of HMAC and is the same for all requests of one day to one region:
//! deriving it each time was a tenth of what a small write costs outside the kernel.

use super::sigv4::derive_key;
use aws_lc_rs::hmac;
use millpond_service::SecretKey;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The last key that has verified a signature, for each access key id. Others are derived: a client keeps to one
/// region, and whoever does not know the secret changes nothing here.
#[derive(Default)]
pub(crate) struct SigningKeys(RwLock<HashMap<String, Kept>>);

struct Kept {
    scope: String,
    /// What it was derived from: an access key may get another secret.
    secret: SecretKey,
    key: Arc<hmac::Key>,
}

impl SigningKeys {
    /// The key for a scope (`date/region/service/aws4_request`).
    pub fn get(&self, access_key_id: &str, scope: &str, secret: &SecretKey) -> Arc<hmac::Key> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(access_key_id) {
            Some(kept) if kept.scope == scope && kept.secret.expose() == secret.expose() => kept.key.clone(),
            _ => Arc::new(derive_key(secret.expose(), scope)),
        }
    }

    /// Keeps a key that has verified a signature.
    pub fn keep(&self, access_key_id: &str, scope: &str, secret: &SecretKey, key: &Arc<hmac::Key>) {
        let is_kept = |kept: &Kept| Arc::ptr_eq(&kept.key, key);
        if !self.0.read().unwrap_or_else(PoisonError::into_inner).get(access_key_id).is_some_and(is_kept) {
            let kept = Kept { scope: scope.to_owned(), secret: secret.clone(), key: key.clone() };
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(access_key_id.to_owned(), kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "20261124/us-east-1/s3/aws4_request";

    fn tag(key: &hmac::Key) -> Vec<u8> {
        hmac::sign(key, b"text").as_ref().to_vec()
    }

    #[test]
    fn a_kept_key_is_given_again_and_never_for_another_secret_or_scope() {
        let keys = SigningKeys::default();
        let (one, two) = (SecretKey::new("secret-one"), SecretKey::new("secret-two"));
        let first = keys.get("ID", SCOPE, &one);
        assert!(!Arc::ptr_eq(&first, &keys.get("ID", SCOPE, &one)), "nothing was verified with it yet");
        keys.keep("ID", SCOPE, &one, &first);
        assert!(Arc::ptr_eq(&first, &keys.get("ID", SCOPE, &one)));
        let next_day = "20261125/us-east-1/s3/aws4_request";
        for (id, scope, secret) in [("ID", SCOPE, &two), ("ID", next_day, &one), ("OTHER", SCOPE, &one)] {
            let key = keys.get(id, scope, secret);
            assert!(!Arc::ptr_eq(&first, &key));
            assert_eq!(tag(&key), tag(&derive_key(secret.expose(), scope)));
        }
    }
}
