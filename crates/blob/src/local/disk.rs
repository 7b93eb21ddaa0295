//! How a file becomes durable under its name: the one place that creates, syncs, renames and removes.
//!
//! The order is temp file, fsync, rename, fsync of the directory. Two things are easy to miss:
//! * Between the rename and the directory's fsync the name is visible but not durable. Whoever saw it then could
//!   acknowledge a write that relies on it, and a power cut would take it back. Such names are *hidden*.
//! * After a failed fsync the kernel may count the lost pages as clean, and the next fsync succeeds. So the first
//!   failure blows the *fuse*: no more writes until a restart reads what really is on the disk.

use crate::{BlobError, BlobKey};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends all writing after the first failure that leaves the disk's state unknown.
#[derive(Default)]
pub struct Fuse {
    blown: OnceLock<String>,
}

impl Fuse {
    /// `Failed` once the fuse is blown.
    pub fn check(&self) -> Result<(), BlobError> {
        match self.blown.get() {
            None => Ok(()),
            Some(why) => Err(BlobError::Failed(format!("no writes until a restart, because earlier: {why}"))),
        }
    }
    /// Why, once it is blown.
    pub fn why(&self) -> Option<&str> {
        self.blown.get().map(String::as_str)
    }
    /// Refuses every later write; the error is for the write that found out.
    pub fn blow(&self, what: &str, cause: &io::Error) -> BlobError {
        let why = format!("{what}: {cause}");
        tracing::error!(why, "object store failed; refusing writes until a restart");
        let _ = self.blown.set(why.clone());
        BlobError::Failed(why)
    }
}

/// The directory that holds everything, with what its writers share.
pub struct Disk {
    /// Temporary files live here, on the same file system as their targets.
    temp_directory: PathBuf,
    temp_number: AtomicU64,
    /// See the module documentation.
    pub fuse: Fuse,
    /// Syncs of files and directories outside the segments.
    pub file_syncs: AtomicU64,
    /// Held across look, hide and rename, so that a name published by someone else is never hidden.
    renaming: Mutex<()>,
    hidden: Mutex<HashSet<BlobKey>>,
    /// [`sync_directory`]; a test has one that fails.
    sync: SyncDirectory,
}

type SyncDirectory = fn(&Path) -> io::Result<()>;

impl Disk {
    /// Removes what a crash left in the temporary directory.
    pub fn new(temp_directory: PathBuf) -> io::Result<Self> {
        for entry in std::fs::read_dir(&temp_directory)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(Self {
            temp_directory,
            temp_number: AtomicU64::new(0),
            fuse: Fuse::default(),
            file_syncs: AtomicU64::new(0),
            renaming: Mutex::new(()),
            hidden: Mutex::new(HashSet::new()),
            sync: sync_directory,
        })
    }

    /// A fresh file that vanishes when dropped, unless published.
    pub fn temp(&self) -> Result<TempFile, BlobError> {
        self.fuse.check()?;
        let n = self.temp_number.fetch_add(1, Ordering::Relaxed);
        let path = self.temp_directory.join(format!("{n:016x}"));
        let file = File::create_new(&path).map_err(|e| io_error("creating a temporary file", &e))?;
        Ok(TempFile { file, path: Some(path) })
    }

    /// Makes the file durable under its final name. A blob's key keeps it hidden until then.
    pub fn publish(&self, temp: TempFile, target: &Path, key: Option<&BlobKey>) -> Result<(), BlobError> {
        self.fuse.check()?;
        self.file_syncs.fetch_add(2, Ordering::Relaxed);
        temp.file.sync_all().map_err(|e| match full(&e) {
            // The file is thrown away and nothing relied on it, so a full disk found this late is still only that.
            true => io_error("syncing a file", &e),
            false => self.fuse.blow("fsync of a file", &e),
        })?;
        self.rename(temp, target, key)?;
        self.settle(target, key)
    }

    /// Gives the file its name. A name that was not there before is hidden from now on.
    fn rename(&self, mut temp: TempFile, target: &Path, key: Option<&BlobKey>) -> Result<(), BlobError> {
        let path = temp.path.as_ref().expect("a temporary file has a path until it is published");
        let _renaming = self.renaming.lock();
        // One that is there already is hidden by its own publisher, if at all.
        let hides = key.filter(|_| !target.exists());
        if let Some(key) = hides {
            self.hidden.lock().insert(key.clone());
        }
        let renamed = match std::fs::rename(path, target) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.create_directory_of(target).and_then(|()| {
                    std::fs::rename(path, target).map_err(|e| io_error("renaming a finished file", &e))
                })
            }
            done => done.map_err(|e| io_error("renaming a finished file", &e)),
        };
        match renamed {
            Ok(()) => temp.path = None,
            Err(_) => {
                if let Some(key) = hides {
                    self.hidden.lock().remove(key);
                }
            }
        }
        renamed
    }

    fn create_directory_of(&self, target: &Path) -> Result<(), BlobError> {
        let directory = directory_of(target);
        create_directory_with(directory, self.sync).map_err(|e| match directory.is_dir() {
            // It is there, but perhaps not for long: the next publisher would not know that.
            true => self.fuse.blow("fsync of a directory", &e),
            false => io_error("creating a directory", &e),
        })
    }

    /// Makes the name durable and shows it. On failure it stays hidden: a restart decides whether it is there.
    fn settle(&self, target: &Path, key: Option<&BlobKey>) -> Result<(), BlobError> {
        (self.sync)(directory_of(target)).map_err(|e| self.fuse.blow("fsync of a directory", &e))?;
        if let Some(key) = key {
            self.hidden.lock().remove(key);
        }
        Ok(())
    }

    /// Whether a name is visible in its directory but not yet durable.
    pub fn is_hidden(&self, key: &BlobKey) -> bool {
        self.hidden.lock().contains(key)
    }

    /// Removes a file durably; a missing one is no error. True if it was there.
    pub fn remove(&self, target: &Path) -> Result<bool, BlobError> {
        self.fuse.check()?;
        match std::fs::remove_file(target) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            done => done.map_err(|e| io_error("removing a file", &e))?,
        }
        self.file_syncs.fetch_add(1, Ordering::Relaxed);
        (self.sync)(directory_of(target)).map_err(|e| self.fuse.blow("fsync of a directory", &e))?;
        Ok(true)
    }
}

fn directory_of(target: &Path) -> &Path {
    target.parent().expect("a published file has a directory")
}

/// A file without a final name.
pub struct TempFile {
    /// Open for writing at its end.
    pub file: File,
    path: Option<PathBuf>,
}

impl TempFile {
    #[cfg(test)]
    pub fn over(file: File) -> Self {
        Self { file, path: None }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(%error, path = %path.display(), "a temporary file stays until the next start");
        }
    }
}

/// The kind tells what to do: a full disk is worth another try later, anything else is not.
pub fn io_error(what: &str, e: &io::Error) -> BlobError {
    match e {
        _ if full(e) => BlobError::Busy(format!("the disk is full ({what}: {e})")),
        _ if no_descriptors(e) => {
            BlobError::Busy(format!("too many open files ({what}: {e}); raise the limit of open files"))
        }
        _ => BlobError::Failed(format!("{what}: {e}")),
    }
}

/// Whether the disk or the quota is full.
pub fn full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the process or the machine has no file descriptor left, which says nothing about the disk.
fn no_descriptors(e: &io::Error) -> bool {
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|none| e.raw_os_error() == Some(none.raw_os_error()))
}

/// Creates the directory and makes its name durable, ancestors included.
pub fn create_directory(directory: &Path) -> io::Result<()> {
    create_directory_with(directory, sync_directory)
}

fn create_directory_with(directory: &Path, sync: SyncDirectory) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_directory_with(parent, sync)?;
    match std::fs::create_dir(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    sync(parent)
}

/// Makes the names in the directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Reads exactly `len` bytes at `offset` without clearing the buffer first; fewer only at the end of the file.
pub fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(len);
    while buffer.len() < len {
        let at = offset + buffer.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    buffer.truncate(len);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, Disk) {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(directory.path().join("tmp")).expect("tmp");
        let disk = Disk::new(directory.path().join("tmp")).expect("disk");
        (directory, disk)
    }

    #[test]
    fn a_dropped_temporary_file_is_gone_and_a_published_one_stays() {
        let (directory, disk) = disk();
        drop(disk.temp().expect("temp"));
        let target = directory.path().join("new/directory/file");
        disk.publish(disk.temp().expect("temp"), &target, None).expect("publish");
        assert!(target.exists());
        assert_eq!(std::fs::read_dir(directory.path().join("tmp")).expect("tmp").count(), 0);
        assert!(disk.remove(&target).expect("remove"));
        assert!(!disk.remove(&target).expect("remove again"));
    }

    #[test]
    fn a_process_without_descriptors_has_no_broken_disk() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert!(matches!(io_error("create a file", &error), BlobError::Busy(_)));
        let error = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        assert!(matches!(io_error("create a file", &error), BlobError::Failed(_)));
    }

    #[test]
    fn after_a_failed_fsync_nothing_more_is_written() {
        let (directory, disk) = disk();
        // The null device takes any write and refuses fsync.
        let null = File::options().write(true).open("/dev/null").expect("null device");
        let target = directory.path().join("file");
        let result = disk.publish(TempFile::over(null), &target, None);
        assert!(matches!(result, Err(BlobError::Failed(_))), "{result:?}");
        assert!(!target.exists());
        let Err(BlobError::Failed(text)) = disk.temp().map(|_| ()) else { panic!("the fuse is not blown") };
        assert!(text.contains("restart"), "{text}");
        assert!(matches!(disk.remove(&target), Err(BlobError::Failed(_))));
    }

    #[test]
    fn a_directory_that_may_vanish_again_is_not_relied_on() {
        let (directory, mut disk) = disk();
        disk.sync = |_| Err(io::Error::other("injected"));
        let target = directory.path().join("new/file");
        let result = disk.publish(disk.temp().expect("temp"), &target, None);
        assert!(matches!(result, Err(BlobError::Failed(_))), "{result:?}");
        // The disk seems well again and the directory is there, but its name was never synced.
        disk.sync = sync_directory;
        assert!(disk.temp().is_err(), "a write after a failed fsync of a directory was accepted");
    }

    #[test]
    fn a_failed_rename_does_not_show_what_another_hides() {
        let (directory, disk) = disk();
        let (key, target) = (BlobKey::new("a/b"), directory.path().join("file"));
        disk.rename(disk.temp().expect("temp"), &target, Some(&key)).expect("rename");
        let second = disk.temp().expect("temp");
        std::fs::remove_file(second.path.as_ref().expect("a path")).expect("removed");
        assert!(disk.rename(second, &target, Some(&key)).is_err());
        assert!(disk.is_hidden(&key), "the first one is not durable yet");
    }

    #[test]
    fn a_new_name_is_hidden_until_its_directory_is_synced() {
        let (directory, disk) = disk();
        let (key, target) = (BlobKey::new("a/b"), directory.path().join("file"));
        disk.rename(disk.temp().expect("temp"), &target, Some(&key)).expect("rename");
        assert!(target.exists() && disk.is_hidden(&key), "a power cut would take this name back");
        disk.settle(&target, Some(&key)).expect("sync");
        assert!(!disk.is_hidden(&key));
    }

    #[test]
    fn a_name_that_somebody_was_told_of_is_never_hidden() {
        let (directory, disk) = disk();
        let (key, target) = (BlobKey::new("a/b"), directory.path().join("file"));
        // One publisher is between rename and sync when a second one of the same name finishes.
        disk.rename(disk.temp().expect("temp"), &target, Some(&key)).expect("rename");
        disk.publish(disk.temp().expect("temp"), &target, Some(&key)).expect("publish");
        assert!(!disk.is_hidden(&key), "the second sync made the name durable for both");
        disk.settle(&target, Some(&key)).expect("sync");
        // A durable name that is being written again stays visible.
        disk.rename(disk.temp().expect("temp"), &target, Some(&key)).expect("rename");
        assert!(!disk.is_hidden(&key));
    }

    #[test]
    fn a_name_that_failed_to_publish_is_not_hidden() {
        let (directory, disk) = disk();
        let key = BlobKey::new("a/b");
        // A directory stands where the file should go.
        std::fs::create_dir(directory.path().join("taken")).expect("directory");
        assert!(
            disk.publish(disk.temp().expect("temp"), &directory.path().join("taken"), Some(&key)).is_err()
        );
        assert!(!disk.is_hidden(&key));
        disk.publish(disk.temp().expect("temp"), &directory.path().join("free"), Some(&key))
            .expect("publish");
        assert!(!disk.is_hidden(&key));
    }
}
