//! The master key file: 64 hex digits, made at the first start, readable by its owner only.
//!
//! It lies outside the data directory, so that a copy or backup of the data opens no secret in it.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for the master key file")]

use crate::folder;
use crate::machine::OsRandom;
use anyhow::{Context, Result, bail, ensure};
use millpond_auth::{MASTER_KEY_BYTES, Sealer};
use millpond_service::{Kind, MasterKeys};
use millpond_types::Random;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Whether data sealed with an earlier key exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataIs {
    /// Nothing is stored yet.
    New,
    /// The data directory holds a store.
    Existing,
}

/// Reads the key, or makes it if nothing was stored yet.
///
/// # Errors
/// The file is missing though data exists, is readable by everybody, or is no key.
pub fn load_or_create(path: &Path, data: DataIs, random: &dyn Random) -> Result<[u8; MASTER_KEY_BYTES]> {
    match std::fs::read(path) {
        Ok(text) => {
            let mode = std::fs::metadata(path)?.mode();
            ensure!(
                mode & 0o007 == 0,
                "everybody on this machine can read the master key; close it with: chmod 600 {}",
                path.display()
            );
            parse(&text)
                .with_context(|| format!("the master key file {} is damaged: restore it", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && data == DataIs::New => create(path, random)
            .with_context(|| format!("cannot make the master key file {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "the master key file {} is missing, and with it the way to the secrets in the data directory; \
             restore the file, or name its place with --master-key-file",
            path.display()
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot read the master key file {}", path.display()))
        }
    }
}

fn parse(text: &[u8]) -> Result<[u8; MASTER_KEY_BYTES]> {
    let mut key = [0; MASTER_KEY_BYTES];
    hex::decode_to_slice(text.trim_ascii(), &mut key)
        .map_err(|_| anyhow::anyhow!("it must hold {} hex digits", 2 * MASTER_KEY_BYTES))?;
    Ok(key)
}

/// The file is complete and durable before anything is sealed with it.
fn create(path: &Path, random: &dyn Random) -> Result<[u8; MASTER_KEY_BYTES]> {
    let mut key = [0; MASTER_KEY_BYTES];
    random.fill(&mut key);
    let folder = path.parent().context("it has no directory")?;
    folder::make_private(folder)?;
    let temporary = path.with_extension(format!("key.{}", std::process::id()));
    write(OpenOptions::new().create(true).truncate(true), &temporary, &key)?;
    // A link fails if another server made the file meanwhile; a rename would replace its key.
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => File::open(folder)?.sync_all()?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return parse(&std::fs::read(path)?),
        Err(error) => return Err(error.into()),
    }
    Ok(key)
}

fn write(how: &mut OpenOptions, path: &Path, key: &[u8; MASTER_KEY_BYTES]) -> std::io::Result<()> {
    let mut file = how.write(true).mode(0o600).open(path)?;
    file.write_all(format!("{}\n", hex::encode(key)).as_bytes())?;
    file.sync_all()
}

/// Where a key waits while secrets are sealed with it.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Puts the waiting key in the place of the other, durably.
fn adopt(path: &Path) -> std::io::Result<()> {
    std::fs::rename(beside(path), path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// After an exchange that was cut off: of the key in the file and the one that waits beside it, the one that opens the
/// store whose secrets are sealed with the key of this id. The other goes.
///
/// # Errors
/// The waiting key cannot be read, or the files cannot be changed.
pub fn settle(
    path: &Path,
    key: [u8; MASTER_KEY_BYTES],
    sealed_with: Option<&str>,
) -> Result<[u8; MASTER_KEY_BYTES]> {
    let waiting = beside(path);
    let text = match std::fs::read(&waiting) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(key),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", waiting.display())),
    };
    // One that was not written whole sealed nothing.
    if let Some(new) = parse(&text).ok().filter(|new| sealed_with == Some(&Sealer::new(new).key_id())) {
        adopt(path).with_context(|| format!("cannot put {} in its place", waiting.display()))?;
        return Ok(new);
    }
    let present = sealed_with.is_none_or(|id| Sealer::new(&key).key_id() == id);
    if present {
        std::fs::remove_file(&waiting).with_context(|| format!("cannot remove {}", waiting.display()))?;
    }
    Ok(key)
}

/// The file as what exchanges the key.
pub struct KeyFile(pub PathBuf);

impl MasterKeys for KeyFile {
    fn prepare(&self) -> millpond_service::Result<Sealer> {
        let mut key = [0; MASTER_KEY_BYTES];
        OsRandom.fill(&mut key);
        let folder = self.0.parent().unwrap_or(Path::new("."));
        // A key that waits already may be the one that opens the store: only a start finds out.
        let written = write(OpenOptions::new().create_new(true), &beside(&self.0), &key);
        written.and_then(|()| File::open(folder)?.sync_all()).map_err(|error| {
            let message = match error.kind() {
                ErrorKind::AlreadyExists => {
                    "an earlier exchange of the master key was cut off; restart the server, then repeat this"
                        .to_owned()
                }
                _ => format!("a new master key cannot be written beside the present one: {error}"),
            };
            millpond_service::Error::new(Kind::Invalid, message)
        })?;
        Ok(Sealer::new(&key))
    }

    fn adopt(&self) -> millpond_service::Result<()> {
        adopt(&self.0).map_err(|error| {
            let message = format!(
                "the new master key is in force but waits beside the file of the earlier one: {error}"
            );
            millpond_service::Error::new(Kind::Internal, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/master.key");
        let missing = load_or_create(&path, DataIs::Existing, &OsRandom).expect_err("data without a key");
        assert!(missing.to_string().contains("--master-key-file"), "{missing}");
        let key = load_or_create(&path, DataIs::New, &OsRandom).expect("made");
        assert_eq!(load_or_create(&path, DataIs::New, &OsRandom).expect("read"), key);
        assert_eq!(load_or_create(&path, DataIs::Existing, &OsRandom).expect("read"), key);
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().expect("folder")).expect("list").count(), 1);
        assert_eq!(create(&path, &OsRandom).expect("somebody was faster"), key);
    }

    #[test]
    fn an_open_or_damaged_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        load_or_create(&path, DataIs::New, &OsRandom).expect("made");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("opened");
        let open = load_or_create(&path, DataIs::New, &OsRandom).expect_err("open to all");
        assert!(open.to_string().contains("chmod 600"), "{open}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("closed");
        std::fs::write(&path, "abc").expect("damaged");
        let damaged = load_or_create(&path, DataIs::New, &OsRandom).expect_err("no key");
        assert!(format!("{damaged:#}").contains("64 hex digits"), "{damaged:#}");
    }

    /// Cut off at any step, the start finds the key that opens the store.
    #[test]
    fn an_exchange_that_was_cut_off_is_settled() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        let id = |key: &[u8; MASTER_KEY_BYTES]| Sealer::new(key).key_id();
        let old = load_or_create(&path, DataIs::New, &OsRandom).expect("made");
        assert_eq!(settle(&path, old, Some(&id(&old))).expect("nothing waits"), old);

        std::fs::write(beside(&path), "half").expect("cut off while it was written");
        assert_eq!(settle(&path, old, Some(&id(&old))).expect("settled"), old);
        assert!(!beside(&path).exists());

        let file = KeyFile(path.clone());
        file.prepare().expect("before the commit");
        assert_eq!(settle(&path, old, Some(&id(&old))).expect("settled"), old);
        assert!(!beside(&path).exists());

        let sealer = file.prepare().expect("after the commit");
        let new = settle(&path, old, Some(&sealer.key_id())).expect("settled");
        assert_eq!((id(&new), beside(&path).exists()), (sealer.key_id(), false));
        assert_eq!(load_or_create(&path, DataIs::Existing, &OsRandom).expect("read"), new);
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o600);

        file.prepare().expect("two keys");
        assert!(file.prepare().is_err(), "the waiting key may be the one that is needed");
        assert_eq!(settle(&path, new, Some("another")).expect("neither opens"), new);
        assert!(beside(&path).exists(), "nothing is thrown away that may be needed");
    }
}
