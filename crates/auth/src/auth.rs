//! Users, keys and tokens in memory, kept in step with the metadata store.

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::mac::Marks;
use crate::permission::{Action, Permit, Resource};
use crate::seal::{SealError, Sealer};
use crate::secret::{Secret, check_given, new_access_key_id, new_secret};
use crate::store::{self, CredentialRecord, Source, UserRecord};
use crate::token::{Tokens, new_signing_key};
use bytes::Bytes;
use millpond_kv::{Batch, Expect, Kv, KvError, Write, prefix_end};
use millpond_types::{Clock, Random, Timestamp};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The one authority on who somebody is and what they may do. All methods may be called at the same time.
pub struct Auth {
    kv: Arc<dyn Kv>,
    sealer: Sealer,
    random: Arc<dyn Random>,
    clock: Arc<dyn Clock>,
    tokens: Tokens,
    marks: Marks,
    /// What requests ask: no store and no decryption on their way.
    known: RwLock<Known>,
    /// One change at a time, so that store and memory change alike.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    users: BTreeMap<String, UserRecord>,
    credentials: HashMap<String, Arc<Held>>,
}

/// An access key in memory.
struct Held {
    credential: Credential,
    source: Source,
    backoff: Mutex<Backoff>,
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
        let (tokens, marks) = (Tokens::new(&key), Marks::new(&key));
        let known = RwLock::new(load(&*kv, &sealer).await?);
        let changing = tokio::sync::Mutex::new(());
        Ok(Self { kv, sealer, random, clock, tokens, marks, known, changing })
    }

    /// Makes sure that the administrator exists and has a key.
    ///
    /// With keys given by configuration, that key works from now on and any *other configured* key stops
    /// working: changing the configuration rotates the key. A key that Millpond made itself stays valid
    /// beside it. Without given keys an existing key is returned, or a random one made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for given keys that break the rules or belong to another user; [`Error::Store`].
    pub async fn ensure_admin(&self, name: &str, given: Option<(&str, &str)>) -> Result<AdminKeys> {
        let _one_at_a_time = self.changing.lock().await;
        match given {
            Some((access_key_id, secret)) => self.configure_admin(name, access_key_id, secret).await,
            None => self.find_or_make_admin(name).await,
        }
    }

    async fn configure_admin(&self, name: &str, access_key_id: &str, secret: &str) -> Result<AdminKeys> {
        check_given(access_key_id, secret).map_err(|rule| Error::Invalid(rule.into()))?;
        let (outdated, found) = {
            let known = self.known.read();
            if known.credentials.get(access_key_id).is_some_and(|held| &*held.credential.user != name) {
                return Err(Error::Invalid("the access key id belongs to another user".into()));
            }
            let same =
                |held: &&Arc<Held>| held.source == Source::Configured && held.credential.secret.is(secret);
            let found = known.credentials.get(access_key_id).filter(same).is_some();
            let outdated = known.credentials.iter().filter(|(id, held)| {
                held.source == Source::Configured && &*held.credential.user == name && *id != access_key_id
            });
            (outdated.map(|(id, _)| id.clone()).collect::<Vec<_>>(), found)
        };
        let secret = Secret::new(secret);
        if !found || !outdated.is_empty() {
            self.put_admin_key(name, access_key_id, &secret, Source::Configured, &outdated).await?;
        }
        Ok(AdminKeys { access_key_id: access_key_id.to_owned(), secret, created: !found })
    }

    async fn find_or_make_admin(&self, name: &str) -> Result<AdminKeys> {
        let found = {
            let known = self.known.read();
            let own = known.credentials.values().filter(|held| &*held.credential.user == name);
            // The one that Millpond made comes first: that is the one in the profile.
            own.min_by_key(|held| (held.source == Source::Configured, held.credential.created)).cloned()
        };
        if let Some(held) = found {
            return Ok(AdminKeys {
                access_key_id: held.credential.access_key_id.to_string(),
                secret: held.credential.secret.clone(),
                created: false,
            });
        }
        let access_key_id = new_access_key_id(&*self.random);
        let secret = new_secret(&*self.random);
        self.put_admin_key(name, &access_key_id, &secret, Source::Generated, &[]).await?;
        Ok(AdminKeys { access_key_id, secret, created: true })
    }

    /// Writes the user, a key, and the removal of others in one batch, then shows them to requests.
    async fn put_admin_key(
        &self,
        name: &str,
        access_key_id: &str,
        secret: &Secret,
        source: Source,
        outdated: &[String],
    ) -> Result<()> {
        let now = self.clock.now();
        let user = self.known.read().users.get(name).cloned();
        let user = user.unwrap_or(UserRecord { created: now, administrator: true });
        let place = store::credential(access_key_id);
        let sealed_secret = self.sealer.seal(&place, secret.expose().as_bytes(), &*self.random).into();
        let record = CredentialRecord { user: name.to_owned(), created: now, source, sealed_secret };
        let mut writes =
            vec![Write::Put(store::user(name), user.encode()), Write::Put(place, record.encode())];
        writes.extend(outdated.iter().map(|id| Write::Delete(store::credential(id))));
        self.kv.commit(Batch { preconditions: Vec::new(), writes }).await?;
        let mut known = self.known.write();
        known.users.insert(name.to_owned(), user);
        known.credentials.insert(access_key_id.to_owned(), held(access_key_id, secret.clone(), &record));
        for id in outdated {
            known.credentials.remove(id);
        }
        Ok(())
    }

    /// The secret behind an access key id and its owner, for checking signatures.
    pub fn lookup(&self, access_key_id: &str) -> Option<Credential> {
        self.known.read().credentials.get(access_key_id).map(|held| held.credential.clone())
    }

    /// Checks a key and its secret; returns the user.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Busy`] while the key is closed after too many wrong secrets.
    pub fn check(&self, access_key_id: &str, secret: &str) -> Result<Arc<str>> {
        let held = self.known.read().credentials.get(access_key_id).cloned();
        let Some(held) = held else {
            // The same work as for a known key.
            let _ = Secret::new("").is(secret);
            return Err(Error::Refused);
        };
        let mut backoff = held.backoff.lock();
        if let Some(wait) = backoff.wait(self.clock.now()) {
            return Err(Error::Busy(wait));
        }
        if held.credential.secret.is(secret) {
            backoff.right();
            Ok(held.credential.user.clone())
        } else {
            backoff.wrong(self.clock.now());
            Err(Error::Refused)
        }
    }

    /// A session token for a user, and when it expires.
    pub fn issue_token(&self, user: &str) -> (String, Timestamp) {
        self.tokens.issue(user, self.clock.now(), &*self.random)
    }

    /// The user of a session token. The user must still exist (API-2.10).
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn verify_token(&self, token: &str) -> Result<String> {
        let user = self.tokens.user(token, self.clock.now()).ok_or(Error::Refused)?;
        if self.known.read().users.contains_key(&user) { Ok(user) } else { Err(Error::Refused) }
    }

    /// A mark on bytes that the server hands out, to know them again; apart for each purpose.
    pub fn mark(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        self.marks.mark(purpose, bytes)
    }

    /// Whether a mark (or its first 16 bytes or more) is ours, in constant time.
    pub fn is_marked(&self, purpose: &str, bytes: &[u8], mark: &[u8]) -> bool {
        self.marks.is(purpose, bytes, mark)
    }

    /// When a user was created; `None`: there is no such user.
    pub fn user_created(&self, user: &str) -> Option<Timestamp> {
        self.known.read().users.get(user).map(|record| record.created)
    }

    /// The one evaluator: an administrator may do everything, everybody else nothing.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub fn authorize(&self, user: &str, action: Action, resource: Resource<'_>) -> Result<Permit> {
        if self.known.read().users.get(user).is_some_and(|record| record.administrator) {
            return Ok(Permit::new(user.into()));
        }
        Err(Error::Denied { user: user.to_owned(), action: action.name(), resource: resource.to_string() })
    }
}

fn held(access_key_id: &str, secret: Secret, record: &CredentialRecord) -> Arc<Held> {
    Arc::new(Held {
        credential: Credential {
            access_key_id: access_key_id.into(),
            secret,
            user: record.user.as_str().into(),
            created: record.created,
        },
        source: record.source,
        backoff: Mutex::default(),
    })
}

/// The stored signing key, or a new one. Two servers that start together agree on the first.
async fn signing_key(kv: &dyn Kv, sealer: &Sealer, random: &dyn Random) -> Result<Vec<u8>> {
    let place = store::token_key();
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

async fn load(kv: &dyn Kv, sealer: &Sealer) -> Result<Known> {
    let mut known = Known::default();
    let mut from = Bytes::from_static(store::PREFIX);
    let end = prefix_end(store::PREFIX).expect("the prefix is not all 0xff");
    loop {
        let page = kv.scan(&from, &end, 1000).await?;
        let Some((last, _)) = page.last() else { return Ok(known) };
        from = [last, &b"\0"[..]].concat().into();
        for (key, value) in page {
            let text = |rest: &[u8]| String::from_utf8(rest.to_vec()).map_err(|_| damaged(&key));
            if let Some(name) = key.strip_prefix(store::USERS) {
                let record = UserRecord::decode(value).map_err(|_| damaged(&key))?;
                known.users.insert(text(name)?, record);
            } else if let Some(id) = key.strip_prefix(store::CREDENTIALS) {
                let record = CredentialRecord::decode(value).map_err(|_| damaged(&key))?;
                let secret = open_at(sealer, &key, &record.sealed_secret)?;
                let secret = Secret::new(String::from_utf8(secret).map_err(|_| damaged(&key))?);
                let id = text(id)?;
                let held = held(&id, secret, &record);
                known.credentials.insert(id, held);
            }
        }
    }
}

fn open_at(sealer: &Sealer, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    sealer
        .open(place, sealed)
        .map_err(|source| Error::Unreadable { record: String::from_utf8_lossy(place).into_owned(), source })
}

fn damaged(place: &[u8]) -> Error {
    Error::Unreadable { record: String::from_utf8_lossy(place).into_owned(), source: SealError::Damaged }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
    use std::time::Duration;

    /// Chance that counts upwards.
    #[derive(Default)]
    pub struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[derive(Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    /// The contract of a store, as simple as can be.
    #[derive(Default)]
    struct MapKv(Mutex<BTreeMap<Bytes, Bytes>>);

    #[async_trait]
    impl Kv for MapKv {
        async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
            Ok(self.0.lock().get(key).cloned())
        }
        async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
            let range = Bytes::copy_from_slice(from)..Bytes::copy_from_slice(to);
            Ok(self.0.lock().range(range).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
        }
        async fn commit(&self, batch: Batch) -> Result<(), KvError> {
            let mut map = self.0.lock();
            for (key, expect) in batch.preconditions {
                if map.contains_key(&key) || expect != Expect::Absent {
                    return Err(KvError::PreconditionFailed(key));
                }
            }
            for write in batch.writes {
                match write {
                    Write::Put(key, value) => drop(map.insert(key, value)),
                    Write::Delete(key) => drop(map.remove(&key)),
                    Write::DeleteRange(..) => unreachable!("this crate deletes no ranges"),
                }
            }
            Ok(())
        }
    }

    #[derive(Default)]
    struct Machine {
        kv: Arc<MapKv>,
        random: Arc<Counting>,
        clock: Arc<Hand>,
    }

    impl Machine {
        async fn start(&self) -> Result<Auth> {
            self.start_with(&[1; 32]).await
        }
        async fn start_with(&self, master_key: &[u8; 32]) -> Result<Auth> {
            Auth::open(self.kv.clone(), Sealer::new(master_key), self.random.clone(), self.clock.clone())
                .await
        }
        fn after(&self, time: Duration) {
            self.clock.0.fetch_add(i64::try_from(time.as_millis()).expect("short"), Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_later_ones_find_it() {
        let machine = Machine::default();
        let auth = machine.start().await.expect("opens");
        assert!(auth.lookup("AKIAJ").is_none());
        let first = auth.ensure_admin("admin", None).await.expect("made");
        assert!(first.created);
        assert_eq!(&*auth.check(&first.access_key_id, first.secret.expose()).expect("right"), "admin");
        let (token, _) = auth.issue_token("admin");

        let auth = machine.start().await.expect("opens again");
        assert_eq!(auth.verify_token(&token).expect("signed with the same key"), "admin");
        let again = auth.ensure_admin("admin", None).await.expect("found");
        assert!(!again.created);
        assert_eq!(again.access_key_id, first.access_key_id);
        let found = auth.lookup(&first.access_key_id).expect("known");
        assert_eq!((&*found.user, found.secret.expose()), ("admin", first.secret.expose()));
    }

    #[tokio::test]
    async fn configured_keys_rotate_and_leave_generated_ones() {
        let machine = Machine::default();
        let auth = machine.start().await.expect("opens");
        let made = auth.ensure_admin("admin", None).await.expect("made");
        let one = auth.ensure_admin("admin", Some(("KEY1", "secret-one"))).await.expect("added");
        assert!(one.created);
        assert!(!auth.ensure_admin("admin", Some(("KEY1", "secret-one"))).await.expect("found").created);
        assert!(auth.ensure_admin("admin", Some(("KEY1", "secret-two"))).await.expect("replaced").created);
        assert!(matches!(auth.check("KEY1", "secret-one"), Err(Error::Refused)));
        assert!(auth.check("KEY1", "secret-two").is_ok());
        auth.ensure_admin("admin", Some(("KEY2", "secret-two"))).await.expect("rotated");
        for auth in [auth, machine.start().await.expect("opens again")] {
            assert!(auth.lookup("KEY1").is_none(), "the earlier configured key is gone");
            assert!(auth.check("KEY2", "secret-two").is_ok());
            assert!(auth.check(&made.access_key_id, made.secret.expose()).is_ok());
        }
    }

    #[tokio::test]
    async fn keys_of_another_user_are_not_taken_over() {
        let auth = Machine::default().start().await.expect("opens");
        auth.ensure_admin("admin", Some(("KEY1", "secret-one"))).await.expect("added");
        let taken = auth.ensure_admin("other", Some(("KEY1", "secret-two"))).await;
        assert!(matches!(taken, Err(Error::Invalid(_))), "{taken:?}");
        let weak = auth.ensure_admin("admin", Some(("KEY1", "short"))).await;
        assert!(matches!(weak, Err(Error::Invalid(_))), "{weak:?}");
    }

    #[tokio::test]
    async fn nothing_secret_is_stored_in_the_open() {
        let machine = Machine::default();
        let auth = machine.start().await.expect("opens");
        auth.ensure_admin("admin", Some(("KEY1", "very-secret-text"))).await.expect("added");
        for (key, value) in &*machine.kv.0.lock() {
            assert!(key.starts_with(store::PREFIX), "{key:?}");
            assert!(!value.windows(11).any(|w| w == b"very-secret"), "{key:?}");
        }
    }

    #[tokio::test]
    async fn another_master_key_is_said_so() {
        let machine = Machine::default();
        machine.start().await.expect("opens");
        let error = machine.start_with(&[2; 32]).await.err().expect("cannot open");
        assert!(matches!(error, Error::Unreadable { source: SealError::OtherKey { .. }, .. }), "{error}");
    }

    #[tokio::test]
    async fn wrong_secrets_close_their_key_for_a_while() {
        let machine = Machine::default();
        let auth = machine.start().await.expect("opens");
        auth.ensure_admin("admin", Some(("KEY1", "secret-one"))).await.expect("added");
        let other = auth.ensure_admin("second", Some(("KEY2", "secret-two"))).await.expect("added");
        while !matches!(auth.check("KEY1", "wrong-secret"), Err(Error::Busy(_))) {}
        let Err(Error::Busy(wait)) = auth.check("KEY1", "secret-one") else { panic!("the key is closed") };
        assert!(auth.check(&other.access_key_id, "secret-two").is_ok(), "other keys stay open");
        assert!(matches!(auth.check("KEY3", "x"), Err(Error::Refused)));
        machine.after(wait);
        assert!(auth.check("KEY1", "secret-one").is_ok());
    }

    #[tokio::test]
    async fn tokens_end_with_their_user_and_their_time() {
        let machine = Machine::default();
        let auth = machine.start().await.expect("opens");
        auth.ensure_admin("admin", None).await.expect("made");
        assert!(auth.verify_token(&auth.issue_token("nobody").0).is_err());
        let (token, _) = auth.issue_token("admin");
        machine.after(Duration::from_secs(604_800));
        assert!(auth.verify_token(&token).is_err());
    }

    #[tokio::test]
    async fn the_administrator_may_do_everything_and_others_nothing() {
        let auth = Machine::default().start().await.expect("opens");
        auth.ensure_admin("admin", None).await.expect("made");
        for &action in Action::ALL {
            assert_eq!(auth.authorize("admin", action, Resource::Any).expect("permitted").user(), "admin");
            assert!(auth.authorize("Admin", action, Resource::Any).is_err());
        }
        let error = auth.authorize("eve", Action::ListUsers, Resource::User("admin")).expect_err("denied");
        assert_eq!(error.to_string(), "user 'eve' may not auth:ListUsers on arn:lakefs:auth:::user/admin");
    }
}
