//! Ports for time and chance. Adapters live in the binary; tests and the simulation bring their own.

/// Milliseconds since the Unix epoch, UTC. May be negative for dates before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole Unix seconds. Seconds beyond what milliseconds can hold saturate.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
    /// Whole Unix seconds, rounded towards the past.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }
}

/// Tells wall-clock time. The only source of `now` for everything below the binary.
pub trait Clock: Send + Sync + 'static {
    /// The present time. Successive calls may go backwards when the machine's clock is set.
    fn now(&self) -> Timestamp;
}

/// Draws random bytes. Must be unpredictable in production: keys and upload ids come from it.
pub trait Random: Send + Sync + 'static {
    /// Fills the whole buffer.
    fn fill(&self, buffer: &mut [u8]);
}
