//! The append-only log of a [`super::LocalKv`]: one record for each group of batches, durable with one sync.
//!
//! Written into blocks that were filled with zeros and synced before, because syncing a file that grows costs
//! twice as much as syncing one that does not, and so that a full disk is met before a record is written, not
//! in the middle of it. Format: `docs/formats/metadata-log.md`, version 1.

use super::tables::damaged_file;
use crate::{KvError, Write};
use bytes::Bytes;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: &[u8; 4] = b"MPKL";
const VERSION: u8 = 1;
/// Magic, version, file number.
const HEADER: usize = 13;
/// Length of the payload, sequence of the record, checksum of all else.
const RECORD_HEADER: usize = 4 + 8 + 8;
/// The file grows by this much at least, in bytes.
const GROWTH: u64 = 1 << 20;

/// The calls that a log makes on its file; tests bring a sick one.
pub(super) trait LogFile: Send {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
}

impl LogFile for std::fs::File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        std::fs::File::set_len(self, len)
    }
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl LogFile for Nowhere {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Why a record was not written.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There is no room; nothing was written.
    Full(io::Error),
    /// It is unknown what is on the disk.
    Failed(io::Error),
}

impl From<AppendError> for KvError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(e) => Self::Busy(format!("the log cannot be written: {e}; free some space")),
            AppendError::Failed(e) => Self::Failed(e.to_string()),
        }
    }
}

/// A log that is open for appending.
pub(super) struct Log {
    file: Box<dyn LogFile>,
    number: u64,
    /// Where the next record goes.
    end: u64,
    /// Zeros, or records, are on disk up to here.
    prepared: u64,
    /// Of the next record; the first is 0.
    sequence: u64,
    /// Remains of a record that met a full disk may lie behind `end`.
    is_dirty: bool,
    record: Vec<u8>,
}

/// `<stem>.<number>.log` beside the table file.
pub(super) fn path(tables: &Path, number: u64) -> PathBuf {
    tables.with_extension(format!("{number:010}.log"))
}

/// The number in a log's file name, if it is one of this store.
pub(super) fn number_of(tables: &Path, name: &Path) -> Option<u64> {
    let number = name.file_stem().and_then(|stem| Path::new(stem).extension())?.to_str()?.parse().ok()?;
    (name.file_name() == path(tables, number).file_name()).then_some(number)
}

impl Log {
    /// A new log file: whole under its name, or not there.
    ///
    /// # Errors
    /// `Full` when nothing has happened, for whatever reason; `Failed` when the name may be there.
    pub(super) fn create(tables: &Path, number: u64) -> Result<Self, AppendError> {
        let (target, temporary) = (path(tables, number), tables.with_extension("log.tmp"));
        let file = Self::write_new(&temporary, number).map_err(AppendError::Full)?;
        rename(&temporary, &target).map_err(AppendError::Failed)?;
        Ok(Self { file: Box::new(file), prepared: GROWTH, ..Self::nowhere(number) })
    }

    fn write_new(temporary: &Path, number: u64) -> io::Result<std::fs::File> {
        let file = open(temporary, true)?;
        let mut header = MAGIC.to_vec();
        header.push(VERSION);
        header.extend(number.to_le_bytes());
        zero(&file, 0, GROWTH)?;
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        Ok(file)
    }

    /// A log that keeps nothing.
    pub(super) fn nowhere(number: u64) -> Self {
        let (file, end) = (Box::new(Nowhere), HEADER as u64);
        Self { file, number, end, prepared: end, sequence: 0, is_dirty: false, record: Vec::new() }
    }

    /// Reads a log, gives the writes of each record to `apply` in order, and opens it for appending. What a
    /// crash tore off at the end is removed; a record that others follow must be whole. An `untouched` file stays
    /// as it is, and what is appended goes nowhere.
    ///
    /// # Errors
    /// `Damaged` and `Failed`, naming the file.
    pub(super) fn recover(
        tables: &Path,
        number: u64,
        newest: bool,
        untouched: bool,
        mut apply: impl FnMut(Vec<Write>),
    ) -> Result<Self, KvError> {
        let path = path(tables, number);
        let wrong = |what: &str| damaged_file(&format!("log file {}: {what}", path.display()));
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => wrong("it is missing"),
            _ => KvError::Failed(format!("log file {}: {e}", path.display())),
        };
        let bytes = read(&path).map_err(failed)?;
        if bytes.len() < HEADER || &bytes[..4] != MAGIC || bytes[5..HEADER] != number.to_le_bytes() {
            return Err(wrong("its header is damaged"));
        }
        if bytes[4] != VERSION {
            let text = format!("log file {} was written by a newer Millpond; use that", path.display());
            return Err(KvError::Failed(text));
        }
        let (mut end, mut sequence) = (HEADER, 0);
        while let Some(payload) = record_at(&bytes, end, number, sequence) {
            apply(decode(payload).ok_or_else(|| wrong("a record cannot be read"))?);
            end += RECORD_HEADER + payload.len();
            sequence += 1;
        }
        let torn = bytes[end..].iter().any(|b| *b != 0);
        let follows = |at: usize| {
            let later = sequence_at(&bytes, at).is_some_and(|s| s > sequence && s - sequence < 1 << 32);
            later && record_at(&bytes, at, number, sequence_at(&bytes, at).unwrap_or(0)).is_some()
        };
        if torn && (!newest || (end..bytes.len()).any(follows)) {
            return Err(wrong(&format!("record {sequence} at byte {end} is damaged")));
        }
        let prepared = bytes.len() as u64;
        if untouched {
            return Ok(Self { end: end as u64, prepared, sequence, ..Self::nowhere(number) });
        }
        let file = open(&path, false).map_err(failed)?;
        if torn {
            tracing::warn!(file = %path.display(), record = sequence, "an unfinished record is removed");
            file.write_all_at(&vec![0; bytes.len() - end], end as u64).map_err(failed)?;
            file.sync_data().map_err(failed)?;
        }
        Ok(Self { file: Box::new(file), end: end as u64, prepared, sequence, ..Self::nowhere(number) })
    }

    /// Bytes of records in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.end - HEADER as u64
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Appends one record with these writes. When it returns `Ok` they survive a power cut.
    pub(super) fn append<'a>(&mut self, writes: impl Iterator<Item = &'a Write>) -> Result<(), AppendError> {
        self.record.clear();
        self.record.resize(RECORD_HEADER, 0);
        for write in writes {
            encode(&mut self.record, write);
        }
        let len = (self.record.len() - RECORD_HEADER) as u32;
        self.record[..4].copy_from_slice(&len.to_le_bytes());
        self.record[4..12].copy_from_slice(&self.sequence.to_le_bytes());
        let sum = checksum(self.number, &self.record[..12], &self.record[RECORD_HEADER..]);
        self.record[12..RECORD_HEADER].copy_from_slice(&sum.to_le_bytes());
        self.clean()?;
        self.prepare()?;
        match self.file.write_at(&self.record, self.end) {
            Ok(()) => {}
            // Where blocks are never written in place, prepared room is no promise.
            Err(e) if is_full(&e) => {
                self.is_dirty = true;
                return Err(AppendError::Full(e));
            }
            Err(e) => return Err(AppendError::Failed(e)),
        }
        self.file.sync().map_err(AppendError::Failed)?;
        self.end += self.record.len() as u64;
        self.sequence += 1;
        Ok(())
    }

    /// Removes what a record that met a full disk has left: before a shorter one, or before the next log, it
    /// would look like damage.
    pub(super) fn clean(&mut self) -> Result<(), AppendError> {
        if !self.is_dirty {
            return Ok(());
        }
        match zero(&*self.file, self.end, self.prepared).and_then(|()| self.file.sync()) {
            Ok(()) => {
                self.is_dirty = false;
                Ok(())
            }
            Err(e) if is_full(&e) => Err(AppendError::Full(e)),
            Err(e) => Err(AppendError::Failed(e)),
        }
    }

    /// Fills the place of the next record with zeros, so that no block needs to be found when it is written.
    fn prepare(&mut self) -> Result<(), AppendError> {
        let needed = self.end + self.record.len() as u64;
        if needed <= self.prepared {
            return Ok(());
        }
        let to = needed.next_multiple_of(GROWTH);
        match zero(&*self.file, self.prepared, to) {
            Ok(()) => {}
            Err(e) if is_full(&e) => {
                self.file.set_len(self.prepared).map_err(AppendError::Failed)?;
                return Err(AppendError::Full(e));
            }
            Err(e) => return Err(AppendError::Failed(e)),
        }
        self.file.sync().map_err(AppendError::Failed)?;
        self.prepared = to;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn replace_file(&mut self, make: impl FnOnce(Box<dyn LogFile>) -> Box<dyn LogFile>) {
        let file = std::mem::replace(&mut self.file, Box::new(Nowhere));
        self.file = make(file);
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Fills a part of a file with zeros, page by page: Linux accounts a small write into pages that came as one
/// large write as if all of them were written again.
fn zero(file: &dyn LogFile, from: u64, to: u64) -> io::Result<()> {
    const PAGE: u64 = 4096;
    let mut at = from;
    while at < to {
        let end = (at + 1).next_multiple_of(PAGE).min(to);
        file.write_at(&[0; PAGE as usize][..(end - at) as usize], at)?;
        at = end;
    }
    Ok(())
}

fn checksum(number: u64, header: &[u8], payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, xxh3_64_with_seed(header, number))
}

fn sequence_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at + 4..at + 12)?.try_into().ok()?))
}

/// The payload of the whole record at this place, if it is there.
fn record_at(bytes: &[u8], at: usize, number: u64, sequence: u64) -> Option<&[u8]> {
    let header = bytes.get(at..at + RECORD_HEADER)?;
    let len = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let payload = bytes.get(at + RECORD_HEADER..)?.get(..len)?;
    let sum = u64::from_le_bytes(header[12..].try_into().ok()?);
    let whole = len > 0
        && sequence_at(bytes, at) == Some(sequence)
        && sum == checksum(number, &header[..12], payload);
    whole.then_some(payload)
}

fn encode(record: &mut Vec<u8>, write: &Write) {
    let (kind, first, second) = match write {
        Write::Put(key, value) => (1, key, Some(value)),
        Write::Delete(key) => (2, key, None),
        Write::DeleteRange(from, to) => (3, from, Some(to)),
    };
    record.push(kind);
    for bytes in std::iter::once(first).chain(second) {
        record.extend((bytes.len() as u32).to_le_bytes());
        record.extend_from_slice(bytes);
    }
}

/// The inverse of [`encode`], for all writes of a record.
fn decode(mut payload: &[u8]) -> Option<Vec<Write>> {
    fn take(payload: &mut &[u8]) -> Option<Bytes> {
        let (len, rest) = payload.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        *payload = rest;
        Some(Bytes::copy_from_slice(bytes))
    }
    let mut writes = Vec::new();
    while let Some((kind, rest)) = payload.split_first() {
        payload = rest;
        let first = take(&mut payload)?;
        writes.push(match kind {
            1 => Write::Put(first, take(&mut payload)?),
            2 => Write::Delete(first),
            3 => Write::DeleteRange(first, take(&mut payload)?),
            _ => return None,
        });
    }
    Some(writes)
}

#[allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]
fn open(path: &Path, create: bool) -> io::Result<std::fs::File> {
    std::fs::File::options().read(true).write(true).create(create).truncate(create).open(path)
}

#[allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    super::sync_directory(to.parent().unwrap_or(Path::new(".")))
}

#[allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}
