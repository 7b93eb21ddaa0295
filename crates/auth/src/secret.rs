//! Secret text, and how access keys look.

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use millpond_types::Random;
use std::fmt;
use std::sync::Arc;

/// A secret that cannot be printed by accident: no `Debug` of its content, no `Display`. Cheap to clone.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
    /// The text, for the few places that compute or hand over with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// Whether the other text is the same, in a time that tells nothing about where they differ or how
    /// long the secret is.
    pub fn is(&self, other: &str) -> bool {
        // Equal digests stand for equal texts and have equal lengths.
        let own = digest::digest(&digest::SHA256, self.0.as_bytes());
        let other = digest::digest(&digest::SHA256, other.as_bytes());
        constant_time::verify_slices_are_equal(own.as_ref(), other.as_ref()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A new access key id: `AKIAJ`, 14 characters of `A-Z2-7`, `Q` (API-3.9). One that ends by itself begins with
/// `ASIAJ`, as AWS tells the two apart.
pub fn new_access_key_id(random: &dyn Random, short_lived: bool) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = [0; 14];
    random.fill(&mut bytes);
    let middle = bytes.map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    format!("{}{}Q", if short_lived { "ASIAJ" } else { "AKIAJ" }, String::from_iter(middle))
}

/// A new token for a cookie or link: 32 random bytes behind what tells its kind.
pub fn new_token(kind: &str, random: &dyn Random) -> Secret {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    Secret::new(format!("{kind}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is stored of a token. No salt and no slowness: nobody guesses 256 random bits.
pub fn token_hash(token: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

/// A new secret: base64 of 30 random bytes, 40 characters (API-3.9).
pub fn new_secret(random: &dyn Random) -> Secret {
    let mut bytes = [0; 30];
    random.fill(&mut bytes);
    Secret::new(STANDARD.encode(bytes))
}

/// The rules for a key that a person chose: the id must survive basic authentication (no colon) and a
/// signature's scope (no slash), both halves an HTTP header.
pub fn check_given(access_key_id: &str, secret: &str) -> Result<(), &'static str> {
    let id_ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !(3..=128).contains(&access_key_id.len()) || !access_key_id.bytes().all(id_ok) {
        return Err("an access key id has 3 to 128 characters of A-Z a-z 0-9 . _ -");
    }
    if !(8..=256).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a secret access key has 8 to 256 visible ASCII characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::Counting;

    #[test]
    fn keys_have_the_form_that_clients_know() {
        let random = Counting::default();
        let (first, second) = (new_access_key_id(&random, false), new_access_key_id(&random, false));
        assert_ne!(first, second);
        for id in [first, second] {
            assert_eq!(id.len(), 20);
            assert!(id.starts_with("AKIAJ") && id.ends_with('Q'), "{id}");
            assert!(id.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{id}");
        }
        assert!(new_access_key_id(&random, true).starts_with("ASIAJ"));
        let secret = new_secret(&random);
        assert_eq!(secret.expose().len(), 40);
        assert!(check_given("AKIAIOSFODNN7EXAMPLE", secret.expose()).is_ok());
    }

    #[test]
    fn comparison_is_exact() {
        let secret = Secret::new("correct horse");
        assert!(secret.is("correct horse"));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!secret.is(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hush")), "Secret(..)");
    }

    #[test]
    fn keys_that_break_protocols_are_refused() {
        for (id, secret) in [
            ("ab", "longenough"),
            ("a:b", "longenough"),
            ("a/b", "longenough"),
            ("abc", "short"),
            ("abc", "with blank"),
        ] {
            assert!(check_given(id, secret).is_err(), "{id} {secret}");
        }
    }
}
