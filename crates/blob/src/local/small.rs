//! Blobs up to 64 KiB: appended to segments by one committer thread, which makes all that waits durable with one
//! fdatasync and only then lets anybody see it.

use super::Damage;
use super::disk::{Disk, create_directory, full, io_error, read_at, sync_directory};
use super::index::{self, Found, Index, Place, Position};
use super::segment::{self, Kind, Mark, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::{BlobError, BlobKey};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Puts and deletes waiting for the committer; callers beyond it wait their turn.
const QUEUE_OPS: usize = 2048;
/// Most operations of one group.
const GROUP_OPS_MAX: usize = 1024;
/// A group takes no further operation beyond this many bytes.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Open segments; more than these are opened again when needed.
const HANDLES_MAX: usize = 256;
/// Bytes between two snapshots of the index, at least; they also bound what a start after a crash replays.
const SNAPSHOT_BYTES_MIN: u64 = 64 << 20;
/// A snapshot is written at most after this many times its own bytes, so that it stays a small share of the work.
const SNAPSHOT_SHARE: u64 = 4;

/// Reports of damage kept; a disk with more is beyond counting.
const DAMAGE_MAX: usize = 1000;
/// Bytes from the start of a record to the end of its name, at most.
const LONGEST_NAME_END: usize = segment::RECORD_HEADER_BYTES + 255;
/// Bytes that a listing reads at once: many names if the blobs are tiny, little waste if they are not.
const NAMES_WINDOW_BYTES: usize = 16 << 10;

/// Counts since the store was opened.
#[derive(Default)]
pub struct SmallCounters {
    /// `fdatasync` calls on segments.
    pub syncs: AtomicU64,
    /// Records written, tombstones included.
    pub records: AtomicU64,
    /// Bytes of those records.
    pub bytes: AtomicU64,
    /// Snapshots of the index written.
    pub snapshots: AtomicU64,
}

/// The readers' side: index and segments.
pub struct SmallBlobs {
    directory: PathBuf,
    disk: Arc<Disk>,
    index: RwLock<Index>,
    handles: Mutex<HashMap<u32, Arc<File>>>,
    damage: Mutex<Vec<Damage>>,
    /// Counts.
    pub counters: SmallCounters,
    /// Grows with every visible change.
    pub generation: AtomicU64,
}

/// One change, for the committer.
pub enum Op {
    /// Publish a blob.
    Put {
        /// Its name.
        key: BlobKey,
        /// Its bytes, at most a block.
        data: Bytes,
        /// CRC-32 of the bytes.
        crc: u32,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), BlobError>>,
    },
    /// Delete a blob.
    Delete {
        /// Its name.
        key: BlobKey,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), BlobError>>,
    },
    /// Finish what came before, write a snapshot, stop.
    Close,
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Put { key, data, .. } => segment::RECORD_HEADER_BYTES + key.as_str().len() + data.len(),
            Op::Delete { key, .. } => segment::RECORD_HEADER_BYTES + key.as_str().len(),
            Op::Close => 0,
        }
    }
}

/// What a record turned out to be.
enum Record {
    Same(Bytes),
    OfOtherName,
}

impl SmallBlobs {
    /// Opens the segments in the directory, rebuilding the index from the snapshot and what was written after it.
    /// `segment_bytes_max` is when a new segment begins.
    pub fn open(
        directory: PathBuf,
        disk: Arc<Disk>,
        segment_bytes_max: u32,
    ) -> Result<(Arc<Self>, Committer), BlobError> {
        create_directory(&directory).map_err(|e| io_error("creating the directory of segments", &e))?;
        let small = Arc::new(Self {
            directory,
            disk,
            index: RwLock::new(Index::default()),
            handles: Mutex::new(HashMap::new()),
            damage: Mutex::new(Vec::new()),
            counters: SmallCounters::default(),
            generation: AtomicU64::new(0),
        });
        let (appender, replayed) = small.recover()?;
        let committer = Committer {
            small: small.clone(),
            appender,
            segment_bytes_max,
            since_snapshot: replayed,
            snapshot: None,
        };
        Ok((small, committer))
    }

    /// The blob's bytes, checked; `None` if there is no such blob here.
    pub fn read(&self, key: &BlobKey) -> Result<Option<Bytes>, BlobError> {
        let Some(found) = self.index.read().find(key) else { return Ok(None) };
        let (Found::Exact(place) | Found::Perhaps(place)) = found;
        match self.record(key, place)? {
            Record::Same(data) => Ok(Some(data)),
            Record::OfOtherName => Ok(None),
        }
    }

    /// Size of the blob in bytes; `None` if there is no such blob here.
    pub fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        let Some(found) = self.index.read().find(key) else { return Ok(None) };
        match found {
            Found::Exact(place) => Ok(Some(u64::from(place.len))),
            Found::Perhaps(place) => Ok((self.key_at(place)? == *key).then_some(u64::from(place.len))),
        }
    }

    /// Whether the index knows the name, or another with the same fingerprint.
    pub fn perhaps_has(&self, key: &BlobKey) -> bool {
        self.index.read().find(key).is_some()
    }

    /// Names kept whole in memory, with sizes; see [`Index::named`].
    pub fn list_named(&self, prefix: &str, after: &str, limit: usize) -> Vec<(BlobKey, u64)> {
        let index = self.index.read();
        index
            .named(prefix, after)
            .take(limit)
            .map(|(key, place)| (key.clone(), u64::from(place.len)))
            .collect()
    }

    /// Reads the names of all other blobs from their records, in the order of the disk, with sizes.
    /// A record whose name cannot be read is reported as damage.
    pub fn for_each_bulk(&self, mut see: impl FnMut(BlobKey, u64)) -> Result<(), BlobError> {
        let places = self.index.read().bulk_places();
        let (mut segment, mut start, mut window, mut missing) = (0, 0, Vec::new(), None);
        for place in places {
            let inside = place.segment == segment
                && (place.offset - start) as usize + LONGEST_NAME_END <= Vec::len(&window);
            if !inside {
                if missing == Some(place.segment) {
                    continue;
                }
                (segment, start) = (place.segment, place.offset);
                window = match self.read_segment(segment, start, NAMES_WINDOW_BYTES) {
                    Err(BlobError::Damaged(_, why)) => {
                        self.report(segment, 0, &why);
                        missing = Some(segment);
                        continue;
                    }
                    read => read?,
                };
            }
            match segment::parse_header(window.get((place.offset - start) as usize..).unwrap_or_default()) {
                Ok(header) => see(header.key, u64::from(place.len)),
                Err(why) => self.report(place.segment, place.offset, why),
            }
        }
        Ok(())
    }

    /// Damage found since the store was opened.
    pub fn damage(&self) -> Vec<Damage> {
        self.damage.lock().clone()
    }

    /// Blobs in the index.
    pub fn len(&self) -> usize {
        self.index.read().len()
    }

    fn report(&self, segment: u32, offset: u32, why: &str) {
        let damage = Damage { file: self.path(segment), offset: u64::from(offset), what: why.to_owned() };
        let mut all = self.damage.lock();
        if all.len() < DAMAGE_MAX && !all.contains(&damage) {
            tracing::error!(file = %damage.file.display(), offset, why, "a segment is damaged");
            all.push(damage);
        }
    }

    fn record(&self, key: &BlobKey, place: Place) -> Result<Record, BlobError> {
        let damaged = |why: &str| BlobError::Damaged(key.as_str().to_owned(), format!("{why}, {place:?}"));
        let want = segment::RECORD_HEADER_BYTES + key.as_str().len() + place.len as usize;
        let bytes = self.read_segment(place.segment, place.offset, want)?;
        let header = match segment::parse_header(&bytes) {
            Ok(header) if header.key == *key => header,
            // Another name, or a bad header: the longest possible header tells which.
            _ => {
                return match self.key_at(place) {
                    Ok(other) if other != *key => Ok(Record::OfOtherName),
                    Ok(_) => Err(damaged("a record changed while it was read")),
                    Err(BlobError::Damaged(_, why)) => Err(damaged(&why)),
                    Err(e) => Err(e),
                };
            }
        };
        let data =
            bytes.get(header.data_at()..header.record_len()).ok_or_else(|| damaged("the data is cut off"))?;
        if header.data_len != place.len || crc32fast::hash(data) != header.data_crc {
            return Err(damaged("CRC of the data"));
        }
        let range = header.data_at()..header.record_len();
        Ok(Record::Same(Bytes::from(bytes).slice(range)))
    }

    /// Whose record is at the place.
    fn key_at(&self, place: Place) -> Result<BlobKey, BlobError> {
        let bytes = self.read_segment(place.segment, place.offset, LONGEST_NAME_END)?;
        segment::parse_header(&bytes)
            .map(|header| header.key)
            .map_err(|why| BlobError::Damaged(format!("at {place:?}"), why.to_owned()))
    }

    /// For the index: an unreadable record counts as another's, so that it is never silently replaced.
    fn is_at(&self, key: &BlobKey, place: Place) -> bool {
        self.key_at(place).is_ok_and(|found| found == *key)
    }

    fn read_segment(&self, number: u32, offset: u32, len: usize) -> Result<Vec<u8>, BlobError> {
        let file = self.handle(number)?;
        read_at(&file, u64::from(offset), len).map_err(|e| io_error("reading a segment", &e))
    }

    fn handle(&self, number: u32) -> Result<Arc<File>, BlobError> {
        if let Some(file) = self.handles.lock().get(&number) {
            return Ok(file.clone());
        }
        let file = match File::open(self.path(number)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(BlobError::Damaged(
                    format!("in segment {number}"),
                    "the segment is missing".into(),
                ));
            }
            opened => Arc::new(opened.map_err(|e| io_error("opening a segment", &e))?),
        };
        let mut handles = self.handles.lock();
        if handles.len() >= HANDLES_MAX {
            handles.clear();
        }
        handles.insert(number, file.clone());
        Ok(file)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.directory.join(format!("{number:08}.seg"))
    }

    fn snapshot_path(&self) -> PathBuf {
        self.directory.join("index.snapshot")
    }

    /// Rebuilds the index. The end of the last segment, where writing goes on, and how many bytes no snapshot covers.
    fn recover(&self) -> Result<(Appender<File>, u64), BlobError> {
        let lens = segment_lens(&self.directory).map_err(|e| io_error("listing segments", &e))?;
        let Some(&(last, _)) = lens.last() else { return Ok((self.create_segment(1)?, 0)) };
        let mut index = Index::default();
        let mut position = Position { segment: 0, offset: 0 };
        if let Some((read, at)) =
            std::fs::read(self.snapshot_path()).ok().and_then(|b| index::decode_snapshot(&b))
        {
            let len = lens.iter().find(|(number, _)| *number == at.segment).map(|(_, len)| *len);
            match len {
                Some(len) if len >= at.offset => (index, position) = (read, at),
                // What the snapshot knew to be durable is gone; rebuild from what is left.
                _ => self.report(at.segment, at.offset, "the segment is shorter than it was"),
            }
        }
        let mut expected = 1;
        for &(number, _) in &lens {
            for missing in expected..number {
                self.report(missing, 0, "the segment is missing");
            }
            expected = number + 1;
        }
        let (mut appender, mut replayed) = (None, 0);
        for &(number, len) in lens.iter().filter(|(number, _)| *number >= position.segment) {
            let durable = if number == position.segment { position.offset } else { 0 };
            appender = self.replay(&mut index, number, len, durable, number == last)?;
            replayed += u64::from(len.saturating_sub(durable.max(SEGMENT_HEADER_BYTES as u32)));
        }
        *self.index.write() = index;
        match appender {
            Some(appender) => Ok((appender, replayed)),
            None => Ok((self.create_segment(last + 1)?, replayed)),
        }
    }

    /// Takes one segment's records from `durable` on into the index. For the last segment that can be written on, its
    /// end, durable from here on: a killed process may have left records that only the page cache holds.
    fn replay(
        &self,
        index: &mut Index,
        number: u32,
        len: u32,
        durable: u32,
        is_last: bool,
    ) -> Result<Option<Appender<File>>, BlobError> {
        let failed = |e: io::Error| io_error(&format!("recovering segment {number}"), &e);
        let file = File::options().read(true).write(is_last).open(self.path(number)).map_err(failed)?;
        let header = read_at(&file, 0, SEGMENT_HEADER_BYTES).map_err(failed)?;
        let mark = match segment::parse_segment_header(&header, number) {
            SegmentHeader::Known(mark) => Some(mark),
            SegmentHeader::Newer(version) => {
                return Err(BlobError::Failed(format!(
                    "{} has version {version}; a newer server wrote it",
                    self.path(number).display()
                )));
            }
            // A crash while the segment was created: nothing was ever acknowledged in it.
            SegmentHeader::Bad if is_last && durable == 0 && len <= SEGMENT_HEADER_BYTES as u32 => {
                drop(file);
                return self.create_segment(number).map(Some);
            }
            SegmentHeader::Bad => {
                self.report(number, 0, "the header of the segment");
                None
            }
        };
        let known = if is_last { durable } else { len };
        let from = durable.max(SEGMENT_HEADER_BYTES as u32);
        let end = segment::scan(&file, mark, from.min(len), len, known, |seen| match seen {
            segment::Seen::Record { offset, header, sound } => {
                if !sound {
                    self.report(number, offset, "CRC of the data");
                }
                let place = Place { segment: number, offset, len: header.data_len };
                match header.kind {
                    Kind::Data => index.insert(&header.key, place, |key, at| self.is_at(key, at)),
                    Kind::Tombstone => index.remove(&header.key, |key, at| self.is_at(key, at)),
                }
            }
            segment::Seen::Damage { offset, end } => {
                self.report(number, offset, &format!("{} bytes are no record", end - offset));
            }
        })
        .map_err(failed)?;
        if !is_last {
            return Ok(None);
        }
        let Some(mark) = mark else {
            // A segment without a sound header is left as it is; writing goes on in the next.
            return Ok(None);
        };
        if end < len {
            tracing::info!(
                segment = number,
                from = end,
                bytes = len - end,
                "cut off what a crash left half written"
            );
            file.set_len(u64::from(end)).map_err(failed)?;
        }
        file.sync_all().map_err(|e| self.disk.fuse.blow("fsync of a segment", &e))?;
        Ok(Some(Appender { file, number, mark, end }))
    }

    /// A new, durable, empty segment.
    fn create_segment(&self, number: u32) -> Result<Appender<File>, BlobError> {
        let failed = |e: io::Error| io_error("creating a segment", &e);
        let mark = draw_mark();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path(number))
            .map_err(failed)?;
        FileExt::write_all_at(&file, &segment::segment_header(number, mark), 0).map_err(failed)?;
        file.sync_all().map_err(|e| self.disk.fuse.blow("fsync of a segment", &e))?;
        sync_directory(&self.directory).map_err(|e| self.disk.fuse.blow("fsync of a directory", &e))?;
        Ok(Appender { file, number, mark, end: SEGMENT_HEADER_BYTES as u32 })
    }
}

/// Numbers and lengths of the segments, ascending.
fn segment_lens(directory: &Path) -> io::Result<Vec<(u32, u32)>> {
    let mut lens = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|n| n.parse().ok());
        if let Some(number) = number {
            // No segment that this program writes comes near 4 GiB; of a longer one the rest is ignored.
            lens.push((number, u32::try_from(entry.metadata()?.len()).unwrap_or(u32::MAX)));
        }
    }
    lens.sort_unstable();
    Ok(lens)
}

/// Eight bytes that no client can know: the standard library seeds its hash maps from the system's randomness.
fn draw_mark() -> Mark {
    std::hash::RandomState::new().build_hasher().finish().to_le_bytes()
}

/// What the committer needs of a segment's file; a trait because disks that fail are hard to come by in a test.
pub trait SegmentFile {
    /// Writes all of it at the offset.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

impl SegmentFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }
}

/// The end of the last segment.
struct Appender<F> {
    file: F,
    number: u32,
    mark: Mark,
    /// Durable bytes: the next record begins here.
    end: u32,
}

impl<F: SegmentFile> Appender<F> {
    /// Writes the records of one group and makes them durable. On an error nothing of it counts.
    fn append(&mut self, records: &[u8], disk: &Disk) -> Result<(), BlobError> {
        disk.fuse.check()?;
        if let Err(e) = self.file.write_all_at(records, u64::from(self.end)) {
            return Err(match full(&e) && self.file.set_len(u64::from(self.end)).is_ok() {
                true => io_error("writing a segment", &e),
                false => disk.fuse.blow("writing a segment", &e),
            });
        }
        self.file.sync_data().map_err(|e| disk.fuse.blow("fdatasync of a segment", &e))?;
        self.end += records.len() as u32;
        Ok(())
    }
}

/// The writers' side; one thread runs it.
pub struct Committer {
    small: Arc<SmallBlobs>,
    appender: Appender<File>,
    segment_bytes_max: u32,
    since_snapshot: u64,
    snapshot: Option<std::thread::JoinHandle<()>>,
}

impl Committer {
    /// A queue for [`Committer::run`].
    pub fn queue() -> (mpsc::Sender<Op>, mpsc::Receiver<Op>) {
        mpsc::channel(QUEUE_OPS)
    }

    /// Works until [`Op::Close`], group by group.
    pub fn run(mut self, mut ops: mpsc::Receiver<Op>) {
        let mut open = true;
        while open {
            let Some(first) = ops.blocking_recv() else { break };
            let mut bytes = first.bytes();
            let mut group = vec![first];
            while group.len() < GROUP_OPS_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(next) = ops.try_recv() else { break };
                bytes += next.bytes();
                group.push(next);
            }
            if let Some(close) = group.iter().position(|op| matches!(op, Op::Close)) {
                group.truncate(close); // what came later is answered by its dropped sender
                open = false;
            }
            self.commit(group);
            let enough = SNAPSHOT_BYTES_MIN.max(SNAPSHOT_SHARE * 20 * self.small.len() as u64);
            if open && self.since_snapshot >= enough {
                self.write_snapshot();
            }
        }
        if self.since_snapshot > 0 {
            self.write_snapshot();
        }
        self.join_snapshot();
    }

    fn commit(&mut self, group: Vec<Op>) {
        match self.write(&group) {
            Ok(places) => {
                self.show(&group, &places);
                for op in group {
                    answer(op, Ok(()));
                }
            }
            Err(e) => {
                let busy = matches!(e, BlobError::Busy(_));
                let text = e.to_string();
                for op in group {
                    let e =
                        if busy { BlobError::Busy(text.clone()) } else { BlobError::Failed(text.clone()) };
                    answer(op, Err(e));
                }
            }
        }
    }

    /// Makes the group durable. The place of each put; `None` for what needed no record.
    fn write(&mut self, group: &[Op]) -> Result<Vec<Option<Place>>, BlobError> {
        self.small.disk.fuse.check()?;
        let bytes: usize = group.iter().map(Op::bytes).sum();
        if self.appender.end as usize + bytes > self.segment_bytes_max as usize
            && self.appender.end as usize > SEGMENT_HEADER_BYTES
        {
            self.appender = self.small.create_segment(self.appender.number + 1)?;
        }
        let (mark, number, start) = (self.appender.mark, self.appender.number, self.appender.end);
        let mut out = Vec::with_capacity(bytes);
        let mut places = Vec::with_capacity(group.len());
        let mut put_here: HashSet<&BlobKey> = HashSet::new();
        let mut records = 0;
        for op in group {
            let offset = start + out.len() as u32;
            places.push(match op {
                Op::Put { key, data, crc, .. } => {
                    segment::encode_record(&mut out, mark, Kind::Data, key, data, *crc, start);
                    put_here.insert(key);
                    records += 1;
                    Some(Place { segment: number, offset, len: data.len() as u32 })
                }
                Op::Delete { key, .. } if put_here.contains(key) || self.small.perhaps_has(key) => {
                    segment::encode_record(&mut out, mark, Kind::Tombstone, key, &[], 0, start);
                    records += 1;
                    None
                }
                Op::Delete { .. } | Op::Close => None,
            });
        }
        if !out.is_empty() {
            self.appender.append(&out, &self.small.disk)?;
            let counters = &self.small.counters;
            counters.syncs.fetch_add(1, Ordering::Relaxed);
            counters.records.fetch_add(records, Ordering::Relaxed);
            counters.bytes.fetch_add(out.len() as u64, Ordering::Relaxed);
            self.since_snapshot += out.len() as u64;
        }
        Ok(places)
    }

    /// Lets readers see a group that is durable.
    fn show(&self, group: &[Op], places: &[Option<Place>]) {
        let mut index = self.small.index.write();
        for (op, place) in group.iter().zip(places) {
            match (op, place) {
                (Op::Put { key, .. }, Some(place)) => {
                    index.insert(key, *place, |key, at| self.small.is_at(key, at))
                }
                (Op::Delete { key, .. }, _) => index.remove(key, |key, at| self.small.is_at(key, at)),
                _ => {}
            }
        }
        self.small.generation.fetch_add(1, Ordering::Release);
    }

    /// Writes the index as it is now, on a thread of its own: only copying it keeps the writers waiting.
    fn write_snapshot(&mut self) {
        self.join_snapshot();
        self.since_snapshot = 0;
        let position = Position { segment: self.appender.number, offset: self.appender.end };
        let bytes = index::encode_snapshot(&self.small.index.read(), position);
        let small = self.small.clone();
        let write = move || {
            let write = || {
                let temp = small.disk.temp()?;
                FileExt::write_all_at(&temp.file, &bytes, 0)
                    .map_err(|e| io_error("writing a snapshot", &e))?;
                small.disk.publish(temp, &small.snapshot_path(), None)
            };
            match write() {
                Ok(()) => drop(small.counters.snapshots.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    tracing::warn!(%error, "no snapshot of the blob index; the next start takes longer")
                }
            }
        };
        match std::thread::Builder::new().name("blob-snapshot".into()).spawn(write) {
            Ok(thread) => self.snapshot = Some(thread),
            Err(error) => tracing::warn!(%error, "no thread for a snapshot of the blob index"),
        }
    }

    fn join_snapshot(&mut self) {
        if let Some(thread) = self.snapshot.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of a blob index snapshot panicked");
        }
    }
}

fn answer(op: Op, result: Result<(), BlobError>) {
    if let Op::Put { reply, .. } | Op::Delete { reply, .. } = op {
        // The caller may have gone away; the change counts all the same.
        let _ = reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// A file on a disk that is told when to fail.
    #[derive(Default)]
    struct Sick {
        bytes: RefCell<Vec<u8>>,
        syncs: Cell<u32>,
        write_error: Cell<Option<io::ErrorKind>>,
        sync_fails: Cell<bool>,
    }

    impl SegmentFile for Sick {
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let mut file = self.bytes.borrow_mut();
            file.resize(offset as usize, 0);
            if let Some(kind) = self.write_error.get() {
                // Half of it got through.
                file.extend_from_slice(&bytes[..bytes.len() / 2]);
                return Err(kind.into());
            }
            file.extend_from_slice(bytes);
            Ok(())
        }
        fn sync_data(&self) -> io::Result<()> {
            self.syncs.set(self.syncs.get() + 1);
            if self.sync_fails.get() { Err(io::Error::other("injected")) } else { Ok(()) }
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.bytes.borrow_mut().truncate(len as usize);
            Ok(())
        }
    }

    fn setup() -> (tempfile::TempDir, Disk, Appender<Sick>) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::new(directory.path().to_path_buf()).expect("disk");
        (directory, disk, Appender { file: Sick::default(), number: 1, mark: [0; 8], end: 0 })
    }

    #[test]
    fn a_full_disk_is_busy_leaves_nothing_behind_and_recovers() {
        let (_directory, disk, mut appender) = setup();
        appender.append(b"first", &disk).expect("append");
        appender.file.write_error.set(Some(io::ErrorKind::StorageFull));
        assert!(matches!(appender.append(b"second", &disk), Err(BlobError::Busy(_))));
        assert_eq!(*appender.file.bytes.borrow(), b"first");
        appender.file.write_error.set(None);
        appender.append(b"third", &disk).expect("there is room again");
        assert_eq!(*appender.file.bytes.borrow(), b"firstthird");
    }

    #[test]
    fn a_failed_fdatasync_is_the_last_write() {
        let (_directory, disk, mut appender) = setup();
        appender.file.sync_fails.set(true);
        assert!(matches!(appender.append(b"lost", &disk), Err(BlobError::Failed(_))));
        appender.file.sync_fails.set(false);
        assert!(matches!(appender.append(b"more", &disk), Err(BlobError::Failed(_))));
        assert_eq!(appender.file.syncs.get(), 1, "a second fsync would lie");
        assert_eq!(appender.end, 0);
    }

    #[test]
    fn a_write_error_that_is_not_a_full_disk_is_the_last_write_too() {
        let (_directory, disk, mut appender) = setup();
        appender.file.write_error.set(Some(io::ErrorKind::Other));
        assert!(matches!(appender.append(b"lost", &disk), Err(BlobError::Failed(_))));
        appender.file.write_error.set(None);
        assert!(matches!(appender.append(b"more", &disk), Err(BlobError::Failed(_))));
    }

    #[test]
    fn a_group_of_many_takes_one_fdatasync() {
        let (_directory, disk, _) = setup();
        let segments = tempfile::tempdir().expect("temporary directory");
        let (small, mut committer) =
            SmallBlobs::open(segments.path().to_path_buf(), Arc::new(disk), 1 << 20).expect("open");
        let (replies, ops): (Vec<_>, Vec<_>) = (0..100)
            .map(|n| {
                let (reply, answer) = oneshot::channel();
                let data = Bytes::from(vec![n; 10]);
                let crc = crc32fast::hash(&data);
                (answer, Op::Put { key: BlobKey::new(&format!("k{n}")), data, crc, reply })
            })
            .unzip();
        committer.commit(ops);
        for mut reply in replies {
            assert!(matches!(reply.try_recv(), Ok(Ok(()))));
        }
        assert_eq!(small.counters.syncs.load(Ordering::Relaxed), 1);
        assert_eq!(small.counters.records.load(Ordering::Relaxed), 100);
    }
}
