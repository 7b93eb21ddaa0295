//! What one server takes on at a time, and how long it waits for anybody. All of it can be set.

use std::time::Duration;

/// Bounds in numbers and times.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Requests in work at the same time, from their head to the end of their response.
    pub requests_max: usize,
    /// Memory that the bodies of requests may take together, in bytes.
    pub body_memory_bytes: usize,
    /// From accepting a connection to its first request, TLS handshake included.
    pub first_request: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between requests. Longer than the pools of SDKs keep theirs.
    pub idle: Duration,
    /// Without a peer taking a single byte of what waits for it; also the window of `body_rate_min`.
    pub stalled: Duration,
    /// Bytes a second, over a window, below which a body is held and not sent.
    pub body_rate_min: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            requests_max: 2048,
            body_memory_bytes: 256 << 20,
            first_request: Duration::from_secs(20),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            stalled: Duration::from_secs(60),
            body_rate_min: 1024,
        }
    }
}
