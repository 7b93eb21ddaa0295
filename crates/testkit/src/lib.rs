//! Clocks and chance for tests: set by hand or drawn from a seed, so that a failure can be run again; and
//! what a repository must do, as a model.

pub mod model;

pub mod fuzz;

use millpond_types::{Clock, Random, Timestamp};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A clock that stands where it is put.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Stands at this time, in milliseconds since the Unix epoch.
    pub fn at(millis: i64) -> Self {
        Self(AtomicI64::new(millis))
    }
    /// Moves on (or back).
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// SplitMix64: small, seeded, good enough to choose test cases with. Not for keys.
pub struct Seeded(AtomicU64);

impl Seeded {
    /// The same seed gives the same draws.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
    /// The next draw.
    pub fn draw(&self) -> u64 {
        let state =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    /// A number below `n`.
    pub fn below(&self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }
    /// One of these.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

impl Random for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.draw().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
