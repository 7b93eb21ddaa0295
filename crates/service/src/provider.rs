//! Sign-in through a provider: who proved there who he is gets a session here (`docs/design/oidc.md`).

use crate::gate::{Caller, Service, auth_error};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millpond_auth::{Secret, Vouched};
use millpond_engine::{Error, Kind};
use millpond_oidc::{ATTEMPT_BYTES, Answer, Attempt, Error as ProviderError, Identity, RelyingParty};
use millpond_types::limits::OIDC_SESSION_SECONDS;
use std::time::Duration;

/// What attempts are marked for, so that a browser brings back none but ours.
const PURPOSE: &str = "oidc attempt";

/// The provider that vouches for people.
pub struct Provider {
    /// This server as its client.
    pub party: RelyingParty,
    /// Whether people who are not known yet become users.
    pub create_users: bool,
}

/// A sign-in that begins.
pub struct Begun {
    /// Where the browser goes.
    pub location: String,
    /// What it keeps until it comes back.
    pub kept: String,
}

/// A session that a provider vouched for.
pub struct ProviderSession {
    /// Who it is.
    pub user: String,
    /// For the cookie.
    pub token: Secret,
    /// How long it lasts.
    pub seconds: u64,
}

/// Why nobody is signed in.
#[derive(Debug)]
pub enum NotSignedIn {
    /// No provider is set up.
    NoProvider,
    /// What the provider says, or does not say.
    There(ProviderError),
    /// He is known there, but is nobody here, or is called like another user. The principal, to be linked, and why.
    Stranger(String, String),
    /// This server failed.
    Here(Error),
}

impl From<ProviderError> for NotSignedIn {
    fn from(error: ProviderError) -> Self {
        Self::There(error)
    }
}

impl Service {
    /// With a provider.
    #[must_use]
    pub fn with_provider(mut self, provider: Provider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Whether people can sign in through a provider.
    pub fn has_provider(&self) -> bool {
        self.provider.is_some()
    }

    /// Begins to sign somebody in through the provider.
    ///
    /// # Errors
    /// [`NotSignedIn`].
    pub async fn begin_at_provider(&self) -> Result<Begun, NotSignedIn> {
        let provider = self.provider.as_ref().ok_or(NotSignedIn::NoProvider)?;
        let (location, attempt) = provider.party.begin().await?;
        let bytes = attempt.to_bytes();
        let kept = URL_SAFE_NO_PAD.encode([&bytes[..], &self.auth.mark(PURPOSE, &bytes)].concat());
        Ok(Begun { location, kept })
    }

    /// Completes what [`begin_at_provider`](Self::begin_at_provider) began, with what the browser kept and what it
    /// brings back. User, groups and session are written as one. `caller`: the request that brings it.
    ///
    /// # Errors
    /// [`NotSignedIn`].
    pub async fn complete_at_provider(
        &self,
        caller: &Caller,
        kept: Option<&str>,
        answer: &Answer,
    ) -> Result<ProviderSession, NotSignedIn> {
        let done = self.complete(caller, kept, answer).await;
        match &done {
            Err(NotSignedIn::Stranger(principal, _)) => self.note_stranger(principal, caller.address),
            Err(NotSignedIn::There(ProviderError::Token(_) | ProviderError::NotAllowed(_))) => {
                self.note_stranger("oidc", caller.address);
            }
            _ => {}
        }
        done
    }

    async fn complete(
        &self,
        caller: &Caller,
        kept: Option<&str>,
        answer: &Answer,
    ) -> Result<ProviderSession, NotSignedIn> {
        let provider = self.provider.as_ref().ok_or(NotSignedIn::NoProvider)?;
        let attempt = kept.and_then(|kept| self.attempt(kept)).ok_or_else(|| {
            ProviderError::Refused("this browser has begun none, or too long ago".to_owned())
        })?;
        let identity = provider.party.complete(&attempt, answer).await?;
        self.let_in(caller, &identity, provider.create_users).await
    }

    fn attempt(&self, kept: &str) -> Option<Attempt> {
        let bytes = URL_SAFE_NO_PAD.decode(kept).ok()?;
        let (attempt, mark) = bytes.split_first_chunk::<ATTEMPT_BYTES>()?;
        (mark.len() == 32 && self.auth.is_marked(PURPOSE, attempt, mark))
            .then(|| Attempt::from_bytes(attempt))
    }

    async fn let_in(
        &self,
        caller: &Caller,
        identity: &Identity,
        may_create: bool,
    ) -> Result<ProviderSession, NotSignedIn> {
        let vouched = Vouched {
            source: "oidc",
            principal: &identity.principal,
            name: &identity.name,
            friendly_name: &identity.friendly_name,
            email: &identity.email,
            groups: &identity.groups,
            may_create,
        };
        use millpond_auth::Error as E;
        let stranger = |why: String| Err(NotSignedIn::Stranger(identity.principal.clone(), why));
        let mut change = self.auth.change().await;
        let who = match change.vouch(&vouched) {
            Ok(who) => who,
            Err(E::NotFound { .. }) => return stranger("no user here is linked with you".to_owned()),
            Err(E::Exists { .. }) => {
                return stranger(format!("the name '{}' is that of another user here", identity.name));
            }
            Err(E::Invalid(rule)) => {
                return stranger(format!("'{}' cannot be a user here: {rule}", identity.name));
            }
            Err(error) => return Err(NotSignedIn::Here(auth_error(error))),
        };
        let failed = |error| NotSignedIn::Here(auth_error(error));
        let lasts = Duration::from_secs(OIDC_SESSION_SECONDS);
        let (token, _) = change.open_session(&who, lasts).map_err(failed)?;
        let noted = self.commit_noted(&caller.actor(who.user()), "sign-in", change).await;
        noted.map_err(NotSignedIn::Here)?;
        Ok(ProviderSession { user: who.user().to_owned(), token, seconds: OIDC_SESSION_SECONDS })
    }
}

impl NotSignedIn {
    /// Whether the same attempt to sign in may succeed later, with nobody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::There(error) => matches!(error, ProviderError::Unreachable(_) | ProviderError::Busy),
            Self::Here(error) => error.kind == Kind::Busy,
            Self::NoProvider | Self::Stranger(..) => false,
        }
    }
}
