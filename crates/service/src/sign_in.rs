//! Signing in and out: by key, password or one-time link; sessions for cookies, tokens for programs, keys that end.
//!
//! Nothing given here does more or lasts longer than what it was given for: sessions, links and keys end with the
//! access key that asked for them, and are held to its limits.

use crate::gate::{Caller, Principal, Service, auth_error};
use millpond_auth::{Action, Change, Credential, Document, NewKey, Resource, Secret, Who};
use millpond_engine::{Error, Kind, Result};
use millpond_types::Timestamp;
use millpond_types::limits::{
    LINK_SECONDS_DEFAULT, LINK_SECONDS_MAX, SESSION_SECONDS, SHORT_KEY_SECONDS_MAX, SHORT_KEY_SECONDS_MIN,
};
use std::time::Duration;

/// What somebody who signed in is given.
#[derive(Debug)]
pub struct SignedIn {
    /// Who it is.
    pub user: String,
    /// For a cookie: the session ends when it is signed out of.
    pub session: Secret,
    /// When the session ends by itself.
    pub session_expires: Timestamp,
    /// For programs: a signed token, to be sent as bearer.
    pub token: Secret,
    /// When the token ends by itself.
    pub token_expires: Timestamp,
}

/// A link that signs its user in once.
#[derive(Debug)]
pub struct Link {
    /// Who is signed in.
    pub user: String,
    /// What stands in the link.
    pub token: Secret,
    /// When it ends unused.
    pub expires: Timestamp,
}

/// A key to be made that ends by itself.
#[derive(Debug)]
pub struct ShortLivedKey {
    /// How long it lives.
    pub seconds: u64,
    /// What it is held to, beside the rights of its user.
    pub limit: Option<Document>,
}

impl Service {
    /// Signs in by access key and secret, or by user name and password where there is no such key (API-2.13).
    pub async fn sign_in(&self, caller: &Caller, name: &str, secret: &Secret) -> Result<SignedIn> {
        let who = if name.is_empty() || secret.expose().is_empty() {
            Err(millpond_auth::Error::Refused)
        } else if self.auth.lookup(name).is_some() {
            self.auth.check(name, secret.expose())
        } else {
            self.auth.check_password(name, secret).await
        };
        let who = who.inspect_err(|_| self.note_unknown(name, caller.address)).map_err(auth_error)?;
        self.begin_session(caller, self.auth.change().await, &who).await
    }

    /// Signs in by a one-time link, which nobody else is signed in by afterwards.
    pub async fn redeem_link(&self, caller: &Caller, token: &str) -> Result<SignedIn> {
        let mut change = self.auth.change().await;
        let who = change.redeem_link(token);
        let who = who.inspect_err(|_| self.note_unknown("", caller.address)).map_err(auth_error)?;
        self.begin_session(caller, change, &who).await
    }

    async fn begin_session(&self, caller: &Caller, mut change: Change, who: &Who) -> Result<SignedIn> {
        let (session, session_expires) =
            change.open_session(who, Duration::from_secs(SESSION_SECONDS)).map_err(auth_error)?;
        self.commit_noted(&caller.actor(who.user()), "sign-in", change).await?;
        let (token, token_expires) = self.auth.issue_token(who).map_err(auth_error)?;
        let (user, token) = (who.user().to_owned(), Secret::new(token));
        Ok(SignedIn { user, session, session_expires, token, token_expires })
    }

    /// Checks the token of a session.
    pub async fn authenticate_session(&self, token: &str) -> Result<Principal> {
        self.auth.verify_session(token).map(|(who, _)| Principal::of(who)).map_err(auth_error)
    }

    /// Signs out: the session, the signed token or both are worth nothing from now on. What is worth nothing already
    /// changes nothing.
    pub async fn sign_out(&self, caller: &Caller, session: Option<&str>, token: Option<&str>) -> Result<()> {
        let of_session = session.and_then(|session| self.auth.verify_session(session).ok());
        let who = of_session.map(|(who, _)| who);
        let who = who.or_else(|| token.and_then(|token| self.auth.verify_token(token).ok()));
        let actor = caller.actor(who.as_ref().map_or("", Who::user));
        let mut change = self.auth.change().await;
        if let Some(session) = session {
            change.close_session(session);
        }
        if let Some(token) = token {
            change.revoke_token(token);
        }
        self.commit_noted(&actor, "sign-out", change).await
    }

    /// Makes a link that signs a user in once: the caller, or whoever the caller may make keys for. `seconds`: how
    /// long it lasts unused.
    pub async fn create_link(&self, caller: &Caller, user: &str, seconds: Option<u64>) -> Result<Link> {
        let seconds = seconds.unwrap_or(LINK_SECONDS_DEFAULT);
        if !(1..=LINK_SECONDS_MAX).contains(&seconds) {
            let message = format!("a sign-in link lasts 1 to {LINK_SECONDS_MAX} seconds, not {seconds}");
            return Err(Error::new(Kind::Invalid, message));
        }
        let lasts = Duration::from_secs(seconds);
        let make = |change: &mut Change, by: &Who| change.create_link(user, lasts, Some(by));
        let (token, expires) = self.for_user(caller, user, make).await?;
        Ok(Link { user: user.to_owned(), token, expires })
    }

    /// Makes a key that ends by itself and may do at most what its limit permits: of the caller, or of whoever the
    /// caller may make keys for.
    pub async fn create_short_lived_key(
        &self,
        caller: &Caller,
        user: &str,
        new: &ShortLivedKey,
    ) -> Result<Credential> {
        if !(SHORT_KEY_SECONDS_MIN..=SHORT_KEY_SECONDS_MAX).contains(&new.seconds) {
            let message = format!(
                "a short-lived key lives {SHORT_KEY_SECONDS_MIN} to {SHORT_KEY_SECONDS_MAX} seconds, not {}",
                new.seconds
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        let lifetime = Some(Duration::from_secs(new.seconds));
        let make = |change: &mut Change, by: &Who| {
            let key = NewKey { given: None, lifetime, limit: new.limit.as_ref(), by: Some(by) };
            change.create_key(user, &key)
        };
        self.for_user(caller, user, make).await
    }

    /// Sets the password of a user, whose sessions end.
    pub async fn set_password(&self, caller: &Caller, user: &str, password: &Secret) -> Result<()> {
        self.permit(caller, &[(Action::CreateCredentials, Resource::User(user))])?;
        let hash = self.auth.hash_password(password).await.map_err(auth_error)?;
        let set = |change: &mut Change, by: &Who| {
            change.check_free(by)?;
            change.set_password(user, Some(hash))
        };
        self.for_user(caller, user, set).await
    }

    /// Gives somebody a way to sign in. Whoever may make keys for a user may, as each key is one.
    async fn for_user<T>(
        &self,
        caller: &Caller,
        user: &str,
        how: impl FnOnce(&mut Change, &Who) -> millpond_auth::Result<T>,
    ) -> Result<T> {
        let needs = [(Action::CreateCredentials, Resource::User(user))];
        self.permit(caller, &needs)?;
        let mut change = self.auth.change().await;
        // Again in turn: a right that was taken away meanwhile is gone.
        let p = self.permit(caller, &needs)?;
        let by = caller.principal.as_ref().ok_or_else(|| auth_error(millpond_auth::Error::Refused))?;
        let made = how(&mut change, by.who()).map_err(auth_error)?;
        self.commit_noted(&p.actor, Action::CreateCredentials.name(), change).await?;
        Ok(made)
    }
}
