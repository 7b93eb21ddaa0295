//! Files and folders of this machine, as `cp` needs them: walking a folder without losing anything in
//! silence, and writing a file so that it is either the old one or the whole new one.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for local files")]

use md5::{Digest, Md5};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walked {
    /// Files with their path relative to the folder, `/` between names, in order.
    pub files: Vec<LocalFile>,
    /// What cannot be copied, and why.
    pub problems: Vec<(PathBuf, String)>,
    /// Folders without anything in them: an object store has no place for them.
    pub empty_folders: usize,
}

/// A file to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name under the folder.
    pub name: String,
    /// Bytes, when the walk saw it.
    pub size_bytes: u64,
}

/// Finds every file under a folder. Symbolic links are followed; one that leads back into its own folder,
/// dangling links, sockets and names that are not UTF-8 are problems, not omissions.
pub fn walk(folder: &Path) -> Walked {
    let mut walked = Walked::default();
    let mut open = BTreeSet::new();
    walk_folder(folder, "", &mut open, &mut walked);
    walked
}

fn walk_folder(folder: &Path, prefix: &str, open: &mut BTreeSet<PathBuf>, walked: &mut Walked) {
    let entries = fs::canonicalize(folder).and_then(|real| {
        if open.contains(&real) {
            return Err(io::Error::other("the link leads back into a folder that contains it"));
        }
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        Ok((real, entries))
    });
    let (real, entries) = match entries {
        Ok(found) => found,
        Err(error) => {
            walked.problems.push((folder.to_owned(), error.to_string()));
            return;
        }
    };
    if entries.is_empty() {
        walked.empty_folders += 1;
    }
    open.insert(real.clone());
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            walked.problems.push((path, "the name is not UTF-8".to_owned()));
            continue;
        };
        let name = format!("{prefix}{name}");
        match fs::metadata(&path) {
            Ok(about) if about.is_dir() => walk_folder(&path, &format!("{name}/"), open, walked),
            Ok(about) if about.is_file() => {
                walked.files.push(LocalFile { path, name, size_bytes: about.len() });
            }
            Ok(_) => walked.problems.push((path, "it is neither a file nor a folder".to_owned())),
            Err(error) => walked.problems.push((path, error.to_string())),
        }
    }
    open.remove(&real);
}

/// The MD5 of a file's bytes in hexadecimal, as the checksum of an object that was uploaded in one piece.
///
/// # Errors
/// The operating system refuses.
pub fn md5(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    // On the stack: of 20,000 small files a third of the time went into getting and giving back memory.
    let (mut hash, mut buffer) = (Md5::new(), [0; 32 << 10]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Where an object below a prefix goes under a folder; none if its name cannot be a file there (`..`, empty
/// names, a trailing slash), which would write outside of the folder or not come back the same.
pub fn place(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for part in name.split('/') {
        if part.is_empty() || part == "." || part == ".." || part.contains('\0') {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

/// A file that takes its name only when it is complete. Dropped before that, it disappears.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl NewFile {
    /// Makes the folders that are missing and opens a temporary file beside the target.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn create(target: &Path) -> io::Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".millpond-{}-{serial}.part", std::process::id()));
        let open = || OpenOptions::new().write(true).create_new(true).open(&temporary);
        // Most folders exist: ask for them only when the file cannot be made.
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                open()?
            }
            other => other?,
        };
        Ok(Self { file, temporary, target: target.to_owned(), published: false })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn publish(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done about a leftover than to name it so that it is recognised.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// A whole small file.
///
/// # Errors
/// The operating system refuses.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_loses_nothing_in_silence() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::create_dir(root.join("empty")).expect("made");
        fs::write(root.join("a/b/x"), "12345").expect("written");
        fs::write(root.join("a.txt"), "1").expect("written");
        std::os::unix::fs::symlink(root.join("a.txt"), root.join("link")).expect("linked");
        std::os::unix::fs::symlink(root.join("a"), root.join("z")).expect("linked");
        std::os::unix::fs::symlink(root.join("a"), root.join("a/b/loop")).expect("linked");
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).expect("linked");
        let walked = walk(root);
        let names: Vec<_> = walked.files.iter().map(|f| (f.name.as_str(), f.size_bytes)).collect();
        assert_eq!(names, [("a/b/x", 5), ("a.txt", 1), ("link", 1), ("z/b/x", 5)]);
        let problems: Vec<_> = walked
            .problems
            .iter()
            .map(|(p, _)| p.strip_prefix(root).expect("below").to_str().expect("UTF-8"))
            .collect();
        assert_eq!(problems, ["a/b/loop", "dangling", "z/b/loop"]);
        assert_eq!(walked.empty_folders, 1);
    }

    #[test]
    fn hostile_names_have_no_place() {
        let folder = Path::new("/data");
        assert_eq!(place(folder, "a/b.csv"), Some("/data/a/b.csv".into()));
        for name in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a/.", "a\0b"] {
            assert_eq!(place(folder, name), None, "{name:?}");
        }
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("deep/er/a");
        let mut file = NewFile::create(&target).expect("made");
        file.write(b"half").expect("written");
        drop(file);
        assert_eq!(fs::read_dir(folder.path().join("deep/er")).expect("list").count(), 0);
        let mut file = NewFile::create(&target).expect("made");
        file.write(b"whole").expect("written");
        assert!(!target.exists());
        file.publish().expect("published");
        assert_eq!(fs::read(&target).expect("read"), b"whole");
        assert_eq!(fs::read_dir(folder.path().join("deep/er")).expect("list").count(), 1);
    }
}
