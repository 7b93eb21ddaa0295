//! The embedded metadata store: a log in front of one redb file, written by one committer thread.
//!
//! Why a log: a durable redb transaction costs two syncs and rewrites pages, whatever its size; most of what the
//! engine writes are journal rows that the next checkpoint removes again. So a group of batches is one record
//! in the log and one sync, its pairs wait in memory, and only what is still alive when the log is exchanged
//! goes to redb, all at once.
//!
//! Why a committer: batches that arrive while a record is being written share the next. Each still has its own
//! preconditions and its own answer.
//!
//! Why it stops: after a failed sync nobody knows what is on the disk (the kernel marks the pages clean and
//! the next sync succeeds). So the first failure ends all writing until the store is opened again; reads go on.
//! A full disk is no failure: it is met before anything is written, and later batches may succeed.

mod log;
mod pending;
mod tables;
mod untouched;

use crate::{Batch, Expect, Kv, KvError, Write};
use async_trait::async_trait;
use bytes::Bytes;
use log::{AppendError, Log};
use parking_lot::{Mutex, RwLock};
use pending::Pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tables::{Snapshot, Tables};
use tokio::sync::{mpsc, oneshot};

/// Batches waiting for the committer; callers beyond it wait their turn.
const QUEUE_BATCHES: usize = 4096;
/// Most batches of one record, so that the first of them need not wait for ever.
const GROUP_BATCHES_MAX: usize = 1024;
/// A record takes no further batch beyond this many bytes of keys and values.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Longer scans leave the async threads alone.
const INLINE_SCAN_PAIRS_MAX: usize = 64;
/// A log of this many bytes is exchanged when most of it is dead.
const LOG_BYTES_MIN: u64 = 1 << 20;
/// A log of this many bytes is exchanged after a range was deleted: what the engine writes for a while ends with that,
/// so the rest is there to stay. It would only be read again by the next start.
const LOG_BYTES_SWEPT: u64 = 8 << 20;
/// A log of this many bytes is exchanged whatever is in it.
const LOG_BYTES_MAX: u64 = 96 << 20;
/// Room that must be left on the disk for the tables to be written.
const ROOM_BYTES_MIN: u64 = 16 << 20;

/// What the committer has done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalKvCounters {
    /// Records written to the log.
    pub records: u64,
    /// Batches those records contained.
    pub batches: u64,
    /// Logs whose pairs were moved to the tables.
    pub exchanges: u64,
}

#[derive(Default)]
struct Counters {
    records: AtomicU64,
    batches: AtomicU64,
    exchanges: AtomicU64,
}

struct Request {
    batch: Batch,
    reply: oneshot::Sender<Result<(), KvError>>,
}

/// The layers of one state, newest first; below them are the tables.
#[derive(Clone, Default)]
struct Layers {
    active: Pending,
    /// On its way to the tables.
    frozen: Option<Arc<Pending>>,
}

impl Layers {
    fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.get(key))
    }
}

struct Shared {
    /// The table file.
    path: PathBuf,
    tables: Tables,
    /// Only looked at: nothing is written to the disk.
    untouched: bool,
    /// Readers take a layer snapshot and a redb snapshot under one lock, so that both are of one state.
    layers: RwLock<Layers>,
    counters: Counters,
    /// Why nothing is written any more.
    failure: Mutex<Option<String>>,
}

/// One redb file and its logs. Closing waits for the batches already handed over and leaves an empty log.
pub struct LocalKv {
    shared: Arc<Shared>,
    queue: Option<mpsc::Sender<Request>>,
    committer: Option<std::thread::JoinHandle<()>>,
}

impl LocalKv {
    /// Opens the store whose table file is `path`, or creates it with its directory.
    ///
    /// # Errors
    /// `Failed`, naming the directory, when another process has it open, when it is damaged, or when the
    /// file system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KvError> {
        let (shared, log) = Shared::open(path.as_ref())?;
        Self::start(shared, log)
    }

    /// Opens the store for a look that leaves its files as they are, even where opening has to recover from a
    /// crash: what is written, then and later, stays in memory and is lost at the end. Also checks every page
    /// of the table file; what is wrong with them is the second value.
    ///
    /// # Errors
    /// `Failed` when a file cannot be read, `Damaged` when it is beyond reading.
    pub fn open_untouched(path: impl AsRef<Path>) -> Result<(Self, Option<String>), KvError> {
        let path = path.as_ref();
        let (tables, pages) = Tables::open_untouched(path)?;
        let (shared, log) = Shared::recover(path, tables, true)?;
        Ok((Self::start(shared, log)?, pages))
    }

    fn start(shared: Shared, log: Log) -> Result<Self, KvError> {
        let shared = Arc::new(shared);
        let (queue, requests) = mpsc::channel(QUEUE_BATCHES);
        let committer =
            Committer { shared: shared.clone(), log, exchange: None, exchange_at: 0, swept: false };
        let committer = std::thread::Builder::new()
            .name("kv-committer".into())
            .spawn(move || committer.run(requests))
            .map_err(store_failed)?;
        Ok(Self { shared, queue: Some(queue), committer: Some(committer) })
    }

    /// What was done since the store was opened.
    pub fn counters(&self) -> LocalKvCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        LocalKvCounters {
            records: of(&counters.records),
            batches: of(&counters.batches),
            exchanges: of(&counters.exchanges),
        }
    }
}

impl Shared {
    fn open(path: &Path) -> Result<(Self, Log), KvError> {
        let directory = directory_of(path);
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            KvError::Failed(format!("cannot {what} the metadata store in {}: {e}", directory.display()))
        };
        create_directory(directory).map_err(|e| failed("create the directory of", &e))?;
        let tables = Tables::open(path, directory)?;
        // The file's name must be durable before the first batch in it is acknowledged.
        sync_directory(directory).map_err(|e| failed("sync the directory of", &e))?;
        Self::recover(path, tables, false)
    }

    /// Brings what the logs hold into memory, and opens the newest for appending.
    fn recover(path: &Path, tables: Tables, untouched: bool) -> Result<(Self, Log), KvError> {
        let shared = Self {
            path: path.to_path_buf(),
            tables,
            untouched,
            layers: RwLock::default(),
            counters: Counters::default(),
            failure: Mutex::new(None),
        };
        let mut found = logs_in(directory_of(path), path).map_err(store_failed)?;
        found.sort_unstable();
        let Some(first) = shared.tables.first_log()? else {
            // A log that new tables do not know has never held an acknowledged batch. One that holds any has lost its
            // tables: beginning anew beside it would hide everything, and write what can never be opened again.
            let holds_batches = |number: &&u64| {
                let mut any = false;
                let read = Log::recover(path, **number, true, true, |_| any = true);
                **number > 1 || read.is_ok() && any
            };
            if let Some(number) = found.iter().find(holds_batches) {
                return Err(KvError::Failed(format!(
                    "{} is missing or empty, but its log {} is there: put the file back, or restore a backup",
                    path.display(),
                    log::path(path, *number).display()
                )));
            }
            let log = if untouched { Log::nowhere(1) } else { Log::create(path, 1)? };
            shared.tables.take_in(&Pending::default(), 1)?;
            return Ok((shared, log));
        };
        let mut newest = None;
        for number in first..=found.last().copied().unwrap_or(first).max(first) {
            let last = found.last() == Some(&number);
            newest = Some(shared.replay(number, last)?);
        }
        if !untouched {
            // What the tables have taken in.
            for number in found.into_iter().filter(|number| *number < first) {
                remove(&log::path(path, number)).map_err(store_failed)?;
            }
        }
        let log = newest.ok_or_else(|| store_failed("there is no log"))?;
        Ok((shared, log))
    }

    /// Applies the records of a log to the active layer.
    fn replay(&self, number: u64, last: bool) -> Result<Log, KvError> {
        let mut active = std::mem::take(&mut self.layers.write().active);
        let mut outcome = Ok(());
        let log = Log::recover(&self.path, number, last, self.untouched, |writes| {
            for write in &writes {
                if outcome.is_ok() {
                    outcome = active.apply(write, |from, to| self.below(None, from, to));
                }
            }
        })?;
        self.layers.write().active = active;
        outcome.map(|()| log)
    }

    /// Keys in `from..to` that may be there without the active layer. Values are not read, so that a damaged
    /// one can be deleted.
    fn below(&self, frozen: Option<&Pending>, from: &[u8], to: &[u8]) -> Result<Vec<Bytes>, KvError> {
        let mut keys = self.tables.snapshot()?.keys(from, to)?;
        keys.extend(frozen.into_iter().flat_map(|f| f.range(from, to)).map(|(key, _)| key.clone()));
        Ok(keys)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let layers = self.layers.read();
        if let Some(value) = layers.get(key) {
            return Ok(value.clone());
        }
        let tables = self.tables.snapshot()?;
        drop(layers);
        tables.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        let (layers, tables): (Layers, Snapshot) = {
            let layers = self.layers.read();
            (layers.clone(), self.tables.snapshot()?)
        };
        let all: Vec<&Pending> = std::iter::once(&layers.active).chain(layers.frozen.as_deref()).collect();
        tables.scan(&all, from, to, limit)
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[async_trait]
impl Kv for LocalKv {
    // On the async thread: a point read is a few microseconds from memory, less than handing it over costs,
    // and no lock is held across a sync.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.shared.get(key)
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        if limit <= INLINE_SCAN_PAIRS_MAX {
            return self.shared.scan(from, to, limit);
        }
        let shared = self.shared.clone();
        let (from, to) = (from.to_vec(), to.to_vec());
        tokio::task::spawn_blocking(move || shared.scan(&from, &to, limit)).await.map_err(store_failed)?
    }

    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let queue = self.queue.as_ref().expect("the queue lives until drop");
        let (reply, answer) = oneshot::channel();
        queue.send(Request { batch, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for LocalKv {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the committer of the metadata store panicked");
        }
    }
}

struct Committer {
    shared: Arc<Shared>,
    log: Log,
    /// Writes the frozen layer into the tables.
    exchange: Option<std::thread::JoinHandle<()>>,
    /// Not again before the log has this many bytes.
    exchange_at: u64,
    /// The log has the deletion of a range.
    swept: bool,
}

impl Committer {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut bytes = batch_bytes(&first.batch);
            let mut group = vec![first];
            while group.len() < GROUP_BATCHES_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(next) = requests.try_recv() else { break };
                bytes += batch_bytes(&next.batch);
                group.push(next);
            }
            match self.commit(&group) {
                Ok(results) => {
                    for (request, result) in group.into_iter().zip(results) {
                        answer(request.reply, result);
                    }
                }
                Err(error) => {
                    for request in group {
                        answer(request.reply, Err(error.clone()));
                    }
                }
            }
            self.exchange_if_due();
        }
        self.close();
    }

    /// One durable record for all batches whose preconditions hold, in order. The inner results may be told to
    /// callers because the record is durable that they were judged with; the outer error is about the store.
    fn commit(&mut self, group: &[Request]) -> Result<Vec<Result<(), KvError>>, KvError> {
        if let Some(earlier) = &*self.shared.failure.lock() {
            let text = format!("no writes until a restart, because an earlier one failed: {earlier}");
            return Err(KvError::Failed(text));
        }
        let mut layers = self.shared.layers.read().clone();
        let mut results = Vec::with_capacity(group.len());
        for Request { batch, .. } in group {
            let result = self.judge(&layers, batch);
            if result.is_ok() {
                let Layers { active, frozen } = &mut layers;
                let below = |from: &[u8], to: &[u8]| self.shared.below(frozen.as_deref(), from, to);
                for write in &batch.writes {
                    active.apply(write, below)?;
                }
            }
            results.push(result);
        }
        let accepted = || group.iter().zip(&results).filter(|(_, result)| result.is_ok());
        let mut writes = accepted().flat_map(|(request, _)| &request.batch.writes).peekable();
        if writes.peek().is_some() {
            match self.log.append(writes) {
                Ok(()) => {}
                Err(AppendError::Full(e)) => {
                    return Err(KvError::Busy(format!("the disk is full: {e}; free some space")));
                }
                Err(AppendError::Failed(e)) => return Err(self.shared.fail(&e)),
            }
            self.shared.layers.write().active = layers.active;
            let mut writes = accepted().flat_map(|(request, _)| &request.batch.writes);
            self.swept |= writes.any(|write| matches!(write, Write::DeleteRange(..)));
            let batches = accepted().count() as u64;
            self.shared.counters.records.fetch_add(1, Ordering::Relaxed);
            self.shared.counters.batches.fetch_add(batches, Ordering::Relaxed);
        }
        Ok(results)
    }

    /// Whether all preconditions hold.
    fn judge(&self, layers: &Layers, batch: &Batch) -> Result<(), KvError> {
        for (key, expect) in &batch.preconditions {
            let found = match layers.get(key) {
                Some(value) => value.clone(),
                // Not by way of the shared layers, which do not know the batches before this one in the group.
                None => self.shared.tables.snapshot()?.get(key)?,
            };
            let holds = match expect {
                Expect::Absent => found.is_none(),
                Expect::Value(value) => found.as_ref() == Some(value),
            };
            if !holds {
                return Err(KvError::PreconditionFailed(key.clone()));
            }
        }
        Ok(())
    }

    /// Begins a new log and sends what the old one holds to the tables, when that pays.
    fn exchange_if_due(&mut self) {
        let alive = {
            let layers = self.shared.layers.read();
            if layers.frozen.is_some() {
                return;
            }
            layers.active.bytes as u64
        };
        let bytes = self.log.bytes();
        let due = bytes >= LOG_BYTES_MIN && alive <= bytes / 4
            || bytes >= LOG_BYTES_SWEPT && self.swept
            || bytes >= LOG_BYTES_MAX;
        if !due || self.shared.untouched || bytes < self.exchange_at || self.shared.failure.lock().is_some() {
            return;
        }
        match self.exchange(alive) {
            Ok(()) => {}
            Err(AppendError::Full(e)) => {
                // The log is as good as before; it only grows.
                tracing::warn!(error = %e, "the log of the metadata store is not exchanged yet");
                self.exchange_at = bytes + LOG_BYTES_MIN;
            }
            // The next log may be there under its name: what is written to this one might look torn for ever.
            Err(AppendError::Failed(e)) => drop(self.shared.fail(&e)),
        }
    }

    /// `Full` when nothing has happened.
    fn exchange(&mut self, alive: u64) -> Result<(), AppendError> {
        if let Some(earlier) = self.exchange.take() {
            let _ = earlier.join();
        }
        assert!(
            self.shared.layers.read().frozen.is_none(),
            "one layer at a time is on its way to the tables"
        );
        self.shared.room_for(alive).map_err(AppendError::Full)?;
        self.log.clean()?;
        let number = self.log.number() + 1;
        self.log = Log::create(&self.shared.path, number)?;
        (self.exchange_at, self.swept) = (0, false);
        let frozen = {
            let mut layers = self.shared.layers.write();
            let frozen = Arc::new(std::mem::take(&mut layers.active));
            layers.frozen = Some(frozen.clone());
            frozen
        };
        let (shared, layer) = (self.shared.clone(), frozen.clone());
        let work = move || shared.take_in(&layer, number);
        match std::thread::Builder::new().name("kv-exchange".into()).spawn(work) {
            Ok(thread) => self.exchange = Some(thread),
            Err(e) => {
                tracing::warn!(error = %e, "no thread for the tables of the metadata store; writes wait for them");
                self.shared.take_in(&frozen, number);
            }
        }
        Ok(())
    }

    /// Leaves an empty log, so that the next start has nothing to read.
    fn close(mut self) {
        if let Some(earlier) = self.exchange.take() {
            let _ = earlier.join();
        }
        if self.log.bytes() == 0 || self.shared.untouched || self.shared.failure.lock().is_some() {
            return;
        }
        let alive = self.shared.layers.read().active.bytes as u64;
        match self.exchange(alive) {
            Ok(()) => {
                if let Some(last) = self.exchange.take() {
                    let _ = last.join();
                }
            }
            Err(AppendError::Full(e) | AppendError::Failed(e)) => {
                tracing::warn!(error = %e, "the log of the metadata store is kept for the next start");
            }
        }
    }
}

impl Shared {
    /// The frozen layer goes to the tables, and the logs before `first_log` go away.
    fn take_in(&self, frozen: &Pending, first_log: u64) {
        if let Err(e) = self.tables.take_in(frozen, first_log) {
            self.fail(&e);
            return;
        }
        self.layers.write().frozen = None;
        self.counters.exchanges.fetch_add(1, Ordering::Relaxed);
        if let Err(e) = remove(&log::path(&self.path, first_log - 1)) {
            tracing::warn!(error = %e, "an old log of the metadata store is left to the next start");
        }
    }

    /// Ends all writing.
    fn fail(&self, e: &dyn std::fmt::Display) -> KvError {
        let text = e.to_string();
        tracing::error!(error = %text, "metadata store failed; refusing writes until a restart");
        self.failure.lock().get_or_insert(text.clone());
        KvError::Failed(text)
    }

    /// Refuses when the tables might not find room for so many bytes: redb cannot go on after a full disk.
    fn room_for(&self, bytes: u64) -> std::io::Result<()> {
        let directory = directory_of(&self.path);
        let disk = rustix::fs::statvfs(directory)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < bytes.saturating_mul(4) + ROOM_BYTES_MIN {
            return Err(std::io::Error::new(
                std::io::ErrorKind::StorageFull,
                format!("only {free} bytes are free on the disk of {}", directory.display()),
            ));
        }
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]
fn logs_in(directory: &Path, tables: &Path) -> std::io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(directory)? {
        found.extend(log::number_of(tables, &file?.path()));
    }
    Ok(found)
}

#[allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]
fn remove(path: &Path) -> std::io::Result<()> {
    std::fs::remove_file(path)
}

fn batch_bytes(batch: &Batch) -> usize {
    let of = |write: &Write| match write {
        Write::Put(key, value) => key.len() + value.len(),
        Write::Delete(key) => key.len(),
        Write::DeleteRange(from, to) => from.len() + to.len(),
    };
    batch.writes.iter().map(of).sum()
}

fn answer(reply: oneshot::Sender<Result<(), KvError>>, result: Result<(), KvError>) {
    // The caller may have gone away; the batch counts all the same.
    let _ = reply.send(result);
}

fn store_failed(e: impl std::fmt::Display) -> KvError {
    KvError::Failed(e.to_string())
}

fn stopped() -> KvError {
    KvError::Failed("the committer has stopped".into())
}

/// Creates the directory and makes its name durable, ancestors included.
#[allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]
fn create_directory(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_directory(parent)?;
    match std::fs::create_dir(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    sync_directory(parent)
}

#[allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::LogFile;
    use std::io;
    use std::sync::atomic::AtomicU8;

    /// A disk that is well (0), whose syncs fail (1), or that is full (2).
    struct SickDisk {
        disk: Box<dyn LogFile>,
        state: Arc<AtomicU8>,
    }

    impl LogFile for SickDisk {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            match self.state.load(Ordering::SeqCst) {
                2 => Err(io::ErrorKind::StorageFull.into()),
                _ => self.disk.write_at(bytes, offset),
            }
        }
        fn sync(&self) -> io::Result<()> {
            match self.state.load(Ordering::SeqCst) {
                1 => Err(io::Error::other("injected: sync failed")),
                _ => self.disk.sync(),
            }
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.disk.set_len(len)
        }
    }

    fn on_sick_disk(path: &Path) -> (LocalKv, Arc<AtomicU8>) {
        let state = Arc::new(AtomicU8::new(0));
        let (shared, mut log) = Shared::open(path).expect("opens");
        log.replace_file(|disk| Box::new(SickDisk { disk, state: state.clone() }));
        (LocalKv::start(shared, log).expect("starts"), state)
    }

    fn put(key: &'static str) -> Batch {
        Batch { preconditions: vec![], writes: vec![Write::Put(key.into(), "v".into())] }
    }

    #[tokio::test]
    async fn a_failed_sync_ends_writing_even_when_the_disk_seems_well_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (kv, disk) = on_sick_disk(&directory.path().join("meta.redb"));
        kv.commit(put("a")).await.expect("a healthy disk takes writes");
        disk.store(1, Ordering::SeqCst);
        assert!(matches!(kv.commit(put("b")).await, Err(KvError::Failed(_))));
        disk.store(0, Ordering::SeqCst);
        let Err(KvError::Failed(text)) = kv.commit(put("c")).await else {
            panic!("a write after a failed sync was acknowledged")
        };
        assert!(text.contains("restart"), "{text}");
        assert_eq!(kv.get(b"a").await.expect("reads go on"), Some("v".into()));
        assert_eq!(kv.get(b"b").await.expect("reads go on"), None, "not acknowledged, so not seen");
    }

    #[tokio::test]
    async fn a_full_disk_refuses_and_takes_writes_again_when_there_is_room() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("meta.redb");
        let (kv, disk) = on_sick_disk(&path);
        disk.store(2, Ordering::SeqCst);
        let large = Batch {
            preconditions: vec![],
            writes: vec![Write::Put("large".into(), vec![1; 3 << 20].into())],
        };
        assert!(matches!(kv.commit(large.clone()).await, Err(KvError::Busy(_))));
        assert!(matches!(kv.commit(put("small")).await, Err(KvError::Busy(_))), "also in prepared room");
        assert_eq!(kv.get(b"large").await.expect("reads go on"), None);
        disk.store(0, Ordering::SeqCst);
        kv.commit(put("a")).await.expect("room again");
        kv.commit(large).await.expect("room again");
        drop(kv);
        let kv = LocalKv::open(&path).expect("opens");
        assert!(kv.get(b"large").await.expect("get").is_some() && kv.get(b"a").await.expect("get").is_some());
    }

    #[test]
    fn batches_that_wait_together_share_one_record_and_keep_their_own_answers() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (shared, log) = Shared::open(&directory.path().join("meta.redb")).expect("opens");
        let mut committer =
            Committer { shared: Arc::new(shared), log, exchange: None, exchange_at: 0, swept: false };
        let create = |key: &'static str| Batch {
            preconditions: vec![(key.into(), Expect::Absent)],
            writes: vec![Write::Put(key.into(), "v".into())],
        };
        let request = |batch| Request { batch, reply: oneshot::channel().0 };
        let group = [request(create("a")), request(create("a")), request(create("b"))];
        let results = committer.commit(&group).expect("commits");
        assert!(results[0].is_ok() && results[2].is_ok());
        assert!(matches!(&results[1], Err(KvError::PreconditionFailed(key)) if key == "a"));
        assert_eq!(committer.shared.counters.records.load(Ordering::Relaxed), 1);
    }

    /// Every state of the exchange that a crash can leave: the same pairs are read from each.
    #[test]
    fn a_crash_at_any_point_of_an_exchange_loses_and_revives_nothing() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("meta.redb");
        let run = |committer: &mut Committer, writes: Vec<Write>| {
            let batch = Batch { preconditions: vec![], writes };
            let group = [Request { batch, reply: oneshot::channel().0 }];
            committer.commit(&group).expect("commits").remove(0).expect("no precondition");
        };
        let write = |n: u32| Write::Put(format!("k{n:03}").into(), format!("v{n}").into());
        let range = |from: &'static str, to: &'static str| Write::DeleteRange(from.into(), to.into());
        let expected = |shared: &Shared| shared.scan(b"", b"z", usize::MAX).expect("scan");
        let mut states = Vec::new();
        {
            let (shared, log) = Shared::open(&path).expect("opens");
            let mut committer =
                Committer { shared: Arc::new(shared), log, exchange: None, exchange_at: 0, swept: false };
            run(&mut committer, (0..50).map(write).collect());
            run(&mut committer, vec![range("k010", "k020"), write(15)]);
            committer.exchange(0).expect("room");
            committer.exchange.take().expect("running").join().expect("ends");
            run(&mut committer, vec![range("k030", "k040"), write(35), Write::Delete("k015".into())]);
            run(&mut committer, vec![write(12), range("k000", "k005")]);
            states.push(expected(&committer.shared));
        }
        let copy = |name: &str| {
            let target = directory.path().join(name);
            std::fs::create_dir(&target).expect("create");
            for file in std::fs::read_dir(directory.path()).expect("list") {
                let file = file.expect("entry").path();
                if file.is_file() {
                    std::fs::copy(&file, target.join(file.file_name().expect("a name"))).expect("copy");
                }
            }
            target.join("meta.redb")
        };
        // The new log exists, the tables do not know it; the tables know it, the old log is still there.
        let (only_created, not_removed) = (copy("created"), copy("not-removed"));
        Log::create(&only_created, 3).expect("create");
        {
            let (shared, log) = Shared::open(&not_removed).expect("opens");
            let active = shared.layers.read().active.clone();
            shared.tables.take_in(&active, 3).expect("write");
            drop(log);
            Log::create(&not_removed, 3).expect("create");
        }
        for path in [&path, &only_created, &not_removed] {
            let (shared, _log) = Shared::open(path).expect("opens");
            states.push(expected(&shared));
        }
        assert!(states.iter().all(|state| *state == states[0]), "{states:#?}");
        assert_eq!(states[0].len(), 50 - 10 - 10 + 1 - 5 + 1);
    }
}
