//! Bodies as they pass: requests must make progress and are not cut off unheard, responses are counted to
//! their end.

use super::activity::Running;
use super::admission::{NoRoom, Room};
use super::bounds::Bounds;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use millpond_types::limits::{UNWANTED_BYTES_MAX, UNWANTED_SECONDS_MAX};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// An error of any kind, as bodies have it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every response.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// How long a client may go on with a body that nobody wants: a server that closes on unread bytes resets the
/// connection, and the client never reads the answer.
const UNWANTED_TIME_MAX: Duration = Duration::from_secs(UNWANTED_SECONDS_MAX);

/// The client sent too little for too long.
#[derive(Debug)]
pub struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sent too little of the body for too long")
    }
}

impl std::error::Error for TooSlow {}

/// A request body that fails with [`TooSlow`] instead of waiting for ever, takes memory before it takes bytes, and
/// counts them. Dropped before its end, it is read on for a while and thrown away.
///
/// Only time in which *we* wait for the client counts, so a server that is slow to take data cuts nobody.
pub struct RequestBody<B: Source> {
    /// There until it is dropped.
    body: Option<B>,
    received: Arc<AtomicU64>,
    /// Where it gets its memory, once it was let in.
    room: Option<Arc<Room>>,
    /// Memory it has, in bytes.
    held: u64,
    /// The wait for more, and how much it will have then.
    entering: Option<(BoxFuture<'static, Result<(), NoRoom>>, u64)>,
    pace: Pace,
    expects_continue: bool,
    fate: Arc<Fate>,
    is_over: bool,
    waiting_since: Option<Instant>,
    waited: Duration,
    bytes_in_window: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What became of a request's body.
#[derive(Debug, Default)]
pub struct Fate {
    begun: AtomicBool,
    cut: AtomicBool,
}

impl Fate {
    /// Whether anybody has asked for it.
    pub fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether nobody wants it and there may be more of it than is thrown away: then an HTTP/1 connection ends.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

/// How much must come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time spent waiting for the client.
    pub window: Duration,
    /// Bytes that must come in it.
    pub bytes_min: u64,
}

impl From<&Bounds> for Pace {
    fn from(bounds: &Bounds) -> Self {
        let bytes_min = bounds.body_rate_min.saturating_mul(bounds.stalled.as_secs());
        Self { window: bounds.stalled, bytes_min }
    }
}

/// What a [`RequestBody`] watches.
pub trait Source: Body<Data = Bytes> + Unpin + Send + 'static {}
impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Source for B {}

impl<B: Source> RequestBody<B> {
    /// Watches a body; `received` counts its bytes. `expects_continue`: the client sends nothing before it is
    /// asked to.
    pub fn new(body: B, received: Arc<AtomicU64>, pace: Pace, expects_continue: bool) -> Self {
        Self {
            body: Some(body),
            received,
            room: None,
            held: 0,
            entering: None,
            pace,
            expects_continue,
            fate: Arc::default(),
            is_over: false,
            waiting_since: None,
            waited: Duration::ZERO,
            bytes_in_window: 0,
            timer: None,
        }
    }

    /// The same, taking memory there as it is read.
    pub fn within(mut self, room: Arc<Room>) -> Self {
        self.room = Some(room);
        self
    }

    /// Ready when there is memory for what comes next.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoRoom>> {
        loop {
            let (Some(room), Some(body)) = (&self.room, &self.body) else { return Poll::Ready(Ok(())) };
            if let Some((entering, will_hold)) = &mut self.entering {
                ready!(entering.as_mut().poll(cx))?;
                self.held = *will_hold;
                self.entering = None;
            }
            let needed = match body.is_end_stream() {
                true => 0,
                false => Room::needed(self.received.load(Ordering::Relaxed), body.size_hint().upper()),
            };
            if needed <= self.held {
                return Poll::Ready(Ok(()));
            }
            self.entering = Some((Box::pin(room.clone().take(needed - self.held)), needed));
        }
    }

    /// What becomes of it; to be read when the body itself has been given away.
    pub fn fate(&self) -> Arc<Fate> {
        self.fate.clone()
    }

    /// Closes the window if it is over; whether enough came in it.
    fn may_go_on(&mut self) -> bool {
        if self.waited < self.pace.window {
            return true;
        }
        let enough = self.bytes_in_window >= self.pace.bytes_min;
        (self.waited, self.bytes_in_window) = (Duration::ZERO, 0);
        enough
    }
}

impl<B: Source> RequestBody<B>
where
    B::Error: Into<BoxError>,
{
    fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self;
        loop {
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            let frame = Pin::new(body).poll_frame(cx);
            if let Poll::Ready(frame) = frame {
                if let Some(since) = this.waiting_since.take() {
                    this.waited += since.elapsed();
                    this.timer = None;
                }
                let Some(Ok(frame)) = frame else { return Poll::Ready(frame.map(|f| f.map_err(Into::into))) };
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.received.fetch_add(bytes, Ordering::Relaxed);
                this.bytes_in_window += bytes;
                let answer = if this.may_go_on() { Ok(frame) } else { Err(TooSlow.into()) };
                return Poll::Ready(Some(answer));
            }
            let since = *this.waiting_since.get_or_insert_with(Instant::now);
            let left = this.pace.window.saturating_sub(this.waited);
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(left)));
            ready!(timer.as_mut().poll(cx));
            this.waited += since.elapsed();
            (this.waiting_since, this.timer) = (None, None);
            if !this.may_go_on() {
                return Poll::Ready(Some(Err(TooSlow.into())));
            }
        }
    }
}

impl<B: Source> Body for RequestBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.fate.begun.store(true, Ordering::Relaxed);
        // Without room the body is as whole as before, and thrown away like any other that nobody wants.
        if let Err(no_room) = ready!(self.poll_room(cx)) {
            return Poll::Ready(Some(Err(no_room.into())));
        }
        let frame = ready!(self.poll_watched(cx));
        self.is_over |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: Source> Drop for RequestBody<B> {
    fn drop(&mut self) {
        // Asking now for a body that was not asked for would be a lie, and waiting for it in vain.
        let is_unasked = self.expects_continue && !self.fate.begun();
        let Some(body) = self.body.take() else { return };
        if self.is_over || is_unasked || body.is_end_stream() {
            return;
        }
        let is_small = body.size_hint().upper().is_some_and(|left| left <= UNWANTED_BYTES_MAX as u64);
        self.fate.cut.store(!is_small, Ordering::Relaxed);
        // Without a runtime the process is ending.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(UNWANTED_TIME_MAX, throw_away(body)));
        }
    }
}

async fn throw_away(mut body: impl Source) {
    let mut left = UNWANTED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else { return };
        left = rest;
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All of it was handed to the connection.
    Complete,
    /// The source failed in the middle; the client sees a broken body.
    Failed,
    /// The client went away.
    Aborted,
}

impl Ending {
    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

/// Most bytes of one HTTP/2 response that are handed to the library at once. It asks for more when the client has opened
/// a window for them, and that is all that is seen of its pace: a larger piece would make a slow reader look like a
/// stalled one. Frames are as large.
pub const STREAM_PIECE_BYTES_MAX: usize = 16 << 10;

/// A response body that says whose turn it is, and once how it ended and how many bytes it had.
pub struct Observed<B, F: FnOnce(Ending, u64)> {
    body: B,
    /// The rest of a piece that was too large.
    held: Bytes,
    piece_bytes_max: usize,
    running: Running,
    bytes: u64,
    ending: Ending,
    at_end: Option<F>,
}

impl<B: Body, F: FnOnce(Ending, u64)> Observed<B, F> {
    /// Watches a body.
    pub fn new(body: B, piece_bytes_max: usize, mut running: Running, at_end: F) -> Self {
        // The head comes first; until the client has taken it, nobody asks for the body.
        running.turn(true);
        let ending = if body.is_end_stream() { Ending::Complete } else { Ending::Aborted };
        Self { body, held: Bytes::new(), piece_bytes_max, running, bytes: 0, ending, at_end: Some(at_end) }
    }
}

impl<B, F> Body for Observed<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnOnce(Ending, u64) + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.running.turn(false);
        let mut frame = if self.held.is_empty() {
            ready!(Pin::new(&mut self.body).poll_frame(cx))
        } else {
            Some(Ok(Frame::data(std::mem::take(&mut self.held))))
        };
        self.running.turn(true);
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_mut() {
                    self.held = data.split_off(data.len().min(self.piece_bytes_max));
                    self.bytes += data.len() as u64;
                }
                // With a known length the connection does not ask again after the last byte.
                if self.is_end_stream() || self.size_hint().exact() == Some(0) {
                    self.ending = Ending::Complete;
                }
            }
            Some(Err(_)) => self.ending = Ending::Failed,
            None => self.ending = Ending::Complete,
        }
        Poll::Ready(frame)
    }
    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        let (mut hint, held) = (self.body.size_hint(), self.held.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(hint.lower() + held);
        hint
    }
}

impl<B, F: FnOnce(Ending, u64)> Drop for Observed<B, F> {
    fn drop(&mut self) {
        if let Some(at_end) = self.at_end.take() {
            at_end(self.ending, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::activity::Activity;
    use super::*;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use std::sync::Mutex;

    type Piece = Result<Frame<Bytes>, BoxError>;

    fn pace() -> Pace {
        Pace::from(&Bounds::default())
    }

    #[tokio::test]
    async fn a_large_piece_is_handed_on_in_small_ones() {
        let bytes = Bytes::from((0..1_000_000u32).map(|n| n as u8).collect::<Vec<u8>>());
        let (ended, body) = (Arc::new(Mutex::new(None)), http_body_util::Full::new(bytes.clone()));
        let told = ended.clone();
        let mut body = Observed::new(
            body,
            STREAM_PIECE_BYTES_MAX,
            Arc::new(Activity::default()).begin(),
            move |ending, bytes| {
                *told.lock().expect("not poisoned") = Some((ending, bytes));
            },
        );
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.expect("cannot fail").into_data().expect("data");
            assert!(!data.is_empty() && data.len() <= STREAM_PIECE_BYTES_MAX);
            read.extend_from_slice(&data);
            assert_eq!(body.size_hint().exact(), Some(1_000_000 - read.len() as u64));
            assert_eq!(body.is_end_stream(), read.len() == 1_000_000);
        }
        drop(body);
        assert!(read == bytes);
        let ended = ended.lock().expect("not poisoned").take();
        assert!(matches!(ended, Some((Ending::Complete, 1_000_000))));
    }

    /// Pieces of some size, one every so many seconds.
    fn dripping(
        bytes: usize,
        seconds: u64,
        count: usize,
    ) -> impl Body<Data = Bytes, Error = BoxError> + Unpin + Send + 'static {
        let pieces = futures::stream::iter(0..count).then(move |_| async move {
            sleep(Duration::from_secs(seconds)).await;
            Piece::Ok(Frame::data(Bytes::from(vec![0; bytes])))
        });
        StreamBody::new(Box::pin(pieces))
    }

    async fn receive(
        body: impl Body<Data = Bytes, Error = BoxError> + Unpin + Send + 'static,
    ) -> Result<usize, BoxError> {
        Ok(RequestBody::new(body, Arc::default(), pace(), false).collect().await?.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_dripping_are_cut_and_slow_lines_are_not() {
        assert!(receive(dripping(10, 1, 1000)).await.expect_err("cut").is::<TooSlow>());
        assert!(receive(dripping(10, 100, 1)).await.expect_err("cut").is::<TooSlow>());
        assert_eq!(receive(dripping(2000, 1, 300)).await.expect("2 kB/s are fine"), 600_000);
        assert_eq!(receive(dripping(100_000, 50, 10)).await.expect("pauses are fine"), 1_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_cuts_nobody() {
        let mut body = RequestBody::new(dripping(10, 1, 50), Arc::default(), pace(), false);
        while let Some(frame) = body.frame().await {
            frame.expect("never cut");
            sleep(Duration::from_secs(100)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn received_bytes_are_counted() {
        let received = Arc::new(AtomicU64::new(0));
        RequestBody::new(dripping(7, 1, 3), received.clone(), pace(), false)
            .collect()
            .await
            .expect("complete");
        assert_eq!(received.load(Ordering::Relaxed), 21);
    }

    /// How many of 100 pieces are taken when a body is dropped after so many.
    async fn taken_of_dropped(bytes: usize, seconds: u64, after: usize, expects_continue: bool) -> u64 {
        let taken = Arc::new(AtomicU64::new(0));
        let seen = taken.clone();
        let pieces = futures::stream::iter(0..100).then(move |_| {
            let seen = seen.clone();
            async move {
                sleep(Duration::from_secs(seconds)).await;
                seen.fetch_add(1, Ordering::Relaxed);
                Piece::Ok(Frame::data(Bytes::from(vec![0; bytes])))
            }
        });
        let pieces = StreamBody::new(Box::pin(pieces));
        let mut body = RequestBody::new(pieces, Arc::default(), pace(), expects_continue);
        for _ in 0..after {
            body.frame().await.expect("a frame").expect("never cut");
        }
        drop(body);
        sleep(UNWANTED_TIME_MAX * 10).await;
        taken.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_is_taken_within_limits() {
        assert_eq!(taken_of_dropped(1000, 0, 0, false).await, 100);
        assert_eq!(taken_of_dropped(1000, 0, 7, false).await, 100);
        assert_eq!(taken_of_dropped(100_000, 0, 0, false).await, 11);
        assert_eq!(
            taken_of_dropped(UNWANTED_BYTES_MAX, 0, 0, false).await,
            2,
            "the second is seen and ends it"
        );
        assert_eq!(taken_of_dropped(UNWANTED_BYTES_MAX + 1, 0, 0, false).await, 1);
        assert_eq!(taken_of_dropped(1000, UNWANTED_SECONDS_MAX + 1, 0, false).await, 0);
        assert_eq!(taken_of_dropped(1000, 0, 0, true).await, 0, "not asked for");
        assert_eq!(taken_of_dropped(1000, 0, 1, true).await, 100, "asked for");
    }

    async fn ending_of(body: ResponseBody, frames: usize) -> (Ending, u64) {
        let seen = Arc::new(Mutex::new(None));
        let note = seen.clone();
        let mut body = Observed::new(
            body,
            STREAM_PIECE_BYTES_MAX,
            Arc::new(Activity::default()).begin(),
            move |ending, bytes| {
                assert!(note.lock().expect("unpoisoned").replace((ending, bytes)).is_none(), "told once");
            },
        );
        for _ in 0..frames {
            drop(body.frame().await);
        }
        drop(body);
        let ending = seen.lock().expect("unpoisoned").take();
        ending.expect("told")
    }

    #[tokio::test]
    async fn endings_are_told_apart() {
        assert_eq!(ending_of(full(""), 0).await, (Ending::Complete, 0));
        assert_eq!(ending_of(full("abc"), 0).await, (Ending::Aborted, 0));
        assert_eq!(ending_of(full("abc"), 1).await, (Ending::Complete, 3));
        let broken = futures::stream::iter([Piece::Ok(Frame::data("ab".into())), Piece::Err("disk".into())]);
        assert_eq!(ending_of(StreamBody::new(broken).boxed_unsync(), 2).await, (Ending::Failed, 2));
    }
}
