//! The object store on a local disk: small blobs share append-only segments, large ones are files.
//!
//! ```text
//! lock                      who holds it owns the directory; its content says that a crash is not yet recovered
//! segments/00000001.seg     blobs up to 64 KiB, see `segment`
//! segments/index.snapshot   saves replaying all segments at a start
//! files/named|bulk/xx/name  larger blobs, see `blob_file`; xx from a hash of the name
//! tmp/                      files being written; emptied at every start
//! ```
//!
//! What is promised when, and after which accident, is in docs/design/durability.md.
#![allow(clippy::disallowed_methods, reason = "this adapter is where blobs meet the file system")]

mod blob_file;
mod disk;
mod index;
mod segment;
mod small;
mod writer;

use crate::{BlobError, BlobKey, BlobReader, BlobWriter, Blobs};
use async_trait::async_trait;
use blob_file::BlobFile;
use bytes::Bytes;
use disk::{Disk, create_directory, io_error};
use parking_lot::Mutex;
use small::{Committer, Op, SmallBlobs};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use writer::LocalWriter;
use xxhash_rust::xxh3::xxh3_64;

/// Largest blob that goes to a segment, in bytes.
const SMALL_BYTES_MAX: usize = segment::DATA_BYTES_MAX;
/// A new segment begins before one would grow beyond this many bytes.
const SEGMENT_BYTES_MAX: u32 = 256 << 20;
/// Names of bulk blobs that a listing reads ahead, so that the next pages need not walk the disk again.
const LIST_AHEAD: usize = 100_000;

/// Bytes on the disk that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What does not hold.
    pub what: String,
}

/// What was done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalCounters {
    /// `fdatasync` calls on segments; one makes a whole group of small blobs durable.
    pub segment_syncs: u64,
    /// Records written to segments: small blobs published or deleted.
    pub segment_records: u64,
    /// Bytes of those records.
    pub segment_bytes: u64,
    /// Snapshots of the index written.
    pub snapshots: u64,
    /// `fsync` calls on files and directories outside the segments.
    pub file_syncs: u64,
    /// Large blobs published.
    pub files: u64,
}

/// Blobs in one directory of a local disk. Dropping it finishes what was begun and saves the index.
pub struct LocalBlobs {
    shared: Arc<Shared>,
    committer: Option<std::thread::JoinHandle<()>>,
}

/// What the store, its writers and their blocking tasks share.
struct Shared {
    files: PathBuf,
    disk: Arc<Disk>,
    small: Arc<SmallBlobs>,
    queue: mpsc::Sender<Op>,
    files_published: AtomicU64,
    listing: Mutex<Option<Arc<Listing>>>,
    lock: File,
}

/// Names of bulk blobs read ahead by a listing.
struct Listing {
    generation: u64,
    prefix: String,
    /// All names greater than this are in `names`, up to the last of them.
    after: String,
    /// Whether nothing follows the last of them either.
    complete: bool,
    names: Vec<Listed>,
}

/// A name with its size in bytes, where that came for free.
type Listed = (BlobKey, Option<u64>);

impl LocalBlobs {
    /// Opens the directory, creating it if needed; recovers from a crash if there was one.
    ///
    /// # Errors
    /// `Failed`, naming the directory, if another process has it open or the file system refuses; also if a newer
    /// version wrote it. Damage is no error: see [`Blobs::damage`].
    pub fn open(directory: PathBuf) -> Result<Arc<LocalBlobs>, BlobError> {
        Self::open_with(directory, SEGMENT_BYTES_MAX)
    }

    fn open_with(directory: PathBuf, segment_bytes_max: u32) -> Result<Arc<LocalBlobs>, BlobError> {
        let failed =
            |e: std::io::Error| io_error(&format!("opening the object store {}", directory.display()), &e);
        let (files, temp) = (directory.join("files"), directory.join("tmp"));
        for path in [&files.join("bulk"), &files.join("named"), &temp] {
            create_directory(path).map_err(failed)?;
        }
        let lock = lock(&directory)?;
        let crashed = lock.metadata().map_err(failed)?.len() > 0;
        lock.write_all_at(std::process::id().to_string().as_bytes(), 0).map_err(failed)?;
        if crashed {
            // A killed process may have left renames that only the page cache knows. Whoever sees them from now on
            // relies on them, so they become durable first.
            rustix::fs::syncfs(&lock).map_err(|e| failed(e.into()))?;
        }
        let disk = Arc::new(Disk::new(temp).map_err(failed)?);
        let (small, committer) =
            SmallBlobs::open(directory.join("segments"), disk.clone(), segment_bytes_max)?;
        let (queue, ops) = Committer::queue();
        let committer = std::thread::Builder::new()
            .name("blob-committer".into())
            .spawn(move || committer.run(ops))
            .map_err(failed)?;
        let shared = Shared {
            files,
            disk,
            small,
            queue,
            files_published: AtomicU64::new(0),
            listing: Mutex::new(None),
            lock,
        };
        Ok(Arc::new(Self { shared: Arc::new(shared), committer: Some(committer) }))
    }

    /// What was done since the store was opened.
    pub fn counters(&self) -> LocalCounters {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let small = &self.shared.small.counters;
        LocalCounters {
            segment_syncs: load(&small.syncs),
            segment_records: load(&small.records),
            segment_bytes: load(&small.bytes),
            snapshots: load(&small.snapshots),
            file_syncs: load(&self.shared.disk.file_syncs),
            files: load(&self.shared.files_published),
        }
    }
}

impl Drop for LocalBlobs {
    fn drop(&mut self) {
        // The queue may be full; the committer empties it.
        let mut close = Op::Close;
        while let Err(mpsc::error::TrySendError::Full(again)) = self.shared.queue.try_send(close) {
            close = again;
            std::thread::yield_now();
        }
        match self.committer.take().map(std::thread::JoinHandle::join) {
            Some(Ok(())) if self.shared.disk.fuse.check().is_ok() => {
                // Nothing to recover, unless a large blob is still being published by a task of its own.
                if Arc::strong_count(&self.shared) == 1
                    && let Err(error) = self.shared.lock.set_len(0)
                {
                    tracing::warn!(%error, "the next start will look for a crash");
                }
            }
            Some(Ok(())) => {}
            _ => tracing::error!("the committer of the object store panicked"),
        }
    }
}

/// Takes the directory for this process.
fn lock(directory: &Path) -> Result<File, BlobError> {
    let failed = |e: &dyn std::fmt::Display| {
        BlobError::Failed(format!("cannot lock the object store {}: {e}", directory.display()))
    };
    let path = directory.join("lock");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| failed(&e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(BlobError::Failed(format!(
            "object store {} is in use by another server; stop it, or choose another directory",
            directory.display()
        ))),
        Err(std::fs::TryLockError::Error(e)) => Err(failed(&e)),
    }
}

#[async_trait]
impl Blobs for LocalBlobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        match bytes.len() <= SMALL_BYTES_MAX {
            true => self.shared.put_small(key, bytes).await,
            false => {
                let mut writer = LocalWriter::new(self.shared.clone(), key.clone());
                writer.write(bytes).await?;
                Box::new(writer).publish().await
            }
        }
    }

    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(LocalWriter::new(self.shared.clone(), key.clone())))
    }

    // On the async thread, like `size`: a small blob or a footer from the page cache costs less than handing it over.
    async fn open(&self, key: &BlobKey) -> Result<Arc<dyn BlobReader>, BlobError> {
        if let Some(bytes) = self.shared.small.read(key)? {
            return Ok(Arc::new(Whole(bytes)));
        }
        match self.shared.open_file(key)? {
            Some(file) => Ok(Arc::new(Ranged { file: Arc::new(file) })),
            None => Err(BlobError::NotFound(key.as_str().to_owned())),
        }
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        match self.shared.small.size(key)? {
            Some(size) => Ok(Some(size)),
            None => Ok(self.shared.open_file(key)?.map(|file| file.size())),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.shared.disk.fuse.check()?;
        self.shared.delete_small(key).await?;
        let path = self.shared.file_path(key);
        let shared = self.shared.clone();
        blocking(move || {
            if shared.disk.remove(&path)? {
                shared.small.generation.fetch_add(1, Ordering::Release);
            }
            Ok(())
        })
        .await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError> {
        let shared = self.shared.clone();
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        blocking(move || shared.list(&prefix, &after, limit)).await
    }

    fn damage(&self) -> Vec<Damage> {
        self.shared.small.damage()
    }

    fn failure(&self) -> Option<String> {
        self.shared.disk.fuse.why().map(str::to_owned)
    }
}

impl Shared {
    async fn put_small(&self, key: &BlobKey, data: Bytes) -> Result<(), BlobError> {
        self.disk.fuse.check()?;
        // The same bytes again, as when equal objects are stored once: they are durable already. Damaged ones are
        // written anew.
        if matches!(self.small.read(key), Ok(Some(there)) if there == data) {
            return Ok(());
        }
        let crc = crc32fast::hash(&data);
        self.send(|reply| Op::Put { key: key.clone(), data, crc, reply }).await?;
        // A larger blob of that name would come back if this one were deleted. Bulk names come from content or
        // chance, so they never change their bytes, and the look at the disk is saved.
        if !index::is_bulk(key.as_str()) && self.file_path(key).exists() {
            self.disk.remove(&self.file_path(key))?;
        }
        Ok(())
    }

    async fn delete_small(&self, key: &BlobKey) -> Result<(), BlobError> {
        match self.small.perhaps_has(key) {
            true => self.send(|reply| Op::Delete { key: key.clone(), reply }).await,
            false => Ok(()),
        }
    }

    async fn send(
        &self,
        op: impl FnOnce(oneshot::Sender<Result<(), BlobError>>) -> Op,
    ) -> Result<(), BlobError> {
        let closed = || BlobError::Failed("the object store is closed".into());
        let (reply, answer) = oneshot::channel();
        self.queue.send(op(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    fn file_path(&self, key: &BlobKey) -> PathBuf {
        let class = if index::is_bulk(key.as_str()) { "bulk" } else { "named" };
        let fan = xxh3_64(key.as_str().as_bytes()) as u8;
        // No key contains `+`, and none is longer than a file name may be.
        self.files.join(class).join(format!("{fan:02x}")).join(key.as_str().replace('/', "+"))
    }

    fn open_file(&self, key: &BlobKey) -> Result<Option<BlobFile>, BlobError> {
        if self.disk.is_hidden(key) {
            return Ok(None);
        }
        BlobFile::open(&self.file_path(key), key)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError> {
        let mut page = Vec::new();
        let mut after = after.to_owned();
        // More than one round only if names vanish while they are listed: a short page must mean the end.
        while page.len() < limit {
            let names = self.names(prefix, &after, limit - page.len())?;
            let complete = names.len() < limit - page.len();
            if let Some(last) = names.last() {
                after = last.0.as_str().to_owned();
            }
            for (key, size) in names {
                let size = if size.is_some() { size } else { self.listed_size(&key)? };
                // Without a size it was deleted meanwhile, or is not durable yet.
                if let Some(size) = size {
                    page.push((key, size));
                }
            }
            if complete {
                break;
            }
        }
        Ok(page)
    }

    /// The `limit` smallest names after `after`, ascending; fewer only if there are no more.
    fn names(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, BlobError> {
        let (bulk, named) = index::classes(prefix);
        let mut names = Vec::new();
        // Of either class: a bulk name whose fingerprint was taken is kept whole, too.
        names.extend(
            self.small.list_named(prefix, after, limit).into_iter().map(|(key, size)| (key, Some(size))),
        );
        if named {
            let mut smallest = Smallest::new(prefix, after, limit);
            self.for_each_file("named", |key| smallest.take(key, None))?;
            names.extend(smallest.finish().0);
        }
        if bulk {
            names.extend(self.list_bulk(prefix, after, limit)?);
        }
        sort_by_name(&mut names);
        names.truncate(limit);
        Ok(names)
    }

    fn listed_size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        if let Some(size) = self.small.size(key)? {
            return Ok(Some(size));
        }
        match self.open_file(key) {
            Ok(file) => Ok(file.map(|file| file.size())),
            // A listing is how fsck finds blobs to read, so a damaged one is listed; reading it tells.
            Err(BlobError::Damaged(..)) => Ok(Some(0)),
            Err(e) => Err(e),
        }
    }

    /// Names of bulk blobs: from the last listing's read-ahead if nothing has changed since, else from the disk.
    fn list_bulk(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, BlobError> {
        let generation = self.small.generation.load(Ordering::Acquire);
        let ahead = self.listing.lock().clone();
        if let Some(ahead) = ahead
            && ahead.generation == generation
            && ahead.prefix == prefix
            && ahead.after.as_str() <= after
        {
            let rest = &ahead.names[ahead.names.partition_point(|(key, _)| key.as_str() <= after)..];
            if rest.len() >= limit || ahead.complete {
                return Ok(rest[..limit.min(rest.len())].to_vec());
            }
        }
        let mut smallest = Smallest::new(prefix, after, limit.max(LIST_AHEAD));
        self.small.for_each_bulk(|key, size| smallest.take(key, Some(size)))?;
        self.for_each_file("bulk", |key| smallest.take(key, None))?;
        let (names, complete) = smallest.finish();
        let page = names[..limit.min(names.len())].to_vec();
        let listing =
            Listing { generation, prefix: prefix.to_owned(), after: after.to_owned(), complete, names };
        // Kept only while there is more to come.
        *self.listing.lock() = (listing.names.len() > page.len()).then(|| Arc::new(listing));
        Ok(page)
    }

    fn for_each_file(&self, class: &str, mut see: impl FnMut(BlobKey)) -> Result<(), BlobError> {
        let failed = |e: std::io::Error| io_error("listing blobs", &e);
        for directory in std::fs::read_dir(self.files.join(class)).map_err(failed)? {
            for file in std::fs::read_dir(directory.map_err(failed)?.path()).map_err(failed)? {
                let name = file.map_err(failed)?.file_name();
                // Other files are not ours to judge.
                if let Some(key) = name.to_str().and_then(|name| BlobKey::parse(&name.replace('+', "/"))) {
                    see(key);
                }
            }
        }
        Ok(())
    }
}

/// The smallest names with a prefix, of many that come in no order.
struct Smallest<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    names: Vec<Listed>,
    /// The greatest of the smallest so far, once there are enough of them: nothing beyond it is of use.
    bound: Option<BlobKey>,
    dropped: bool,
}

impl<'a> Smallest<'a> {
    fn new(prefix: &'a str, after: &'a str, limit: usize) -> Self {
        Self { prefix, after, limit, names: Vec::new(), bound: None, dropped: false }
    }

    fn take(&mut self, key: BlobKey, size: Option<u64>) {
        if !key.as_str().starts_with(self.prefix) || key.as_str() <= self.after {
            return;
        }
        if self.bound.as_ref().is_some_and(|bound| key > *bound) {
            self.dropped = true;
            return;
        }
        self.names.push((key, size));
        if self.names.len() >= self.limit.saturating_mul(2).saturating_add(1024) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        sort_by_name(&mut self.names);
        if self.names.len() > self.limit {
            self.dropped = true;
            self.names.truncate(self.limit);
        }
        if self.names.len() == self.limit {
            self.bound = self.names.last().map(|(key, _)| key.clone());
        }
    }

    /// The names ascending, and whether they are all there are.
    fn finish(mut self) -> (Vec<Listed>, bool) {
        self.cut();
        (self.names, !self.dropped)
    }
}

/// Ascending, each name once: a small blob, whose size is known, comes before a file of that name.
fn sort_by_name(names: &mut Vec<Listed>) {
    names.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then(y.is_some().cmp(&x.is_some())));
    names.dedup_by(|(later, _), (earlier, _)| later == earlier);
}

/// A small blob: read and checked whole when it was opened.
struct Whole(Bytes);

#[async_trait]
impl BlobReader for Whole {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    async fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        check_range(&range, self.size())?;
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
}

/// A large blob: each range is read and checked on a blocking thread.
struct Ranged {
    file: Arc<BlobFile>,
}

#[async_trait]
impl BlobReader for Ranged {
    fn size(&self) -> u64 {
        self.file.size()
    }
    async fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        check_range(&range, self.size())?;
        let file = self.file.clone();
        blocking(move || file.read(range)).await
    }
}

fn check_range(range: &Range<u64>, size: u64) -> Result<(), BlobError> {
    match range.start <= range.end && range.end <= size {
        true => Ok(()),
        false => Err(BlobError::Range(range.clone(), size)),
    }
}

/// Runs work that waits for the disk where it blocks nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| BlobError::Failed(format!("a task of the object store: {e}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn segments_roll_and_are_all_read_again_with_and_without_the_snapshot() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let key = |n: usize| BlobKey::new(&format!("r1/data/{n}"));
        let blobs = LocalBlobs::open_with(directory.path().to_path_buf(), 4096).expect("opens");
        // One is longer than a segment may grow: it gets one of its own.
        let bytes = |n: usize| Bytes::from(vec![n as u8; if n == 50 { 10_000 } else { 300 }]);
        for n in 0..100 {
            blobs.put(&key(n), bytes(n)).await.expect("put");
        }
        // A tombstone in a later segment than its blob.
        blobs.delete(&key(1)).await.expect("delete");
        drop(blobs);
        let segments = std::fs::read_dir(directory.path().join("segments")).expect("read").count() - 1;
        assert!((8..=20).contains(&segments), "{segments} segments");
        for snapshot in [true, false] {
            if !snapshot {
                std::fs::remove_file(directory.path().join("segments/index.snapshot")).expect("remove");
            }
            let blobs = LocalBlobs::open_with(directory.path().to_path_buf(), 4096).expect("opens");
            assert_eq!(blobs.damage(), []);
            for n in (0..100).filter(|n| *n != 1) {
                let reader = blobs.open(&key(n)).await.expect("open");
                assert_eq!(reader.read(0..reader.size()).await.expect("read"), bytes(n));
            }
            assert_eq!(blobs.size(&key(1)).await.expect("size"), None);
            assert_eq!(blobs.list("r1/data/", "", 1000).await.expect("list").len(), 99);
            drop(blobs);
            // A start that had to replay saves the next one from it.
            assert!(directory.path().join("segments/index.snapshot").exists());
        }
    }

    #[test]
    fn the_smallest_of_many_names_are_found_in_any_order() {
        let name = |n: u64| format!("r/data/{:04}", n * 7919 % 5000);
        let all: std::collections::BTreeSet<String> = (0..5000).map(name).collect();
        for (after, limit) in [("", 10), ("r/data/0123", 1000), ("r/data/4990", 100), ("", 5000), ("", 4999)]
        {
            let mut smallest = Smallest::new("r/data/", after, limit);
            // Each name comes twice, as one that is a segment's and a file's does.
            for n in (0..5000).chain(0..5000) {
                smallest.take(BlobKey::new(&name(n)), None);
            }
            let (names, complete) = smallest.finish();
            let names: Vec<&str> = names.iter().map(|(key, _)| key.as_str()).collect();
            let left = all.iter().filter(|name| name.as_str() > after).count();
            let expected: Vec<&String> =
                all.iter().filter(|name| name.as_str() > after).take(limit).collect();
            assert_eq!(names, expected);
            assert_eq!(complete, left <= limit, "after {after:?}, {limit} of {left}");
        }
    }
}
