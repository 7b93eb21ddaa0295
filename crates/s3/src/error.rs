//! S3 errors: one table from the service's failure kinds to status and code, and the XML that says so.
//!
//! It knows nothing about operations; an operation that means something special by a kind says so itself.

use crate::response::{Response, full};
use crate::xml::Writer;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use millpond_service::{Error, Kind, Thing};

/// What a refused request answers with.
#[derive(Debug, Clone)]
pub(crate) struct S3Error {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Headers that belong to the answer, for instance `Content-Range` of a 416.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) type S3Result<T> = Result<T, S3Error>;

impl S3Error {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), headers: Vec::new() }
    }
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::new(403, "AccessDenied", message)
    }
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidArgument", message)
    }
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequest", message)
    }
    pub fn malformed_xml(message: impl Into<String>) -> Self {
        Self::new(400, "MalformedXML", message)
    }
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(501, "NotImplemented", message)
    }
    pub fn no_such_key(message: impl Into<String>) -> Self {
        Self::new(404, "NoSuchKey", message)
    }
    pub fn precondition_failed(condition: &str) -> Self {
        Self::new(412, "PreconditionFailed", format!("the condition {condition} does not hold"))
    }
    pub fn bad_digest(name: &str) -> Self {
        let message =
            format!("the {name} you sent does not match the bytes that arrived; nothing was stored");
        Self::new(400, "BadDigest", message)
    }
    pub fn incomplete_body(message: impl Into<String>) -> Self {
        Self::new(400, "IncompleteBody", message)
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }
}

/// The one table of kinds. For reads: a ref that leads nowhere holds no key.
impl From<Error> for S3Error {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind {
            Kind::NotFound(Thing::Repository) => (404, "NoSuchBucket"),
            Kind::NotFound(Thing::Upload) => (404, "NoSuchUpload"),
            Kind::NotFound(_) => (404, "NoSuchKey"),
            Kind::Invalid => (400, "InvalidArgument"),
            Kind::AlreadyExists => (409, "BucketAlreadyExists"),
            Kind::NameClash
            | Kind::Conflict
            | Kind::ParentNumberNeeded
            | Kind::Dirty
            | Kind::NoChanges
            | Kind::IdempotencyRunning => (409, "OperationAborted"),
            Kind::NotEmpty => (409, "BucketNotEmpty"),
            Kind::PreconditionFailed => (412, "PreconditionFailed"),
            // Two words that AWS does not have and lakeFS's clients know (API-27.30).
            Kind::Protected => (403, "ErrWriteToProtectedBranch"),
            Kind::ReadOnly => (403, "ErrReadOnlyRepository"),
            Kind::Unauthenticated | Kind::Denied => (403, "AccessDenied"),
            Kind::Gone => (410, "NoSuchVersion"),
            Kind::NotImplemented => (501, "NotImplemented"),
            Kind::Busy => (503, "SlowDown"),
            Kind::IdempotencyMismatch => (422, "IdempotencyParameterMismatch"),
            Kind::InvalidPart => (400, "InvalidPart"),
            Kind::InvalidPartOrder => (400, "InvalidPartOrder"),
            Kind::PartTooSmall => (400, "EntityTooSmall"),
            Kind::TooLarge => (400, "EntityTooLarge"),
            Kind::Interrupted | Kind::Damaged | Kind::Internal => (500, "InternalError"),
        };
        let answer = Self::new(status, code, error.message);
        match error.kind {
            Kind::Busy | Kind::IdempotencyRunning => {
                answer.with_header(RETRY_AFTER, HeaderValue::from_static("1"))
            }
            _ => answer,
        }
    }
}

/// What the error document says about the request.
#[derive(Default)]
pub(crate) struct Subject<'a> {
    pub resource: &'a str,
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub request_id: &'a str,
    pub region: &'a str,
}

/// The XML error document.
pub(crate) fn document(error: &S3Error, subject: &Subject<'_>) -> Bytes {
    let mut xml = Writer::plain("Error");
    xml.leaf("Code", error.code).leaf("Message", &error.message);
    if let Some(bucket) = subject.bucket {
        xml.leaf("BucketName", bucket);
    }
    if let Some(key) = subject.key {
        xml.leaf("Key", key);
    }
    xml.leaf("Resource", subject.resource)
        .leaf("Region", subject.region)
        .leaf("RequestId", subject.request_id)
        .leaf("HostId", subject.request_id);
    xml.finish()
}

/// The whole answer. `head`: the request was HEAD, whose answer has no document.
pub(crate) fn render(error: S3Error, subject: &Subject<'_>, head: bool) -> Response {
    let empty = head || error.status == StatusCode::NOT_MODIFIED;
    let body = if empty { Bytes::new() } else { document(&error, subject) };
    let mut response = http::Response::new(full(body));
    *response.status_mut() = error.status;
    if !empty {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    }
    for (name, value) in error.headers {
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_answer_as_s3_does() {
        let table = [
            (Kind::NotFound(Thing::Repository), 404, "NoSuchBucket"),
            (Kind::NotFound(Thing::Object), 404, "NoSuchKey"),
            (Kind::NotFound(Thing::Ref), 404, "NoSuchKey"),
            (Kind::NotFound(Thing::Upload), 404, "NoSuchUpload"),
            (Kind::PreconditionFailed, 412, "PreconditionFailed"),
            (Kind::Protected, 403, "ErrWriteToProtectedBranch"),
            (Kind::ReadOnly, 403, "ErrReadOnlyRepository"),
            (Kind::Denied, 403, "AccessDenied"),
            (Kind::Busy, 503, "SlowDown"),
            (Kind::InvalidPart, 400, "InvalidPart"),
            (Kind::InvalidPartOrder, 400, "InvalidPartOrder"),
            (Kind::PartTooSmall, 400, "EntityTooSmall"),
            (Kind::TooLarge, 400, "EntityTooLarge"),
            (Kind::Damaged, 500, "InternalError"),
        ];
        for (kind, status, code) in table {
            let answer = S3Error::from(Error::new(kind, "why"));
            assert_eq!((answer.status.as_u16(), answer.code), (status, code), "{kind:?}");
            assert_eq!(answer.message, "why");
        }
    }

    #[test]
    fn a_busy_server_says_when_to_come_back() {
        let answer = S3Error::from(Error::new(Kind::Busy, "later"));
        assert_eq!(answer.headers[0].0, RETRY_AFTER);
    }

    #[test]
    fn the_document_names_bucket_key_and_request_and_escapes() {
        let error = S3Error::no_such_key("no <object>");
        let subject = Subject {
            resource: "/repo/main/a&b\r",
            bucket: Some("repo"),
            key: Some("main/a&b\r"),
            request_id: "R1",
            region: "us-east-1",
        };
        let text = String::from_utf8(document(&error, &subject).to_vec()).expect("UTF-8");
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
             <Message>no &lt;object&gt;</Message><BucketName>repo</BucketName>\
             <Key>main/a&amp;b&#13;</Key><Resource>/repo/main/a&amp;b&#13;</Resource>\
             <Region>us-east-1</Region><RequestId>R1</RequestId><HostId>R1</HostId></Error>"
        );
    }
}
