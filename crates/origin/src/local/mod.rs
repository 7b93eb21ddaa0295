//! Directories of the server, as far as its configuration names them.
//!
//! Whoever may import reads files with the server's rights, so what may be read is decided here and nowhere
//! else. A path is opened from its root directory one name after the other, and no step follows a link: no
//! name, and no change while we look, leads out of a root. Files that the server keeps for itself are hidden by
//! what they are (device and inode), whatever path or hard link leads to them.

mod file;
mod walk;

use crate::{Listing, Location, Mark, NAME_IT, Origin, OriginError, Seen, SourceKind};
use file::SourceFile;
use millpond_blob::BlobReader;
use millpond_types::limits::ORIGIN_READS_MAX;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;
use walk::{Start, Walk};

/// What the locations of this adapter begin with.
const SCHEME: &[u8] = b"local://";
/// How users may write it. The path behind it is taken as it is: nothing in it is decoded.
const SCHEMES: [&str; 2] = ["local://", "file://"];

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A named pipe in the place of a file must not make anybody wait.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// The directories that may be imported from.
#[derive(Debug)]
pub struct LocalFolders {
    roots: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    threads: usize,
    pub(super) reads: Arc<Semaphore>,
}

/// Device and inode of what nobody may read through us.
type Hidden = Vec<(u64, u64)>;

impl LocalFolders {
    /// `roots` are absolute; they may be links themselves, since whoever configures the server names them.
    /// `hidden` are files and directories that are never listed nor read, though they may lie in a root.
    /// `threads` is how many look at files at a time.
    pub fn new(roots: Vec<PathBuf>, hidden: Vec<PathBuf>, threads: usize) -> Self {
        let reads = Arc::new(Semaphore::new(ORIGIN_READS_MAX));
        Self { roots, hidden, threads: threads.max(1), reads }
    }

    /// Looked up every time: such a file may be replaced while the server runs.
    fn hidden(&self) -> Hidden {
        self.hidden.iter().filter_map(|path| rustix::fs::stat(path).ok()).map(|s| identity(&s)).collect()
    }

    /// The root that a path lies in, opened, and the names that lead on from there.
    fn enter<'a>(&self, location: &'a Location) -> Result<(OwnedFd, Vec<&'a [u8]>), OriginError> {
        let refused = || {
            OriginError::refused(format!(
                "{} is not in a directory that may be imported from: {NAME_IT}",
                location.to_text()
            ))
        };
        let path = location.0.strip_prefix(SCHEME).ok_or_else(refused)?;
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        if names.iter().any(|name| matches!(*name, b"." | b"..") || name.contains(&0)) {
            return Err(refused());
        }
        for root in &self.roots {
            let root_names = names_of(root);
            if names.starts_with(&root_names) {
                let flags = FOLDER.difference(OFlags::NOFOLLOW);
                let fd = rustix::fs::open(root, flags, Mode::empty())
                    .map_err(|error| cannot(&Location(path_bytes(root)), error))?;
                return Ok((fd, names[root_names.len()..].to_vec()));
            }
        }
        Err(refused())
    }

    /// Opens the folder that these names lead to.
    fn descend(
        &self,
        location: &Location,
        root: OwnedFd,
        names: &[&[u8]],
        hidden: &Hidden,
    ) -> Result<OwnedFd, OriginError> {
        let mut folder = root;
        refuse_hidden(location, &folder, hidden)?;
        for name in names {
            folder = rustix::fs::openat(&folder, *name, FOLDER, Mode::empty())
                .map_err(|error| cannot(location, error))?;
            refuse_hidden(location, &folder, hidden)?;
        }
        Ok(folder)
    }

    /// Opens the folder that holds an object, and gives the object's name in it.
    fn parent<'a>(&self, object: &'a Location) -> Result<(OwnedFd, &'a [u8], Hidden), OriginError> {
        let (root, names) = self.enter(object)?;
        let Some((name, above)) = names.split_last() else {
            return Err(OriginError::refused(format!("{} is a directory", object.to_text())));
        };
        let hidden = self.hidden();
        Ok((self.descend(object, root, above, &hidden)?, name, hidden))
    }
}

/// The one spelling of a source, by which it is permitted or refused. What is of no adapter here is left as it is.
pub fn canonical(source: &str) -> String {
    let path = SCHEMES.iter().find_map(|scheme| source.strip_prefix(scheme));
    let Some(path) = path.filter(|path| path.starts_with('/')) else { return source.to_owned() };
    spelled(path, path.ends_with('/'))
}

fn spelled(path: &str, is_folder: bool) -> String {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let slash = if is_folder && !names.is_empty() { "/" } else { "" };
    format!("local:///{}{slash}", names.join("/"))
}

impl Origin for LocalFolders {
    fn locate(&self, source: &str, kind: SourceKind) -> Result<Location, OriginError> {
        let path = SCHEMES.iter().find_map(|scheme| source.strip_prefix(scheme)).ok_or_else(|| {
            OriginError::refused(format!(
                "'{source}' is not a place on this server: write local:///directory or file:///directory"
            ))
        })?;
        if !path.starts_with('/') {
            return Err(OriginError::refused(format!(
                "'{source}' does not name an absolute path: there must be three slashes, as in local:///data"
            )));
        }
        let text = spelled(path, kind == SourceKind::Prefix);
        let location = Location(text.into());
        self.enter(&location)?;
        Ok(location)
    }

    fn list(&self, folder: &Location, after: &[u8]) -> Result<Box<dyn Listing>, OriginError> {
        let (root, names) = self.enter(folder)?;
        let hidden = self.hidden();
        let fd = self.descend(folder, root, &names, &hidden)?;
        let start = Start { folder: folder.clone(), fd, after: after.to_vec(), hidden };
        Ok(Box::new(Walk::start(start, self.threads)))
    }

    fn look(&self, object: &Location) -> Result<Seen, OriginError> {
        let (folder, name, hidden) = self.parent(object)?;
        let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| cannot(object, error))?;
        if !is_file(&stat) || hidden.contains(&identity(&stat)) {
            return Err(OriginError::gone(format!("{} is not a regular file", object.to_text())));
        }
        Ok(seen(&stat))
    }

    fn open(&self, object: &Location, mark: Mark) -> Result<Arc<dyn BlobReader>, OriginError> {
        let (folder, name, hidden) = self.parent(object)?;
        let fd =
            rustix::fs::openat(&folder, name, FILE, Mode::empty()).map_err(|error| cannot(object, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| cannot(object, error))?;
        if !is_file(&stat) || hidden.contains(&identity(&stat)) {
            return Err(OriginError::gone(format!("{} is not a regular file any more", object.to_text())));
        }
        Ok(Arc::new(SourceFile::new(fd, &stat, mark, object.clone(), self.reads.clone())?))
    }
}

fn names_of(path: &Path) -> Vec<&[u8]> {
    path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect()
}

fn path_bytes(path: &Path) -> bytes::Bytes {
    [SCHEME, path.as_os_str().as_bytes()].concat().into()
}

fn c_name(name: &[u8]) -> CString {
    CString::new(name).expect("names that a directory gave hold no zero byte")
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "widths differ between systems")]
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// What is recorded of a file. The inode is in it, the device is not: its number may change with a restart.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "widths differ between systems")]
fn seen(stat: &Stat) -> Seen {
    let size = stat.st_size as u64;
    let (seconds, nanos) = (stat.st_mtime as i64, stat.st_mtime_nsec as u64);
    let facts =
        [size, seconds as u64, nanos, stat.st_ctime as u64, stat.st_ctime_nsec as u64, stat.st_ino as u64];
    let modified_millis = seconds.saturating_mul(1000).saturating_add((nanos / 1_000_000) as i64);
    Seen { size, modified_millis, mark: Mark::of(&facts) }
}

fn refuse_hidden(location: &Location, folder: &OwnedFd, hidden: &Hidden) -> Result<(), OriginError> {
    if hidden.is_empty() {
        return Ok(());
    }
    let stat = rustix::fs::fstat(folder).map_err(|error| cannot(location, error))?;
    if hidden.contains(&identity(&stat)) {
        return Err(OriginError::refused(format!(
            "{} is kept by the server for itself and cannot be imported",
            location.to_text()
        )));
    }
    Ok(())
}

fn cannot(location: &Location, error: Errno) -> OriginError {
    let text = location.to_text();
    match error {
        Errno::NOENT => OriginError::gone(format!("{text} does not exist")),
        Errno::NOTDIR | Errno::LOOP | Errno::NXIO => {
            OriginError::gone(format!("{text} leads over a link or something else that is not followed"))
        }
        error if passes(error) => OriginError::busy(format!("{text} cannot be read now: {error}")),
        error => OriginError::failed(format!("{text} cannot be read: {error}")),
    }
}

/// Whether the same may work a little later: network file systems come back, and so do descriptors and memory.
fn passes(error: Errno) -> bool {
    const PASSING: [Errno; 14] = [
        Errno::AGAIN,
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::INTR,
        Errno::IO,
        Errno::MFILE,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::STALE,
        Errno::TIMEDOUT,
    ];
    PASSING.contains(&error)
}
