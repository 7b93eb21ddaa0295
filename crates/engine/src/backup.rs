//! Backup and restore: everything stored, as of one moment between two writes, copied to other stores.
//!
//! The accident this prevents: a copy of a running server's files has metadata of one moment and objects of
//! another, and nobody notices before the day it is needed. Here the metadata is copied first, of one exact
//! row of the journal; every blob that it names was durable before, so the copy of blobs that follows holds all of
//! them, since deletions wait meanwhile. Writers are never waited for. No blob is ever changed, so a later backup
//! copies only what is new, and one that was cut off goes on where it was.
//!
//! What rots in a backup is copied again: each run compares the names and sizes of what lies there with its
//! catalogue, and what [`verify_backup`] finds wrong it notes for the next run. Restoring goes around what is
//! damaged: it names it, leaves it out, and brings everything else.
//!
//! A backup is itself a pair of stores (`docs/formats/backup.md`): rows of the last complete backup and a
//! catalogue with the SHA-256 of each blob, and the blobs. So the same code makes it on any store, and fsck
//! proves it without restoring it.

use crate::engine::{Engine, kv_error};
use crate::fsck::{FsckReport, FsckRequest, RESTORE, fsck};
use crate::keys;
use crate::nodes::store_error;
use crate::tasks::Tasks;
use crate::watch::{Defect, Watch};
use crate::{Error, Kind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use millpond_blob::{BlobError, BlobKey, Blobs};
use millpond_kv::{Batch, Expect, Kv, KvError, Write};
use millpond_types::{DecodeError, Random, Reader, Timestamp, Writer};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Metadata rows of one batch.
const BATCH_ROWS: usize = 4096;
/// Names of one page of a listing.
pub(crate) const LIST_PAGE: usize = 100_000;
/// Blobs that are copied at the same time: small ones share the disk's syncs.
pub(crate) const PARALLEL: usize = 64;
/// The catalogue is brought up to date after this many blobs,
const NOTE_OBJECTS: usize = 4096;
/// or this many bytes: what a backup that was cut off copies again at most.
const NOTE_BYTES: u64 = 256 << 20;
/// Bytes of one read.
const READ_BYTES: u64 = 1 << 20;

const STATE: &[u8] = b"backup/state";
const CATALOGUE: &[u8] = b"c/";
/// Blobs that were found damaged, to be copied again.
const DAMAGED: &[u8] = b"d/";
/// What helps against damage in a backup.
const COPY_AGAIN: &str = "make the next backup, which copies it again if the server still has it, then verify; or use another backup";

/// A metadata store and an object store that belong together.
#[derive(Clone)]
pub struct Stores {
    /// Metadata.
    pub kv: Arc<dyn Kv>,
    /// Objects and packs.
    pub blobs: Arc<dyn Blobs>,
}

/// A complete backup, and what the last run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// 1 for the first backup into these stores, then one more each time.
    pub number: u64,
    /// The server's time when it was taken.
    pub time: Timestamp,
    /// The journal row up to which it holds everything.
    pub upto_row: u64,
    /// Metadata rows.
    pub rows: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were new to it, or had to be copied again; of a restore, those that were copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Blobs that could not be read; each is named as a defect.
    pub unreadable: u64,
}

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    line: [u8; 16],
    number: u64,
    time: Timestamp,
    upto_row: u64,
    rows: u64,
    /// SHA-256 over the rows, see [`Sum`].
    rows_sha256: [u8; 32],
    blobs: u64,
    bytes: u64,
}

impl State {
    fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.u8(1).raw(&self.line).uint(self.number).int(self.time.millis()).uint(self.upto_row);
        w.uint(self.rows).raw(&self.rows_sha256).uint(self.blobs).uint(self.bytes);
        w.finish().into()
    }

    /// Bytes behind what this version knows are a later version's, and passed over.
    fn decode(bytes: Bytes) -> std::result::Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.u8()? != 1 {
            return Err(DecodeError("the backup is of a version that a newer Millpond writes"));
        }
        Ok(Self {
            line: r.raw(16)?.as_ref().try_into().expect("raw(16) gives 16 bytes"),
            number: r.uint()?,
            time: Timestamp(r.int()?),
            upto_row: r.uint()?,
            rows: r.uint()?,
            rows_sha256: r.digest()?,
            blobs: r.uint()?,
            bytes: r.uint()?,
        })
    }

    /// Names it if these are not its rows.
    fn judge(&self, found: Sum, watch: &Watch) {
        let rows = found.rows;
        if (rows, <[u8; 32]>::from(found.hasher.finalize())) != (self.rows, self.rows_sha256) {
            watch.defect(Defect {
                repository: None,
                reference: None,
                path: None,
                thing: "metadata of the backup".into(),
                what: format!("its {rows} rows do not match their SHA-256"),
                remedy: COPY_AGAIN,
            });
        }
    }

    fn report(&self) -> BackupReport {
        BackupReport {
            number: self.number,
            time: self.time,
            upto_row: self.upto_row,
            rows: self.rows,
            blobs: self.blobs,
            bytes: self.bytes,
            ..BackupReport::default()
        }
    }
}

/// Where the metadata rows of a backup begin.
fn rows_of(number: u64) -> Bytes {
    let mut prefix = b"k/".to_vec();
    prefix.extend_from_slice(&number.to_be_bytes());
    prefix.into()
}

fn join(prefix: &[u8], key: &[u8]) -> Bytes {
    [prefix, key].concat().into()
}

fn prefix_end(prefix: &[u8]) -> Bytes {
    millpond_kv::prefix_end(prefix).expect("no prefix of a backup is all 0xff")
}

/// Count and SHA-256 of rows: of each, the length of its key (4 bytes big-endian), the key, the length of its
/// value, the value.
#[derive(Default)]
struct Sum {
    rows: u64,
    hasher: Sha256,
}

impl Sum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        for part in [key, value] {
            self.hasher.update((part.len() as u32).to_be_bytes());
            self.hasher.update(part);
        }
    }
}

/// A blob in the catalogue: size and SHA-256.
fn encode_item(size: u64, sha256: &[u8; 32]) -> Bytes {
    let mut w = Writer::new();
    w.u8(1).uint(size).raw(sha256);
    w.finish().into()
}

fn decode_item(bytes: Bytes) -> Result<(u64, [u8; 32])> {
    let mut r = Reader::new(bytes);
    let mut parse = || Ok::<_, DecodeError>((r.u8()?, r.uint()?, r.digest()?));
    match parse() {
        Ok((1, size, sha256)) => Ok((size, sha256)),
        _ => Err(Error::new(Kind::Damaged, "an item of the backup's catalogue cannot be read")),
    }
}

impl Engine {
    /// Copies everything to a backup, as of now; writers go on meanwhile.
    ///
    /// # Errors
    /// A store fails, or the backup is of another server. A blob that cannot be read is no error: it is a defect
    /// in `watch`.
    pub async fn backup(&self, to: &Stores, watch: &Watch) -> Result<BackupReport> {
        self.without_deletions(self.back_up(to, watch)).await
    }

    async fn back_up(&self, to: &Stores, watch: &Watch) -> Result<BackupReport> {
        let from = Stores { kv: self.kv.clone(), blobs: self.blobs.clone() };
        let job = Job { from: &from, to, watch };
        self.name_line().await?;
        let state = job.begin(&*self.random, self.clock.now()).await?;
        // Tables change at checkpoints only: without one, they and the journal up to `next` are one state.
        let no_checkpoint = self.checkpointing.lock().await;
        // A note that goes into the journal behind `next` would be in neither.
        let no_note = self.notes.lock().await;
        let next = self.journal.capture(|next, _| next).await?;
        let state = job.metadata(state, next).await?;
        drop((no_checkpoint, no_note));
        job.finish(state).await
    }

    /// Gives this server's line of backups a name, before the first one. As for every write: never after a disk has
    /// failed, nor once another server has taken over; and if it fails, nothing more is written.
    async fn name_line(&self) -> Result<()> {
        let _one_at_a_time = self.checkpointing.lock().await;
        if self.kv.get(keys::BACKUP_LINE).await.map_err(kv_error)?.is_some() {
            return Ok(());
        }
        let write = Write::Put(Bytes::from_static(keys::BACKUP_LINE), new_line(&*self.random));
        self.write_fenced(vec![write]).await
    }
}

/// A new name for a line of backups.
fn new_line(random: &dyn Random) -> Bytes {
    let mut new = [0; 16];
    random.fill(&mut new);
    Bytes::copy_from_slice(&new)
}

/// As [`Engine::backup`], of stores that no engine has open.
///
/// # Errors
/// As [`Engine::backup`].
pub async fn backup(
    from: &Stores,
    to: &Stores,
    random: &dyn Random,
    now: Timestamp,
    watch: &Watch,
) -> Result<BackupReport> {
    let job = Job { from, to, watch };
    let state = job.begin(random, now).await?;
    let state = job.metadata(state, u64::MAX).await?;
    job.finish(state).await
}

struct Job<'a> {
    from: &'a Stores,
    to: &'a Stores,
    watch: &'a Watch,
}

impl Job<'_> {
    /// The state that the new backup will have, as far as it is known. Refuses a backup of something else.
    async fn begin(&self, random: &dyn Random, now: Timestamp) -> Result<State> {
        let key = Bytes::from_static(keys::BACKUP_LINE);
        let mut line = self.from.kv.get(&key).await.map_err(kv_error)?;
        if line.is_none() {
            let new = new_line(random);
            let batch = Batch {
                preconditions: vec![(key.clone(), Expect::Absent)],
                writes: vec![Write::Put(key.clone(), new.clone())],
            };
            self.from.kv.commit(batch).await.map_err(kv_error)?;
            line = Some(new);
        }
        let line: [u8; 16] = line
            .and_then(|line| line.as_ref().try_into().ok())
            .ok_or_else(|| Error::new(Kind::Damaged, "the name of the backup line cannot be read"))?;
        let number = match read_state(&*self.to.kv).await? {
            None => 1,
            Some(old) if old.line == line => old.number + 1,
            Some(_) => {
                return Err(Error::new(
                    Kind::Invalid,
                    "the backup there is of another server, or of this one before it was restored; choose another \
                     directory",
                ));
            }
        };
        Ok(State { line, number, time: now, upto_row: 0, rows: 0, rows_sha256: [0; 32], blobs: 0, bytes: 0 })
    }

    /// Copies the metadata before the journal row `next`.
    async fn metadata(&self, mut state: State, next: u64) -> Result<State> {
        self.watch.phase("metadata");
        let prefix = rows_of(state.number);
        // What a run that was cut off left.
        self.note(vec![Write::DeleteRange(prefix.clone(), prefix_end(&prefix))]).await?;
        let mut sum = Sum::default();
        let (beyond, journal_end) = (keys::journal(next), prefix_end(keys::JOURNAL));
        // What a checkpoint has taken in is in the tables.
        state.upto_row = crate::checkpoint::read(&*self.from.kv).await?.0.saturating_sub(1);
        let mut from = Bytes::new();
        loop {
            let page = self.from.kv.scan(&from, &[0xff; 64], BATCH_ROWS).await.map_err(kv_error)?;
            let Some((last, _)) = page.last() else { break };
            from = millpond_kv::key_after(last);
            let mut writes = Vec::with_capacity(page.len());
            for (key, value) in page.into_iter().filter(|(key, _)| *key < beyond || *key >= journal_end) {
                if key.starts_with(keys::JOURNAL) {
                    let number = key[keys::JOURNAL.len()..].try_into().map_or(0, u64::from_be_bytes);
                    state.upto_row = state.upto_row.max(number);
                }
                sum.add(&key, &value);
                writes.push(Write::Put(join(&prefix, &key), value));
            }
            self.note(writes).await?;
        }
        state.rows = sum.rows;
        state.rows_sha256 = sum.hasher.finalize().into();
        Ok(state)
    }

    /// Copies the blobs that are new, and makes the backup complete.
    async fn finish(&self, mut state: State) -> Result<BackupReport> {
        self.watch.phase("objects");
        let mut report = BackupReport::default();
        let mut catalogue = Catalogue::new(&*self.to.kv);
        let mut held = Held::new(&*self.to.blobs);
        let damaged = damaged(&*self.to.kv).await?;
        let mut after = String::new();
        loop {
            let page = self.from.blobs.list("", &after, LIST_PAGE).await.map_err(store_error)?;
            let Some((last, _)) = page.last() else { break };
            after = last.as_str().to_owned();
            let mut new = Vec::new();
            // Indexes of packs are made anew from the packs.
            for (key, size) in
                page.into_iter().filter(|(key, _)| key.as_str().split('/').nth(1) != Some("midx"))
            {
                let noted = catalogue.at(key.as_str()).await?.map(|(size, _)| size);
                let is_there = noted == Some(size) && held.at(key.as_str()).await? == Some(size);
                if is_there && !damaged.contains(&key) {
                    (state.blobs, state.bytes) = (state.blobs + 1, state.bytes + size)
                } else {
                    new.push((key, size))
                }
            }
            self.watch.objects_total.fetch_add(new.len() as u64, Ordering::Relaxed);
            self.watch.bytes_total.fetch_add(new.iter().map(|(_, size)| size).sum(), Ordering::Relaxed);
            self.copy(new, &mut report).await?;
        }
        // What was copied from an earlier listing only (nothing deletes it from a backup) stays.
        state.blobs += report.copied;
        state.bytes += report.copied_bytes;
        let old = rows_of(state.number - 1);
        let done = Write::Put(Bytes::from_static(STATE), state.encode());
        self.note(vec![done, Write::DeleteRange(old.clone(), prefix_end(&old))]).await?;
        self.watch.phase("done");
        Ok(BackupReport {
            copied: report.copied,
            copied_bytes: report.copied_bytes,
            unreadable: report.unreadable,
            ..state.report()
        })
    }

    async fn copy(&self, new: Vec<(BlobKey, u64)>, report: &mut BackupReport) -> Result<()> {
        let copies = new.into_iter().map(|(key, _)| async move {
            let copied = copy_blob(&*self.from.blobs, &*self.to.blobs, &key, None).await;
            (key, copied)
        });
        let mut copies = futures::stream::iter(copies).buffer_unordered(PARALLEL);
        let (mut notes, mut bytes) = (Vec::new(), 0);
        while let Some((key, copied)) = copies.next().await {
            match copied {
                Ok((size, sha256)) => {
                    let name = key.as_str().as_bytes();
                    notes.push(Write::Put(join(CATALOGUE, name), encode_item(size, &sha256)));
                    notes.push(Write::Delete(join(DAMAGED, name)));
                    bytes += size;
                    report.copied += 1;
                    report.copied_bytes += size;
                    self.watch.add(1, size);
                }
                // A deletion that had begun before the backup.
                Err(Failed::Unreadable(BlobError::NotFound(_))) => {}
                Err(failed) => {
                    let error = failed.of_this_blob()?;
                    report.unreadable += 1;
                    self.watch.defect(unreadable(&key, &error, RESTORE));
                }
            }
            if notes.len() >= 2 * NOTE_OBJECTS || bytes >= NOTE_BYTES {
                bytes = 0;
                self.note(std::mem::take(&mut notes)).await?;
            }
        }
        self.note(notes).await
    }

    async fn note(&self, writes: Vec<Write>) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        self.to.kv.commit(Batch { preconditions: vec![], writes }).await.map_err(kv_error)
    }
}

fn unreadable(key: &BlobKey, error: &BlobError, remedy: &'static str) -> Defect {
    Defect {
        repository: None,
        reference: None,
        path: None,
        thing: format!("blob {}", key.as_str()),
        what: format!("{error}; fsck tells which objects need it"),
        remedy,
    }
}

async fn read_state(kv: &dyn Kv) -> Result<Option<State>> {
    match kv.get(STATE).await.map_err(kv_error)? {
        None => Ok(None),
        Some(bytes) => State::decode(bytes)
            .map(Some)
            .map_err(|e| Error::new(Kind::Damaged, format!("what the backup says about itself: {e}"))),
    }
}

async fn complete(kv: &dyn Kv) -> Result<State> {
    read_state(kv)
        .await?
        .ok_or_else(|| Error::new(Kind::NotFound(crate::Thing::Other), "no complete backup is there"))
}

/// Why a blob was not copied.
pub(crate) enum Failed {
    Unreadable(BlobError),
    Unwritable(BlobError),
}

impl Failed {
    pub(crate) fn into_error(self) -> BlobError {
        let (Self::Unreadable(error) | Self::Unwritable(error)) = self;
        error
    }

    /// What keeps this one blob from being read.
    ///
    /// # Errors
    /// What is wrong concerns others too: nothing can be written, or too much is open.
    fn of_this_blob(self) -> Result<BlobError> {
        match self {
            Self::Unreadable(error @ BlobError::Busy(_)) | Self::Unwritable(error) => Err(store_error(error)),
            Self::Unreadable(error) => Ok(error),
        }
    }
}

/// Copies one blob, unless it is not what is expected. Its size and SHA-256.
async fn copy_blob(
    from: &dyn Blobs,
    to: &dyn Blobs,
    key: &BlobKey,
    expected: Option<(u64, [u8; 32])>,
) -> std::result::Result<(u64, [u8; 32]), Failed> {
    copy_blob_as(from, key, to, key, expected).await
}

/// The same under another name.
pub(crate) async fn copy_blob_as(
    from: &dyn Blobs,
    key: &BlobKey,
    to: &dyn Blobs,
    name: &BlobKey,
    expected: Option<(u64, [u8; 32])>,
) -> std::result::Result<(u64, [u8; 32]), Failed> {
    let judge = |found: (u64, [u8; 32])| match expected.is_none_or(|expected| expected == found) {
        true => Ok(found),
        false => Err(Failed::Unreadable(not_as_catalogued(key))),
    };
    let reader = from.open(key).await.map_err(Failed::Unreadable)?;
    let size = reader.size();
    if size <= READ_BYTES {
        let bytes = reader.read(0..size).await.map_err(Failed::Unreadable)?;
        let found = judge((size, Sha256::digest(&bytes).into()))?;
        to.put(name, bytes).await.map_err(Failed::Unwritable)?;
        return Ok(found);
    }
    let mut writer = to.create(name).await.map_err(Failed::Unwritable)?;
    let mut hasher = Sha256::new();
    let mut at = 0;
    while at < size {
        let next = (at + READ_BYTES).min(size);
        let bytes = reader.read(at..next).await.map_err(Failed::Unreadable)?;
        hasher.update(&bytes);
        writer.write(bytes).await.map_err(Failed::Unwritable)?;
        at = next;
    }
    let found = judge((size, hasher.finalize().into()))?;
    writer.publish().await.map_err(Failed::Unwritable)?;
    Ok(found)
}

/// What was found damaged and not copied again yet.
async fn damaged(kv: &dyn Kv) -> Result<HashSet<BlobKey>> {
    let rows = kv.scan(DAMAGED, &prefix_end(DAMAGED), usize::MAX).await.map_err(kv_error)?;
    Ok(rows.iter().filter_map(|(key, _)| blob_name(key, DAMAGED)).collect())
}

fn blob_name(key: &[u8], prefix: &[u8]) -> Option<BlobKey> {
    std::str::from_utf8(key.strip_prefix(prefix)?).ok().and_then(BlobKey::parse)
}

/// The blobs that lie in a backup with their sizes, in the order of names. What they hold is not looked at.
struct Held<'a> {
    blobs: &'a dyn Blobs,
    page: std::vec::IntoIter<(BlobKey, u64)>,
    next: Option<(BlobKey, u64)>,
    after: String,
    is_last: bool,
}

impl<'a> Held<'a> {
    fn new(blobs: &'a dyn Blobs) -> Self {
        Self { blobs, page: Vec::new().into_iter(), next: None, after: String::new(), is_last: false }
    }

    /// The size of a blob; names come in ascending order.
    async fn at(&mut self, name: &str) -> Result<Option<u64>> {
        loop {
            match &self.next {
                Some((key, size)) if key.as_str() == name => return Ok(Some(*size)),
                Some((key, _)) if key.as_str() > name => return Ok(None),
                _ => self.next = self.page.next(),
            }
            if self.next.is_none() {
                if self.is_last {
                    return Ok(None);
                }
                let page = self.blobs.list("", &self.after, LIST_PAGE).await.map_err(store_error)?;
                self.is_last = page.len() < LIST_PAGE;
                if let Some((last, _)) = page.last() {
                    self.after = last.as_str().to_owned();
                }
                self.page = page.into_iter();
            }
        }
    }
}

/// The catalogue of a backup, read in the order of names.
struct Catalogue<'a> {
    kv: &'a dyn Kv,
    page: BTreeMap<Bytes, Bytes>,
    /// Up to here, included, `page` is complete; `None` at the start.
    upto: Option<Bytes>,
    is_last: bool,
}

impl<'a> Catalogue<'a> {
    fn new(kv: &'a dyn Kv) -> Self {
        Self { kv, page: BTreeMap::new(), upto: None, is_last: false }
    }

    /// The item of a blob; names come in ascending order.
    async fn at(&mut self, name: &str) -> Result<Option<(u64, [u8; 32])>> {
        let key = join(CATALOGUE, name.as_bytes());
        while !self.is_last && self.upto.as_ref().is_none_or(|upto| *upto < key) {
            // What lies before the name is passed over.
            let rows = self.kv.scan(&key, &prefix_end(CATALOGUE), BATCH_ROWS).await.map_err(kv_error)?;
            self.is_last = rows.len() < BATCH_ROWS;
            self.upto = rows.last().map(|(last, _)| last.clone());
            self.page = rows.into_iter().collect();
        }
        self.page.get(&key).cloned().map(decode_item).transpose()
    }
}

/// The rows of a complete backup as a metadata store that cannot be written.
struct Rows {
    kv: Arc<dyn Kv>,
    prefix: Bytes,
}

#[async_trait]
impl Kv for Rows {
    async fn get(&self, key: &[u8]) -> std::result::Result<Option<Bytes>, KvError> {
        self.kv.get(&join(&self.prefix, key)).await
    }

    async fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> std::result::Result<Vec<(Bytes, Bytes)>, KvError> {
        let rows = self.kv.scan(&join(&self.prefix, from), &join(&self.prefix, to), limit).await;
        let own = |key: Bytes| key.slice(self.prefix.len().min(key.len())..);
        match rows {
            Ok(rows) => Ok(rows.into_iter().map(|(key, value)| (own(key), value)).collect()),
            Err(KvError::Damaged(key, what)) => Err(KvError::Damaged(own(key), what)),
            Err(error) => Err(error),
        }
    }

    async fn commit(&self, _: Batch) -> std::result::Result<(), KvError> {
        Err(KvError::Failed("a backup is not written to".into()))
    }
}

/// Proves a backup without restoring it: its metadata against the checksum, every blob against the catalogue, and
/// then all of it as fsck does. With `quick` no blob is read but packs.
///
/// # Errors
/// The stores fail, or no complete backup is there. Defects are no error: they are in `watch`.
pub async fn verify_backup(
    at: &Stores,
    tasks: Arc<dyn Tasks>,
    request: FsckRequest,
    watch: Arc<Watch>,
) -> Result<(BackupReport, FsckReport)> {
    let state = complete(&*at.kv).await?;
    let rows = Rows { kv: at.kv.clone(), prefix: rows_of(state.number) };
    watch.phase("metadata");
    let mut sum = Sum::default();
    each_row(&rows, async |page| {
        page.iter().for_each(|(key, value)| sum.add(key, value));
        Ok(())
    })
    .await?;
    state.judge(sum, &watch);
    if !request.quick {
        watch.phase("blobs against the catalogue");
        let known = damaged(&*at.kv).await?;
        let notes = parking_lot::Mutex::new(Vec::new());
        each_blob(&at.kv, async |key, size, sha256| {
            let found = hash_blob(&*at.blobs, &key).await;
            let found = found.and_then(|found| match found == (size, sha256) {
                true => Ok(()),
                false => Err(not_as_catalogued(&key)),
            });
            let note = join(DAMAGED, key.as_str().as_bytes());
            match found {
                Ok(()) if known.contains(&key) => notes.lock().push(Write::Delete(note)),
                Ok(()) => {}
                Err(error) => {
                    let error = Failed::Unreadable(error).of_this_blob()?;
                    notes.lock().push(Write::Put(note, Bytes::new()));
                    watch.defect(unreadable(&key, &error, COPY_AGAIN));
                }
            }
            Ok(())
        })
        .await?;
        let writes = notes.into_inner();
        if !writes.is_empty() {
            at.kv.commit(Batch { preconditions: vec![], writes }).await.map_err(kv_error)?;
        }
    }
    let checked = fsck(Arc::new(rows), at.blobs.clone(), tasks, request, watch).await?;
    Ok((state.report(), checked))
}

/// Copies a backup to empty stores, checking each byte on the way. The new stores are of a new line: their
/// backups need a directory of their own.
///
/// What is damaged is left out and named in `watch`; everything else is brought. With any defect it is for
/// whoever restores to say whether the rest is of use.
///
/// # Errors
/// The stores fail, or no complete backup is there: then the new stores are of no use.
pub async fn restore(from: &Stores, to: &Stores, watch: &Watch) -> Result<BackupReport> {
    let state = complete(&*from.kv).await?;
    let mut report = state.report();
    watch.phase("objects");
    watch.objects_total.store(state.blobs, Ordering::Relaxed);
    watch.bytes_total.store(state.bytes, Ordering::Relaxed);
    let unreadable_blobs = AtomicU64::new(0);
    each_blob(&from.kv, async |key, size, sha256| {
        match copy_blob(&*from.blobs, &*to.blobs, &key, Some((size, sha256))).await {
            Ok(_) => watch.add(1, size),
            Err(failed) => {
                watch.defect(unreadable(&key, &failed.of_this_blob()?, COPY_AGAIN));
                unreadable_blobs.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    })
    .await?;
    (report.copied, report.copied_bytes) =
        (watch.objects.load(Ordering::Relaxed), watch.bytes.load(Ordering::Relaxed));
    report.unreadable = unreadable_blobs.into_inner();
    watch.phase("metadata");
    let rows = Rows { kv: from.kv.clone(), prefix: rows_of(state.number) };
    let mut sum = Sum::default();
    each_row(&rows, async |page| {
        let mut writes = Vec::with_capacity(page.len());
        for (key, value) in page {
            sum.add(&key, &value);
            if key != keys::BACKUP_LINE {
                writes.push(Write::Put(key, value));
            }
        }
        to.kv.commit(Batch { preconditions: vec![], writes }).await.map_err(kv_error)
    })
    .await?;
    state.judge(sum, watch);
    watch.phase("done");
    Ok(report)
}

fn not_as_catalogued(key: &BlobKey) -> BlobError {
    BlobError::Damaged(key.as_str().to_owned(), "it is not what the catalogue of the backup says".into())
}

async fn hash_blob(blobs: &dyn Blobs, key: &BlobKey) -> std::result::Result<(u64, [u8; 32]), BlobError> {
    let reader = blobs.open(key).await?;
    let mut hasher = Sha256::new();
    let mut at = 0;
    while at < reader.size() {
        let next = (at + READ_BYTES).min(reader.size());
        hasher.update(reader.read(at..next).await?);
        at = next;
    }
    Ok((reader.size(), hasher.finalize().into()))
}

/// All rows in order, page by page.
async fn each_row(rows: &Rows, mut take: impl AsyncFnMut(Vec<(Bytes, Bytes)>) -> Result<()>) -> Result<()> {
    let mut from = Bytes::new();
    loop {
        let page = rows.scan(&from, &[0xff; 64], BATCH_ROWS).await.map_err(kv_error)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = millpond_kv::key_after(last);
        take(page).await?;
    }
}

/// All blobs of a catalogue, many at a time.
async fn each_blob(kv: &Arc<dyn Kv>, take: impl AsyncFn(BlobKey, u64, [u8; 32]) -> Result<()>) -> Result<()> {
    let mut from = Bytes::from_static(CATALOGUE);
    loop {
        let page = kv.scan(&from, &prefix_end(CATALOGUE), BATCH_ROWS).await.map_err(kv_error)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = millpond_kv::key_after(last);
        let take = &take;
        let work = page.into_iter().map(|(key, value)| async move {
            let name = blob_name(&key, CATALOGUE);
            let name =
                name.ok_or_else(|| Error::new(Kind::Damaged, "the catalogue holds a name that is none"))?;
            let (size, sha256) = decode_item(value)?;
            take(name, size, sha256).await
        });
        let mut work = futures::stream::iter(work).buffer_unordered(PARALLEL);
        while let Some(done) = work.next().await {
            done?;
        }
    }
}
