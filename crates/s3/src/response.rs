//! Answers: the body type, and the few ways operations build one.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What can go wrong while a body is sent or received.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer; any hyper server can send it.
pub type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) type Response = http::Response<BoxBody>;

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> BoxBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body of known length that is read while it is sent. An error, or an end before its time, breaks the
/// connection: the client must not take a cut answer for a whole one.
pub(crate) fn streamed(pieces: Pieces, length: u64) -> BoxBody {
    Streamed { pieces, left: length }.boxed_unsync()
}

type Pieces = BoxStream<'static, millpond_service::Result<Bytes>>;

struct Streamed {
    pieces: Pieces,
    left: u64,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let problem: BoxError = match ready!(self.pieces.poll_next_unpin(context)) {
            Some(Ok(bytes)) => match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    self.left = left;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                None => "the stored object is longer than its entry says".into(),
            },
            Some(Err(error)) => error.into(),
            None => "the stored object is shorter than its entry says".into(),
        };
        tracing::error!(error = %problem, "reading an object failed while it was being sent");
        Poll::Ready(Some(Err(problem)))
    }
    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
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
