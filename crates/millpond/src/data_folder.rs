//! The data directory: made private, used by one server at a time.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for the data directory")]

use crate::folder;
use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// File of the metadata store.
const METADATA: &str = "metadata.redb";
/// Stands in a directory that a restore has not made whole, and says how far it came.
const RESTORING: &str = "restoring";
/// What it holds while the restore runs.
const UNFINISHED: &str = "a restore was not finished; remove this directory and restore again\n";
/// What it holds when the restore has brought what could be read. The first word counts.
const DAMAGED: &str =
    "damaged: everything that could be read was restored; 'millpond fsck --data' names the rest\n";

/// A data directory that this process holds. Released when dropped, also by a crash.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the directory if needed and takes it.
    ///
    /// # Errors
    /// Another server has it, it cannot be made or written, or a restore into it did not make it whole.
    pub fn take(path: &Path) -> Result<Self> {
        if restored(path)? == Some(Restored::Damaged) {
            bail!(
                "a restore into {0} could not read everything: 'millpond fsck --data {0}' names what is missing. To \
                 go on without it: millpond restore --accept-damaged BACKUP {0}",
                path.display()
            );
        }
        Self::take_restored(path)
    }

    /// Takes one that is there.
    ///
    /// # Errors
    /// As [`DataFolder::take`], and if nothing is stored there.
    pub fn take_existing(path: &Path) -> Result<Self> {
        is_stored(path)?;
        Self::take(path)
    }

    /// Takes one that is there, to look at: a restore may have left damage in it.
    ///
    /// # Errors
    /// As [`DataFolder::take_existing`].
    pub fn take_to_look(path: &Path) -> Result<Self> {
        is_stored(path)?;
        Self::take_restored(path)
    }

    fn take_restored(path: &Path) -> Result<Self> {
        if restored(path)? == Some(Restored::Unfinished) {
            bail!(
                "a restore into {} was not finished; remove the directory and restore again",
                path.display()
            );
        }
        Self::lock(path)
    }

    /// Makes a directory for a restore and takes it. Nobody else does before [`DataFolder::end_restore`].
    ///
    /// # Errors
    /// As [`DataFolder::take`].
    pub fn begin_restore(path: &Path) -> Result<Self> {
        folder::make_private(path).with_context(|| format!("make the directory {}", path.display()))?;
        write_durably(path, RESTORING, UNFINISHED)?;
        Self::lock(path)
    }

    /// Notes that everything was restored (none), or everything that could be read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end_restore(&self, left: Option<Restored>) -> std::io::Result<()> {
        match left {
            Some(Restored::Unfinished) => Ok(()),
            Some(Restored::Damaged) => write_durably(&self.path, RESTORING, DAMAGED),
            None => {
                std::fs::remove_file(self.path.join(RESTORING))?;
                File::open(&self.path)?.sync_all()
            }
        }
    }

    fn lock(path: &Path) -> Result<Self> {
        // Before anything is written: what a newer version keeps there may be damaged by the least change.
        check_format(path)?;
        folder::make_private(path).with_context(|| {
            format!("cannot make the data directory {}; name another with --data", path.display())
        })?;
        let cannot = || format!("cannot write in the data directory {}", path.display());
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join("lock"));
        let mut lock = open.with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message.
                drop(lock.read_to_string(&mut holder));
                bail!(
                    "another millpond (process {}) has the data directory {}; use that server, stop it with \
                     'kill {}', or name another directory with --data",
                    holder.trim(),
                    path.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).with_context(cannot)?;
        writeln!(lock, "{}", std::process::id()).with_context(cannot)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Notes the format that the directory has, once its stores were opened and brought to it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_format(&self) -> Result<()> {
        let text = format!("{}\n", millpond_engine::FORMAT);
        if std::fs::read_to_string(self.path.join("format")).is_ok_and(|there| there == text) {
            return Ok(());
        }
        write_durably(&self.path, "format", &text)
            .with_context(|| format!("cannot write in the data directory {}", self.path.display()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the metadata store.
    pub fn metadata_file(&self) -> PathBuf {
        self.path.join(METADATA)
    }

    /// The directory of the object store.
    pub fn blobs_folder(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// What `up` has done here: nothing, begun, or finished the sample repository.
    pub fn sample_state(&self) -> Result<SampleState> {
        match std::fs::read_to_string(self.path.join("sample")) {
            Ok(text) if text.trim() == "begun" => Ok(SampleState::Begun),
            Ok(_) => Ok(SampleState::Finished),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(SampleState::Untouched),
            Err(error) => Err(error).context("cannot read the note about the sample repository"),
        }
    }

    /// Notes what `up` has done.
    pub fn note_sample(&self, state: SampleState) -> Result<()> {
        let text = match state {
            SampleState::Untouched => return Ok(()),
            SampleState::Begun => "begun\n",
            SampleState::Finished => "finished\n",
        };
        std::fs::write(self.path.join("sample"), text)
            .context("cannot write the note about the sample repository")
    }
}

/// Refuses a directory of a newer format.
fn check_format(path: &Path) -> Result<()> {
    let text = match std::fs::read_to_string(path.join("format")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()), // new, or from before this file
        read => read.with_context(|| format!("cannot read the format of {}", path.display()))?,
    };
    match text.trim().parse::<u32>() {
        Ok(number) if number <= millpond_engine::FORMAT => Ok(()),
        Ok(number) => bail!(
            "{} has format {number}, and this Millpond knows formats up to {}: a newer Millpond wrote it; use that",
            path.display(),
            millpond_engine::FORMAT
        ),
        Err(_) => bail!("the file 'format' in {} is damaged; it should hold a number", path.display()),
    }
}

/// What a restore that did not make a directory whole has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It was cut off.
    Unfinished,
    /// Everything but what was damaged in the backup.
    Damaged,
}

/// How far a restore into this directory came; none if there was none, or it made it whole.
///
/// # Errors
/// The mark cannot be read.
pub fn restored(path: &Path) -> Result<Option<Restored>> {
    match std::fs::read_to_string(path.join(RESTORING)) {
        Ok(text) if text.starts_with("damaged") => Ok(Some(Restored::Damaged)),
        Ok(_) => Ok(Some(Restored::Unfinished)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", path.display())),
    }
}

fn is_stored(path: &Path) -> Result<()> {
    match path.join(METADATA).is_file() {
        true => Ok(()),
        false => bail!("{} is no data directory: nothing is stored there", path.display()),
    }
}

/// Puts a small file there, whole or not at all.
fn write_durably(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut written = File::create(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&new, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// How far the sample repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleState {
    /// Nobody thought of it yet.
    Untouched,
    /// It was being made when the server stopped.
    Begun,
    /// It was made, or there was a reason not to; it is never made again.
    Finished,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn one_server_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/data");
        let held = DataFolder::take(&path).expect("free");
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        let error = DataFolder::take(&path).expect_err("taken").to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())) && error.contains("--data"),
            "{error}"
        );
        drop(held);
        DataFolder::take(&path).expect("free again");
    }

    #[test]
    fn a_directory_of_a_newer_format_is_refused_and_nothing_in_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let newer = millpond_engine::FORMAT + 1;
        std::fs::write(folder.path().join("format"), format!("{newer}\n")).expect("written");
        let error = DataFolder::take(folder.path()).expect_err("newer").to_string();
        assert!(error.contains(&format!("format {newer}")) && error.contains("a newer Millpond"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1, "no lock, no store");
        std::fs::write(folder.path().join("format"), "x").expect("written");
        assert!(DataFolder::take(folder.path()).is_err());
        std::fs::write(folder.path().join("format"), "1\n").expect("written");
        DataFolder::take(folder.path()).expect("ours");
    }

    #[test]
    fn nobody_takes_what_is_only_half_restored_and_damage_only_by_decision() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = |error: anyhow::Error| error.to_string();
        let restoring = DataFolder::begin_restore(folder.path()).expect("empty");
        std::fs::write(restoring.metadata_file(), "").expect("written");
        drop(restoring);
        let error = refused(DataFolder::take(folder.path()).expect_err("half"));
        assert!(error.contains("restore again"), "{error}");
        let error = refused(DataFolder::take_to_look(folder.path()).expect_err("half"));
        assert!(error.contains("restore again"), "{error}");
        let restoring = DataFolder::begin_restore(folder.path()).expect("once more");
        restoring.end_restore(Some(Restored::Damaged)).expect("noted");
        drop(restoring);
        let error = refused(DataFolder::take_existing(folder.path()).expect_err("damaged"));
        assert!(error.contains("--accept-damaged"), "{error}");
        let looking = DataFolder::take_to_look(folder.path()).expect("fsck may");
        looking.end_restore(None).expect("accepted");
        drop(looking);
        DataFolder::take_existing(folder.path()).expect("whole");
    }

    #[test]
    fn the_format_is_noted_by_who_brought_the_stores_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("format");
        let data = DataFolder::take(folder.path()).expect("free");
        assert!(!file.exists(), "nothing was opened yet");
        data.note_format().expect("noted");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), format!("{}\n", millpond_engine::FORMAT));
    }

    #[test]
    fn the_note_about_the_sample_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataFolder::take(folder.path()).expect("free");
        assert_eq!(data.sample_state().expect("read"), SampleState::Untouched);
        for state in [SampleState::Begun, SampleState::Finished] {
            data.note_sample(state).expect("noted");
            assert_eq!(data.sample_state().expect("read"), state);
        }
    }
}
