//! The listener with doors that only say who they are.

use super::body::{RequestBody, ResponseBody, full};
use super::metrics::Metrics;
use super::request::{Doors, Operation, Requests};
use super::tls::tests::write_certificate;
use super::*;
use crate::config::LogRequests;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use millpond_types::limits;
use rustls::pki_types::ServerName;
use std::sync::OnceLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Paths say what happens; requests with `x-s3` are for the S3 door.
struct Signs;

impl Signs {
    fn answer(
        door: &'static str,
        request: Request<RequestBody<Incoming>>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            match request.uri().path() {
                "/panic" => panic!("a panic for the test"),
                "/slow" => sleep(Duration::from_millis(300)).await,
                "/endless" => {
                    let piece = || Ok(hyper::body::Frame::data(vec![b'x'; 64 * 1024].into()));
                    let pieces = futures::stream::repeat_with(piece);
                    return Response::new(http_body_util::StreamBody::new(pieces).boxed_unsync());
                }
                "/refused" => return Response::new(full("refused unread")),
                _ => {}
            }
            let body = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => error.to_string().into(),
            };
            let mut response = Response::new(full(format!("{door}:{}", String::from_utf8_lossy(&body))));
            response.extensions_mut().insert(Operation("TestOperation"));
            response
        }
        .boxed()
    }
}

impl Doors for Signs {
    fn is_s3(&self, head: &http::request::Parts) -> bool {
        head.headers.contains_key("x-s3")
    }
    fn is_health(&self, head: &http::request::Parts) -> bool {
        head.uri.path() == "/health"
    }
    fn health(&self) -> Result<(), millpond_service::Error> {
        Ok(())
    }
    fn unfoldable_branches(&self) -> usize {
        0
    }
    fn s3(&self, request: Request<RequestBody<Incoming>>) -> BoxFuture<'static, Response<ResponseBody>> {
        Self::answer("s3", request)
    }
    fn http(&self, request: Request<RequestBody<Incoming>>) -> BoxFuture<'static, Response<ResponseBody>> {
        Self::answer("http", request)
    }
}

fn the_metrics() -> Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| Metrics::install().expect("installed once")).clone()
}

pub(super) struct Running {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Stopped>,
}

async fn start(certificates: Option<Arc<Certificates>>, connections_max: usize) -> Running {
    start_with(certificates, Bounds { connections_max, ..Bounds::default() }).await
}

pub(super) async fn start_with(certificates: Option<Arc<Certificates>>, bounds: Bounds) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::new(Requests {
        doors: Arc::new(Signs),
        metrics: the_metrics(),
        log: LogRequests::All,
        admission: Admission::new(&bounds),
        pace: body::Pace::from(&bounds),
        trusted_proxies: TrustedProxies::default(),
    });
    let server = Server { listener, certificates, requests, bounds };
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.serve(async move { drop(stopped.await) }));
    Running { address, stop, ended }
}

impl Running {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }
    pub async fn ask(&self, text: &str) -> String {
        ask(self.connect().await, text).await
    }
}

/// Sends a text and reads until the end.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8(answer).expect("UTF-8")
}

pub(super) fn get(path: &str, header: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{header}Connection: close\r\n\r\n")
}

#[tokio::test]
async fn requests_go_to_their_doors() {
    let server = start(None, 10).await;
    assert!(server.ask(&get("/", "")).await.ends_with("\r\n\r\nhttp:"));
    assert!(server.ask(&get("/", "x-s3: 1\r\n")).await.ends_with("\r\n\r\ns3:"));
    let put = "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert!(server.ask(put).await.ends_with("http:hello"));
    let metrics = server.ask(&get("/metrics", "")).await;
    for part in [
        "millpond_requests_total{door=\"http\",operation=\"TestOperation\",status=\"2xx\"}",
        "millpond_request_duration_seconds_bucket{door=\"s3\",operation=\"TestOperation\",status=\"2xx\",le=\"0.001\"}",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "millpond_connections ",
    ] {
        assert!(metrics.contains(part), "{part} in {metrics}");
    }
    // A bucket may be called metrics; who signs gets the S3 door.
    assert!(server.ask(&get("/metrics", "x-s3: 1\r\n")).await.ends_with("s3:"));
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let server = start(None, 10).await;
    let answer = server.ask(&get("/panic", "")).await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("{\"message\":"), "{answer}");
    let answer = server.ask(&get("/panic", "x-s3: 1\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("<Code>InternalError</Code>"), "{answer}");
    assert!(server.ask(&get("/", "")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_whose_body_nobody_wants_can_send_it_and_go_on() {
    let server = start(None, 10).await;
    let mut stream = server.connect().await;
    let body = "x".repeat(600_000);
    let head = format!("PUT /refused HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"refused unread") {
        assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "closed before the answer");
    }
    stream.write_all(body.as_bytes()).await.expect("sent");
    assert!(ask(stream, &get("/", "")).await.ends_with("http:"));
}

#[tokio::test]
async fn a_client_with_more_than_is_thrown_away_is_told_that_the_connection_ends() {
    let server = start(None, 10).await;
    let mut stream = server.connect().await;
    let body = vec![b'x'; 5 << 20];
    let head = format!("PUT /refused HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&body).await.expect("all of it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer and an orderly end");
    assert!(answer.contains("connection: close") && answer.ends_with("refused unread"), "{answer}");
}

#[tokio::test]
async fn a_body_that_was_not_asked_for_never_leaks_into_the_next_request() {
    let server = start(None, 10).await;
    let head = "PUT /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = server.ask(head).await;
    assert!(answer.contains("connection: close") && !answer.contains("100 Continue"), "{answer}");
    assert!(answer.ends_with("refused unread"), "{answer}");
}

#[tokio::test]
async fn heads_have_limits() {
    let server = start(None, 10).await;
    let status = async |text: String| server.ask(&text).await.split(' ').nth(1).expect("a status").to_owned();
    let url = |bytes: usize| get(&format!("/{}", "a".repeat(bytes - 1)), "");
    let headers = |count: usize| get("/", &"X: 1\r\n".repeat(count - 2));
    let head = |bytes: usize| {
        let fixed = get("/", "X: \r\n").len();
        get("/", &format!("X: {}\r\n", "a".repeat(bytes - fixed)))
    };
    for size in [limits::URL_BYTES_MAX - 1, limits::URL_BYTES_MAX] {
        assert_eq!(status(url(size)).await, "200");
    }
    assert_eq!(status(url(limits::URL_BYTES_MAX + 1)).await, "414");
    for count in [limits::HEADERS_MAX - 1, limits::HEADERS_MAX] {
        assert_eq!(status(headers(count)).await, "200");
    }
    assert_eq!(status(headers(limits::HEADERS_MAX + 1)).await, "431");
    for size in [limits::HEAD_BYTES_MAX - 1, limits::HEAD_BYTES_MAX] {
        assert_eq!(status(head(size)).await, "200");
    }
    for size in [limits::HEAD_BYTES_MAX + 1, limits::HEAD_BYTES_MAX * 2, limits::HEAD_BYTES_MAX * 20] {
        assert_eq!(status(head(size)).await, "431", "{size}");
    }
    // The request that is left of a head too large is not run, nor is what follows it.
    let answer = server.ask(&(head(limits::HEAD_BYTES_MAX + 9) + &get("/smuggled", ""))).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn two_framings_are_refused_and_their_tail_is_not_run() {
    let server = start(None, 10).await;
    for framing in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ] {
        let text = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = server.ask(&text).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn http_and_https_share_the_port_and_https_speaks_both_versions() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, certificate) = write_certificate(folder.path());
    let server = start(Some(Certificates::load(files).expect("loads")), 10).await;
    assert!(server.ask(&get("/", "")).await.ends_with("http:"), "plain HTTP beside TLS");
    for protocol in ["http/1.1", "h2"] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = connector.connect(name, server.connect().await).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        if protocol == "h2" {
            // Preface and empty SETTINGS; the server answers with its own SETTINGS (type 4).
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).await.expect("a frame");
            assert_eq!(frame[3], 4);
        } else {
            stream.write_all(get("/", "").as_bytes()).await.expect("sent");
            let mut answer = Vec::new();
            // The end without close_notify is as good as any here.
            drop(stream.read_to_end(&mut answer).await);
            assert!(answer.ends_with(b"http:"), "{}", String::from_utf8_lossy(&answer));
        }
    }
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let server = start(None, 1).await;
    let mut first = server.connect().await;
    // The first connection holds its place for certain once it has been answered.
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("an answer");
    let refused = server.ask(&get("/", "")).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("connection: close"), "{refused}");
    assert!(server.ask(&get("/", "x-s3: 1\r\n")).await.contains("<Code>SlowDown</Code>"));
    assert!(server.ask(&get("/health", "")).await.starts_with("HTTP/1.1 200"), "health is always told");
    assert!(
        server
            .ask(&get("/metrics", ""))
            .await
            .contains("millpond_requests_shed_total{reason=\"connections\"}")
    );
    drop(first);
    // Its place is free as soon as the server has seen it go.
    while !server.ask(&get("/", "")).await.starts_with("HTTP/1.1 200") {
        tokio::task::yield_now().await;
    }
}

/// More at once than are refused at a time: the next waits for one of them to end.
#[tokio::test]
async fn a_crowd_beyond_the_bound_waits_for_its_refusal() {
    let server = start(None, 1).await;
    let mut silent = Vec::new();
    for _ in 0..=SHEDDING_MAX {
        silent.push(server.connect().await);
    }
    let mut last = server.connect().await;
    last.write_all(get("/health", "").as_bytes()).await.expect("sent");
    // Time for the listener to come to it, one way or the other.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    silent.pop();
    assert!(ask(last, "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn too_many_writes_are_told_so_and_reads_are_served() {
    let server = start_with(None, Bounds { requests_max: 4, ..Bounds::default() }).await;
    let head =
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut writing = server.connect().await;
        writing.write_all(head.as_bytes()).await.expect("sent");
        // It has its place once its continuation is asked for.
        writing.read_exact(&mut [0; 25]).await.expect("100 Continue");
        held.push(writing);
    }
    let put = |header: &str| {
        format!("PUT / HTTP/1.1\r\nHost: a\r\n{header}Content-Length: 2\r\nConnection: close\r\n\r\nok")
    };
    let refused = server.ask(&put("")).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("{\"message\":"), "{refused}");
    let refused = server.ask(&put("x-s3: 1\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("<Code>SlowDown</Code>"), "{refused}");
    assert!(server.ask(&get("/", "")).await.starts_with("HTTP/1.1 200"));
    for writing in held {
        assert!(ask(writing, "ok").await.ends_with("http:ok"), "who was let in is served");
    }
    assert!(server.ask(&put("")).await.ends_with("http:ok"));
}

#[tokio::test]
async fn a_stop_finishes_what_runs_and_takes_nothing_new() {
    let server = start(None, 10).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut running = server.connect().await;
    // The request has reached the door once its continuation is asked for.
    let head = "PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    running.write_all(head.as_bytes()).await.expect("sent");
    let mut interim = [0; 25];
    running.read_exact(&mut interim).await.expect("100 Continue");
    server.stop.send(()).expect("running");
    let answer = ask(running, "ok").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("http:ok"), "{answer}");
    assert_eq!(server.ended.await.expect("no panic"), Stopped::Orderly);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.expect("closed in order");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_closed() {
    let server = start(None, 10).await;
    let mut silent = server.connect().await;
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.expect("closed");
    assert!(rest.is_empty());
}
