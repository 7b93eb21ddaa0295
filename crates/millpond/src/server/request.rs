//! One request: sorted to its door, guarded against panics, counted and logged when its response has ended.

use super::activity::{Activity, Running};
use super::admission::{Admission, Full, Place, Share};
use super::body::{
    BoxError, Ending, Observed, Pace, RequestBody, ResponseBody, STREAM_PIECE_BYTES_MAX, full,
};
use super::client::TrustedProxies;
use super::guard::{Suspect, Suspicion};
use super::metrics::{self, Metrics};
use crate::config::LogRequests;
use crate::machine;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use millpond_service::ClientAddress;
use millpond_types::limits::URL_BYTES_MAX;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which door answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The S3 protocol.
    S3,
    /// The HTTP API and the page.
    Http,
    /// The server itself: metrics, refusals before any door.
    Server,
}

impl Door {
    fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Http => "http",
            Self::Server => "server",
        }
    }
}

/// The name of the operation, put into the extensions of a response by its door.
#[derive(Clone, Copy, Debug)]
pub struct Operation(pub &'static str);

/// The doors, as the listener sees them.
pub trait Doors: Send + Sync + 'static {
    /// Whether the S3 door answers this request; else it is the HTTP door.
    fn is_s3(&self, head: &http::request::Parts) -> bool;
    /// Whether the request asks how the server is: answered whatever else there is to do.
    fn is_health(&self, head: &http::request::Parts) -> bool;
    /// Whether changes are accepted.
    fn health(&self) -> Result<(), millpond_service::Error>;
    /// Branches whose staged changes cannot be made a tree.
    fn unfoldable_branches(&self) -> usize;
    /// Answers through the S3 door.
    fn s3(&self, request: Request<RequestBody<Incoming>>) -> BoxFuture<'static, Response<ResponseBody>>;
    /// Answers through the HTTP door.
    fn http(&self, request: Request<RequestBody<Incoming>>) -> BoxFuture<'static, Response<ResponseBody>>;
}

/// What all requests share.
pub struct Requests {
    /// The doors.
    pub doors: Arc<dyn Doors>,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// What to log.
    pub log: LogRequests,
    /// Who gets in.
    pub admission: Admission,
    /// How much of a body must come.
    pub pace: Pace,
    /// Whose word about the client's address counts.
    pub trusted_proxies: TrustedProxies,
}

/// What the requests of one connection share.
#[derive(Clone)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// Whether it is encrypted.
    pub secure: bool,
    /// It is one too many.
    pub over: bool,
    /// What the guard has seen.
    pub suspicion: Arc<Suspicion>,
    /// What happens on it.
    pub activity: Arc<Activity>,
    /// What it may hold.
    pub share: Share,
}

/// The body that goes out.
pub type SentBody = Observed<ResponseBody, Box<dyn FnOnce(Ending, u64) + Send>>;

impl Requests {
    /// Answers one request.
    pub async fn answer(
        self: Arc<Self>,
        connection: Connection,
        running: Running,
        request: Request<Incoming>,
    ) -> Response<SentBody> {
        let began = machine::moment();
        let received = Arc::new(AtomicU64::new(0));
        let (head, body) = request.into_parts();
        let method = head.method.clone();
        // Never the query: it may hold a signature.
        let path = head.uri.path().to_owned();
        let expects_continue = head.headers.contains_key(header::EXPECT);
        let version = head.version;
        let body = RequestBody::new(body, received.clone(), self.pace, expects_continue);
        let fate = body.fate();
        let (door, mut response, place) =
            self.through_door(&connection, &path, Request::from_parts(head, body)).await;
        let is_http1 = version <= Version::HTTP_11;
        // The client may now send its body or leave it out: what comes next cannot be known.
        let is_unasked = expects_continue && !fate.begun();
        if is_http1 && (connection.over || is_unasked || fate.is_cut()) {
            // Said beforehand: the next request would find the connection closed.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if is_http1 && fate.is_cut() {
            connection.activity.linger();
        }
        let status = response.status();
        let request_id = request_id(response.headers());
        let operation =
            response.extensions().get::<Operation>().map_or_else(|| method_name(&method), |o| o.0);
        let log = self.log;
        let requests = self.clone();
        let is_shed = response.extensions().get::<Shed>().is_some();
        let at_end = move |ending: Ending, sent: u64| {
            drop(place);
            let took = began.elapsed();
            // The body of an answer to HEAD is never asked for.
            let ending =
                if method == Method::HEAD && ending == Ending::Aborted { Ending::Complete } else { ending };
            let received = received.load(Ordering::Relaxed);
            requests.metrics.request(door.name(), operation, status.as_u16(), took, received, sent);
            // Thousands of refusals a second would make the log the next thing to break; the metrics count them.
            let is_error = (status.is_server_error() && !is_shed) || ending != Ending::Complete;
            if log == LogRequests::All || (log == LogRequests::Errors && is_error) {
                tracing::info!(
                    target: "millpond::request",
                    request_id,
                    door = door.name(),
                    operation,
                    method = method.as_str(),
                    path,
                    status = status.as_u16(),
                    ms = took.as_micros() as f64 / 1000.0,
                    received,
                    sent,
                    peer = %connection.peer,
                    secure = connection.secure,
                    ending = ending.as_str(),
                    "request"
                );
            }
        };
        let at_end = Box::new(at_end) as Box<dyn FnOnce(Ending, u64) + Send>;
        let piece_bytes_max = if is_http1 { usize::MAX } else { STREAM_PIECE_BYTES_MAX };
        response.map(|body| Observed::new(body, piece_bytes_max, running, at_end))
    }

    async fn through_door(
        &self,
        connection: &Connection,
        path: &str,
        request: Request<RequestBody<Incoming>>,
    ) -> (Door, Response<ResponseBody>, Option<Place>) {
        if let Some(suspect) = connection.suspicion.is() {
            let mut response = match suspect {
                Suspect::Ambiguous => plain(
                    StatusCode::BAD_REQUEST,
                    "a request may have Content-Length or Transfer-Encoding, not both\n",
                ),
                Suspect::HeadTooLarge => plain(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "the request line and the headers together have more than 32 KiB\n",
                ),
            };
            // What follows on this connection may be the tail of a body, or of the head.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return (Door::Server, response, None);
        }
        let (mut head, body) = request.into_parts();
        if head.uri.path_and_query().is_some_and(|text| text.as_str().len() > URL_BYTES_MAX) {
            let response = plain(StatusCode::URI_TOO_LONG, "path and query have more than 16 KiB\n");
            return (Door::Server, response, None);
        }
        let door = if self.doors.is_s3(&head) { Door::S3 } else { Door::Http };
        if door == Door::Http && head.uri.path() == "/metrics" {
            return (Door::Server, self.metrics(&head.method), None);
        }
        let place = if door == Door::Http && self.doors.is_health(&head) {
            None
        } else if connection.over {
            return (door, busy(door, "connections"), None);
        } else {
            match self.admission.place(&connection.share, &head.method) {
                Ok(place) => Some(place),
                Err(full) => return (door, busy(door, full.as_str()), None),
            }
        };
        let client = self.trusted_proxies.client(connection.peer.ip(), &head.headers);
        head.extensions.insert(ClientAddress(client));
        let body = match &place {
            Some(place) => body.within(place.room()),
            None => body,
        };
        let method = method_name(&head.method);
        let request = Request::from_parts(head, body);
        let answer = if door == Door::S3 { self.doors.s3(request) } else { self.doors.http(request) };
        // A panic is a bug, and one client's. What others see is changed by the journal's committer, so nothing
        // half-done is left in sight.
        let response = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            tracing::error!(door = door.name(), method, path, message, "a request caused a panic");
            failure(door)
        });
        // To the door it was a body that broke off.
        let is_full = place.as_ref().is_some_and(|place| place.room().was_full());
        if is_full && !response.status().is_success() {
            return (door, busy(door, Full::Memory.as_str()), place);
        }
        (door, response, place)
    }

    fn metrics(&self, method: &Method) -> Response<ResponseBody> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n");
        }
        let mut response =
            Response::new(full(self.metrics.render(&self.doors.health(), self.doors.unfoldable_branches())));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// The id that the door gave the request.
fn request_id(headers: &HeaderMap) -> String {
    let id = headers.get("x-request-id").or_else(|| headers.get("x-amz-request-id"));
    id.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// A method as a label: the methods that clients can make up are one.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// 500.
fn failure(door: Door) -> Response<ResponseBody> {
    let message = "the server failed; its log says more";
    error(door, StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
}

/// Marks the answer to a request that was not let in.
#[derive(Clone, Copy)]
struct Shed;

/// 503: there is too much of something.
fn busy(door: Door, of_what: &'static str) -> Response<ResponseBody> {
    metrics::shed_request(of_what);
    let message = "the server has too much to do; try again in a moment";
    let mut response = error(door, StatusCode::SERVICE_UNAVAILABLE, "SlowDown", message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response.extensions_mut().insert(Shed);
    response
}

/// An error in the form that clients of the door can read.
fn error(door: Door, status: StatusCode, code: &str, message: &str) -> Response<ResponseBody> {
    let (kind, body) = match door {
        Door::S3 => (
            "application/xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                 <Message>{message}</Message></Error>"
            ),
        ),
        Door::Http | Door::Server => ("application/json", format!("{{\"message\":\"{message}\"}}\n")),
    };
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A response of a door with its own kind of body.
pub fn boxed<B>(response: Response<B>) -> Response<ResponseBody>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}
