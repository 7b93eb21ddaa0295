//! One attempt to sign in: what only the browser that began it can show.

use crate::encode::{base64url, sha256};
use aws_lc_rs::{constant_time, hmac};
use millpond_types::limits::OIDC_ATTEMPT_SECONDS;
use millpond_types::{Random, Timestamp};

/// Length of an attempt as bytes.
pub const ATTEMPT_BYTES: usize = 40;

/// An attempt. State, nonce and verifier are derived from it, so those of one attempt never fit those of another.
/// Whoever keeps it for a browser must notice if it was changed.
pub struct Attempt {
    secret: [u8; 32],
    begun: Timestamp,
}

impl Attempt {
    /// A new attempt.
    pub fn begin(random: &dyn Random, now: Timestamp) -> Self {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Self { secret, begun: now }
    }

    /// For the browser to keep: the secret, then the time.
    pub fn to_bytes(&self) -> [u8; ATTEMPT_BYTES] {
        let mut bytes = [0; ATTEMPT_BYTES];
        bytes[..32].copy_from_slice(&self.secret);
        bytes[32..].copy_from_slice(&self.begun.millis().to_be_bytes());
        bytes
    }

    /// The same back.
    pub fn from_bytes(bytes: &[u8; ATTEMPT_BYTES]) -> Self {
        let (mut secret, mut begun) = ([0; 32], [0; 8]);
        secret.copy_from_slice(&bytes[..32]);
        begun.copy_from_slice(&bytes[32..]);
        Self { secret, begun: Timestamp(i64::from_be_bytes(begun)) }
    }

    /// Whether it may still be completed.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        let age = now.millis().saturating_sub(self.begun.millis());
        // A clock that was set back a little ends no attempt.
        (-60_000..i64::from(OIDC_ATTEMPT_SECONDS) * 1000).contains(&age)
    }

    /// What the provider's answer must bring back.
    pub(crate) fn state(&self) -> String {
        self.derived("state")
    }

    /// Whether an answer belongs to this attempt.
    pub(crate) fn is_state(&self, state: &str) -> bool {
        constant_time::verify_slices_are_equal(self.state().as_bytes(), state.as_bytes()).is_ok()
    }

    /// What the token must hold.
    pub(crate) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What the code is traded with (RFC 7636): 43 characters.
    pub(crate) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// The verifier's hash, sent ahead.
    pub(crate) fn challenge(&self) -> String {
        base64url(&sha256(self.verifier().as_bytes()))
    }

    fn derived(&self, what: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        base64url(hmac::sign(&key, what.as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_testkit::Seeded;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    #[test]
    fn everything_of_an_attempt_belongs_to_it_alone() {
        let random = Seeded::new(1);
        let (one, other) = (Attempt::begin(&random, NOW), Attempt::begin(&random, NOW));
        let again = Attempt::from_bytes(&one.to_bytes());
        let all = |a: &Attempt| [a.state(), a.nonce(), a.verifier(), a.challenge()];
        assert_eq!(all(&one), all(&again));
        let mut different: Vec<String> = all(&one).into_iter().chain(all(&other)).collect();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 8);
        assert!(different.iter().all(|text| text.len() == 43), "{different:?}");
        assert!(one.is_state(&again.state()));
        for wrong in ["", &other.state(), &one.nonce(), &one.state()[1..]] {
            assert!(!one.is_state(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn an_attempt_ends() {
        let attempt = Attempt::from_bytes(&Attempt::begin(&Seeded::new(1), NOW).to_bytes());
        let lasts = i64::from(OIDC_ATTEMPT_SECONDS) * 1000;
        for (after, alive) in
            [(-60_001, false), (-60_000, true), (0, true), (lasts - 1, true), (lasts, false)]
        {
            assert_eq!(attempt.is_alive(Timestamp(NOW.millis() + after)), alive, "{after}");
        }
    }
}
