//! What happens on one connection, seen from outside the HTTP library: whether anything is asked, whose turn it is,
//! since when nothing has moved.
//!
//! The library ends neither an idle HTTP/2 connection whose client answers pings, nor an HTTP/2 response whose client
//! opens no window for it: no byte waits in the socket, so [`super::guard`] sees nothing either.

use super::bounds::Bounds;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// One connection.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// Milliseconds from `began` to the last event.
    last: AtomicU64,
    requests: AtomicU64,
    running: AtomicUsize,
    /// Responses of which the client has not yet taken what it was given.
    with_client: AtomicUsize,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again after this time.
    Wait(Duration),
    /// Nothing is asked: an orderly end.
    End,
    /// The client takes nothing: no end it would notice.
    Cut,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            with_client: AtomicUsize::new(0),
        }
    }
}

impl Activity {
    fn note(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// A request has come; it runs as long as the value lives.
    pub fn begin(self: &Arc<Self>) -> Running {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        self.note();
        Running { activity: self.clone(), is_with_client: false }
    }

    /// Whether there was a request.
    pub fn has_asked(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Judges the connection.
    pub fn verdict(&self, bounds: &Bounds) -> Verdict {
        let quiet =
            self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
        let running = self.running.load(Ordering::Relaxed);
        let (limit, beyond) = if !self.has_asked() {
            (bounds.first_request, Verdict::End)
        } else if running == 0 {
            (bounds.idle, Verdict::End)
        } else if self.with_client.load(Ordering::Relaxed) == running {
            (bounds.stalled, Verdict::Cut)
        } else {
            // Our turn: however long we take is no fault of the client's.
            return Verdict::Wait(bounds.stalled);
        };
        match limit.checked_sub(quiet) {
            Some(left) if !left.is_zero() => Verdict::Wait(left),
            _ => beyond,
        }
    }
}

/// A request that runs.
#[derive(Debug)]
pub struct Running {
    activity: Arc<Activity>,
    is_with_client: bool,
}

impl Running {
    /// It is the client's turn to take something, or ours to make more.
    pub fn turn(&mut self, with_client: bool) {
        if with_client != self.is_with_client {
            self.is_with_client = with_client;
            if with_client {
                self.activity.with_client.fetch_add(1, Ordering::Relaxed);
            } else {
                self.activity.with_client.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.activity.note();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.turn(false);
        self.activity.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn whose_turn_it_is_decides() {
        let bounds = Bounds::default();
        let activity = Arc::new(Activity::default());
        let after = async |time: Duration| {
            advance(time).await;
            activity.verdict(&bounds)
        };
        let second = Duration::from_secs(1);
        assert_eq!(after(bounds.first_request - second).await, Verdict::Wait(second));
        assert_eq!(after(second).await, Verdict::End, "it never asked");
        let mut request = activity.begin();
        assert!(matches!(after(bounds.idle * 10).await, Verdict::Wait(_)), "we are slow");
        request.turn(true);
        assert_eq!(after(bounds.stalled - second).await, Verdict::Wait(second));
        let other = activity.begin();
        assert!(matches!(after(bounds.stalled * 2).await, Verdict::Wait(_)), "the other is ours to answer");
        drop(other);
        assert_eq!(after(bounds.stalled).await, Verdict::Cut, "the client takes nothing");
        drop(request);
        assert_eq!(after(bounds.idle - second).await, Verdict::Wait(second));
        assert_eq!(after(second).await, Verdict::End);
    }
}
