//! Marks on things that the server hands out and wants to know again: page tokens, physical addresses.

use aws_lc_rs::hmac;

/// Marks and checks with one key, apart for each purpose.
pub struct Marks(hmac::Key);

impl Marks {
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// HMAC-SHA256 over the purpose and the bytes.
    pub fn mark(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        // The length keeps purpose and bytes apart; a token's text begins otherwise, so marks are no tokens.
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(bytes);
        context.sign().as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes")
    }

    /// Whether the mark (or its beginning of at least 16 bytes) is the one of these bytes; in constant time.
    pub fn is(&self, purpose: &str, bytes: &[u8], mark: &[u8]) -> bool {
        let full = self.mark(purpose, bytes);
        (16..=32).contains(&mark.len())
            && aws_lc_rs::constant_time::verify_slices_are_equal(&full[..mark.len()], mark).is_ok()
    }
}
