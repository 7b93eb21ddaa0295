//! A machine for tests: a store that can be watched and broken, a clock set by hand, seeded chance.

use async_trait::async_trait;
use bytes::Bytes;
use millpond_auth::{
    Access, Auth, Change, Circumstances, Document, Error, NewKey, NewUser, Page, Resource, Result, Sealer,
    Statement, Who,
};
use millpond_kv::{Batch, Kv, KvError, MemoryKv};
use millpond_testkit::{ManualClock, Seeded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// What happens to commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// They happen.
    Fine,
    /// They do not happen, and say so.
    Refused,
    /// They do not happen, and nobody can tell: the power is cut before.
    LostBefore,
    /// They happen, and nobody is told: the power is cut after.
    LostAfter,
}

#[derive(Default)]
pub struct BreakableKv {
    pub real: MemoryKv,
    fate: AtomicU8,
}

impl BreakableKv {
    pub fn set(&self, fate: Fate) {
        self.fate.store(fate as u8, Ordering::Relaxed);
    }
    pub async fn rows(&self) -> Vec<(Bytes, Bytes)> {
        self.real.scan(b"", b"\xff", usize::MAX).await.expect("scan")
    }
}

#[async_trait]
impl Kv for BreakableKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.real.get(key).await
    }
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.real.scan(from, to, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        // Somebody who sees a change before it is durable sees it here.
        tokio::task::yield_now().await;
        let fate = self.fate.load(Ordering::Relaxed);
        if fate == Fate::Refused as u8 {
            return Err(KvError::Busy("told so".into()));
        }
        if fate == Fate::LostBefore as u8 {
            return Err(KvError::Failed("the power is cut".into()));
        }
        self.real.commit(batch).await?;
        if fate == Fate::LostAfter as u8 { Err(KvError::Failed("the power is cut".into())) } else { Ok(()) }
    }
}

pub struct Machine {
    pub kv: Arc<BreakableKv>,
    pub random: Arc<Seeded>,
    pub clock: Arc<ManualClock>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            kv: Arc::default(),
            random: Arc::new(Seeded::new(1)),
            clock: Arc::new(ManualClock::at(1_780_000_000_000)),
        }
    }
}

impl Machine {
    pub async fn start(&self) -> Result<Auth> {
        self.start_with(&[1; 32]).await
    }
    pub async fn start_with(&self, master_key: &[u8; 32]) -> Result<Auth> {
        Auth::open(self.kv.clone(), Sealer::new(master_key), self.random.clone(), self.clock.clone()).await
    }
    /// Started, with the administrator and the defaults.
    pub async fn set_up(&self) -> Auth {
        let auth = self.start().await.expect("opens");
        auth.ensure_admin("admin", None).await.expect("made");
        auth
    }
    pub fn after(&self, time: Duration) {
        self.clock.advance(i64::try_from(time.as_millis()).expect("short"));
    }
}

/// One change that must succeed.
pub async fn change<T>(auth: &Auth, steps: impl FnOnce(&mut Change) -> Result<T>) -> T {
    try_change(auth, steps).await.expect("the change is right")
}

pub async fn try_change<T>(auth: &Auth, steps: impl FnOnce(&mut Change) -> Result<T>) -> Result<T> {
    let mut change = auth.change().await;
    let value = steps(&mut change)?;
    change.commit(Batch::default()).await?;
    Ok(value)
}

pub fn user(name: &str) -> NewUser<'_> {
    NewUser { name, ..NewUser::default() }
}

pub fn policy(effect: &str, actions: &[&str], resource: &str) -> Document {
    let action = actions.iter().map(|&action| action.to_owned()).collect();
    let (effect, resource) = (effect.to_owned(), resource.to_owned());
    Document { statement: vec![Statement { effect, action, resource, condition: None }], acl: None }
}

/// A user with a key; what the user may do is up to the caller.
pub async fn somebody(auth: &Auth, name: &str) -> Who {
    let key = change(auth, |change| {
        change.create_user(&user(name))?;
        change.create_key(name, &NewKey::default())
    })
    .await;
    auth.check(&key.access_key_id, key.secret.expose()).expect("right")
}

pub fn access(auth: &Auth, who: &Who) -> Access {
    auth.access(who, Circumstances::default()).expect("alive")
}

pub fn named(arn: &str) -> Resource<'_> {
    Resource::parse(arn).expect("an ARN")
}

pub const ALL: Page<'static> = Page { prefix: "", after: "", amount: 1000 };

pub fn is_refused<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Refused))
}
