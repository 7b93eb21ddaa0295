//! From failure kinds to status codes and bodies (API-1.1, API-1.5).
//!
//! It does not know which verb failed; the few verbs with an answer of their own say so themselves.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use millpond_service::{Error, Kind, Thing};
use serde::Serialize;

/// A request that is answered with an error: what the handlers' `?` carries.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Stable word for programs (our own API only).
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Answer in plain text, as the second gate of API-0.11 does.
    pub plain: bool,
    /// `Retry-After`, in seconds.
    pub retry_after_seconds: Option<u32>,
}

/// What a handler gives.
pub type Handled<T = Response> = Result<T, Refusal>;

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), plain: false, retry_after_seconds: None }
    }
    /// The request breaks a rule; JSON.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }
    /// The request breaks a rule of the second gate; plain text.
    pub fn plain(message: impl Into<String>) -> Self {
        Self { plain: true, ..Self::invalid(message) }
    }
    /// Nobody is logged in, or the credentials are wrong.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "error authenticating request")
    }
    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }
    /// The server does not offer this.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", message)
    }
    /// The body is larger than allowed.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    }
    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
    /// The same refusal with another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The answer of the lakeFS-compatible API.
    pub fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            message: &'a str,
        }
        let mut response = if self.plain {
            crate::json::text(self.status, self.message.clone() + "\n")
        } else {
            crate::json::reply(self.status, &Body { message: &self.message })
        };
        self.add_retry_after(&mut response);
        response
    }

    /// The answer of Millpond's own API: RFC 9457. Somebody known who may not is 403 here.
    pub fn into_problem(mut self) -> Response {
        if self.code == "denied" {
            self.status = StatusCode::FORBIDDEN;
        }
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'a str,
            hint: &'a str,
        }
        let (title, hint) = describe(self.code);
        let problem = Problem {
            r#type: format!("urn:millpond:error:{}", self.code),
            title,
            status: self.status.as_u16(),
            detail: &self.message,
            code: self.code,
            hint,
        };
        let mut response = crate::json::reply(self.status, &problem);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.add_retry_after(&mut response);
        response
    }

    fn add_retry_after(&self, response: &mut Response) {
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = status_of(error.kind);
        let retry_after_seconds = matches!(error.kind, Kind::Busy | Kind::IdempotencyRunning).then_some(1);
        Self { status, code, message: error.message, plain: false, retry_after_seconds }
    }
}

/// The status of API-1.5 and our stable word for a failure kind.
pub fn status_of(kind: Kind) -> (StatusCode, &'static str) {
    match kind {
        Kind::NotFound(Thing::Repository) => (StatusCode::NOT_FOUND, "repository-not-found"),
        Kind::NotFound(Thing::Branch) => (StatusCode::NOT_FOUND, "branch-not-found"),
        Kind::NotFound(Thing::Object) => (StatusCode::NOT_FOUND, "object-not-found"),
        Kind::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
        Kind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
        Kind::AlreadyExists => (StatusCode::CONFLICT, "already-exists"),
        Kind::NameClash => (StatusCode::CONFLICT, "name-clash"),
        Kind::Conflict => (StatusCode::CONFLICT, "conflict"),
        Kind::ParentNumberNeeded => (StatusCode::CONFLICT, "parent-number-needed"),
        Kind::Dirty => (StatusCode::BAD_REQUEST, "dirty"),
        Kind::NotEmpty => (StatusCode::CONFLICT, "not-empty"),
        Kind::NoChanges => (StatusCode::BAD_REQUEST, "no-changes"),
        Kind::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "precondition-failed"),
        Kind::Protected => (StatusCode::FORBIDDEN, "protected"),
        Kind::ReadOnly => (StatusCode::FORBIDDEN, "read-only"),
        Kind::Gone => (StatusCode::GONE, "gone"),
        Kind::NotImplemented => (StatusCode::NOT_IMPLEMENTED, "not-implemented"),
        Kind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Kind::IdempotencyMismatch => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-mismatch"),
        Kind::IdempotencyRunning => (StatusCode::CONFLICT, "idempotency-running"),
        Kind::InvalidPart | Kind::InvalidPartOrder | Kind::PartTooSmall => {
            (StatusCode::BAD_REQUEST, "invalid-part")
        }
        Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
        Kind::Interrupted => (StatusCode::REQUEST_TIMEOUT, "interrupted"),
        Kind::Damaged => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        // Lack of permission is 401 here, never 403 (API-1.6).
        Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Kind::Denied => (StatusCode::UNAUTHORIZED, "denied"),
    }
}

/// Title and hint of a code.
fn describe(code: &str) -> (&'static str, &'static str) {
    match code {
        "repository-not-found" => ("No such repository", "List them with `millpond repo list`."),
        "branch-not-found" => ("No such branch", "List them with `millpond branch list`."),
        "object-not-found" => ("No such object", "List the folder with `millpond ls`."),
        "not-found" => ("Not found", ""),
        "invalid" => ("The request breaks a rule", ""),
        "already-exists" => ("The name is taken", "Choose another name."),
        "name-clash" => ("A branch, tag or commit of that name exists", "Choose another name."),
        "conflict" => {
            ("Both sides changed the same paths", "Choose a strategy, or resolve them on a branch.")
        }
        "parent-number-needed" => ("The commit is a merge", "Say which parent counts."),
        "dirty" => ("The branch has uncommitted changes", "Commit or reset them first."),
        "not-empty" => ("The repository is not empty", "Delete it with `millpond repo delete`."),
        "no-changes" => ("There is nothing to do", ""),
        "precondition-failed" => {
            ("A condition of the request does not hold", "Read the present state first.")
        }
        "protected" => ("The branch is protected", "Change it by a merge."),
        "read-only" => ("The repository is read-only", "Repeat with `force` if you mean it."),
        "gone" => ("The data is gone", ""),
        "not-implemented" => ("This server does not offer that", ""),
        "busy" => ("The server is busy", "Repeat the request a little later."),
        "idempotency-mismatch" => ("The idempotency key belongs to another request", "Use a new key."),
        "idempotency-running" => ("The first request with this key still runs", "Repeat it a little later."),
        "invalid-part" => ("The list of parts is wrong", ""),
        "too-large" => ("Too large", ""),
        "interrupted" => ("The server ended before the work did", "Look at what there is, and repeat it."),
        "damaged" => ("Stored bytes failed their check", "Run `millpond fsck`, restore from a copy."),
        "unauthenticated" => ("Who are you?", "Sign in with `millpond login`."),
        "denied" => ("You may not do this", "Ask an administrator."),
        _ => ("Something went wrong here", "The server's log tells more under this request id."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_status_of_the_table() {
        let table = [
            (Kind::NotFound(Thing::Tag), 404),
            (Kind::Invalid, 400),
            (Kind::AlreadyExists, 409),
            (Kind::NameClash, 409),
            (Kind::Conflict, 409),
            (Kind::ParentNumberNeeded, 409),
            (Kind::Dirty, 400),
            (Kind::NotEmpty, 409),
            (Kind::NoChanges, 400),
            (Kind::PreconditionFailed, 412),
            (Kind::Protected, 403),
            (Kind::ReadOnly, 403),
            (Kind::Gone, 410),
            (Kind::NotImplemented, 501),
            (Kind::Busy, 503),
            (Kind::IdempotencyMismatch, 422),
            (Kind::IdempotencyRunning, 409),
            (Kind::TooLarge, 413),
            (Kind::Interrupted, 408),
            (Kind::Damaged, 500),
            (Kind::Internal, 500),
            (Kind::Unauthenticated, 401),
            (Kind::Denied, 401),
        ];
        for (kind, status) in table {
            assert_eq!(status_of(kind).0.as_u16(), status, "{kind:?}");
        }
    }

    #[test]
    fn who_may_come_again_is_told_when() {
        let response = Refusal::from(Error::new(Kind::Busy, "the queue is full")).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let response = Refusal::from(Error::new(Kind::NoChanges, "no changes")).into_response();
        assert!(response.headers().get(header::RETRY_AFTER).is_none());
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }

    #[test]
    fn our_own_api_says_problem() {
        let response = Refusal::not_found("no such branch").into_problem();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.status(), 404);
        assert_eq!(Refusal::from(Error::new(Kind::Denied, "no")).into_problem().status(), 403);
    }
}
