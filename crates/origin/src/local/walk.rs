//! Walks a directory tree with several threads and still gives its files in one order: that of their names as
//! object keys.
//!
//! Within a folder, names are sorted with `/` behind those of folders; then going into each folder as it comes
//! up gives all keys in ascending order, and nothing needs to be sorted beyond one folder. The order is fixed
//! before anybody looks: each folder, and each thousand names of a large one, is a *task* that any thread may
//! do, and the reader takes the results in order. Tasks wait on a stack with the next one needed on top, threads
//! stop when enough has been prepared, and a reader that needs what nobody has begun does it itself, so waiting
//! ends always.
//!
//! Each folder is opened from the one above it and links are not followed, so no rename while we walk leads
//! elsewhere. Memory is the names of the folders that are being read, 24 bytes and the name for each file.

use super::{FOLDER, Hidden, c_name, cannot, identity, is_file, seen};
use crate::{Block, Listing, Location, OriginError};
use parking_lot::{Condvar, Mutex};
use rustix::fs::{AtFlags, FileType, Mode, RawDir};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Files of one task; a folder with more is split.
const TASK_FILES_MAX: usize = 1024;
/// Files that are prepared ahead of the reader.
const READY_FILES_MAX: usize = 128 * TASK_FILES_MAX;
/// Bytes of names that the kernel is asked for at a time.
const NAMES_BUFFER_BYTES: usize = 256 * 1024;

/// Where a walk begins.
pub struct Start {
    /// Its name, for messages.
    pub folder: Location,
    /// Itself.
    pub fd: OwnedFd,
    /// Only names greater than this, relative to the folder.
    pub after: Vec<u8>,
    /// What is passed over.
    pub hidden: Hidden,
}

/// A walk under way.
pub struct Walk {
    shared: Arc<Shared>,
    /// What is left of the folders that the reader is in, outermost first.
    inside: Vec<VecDeque<Item>>,
    threads: Vec<JoinHandle<()>>,
    failed: Option<OriginError>,
}

struct Shared {
    location: Location,
    hidden: Hidden,
    queue: Mutex<Queue>,
    /// Something was put on the stack, was taken by the reader, or all is over.
    work: Condvar,
    /// A task is done.
    done: Condvar,
    closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    /// Tasks that nobody has begun; the one that the reader needs first is on top.
    stack: Vec<Arc<Task>>,
    /// Files that are prepared and not taken.
    ready: usize,
}

struct Task {
    work: Mutex<Option<Work>>,
    result: Mutex<Option<Result<Outcome, OriginError>>>,
}

enum Work {
    Folder { parent: Option<Arc<OwnedFd>>, fd: Option<OwnedFd>, name: Vec<u8>, path: Vec<u8>, after: Vec<u8> },
    Files { fd: Arc<OwnedFd>, names: Arc<Names>, from: usize, to: usize, folder: Arc<[u8]> },
}

#[derive(Default)]
struct Outcome {
    items: VecDeque<Item>,
    files: usize,
}

enum Item {
    Block(Block),
    Later(Arc<Task>),
}

impl Task {
    fn new(work: Work) -> Arc<Self> {
        Arc::new(Self { work: Mutex::new(Some(work)), result: Mutex::new(None) })
    }
}

impl Walk {
    /// Begins. `threads` look ahead.
    pub fn start(start: Start, threads: usize) -> Self {
        let work = Work::Folder {
            parent: None,
            fd: Some(start.fd),
            name: Vec::new(),
            path: Vec::new(),
            after: start.after,
        };
        let first = Task::new(work);
        let shared = Arc::new(Shared {
            location: start.folder,
            hidden: start.hidden,
            queue: Mutex::new(Queue { stack: vec![first.clone()], ready: 0 }),
            work: Condvar::new(),
            done: Condvar::new(),
            closed: AtomicBool::new(false),
        });
        // A thread that cannot be had is not missed: the reader does what nobody else does.
        let threads = (0..threads)
            .filter_map(|_| {
                let shared = shared.clone();
                std::thread::Builder::new().name("walk".into()).spawn(move || shared.help()).ok()
            })
            .collect();
        Self { shared, inside: vec![VecDeque::from([Item::Later(first)])], threads, failed: None }
    }

    fn step(&mut self) -> Result<Option<Block>, OriginError> {
        while let Some(items) = self.inside.last_mut() {
            match items.pop_front() {
                None => {
                    self.inside.pop();
                }
                Some(Item::Block(block)) => {
                    let mut queue = self.shared.queue.lock();
                    queue.ready = queue.ready.saturating_sub(block.len());
                    drop(queue);
                    self.shared.work.notify_all();
                    return Ok(Some(block));
                }
                Some(Item::Later(task)) => {
                    let outcome = self.shared.outcome_of(&task)?;
                    self.inside.push(outcome.items);
                }
            }
        }
        Ok(None)
    }
}

impl Listing for Walk {
    fn next(&mut self) -> Result<Option<Block>, OriginError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.step().inspect_err(|error| self.failed = Some(error.clone()))
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        drop(self.shared.queue.lock());
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A task that panicked has said so to the reader.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What the threads do.
    fn help(&self) {
        loop {
            let task = {
                let mut queue = self.queue.lock();
                loop {
                    if self.closed.load(Ordering::Acquire) {
                        return;
                    }
                    if queue.ready < READY_FILES_MAX
                        && let Some(task) = queue.stack.pop()
                    {
                        break task;
                    }
                    self.work.wait(&mut queue);
                }
            };
            self.perform(&task);
        }
    }

    /// Does a task, if nobody has begun it.
    fn perform(&self, task: &Task) -> bool {
        let Some(work) = task.work.lock().take() else { return false };
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.run(work)));
        let outcome = outcome.unwrap_or_else(|_| {
            Err(OriginError::failed(format!("listing {} ended unexpectedly", self.location.to_text())))
        });
        {
            let mut queue = self.queue.lock();
            if let Ok(outcome) = &outcome {
                queue.ready += outcome.files;
                let later = outcome.items.iter().rev().filter_map(|item| match item {
                    Item::Later(task) => Some(task.clone()),
                    Item::Block(_) => None,
                });
                queue.stack.extend(later);
            }
            // Under the lock of the queue, so that the reader cannot miss the call between look and wait.
            *task.result.lock() = Some(outcome);
        }
        self.work.notify_all();
        self.done.notify_all();
        true
    }

    /// For the reader: does the task or waits for whoever does.
    fn outcome_of(&self, task: &Task) -> Result<Outcome, OriginError> {
        self.perform(task);
        let mut queue = self.queue.lock();
        loop {
            if let Some(result) = task.result.lock().take() {
                return result;
            }
            self.done.wait(&mut queue);
        }
    }

    fn run(&self, work: Work) -> Result<Outcome, OriginError> {
        match work {
            Work::Folder { parent, fd, name, path, after } => {
                let opened = match (fd, parent) {
                    (Some(fd), _) => fd,
                    (None, Some(parent)) => match self.open(&parent, &name, &path)? {
                        Some(fd) => fd,
                        None => return Ok(Outcome::skipping(path, 1)),
                    },
                    (None, None) => unreachable!("a folder has a descriptor or a parent"),
                };
                self.folder(opened, path, &after)
            }
            Work::Files { fd, names, from, to, folder } => {
                let mut outcome = Outcome::default();
                let block = self.look(&fd, &names, from..to, folder)?;
                outcome.push(block);
                Ok(outcome)
            }
        }
    }

    /// Opens a folder below another; none if it went, is no folder any more, or is hidden.
    fn open(&self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Option<OwnedFd>, OriginError> {
        let fd = match rustix::fs::openat(parent, c_name(name).as_c_str(), FOLDER, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(cannot(&self.location.join(path), error)),
        };
        if !self.hidden.is_empty() {
            let stat = rustix::fs::fstat(&fd).map_err(|error| cannot(&self.location.join(path), error))?;
            if self.hidden.contains(&identity(&stat)) {
                return Ok(None);
            }
        }
        Ok(Some(fd))
    }

    /// Lists a folder, and looks at its files if they are few.
    fn folder(&self, fd: OwnedFd, path: Vec<u8>, after: &[u8]) -> Result<Outcome, OriginError> {
        let (names, skipped) = self.names(&fd, &path, after)?;
        let (fd, names, folder) = (Arc::new(fd), Arc::new(names), Arc::<[u8]>::from(path));
        let mut outcome = Outcome::skipping(folder.to_vec(), skipped);
        let split = names.all.iter().filter(|name| !name.is_folder).count() > TASK_FILES_MAX;
        let mut from = 0;
        while from < names.all.len() {
            if names.all[from].is_folder {
                let name = names.get(from);
                let path = [&folder, name, b"/".as_slice()].concat();
                let rest = after.strip_prefix([name, b"/".as_slice()].concat().as_slice());
                outcome.items.push_back(Item::Later(Task::new(Work::Folder {
                    parent: Some(fd.clone()),
                    fd: None,
                    name: name.to_vec(),
                    path,
                    after: rest.unwrap_or_default().to_vec(),
                })));
                from += 1;
                continue;
            }
            let end = names.all.len().min(from + TASK_FILES_MAX);
            let to = (from..end).find(|at| names.all[*at].is_folder).unwrap_or(end);
            if split {
                outcome.items.push_back(Item::Later(Task::new(Work::Files {
                    fd: fd.clone(),
                    names: names.clone(),
                    from,
                    to,
                    folder: folder.clone(),
                })));
            } else {
                outcome.push(self.look(&fd, &names, from..to, folder.clone())?);
            }
            from = to;
        }
        Ok(outcome)
    }

    /// The names of files and folders greater than `after`, in the order of keys; and how many others there are.
    fn names(&self, fd: &OwnedFd, path: &[u8], after: &[u8]) -> Result<(Names, u64), OriginError> {
        let mut names = Names::default();
        let mut skipped = 0;
        let mut buffer = vec![MaybeUninit::uninit(); NAMES_BUFFER_BYTES];
        let mut folder = RawDir::new(fd, &mut buffer);
        while let Some(entry) = folder.next() {
            if self.closed.load(Ordering::Relaxed) {
                return Err(OriginError::failed("the listing was ended"));
            }
            let entry = entry.map_err(|error| cannot(&self.location.join(path), error))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let is_folder = match kind(fd, entry.file_name(), entry.file_type()) {
                FileType::RegularFile => false,
                FileType::Directory => true,
                _ => {
                    skipped += 1;
                    continue;
                }
            };
            if is_after(name, is_folder, after) {
                names.push(name, is_folder);
            }
        }
        names.sort();
        Ok((names, skipped))
    }

    /// Looks at files. One that went since it was listed is passed over.
    fn look(
        &self,
        fd: &OwnedFd,
        names: &Names,
        range: std::ops::Range<usize>,
        folder: Arc<[u8]>,
    ) -> Result<Block, OriginError> {
        let mut block = Block::new(folder);
        for at in range {
            if self.closed.load(Ordering::Relaxed) {
                return Err(OriginError::failed("the listing was ended"));
            }
            match rustix::fs::statat(fd, names.c_str(at), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_file(&stat) && !self.hidden.contains(&identity(&stat)) => {
                    block.push(names.get(at), seen(&stat));
                }
                Ok(_) => block.skipped += 1,
                Err(Errno::NOENT) => {}
                Err(error) => {
                    let name = [&block.folder, names.get(at)].concat();
                    return Err(cannot(&self.location.join(&name), error));
                }
            }
        }
        Ok(block)
    }
}

impl Outcome {
    fn skipping(path: Vec<u8>, skipped: u64) -> Self {
        let mut outcome = Self::default();
        if skipped > 0 {
            outcome.push(Block { skipped, ..Block::new(path.into()) });
        }
        outcome
    }
    fn push(&mut self, block: Block) {
        self.files += block.len();
        self.items.push_back(Item::Block(block));
    }
}

/// What a name is. Not every file system says so in the listing.
fn kind(fd: &OwnedFd, name: &CStr, listed: FileType) -> FileType {
    if listed != FileType::Unknown {
        return listed;
    }
    match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(_) => FileType::Unknown,
    }
}

/// Whether a file's key, or any key below a folder, is greater than `after`.
fn is_after(name: &[u8], is_folder: bool, after: &[u8]) -> bool {
    if !is_folder {
        return name > after;
    }
    let key = [name, b"/"].concat();
    after.starts_with(&key) || key.as_slice() > after
}

/// Names of one folder.
#[derive(Default)]
struct Names {
    /// Each name with a zero byte behind it.
    bytes: Vec<u8>,
    all: Vec<Name>,
}

struct Name {
    /// The first eight bytes behind what all names share, as they sort: most comparisons end there.
    head: u64,
    at: usize,
    /// Systems allow names of 255 bytes.
    len: u16,
    is_folder: bool,
}

impl Names {
    fn push(&mut self, name: &[u8], is_folder: bool) {
        let len = u16::try_from(name.len()).expect("a name in a folder has at most some hundred bytes");
        self.all.push(Name { head: 0, at: self.bytes.len(), len, is_folder });
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
    }
    fn get(&self, index: usize) -> &[u8] {
        name_in(&self.bytes, &self.all[index])
    }
    fn c_str(&self, index: usize) -> &CStr {
        let name = &self.all[index];
        let bytes = &self.bytes[name.at..=name.at + usize::from(name.len)];
        CStr::from_bytes_with_nul(bytes).expect("a name holds no zero byte and has one behind it")
    }
    /// Sorts as object keys sort, a folder's with the `/` that follows it, and drops what was listed twice.
    fn sort(&mut self) {
        let Self { bytes, all } = self;
        let Some(first) = all.first() else { return };
        let first = name_in(bytes, first);
        let shared = all.iter().fold(first.len(), |shared, name| {
            let other = name_in(bytes, name);
            first[..shared].iter().zip(other).take_while(|(a, b)| a == b).count()
        });
        // The byte behind a folder's name may count already.
        let byte = |name: &Name, at: usize| match name_in(bytes, name) {
            text if at < text.len() => text[at],
            text if at == text.len() && name.is_folder => b'/',
            _ => 0,
        };
        let heads: Vec<u64> = all
            .iter()
            .map(|name| (0..8).fold(0, |head, at| head << 8 | u64::from(byte(name, shared + at))))
            .collect();
        for (name, head) in all.iter_mut().zip(heads) {
            name.head = head;
        }
        let key = |name: &Name| {
            let tail: &[u8] = if name.is_folder { b"/" } else { b"" };
            name_in(bytes, name).iter().chain(tail).copied()
        };
        all.sort_unstable_by(|a, b| a.head.cmp(&b.head).then_with(|| key(a).cmp(key(b))));
        all.dedup_by(|a, b| name_in(bytes, a) == name_in(bytes, b));
    }
}

fn name_in<'a>(bytes: &'a [u8], name: &Name) -> &'a [u8] {
    &bytes[name.at..name.at + usize::from(name.len)]
}
