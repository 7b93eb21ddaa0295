//! What happens on one connection, seen from outside the HTTP library: whether anything is asked, whose turn it is
//! with each request, since when nothing has moved.
//!
//! A peer that takes nothing from its *socket* is the system's to judge (`TCP_USER_TIMEOUT`, set by the listener): only
//! the system sees what the peer acknowledges. Ours is what it cannot see. The library ends neither an idle HTTP/2
//! connection whose client answers pings, nor an HTTP/2 response whose client opens no window for it: no byte waits in the
//! socket. Nor can it be told to end such a response alone, because it asks the body for nothing while there is no window.

use super::bounds::Bounds;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One connection. Times are milliseconds since `began`.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// The last event.
    last: AtomicU64,
    has_asked: AtomicBool,
    /// The socket takes no more at the moment.
    is_full: AtomicBool,
    /// The client may still be sending when we close.
    lingers: AtomicBool,
    /// When the socket last took something again.
    freed: AtomicU64,
    /// For each request that runs, since when it is the client's turn; [`OURS`] if it is not.
    running: Mutex<Vec<Arc<AtomicU64>>>,
}

const OURS: u64 = u64::MAX;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again after this time.
    Wait(Duration),
    /// Nothing is asked: an orderly end.
    End,
    /// The client takes nothing of one of its responses, and of another it does: what runs may end, but new requests
    /// shall go elsewhere.
    Part,
    /// The client takes nothing: no end it would notice.
    Cut,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            has_asked: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            lingers: AtomicBool::new(false),
            freed: AtomicU64::new(0),
            running: Mutex::default(),
        }
    }
}

impl Activity {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(OURS - 1)
    }

    /// A request has come; it runs as long as the value lives.
    pub fn begin(self: &Arc<Self>) -> Running {
        self.has_asked.store(true, Ordering::Relaxed);
        self.last.store(self.now(), Ordering::Relaxed);
        let since = Arc::new(AtomicU64::new(OURS));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(since.clone());
        Running { activity: self.clone(), since }
    }

    /// Whether there was a request.
    pub fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    /// The socket takes no more, or does so again.
    pub fn full(&self, is_full: bool) {
        if self.is_full.swap(is_full, Ordering::Relaxed) && !is_full {
            self.freed.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The client may still be sending when we close.
    pub fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    pub fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed)
    }

    /// Judges the connection.
    pub fn verdict(&self, bounds: &Bounds) -> Verdict {
        if self.is_full.load(Ordering::Relaxed) {
            return Verdict::Wait(bounds.stalled);
        }
        let (now, freed) = (self.now(), self.freed.load(Ordering::Relaxed));
        let left = |since: u64, limit: Duration| {
            limit.saturating_sub(Duration::from_millis(now.saturating_sub(since.max(freed))))
        };
        let or_wait =
            |left: Duration, verdict: Verdict| if left.is_zero() { verdict } else { Verdict::Wait(left) };
        if !self.has_asked() {
            return or_wait(left(0, bounds.first_request), Verdict::End);
        }
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_empty() {
            return or_wait(left(self.last.load(Ordering::Relaxed), bounds.idle), Verdict::End);
        }
        let (mut stalled, mut next) = (0, bounds.stalled);
        for since in running.iter().map(|since| since.load(Ordering::Relaxed)).filter(|&since| since != OURS)
        {
            match left(since, bounds.stalled) {
                Duration::ZERO => stalled += 1,
                left => next = next.min(left),
            }
        }
        // However long we take with the others is no fault of the client's.
        match stalled {
            0 => Verdict::Wait(next),
            all if all == running.len() => Verdict::Cut,
            _ => Verdict::Part,
        }
    }
}

/// A request that runs.
#[derive(Debug)]
pub struct Running {
    activity: Arc<Activity>,
    since: Arc<AtomicU64>,
}

impl Running {
    /// It is the client's turn to take something, or ours to make more.
    pub fn turn(&mut self, with_client: bool) {
        let now = self.activity.now();
        self.since.store(if with_client { now } else { OURS }, Ordering::Relaxed);
        self.activity.last.store(now, Ordering::Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.activity.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|since| !Arc::ptr_eq(since, &self.since));
        self.activity.last.store(self.activity.now(), Ordering::Relaxed);
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
        assert_eq!(after(second).await, Verdict::Part, "the other is ours to answer");
        request.turn(true);
        assert!(matches!(after(second).await, Verdict::Wait(_)), "it took something");
        drop(other);
        activity.full(true);
        assert!(matches!(after(bounds.stalled * 9).await, Verdict::Wait(_)), "the system watches the socket");
        activity.full(false);
        assert_eq!(
            after(bounds.stalled - second).await,
            Verdict::Wait(second),
            "nothing could reach the client"
        );
        assert_eq!(after(second).await, Verdict::Cut, "the client takes nothing");
        drop(request);
        assert_eq!(after(bounds.idle - second).await, Verdict::Wait(second));
        assert_eq!(after(second).await, Verdict::End);
    }
}
