//! Who gets in. A server that takes on whatever comes ends with no memory and everybody waiting for ever; one that
//! says "later" to some serves the others in time.
//!
//! Three bounds: requests in work, writes among them (so that reads get in while writes wait for the disk), and the
//! memory of request bodies. What is beyond is refused before any work is done for it, sign-in included. What a
//! request means is not known here.

use super::bounds::Bounds;
use http::Method;
use millpond_types::limits::{BODY_HELD_BYTES_MAX, BODY_MEMORY_WAIT_SECONDS};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The unit in which memory is counted.
const UNIT_BYTES: u64 = 1024;

/// The places there are.
pub struct Admission {
    requests: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    /// In units.
    memory: Arc<Semaphore>,
}

/// A place, held until the request is over.
#[derive(Debug)]
pub struct Place {
    _permits: [Option<OwnedSemaphorePermit>; 3],
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many requests are in work.
    Requests,
    /// Too many writes are in work.
    Writes,
    /// Bodies take all the memory they may, and still do after a wait.
    Memory,
}

impl Full {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Writes => "writes",
            Self::Memory => "memory",
        }
    }
}

impl Admission {
    /// All places free.
    pub fn new(bounds: &Bounds) -> Self {
        let writes = bounds.requests_max - bounds.requests_max / 4;
        let memory = (bounds.body_memory_bytes as u64).max(BODY_HELD_BYTES_MAX) / UNIT_BYTES;
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self {
            requests: semaphore(bounds.requests_max),
            writes: semaphore(writes),
            memory: semaphore(usize::try_from(memory).unwrap_or(usize::MAX)),
        }
    }

    /// A place for a request. `body_bytes`: what its body has at most; 0 for none.
    pub async fn place(&self, method: &Method, body_bytes: u64) -> Result<Place, Full> {
        let request = self.requests.clone().try_acquire_owned().map_err(|_| Full::Requests)?;
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let write = match is_read {
            true => None,
            false => Some(self.writes.clone().try_acquire_owned().map_err(|_| Full::Writes)?),
        };
        let units = body_bytes.min(BODY_HELD_BYTES_MAX).div_ceil(UNIT_BYTES);
        let memory = match u32::try_from(units) {
            Ok(0) => None,
            units => {
                // First come, first served; how many may wait is bounded by the places above.
                let room = self.memory.clone().acquire_many_owned(units.unwrap_or(u32::MAX));
                let wait = Duration::from_secs(BODY_MEMORY_WAIT_SECONDS);
                Some(timeout(wait, room).await.ok().and_then(Result::ok).ok_or(Full::Memory)?)
            }
        };
        Ok(Place { _permits: [Some(request), write, memory] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(requests_max: usize, body_memory_bytes: usize) -> Admission {
        Admission::new(&Bounds { requests_max, body_memory_bytes, ..Bounds::default() })
    }

    #[tokio::test]
    async fn reads_get_in_when_writes_do_not() {
        let admission = admission(8, 0);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(admission.place(&Method::PUT, 0).await.expect("a place"));
        }
        assert_eq!(admission.place(&Method::PUT, 0).await.expect_err("full"), Full::Writes);
        for _ in 0..2 {
            held.push(admission.place(&Method::GET, 0).await.expect("a place"));
        }
        assert_eq!(admission.place(&Method::GET, 0).await.expect_err("full"), Full::Requests);
        held.pop();
        admission.place(&Method::GET, 0).await.expect("free again");
        held.clear();
        admission.place(&Method::PUT, 0).await.expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_memory_has_an_end() {
        let admission = admission(100, 0);
        for (seconds, gets_in) in
            [(BODY_MEMORY_WAIT_SECONDS - 1, true), (BODY_MEMORY_WAIT_SECONDS + 1, false)]
        {
            let held = admission.place(&Method::PUT, u64::MAX).await.expect("room");
            let (place, ()) = tokio::join!(admission.place(&Method::PUT, 1), async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                drop(held);
            });
            assert_eq!(place.is_ok(), gets_in, "{seconds} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_waited_for_but_not_for_ever() {
        const HALF: u64 = BODY_HELD_BYTES_MAX / 2;
        let admission = admission(100, BODY_HELD_BYTES_MAX as usize);
        let first = admission.place(&Method::PUT, HALF - 1).await.expect("room");
        // However long a body is, no more than this is held of it.
        assert_eq!(admission.place(&Method::PUT, u64::MAX).await.expect_err("no room"), Full::Memory);
        let second = admission.place(&Method::PUT, HALF).await.expect("just enough");
        assert_eq!(admission.place(&Method::PUT, 1).await.expect_err("no room"), Full::Memory);
        admission.place(&Method::PUT, 0).await.expect("needs none");
        let (third, ()) =
            tokio::join!(admission.place(&Method::PUT, u64::MAX), async { drop((first, second)) });
        third.expect("room as soon as the others are done");
    }
}
