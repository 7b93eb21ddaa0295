//! The listener: one port for http and https, HTTP/1.1 and HTTP/2, for all doors.
//!
//! It owns what happens before and around a request: TLS, limits on connections and on waiting, orderly
//! stop. It does not know what a request means; [`Doors`] does.

pub mod body;
mod framing;
mod guard;
pub mod metrics;
mod request;
pub mod tls;

pub use request::{Doors, Operation, Requests, boxed};

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tls::Certificates;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Time from accepting a connection to its first request, TLS handshake included.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Time that a connection may be idle between requests. Longer than the pools of SDKs keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Time for running requests to end after the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that a refused connection has to read the refusal.
const SHED_TIMEOUT: Duration = Duration::from_secs(1);
/// Refusals in work at the same time; beyond that connections are closed without a word.
const SHEDDING_MAX: usize = 256;
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
    /// Connections at the same time.
    pub connections_max: usize,
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
        let slots = Arc::new(Semaphore::new(self.connections_max));
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
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                metrics::shed();
                if let Ok(permit) = shedding.clone().try_acquire_owned() {
                    let secure = tls.is_some();
                    tokio::spawn(async move {
                        drop(timeout(SHED_TIMEOUT, shed(stream, secure)).await);
                        drop(permit);
                    });
                }
                continue;
            };
            let accepted = Accepted {
                stream,
                peer,
                tls: tls.clone(),
                requests: self.requests.clone(),
                stopped: stopped.clone(),
            };
            let alive = alive.clone();
            tokio::spawn(async move {
                let open = metrics::OpenConnection::new();
                if let Err(error) = accepted.serve().await {
                    tracing::debug!(%peer, %error, "a connection failed");
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
    requests: Arc<Requests>,
    stopped: watch::Receiver<bool>,
}

type ServeError = Box<dyn std::error::Error + Send + Sync>;

impl Accepted {
    async fn serve(self) -> Result<(), ServeError> {
        let Self { stream, peer, tls, requests, mut stopped } = self;
        stream.set_nodelay(true)?;
        let connection = Connection { peer, secure: false, suspicion: Arc::default() };
        let Some(tls) = tls else { return serve_stream(stream, connection, requests, stopped).await };
        let opening = async {
            if speaks_tls(&stream).await? {
                Ok(Opened::Tls(Box::new(tls.accept(stream).await?)))
            } else {
                Ok(Opened::Plain(stream))
            }
        };
        let opened: io::Result<Opened> = tokio::select! {
            opened = timeout(FIRST_REQUEST_TIMEOUT, opening) => opened.map_err(io::Error::from).flatten(),
            // Nothing was asked yet, so nothing is lost.
            _ = stopped.wait_for(|&stopped| stopped) => return Ok(()),
        };
        match opened? {
            Opened::Plain(stream) => serve_stream(stream, connection, requests, stopped).await,
            Opened::Tls(stream) => {
                serve_stream(stream, Connection { secure: true, ..connection }, requests, stopped).await
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

async fn serve_stream<S>(
    stream: S,
    connection: Connection,
    requests: Arc<Requests>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let suspicion: Arc<Suspicion> = connection.suspicion.clone();
    let was_asked = Arc::new(AtomicBool::new(false));
    let asked = was_asked.clone();
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        let answer = requests.clone().answer(connection.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = http_builder();
    let mut serving = pin!(builder.serve_connection(TokioIo::new(Guarded::new(stream, suspicion)), service));
    let mut first_request = pin!(sleep(FIRST_REQUEST_TIMEOUT));
    let mut waits_for_first = true;
    let mut is_stopping = false;
    loop {
        tokio::select! {
            outcome = serving.as_mut() => return outcome,
            () = first_request.as_mut(), if waits_for_first => {
                if !was_asked.load(Ordering::Relaxed) {
                    return Ok(());
                }
                waits_for_first = false;
            }
            _ = stopped.wait_for(|&stopped| stopped), if !is_stopping => {
                serving.as_mut().graceful_shutdown();
                is_stopping = true;
            }
        }
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Tells a client in plain HTTP that there are too many. In TLS nothing can be said without a handshake.
async fn shed(mut stream: TcpStream, may_be_tls: bool) -> io::Result<()> {
    if may_be_tls && speaks_tls(&stream).await? {
        return Ok(());
    }
    let text = "too many connections; try again in a moment\n";
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with unread bytes would take the answer back (RFC 9112, 9.6).
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests;
