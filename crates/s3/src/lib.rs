//! The S3 door: Amazon S3's protocol over the service's verbs. Bucket = repository, key = `ref/path`.
//!
//! It exists so that boto3, s3fs, PyArrow, DuckDB, rclone and everything else that speaks S3 works on branches,
//! tags and commits unchanged. It parses a request, calls one verb, renders the answer. It does not know how
//! objects, refs or keys are stored, who may do what, or what the HTTP door does; it reads no clock.
//!
//! Order of work: the guard (what would not be under the signature is refused), the signature, the operation.
//! Nothing of a body is read before the first two have passed. Why the protocol is written here and not
//! taken from the `s3s` crate: `DESIGN.md` beside this crate.

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
use http::header::{EXPECT, SERVER};
use http::{HeaderName, HeaderValue, Method};
use http_body::Body;
use http_body_util::BodyDataStream;
use millpond_service::{Caller, Service};
use payload::Payload;
use query::Query;
use response::Response;
use route::Operation;
use std::sync::Arc;
use std::time::Duration;

/// What a refused client may still send so that it gets to read the answer.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

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
}

impl Door {
    /// A door to the service.
    pub fn new(service: Arc<Service>, options: Options) -> Self {
        Self { service, domains: options.domains.into(), region: options.region.into() }
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
        let unreadable = place.as_ref().err().or(query.as_ref().err()).cloned();
        let request_id = self.service.new_request_id();
        let idempotency_key =
            parts.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
        let mut call = Call {
            service: self.service.clone(),
            caller: Caller { principal: None, request_id, idempotency_key },
            parts,
            query: query.unwrap_or_default(),
            place: place.unwrap_or_default(),
            region: self.region.clone(),
        };
        let mut operation = None;
        let outcome = match unreadable {
            Some(error) => Err(error),
            None => {
                let source = BodyDataStream::new(body).map(|item| item.map_err(Into::into)).boxed();
                serve(&mut call, source, &mut operation).await
            }
        };
        let mut response = outcome.unwrap_or_else(|error| refuse(error, &call));
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&call.caller.request_id) {
            headers.insert(HeaderName::from_static("x-amz-request-id"), id);
        }
        headers.insert(SERVER, HeaderValue::from_static("Millpond"));
        if let Some(operation) = operation {
            response.extensions_mut().insert(OperationName(operation.name()));
        }
        response
    }
}

async fn serve(
    call: &mut Call,
    source: BoxStream<'static, Result<Bytes, BoxError>>,
    chosen: &mut Option<Operation>,
) -> S3Result<Response> {
    // With `Expect: 100-continue` nothing is under way unless we ask for it.
    let waits = call.parts.headers.contains_key(EXPECT);
    match authenticate(call).await {
        Ok((claim, signer)) => {
            let mut payload = Payload::new(source, claim.payload, signer, &call.parts.headers)?;
            let operation = Operation::of(&call.parts.method, &call.place, &call.query, &call.parts.headers);
            let outcome = match operation {
                Ok(operation) => {
                    *chosen = Some(operation);
                    operation.run(call, &mut payload).await
                }
                Err(error) => Err(error),
            };
            if outcome.is_err() && !waits {
                drain(payload.into_source()).await;
            }
            outcome
        }
        Err(error) => {
            if !waits {
                drain(source).await;
            }
            Err(error)
        }
    }
}

/// The guard, the key, the signature. Sets the caller.
async fn authenticate(call: &mut Call) -> S3Result<(auth::Claim, auth::ChunkSigner)> {
    let claim = auth::claim(&call.parts, &call.query, call.service.now())?;
    let Some((secret, principal)) = call.service.signing_key(&claim.access_key_id).await? else {
        return Err(S3Error::new(403, "InvalidAccessKeyId", "the access key id does not exist here"));
    };
    let signer = claim.verify(secret.expose(), &call.parts, &call.query)?;
    call.caller.principal = Some(principal);
    if claim.presigned {
        call::unhoist(&mut call.parts.headers, &call.query);
    }
    Ok((claim, signer))
}

/// A server that closes on unread bytes resets the connection, and the client never sees the answer.
async fn drain(mut source: BoxStream<'static, Result<Bytes, BoxError>>) {
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(bytes)) = source.next().await {
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whether it ended or time ran out, the answer is sent.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, reading).await;
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
