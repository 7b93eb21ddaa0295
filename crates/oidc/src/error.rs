//! What can go wrong, by what somebody must do next.

use crate::id_token::Fault;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// No message holds a code, a token or a secret; what the provider says is shortened to visible ASCII.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider does not answer, or has trouble: try again later.
    #[error("the sign-in provider cannot be reached: {0}")]
    Unreachable(String),
    /// The provider answers what it must not, or does not know this server: the administrator must look.
    #[error("the sign-in provider and this server do not fit together: {0}")]
    Misfit(String),
    /// More people sign in than the server takes on at a time: try again.
    #[error("too many people sign in at this moment")]
    Busy,
    /// This attempt proves nothing: begin again.
    #[error("this sign-in was not completed: {0}")]
    Refused(String),
    /// The token that came from the provider is not for this attempt, this server or this time.
    #[error("the provider's token is not accepted: {0}")]
    Token(#[from] Fault),
    /// The person is known, but may not sign in here.
    #[error("{0}")]
    NotAllowed(String),
    /// The settings break a rule.
    #[error("{0}")]
    Settings(String),
}

/// Words of somebody else, fit for a log line and a page.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(200).collect()
}
