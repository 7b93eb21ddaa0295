//! Changes of users, groups, policies, keys and sessions: the one way by which records of this crate are written.
//!
//! A change collects what it does on a copy of the present state, where each step sees those before it and is
//! refused at once if it breaks a rule. [`Change::commit`] writes all of it as one batch, with whatever rows of the
//! caller belong to it (an audit record), and shows the new state when the batch is durable: before that nobody has
//! a right that a power cut could take back. Dropping a change drops what it collected.
//!
//! A failure leaves behind: before the commit, nothing; in it, either all or nothing, as the store says.

use crate::auth::{Credential, Inner, Who};
use crate::error::{Error, Result};
use crate::password::PasswordHash;
use crate::policy::Document;
use crate::seal::Sealer;
use crate::secret::{Secret, check_given, new_access_key_id, new_secret, new_token, token_hash};
use crate::state::{Key, Name, State, change, open_at};
use crate::store::{
    self, CountRecord, CredentialRecord, GrantRecord, GroupRecord, MemberRecord, PolicyRecord,
    PrincipalRecord, Record, Source, TimeRecord, UserRecord, table,
};
use bytes::Bytes;
use millpond_kv::{Batch, Expect, KvError, Write};
use millpond_types::Timestamp;
use millpond_types::limits::{AUTH_NAME_BYTES_MAX, KEY_LIMITS_MAX, USER_KEYS_MAX, USER_SESSIONS_MAX};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// A change being made. While it lives, no other is.
pub struct Change {
    inner: Arc<Inner>,
    alone: OwnedMutexGuard<()>,
    now: Timestamp,
    next: State,
    writes: Vec<Write>,
    /// Users whose effective policies change.
    touched: BTreeSet<Name>,
    /// What seals from now on.
    resealed: Option<Arc<Sealer>>,
}

/// A user to be made.
#[derive(Clone, Debug, Default)]
pub struct NewUser<'a> {
    /// The name, for ever.
    pub name: &'a str,
    /// For people; may be empty.
    pub friendly_name: &'a str,
    /// May be empty.
    pub email: &'a str,
    /// Who vouches for the user; empty: `internal`.
    pub source: &'a str,
    /// The user's id there; may be empty.
    pub external_id: &'a str,
}

/// An access key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewKey<'a> {
    /// Id and secret chosen by a person; `None`: random ones.
    pub given: Option<(&'a str, &'a str)>,
    /// How long it lives; `None`: until it is deleted.
    pub lifetime: Option<Duration>,
    /// What it is held to, beside the rights of its user.
    pub limit: Option<&'a Document>,
    /// Who asks for it: the key outlives and exceeds nothing that holds him.
    pub by: Option<&'a Who>,
}

/// What a change does, for an audit trail: no secret, nor what is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The number of the change: ascending, no two alike.
    pub number: u64,
    /// When it was begun.
    pub time: Timestamp,
    /// What it does, in order.
    pub changes: Vec<ToldChange>,
}

/// One thing that a change does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldChange {
    /// It goes, rather than comes or changes.
    pub is_deletion: bool,
    /// Kind and name: `user/ada`, `group-policy/readers/ReadAll`, `session/` and a hash.
    pub on: String,
    /// The document of a policy; of everything else nothing.
    pub new: String,
}

impl Change {
    pub(crate) async fn begin(inner: Arc<Inner>) -> Self {
        let alone = inner.changing.clone().lock_owned().await;
        let next = State::clone(&inner.state());
        let now = inner.clock.now();
        Self { inner, alone, now, next, writes: Vec::new(), touched: BTreeSet::new(), resealed: None }
    }

    /// Makes it durable together with `beside`, then shows it. It happens whole even where nobody waits for it any
    /// more.
    ///
    /// # Errors
    /// [`Error::Overtaken`] when another server was faster; [`Error::Store`], also for a precondition of `beside`.
    pub async fn commit(self, beside: Batch) -> Result<()> {
        let Self { inner, alone, mut next, writes, touched, resealed, .. } = self;
        if writes.is_empty() && beside == Batch::default() {
            return Ok(());
        }
        touched.iter().for_each(|user| next.refresh(user));
        let expected = match next.generation {
            0 => Expect::Absent,
            generation => Expect::Value(CountRecord(generation).encode()),
        };
        next.generation += 1;
        let generation = Bytes::from_static(store::GENERATION);
        let Batch { mut preconditions, writes: beside } = beside;
        preconditions.push((generation.clone(), expected));
        let counted = [Write::Put(generation, CountRecord(next.generation).encode())];
        let writes = writes.into_iter().chain(beside).chain(counted).collect();
        let work = async move {
            let committed = inner.kv.commit(Batch { preconditions, writes }).await;
            match committed {
                Ok(()) => inner.show(next, resealed),
                Err(KvError::PreconditionFailed(key)) if key == store::GENERATION => {
                    let state = State::load(&*inner.kv, &inner.sealer()).await?;
                    inner.show(state, None);
                    return Err(Error::Overtaken);
                }
                Err(error) => return Err(error.into()),
            }
            drop(alone);
            Ok(())
        };
        let lost = |error: tokio::task::JoinError| Error::Store(KvError::Failed(error.to_string()));
        tokio::spawn(work).await.map_err(lost)?
    }

    /// What this change does so far; `None`: nothing. When keys were last used is not told.
    pub fn told(&self) -> Option<Told> {
        let told = |write: &Write| {
            let (key, value) = match write {
                Write::Put(key, value) => (key, Some(value)),
                Write::Delete(key) => (key, None),
                Write::DeleteRange(..) => return None,
            };
            if key.starts_with(table::USED) {
                return None;
            }
            let policy = value.filter(|_| key.starts_with(table::POLICIES));
            let new = policy.and_then(|policy| PolicyRecord::decode(policy.clone()).ok());
            Some(ToldChange {
                is_deletion: value.is_none(),
                on: String::from_utf8_lossy(&key[store::PREFIX.len()..]).into_owned(),
                new: new.map(|policy| policy.document).unwrap_or_default(),
            })
        };
        let changes: Vec<ToldChange> = match &self.resealed {
            // Every secret is written anew, and none changes.
            Some(sealer) => {
                vec![ToldChange { is_deletion: false, on: "master-key".into(), new: sealer.key_id() }]
            }
            None => self.writes.iter().filter_map(told).collect(),
        };
        let number = self.next.generation + 1;
        (!changes.is_empty()).then_some(Told { number, time: self.now, changes })
    }

    /// What seals what this change writes.
    fn sealer(&self) -> Arc<Sealer> {
        self.resealed.clone().unwrap_or_else(|| self.inner.sealer())
    }

    fn put(&mut self, key: Bytes, record: &impl Record) {
        self.writes.push(Write::Put(key, record.encode()));
    }

    fn delete(&mut self, key: Bytes) {
        self.writes.push(Write::Delete(key));
    }

    fn user(&self, name: &str) -> Result<&Arc<crate::state::User>> {
        self.next.users.get(name).ok_or_else(|| Error::missing("user", name))
    }

    pub(crate) fn group(&self, name: &str) -> Result<&Arc<crate::state::Group>> {
        self.next.groups.get(name).ok_or_else(|| Error::missing("group", name))
    }

    fn policy(&self, name: &str) -> Result<&Arc<crate::state::Policy>> {
        self.next.policies.get(name).ok_or_else(|| Error::missing("policy", name))
    }

    // Users.

    /// Makes a user, who may do nothing yet.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Exists`].
    pub fn create_user(&mut self, new: &NewUser<'_>) -> Result<()> {
        self.put_user(new, false)
    }

    pub(crate) fn put_user(&mut self, new: &NewUser<'_>, administrator: bool) -> Result<()> {
        check_name("user", new.name)?;
        if self.next.users.contains_key(new.name) {
            return Err(exists("user", new.name));
        }
        let record = UserRecord {
            created: self.now,
            administrator,
            incarnation: self.new_incarnation(),
            friendly_name: new.friendly_name.to_owned(),
            email: new.email.to_owned(),
            source: if new.source.is_empty() { "internal" } else { new.source }.to_owned(),
            external_id: new.external_id.to_owned(),
        };
        self.put(store::key(table::USERS, new.name), &record);
        self.next.put_user(new.name.into(), record);
        Ok(())
    }

    fn new_incarnation(&self) -> u64 {
        let mut incarnation = [0; 8];
        self.inner.random.fill(&mut incarnation);
        u64::from_be_bytes(incarnation)
    }

    /// Ends all that was given to a user who signed in: sessions, links, signed tokens, also one that is about to be
    /// given. Access keys stay.
    pub(crate) fn end_sign_ins(&mut self, name: &str) -> Result<()> {
        let user = self.user(name)?.clone();
        user.sessions.iter().for_each(|hash| self.forget_session(hash));
        self.forget_links(name);
        let record = UserRecord { incarnation: self.new_incarnation(), ..user.record.clone() };
        self.put(store::key(table::USERS, name), &record);
        change(&mut self.next.users, name, |user| user.record = record);
        Ok(())
    }

    fn forget_links(&mut self, user: &str) {
        let links = self.next.links.iter().filter(|(_, link)| link.user == user);
        for hash in links.map(|(hash, _)| hash.clone()).collect::<Vec<_>>() {
            self.forget_link(&hash);
        }
    }

    /// Changes what is shown of a user; `None` leaves as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn describe_user(
        &mut self,
        name: &str,
        friendly_name: Option<&str>,
        email: Option<&str>,
    ) -> Result<()> {
        let mut record = self.user(name)?.record.clone();
        record.friendly_name = friendly_name.map_or(record.friendly_name, str::to_owned);
        record.email = email.map_or(record.email, str::to_owned);
        self.put(store::key(table::USERS, name), &record);
        change(&mut self.next.users, name, |user| user.record = record);
        Ok(())
    }

    /// Deletes a user with keys, sessions, memberships and attachments (API-5.5). A later user of the same name
    /// gets none of them back.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for the administrator, without whom nobody could mend anything.
    pub fn delete_user(&mut self, name: &str) -> Result<()> {
        let user = self.user(name)?.clone();
        if user.record.administrator {
            return Err(Error::Invalid("the administrator of the installation stays".into()));
        }
        user.keys.iter().for_each(|id| self.forget_key(id));
        user.sessions.iter().for_each(|hash| self.forget_session(hash));
        user.groups.iter().for_each(|group| self.forget_member(group, name));
        user.policies.iter().for_each(|policy| self.forget_user_policy(name, policy));
        self.forget_links(name);
        let principals = self.next.principals.iter().filter(|(_, user)| &***user == name);
        for id in principals.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.delete(store::key(table::PRINCIPALS, &id));
            self.next.principals.remove(&id);
        }
        self.delete(store::key(table::PASSWORDS, name));
        self.delete(store::key(table::USERS, name));
        self.next.users.remove(name);
        Ok(())
    }

    /// Sets a password that [`Auth::hash_password`](crate::Auth::hash_password) hashed, or takes it away. Sessions,
    /// links and signed tokens end: whoever knew the earlier one is out.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn set_password(&mut self, user: &str, password: Option<PasswordHash>) -> Result<()> {
        self.end_sign_ins(user)?;
        let place = store::key(table::PASSWORDS, user);
        match &password {
            None => self.delete(place),
            Some(PasswordHash(record)) => {
                let sealed = self.sealer().seal(&place, &record.encode(), &*self.inner.random);
                self.writes.push(Write::Put(place, sealed.into()));
            }
        }
        change(&mut self.next.users, user, |user| user.password = password);
        Ok(())
    }

    /// Says that a user is somebody in another system (API-5.16).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] when the id is somebody already; [`Error::Invalid`].
    pub fn link_principal(&mut self, user: &str, id: &str) -> Result<()> {
        if id.is_empty() || id.len() > 2 * AUTH_NAME_BYTES_MAX {
            return Err(Error::Invalid("the id of an external principal is empty or too long".into()));
        }
        let name = self.user(user)?.name.clone();
        if self.next.principals.contains_key(id) {
            return Err(exists("external principal", id));
        }
        self.put(store::key(table::PRINCIPALS, id), &PrincipalRecord { user: user.to_owned() });
        self.next.principals.insert(id.into(), name);
        Ok(())
    }

    /// Takes that back.
    ///
    /// # Errors
    /// [`Error::NotFound`], also when the id is another user's.
    pub fn unlink_principal(&mut self, user: &str, id: &str) -> Result<()> {
        self.user(user)?;
        match self.next.principals.get(id) {
            Some(owner) if **owner == *user => {
                self.delete(store::key(table::PRINCIPALS, id));
                self.next.principals.remove(id);
                Ok(())
            }
            _ => Err(Error::missing("external principal", id)),
        }
    }

    // Groups.

    /// Makes a group without members and policies.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Exists`].
    pub fn create_group(&mut self, name: &str, description: &str) -> Result<()> {
        check_name("group", name)?;
        if self.next.groups.contains_key(name) {
            return Err(exists("group", name));
        }
        let record = GroupRecord { created: self.now, description: description.to_owned() };
        self.put(store::key(table::GROUPS, name), &record);
        self.next.put_group(name.into(), record);
        Ok(())
    }

    /// Deletes a group with its memberships and attachments (API-5.5), and the policy that is its ACL.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete_group(&mut self, name: &str) -> Result<()> {
        let group = self.group(name)?.clone();
        group.members.iter().for_each(|user| self.forget_member(name, user));
        group.policies.iter().for_each(|policy| self.forget_group_policy(name, policy));
        self.delete(store::key(table::GROUPS, name));
        self.next.groups.remove(name);
        let acl = crate::defaults::acl_policy(name);
        if self.next.policies.contains_key(&*acl) { self.delete_policy(&acl) } else { Ok(()) }
    }

    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] for a member (API-5.4).
    pub fn add_member(&mut self, group: &str, user: &str) -> Result<()> {
        let members = &self.group(group)?.members;
        let name = self.user(user)?.name.clone();
        if members.contains(user) {
            return Err(exists("member", user));
        }
        self.put_member(group, &name, false);
        Ok(())
    }

    fn put_member(&mut self, group: &str, user: &Name, given: bool) {
        let record = MemberRecord { since: self.now, given };
        self.put(store::pair(table::MEMBERS, group, user), &record);
        self.next.add_member(&group.into(), user, given);
        self.touched.insert(user.clone());
    }

    /// Whether or not the user was a member (API-5.4).
    ///
    /// # Errors
    /// [`Error::NotFound`] for the user or the group.
    pub fn remove_member(&mut self, group: &str, user: &str) -> Result<()> {
        self.group(group)?;
        self.user(user)?;
        self.forget_member(group, user);
        Ok(())
    }

    fn forget_member(&mut self, group: &str, user: &str) {
        self.delete(store::pair(table::MEMBERS, group, user));
        self.next.remove_member(group, user);
        self.touched.insert(user.into());
    }

    /// Makes these the groups that another system gave the user, in place of those that it gave before. Memberships by
    /// hand stay; names of groups that do not exist are passed over, as the other system has groups of its own. Returns
    /// whether anything changed.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the user.
    pub fn set_given_groups(&mut self, user: &str, groups: &BTreeSet<String>) -> Result<bool> {
        let present = self.user(user)?.clone();
        let leaving: Vec<&Name> = present.given.iter().filter(|group| !groups.contains(&***group)).collect();
        let is_new =
            |group: &&String| self.next.groups.contains_key(&***group) && !present.groups.contains(&***group);
        let joining: Vec<&String> = groups.iter().filter(is_new).collect();
        leaving.iter().for_each(|group| self.forget_member(group, user));
        joining.iter().for_each(|group| self.put_member(group, &present.name, true));
        Ok(!leaving.is_empty() || !joining.is_empty())
    }

    // Policies.

    /// # Errors
    /// [`Error::Invalid`] with the mistake, [`Error::Exists`].
    pub fn create_policy(&mut self, name: &str, document: &Document) -> Result<()> {
        check_name("policy", name)?;
        if self.next.policies.contains_key(name) {
            return Err(exists("policy", name));
        }
        self.put_policy(name, document)
    }

    /// Gives a policy other words; its date becomes now (API-5.11).
    ///
    /// # Errors
    /// [`Error::Invalid`] with the mistake, [`Error::NotFound`].
    pub fn update_policy(&mut self, name: &str, document: &Document) -> Result<()> {
        self.policy(name)?;
        self.put_policy(name, document)
    }

    fn put_policy(&mut self, name: &str, document: &Document) -> Result<()> {
        document.check()?;
        let record = PolicyRecord { created: self.now, document: document.to_json() };
        self.put(store::key(table::POLICIES, name), &record);
        self.next.put_policy(name.into(), &record);
        let policy = self.policy(name)?.clone();
        self.touched.extend(self.next.users_with(&policy));
        Ok(())
    }

    /// Deletes a policy with its attachments (API-5.5).
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete_policy(&mut self, name: &str) -> Result<()> {
        let policy = self.policy(name)?.clone();
        policy.users.iter().for_each(|user| self.forget_user_policy(user, name));
        policy.groups.iter().for_each(|group| self.forget_group_policy(group, name));
        self.delete(store::key(table::POLICIES, name));
        self.next.policies.remove(name);
        Ok(())
    }

    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] when it is attached (API-5.4).
    pub fn attach_to_user(&mut self, policy: &str, user: &str) -> Result<()> {
        let owner = self.user(user)?.clone();
        self.policy(policy)?;
        if owner.policies.contains(policy) {
            return Err(exists("attachment", policy));
        }
        self.put(store::pair(table::USER_POLICIES, user, policy), &TimeRecord(self.now));
        self.next.attach_to_user(&owner.name, &policy.into());
        self.touched.insert(owner.name.clone());
        Ok(())
    }

    /// Whether or not it was attached (API-5.4).
    ///
    /// # Errors
    /// [`Error::NotFound`] for the user or the policy.
    pub fn detach_from_user(&mut self, policy: &str, user: &str) -> Result<()> {
        self.user(user)?;
        self.policy(policy)?;
        self.forget_user_policy(user, policy);
        Ok(())
    }

    fn forget_user_policy(&mut self, user: &str, policy: &str) {
        self.delete(store::pair(table::USER_POLICIES, user, policy));
        self.next.detach_from_user(user, policy);
        self.touched.insert(user.into());
    }

    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] when it is attached (API-5.4).
    pub fn attach_to_group(&mut self, policy: &str, group: &str) -> Result<()> {
        let found = self.group(group)?.clone();
        self.policy(policy)?;
        if found.policies.contains(policy) {
            return Err(exists("attachment", policy));
        }
        self.put(store::pair(table::GROUP_POLICIES, group, policy), &TimeRecord(self.now));
        self.next.attach_to_group(&group.into(), &policy.into());
        self.touched.extend(found.members.iter().cloned());
        Ok(())
    }

    /// Whether or not it was attached (API-5.4).
    ///
    /// # Errors
    /// [`Error::NotFound`] for the group or the policy.
    pub fn detach_from_group(&mut self, policy: &str, group: &str) -> Result<()> {
        self.group(group)?;
        self.policy(policy)?;
        self.forget_group_policy(group, policy);
        Ok(())
    }

    fn forget_group_policy(&mut self, group: &str, policy: &str) {
        self.delete(store::pair(table::GROUP_POLICIES, group, policy));
        let members = self.next.groups.get(group).map(|group| group.members.clone()).unwrap_or_default();
        self.touched.extend(members);
        self.next.detach_from_group(group, policy);
    }

    // Keys.

    /// Makes an access key. The secret is shown here and never again, except where it checks signatures.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] for a given id that is in use; [`Error::Invalid`] for a bad given key
    /// or limit, or too many keys; [`Error::Refused`] when the one who asks is gone.
    pub fn create_key(&mut self, user: &str, new: &NewKey<'_>) -> Result<Credential> {
        let owner = self.user(user)?.clone();
        if owner.keys.len() >= USER_KEYS_MAX {
            return Err(Error::Invalid("exceeded number of allowed credentials".into()));
        }
        let mut limits = Vec::new();
        let mut expires = new.lifetime.map(|lifetime| self.after(lifetime));
        if let Some(id) = new.by.and_then(Who::key) {
            let held_by =
                self.next.keys.get(id).filter(|key| key.is_alive(self.now)).ok_or(Error::Refused)?;
            limits.clone_from(&held_by.limits);
            expires = [expires, held_by.credential.expires].into_iter().flatten().min();
        }
        if let Some(limit) = new.limit {
            limit.check()?;
            limits.push(limit.to_json());
        }
        // Each is judged by every request of the key, and a key may make the next.
        if limits.len() > KEY_LIMITS_MAX {
            let text =
                format!("a key is held to {KEY_LIMITS_MAX} policies at most; make it with another key");
            return Err(Error::Invalid(text.into()));
        }
        let (id, secret) = match new.given {
            Some((id, secret)) => {
                check_given(id, secret).map_err(|rule| Error::Invalid(rule.into()))?;
                (id.to_owned(), Secret::new(secret))
            }
            None => {
                (new_access_key_id(&*self.inner.random, expires.is_some()), new_secret(&*self.inner.random))
            }
        };
        if self.next.keys.contains_key(&*id) {
            return Err(exists("access key", &id));
        }
        let credential = Credential {
            access_key_id: id.into(),
            secret,
            user: owner.name.clone(),
            created: self.now,
            expires,
        };
        self.put_key(credential.clone(), Source::Asked, limits);
        Ok(credential)
    }

    pub(crate) fn put_key(&mut self, credential: Credential, source: Source, limits: Vec<String>) {
        let sealer = self.sealer();
        let key = Key::new(credential, source, limits);
        let (place, record) = sealed(&key, &sealer, &*self.inner.random);
        self.put(place, &record);
        self.next.put_key(key);
    }

    /// # Errors
    /// [`Error::NotFound`], also when the key is another user's (API-5.10).
    pub fn delete_key(&mut self, user: &str, access_key_id: &str) -> Result<()> {
        self.user(user)?;
        match self.next.keys.get(access_key_id) {
            Some(key) if *key.credential.user == *user => {
                self.forget_key(access_key_id);
                Ok(())
            }
            _ => Err(Error::missing("access key", access_key_id)),
        }
    }

    pub(crate) fn forget_key(&mut self, id: &str) {
        self.delete(store::key(table::CREDENTIALS, id));
        self.delete(store::key(table::USED, id));
        self.next.remove_key(id);
    }

    // Sessions, links and tokens.

    /// Begins a session, for a cookie; returns its token, shown only here, and its end.
    ///
    /// # Errors
    /// [`Error::Refused`] when the user or key is gone.
    pub fn open_session(&mut self, who: &Who, lifetime: Duration) -> Result<(Secret, Timestamp)> {
        let record = self.grant(who, lifetime)?;
        let user = self.user(who.user())?.clone();
        if user.sessions.len() >= USER_SESSIONS_MAX {
            let age = |hash: &&Name| self.next.sessions.get(*hash).map(|session| session.created);
            if let Some(oldest) = user.sessions.iter().min_by_key(age).cloned() {
                self.forget_session(&oldest);
            }
        }
        let (token, expires) = (new_token("mps_", &*self.inner.random), record.expires);
        let hash = token_hash(token.expose());
        self.put(store::key(table::SESSIONS, &hash), &record);
        self.next.put_session(hash.into(), record);
        Ok((token, expires))
    }

    /// Ends a session; a token that is none ends nothing.
    pub fn close_session(&mut self, token: &str) {
        let hash = token_hash(token);
        if self.next.sessions.contains_key(&*hash) {
            self.forget_session(&hash);
        }
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn close_sessions(&mut self, user: &str) -> Result<()> {
        let sessions = self.user(user)?.sessions.clone();
        sessions.iter().for_each(|hash| self.forget_session(hash));
        Ok(())
    }

    fn forget_session(&mut self, hash: &str) {
        self.delete(store::key(table::SESSIONS, hash));
        self.next.remove_session(hash);
    }

    /// Ends a signed token before its time; one that is not valid anyway ends nothing.
    pub fn revoke_token(&mut self, token: &str) {
        let Some(claims) = self.inner.tokens.claims(token, self.now) else { return };
        let expires = Timestamp::from_seconds(claims.expires_seconds);
        self.put(store::key(table::REVOKED, &claims.id), &TimeRecord(expires));
        self.next.revoked.insert(claims.id.into(), expires);
    }

    /// Makes a link that signs a user in once; returns its token, shown only here. A link that somebody makes for
    /// himself is held by his key, and so is the session that it opens; one for somebody else is not, so whoever is
    /// held by a key makes none.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for somebody else's and a key with limits or an end;
    /// [`Error::Refused`] when the one who asks is gone.
    pub fn create_link(
        &mut self,
        user: &str,
        lifetime: Duration,
        by: Option<&Who>,
    ) -> Result<(Secret, Timestamp)> {
        let owner = self.user(user)?.who(None);
        let record = match by {
            Some(by) if by.user() == user => self.grant(by, lifetime)?,
            Some(by) => {
                self.check_free(by)?;
                self.grant(&owner, lifetime)?
            }
            None => self.grant(&owner, lifetime)?,
        };
        let (token, expires) = (new_token("mpl_", &*self.inner.random), record.expires);
        let hash = token_hash(token.expose());
        self.put(store::key(table::LINKS, &hash), &record);
        self.next.links.insert(hash.into(), Arc::new(record));
        Ok((token, expires))
    }

    /// Uses a link up: nobody else is signed in by it, once this is committed.
    ///
    /// # Errors
    /// [`Error::Refused`] for one that is unknown, used, too old, or of a user who is gone.
    pub fn redeem_link(&mut self, token: &str) -> Result<Who> {
        let hash = token_hash(token);
        let link = self.next.links.get(&*hash).cloned().ok_or(Error::Refused)?;
        self.forget_link(&hash);
        if self.now >= link.expires {
            return Err(Error::Refused);
        }
        self.next.bearer(&link.user, link.incarnation, link.key.as_deref(), self.now).ok_or(Error::Refused)
    }

    /// Checks that no limit and no end of a key holds somebody.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one does; [`Error::Refused`] when the key is gone.
    pub fn check_free(&self, who: &Who) -> Result<()> {
        let Some(id) = who.key() else { return Ok(()) };
        let key = self.next.keys.get(id).filter(|key| key.is_alive(self.now)).ok_or(Error::Refused)?;
        if key.limits.is_empty() && key.credential.expires.is_none() {
            return Ok(());
        }
        Err(Error::Invalid("an access key with limits or an end cannot do this; sign in without one".into()))
    }

    fn forget_link(&mut self, hash: &str) {
        self.delete(store::key(table::LINKS, hash));
        self.next.links.remove(hash);
    }

    fn grant(&self, who: &Who, lifetime: Duration) -> Result<GrantRecord> {
        let user = self.user(who.user()).map_err(|_| Error::Refused)?;
        if user.record.incarnation != who.incarnation {
            return Err(Error::Refused);
        }
        let mut expires = self.after(lifetime);
        if let Some(id) = who.key() {
            let key = self.next.keys.get(id).filter(|key| key.is_alive(self.now)).ok_or(Error::Refused)?;
            expires = expires.min(key.credential.expires.unwrap_or(expires));
        }
        let (user, incarnation, key) = (who.user().to_owned(), who.incarnation, who.key().map(str::to_owned));
        Ok(GrantRecord { user, incarnation, created: self.now, expires, key })
    }

    fn after(&self, lifetime: Duration) -> Timestamp {
        Timestamp(self.now.millis().saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)))
    }

    // Upkeep.

    /// Removes what has ended by itself.
    pub fn sweep(&mut self) {
        let now = self.now;
        let ended = |map: &imbl::OrdMap<Name, Arc<GrantRecord>>| -> Vec<Name> {
            map.iter().filter(|(_, grant)| grant.expires <= now).map(|(hash, _)| hash.clone()).collect()
        };
        let (sessions, links) = (ended(&self.next.sessions), ended(&self.next.links));
        sessions.iter().for_each(|hash| self.forget_session(hash));
        links.iter().for_each(|hash| self.forget_link(hash));
        let keys = self.next.keys.iter().filter(|(_, key)| !key.is_alive(now));
        let keys: Vec<Name> = keys.map(|(id, _)| id.clone()).collect();
        keys.iter().for_each(|id| self.forget_key(id));
        let revoked = self.next.revoked.iter().filter(|(_, end)| **end <= now);
        for id in revoked.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.delete(store::key(table::REVOKED, &id));
            self.next.revoked.remove(&id);
        }
    }

    /// Stores when keys were last used, where that is not stored yet.
    pub(crate) fn put_last_uses(&mut self) {
        use std::sync::atomic::Ordering::Relaxed;
        let keys: Vec<Arc<Key>> = self.next.keys.values().cloned().collect();
        for key in keys {
            let used = key.used.load(Relaxed);
            // Should the write fail, one minute's worth of use is told late.
            if key.used_stored.swap(used, Relaxed) != used {
                let place = store::key(table::USED, &key.credential.access_key_id);
                self.put(place, &TimeRecord(Timestamp(used)));
            }
        }
    }

    /// Seals every secret with another master key. Until the commit only the earlier key opens them, after it only
    /// the new one: keep both until then.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::Store`].
    pub async fn rotate_master_key(&mut self, sealer: Sealer) -> Result<()> {
        let (earlier, random) = (self.inner.sealer(), self.inner.random.clone());
        let place = Bytes::from_static(store::TOKEN_KEY);
        if let Some(sealed) = self.inner.kv.get(&place).await? {
            let plain = open_at(&earlier, &place, &sealed)?;
            self.writes.push(Write::Put(place.clone(), sealer.seal(&place, &plain, &*random).into()));
        }
        for key in self.next.keys.values().cloned().collect::<Vec<_>>() {
            let (place, record) = sealed(&key, &sealer, &*random);
            self.put(place, &record);
        }
        for user in self.next.users.values().cloned().collect::<Vec<_>>() {
            if let Some(PasswordHash(record)) = &user.password {
                let place = store::key(table::PASSWORDS, &user.name);
                let sealed = sealer.seal(&place, &record.encode(), &*random);
                self.writes.push(Write::Put(place, sealed.into()));
            }
        }
        self.resealed = Some(Arc::new(sealer));
        Ok(())
    }

    pub(crate) fn has_defaults(&self) -> bool {
        self.next.defaults != 0
    }

    pub(crate) fn note_defaults(&mut self, version: u64) {
        self.put(Bytes::from_static(store::DEFAULTS), &CountRecord(version));
        self.next.defaults = version;
    }

    /// What is changed so far.
    pub(crate) fn next(&self) -> &State {
        &self.next
    }
}

/// A key's record, sealed for its place.
fn sealed(key: &Key, sealer: &Sealer, random: &dyn millpond_types::Random) -> (Bytes, CredentialRecord) {
    let credential = &key.credential;
    let place = store::key(table::CREDENTIALS, &credential.access_key_id);
    let record = CredentialRecord {
        user: credential.user.to_string(),
        created: credential.created,
        source: key.source,
        sealed_secret: sealer.seal(&place, credential.secret.expose().as_bytes(), random).into(),
        expires: credential.expires,
        limits: key.limits.clone(),
    };
    (place, record)
}

/// API-5.1, 5.2, and what would break a line of a log or a key.
fn check_name(what: &'static str, name: &str) -> Result<()> {
    let rule = match name {
        "" => "is empty".to_owned(),
        name if name.len() > AUTH_NAME_BYTES_MAX => format!("has more than {AUTH_NAME_BYTES_MAX} bytes"),
        name if name.contains(['/', '%']) => "contains / or %".to_owned(),
        name if name.chars().any(char::is_control) => "contains a control character".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::Invalid(format!("the name of a {what} {rule}").into()))
}

fn exists(what: &'static str, name: &str) -> Error {
    Error::Exists { what, name: name.to_owned() }
}
