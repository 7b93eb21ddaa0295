//! A connection that does not wait for ever: a head that has begun must end in time. It also watches the framing (see
//! [`Framing`]), and tells when the socket takes no more.
//!
//! How long a *body* may take is decided in [`super::body`], where it is known that somebody waits for it; an
//! idle connection is closed by the HTTP library.

use super::activity::Activity;
use super::bounds::Bounds;
use super::framing::{Finding, Framing};
use millpond_types::limits::UNWANTED_SECONDS_MAX;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What requests of a connection need to know of it: what was seen that makes everything from there on
/// untrustworthy, if anything.
#[derive(Debug, Default)]
pub struct Suspicion(AtomicU8);

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// A request has two framings.
    Ambiguous = 1,
    /// A head is too large; the request that the library sees is its beginning.
    HeadTooLarge = 2,
}

impl Suspicion {
    /// What was seen, if anything.
    pub fn is(&self) -> Option<Suspect> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Suspect::Ambiguous),
            _ => Some(Suspect::HeadTooLarge),
        }
    }
    fn raise(&self, suspect: Suspect) {
        self.0.store(suspect as u8, Ordering::Release);
    }
}

/// A stream under guard. Framing is followed only if the stream turns out to speak HTTP/1.
pub struct Guarded<S> {
    stream: S,
    framing: Framing,
    suspicion: Arc<Suspicion>,
    activity: Arc<Activity>,
    /// Time for a head, from its first byte to its last.
    head_max: Duration,
    /// Nothing more is read: what comes is the rest of a head that is too large.
    is_cut: bool,
    is_shut: bool,
    /// The byte read last.
    last: u8,
    head: Option<Pin<Box<Sleep>>>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    /// Guards a stream.
    pub fn new(stream: S, suspicion: Arc<Suspicion>, activity: Arc<Activity>, bounds: &Bounds) -> Self {
        Self {
            stream,
            framing: Framing::new(),
            suspicion,
            activity,
            head_max: bounds.head,
            is_cut: false,
            is_shut: false,
            last: 0,
            head: None,
            linger: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_cut {
            // An end here would make the library drop the answer, which closes the connection anyway.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(outcome) => {
                outcome?;
                match this.framing.feed(&buffer.filled()[before..]) {
                    Finding::Fine => {}
                    Finding::Ambiguous => this.suspicion.raise(Suspect::Ambiguous),
                    Finding::HeadTooLarge { excess } => {
                        // The library would wait for the end, or close without a word. It gets an end, and the
                        // request, which is now another, an answer that says so. Whether the cut is in a name, in
                        // a value or between lines, this makes a header of it.
                        const END: &[u8] = b"\nx:\r\n\r\n";
                        let kept = (buffer.filled().len() - before).saturating_sub(excess + END.len());
                        buffer.set_filled(before + kept);
                        if buffer.remaining() < END.len() {
                            return Poll::Ready(Err(invalid("the head is too large")));
                        }
                        let last = buffer.filled()[before..].last().copied().unwrap_or(this.last);
                        buffer.put_slice(if last == b'\r' { END } else { &END[1..] });
                        this.suspicion.raise(Suspect::HeadTooLarge);
                        this.is_cut = true;
                    }
                    Finding::LineTooLong => {
                        return Poll::Ready(Err(invalid("a line of chunked framing is too long")));
                    }
                }
                this.last = buffer.filled()[before..].last().copied().unwrap_or(this.last);
                if !this.framing.is_in_head() {
                    this.head = None;
                } else if this.head.is_none() {
                    this.head = Some(Box::pin(sleep(this.head_max)));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                let Some(timer) = &mut this.head else { return Poll::Pending };
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head did not end in time")))
            }
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<S> Guarded<S> {
    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.full(outcome.is_pending());
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.noted(outcome)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.noted(outcome)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.noted(outcome)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_shut {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.is_shut = true;
        }
        if !this.is_cut && !this.activity.lingers() {
            return Poll::Ready(Ok(()));
        }
        // Closing with unread bytes would take the answer back (RFC 9112, 9.6).
        let timer =
            this.linger.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(UNWANTED_SECONDS_MAX))));
        let mut room = [0; 4096];
        while timer.as_mut().poll(cx).is_pending() {
            let mut rest = ReadBuf::new(&mut room);
            match Pin::new(&mut this.stream).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {}
                Poll::Ready(_) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn guarded<S>(stream: S) -> Guarded<S> {
        Guarded::new(stream, Arc::default(), Arc::default(), &Bounds::default())
    }

    async fn read_all(mut stream: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.map(|_| bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_cut() {
        let (mut client, server) = duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a").await.expect("written");
        let error = read_all(guarded(server)).await.expect_err("cut");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_byte_by_byte_is_cut_too() {
        let (mut client, server) = duplex(1024);
        let slow = tokio::spawn(async move {
            while client.write_all(b"a").await.is_ok() {
                sleep(Duration::from_secs(3)).await;
            }
        });
        let error = read_all(guarded(server)).await.expect_err("cut");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        slow.await.expect("ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_connection_between_requests_is_left_to_the_library() {
        let (mut client, server) = duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
        let reading = tokio::time::timeout(Duration::from_secs(300), read_all(guarded(server)));
        assert!(reading.await.is_err(), "still open");
    }

    #[tokio::test]
    async fn two_framings_raise_suspicion() {
        let (mut client, server) = duplex(1024);
        let suspicion = Arc::new(Suspicion::default());
        client.write_all(b"GET / HTTP/1.1\r\nContent-Length: 1\r\n").await.expect("written");
        let mut guarded = Guarded::new(server, suspicion.clone(), Arc::default(), &Bounds::default());
        let mut buffer = [0; 256];
        assert!(guarded.read(&mut buffer).await.expect("read") > 0);
        assert_eq!(suspicion.is(), None);
        client.write_all(b"Transfer-Encoding: chunked\r\n\r\n").await.expect("written");
        assert!(guarded.read(&mut buffer).await.expect("read") > 0);
        assert_eq!(suspicion.is(), Some(Suspect::Ambiguous));
    }
}
