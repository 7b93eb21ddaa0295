//! The one way bytes go from a request (or another object) into the store: checked while they pass.

use crate::checksum::{Extra, Verifier, stored};
use crate::error::{S3Error, S3Result};
use crate::payload::Payload;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue};
use millpond_service::limits::PUT_BYTES_MAX;
use millpond_service::{Digests, PartUpload, Result, Upload};

/// An object or part being written. Dropping it discards what was written.
pub(crate) trait Sink: Send {
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<()>> + Send;
    fn digests(&mut self) -> Digests;
}

impl Sink for Upload {
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<()>> + Send {
        Upload::write(self, bytes)
    }
    fn digests(&mut self) -> Digests {
        Upload::digests(self)
    }
}

impl Sink for PartUpload {
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<()>> + Send {
        PartUpload::write(self, bytes)
    }
    fn digests(&mut self) -> Digests {
        PartUpload::digests(self)
    }
}

/// The announced size of an upload, refused beyond the limit of one PUT.
pub(crate) fn announced_size(payload: &Payload) -> S3Result<u64> {
    let size = payload.required_size()?;
    if size > PUT_BYTES_MAX {
        let message = format!("one PUT takes at most {PUT_BYTES_MAX} bytes; use a multipart upload");
        return Err(S3Error::new(400, "EntityTooLarge", message));
    }
    Ok(size)
}

/// Takes the whole body. On an error the caller drops the sink, and nothing is stored.
pub(crate) async fn receive(
    sink: &mut impl Sink,
    payload: &mut Payload,
    mut verifier: Verifier,
) -> S3Result<Extra> {
    while let Some(bytes) = payload.next().await? {
        verifier.update(&bytes);
        sink.write(bytes).await?;
    }
    if verifier.is_idle() {
        return Ok(Extra::new());
    }
    verifier.finish(payload.trailers(), &sink.digests())
}

/// Takes the bytes of another object, which were checked when they came in.
pub(crate) async fn transfer(
    sink: &mut impl Sink,
    mut source: BoxStream<'static, Result<Bytes>>,
    verifier: Option<Verifier>,
) -> S3Result<Extra> {
    let mut verifier = verifier;
    while let Some(bytes) = source.next().await {
        let bytes = bytes?;
        if let Some(verifier) = &mut verifier {
            verifier.update(&bytes);
        }
        sink.write(bytes).await?;
    }
    match verifier {
        Some(verifier) => verifier.finish(&[], &sink.digests()),
        None => Ok(Extra::new()),
    }
}

/// `x-amz-checksum-*` of an answer.
pub(crate) fn checksum_headers(extra: &Extra, out: &mut HeaderMap) {
    if let Some((algorithm, text, kind)) = stored(extra)
        && let Ok(value) = HeaderValue::from_str(text)
    {
        out.insert(algorithm.header(), value);
        out.insert(HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static(kind.name()));
    }
}

/// `ETag` of an answer, quoted.
pub(crate) fn etag_header(etag: &str, out: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        out.insert(http::header::ETAG, value);
    }
}
