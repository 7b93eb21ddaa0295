//! Answers: the body type, and the few ways operations build one.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

/// What can go wrong while a body is sent or received.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer; any hyper server can send it.
pub type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) type Response = http::Response<BoxBody>;

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> BoxBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is read while it is sent. An error ends the connection: the client must not take a
/// cut answer for a whole one.
pub(crate) fn streamed(pieces: BoxStream<'static, millpond_service::Result<Bytes>>) -> BoxBody {
    StreamBody::new(pieces.map(|piece| match piece {
        Ok(bytes) => Ok(Frame::data(bytes)),
        Err(error) => {
            tracing::error!(%error, "reading an object failed while it was being sent");
            Err(BoxError::from(error))
        }
    }))
    .boxed_unsync()
}

/// 200 with an XML document.
pub(crate) fn xml(document: Bytes) -> Response {
    let mut response = http::Response::new(full(document));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = http::Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}
