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
    /// Too many wrong secrets for this key; wait as long as told. Right secrets wait too.
    #[error("too many wrong secrets for this access key; try again in {} s", .0.as_secs())]
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
