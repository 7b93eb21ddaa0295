//! Users, groups, policies, keys and sessions in memory: what requests ask, without a store or decryption on
//! their way.
//!
//! A state is immutable once it is shown; a change makes the next one beside it, which shares all that stays. The
//! effective policies of each user are worked out when they change and not when they are asked for.

use crate::access::Rights;
use crate::auth::Credential;
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::password::PasswordHash;
use crate::policy::{Compiled, Document, Statement};
use crate::seal::{SealError, Sealer};
use crate::secret::Secret;
use crate::store::{
    self, CountRecord, CredentialRecord, GrantRecord, GroupRecord, MemberRecord, PasswordRecord,
    PolicyRecord, PrincipalRecord, Record, Source, TimeRecord, UserRecord, table,
};
use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use millpond_kv::{Kv, key_after, prefix_end};
use millpond_types::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A name, shared by all that speak of it.
pub type Name = Arc<str>;

/// Everything, as of one change.
#[derive(Clone, Default)]
pub struct State {
    /// How many changes came before, as stored.
    pub generation: u64,
    /// Which groups and policies of a first start were made; 0: none.
    pub defaults: u64,
    pub users: OrdMap<Name, Arc<User>>,
    pub groups: OrdMap<Name, Arc<Group>>,
    pub policies: OrdMap<Name, Arc<Policy>>,
    pub keys: OrdMap<Name, Arc<Key>>,
    /// By the hash of their token.
    pub sessions: OrdMap<Name, Arc<GrantRecord>>,
    pub links: OrdMap<Name, Arc<GrantRecord>>,
    /// Ids of tokens, and when those end anyway.
    pub revoked: OrdMap<Name, Timestamp>,
    /// Users by their id in another system.
    pub principals: OrdMap<Name, Name>,
}

/// A user and all that hangs on it.
#[derive(Clone)]
pub struct User {
    pub name: Name,
    pub record: UserRecord,
    pub password: Option<PasswordHash>,
    pub groups: OrdSet<Name>,
    /// Those of them that another system gave.
    pub given: OrdSet<Name>,
    pub policies: OrdSet<Name>,
    pub keys: OrdSet<Name>,
    pub sessions: OrdSet<Name>,
    pub rights: Arc<Rights>,
    /// Of wrong passwords.
    pub backoff: Arc<Mutex<Backoff>>,
}

/// A group.
#[derive(Clone)]
pub struct Group {
    pub record: GroupRecord,
    pub members: OrdSet<Name>,
    pub policies: OrdSet<Name>,
}

/// A policy and who has it.
#[derive(Clone)]
pub struct Policy {
    pub created: Timestamp,
    pub document: Arc<Document>,
    /// What all its users share; `None`: it reads otherwise for each.
    compiled: Option<Arc<Compiled>>,
    pub users: OrdSet<Name>,
    pub groups: OrdSet<Name>,
}

/// An access key.
pub struct Key {
    pub credential: Credential,
    pub source: Source,
    /// As stored.
    pub limits: Vec<String>,
    /// The same, compiled for its user.
    pub limiting: Arc<[Arc<Rights>]>,
    pub backoff: Mutex<Backoff>,
    /// Milliseconds; 0: never. What is known, and what is stored.
    pub used: AtomicI64,
    pub used_stored: AtomicI64,
}

/// Uses of a key are told apart by the minute: finer would be a shared write for every request.
const USED_MILLIS: i64 = 60_000;

impl Key {
    pub fn new(credential: Credential, source: Source, limits: Vec<String>) -> Self {
        let compile = |limit: &String| {
            let compiled = Compiled::new("".into(), &read_document(limit), &credential.user);
            Arc::new(Rights::new([Arc::new(compiled)]))
        };
        let limiting = limits.iter().map(compile).collect();
        let (backoff, used, used_stored) = (Mutex::default(), AtomicI64::new(0), AtomicI64::new(0));
        Self { credential, source, limits, limiting, backoff, used, used_stored }
    }

    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.credential.expires.is_none_or(|end| now < end)
    }

    pub fn is_used(&self, now: Timestamp) {
        let now = now.millis();
        if (now - self.used.load(Ordering::Relaxed)).abs() >= USED_MILLIS {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    pub fn last_used(&self) -> Option<Timestamp> {
        let used = self.used.load(Ordering::Relaxed);
        (used != 0).then_some(Timestamp(used))
    }
}

/// A stored document. One that this version cannot read has a statement that nobody understands, and so denies.
fn read_document(json: &str) -> Document {
    serde_json::from_str(json).unwrap_or_else(|_| {
        let unread = Statement {
            effect: "unreadable".to_owned(),
            resource: "*".to_owned(),
            action: Vec::new(),
            condition: None,
        };
        Document { statement: vec![unread], acl: None }
    })
}

impl State {
    pub fn put_user(&mut self, name: Name, record: UserRecord) {
        let user = User {
            name: name.clone(),
            record,
            password: None,
            groups: OrdSet::new(),
            given: OrdSet::new(),
            policies: OrdSet::new(),
            keys: OrdSet::new(),
            sessions: OrdSet::new(),
            rights: Arc::default(),
            backoff: Arc::default(),
        };
        self.users.insert(name, Arc::new(user));
    }

    pub fn put_group(&mut self, name: Name, record: GroupRecord) {
        let group = Group { record, members: OrdSet::new(), policies: OrdSet::new() };
        self.groups.insert(name, Arc::new(group));
    }

    /// A new policy, or new words of one that keeps its attachments.
    pub fn put_policy(&mut self, name: Name, record: &PolicyRecord) {
        let document = read_document(&record.document);
        let shared = !Compiled::depends_on_user(&document);
        let compiled = shared.then(|| Arc::new(Compiled::new(name.clone(), &document, "")));
        let earlier = self.policies.get(&name);
        let policy = Policy {
            created: record.created,
            document: Arc::new(document),
            compiled,
            users: earlier.map(|policy| policy.users.clone()).unwrap_or_default(),
            groups: earlier.map(|policy| policy.groups.clone()).unwrap_or_default(),
        };
        self.policies.insert(name, Arc::new(policy));
    }

    /// Everybody who has the policy, directly or through a group.
    pub fn users_with(&self, policy: &Policy) -> Vec<Name> {
        let groups = policy.groups.iter().filter_map(|group| self.groups.get(group));
        let through = groups.flat_map(|group| group.members.iter());
        policy.users.iter().chain(through).cloned().collect()
    }

    /// Policies of a user by name, with the groups each comes through.
    pub fn effective(&self, user: &User) -> BTreeMap<Name, Vec<Name>> {
        let mut all: BTreeMap<Name, Vec<Name>> =
            user.policies.iter().map(|policy| (policy.clone(), Vec::new())).collect();
        for name in &user.groups {
            for policy in self.groups.get(name).into_iter().flat_map(|group| group.policies.iter()) {
                all.entry(policy.clone()).or_default().push(name.clone());
            }
        }
        all
    }

    /// Works a user's effective policies out anew.
    pub fn refresh(&mut self, name: &str) {
        let Some(user) = self.users.get(name) else { return };
        let policies = self.effective(user).into_keys().filter_map(|policy| {
            let found = self.policies.get(&policy)?;
            let own = || Arc::new(Compiled::new(policy.clone(), &found.document, name));
            Some(found.compiled.clone().unwrap_or_else(own))
        });
        let rights = Arc::new(Rights::new(policies));
        change(&mut self.users, name, |user| user.rights = rights);
    }

    pub fn add_member(&mut self, group: &Name, user: &Name, given: bool) {
        if !self.groups.contains_key(group) || !self.users.contains_key(user) {
            return;
        }
        change(&mut self.groups, group, |group| drop(group.members.insert(user.clone())));
        change(&mut self.users, user, |user| {
            user.groups.insert(group.clone());
            if given {
                user.given.insert(group.clone());
            }
        });
    }

    pub fn remove_member(&mut self, group: &str, user: &str) {
        change(&mut self.groups, group, |group| drop(group.members.remove(user)));
        change(&mut self.users, user, |user| {
            user.groups.remove(group);
            user.given.remove(group);
        });
    }

    pub fn attach_to_user(&mut self, user: &Name, policy: &Name) {
        if !self.users.contains_key(user) || !self.policies.contains_key(policy) {
            return;
        }
        change(&mut self.policies, policy, |policy| drop(policy.users.insert(user.clone())));
        change(&mut self.users, user, |user| drop(user.policies.insert(policy.clone())));
    }

    pub fn detach_from_user(&mut self, user: &str, policy: &str) {
        change(&mut self.policies, policy, |policy| drop(policy.users.remove(user)));
        change(&mut self.users, user, |user| drop(user.policies.remove(policy)));
    }

    pub fn attach_to_group(&mut self, group: &Name, policy: &Name) {
        if !self.groups.contains_key(group) || !self.policies.contains_key(policy) {
            return;
        }
        change(&mut self.policies, policy, |policy| drop(policy.groups.insert(group.clone())));
        change(&mut self.groups, group, |group| drop(group.policies.insert(policy.clone())));
    }

    pub fn detach_from_group(&mut self, group: &str, policy: &str) {
        change(&mut self.policies, policy, |policy| drop(policy.groups.remove(group)));
        change(&mut self.groups, group, |group| drop(group.policies.remove(policy)));
    }

    pub fn put_key(&mut self, key: Key) {
        let (id, user) = (key.credential.access_key_id.clone(), key.credential.user.clone());
        change(&mut self.users, &user, |user| drop(user.keys.insert(id.clone())));
        self.keys.insert(id, Arc::new(key));
    }

    pub fn remove_key(&mut self, id: &str) {
        if let Some(key) = self.keys.remove(id) {
            change(&mut self.users, &key.credential.user, |user| drop(user.keys.remove(id)));
        }
    }

    pub fn put_session(&mut self, hash: Name, session: GrantRecord) {
        change(&mut self.users, &session.user, |user| drop(user.sessions.insert(hash.clone())));
        self.sessions.insert(hash, Arc::new(session));
    }

    pub fn remove_session(&mut self, hash: &str) {
        if let Some(session) = self.sessions.remove(hash) {
            change(&mut self.users, &session.user, |user| drop(user.sessions.remove(hash)));
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for a record that is damaged, newer, or sealed with another key; [`Error::Store`].
    pub async fn load(kv: &dyn Kv, sealer: &Sealer) -> Result<Self> {
        // Relations come after what they relate, whatever the order of the keys.
        let mut rows = BTreeMap::<usize, Vec<(Bytes, Bytes)>>::new();
        let mut from = Bytes::from_static(store::PREFIX);
        let end = prefix_end(store::PREFIX).expect("the prefix is not all 0xff");
        loop {
            let page = kv.scan(&from, &end, 1000).await?;
            let Some((last, _)) = page.last() else { break };
            from = key_after(last);
            for (key, value) in page {
                let place = TABLES.iter().position(|(prefix, _)| key.starts_with(prefix));
                if let Some(place) = place {
                    rows.entry(place).or_default().push((key, value));
                }
            }
        }
        let mut state = Self::default();
        for (place, rows) in rows {
            let (prefix, read) = TABLES[place];
            for (key, value) in rows {
                let name = std::str::from_utf8(&key[prefix.len()..]).map_err(|_| damaged(&key))?;
                read(&mut state, Row { key: &key, name, value, sealer })?;
            }
        }
        let users: Vec<Name> = state.users.keys().cloned().collect();
        users.iter().for_each(|user| state.refresh(user));
        Ok(state)
    }
}

/// Changes one entry in place, or a copy of it where an earlier state still shows it.
pub fn change<T: Clone>(map: &mut OrdMap<Name, Arc<T>>, name: &str, how: impl FnOnce(&mut T)) {
    if let Some(entry) = map.get_mut(name) {
        how(Arc::make_mut(entry));
    }
}

/// A stored record on its way into memory.
struct Row<'a> {
    key: &'a Bytes,
    /// What follows the table's prefix.
    name: &'a str,
    value: Bytes,
    sealer: &'a Sealer,
}

impl Row<'_> {
    fn decode<R: Record>(&self) -> Result<R> {
        R::decode(self.value.clone()).map_err(|_| damaged(self.key))
    }
    fn pair(&self) -> Result<(Name, Name)> {
        let (left, right) = self.name.rsplit_once('/').ok_or_else(|| damaged(self.key))?;
        Ok((left.into(), right.into()))
    }
}

type Reader = fn(&mut State, Row<'_>) -> Result<()>;

/// Every table, in the order in which they are read.
const TABLES: &[(&[u8], Reader)] = &[
    (store::GENERATION, |state, row| {
        state.generation = row.decode::<CountRecord>()?.0;
        Ok(())
    }),
    (store::DEFAULTS, |state, row| {
        state.defaults = row.decode::<CountRecord>()?.0;
        Ok(())
    }),
    (table::USERS, |state, row| {
        state.put_user(row.name.into(), row.decode()?);
        Ok(())
    }),
    (table::GROUPS, |state, row| {
        state.put_group(row.name.into(), row.decode()?);
        Ok(())
    }),
    (table::POLICIES, |state, row| {
        state.put_policy(row.name.into(), &row.decode()?);
        Ok(())
    }),
    (table::MEMBERS, |state, row| {
        let (group, user) = row.pair()?;
        state.add_member(&group, &user, row.decode::<MemberRecord>()?.given);
        Ok(())
    }),
    (table::USER_POLICIES, |state, row| {
        let (user, policy) = row.pair()?;
        state.attach_to_user(&user, &policy);
        Ok(())
    }),
    (table::GROUP_POLICIES, |state, row| {
        let (group, policy) = row.pair()?;
        state.attach_to_group(&group, &policy);
        Ok(())
    }),
    (table::PASSWORDS, |state, row| {
        let plain = open_at(row.sealer, row.key, &row.value)?;
        let record = PasswordRecord::decode(plain.into()).map_err(|_| damaged(row.key))?;
        change(&mut state.users, row.name, |user| user.password = Some(PasswordHash(Arc::new(record))));
        Ok(())
    }),
    (table::CREDENTIALS, |state, row| {
        let record: CredentialRecord = row.decode()?;
        let secret = open_at(row.sealer, row.key, &record.sealed_secret)?;
        let secret = Secret::new(String::from_utf8(secret).map_err(|_| damaged(row.key))?);
        let credential = Credential {
            access_key_id: row.name.into(),
            secret,
            user: record.user.as_str().into(),
            created: record.created,
            expires: record.expires,
        };
        state.put_key(Key::new(credential, record.source, record.limits));
        Ok(())
    }),
    (table::USED, |state, row| {
        let time = row.decode::<TimeRecord>()?.0.millis();
        if let Some(key) = state.keys.get(row.name) {
            key.used.store(time, Ordering::Relaxed);
            key.used_stored.store(time, Ordering::Relaxed);
        }
        Ok(())
    }),
    (table::SESSIONS, |state, row| {
        state.put_session(row.name.into(), row.decode()?);
        Ok(())
    }),
    (table::LINKS, |state, row| {
        state.links.insert(row.name.into(), Arc::new(row.decode()?));
        Ok(())
    }),
    (table::REVOKED, |state, row| {
        state.revoked.insert(row.name.into(), row.decode::<TimeRecord>()?.0);
        Ok(())
    }),
    (table::PRINCIPALS, |state, row| {
        let record: PrincipalRecord = row.decode()?;
        state.principals.insert(row.name.into(), record.user.into());
        Ok(())
    }),
];

/// Opens what is sealed at a place.
pub fn open_at(sealer: &Sealer, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    sealer
        .open(place, sealed)
        .map_err(|source| Error::Unreadable { record: String::from_utf8_lossy(place).into_owned(), source })
}

/// A record that is not what was written.
pub fn damaged(place: &[u8]) -> Error {
    Error::Unreadable { record: String::from_utf8_lossy(place).into_owned(), source: SealError::Damaged }
}
