//! Wrong secrets slow down their own access key, and nobody else (`lakefs-api.md` area 33).
//!
//! There is no lock-out by address: behind a proxy or NAT one guesser would shut everybody out. Waiting is
//! short and bounded, because whoever knows a key id can make its owner wait; it still caps guessing at two
//! tries a minute against 240 random bits.

use millpond_types::Timestamp;
use millpond_types::limits::WRONG_SECRETS_FREE;
use std::time::Duration;

const WAIT_MAX_MILLIS: i64 = 30_000;

/// The history of one key.
#[derive(Default)]
pub struct Backoff {
    wrong_in_a_row: u32,
    closed_from: Timestamp,
    closed_millis: i64,
}

impl Backoff {
    /// How long to wait still; `None`: go ahead.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        let passed = now.millis() - self.closed_from.millis();
        // A clock that was set back must not close a key for long.
        let left = if passed < 0 { 0 } else { self.closed_millis - passed };
        u64::try_from(left).ok().filter(|&left| left > 0).map(Duration::from_millis)
    }

    /// A secret was wrong.
    pub fn wrong(&mut self, now: Timestamp) {
        self.wrong_in_a_row = self.wrong_in_a_row.saturating_add(1);
        if let Some(beyond) = self.wrong_in_a_row.checked_sub(WRONG_SECRETS_FREE) {
            self.closed_from = now;
            self.closed_millis = (1000 << beyond.min(5)).min(WAIT_MAX_MILLIS);
        }
    }

    /// A secret was right.
    pub fn right(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    #[test]
    fn waiting_doubles_to_a_bound_and_ends_with_a_right_secret() {
        let mut backoff = Backoff::default();
        for _ in 1..WRONG_SECRETS_FREE {
            backoff.wrong(at(0));
            assert_eq!(backoff.wait(at(0)), None);
        }
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            backoff.wrong(at(now));
            let wait = backoff.wait(at(now)).expect("closed");
            waits.push(wait.as_secs());
            now += i64::try_from(wait.as_millis()).expect("short");
            assert_eq!(backoff.wait(at(now - 1)), Some(Duration::from_millis(1)));
            assert_eq!(backoff.wait(at(now)), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        backoff.right();
        backoff.wrong(at(now));
        assert_eq!(backoff.wait(at(now)), None);
    }

    #[test]
    fn a_clock_set_back_opens_the_key() {
        let mut backoff = Backoff::default();
        (0..20).for_each(|_| backoff.wrong(at(1_000_000)));
        assert_eq!(backoff.wait(at(5)), None);
    }
}
