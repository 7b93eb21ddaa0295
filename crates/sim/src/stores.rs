//! Stores that keep the contract of their ports and nothing more: they delay, finish calls in any order, are
//! busy, fail without saying whether the change was made, make it later, and at a crash take any part of what
//! was not yet acknowledged.
//!
//! What is durable outlives every process ([`Disk`]); each process has its own handles ([`SimKv`],
//! [`SimBlobs`]), which die with it.

use crate::executor::{Executor, Process};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::channel::oneshot;
use millpond_blob::{BlobError, BlobKey, BlobReader, BlobWriter, Blobs};
use millpond_engine::keys;
use millpond_engine::record::{Context, Record, Row};
use millpond_kv::{Batch, Expect, Kv, KvError, Write};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The process whose tasks are the disks' own.
const DEVICE: Process = Process(1);

/// How often a store does what. Each number is one in how many calls; 0 is never.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Busy: nothing was done.
    pub busy: usize,
    /// A write fails, and whether it was made is unknown.
    pub write_fails: usize,
    /// A read fails.
    pub read_fails: usize,
    /// A call takes up to two seconds.
    pub stall: usize,
    /// A failed or abandoned write may still be made later, as over a network.
    pub late: bool,
    /// After the first failed write all writes of the process fail, as after a failed fsync.
    pub sticky: bool,
    /// A defect to be found.
    pub bug: Option<Bug>,
}

/// Defects planted in the stores, to show that the checks find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The metadata store answers before the batch is durable.
    KvAcknowledgesEarly,
    /// The metadata store does not look at preconditions.
    KvIgnoresPreconditions,
    /// A crash leaves half of a batch.
    KvTearsBatches,
    /// The object store answers before the blob is durable.
    BlobsAcknowledgeEarly,
    /// A crash loses a pack.
    BlobsForgetAPack,
    /// Now and then a blob is read as another one.
    BlobsMixUpReads,
}

/// A mutation that is durable, in the order of the journal.
pub struct Durable {
    /// The life of the server that wrote it.
    pub life: u32,
    /// Number of its row.
    pub row: u64,
    /// Who and what.
    pub context: Context,
    /// What became.
    pub records: Vec<Record>,
    /// Whether its server had been given a fault by then.
    pub hurt: bool,
}

/// Counts of what happened to a history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Calls to the stores.
    pub calls: u64,
    /// Calls that were refused, failed or stalled on purpose.
    pub faults: u64,
    /// Writes that were on their way when their process died.
    pub flying_at_crashes: u64,
}

type Effect = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Contents {
    pairs: BTreeMap<Bytes, Bytes>,
    blobs: BTreeMap<BlobKey, Bytes>,
    /// Writes on their way, which a crash may take or make.
    flying: BTreeMap<u64, (Process, Effect)>,
    flights: u64,
    mutations: Vec<Arc<Durable>>,
    /// Where a request's mutation is.
    requests: BTreeMap<String, usize>,
    counts: Counts,
    complaints: Vec<String>,
}

/// What outlives every process.
pub struct Disk {
    executor: Executor,
    faults: Mutex<Faults>,
    contents: Mutex<Contents>,
    busy_storm: AtomicBool,
}

/// One opening of the stores by one process.
pub struct Life {
    /// Numbered from 1.
    pub number: u32,
    /// What dies with it.
    pub process: Process,
    /// Mutations that were durable when it took the writer epoch: it must know them all.
    pub base: AtomicU64,
    /// Whether it was given any fault, so that it may refuse with an internal error.
    pub hurt: AtomicBool,
    kv_failed: AtomicBool,
    blobs_failed: AtomicBool,
}

impl Life {
    /// The first state of a life.
    pub fn new(number: u32) -> Arc<Self> {
        Arc::new(Self {
            number,
            process: Process(10 + number),
            base: AtomicU64::new(0),
            hurt: AtomicBool::new(false),
            kv_failed: AtomicBool::new(false),
            blobs_failed: AtomicBool::new(false),
        })
    }
}

enum Fate {
    Well,
    Busy,
    /// It fails; whether it is made nevertheless, and whether late.
    Fails {
        made: bool,
        late: bool,
    },
}

impl Disk {
    /// Empty disks.
    pub fn new(executor: &Executor, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            executor: executor.clone(),
            faults: Mutex::new(faults),
            contents: Mutex::default(),
            busy_storm: AtomicBool::new(false),
        })
    }

    /// The metadata store as this life sees it.
    pub fn kv(self: &Arc<Self>, life: &Arc<Life>) -> Arc<dyn Kv> {
        Arc::new(SimKv(Handle { disk: self.clone(), life: life.clone() }))
    }

    /// The object store as this life sees it.
    pub fn blobs(self: &Arc<Self>, life: &Arc<Life>) -> Arc<dyn Blobs> {
        Arc::new(SimBlobs(Handle { disk: self.clone(), life: life.clone() }))
    }

    /// From now on everything works.
    pub fn heal(&self) {
        *self.faults.lock() = Faults::default();
        self.busy_storm.store(false, Relaxed);
    }

    /// One in how many reads fails at present; 0 is none.
    pub fn read_fails(&self) -> usize {
        self.faults.lock().read_fails
    }

    /// Makes every write busy, or ends that.
    pub fn storm(&self, on: bool) {
        self.busy_storm.store(on, Relaxed);
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.contents.lock().counts
    }

    /// How many mutations are durable.
    pub fn durable(&self) -> usize {
        self.contents.lock().mutations.len()
    }

    /// All durable mutations.
    pub fn mutations(&self) -> Vec<Arc<Durable>> {
        self.contents.lock().mutations.clone()
    }

    /// Where a request's mutation is.
    pub fn position(&self, request: &str) -> Option<usize> {
        self.contents.lock().requests.get(request).copied()
    }

    /// Rules of the ports that a caller has broken.
    pub fn complaints(&self) -> Vec<String> {
        self.contents.lock().complaints.clone()
    }

    /// A process has died: each of its writes that were on their way is made, is not made, or comes later.
    pub fn crash(&self, process: Process) {
        let faults = self.faults.lock().clone();
        let mut flying: Vec<(u64, Effect)> = {
            let mut contents = self.contents.lock();
            let ids: Vec<u64> =
                contents.flying.iter().filter(|(_, (p, _))| *p == process).map(|(id, _)| *id).collect();
            contents.counts.flying_at_crashes += ids.len() as u64;
            let later = |_: &u64| faults.late && self.executor.once_in(3);
            let ids: Vec<u64> = ids.into_iter().filter(|id| !later(id)).collect();
            ids.into_iter().filter_map(|id| Some((id, contents.flying.remove(&id)?.1))).collect()
        };
        while !flying.is_empty() {
            let (_, effect) = flying.swap_remove(self.executor.rng.below(flying.len()));
            if self.executor.once_in(2) {
                effect();
            }
        }
        if faults.bug == Some(Bug::BlobsForgetAPack) {
            let mut contents = self.contents.lock();
            let packs: Vec<BlobKey> =
                contents.blobs.keys().filter(|k| k.as_str().contains("/pack/")).cloned().collect();
            if !packs.is_empty() {
                contents.blobs.remove(self.executor.rng.pick(&packs));
            }
        }
    }

    fn complain(&self, what: String) {
        self.contents.lock().complaints.push(what);
    }

    fn delay(&self) -> u64 {
        let stall = self.faults.lock().stall;
        if stall > 0 && self.executor.once_in(stall) {
            self.contents.lock().counts.faults += 1;
            return self.executor.rng.below(2_000_000_000) as u64;
        }
        let most = match self.executor.rng.below(10) {
            0..=4 => 20_000,
            5..=8 => 500_000,
            _ => 10_000_000,
        };
        self.executor.rng.below(most) as u64
    }
}

#[derive(Clone)]
struct Handle {
    disk: Arc<Disk>,
    life: Arc<Life>,
}

impl Handle {
    fn rng(&self) -> &Executor {
        &self.disk.executor
    }

    fn fault(&self) {
        self.life.hurt.store(true, Relaxed);
        self.disk.contents.lock().counts.faults += 1;
    }

    fn bug(&self, bug: Bug) -> bool {
        self.disk.faults.lock().bug == Some(bug)
    }

    fn fate(&self, failed: &AtomicBool) -> Fate {
        let faults = self.disk.faults.lock().clone();
        let drawn = |n: usize| n > 0 && self.rng().once_in(n);
        if faults.sticky && failed.load(Relaxed) {
            return Fate::Fails { made: false, late: false };
        }
        if self.disk.busy_storm.load(Relaxed) || drawn(faults.busy) {
            self.fault();
            return Fate::Busy;
        }
        if drawn(faults.write_fails) {
            self.fault();
            return Fate::Fails { made: self.rng().once_in(2), late: faults.late && self.rng().once_in(2) };
        }
        Fate::Well
    }

    /// A write on its way to the disk: made after a while by the disk itself, whoever has stopped waiting.
    async fn write<R: Send + 'static>(
        &self,
        early: bool,
        effect: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let result = Arc::new(Mutex::new(None));
        let slot = result.clone();
        let id = {
            let mut contents = self.disk.contents.lock();
            contents.flights += 1;
            let id = contents.flights;
            let effect: Effect = Box::new(move || *slot.lock() = Some(effect()));
            contents.flying.insert(id, (self.life.process, effect));
            id
        };
        let (sender, receiver) = oneshot::channel();
        let (disk, before, after) = (self.disk.clone(), self.disk.delay(), self.disk.delay());
        let executor = self.rng().clone();
        executor.clone().spawn(
            DEVICE,
            Box::pin(async move {
                executor.sleep(before).await;
                let flying = disk.contents.lock().flying.remove(&id);
                if let Some((_, effect)) = flying {
                    effect();
                }
                executor.sleep(after).await;
                let _ = sender.send(());
            }),
        );
        if early {
            return None;
        }
        let _ = receiver.await;
        let made = result.lock().take();
        match made {
            Some(made) => Some(made),
            // A crash took it: whoever waits is dead.
            None => std::future::pending().await,
        }
    }

    async fn read_fault(&self) -> Option<bool> {
        let faults = self.disk.faults.lock().clone();
        self.rng().sleep(self.disk.delay()).await;
        self.disk.contents.lock().counts.calls += 1;
        if faults.read_fails > 0 && self.rng().once_in(faults.read_fails) {
            self.fault();
            return Some(self.rng().once_in(2));
        }
        None
    }
}

struct SimKv(Handle);

impl SimKv {
    async fn read(&self) -> Result<(), KvError> {
        match self.0.read_fault().await {
            None => Ok(()),
            Some(true) => Err(KvError::Busy("simulated".into())),
            Some(false) => Err(KvError::Failed("simulated: a read".into())),
        }
    }
}

/// Applies a batch as the contract says.
fn apply(handle: &Handle, batch: &Batch) -> Result<(), Bytes> {
    let executor = handle.rng();
    let mut contents = handle.disk.contents.lock();
    if !handle.bug(Bug::KvIgnoresPreconditions) {
        for (key, expect) in &batch.preconditions {
            let holds = match expect {
                Expect::Absent => !contents.pairs.contains_key(key),
                Expect::Value(value) => contents.pairs.get(key) == Some(value),
            };
            if !holds {
                return Err(key.clone());
            }
        }
    }
    for write in &batch.writes {
        match write {
            Write::Put(key, value) => {
                executor.note(key);
                executor.note(value);
                if key.starts_with(keys::JOURNAL) {
                    contents.log(&handle.life, key, value);
                }
                if **key == *keys::EPOCH {
                    handle.life.base.store(contents.mutations.len() as u64, Relaxed);
                }
                contents.pairs.insert(key.clone(), value.clone());
            }
            Write::Delete(key) => {
                contents.pairs.remove(key);
            }
            Write::DeleteRange(from, to) if from < to => {
                let doomed: Vec<Bytes> =
                    contents.pairs.range(from.clone()..to.clone()).map(|(key, _)| key.clone()).collect();
                for key in doomed {
                    contents.pairs.remove(&key);
                }
            }
            Write::DeleteRange(..) => {}
        }
    }
    Ok(())
}

impl Contents {
    fn log(&mut self, life: &Life, key: &Bytes, value: &Bytes) {
        let hurt = life.hurt.load(Relaxed);
        let number = u64::from_be_bytes(key[keys::JOURNAL.len()..].try_into().unwrap_or_default());
        let row = match Row::decode(value.clone()) {
            Ok(row) => row,
            Err(e) => return self.complaints.push(format!("journal row {number} cannot be read: {e}")),
        };
        for (context, records) in row.mutations {
            let request = context.request_id.clone();
            if !request.is_empty() && self.requests.insert(request.clone(), self.mutations.len()).is_some() {
                self.complaints.push(format!("request {request} was made twice"));
            }
            let life = life.number;
            self.mutations.push(Arc::new(Durable { life, row: number, context, records, hurt }));
        }
    }
}

#[async_trait]
impl Kv for SimKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read().await?;
        Ok(self.0.disk.contents.lock().pairs.get(key).cloned())
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.read().await?;
        if from >= to {
            return Ok(Vec::new());
        }
        let contents = self.0.disk.contents.lock();
        let range = contents.pairs.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn commit(&self, mut batch: Batch) -> Result<(), KvError> {
        let handle = &self.0;
        handle.disk.contents.lock().counts.calls += 1;
        if handle.life.kv_failed.load(Relaxed) {
            let what = match batch.writes.first() {
                Some(Write::Put(key, _) | Write::Delete(key) | Write::DeleteRange(key, _)) => &key[..2],
                None => b"nothing",
            };
            let what = String::from_utf8_lossy(what).into_owned();
            let number = handle.life.number;
            handle.disk.complain(format!("server {number} wrote {what} after a failed commit"));
        }
        if handle.bug(Bug::KvTearsBatches) && handle.rng().once_in(4) {
            batch.writes.truncate(batch.writes.len() / 2);
        }
        let doing = handle.clone();
        let effect = move || apply(&doing, &batch);
        let refused = |key| KvError::PreconditionFailed(key);
        match handle.fate(&handle.life.kv_failed) {
            Fate::Busy => {
                handle.rng().sleep(handle.disk.delay()).await;
                Err(KvError::Busy("simulated".into()))
            }
            Fate::Well => {
                let made = handle.write(handle.bug(Bug::KvAcknowledgesEarly), effect).await;
                made.unwrap_or(Ok(())).map_err(refused)
            }
            Fate::Fails { made, late } => {
                if made {
                    handle.write(late, effect).await;
                }
                handle.life.kv_failed.store(true, Relaxed);
                Err(KvError::Failed("simulated: it may have happened".into()))
            }
        }
    }
}

struct SimBlobs(Handle);

impl SimBlobs {
    async fn read(&self, key: &str) -> Result<(), BlobError> {
        match self.0.read_fault().await {
            None => Ok(()),
            Some(true) => Err(BlobError::Busy(format!("simulated: {key}"))),
            Some(false) => Err(BlobError::Failed(format!("simulated: a read of {key}"))),
        }
    }

    async fn write(&self, effect: impl FnOnce(&Disk) + Send + 'static) -> Result<(), BlobError> {
        let handle = &self.0;
        handle.disk.contents.lock().counts.calls += 1;
        let disk = handle.disk.clone();
        let effect = move || effect(&disk);
        match handle.fate(&handle.life.blobs_failed) {
            Fate::Busy => {
                handle.rng().sleep(handle.disk.delay()).await;
                Err(BlobError::Busy("simulated".into()))
            }
            Fate::Well => {
                handle.write(handle.bug(Bug::BlobsAcknowledgeEarly), effect).await;
                Ok(())
            }
            Fate::Fails { made, late } => {
                if made {
                    handle.write(late, effect).await;
                }
                handle.life.blobs_failed.store(true, Relaxed);
                Err(BlobError::Failed("simulated: it may have happened".into()))
            }
        }
    }
}

fn publish(key: BlobKey, bytes: Bytes) -> impl FnOnce(&Disk) + Send + 'static {
    move |disk| {
        disk.executor.note(key.as_str().as_bytes());
        let mut contents = disk.contents.lock();
        if contents.blobs.get(&key).is_some_and(|old| *old != bytes) {
            contents.complaints.push(format!("{} was published again with other bytes", key.as_str()));
        }
        contents.blobs.insert(key, bytes);
    }
}

#[async_trait]
impl Blobs for SimBlobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        self.write(publish(key.clone(), bytes)).await
    }

    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError> {
        let blobs = SimBlobs(self.0.clone());
        Ok(Box::new(Writer { blobs, key: key.clone(), buffer: BytesMut::new() }))
    }

    async fn open(&self, key: &BlobKey) -> Result<Arc<dyn BlobReader>, BlobError> {
        self.read(key.as_str()).await?;
        let contents = self.0.disk.contents.lock();
        let mut bytes = contents.blobs.get(key).cloned();
        if bytes.is_some() && self.0.bug(Bug::BlobsMixUpReads) && self.0.rng().once_in(20) {
            bytes = contents.blobs.values().next().cloned();
        }
        match bytes {
            Some(bytes) => Ok(Arc::new(Reader { blobs: SimBlobs(self.0.clone()), key: key.clone(), bytes })),
            None => Err(BlobError::NotFound(key.as_str().to_owned())),
        }
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        self.read(key.as_str()).await?;
        Ok(self.0.disk.contents.lock().blobs.get(key).map(|bytes| bytes.len() as u64))
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let key = key.clone();
        self.write(move |disk| {
            disk.contents.lock().blobs.remove(&key);
        })
        .await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError> {
        self.read(prefix).await?;
        let contents = self.0.disk.contents.lock();
        let all = contents.blobs.iter();
        let wanted = all.filter(|(key, _)| key.as_str().starts_with(prefix) && key.as_str() > after);
        Ok(wanted.take(limit).map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect())
    }
}

struct Writer {
    blobs: SimBlobs,
    key: BlobKey,
    buffer: BytesMut,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }
    async fn publish(self: Box<Self>) -> Result<(), BlobError> {
        self.blobs.write(publish(self.key.clone(), self.buffer.freeze())).await
    }
}

struct Reader {
    blobs: SimBlobs,
    key: BlobKey,
    bytes: Bytes,
}

#[async_trait]
impl BlobReader for Reader {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
    async fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        self.blobs.read(self.key.as_str()).await?;
        self.bytes.read(range).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The simulated stores without faults pass the suites of their ports.
    #[test]
    fn the_simulated_stores_keep_the_contracts() {
        let executor = Executor::new(1);
        let disk = Disk::new(&executor, Faults::default());
        let life = Life::new(1);
        let (kv, blobs) = (disk.kv(&life), disk.blobs(&life));
        let outcome = executor.run(Process(0), async move {
            let key = BlobKey::new("r1/pack/1");
            blobs.put(&key, Bytes::from_static(b"1")).await.expect("put");
            assert_eq!(millpond_blob::Blobs::size(&*blobs, &key).await.expect("size"), Some(1));
            let batch = Batch { preconditions: vec![], writes: vec![Write::Put("k".into(), "v".into())] };
            kv.commit(batch).await.expect("commit");
            assert_eq!(kv.get(b"k").await.expect("get"), Some("v".into()));
        });
        outcome.expect("it ends");
    }
}
