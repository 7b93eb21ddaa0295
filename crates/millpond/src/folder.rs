//! Making directories so that a power cut does not take them back with all that was promised to be in them.
#![allow(
    clippy::disallowed_methods,
    reason = "part of the adapters for the data directory and the master key"
)]

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes the directory and those above it that are missing, private to this user. When it returns, their
/// names are durable; what is put into them later is for others to sync.
///
/// # Errors
/// The operating system refuses.
pub fn make_private(folder: &Path) -> Result<()> {
    make(folder, &mut |parent| File::open(parent)?.sync_all())
}

fn make(folder: &Path, sync: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(parent, sync)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        // Somebody else was faster; whether it is a directory is found out by its first use.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn every_new_name_is_synced_where_it_stands() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("a/b/c");
        let mut synced = Vec::new();
        let mut note = |parent: &Path| {
            synced.push(parent.to_owned());
            Ok(())
        };
        make(&deep, &mut note).expect("made");
        make(&deep, &mut note).expect("there already");
        assert_eq!(synced, [root.path().to_owned(), root.path().join("a"), root.path().join("a/b")]);
        for folder in ["a", "a/b", "a/b/c"] {
            let mode = std::fs::metadata(root.path().join(folder)).expect("there").mode();
            assert_eq!(mode & 0o777, 0o700, "{folder}");
        }
        std::fs::write(root.path().join("file"), "").expect("written");
        assert!(make_private(&root.path().join("file/below")).is_err());
    }
}
