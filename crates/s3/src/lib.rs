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
pub use route::OPERATIONS;

use address::Place;
use auth::host;
use bytes::Bytes;
use call::Call;
use error::{S3Error, S3Result, Subject};
use futures::stream::{BoxStream, StreamExt};
use http::header::SERVER;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::Body;
use http_body_util::BodyDataStream;
use millpond_service::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use millpond_service::{Caller, ClientAddress, Service};
use payload::Payload;
use query::Query;
use response::Response;
use route::Operation;
use std::sync::Arc;

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
        let mut operation = None;
        let source = BodyDataStream::new(body).map(|item| item.map_err(Into::into)).boxed();
        let outcome = match unreadable {
            Some(error) => Err(error),
            None => serve(&mut call, source, &mut operation).await,
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

/// One that cannot be kept is refused: a client that relies on it must not go on without.
fn idempotency_key(headers: &HeaderMap) -> S3Result<Option<String>> {
    match headers.get("idempotency-key").map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(key)) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        Some(_) => Err(S3Error::invalid_argument("the Idempotency-Key must be 1 to 255 ASCII characters")),
    }
}

type Source = BoxStream<'static, Result<Bytes, BoxError>>;

/// `operation`: set as soon as it is known. What is left of the body is the listener's affair.
async fn serve(call: &mut Call, source: Source, operation: &mut Option<Operation>) -> S3Result<Response> {
    let (mode, signer) = authenticate(call).await?;
    let mut payload = Payload::new(source, mode, signer, &call.parts.headers)?;
    let found = Operation::of(&call.parts.method, &call.place, &call.query, &call.parts.headers)?;
    *operation = Some(found);
    found.run(call, &mut payload).await
}

/// The guard, the key, the signature. Sets the caller.
async fn authenticate(call: &mut Call) -> S3Result<(auth::PayloadMode, auth::ChunkSigner)> {
    let claim = auth::claim(&call.parts, &call.query, call.service.now())?;
    let Some((secret, principal)) = call.service.signing_key(claim.access_key_id).await? else {
        call.service.note_unknown(claim.access_key_id, call.caller.address);
        return Err(S3Error::new(403, "InvalidAccessKeyId", "the access key id does not exist here"));
    };
    let signer = claim.verify(&secret, &call.signing_keys, &call.parts, &call.query);
    let signer =
        signer.inspect_err(|_| call.service.note_unknown(claim.access_key_id, call.caller.address))?;
    let (payload, presigned) = (claim.payload, claim.presigned);
    call.caller.principal = Some(principal);
    if presigned {
        call::unhoist(&mut call.parts.headers, &call.query);
    }
    Ok((payload, signer))
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
