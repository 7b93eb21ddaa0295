//! The master key file: 64 hex digits, made at the first start, readable by its owner only.
//!
//! It lies outside the data directory, so that a copy or backup of the data opens no secret in it.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for the master key file")]

use crate::folder;
use anyhow::{Context, Result, bail, ensure};
use millpond_auth::MASTER_KEY_BYTES;
use millpond_types::Random;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

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
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(format!("{}\n", hex::encode(key)).as_bytes())?;
    file.sync_all()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::OsRandom;
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
}
