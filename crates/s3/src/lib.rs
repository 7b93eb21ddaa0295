//! The S3 door: Amazon S3's protocol over the service's verbs. Bucket = repository, key = `ref/path`.
//!
//! It exists so that boto3, s3fs, PyArrow, DuckDB, rclone and everything else that speaks S3 works on branches,
//! tags and commits unchanged. It parses a request, calls one verb, renders the answer. It does not know how
//! objects, refs or keys are stored, who may do what, or what the HTTP door does; it reads no clock.
//!
//! Order of work: the guard (what would not be under the signature is refused), the signature, the operation.
//! Nothing of a body is read before the first two have passed. Why the protocol is written here and not
//! taken from the `s3s` crate: `docs/design/s3-door.md` beside this crate.

mod address;
mod attributes;
mod auth;
mod call;
mod checksum;
mod conditions;
mod date;
mod error;
mod ops;
mod payload;
mod query;
mod response;
mod route;
mod xml;

pub use address::is_s3;
pub use response::{BoxBody, BoxError};

use address::Place;
use auth::host;
use bytes::Bytes;
use call::Call;
use error::{S3Error, S3Result, Subject};
use futures::stream::{BoxStream, StreamExt};
use http::header::{CONNECTION, EXPECT, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use http_body::Body;
use http_body_util::BodyDataStream;
use millpond_service::limits::{IDEMPOTENCY_KEY_BYTES_MAX, UNWANTED_BYTES_MAX, UNWANTED_SECONDS_MAX};
use millpond_service::{Caller, ClientAddress, Service};
use payload::Payload;
use query::Query;
use response::Response;
use route::Operation;
use std::sync::Arc;
use std::time::Duration;

/// How the door is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// Host names of the door: a request to one of them is path style, to `<bucket>.<domain>` virtual-host style.
    pub domains: Vec<String>,
    /// Region told to clients, for instance `us-east-1`. Signatures for any region are taken.
    pub region: String,
}

/// The S3 operation that an answer is of, for instance `GetObject`: in the extensions of every answer whose
/// request got that far, for metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationName(pub &'static str);

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    service: Arc<Service>,
    domains: Arc<[String]>,
    region: Arc<str>,
    signing_keys: Arc<auth::SigningKeys>,
}

impl Door {
    /// A door to the service.
    pub fn new(service: Arc<Service>, options: Options) -> Self {
        Self {
            service,
            domains: options.domains.into(),
            region: options.region.into(),
            signing_keys: Arc::default(),
        }
    }

    /// Answers one request, whatever it is; errors are answers too.
    ///
    /// Takes any body (hyper's `Incoming` in the server). The body of the answer is an
    /// [`UnsyncBoxBody`](http_body_util::combinators::UnsyncBoxBody) that hyper sends as it is; it ends in an
    /// error, which closes the connection, when stored bytes turn out damaged after the answer has begun.
    pub async fn handle<B>(&self, request: http::Request<B>) -> http::Response<BoxBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let place = Place::of(host(&parts), parts.uri.path(), &self.domains);
        let query = Query::parse(parts.uri.query());
        let idempotency_key = idempotency_key(&parts.headers);
        let unreadable = place.as_ref().err().or(query.as_ref().err()).or(idempotency_key.as_ref().err());
        let unreadable = unreadable.cloned();
        let request_id = self.service.new_request_id();
        let mut call = Call {
            service: self.service.clone(),
            caller: Caller {
                principal: None,
                request_id,
                idempotency_key: idempotency_key.unwrap_or_default(),
                address: parts.extensions.get().map(|&ClientAddress(address)| address),
            },
            parts,
            query: query.unwrap_or_default(),
            place: place.unwrap_or_default(),
            region: self.region.clone(),
            signing_keys: self.signing_keys.clone(),
        };
        let mut progress = Progress::default();
        let source = BodyDataStream::new(body).map(|item| item.map_err(Into::into)).boxed();
        let outcome = match unreadable {
            Some(error) => {
                progress.leave(source, &call).await;
                Err(error)
            }
            None => serve(&mut call, source, &mut progress).await,
        };
        let mut response = outcome.unwrap_or_else(|error| refuse(error, &call));
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&call.caller.request_id) {
            headers.insert(HeaderName::from_static("x-amz-request-id"), id);
        }
        headers.insert(SERVER, HeaderValue::from_static("Millpond"));
        if progress.close && call.parts.version <= Version::HTTP_11 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(operation) = progress.operation {
            response.extensions_mut().insert(OperationName(operation.name()));
        }
        response
    }
}

/// One that cannot be kept is refused: a client that relies on it must not go on without.
fn idempotency_key(headers: &HeaderMap) -> S3Result<Option<String>> {
    match headers.get("idempotency-key").map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(key)) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        Some(_) => Err(S3Error::invalid_argument("the Idempotency-Key must be 1 to 255 ASCII characters")),
    }
}

/// What became of a request, besides its answer.
#[derive(Default)]
struct Progress {
    operation: Option<Operation>,
    /// The connection cannot be used again: what the client would send next is unknown.
    close: bool,
}

impl Progress {
    /// Deals with a body that nobody has begun to read. With `Expect: 100-continue` nothing is under way, and
    /// asking for it now would be a lie. Keeping the connection would be worse: the client may leave the body
    /// out, and the HTTP layer would take the first bytes of its next request for it.
    async fn leave(&mut self, source: Source, call: &Call) {
        self.close = call.parts.headers.contains_key(EXPECT) || !drain(source).await;
    }
}

type Source = BoxStream<'static, Result<Bytes, BoxError>>;

async fn serve(call: &mut Call, source: Source, progress: &mut Progress) -> S3Result<Response> {
    let (mode, signer) = match authenticate(call).await {
        Ok(authenticated) => authenticated,
        Err(error) => {
            progress.leave(source, call).await;
            return Err(error);
        }
    };
    let mut payload = match Payload::new(source, mode, signer, &call.parts.headers) {
        Ok(payload) => payload,
        Err((error, source)) => {
            progress.leave(source, call).await;
            return Err(error);
        }
    };
    let outcome = match Operation::of(&call.parts.method, &call.place, &call.query, &call.parts.headers) {
        Ok(operation) => {
            progress.operation = Some(operation);
            operation.run(call, &mut payload).await
        }
        Err(error) => Err(error),
    };
    if !payload.is_begun() {
        progress.leave(payload.into_source(), call).await;
    } else if outcome.is_err() {
        progress.close = !drain(payload.into_source()).await;
    }
    outcome
}

/// The guard, the key, the signature. Sets the caller.
async fn authenticate(call: &mut Call) -> S3Result<(auth::PayloadMode, auth::ChunkSigner)> {
    let claim = auth::claim(&call.parts, &call.query, call.service.now())?;
    let Some((secret, principal)) = call.service.signing_key(claim.access_key_id).await? else {
        return Err(S3Error::new(403, "InvalidAccessKeyId", "the access key id does not exist here"));
    };
    let signer = claim.verify(&secret, &call.signing_keys, &call.parts, &call.query)?;
    let (payload, presigned) = (claim.payload, claim.presigned);
    call.caller.principal = Some(principal);
    if presigned {
        call::unhoist(&mut call.parts.headers, &call.query);
    }
    Ok((payload, signer))
}

/// Reads what a refused client is still sending, within limits; whether it came to an end. A server that closes
/// on unread bytes resets the connection, and the client never sees the answer.
async fn drain(mut source: Source) -> bool {
    let reading = async {
        let mut left = UNWANTED_BYTES_MAX;
        while let Some(item) = source.next().await {
            let rest = item.ok().and_then(|bytes| left.checked_sub(bytes.len()));
            let Some(rest) = rest else { return false };
            left = rest;
        }
        true
    };
    tokio::time::timeout(Duration::from_secs(UNWANTED_SECONDS_MAX), reading).await.unwrap_or(false)
}

fn refuse(error: S3Error, call: &Call) -> Response {
    if error.status.is_server_error() {
        tracing::warn!(
            request_id = %call.caller.request_id,
            code = error.code,
            message = %error.message,
            "an S3 request failed"
        );
    }
    let subject = Subject {
        resource: call.parts.uri.path(),
        bucket: call.place.bucket.as_deref(),
        key: call.place.key.as_deref(),
        request_id: &call.caller.request_id,
        region: &call.region,
    };
    error::render(error, &subject, call.parts.method == Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server runs each request in a task that may move between threads.
    #[allow(dead_code)]
    fn handling_is_send(door: &Door, request: http::Request<http_body_util::Full<Bytes>>) -> impl Send {
        door.handle(request)
    }
}
