//! What can go wrong, by what the caller must do next.

use millpond_kv::KvError;
use std::borrow::Cow;
use std::time::Duration;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each kind has one remedy. No message holds a secret or says which half of a credential was wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown key, wrong secret, or a token that is broken, expired or of a user who is gone: sign in again.
    #[error("the credentials are not valid")]
    Refused,
    /// Too many wrong secrets for this key or user, or too many checks at once; wait as long as told. Right secrets
    /// wait too.
    #[error("too many wrong attempts; try again in {} s", .0.as_secs())]
    Busy(Duration),
    /// The user is known but may not do this: ask an administrator.
    #[error("user '{user}' may not {action} on {resource}")]
    Denied {
        /// Who asked.
        user: String,
        /// As in policies, `fs:ReadObject`.
        action: &'static str,
        /// The ARN.
        resource: String,
    },
    /// The input breaks a rule; the message says which.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// There is no such thing: create it, or name another.
    #[error("{what} '{name}' does not exist")]
    NotFound {
        /// `user`, `group`, `policy`, `access key`, ...
        what: &'static str,
        /// As asked for.
        name: String,
    },
    /// There is one already: take another name, or change that one.
    #[error("{what} '{name}' exists already")]
    Exists {
        /// As above; also `member` and `attachment`.
        what: &'static str,
        /// As asked for.
        name: String,
    },
    /// Another server changed users or policies at the same moment: try again.
    #[error("users or policies were changed elsewhere at the same moment; try again")]
    Overtaken,
    /// A stored record cannot be read: the master key is another one, or the record was changed.
    #[error("the stored record '{record}' cannot be opened: {source}")]
    Unreadable {
        /// Its key in the metadata store.
        record: String,
        /// Why.
        source: crate::SealError,
    },
    /// The metadata store failed.
    #[error(transparent)]
    Store(#[from] KvError),
}

impl Error {
    /// There is no such thing.
    pub(crate) fn missing(what: &'static str, name: &str) -> Self {
        Self::NotFound { what, name: name.to_owned() }
    }
}
