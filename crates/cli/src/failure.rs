//! What the user sees when something fails: what was attempted on what, why, what to type next.

use crate::exit::Exit;
use millpond_client::{Error, Kind};
use std::io;

/// A failed verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the shell.
    pub exit: Exit,
    /// What was attempted, on what, and why it failed. Empty prints nothing.
    pub message: String,
    /// What to type next.
    pub hint: Option<String>,
    /// Finds the request in the server's log.
    pub request_id: Option<String>,
}

impl Failure {
    /// A failure with a number of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, request_id: None }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure of the local machine.
    pub fn local(attempt: &str, error: &io::Error) -> Self {
        Self::new(Exit::Failed, format!("{attempt}: {error}"))
    }

    /// Adds or replaces what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to type next if nothing is known yet and the message holds a text.
    #[must_use]
    pub fn hint_about(self, fragment: &str, hint: impl Into<String>) -> Self {
        if self.message.contains(fragment) { self.hint_if_none(hint) } else { self }
    }

    /// Adds what to type next if nothing is known yet.
    #[must_use]
    pub fn hint_if_none(self, hint: impl Into<String>) -> Self {
        if self.hint.is_some() { self } else { self.hint(hint) }
    }
}

/// A write to stdout failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Exit::BrokenPipe, "")
        } else {
            Self::local("write the output", &error)
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            Kind::Denied => Exit::Denied,
            Kind::NotFound => Exit::NotFound,
            Kind::Conflict => Exit::Conflict,
            Kind::Precondition => Exit::Precondition,
            Kind::Invalid if matches!(error, Error::Settings(_)) => Exit::Usage,
            _ => Exit::Failed,
        };
        let general = match error.kind() {
            Kind::Unreachable if certificate_advice(&error).is_some() => certificate_advice(&error),
            Kind::Unreachable => {
                Some("start a server here with 'millpond up', or name another with --server")
            }
            Kind::Unreadable => Some("check --server: is that the address of a Millpond or lakeFS server?"),
            Kind::Denied => Some("sign in with 'millpond login', or ask an administrator for the right"),
            Kind::Busy => Some("the server is busy; the same command can be repeated in a moment"),
            _ => None,
        };
        let refusal = error.refusal();
        let hint = refusal.and_then(|r| r.hint.clone()).or_else(|| general.map(ToOwned::to_owned));
        let request_id = refusal.and_then(|r| r.request_id.clone());
        Self { exit, message: error.to_string(), hint, request_id }
    }
}

/// What to do when there is a server but no common TLS.
fn certificate_advice(error: &Error) -> Option<&'static str> {
    let text = error.to_string();
    let table = [
        (
            "CaUsedAsEndEntity",
            "the server's own certificate is marked as that of an authority; make it with basicConstraints CA:FALSE (docs/configuration.md)",
        ),
        (
            "UnknownIssuer",
            "if the server's certificate is of a private authority or self-signed, name it with --ca-cert",
        ),
        (
            "invalid peer certificate",
            "the certificate is not right for this server; --ca-cert names the certificates to trust",
        ),
        ("received corrupt message", "that port does not answer https; try http://"),
    ];
    table.into_iter().find(|(part, _)| text.contains(part)).map(|(_, advice)| advice)
}

/// Turns a client error into a failure with advice that names the repository.
pub trait InRepository<T> {
    /// Adds the advice.
    ///
    /// # Errors
    /// The same error with advice.
    fn in_repository(self, repository: &str) -> Result<T, Failure>;
}

impl<T> InRepository<T> for Result<T, Error> {
    fn in_repository(self, repository: &str) -> Result<T, Failure> {
        self.map_err(|error| {
            let text = error.refusal().map(|r| r.message.to_lowercase()).unwrap_or_default();
            let advice = match error.kind() {
                Kind::NotFound if text.contains("repository") => Some("'millpond repo list' shows the repositories".to_owned()),
                Kind::NotFound => Some(format!(
                    "'millpond branch list {repository}' and 'millpond tag list {repository}' show the refs, 'millpond ls' the objects"
                )),
                Kind::Precondition if text.contains("protected") => {
                    Some("change a branch of your own and merge it: 'millpond branch create', 'millpond merge'".to_owned())
                }
                _ => None,
            };
            let failure = Failure::from(error);
            match advice {
                Some(advice) => failure.hint_if_none(advice),
                None => failure,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_client::Refusal;

    fn refused(status: u16, message: &str) -> Error {
        Error::Refused(Box::new(Refusal {
            attempt: "commit to demo/main".into(),
            status,
            message: message.into(),
            code: None,
            hint: None,
            request_id: Some("r1".into()),
            retry_after: None,
        }))
    }

    #[test]
    fn each_status_has_its_exit_code() {
        let table = [
            (400, 1),
            (401, 4),
            (403, 7),
            (404, 5),
            (409, 6),
            (410, 5),
            (412, 7),
            (429, 1),
            (500, 1),
            (501, 1),
            (503, 1),
        ];
        for (status, code) in table {
            assert_eq!(Failure::from(refused(status, "x")).exit.code(), code, "{status}");
        }
    }

    #[test]
    fn an_error_says_what_why_and_what_next() {
        let failure =
            Err::<(), _>(refused(404, "repository not found")).in_repository("demo").expect_err("refused");
        assert_eq!(failure.message, "commit to demo/main: repository not found (HTTP 404)");
        assert_eq!(failure.hint.as_deref(), Some("'millpond repo list' shows the repositories"));
        assert_eq!(failure.request_id.as_deref(), Some("r1"));
    }

    #[test]
    fn advice_of_the_server_comes_first() {
        let mut error = refused(404, "branch not found");
        if let Error::Refused(refusal) = &mut error {
            refusal.hint = Some("ask the server".into());
        }
        let failure = Err::<(), _>(error).in_repository("demo").expect_err("refused");
        assert_eq!(failure.hint.as_deref(), Some("ask the server"));
    }

    #[test]
    fn a_closed_pipe_is_quiet() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::BrokenPipe, ""));
    }
}
