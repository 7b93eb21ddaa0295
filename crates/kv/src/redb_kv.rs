//! The embedded metadata store: one redb file, written by one committer thread.
//!
//! Why a committer: a durable transaction costs two fsyncs whatever its size, so batches that arrive while
//! one is being written share the next. Each still has its own preconditions and its own answer.
//!
//! Why it stops: after a failed fsync nobody knows what is on the disk (the kernel marks the pages clean and
//! the next fsync succeeds). So the first failed transaction ends all writing until the store is opened again;
//! reads go on as far as redb allows.
//!
//! Why each value ends with a checksum of key and value: redb looks at its page checksums only when it repairs,
//! so a bit that flipped on the disk would be read as if it had been written. And why reads catch panics: pages
//! whose structure is destroyed make redb panic, and one bad page must not take a thread of the server with it.
//! The file is described in docs/formats/metadata-file.md.

use crate::untouched::Untouched;
use crate::{Batch, Expect, Kv, KvError, Write};
use async_trait::async_trait;
use bytes::Bytes;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

type Rows<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// Version 1: each value is followed by its [`checksum`].
const ROWS: Rows<'static> = TableDefinition::new("rows-1");
/// Version 0, before the first release: values alone.
const ROWS_0: Rows<'static> = TableDefinition::new("pairs");
/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 4;

/// Page cache of the database, in bytes. The engine keeps what it reads often in its own memory.
const CACHE_BYTES: usize = 64 << 20;
/// Batches waiting for the committer; callers beyond it wait their turn.
const QUEUE_BATCHES: usize = 4096;
/// Most batches of one transaction, so that the first of them need not wait for ever.
const GROUP_BATCHES_MAX: usize = 1024;
/// A transaction takes no further batch beyond this many bytes of keys and values.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Longer scans leave the async threads alone.
const INLINE_SCAN_PAIRS_MAX: usize = 64;

/// What the committer has done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedbCounters {
    /// Durable transactions written.
    pub transactions: u64,
    /// Batches those transactions contained.
    pub batches: u64,
}

#[derive(Default)]
struct Counters {
    transactions: AtomicU64,
    batches: AtomicU64,
}

struct Request {
    batch: Batch,
    reply: oneshot::Sender<Result<(), KvError>>,
}

/// One redb file. Closing waits for the batches already handed over.
pub struct RedbKv {
    database: Arc<Database>,
    counters: Arc<Counters>,
    queue: Option<mpsc::Sender<Request>>,
    committer: Option<std::thread::JoinHandle<()>>,
}

impl RedbKv {
    /// Opens the file, or creates it with its directory.
    ///
    /// # Errors
    /// `Failed`, naming the directory, when another process has it open, when it is damaged, or when the
    /// file system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KvError> {
        let path = path.as_ref();
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            KvError::Failed(format!("cannot {what} the metadata store in {}: {e}", directory.display()))
        };
        create_directory(&directory).map_err(|e| failed("create the directory of", &e))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = guarded(|| {
            builder.create(path).map_err(|e| match e {
                DatabaseError::DatabaseAlreadyOpen => KvError::Failed(format!(
                    "data directory {} is in use by another server; stop it, or choose another directory",
                    directory.display()
                )),
                DatabaseError::Storage(redb::StorageError::Corrupted(why)) => damaged_file(&why),
                e => failed("open", &e),
            })
        })?;
        // The file's name must be durable before the first batch in it is acknowledged.
        sync_directory(&directory).map_err(|e| failed("sync the directory of", &e))?;
        Self::start(database)
    }

    #[cfg(test)]
    fn open_with(backend: impl redb::StorageBackend) -> Result<Self, KvError> {
        Self::start(Database::builder().create_with_backend(backend).map_err(store_failed)?)
    }

    /// Opens the file for a look that leaves it as it is, even where opening has to recover from a crash:
    /// what is written, then and later, stays in memory and is lost at the end. Also checks every page of the
    /// file; what is wrong with them is the second value.
    ///
    /// # Errors
    /// `Failed` when the file cannot be read, `Damaged` when it is beyond reading.
    pub fn open_untouched(path: impl AsRef<Path>) -> Result<(Self, Option<String>), KvError> {
        let path = path.as_ref();
        let cannot = |e: &dyn std::fmt::Display| {
            KvError::Failed(format!("cannot read the metadata store {}: {e}", path.display()))
        };
        let backend = Untouched::over(path).map_err(|e| cannot(&e))?;
        let open = || {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES);
            let mut database = builder.create_with_backend(backend).map_err(|e| match e {
                DatabaseError::Storage(redb::StorageError::Corrupted(why)) => damaged_file(&why),
                e => cannot(&e),
            })?;
            let pages = match catch_unwind(AssertUnwindSafe(|| database.check_integrity())) {
                Ok(Ok(true)) => None,
                Ok(Ok(false)) => Some("pages do not match their checksums".to_owned()),
                Ok(Err(e)) => Some(e.to_string()),
                Err(_) => Some("pages have no sound structure".to_owned()),
            };
            Ok((database, pages))
        };
        let (database, pages) = catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(damaged_file("its structure is destroyed")))?;
        Ok((Self::start(database)?, pages))
    }

    fn start(database: Database) -> Result<Self, KvError> {
        guarded(|| prepare(&database))?;
        let database = Arc::new(database);
        let counters = Arc::new(Counters::default());
        let (queue, requests) = mpsc::channel(QUEUE_BATCHES);
        let committer = std::thread::Builder::new()
            .name("kv-committer".into())
            .spawn({
                let (database, counters) = (database.clone(), counters.clone());
                move || run_committer(&database, &counters, requests)
            })
            .map_err(store_failed)?;
        Ok(Self { database, counters, queue: Some(queue), committer: Some(committer) })
    }

    /// What was done since the store was opened.
    pub fn counters(&self) -> RedbCounters {
        RedbCounters {
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            batches: self.counters.batches.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl Kv for RedbKv {
    // On the async thread: a point read is a few microseconds from the cache, less than handing it over costs,
    // and redb holds no lock across its fsyncs.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        guarded(|| {
            let txn = self.database.begin_read().map_err(store_failed)?;
            let table = txn.open_table(ROWS).map_err(store_failed)?;
            let stored = table.get(key).map_err(store_failed)?;
            stored.map(|guard| checked(key, guard.value()).map(Bytes::copy_from_slice)).transpose()
        })
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        if limit <= INLINE_SCAN_PAIRS_MAX {
            return scan(&self.database, from, to, limit);
        }
        let database = self.database.clone();
        let (from, to) = (from.to_vec(), to.to_vec());
        tokio::task::spawn_blocking(move || scan(&database, &from, &to, limit)).await.map_err(store_failed)?
    }

    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let queue = self.queue.as_ref().expect("the queue lives until drop");
        let (reply, answer) = oneshot::channel();
        queue.send(Request { batch, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for RedbKv {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the committer of the metadata store panicked");
        }
    }
}

fn scan(database: &Database, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
    guarded(|| {
        let txn = database.begin_read().map_err(store_failed)?;
        let table = txn.open_table(ROWS).map_err(store_failed)?;
        let mut pairs = Vec::new();
        for pair in table.range::<&[u8]>(from..to).map_err(store_failed)?.take(limit) {
            let (key, stored) = pair.map_err(store_failed)?;
            let value = checked(key.value(), stored.value())?;
            pairs.push((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value)));
        }
        Ok(pairs)
    })
}

/// CRC-32 of key and value.
fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(value);
    crc.finalize().to_le_bytes()
}

/// The value in stored bytes.
fn checked<'a>(key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], KvError> {
    match stored.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, crc)) if *crc == checksum(key, value) => Ok(value),
        _ => Err(KvError::Damaged(Bytes::copy_from_slice(key), "the row does not match its checksum".into())),
    }
}

fn with_checksum(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + CHECKSUM_BYTES);
    stored.extend_from_slice(value);
    stored.extend_from_slice(&checksum(key, value));
    stored
}

/// Runs work on the database whose pages may be destroyed.
fn guarded<T>(work: impl FnOnce() -> Result<T, KvError>) -> Result<T, KvError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged_file("its structure is destroyed")))
}

fn damaged_file(why: &str) -> KvError {
    KvError::Damaged(Bytes::new(), why.to_owned())
}

/// Brings the file to version 1: an empty one gets its table, so that readers need not ask for it; rows of
/// version 0 get their checksums, all in one transaction. A file of a newer version is refused untouched.
fn prepare(database: &Database) -> Result<(), KvError> {
    let tables: Vec<String> = {
        let txn = database.begin_read().map_err(store_failed)?;
        txn.list_tables().map_err(store_failed)?.map(|table| table.name().to_owned()).collect()
    };
    let has = |wanted: &Rows<'_>| tables.iter().any(|name| name == wanted.name());
    if let Some(newer) = tables.iter().find(|name| *name != ROWS.name() && *name != ROWS_0.name()) {
        return Err(KvError::Failed(format!(
            "the metadata store has the table '{newer}': a newer Millpond wrote it; use that"
        )));
    }
    if has(&ROWS) {
        return Ok(());
    }
    let txn = begin(database)?;
    {
        let mut rows = txn.open_table(ROWS).map_err(store_failed)?;
        if has(&ROWS_0) {
            let old = txn.open_table(ROWS_0).map_err(store_failed)?;
            for pair in old.iter().map_err(store_failed)? {
                let (key, value) = pair.map_err(store_failed)?;
                let stored = with_checksum(key.value(), value.value());
                rows.insert(key.value(), stored.as_slice()).map_err(store_failed)?;
            }
        }
    }
    if has(&ROWS_0) {
        tracing::info!("the metadata store is brought to version 1: checksums behind each row");
        txn.delete_table(ROWS_0).map_err(store_failed)?;
    }
    txn.commit().map_err(store_failed)
}

fn run_committer(database: &Database, counters: &Counters, mut requests: mpsc::Receiver<Request>) {
    let mut failure: Option<String> = None;
    while let Some(first) = requests.blocking_recv() {
        let mut bytes = batch_bytes(&first.batch);
        let mut group = vec![first];
        while group.len() < GROUP_BATCHES_MAX && bytes < GROUP_BYTES_MAX {
            let Ok(next) = requests.try_recv() else { break };
            bytes += batch_bytes(&next.batch);
            group.push(next);
        }
        if let Some(earlier) = &failure {
            for request in group {
                let text = format!("no writes until a restart, because an earlier one failed: {earlier}");
                answer(request.reply, Err(KvError::Failed(text)));
            }
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| commit_group(database, &group)));
        match outcome.unwrap_or_else(|_| Err(redb::Error::Corrupted("its structure is destroyed".into()))) {
            Ok(results) => {
                let applied = results.iter().filter(|r| r.is_ok()).count() as u64;
                counters.transactions.fetch_add(u64::from(applied > 0), Ordering::Relaxed);
                counters.batches.fetch_add(applied, Ordering::Relaxed);
                for (request, result) in group.into_iter().zip(results) {
                    answer(request.reply, result);
                }
            }
            Err(e) => {
                let text = e.to_string();
                tracing::error!(error = %text, "metadata store failed; refusing writes until a restart");
                for request in group {
                    answer(request.reply, Err(KvError::Failed(text.clone())));
                }
                failure = Some(text);
            }
        }
    }
}

/// One durable transaction for all batches whose preconditions hold, in order. The inner results may be told to
/// callers because the transaction that they were judged in is durable; the outer error is about the store.
fn commit_group(database: &Database, group: &[Request]) -> Result<Vec<Result<(), KvError>>, redb::Error> {
    let txn = begin_quick_repair(database)?;
    let mut results = Vec::with_capacity(group.len());
    {
        let mut table = txn.open_table(ROWS)?;
        for Request { batch, .. } in group {
            let result = judge(&table, batch)?;
            if result.is_ok() {
                apply(&mut table, batch)?;
            }
            results.push(result);
        }
    }
    if results.iter().any(Result::is_ok) {
        txn.commit()?;
    } else {
        txn.abort()?;
    }
    Ok(results)
}

/// Whether all preconditions hold; the outer error is about the store.
fn judge(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    batch: &Batch,
) -> Result<Result<(), KvError>, redb::Error> {
    for (key, expect) in &batch.preconditions {
        let found = table.get(key.as_ref())?;
        let holds = match (expect, &found) {
            (Expect::Absent, None) => true,
            (Expect::Value(value), Some(guard)) => match checked(key, guard.value()) {
                Ok(found) => found == value.as_ref(),
                Err(damaged) => return Ok(Err(damaged)),
            },
            _ => false,
        };
        if !holds {
            return Ok(Err(KvError::PreconditionFailed(key.clone())));
        }
    }
    Ok(Ok(()))
}

fn apply(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    batch: &Batch,
) -> Result<(), redb::Error> {
    for write in &batch.writes {
        match write {
            Write::Put(key, value) => {
                table.insert(key.as_ref(), with_checksum(key, value).as_slice())?;
            }
            Write::Delete(key) => {
                table.remove(key.as_ref())?;
            }
            Write::DeleteRange(from, to) if from < to => {
                table.retain_in::<&[u8], _>(from.as_ref()..to.as_ref(), |_, _| false)?;
            }
            Write::DeleteRange(..) => {}
        }
    }
    Ok(())
}

fn begin(database: &Database) -> Result<redb::WriteTransaction, KvError> {
    begin_quick_repair(database).map_err(store_failed)
}

/// Quick-repair: opening after a crash does not walk the file, and commits are two-phase.
fn begin_quick_repair(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_quick_repair(true);
    Ok(txn)
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
    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;
    use std::sync::atomic::AtomicBool;

    /// A disk whose fsync begins to fail when told to.
    #[derive(Debug, Default)]
    struct SickDisk {
        disk: InMemoryBackend,
        sick: Arc<AtomicBool>,
    }

    impl StorageBackend for SickDisk {
        fn len(&self) -> std::io::Result<u64> {
            self.disk.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            self.disk.read(offset, out)
        }
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.disk.set_len(len)
        }
        fn sync_data(&self) -> std::io::Result<()> {
            if self.sick.load(Ordering::SeqCst) {
                return Err(std::io::Error::other("injected: fsync failed"));
            }
            self.disk.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.disk.write(offset, data)
        }
    }

    fn put(key: &'static str) -> Batch {
        Batch { preconditions: vec![], writes: vec![Write::Put(key.into(), "v".into())] }
    }

    #[tokio::test]
    async fn a_failed_fsync_ends_writing_even_when_the_disk_seems_well_again() {
        let sick = Arc::new(AtomicBool::new(false));
        let kv = RedbKv::open_with(SickDisk { disk: InMemoryBackend::new(), sick: sick.clone() })
            .expect("a healthy disk opens");
        kv.commit(put("a")).await.expect("a healthy disk takes writes");
        sick.store(true, Ordering::SeqCst);
        assert!(matches!(kv.commit(put("b")).await, Err(KvError::Failed(_))));
        sick.store(false, Ordering::SeqCst);
        let Err(KvError::Failed(text)) = kv.commit(put("c")).await else {
            panic!("a write after a failed fsync was acknowledged")
        };
        assert!(text.contains("restart"), "{text}");
    }

    #[tokio::test]
    async fn a_file_of_version_0_is_brought_to_version_1() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("meta.redb");
        let rows: Vec<(String, String)> = (0..1_000).map(|n| (format!("k{n:04}"), format!("v{n}"))).collect();
        {
            let database = Database::create(&path).expect("created");
            let txn = database.begin_write().expect("begun");
            {
                let mut table = txn.open_table(ROWS_0).expect("table");
                for (key, value) in &rows {
                    table.insert(key.as_bytes(), value.as_bytes()).expect("inserted");
                }
            }
            txn.commit().expect("committed");
        }
        for _ in 0..2 {
            let kv = RedbKv::open(&path).expect("opens");
            let read = kv.scan(b"k", b"l", 10_000).await.expect("scan");
            let wanted: Vec<(Bytes, Bytes)> =
                rows.iter().map(|(k, v)| (k.clone().into(), v.clone().into())).collect();
            assert_eq!(read, wanted);
            let txn = kv.database.begin_read().expect("read");
            let names: Vec<String> =
                txn.list_tables().expect("tables").map(|table| table.name().to_owned()).collect();
            assert_eq!(names, [ROWS.name()], "the old rows are gone");
        }
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused_and_keeps_its_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("meta.redb");
        let newer: Rows<'_> = TableDefinition::new("rows-2");
        {
            let database = Database::create(&path).expect("created");
            let txn = database.begin_write().expect("begun");
            txn.open_table(newer).expect("table").insert(&b"k"[..], &b"v"[..]).expect("inserted");
            txn.commit().expect("committed");
        }
        let Err(KvError::Failed(text)) = RedbKv::open(&path) else { panic!("opened") };
        assert!(text.contains("a newer Millpond"), "{text}");
        let database = Database::open(&path).expect("opens");
        let txn = database.begin_read().expect("read");
        assert_eq!(txn.list_tables().expect("tables").count(), 1, "no table was added");
        let table = txn.open_table(newer).expect("table");
        assert_eq!(table.get(&b"k"[..]).expect("get").expect("there").value(), b"v");
    }

    #[test]
    fn batches_that_wait_together_share_one_transaction_and_keep_their_own_answers() {
        let database =
            Database::builder().create_with_backend(InMemoryBackend::new()).expect("memory database");
        let create = |key: &'static str| Batch {
            preconditions: vec![(key.into(), Expect::Absent)],
            writes: vec![Write::Put(key.into(), "v".into())],
        };
        let request = |batch| Request { batch, reply: oneshot::channel().0 };
        let group = [request(create("a")), request(create("a")), request(create("b"))];
        let results = commit_group(&database, &group).expect("memory database commits");
        assert!(results[0].is_ok() && results[2].is_ok());
        assert!(matches!(&results[1], Err(KvError::PreconditionFailed(key)) if key == "a"));
    }
}
