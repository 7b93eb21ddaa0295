//! Who somebody is and what they may do: the face of this crate to requests.

use crate::access::{Access, Because, Explanation};
use crate::change::{Change, NewUser, Told};
use crate::defaults;
use crate::error::{Error, Result};
use crate::mac::Marks;
use crate::password::{PasswordHash, Passwords};
use crate::permission::{Action, Needs, Permit, Resource};
use crate::policy::Circumstances;
use crate::seal::Sealer;
use crate::secret::{Secret, check_given, new_access_key_id, new_secret, token_hash};
use crate::state::{Key, Name, State, User, damaged, open_at};
use crate::store::{self, GrantRecord, Source};
use crate::token::{Bearer, Tokens, new_signing_key};
use bytes::Bytes;
use millpond_kv::{Batch, Expect, Kv, KvError, Write};
use millpond_types::{Clock, Random, Timestamp};
use parking_lot::RwLock;
use std::sync::Arc;

/// The one authority on who somebody is and what they may do. All methods may be called at the same time.
pub struct Auth {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub kv: Arc<dyn Kv>,
    pub random: Arc<dyn Random>,
    pub clock: Arc<dyn Clock>,
    pub tokens: Tokens,
    marks: Marks,
    passwords: Passwords,
    sealer: RwLock<Arc<Sealer>>,
    /// What requests ask: no store and no decryption on their way.
    state: RwLock<Arc<State>>,
    /// One change at a time, so that store and memory change alike.
    pub changing: Arc<tokio::sync::Mutex<()>>,
}

impl Inner {
    pub fn state(&self) -> Arc<State> {
        self.state.read().clone()
    }
    pub fn sealer(&self) -> Arc<Sealer> {
        self.sealer.read().clone()
    }
    /// What is durable becomes what requests see.
    pub fn show(&self, state: State, resealed: Option<Arc<Sealer>>) {
        if let Some(sealer) = resealed {
            *self.sealer.write() = sealer;
        }
        *self.state.write() = Arc::new(state);
    }
}

/// An access key and whose it is.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The public half.
    pub access_key_id: Arc<str>,
    /// The secret half.
    pub secret: Secret,
    /// The user who owns it.
    pub user: Arc<str>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends; `None`: when it is deleted.
    pub expires: Option<Timestamp>,
}

/// The administrator's key.
#[derive(Clone, Debug)]
pub struct AdminKeys {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret: Secret,
    /// Whether this call made the key (then nobody has seen it yet), rather than finding it.
    pub created: bool,
}

/// Somebody who proved who they are. It ends with its user, and with the key that it came from.
#[derive(Clone, Debug)]
pub struct Who {
    user: Name,
    /// Which user of that name.
    pub(crate) incarnation: u64,
    key: Option<Name>,
}

impl Who {
    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }
    /// The access key that was used, or that the token or session was given for.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl User {
    pub fn who(&self, key: Option<&Key>) -> Who {
        let key = key.map(|key| key.credential.access_key_id.clone());
        Who { user: self.name.clone(), incarnation: self.record.incarnation, key }
    }
}

impl State {
    /// A key that has not ended, and its user.
    fn living_key(&self, id: &str, now: Timestamp) -> Option<(&Arc<Key>, &Arc<User>)> {
        let key = self.keys.get(id).filter(|key| key.is_alive(now))?;
        Some((key, self.users.get(&key.credential.user)?))
    }

    /// A user of whom something was given to exactly this one, and the key it was given for.
    pub fn bearer(&self, user: &str, incarnation: u64, key: Option<&str>, now: Timestamp) -> Option<Who> {
        let user = self.users.get(user).filter(|user| user.record.incarnation == incarnation)?;
        match key {
            None => Some(user.who(None)),
            Some(id) => {
                let (key, owner) = self.living_key(id, now)?;
                Arc::ptr_eq(owner, user).then(|| user.who(Some(key)))
            }
        }
    }
}

impl Auth {
    /// Reads users and keys, and makes the key that signs tokens if there is none yet.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when the master key is not the one that sealed the records; [`Error::Store`].
    pub async fn open(
        kv: Arc<dyn Kv>,
        sealer: Sealer,
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let key = signing_key(&*kv, &sealer, &*random).await?;
        let state = RwLock::new(Arc::new(State::load(&*kv, &sealer).await?));
        let inner = Inner {
            tokens: Tokens::new(&key),
            marks: Marks::new(&key),
            passwords: Passwords::new(&*random),
            sealer: RwLock::new(Arc::new(sealer)),
            state,
            changing: Arc::default(),
            kv,
            random,
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins a change; others wait until it is committed or dropped.
    pub async fn change(&self) -> Change {
        Change::begin(self.inner.clone()).await
    }

    /// Makes sure that the administrator exists and has a key, and the groups and policies of a first start.
    ///
    /// With keys given by configuration, that key works from now on and any *other configured* key stops
    /// working: changing the configuration rotates the key. A key that Millpond made itself stays valid
    /// beside it. Without given keys an existing key is returned, or a random one made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for given keys that break the rules or belong to another user; [`Error::Store`].
    pub async fn ensure_admin(&self, name: &str, given: Option<(&str, &str)>) -> Result<AdminKeys> {
        self.ensure_admin_beside(name, given, |_| Batch::default()).await
    }

    /// The same; if anything changes, what `beside` gives is written in the same batch.
    ///
    /// # Errors
    /// As [`Auth::ensure_admin`].
    pub async fn ensure_admin_beside(
        &self,
        name: &str,
        given: Option<(&str, &str)>,
        beside: impl FnOnce(Told) -> Batch,
    ) -> Result<AdminKeys> {
        let mut change = self.change().await;
        let is_upgrade = change.next().users.contains_key(name) && !change.has_defaults();
        change.ensure_defaults()?;
        if !change.next().users.contains_key(name) {
            change.put_user(&NewUser { name, ..NewUser::default() }, true)?;
            change.add_member(defaults::ADMINS, name).or_else(absent)?;
        } else if is_upgrade {
            change.add_member(defaults::ADMINS, name).or_else(absent)?;
        }
        let keys = match given {
            Some((access_key_id, secret)) => {
                self.configure_admin(&mut change, name, access_key_id, secret)?
            }
            None => self.find_or_make_admin(&mut change, name),
        };
        let beside = change.told().map(beside).unwrap_or_default();
        change.commit(beside).await?;
        Ok(keys)
    }

    fn configure_admin(
        &self,
        change: &mut Change,
        name: &str,
        access_key_id: &str,
        secret: &str,
    ) -> Result<AdminKeys> {
        check_given(access_key_id, secret).map_err(|rule| Error::Invalid(rule.into()))?;
        let keys = &change.next().keys;
        if keys.get(access_key_id).is_some_and(|key| &*key.credential.user != name) {
            return Err(Error::Invalid("the access key id belongs to another user".into()));
        }
        let is_same = |key: &&Arc<Key>| key.source == Source::Configured && key.credential.secret.is(secret);
        let found = keys.get(access_key_id).filter(is_same).is_some();
        let outdated = keys.iter().filter(|(id, key)| {
            key.source == Source::Configured && &*key.credential.user == name && ***id != *access_key_id
        });
        for id in outdated.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            change.forget_key(&id);
        }
        let secret = Secret::new(secret);
        if !found {
            // The same id with another secret: what was given for the old one ends too.
            if change.next().keys.contains_key(access_key_id) {
                change.end_sign_ins(name)?;
            }
            self.put_admin_key(change, name, access_key_id, &secret, Source::Configured);
        }
        Ok(AdminKeys { access_key_id: access_key_id.to_owned(), secret, created: !found })
    }

    fn find_or_make_admin(&self, change: &mut Change, name: &str) -> AdminKeys {
        let own = change.next().keys.values().filter(|key| {
            // One that ends, or that is held to less, is not the administrator's.
            &*key.credential.user == name && key.credential.expires.is_none() && key.limits.is_empty()
        });
        // The one that Millpond made comes first: that is the one in the profile.
        let rank = |source| match source {
            Source::Generated => 0,
            Source::Asked => 1,
            Source::Configured => 2,
        };
        if let Some(key) = own.min_by_key(|key| (rank(key.source), key.credential.created)) {
            return AdminKeys {
                access_key_id: key.credential.access_key_id.to_string(),
                secret: key.credential.secret.clone(),
                created: false,
            };
        }
        let access_key_id = new_access_key_id(&*self.inner.random, false);
        let secret = new_secret(&*self.inner.random);
        self.put_admin_key(change, name, &access_key_id, &secret, Source::Generated);
        AdminKeys { access_key_id, secret, created: true }
    }

    fn put_admin_key(&self, change: &mut Change, name: &str, id: &str, secret: &Secret, source: Source) {
        let credential = Credential {
            access_key_id: id.into(),
            secret: secret.clone(),
            user: name.into(),
            created: self.inner.clock.now(),
            expires: None,
        };
        change.put_key(credential, source, Vec::new());
    }

    /// The secret behind an access key id, for checking signatures, and who it is when the signature is right.
    pub fn lookup(&self, access_key_id: &str) -> Option<(Secret, Who)> {
        let state = self.inner.state();
        let (key, user) = state.living_key(access_key_id, self.inner.clock.now())?;
        Some((key.credential.secret.clone(), user.who(Some(key))))
    }

    /// Checks a key and its secret.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Busy`] while the key is closed after too many wrong secrets.
    pub fn check(&self, access_key_id: &str, secret: &str) -> Result<Who> {
        let (state, now) = (self.inner.state(), self.inner.clock.now());
        let Some((key, user)) = state.living_key(access_key_id, now) else {
            // The same work as for a known key.
            let _ = Secret::new("").is(secret);
            return Err(Error::Refused);
        };
        let mut backoff = key.backoff.lock();
        if let Some(wait) = backoff.wait(now) {
            return Err(Error::Busy(wait));
        }
        if key.credential.secret.is(secret) {
            backoff.right();
            Ok(user.who(Some(key)))
        } else {
            backoff.wrong(now);
            Err(Error::Refused)
        }
    }

    /// Hashes a new password, for [`Change::set_password`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is too short or too long; [`Error::Busy`].
    pub async fn hash_password(&self, password: &Secret) -> Result<PasswordHash> {
        self.inner.passwords.hash(password, &*self.inner.random).await
    }

    /// Checks a user's password. It takes as long where there is no such user or no password.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Busy`] after too many wrong ones, or while too many are being checked.
    pub async fn check_password(&self, user: &str, password: &Secret) -> Result<Who> {
        let user = self.inner.state().users.get(user).cloned();
        if let Some(wait) = user.as_ref().and_then(|user| user.backoff.lock().wait(self.inner.clock.now())) {
            return Err(Error::Busy(wait));
        }
        let stored = user.as_ref().and_then(|user| user.password.as_ref());
        let right = self.inner.passwords.check(password, stored).await?;
        let user = user.ok_or(Error::Refused)?;
        if right {
            user.backoff.lock().right();
            Ok(user.who(None))
        } else {
            user.backoff.lock().wrong(self.inner.clock.now());
            Err(Error::Refused)
        }
    }

    /// A user for whom another system vouched.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn vouched(&self, user: &str) -> Result<Who> {
        let found = self.inner.state().users.get(user).map(|user| user.who(None));
        found.ok_or_else(|| Error::missing("user", user))
    }

    /// A signed token, and when it ends: after a week, or with the key it is given for.
    ///
    /// # Errors
    /// [`Error::Refused`] when the user or key is gone.
    pub fn issue_token(&self, who: &Who) -> Result<(String, Timestamp)> {
        let (state, now) = (self.inner.state(), self.inner.clock.now());
        state.bearer(&who.user, who.incarnation, who.key(), now).ok_or(Error::Refused)?;
        let end = who.key().and_then(|id| state.keys.get(id)?.credential.expires);
        let bearer = Bearer { user: &who.user, incarnation: who.incarnation, key: who.key() };
        Ok(self.inner.tokens.issue(&bearer, now, end, &*self.inner.random))
    }

    /// Who a signed token is for. The user must still exist (API-2.10), and the key it was given for.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn verify_token(&self, token: &str) -> Result<Who> {
        let (state, now) = (self.inner.state(), self.inner.clock.now());
        let said = self.inner.tokens.claims(token, now).ok_or(Error::Refused)?;
        if state.revoked.contains_key(&*said.id) {
            return Err(Error::Refused);
        }
        let incarnation = match said.incarnation {
            Some(incarnation) => incarnation,
            // Of an earlier version: it is of this user if the user is older.
            None => {
                let record = state.users.get(&*said.user).map(|user| &user.record);
                let older = record.filter(|record| record.created.seconds() <= said.issued_seconds);
                older.ok_or(Error::Refused)?.incarnation
            }
        };
        state.bearer(&said.user, incarnation, said.key.as_deref(), now).ok_or(Error::Refused)
    }

    /// Whose session it is, and when that ends.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn verify_session(&self, token: &str) -> Result<(Who, Timestamp)> {
        let (state, now) = (self.inner.state(), self.inner.clock.now());
        let session = state.sessions.get(&*token_hash(token)).filter(|session| now < session.expires);
        let GrantRecord { user, incarnation, key, expires, .. } = &**session.ok_or(Error::Refused)?;
        let who = state.bearer(user, *incarnation, key.as_deref(), now).ok_or(Error::Refused)?;
        Ok((who, *expires))
    }

    /// A mark on bytes that the server hands out, to know them again; apart for each purpose.
    pub fn mark(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        self.inner.marks.mark(purpose, bytes)
    }

    /// Whether a mark (or its first 16 bytes or more) is ours, in constant time.
    pub fn is_marked(&self, purpose: &str, bytes: &[u8], mark: &[u8]) -> bool {
        self.inner.marks.is(purpose, bytes, mark)
    }

    /// What somebody may do, as things stand now: for a verb that asks many questions. A question later asks anew.
    ///
    /// # Errors
    /// [`Error::Refused`] when the user or the key is gone.
    pub fn access(&self, who: &Who, at: Circumstances) -> Result<Access> {
        let state = self.inner.state();
        let user = state.users.get(&who.user).filter(|user| user.record.incarnation == who.incarnation);
        let user = user.ok_or(Error::Refused)?;
        let mut limits = None;
        if let Some(id) = &who.key {
            let now = self.inner.clock.now();
            let (key, owner) = state.living_key(id, now).ok_or(Error::Refused)?;
            if !Arc::ptr_eq(owner, user) {
                return Err(Error::Refused);
            }
            key.is_used(now);
            limits = Some(key.limiting.clone()).filter(|limits| !limits.is_empty());
        }
        Ok(Access {
            user: user.name.clone(),
            administrator: user.record.administrator,
            rights: user.rights.clone(),
            limits,
            at,
        })
    }

    /// The proof that somebody may do all that a verb needs.
    ///
    /// # Errors
    /// [`Error::Refused`] when the user or the key is gone; [`Error::Denied`].
    pub fn authorize(&self, who: &Who, at: Circumstances, needs: &Needs<'_>) -> Result<Permit> {
        self.access(who, at)?.require(needs)
    }

    /// Why a user may do something, or may not.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the user.
    pub fn explain(
        &self,
        user: &str,
        action: Action,
        resource: Resource<'_>,
        at: Circumstances,
    ) -> Result<Explanation> {
        let state = self.inner.state();
        let found = state.users.get(user);
        let found = found.ok_or_else(|| Error::missing("user", user))?;
        let mut explanation = self.access(&found.who(None), at)?.explain(action, resource);
        if let Because::Statement { policy, .. } = &explanation.because {
            let through = state.effective(found).remove(&**policy).unwrap_or_default();
            explanation.through = through.iter().map(|group| group.to_string()).collect();
        }
        Ok(explanation)
    }

    /// Stores when keys were last used and removes what has ended by itself. To be called every minute or so.
    ///
    /// # Errors
    /// [`Error::Overtaken`], [`Error::Store`].
    pub async fn keep_up(&self) -> Result<()> {
        let mut change = self.change().await;
        change.put_last_uses();
        change.sweep();
        change.commit(Batch::default()).await
    }

    /// The id of the master key in use.
    pub fn master_key_id(&self) -> String {
        self.inner.sealer().key_id()
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.inner.state()
    }
}

/// The id of the master key that opens a store; `None`: nothing is sealed in it yet. With two keys at hand, after a
/// rotation that was cut off, this tells which.
///
/// # Errors
/// [`Error::Store`]; [`Error::Unreadable`] when it is not told.
pub async fn sealed_with(kv: &dyn Kv) -> Result<Option<String>> {
    let Some(sealed) = kv.get(store::TOKEN_KEY).await? else { return Ok(None) };
    let unreadable = |source| Error::Unreadable { record: "auth/token-key".to_owned(), source };
    Sealer::key_id_of(&sealed).map(Some).map_err(unreadable)
}

/// A person may have renamed or deleted what is not there.
fn absent(error: Error) -> Result<()> {
    match error {
        Error::NotFound { .. } | Error::Exists { .. } => Ok(()),
        error => Err(error),
    }
}

/// The stored signing key, or a new one. Two servers that start together agree on the first.
async fn signing_key(kv: &dyn Kv, sealer: &Sealer, random: &dyn Random) -> Result<Vec<u8>> {
    let place = Bytes::from_static(store::TOKEN_KEY);
    if let Some(sealed) = kv.get(&place).await? {
        return open_at(sealer, &place, &sealed);
    }
    let key = new_signing_key(random);
    let sealed = Bytes::from(sealer.seal(&place, &key, random));
    let batch = Batch {
        preconditions: vec![(place.clone(), Expect::Absent)],
        writes: vec![Write::Put(place.clone(), sealed)],
    };
    match kv.commit(batch).await {
        Ok(()) => Ok(key.to_vec()),
        Err(KvError::PreconditionFailed(_)) => {
            let sealed = kv.get(&place).await?.ok_or_else(|| damaged(&place))?;
            open_at(sealer, &place, &sealed)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Chance that counts upwards.
    #[derive(Default)]
    pub struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, Ordering::Relaxed));
        }
    }
}
