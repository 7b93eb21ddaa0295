//! The listener: one port for http and https, HTTP/1.1 and HTTP/2, for all doors.
//!
//! It owns what happens before and around a request: TLS, limits on connections and on waiting, orderly
//! stop. It does not know what a request means; [`Doors`] does.

mod activity;
mod admission;
pub mod body;
mod bounds;
mod client;
mod framing;
mod guard;
pub mod metrics;
mod request;
pub mod tls;

pub use admission::Admission;
pub use bounds::Bounds;
pub use client::TrustedProxies;
pub use request::{Doors, Operation, Requests, boxed};

use activity::Verdict;
use guard::{Guarded, Suspicion};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use millpond_types::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use request::Connection;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tls::Certificates;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Time for running requests to end after the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that a connection beyond the bound has to ask for its refusal and read it.
const SHED_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections beyond the bound at the same time.
const SHEDDING_MAX: usize = 256;
/// How long still one more waits to be among them; then it is closed without a word.
const SHED_WAIT: Duration = Duration::from_secs(1);
/// Streams that an HTTP/2 client has taken back before we looked at them; one with more is a flood (CVE-2023-44487).
const STREAMS_TAKEN_BACK_MAX: usize = 20;
/// Requests at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// A bound port, ready to serve.
pub struct Server {
    /// Where connections come from.
    pub listener: TcpListener,
    /// For https, if there is a certificate.
    pub certificates: Option<Arc<Certificates>>,
    /// What answers.
    pub requests: Arc<Requests>,
    /// How much at a time, and how long.
    pub bounds: Bounds,
}

/// How the stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every request was answered.
    Orderly,
    /// Some requests took too long and were cut off.
    CutOff,
}

impl Server {
    /// Serves until `stop` is ready, then finishes what runs.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Stopped {
        let tls =
            self.certificates.as_ref().map(|certificates| TlsAcceptor::from(certificates.server_config()));
        let watching = self.certificates.clone().map(|certificates| tokio::spawn(certificates.watch()));
        let slots = Arc::new(Semaphore::new(self.bounds.connections_max));
        let shedding = Arc::new(Semaphore::new(SHEDDING_MAX));
        let (stopping, stopped) = watch::channel(false);
        // Closed when the last connection has dropped its sender.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: the backlog waits until some are free again.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // One connection too many is answered all the same, with a refusal that its client understands; a
            // health check on it is answered well. When too many are being refused, the next waits in the backlog of
            // the system: whoever is closed without a word comes again at once, health checks among them.
            let (slot, over) = tokio::select! {
                biased;
                slot = slots.clone().acquire_owned() => (slot, false),
                slot = shedding.clone().acquire_owned() => (slot, true),
                () = sleep(SHED_WAIT) => {
                    metrics::shed_connection();
                    continue;
                }
            };
            let Ok(slot) = slot else { continue };
            if over {
                metrics::shed_connection();
            }
            let accepted = Accepted {
                stream,
                peer,
                tls: tls.clone(),
                over,
                requests: self.requests.clone(),
                bounds: self.bounds,
                stopped: stopped.clone(),
            };
            let alive = alive.clone();
            tokio::spawn(async move {
                let open = metrics::OpenConnection::new();
                let longest = if over { SHED_TIMEOUT } else { Duration::MAX };
                match timeout(longest, accepted.serve()).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection failed"),
                }
                drop((open, slot, alive));
            });
        }
        drop(self.listener);
        drop(alive);
        stopping.send_replace(true);
        if let Some(watching) = watching {
            watching.abort();
        }
        match timeout(STOP_TIMEOUT, all_gone.recv()).await {
            Ok(_) => Stopped::Orderly,
            Err(_) => Stopped::CutOff,
        }
    }
}

/// A new connection.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    over: bool,
    requests: Arc<Requests>,
    bounds: Bounds,
    stopped: watch::Receiver<bool>,
}

type ServeError = Box<dyn std::error::Error + Send + Sync>;

impl Accepted {
    async fn serve(self) -> Result<(), ServeError> {
        let Self { stream, peer, tls, over, requests, bounds, mut stopped } = self;
        stream.set_nodelay(true)?;
        watch_progress(&stream, bounds.stalled)?;
        let (suspicion, activity) = (Arc::default(), Arc::default());
        let share = requests.admission.share();
        let connection = Connection { peer, secure: false, over, suspicion, activity, share };
        let Some(tls) = tls else { return serve_stream(stream, connection, requests, bounds, stopped).await };
        let opening = async {
            if speaks_tls(&stream).await? {
                Ok(Opened::Tls(Box::new(tls.accept(stream).await?)))
            } else {
                Ok(Opened::Plain(stream))
            }
        };
        let opened: io::Result<Opened> = tokio::select! {
            opened = timeout(bounds.first_request, opening) => opened.map_err(io::Error::from).flatten(),
            // Nothing was asked yet, so nothing is lost.
            _ = stopped.wait_for(|&stopped| stopped) => return Ok(()),
        };
        match opened? {
            Opened::Plain(stream) => serve_stream(stream, connection, requests, bounds, stopped).await,
            Opened::Tls(stream) => {
                let connection = Connection { secure: true, ..connection };
                serve_stream(stream, connection, requests, bounds, stopped).await
            }
        }
    }
}

enum Opened {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// A TLS connection begins with a handshake record, whose type is no letter of any HTTP method.
async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    const HANDSHAKE: u8 = 0x16;
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first == [HANDSHAKE])
}

/// Lets the system end the connection when its peer has acknowledged nothing for this long of what waits for it.
///
/// Nobody else sees that. A socket takes more from us only when a third of its buffer is free, which at 40 kB/s was seen to
/// take 27 s. A receiver of Linux in turn shows its progress in steps of up to 105 kB: twice the time, so that
/// 1 KiB a second is never cut.
fn watch_progress(stream: &TcpStream, stalled: Duration) -> io::Result<()> {
    let millis = u32::try_from(stalled.as_millis().saturating_mul(2)).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?)
}

async fn serve_stream<S>(
    stream: S,
    connection: Connection,
    requests: Arc<Requests>,
    bounds: Bounds,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let suspicion: Arc<Suspicion> = connection.suspicion.clone();
    let activity = connection.activity.clone();
    let service = service_fn(move |request| {
        let running = connection.activity.begin();
        let answer = requests.clone().answer(connection.clone(), running, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = http_builder();
    let stream = TokioIo::new(Guarded::new(stream, suspicion, activity.clone(), &bounds));
    let mut serving = pin!(builder.serve_connection(stream, service));
    let mut look = pin!(sleep(bounds.first_request));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            outcome = serving.as_mut() => return outcome,
            () = look.as_mut() => match activity.verdict(&bounds) {
                Verdict::Wait(left) => look.as_mut().reset(Instant::now() + left),
                Verdict::Cut => return Err("the client takes nothing of its responses".into()),
                Verdict::Part => {
                    if !is_stopping {
                        serving.as_mut().graceful_shutdown();
                        is_stopping = true;
                    }
                    look.as_mut().reset(Instant::now() + bounds.stalled);
                }
                // In order, where the client has been told that it may ask; it may be asking right now.
                Verdict::End if !is_stopping && activity.has_asked() => {
                    serving.as_mut().graceful_shutdown();
                    is_stopping = true;
                    look.as_mut().reset(Instant::now() + bounds.stalled);
                }
                Verdict::End => return Ok(()),
            },
            _ = stopped.wait_for(|&stopped| stopped), if !is_stopping => {
                serving.as_mut().graceful_shutdown();
                is_stopping = true;
            }
        }
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Times between and in heads are ours to watch: the library knows them for HTTP/1 only.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(STREAMS_TAKEN_BACK_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        // What a client may send before anybody reads it, and so what each connection can make us hold.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20);
    // No pings of ours: behind what a slow client has still to take, their answer comes too late, and who is gone is
    // noticed by the times above.
    builder
}

#[cfg(test)]
mod slow_clients;
#[cfg(test)]
mod tests;
