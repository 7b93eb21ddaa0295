//! Who gets in. A server that takes on whatever comes ends with no memory and everybody waiting for ever; one that
//! says "later" to some serves the others in time.
//!
//! Three bounds: requests in work, writes among them (so that reads get in while writes wait for the disk), and the
//! memory of request bodies. One connection has a share of each, so that no single client has all. A place is refused
//! before any work is done for the request, sign-in included; memory is taken when a door first asks for the body,
//! which it does for strangers only where a small document may come ([`Room`]). What a request means is not known here.

use super::bounds::Bounds;
use http::Method;
use millpond_types::limits::{
    BODY_HELD_BYTES_MAX, BODY_MEMORY_WAIT_SECONDS, CONNECTION_SHARE, DOCUMENT_BYTES_ANONYMOUS_MAX,
};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    requests_of_connection: usize,
    units_of_connection: usize,
}

/// What one connection may hold of them.
#[derive(Clone)]
pub struct Share {
    requests: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// A place, held until the request is over.
#[derive(Debug)]
pub struct Place {
    _permits: [Option<OwnedSemaphorePermit>; 3],
    room: Arc<Room>,
}

impl Place {
    /// For the request's body.
    pub fn room(&self) -> Arc<Room> {
        self.room.clone()
    }
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many requests are in work.
    Requests,
    /// Too many of them are of this connection.
    Connection,
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
            Self::Connection => "connection",
            Self::Writes => "writes",
            Self::Memory => "memory",
        }
    }
}

impl Admission {
    /// All places free.
    pub fn new(bounds: &Bounds) -> Self {
        let writes = bounds.requests_max - bounds.requests_max / 4;
        let units =
            |bytes: u64| usize::try_from(bytes.max(BODY_HELD_BYTES_MAX) / UNIT_BYTES).unwrap_or(usize::MAX);
        let memory = bounds.body_memory_bytes as u64;
        Self {
            requests: semaphore(bounds.requests_max),
            writes: semaphore(writes),
            memory: semaphore(units(memory)),
            requests_of_connection: (bounds.requests_max / CONNECTION_SHARE).max(1),
            units_of_connection: units(memory / CONNECTION_SHARE as u64),
        }
    }

    /// The share of a new connection.
    pub fn share(&self) -> Share {
        Share {
            requests: semaphore(self.requests_of_connection),
            memory: semaphore(self.units_of_connection),
        }
    }

    /// A place for a request of a connection.
    pub fn place(&self, share: &Share, method: &Method) -> Result<Place, Full> {
        let of_connection = share.requests.clone().try_acquire_owned().map_err(|_| Full::Connection)?;
        let request = self.requests.clone().try_acquire_owned().map_err(|_| Full::Requests)?;
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let write = match is_read {
            true => None,
            false => Some(self.writes.clone().try_acquire_owned().map_err(|_| Full::Writes)?),
        };
        let room = Room {
            // First the own share: who waits for that must not keep others from the rest.
            memory: [share.memory.clone(), self.memory.clone()],
            held: Mutex::default(),
            was_full: AtomicBool::new(false),
        };
        Ok(Place { _permits: [Some(of_connection), Some(request), write], room: Arc::new(room) })
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

/// Memory for the body of one request, taken as it becomes clear how much is needed and held until the request is over.
#[derive(Debug)]
pub struct Room {
    memory: [Arc<Semaphore>; 2],
    held: Mutex<Vec<OwnedSemaphorePermit>>,
    was_full: AtomicBool,
}

/// There was no memory for the body in time.
#[derive(Debug)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bodies of other requests take all the memory there is for them")
    }
}

impl std::error::Error for NoRoom {}

impl Room {
    /// Memory that a body needs before more of it is read, in bytes. `taken`: what was read so far. `left`: what is
    /// still to come, if that is known.
    ///
    /// A body of unknown length begins with what a stranger's document may have, because no door reads more for
    /// strangers; it is also what most documents of others fit in.
    pub fn needed(taken: u64, left: Option<u64>) -> u64 {
        match left {
            Some(left) => taken.saturating_add(left).min(BODY_HELD_BYTES_MAX),
            None if taken <= DOCUMENT_BYTES_ANONYMOUS_MAX as u64 => DOCUMENT_BYTES_ANONYMOUS_MAX as u64,
            None => BODY_HELD_BYTES_MAX,
        }
    }

    /// Waits until so many more bytes are free, for a while.
    pub async fn take(self: Arc<Self>, bytes: u64) -> Result<(), NoRoom> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        // First come, first served; how many may wait is bounded by the places.
        let taking = async {
            for memory in &self.memory {
                let permit = memory.clone().acquire_many_owned(units).await.map_err(|_| NoRoom)?;
                self.held.lock().unwrap_or_else(PoisonError::into_inner).push(permit);
            }
            Ok(())
        };
        let outcome =
            timeout(Duration::from_secs(BODY_MEMORY_WAIT_SECONDS), taking).await.unwrap_or(Err(NoRoom));
        if outcome.is_err() {
            self.was_full.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Whether a wait was in vain: then the request failed for want of memory, whatever its door makes of it.
    pub fn was_full(&self) -> bool {
        self.was_full.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(requests_max: usize, body_memory_bytes: usize) -> Admission {
        Admission::new(&Bounds { requests_max, body_memory_bytes, ..Bounds::default() })
    }

    /// A place for a body on a connection of its own, with memory for so many bytes.
    async fn body(admission: &Admission, bytes: u64) -> Result<Place, NoRoom> {
        let place = admission.place(&admission.share(), &Method::PUT).expect("a place");
        place.room().take(bytes).await.map(|()| place)
    }

    #[tokio::test]
    async fn reads_get_in_when_writes_do_not() {
        let admission = admission(8, 0);
        let place = |method: Method| admission.place(&admission.share(), &method);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(place(Method::PUT).expect("a place"));
        }
        assert_eq!(place(Method::PUT).expect_err("full"), Full::Writes);
        for _ in 0..2 {
            held.push(place(Method::GET).expect("a place"));
        }
        assert_eq!(place(Method::GET).expect_err("full"), Full::Requests);
        held.pop();
        place(Method::GET).expect("free again");
        held.clear();
        place(Method::PUT).expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn one_connection_has_its_share_of_places_and_memory_and_no_more() {
        let admission = admission(CONNECTION_SHARE * 2, BODY_HELD_BYTES_MAX as usize * CONNECTION_SHARE);
        let share = admission.share();
        let place = || admission.place(&share, &Method::PUT);
        let (first, second) = (place().expect("a place"), place().expect("a place"));
        assert_eq!(place().expect_err("its share is taken"), Full::Connection);
        first.room().take(BODY_HELD_BYTES_MAX).await.expect("room");
        second.room().take(1).await.expect_err("its share is taken");
        assert!(second.room().was_full() && !first.room().was_full());
        let others: Vec<_> =
            futures::future::join_all((1..CONNECTION_SHARE).map(|_| body(&admission, BODY_HELD_BYTES_MAX)))
                .await;
        assert!(others.iter().all(Result::is_ok), "the rest is for others");
        drop((first, second));
        place().expect("free again").room().take(BODY_HELD_BYTES_MAX).await.expect("free again");
    }

    #[test]
    fn what_a_body_needs() {
        const STRANGER: u64 = DOCUMENT_BYTES_ANONYMOUS_MAX as u64;
        for (taken, left, needed) in [
            (0, Some(5), 5),
            (2, Some(3), 5),
            (0, Some(BODY_HELD_BYTES_MAX + 1), BODY_HELD_BYTES_MAX),
            (u64::MAX, Some(1), BODY_HELD_BYTES_MAX),
            (0, None, STRANGER),
            (STRANGER, None, STRANGER),
            (STRANGER + 1, None, BODY_HELD_BYTES_MAX),
        ] {
            assert_eq!(Room::needed(taken, left), needed, "{taken} {left:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_memory_has_an_end() {
        let admission = admission(100, 0);
        for (seconds, gets_in) in
            [(BODY_MEMORY_WAIT_SECONDS - 1, true), (BODY_MEMORY_WAIT_SECONDS + 1, false)]
        {
            let held = body(&admission, BODY_HELD_BYTES_MAX).await.expect("room");
            let (place, ()) = tokio::join!(body(&admission, 1), async {
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
        let first = body(&admission, HALF - 1).await.expect("room");
        body(&admission, BODY_HELD_BYTES_MAX).await.expect_err("no room");
        let second = body(&admission, HALF).await.expect("just enough");
        body(&admission, 1).await.expect_err("no room");
        body(&admission, 0).await.expect("needs none");
        let (third, ()) =
            tokio::join!(body(&admission, BODY_HELD_BYTES_MAX), async { drop((first, second)) });
        third.expect("room as soon as the others are done");
    }
}
