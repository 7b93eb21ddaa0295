//! What can go wrong between a call and its answer, sorted by what the caller can do about it.

use std::fmt;
use std::time::Duration;

/// A failed call. Every variant says what was attempted, in words fit for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot make a client: a bad server address, certificate or key.
    #[error("{0}")]
    Settings(String),
    /// No answer arrived: connection refused, name not found, TLS refused, connection cut, time-out.
    #[error("{attempt}: {} ({server})", cause(source))]
    Unreachable {
        /// What was attempted, for example `commit to demo/main`.
        attempt: String,
        /// The server's address.
        server: String,
        /// What the transport said.
        source: reqwest::Error,
    },
    /// The server answered with an error status.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The answer is not what the interface promises; often the address is that of another service.
    #[error("{attempt}: the answer of {server} makes no sense: {detail}")]
    Unreadable {
        /// What was attempted.
        attempt: String,
        /// The server's address.
        server: String,
        /// What was wrong with the answer.
        detail: String,
    },
}

/// An answer with an error status, from either interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was attempted.
    pub attempt: String,
    /// The HTTP status code.
    pub status: u16,
    /// The server's explanation; never empty.
    pub message: String,
    /// The stable code of a problem+json answer.
    pub code: Option<String>,
    /// The server's advice in a problem+json answer.
    pub hint: Option<String>,
    /// The `X-Request-ID` of the answer, to find it in the server's log.
    pub request_id: Option<String>,
    /// How long the server asked to wait before the next try.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (HTTP {})", self.attempt, self.message, self.status)
    }
}

impl std::error::Error for Refusal {}

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Check the address, the network, or start the server.
    Unreachable,
    /// Sign in, or ask for the right (the compatible interface answers 401 for both).
    Denied,
    /// Correct the name: the repository, ref, path or commit does not exist (any more).
    NotFound,
    /// Resolve: the name is taken, or both sides changed the same thing.
    Conflict,
    /// The state forbids it: a protected branch, a read-only repository, a hook, a condition.
    Precondition,
    /// Try again later, unchanged.
    Busy,
    /// Correct the request.
    Invalid,
    /// Report it: the server failed or does not support the call.
    Server,
    /// Check the address: whatever answered does not speak this interface.
    Unreadable,
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Settings(_) => Kind::Invalid,
            Self::Unreachable { .. } => Kind::Unreachable,
            Self::Unreadable { .. } => Kind::Unreadable,
            Self::Refused(refusal) => match refusal.status {
                401 => Kind::Denied,
                403 if refusal.code.as_deref() == Some("denied") => Kind::Denied,
                403 | 412 | 428 => Kind::Precondition,
                404 | 410 => Kind::NotFound,
                409 => Kind::Conflict,
                425 | 429 | 503 => Kind::Busy,
                400..=499 => Kind::Invalid,
                _ => Kind::Server,
            },
        }
    }

    /// The server's answer, where there was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the same call may succeed a moment later. For a call that changes something, an
    /// unreachable server leaves open whether the change was made.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), Kind::Busy | Kind::Unreachable)
    }
}

/// The innermost cause: reqwest's own text repeats the URL and hides the reason in `source`.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(next) = innermost.source() {
        innermost = next;
    }
    if error.is_timeout() {
        "the server did not answer in time".to_owned()
    } else if error.is_connect() {
        format!("cannot connect: {innermost}")
    } else {
        innermost.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> Error {
        Error::Refused(Box::new(Refusal {
            attempt: "read demo/main/a".into(),
            status,
            message: "not found".into(),
            code: None,
            hint: None,
            request_id: None,
            retry_after: None,
        }))
    }

    #[test]
    fn statuses_map_to_what_the_caller_can_do() {
        let table = [
            (400, Kind::Invalid),
            (401, Kind::Denied),
            (403, Kind::Precondition),
            (404, Kind::NotFound),
            (409, Kind::Conflict),
            (410, Kind::NotFound),
            (412, Kind::Precondition),
            (416, Kind::Invalid),
            (429, Kind::Busy),
            (500, Kind::Server),
            (501, Kind::Server),
            (503, Kind::Busy),
        ];
        for (status, kind) in table {
            assert_eq!(refused(status).kind(), kind, "{status}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_attempted() {
        assert_eq!(refused(404).to_string(), "read demo/main/a: not found (HTTP 404)");
    }
}
