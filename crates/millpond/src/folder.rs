//! Making directories so that a power cut does not take them back with all that was promised to be in them.
#![allow(
    clippy::disallowed_methods,
    reason = "part of the adapters for the data directory and the master key"
)]

use std::fs::{DirBuilder, File, Metadata};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

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

/// Whether a path lies in a folder or is it, whatever links and `..` lead there; also one that is not made yet, of
/// which what is there decides. A folder that is mounted in a second place is the same folder.
///
/// # Errors
/// The operating system refuses to look; a link leads nowhere.
pub fn is_inside(path: &Path, folder: &Path) -> Result<bool> {
    let folder = match std::fs::metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => identity(&found?),
    };
    // Name by name, as the operating system goes. What is not there yet will be made of plain directories, in which
    // `..` leads back.
    let (mut real, mut below) = (PathBuf::new(), 0_usize);
    for part in std::path::absolute(path)?.components() {
        match part {
            Component::ParentDir if below > 0 => below -= 1,
            _ if below > 0 => below += 1,
            part => match real.join(part).symlink_metadata() {
                Ok(_) => real = real.join(part).canonicalize()?,
                Err(error) if error.kind() == ErrorKind::NotFound => below = 1,
                Err(error) => return Err(error),
            },
        }
    }
    for above in real.ancestors() {
        if identity(&std::fs::metadata(above)?) == folder {
            return Ok(true);
        }
    }
    Ok(false)
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_inside_is_judged_by_what_is_there() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for name in ["data/blobs", "data-2", "else"] {
            std::fs::create_dir_all(at(name)).expect("made");
        }
        std::os::unix::fs::symlink(at("data"), at("else/link")).expect("linked");
        std::os::unix::fs::symlink(at("else"), at("data/out")).expect("linked");
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).expect("linked");
        let inside = |name: &str| is_inside(&at(name), &at("data")).expect("judged");
        for name in [
            "data",
            "data/",
            "data/x/y",
            "else/link",
            "else/link/x",
            "data/blobs/../x",
            "else/../data/x",
            "else/x/../../data/x",
            "data/x/../y",
            "data/blobs/x/../../y",
            "else/link/blobs/new/../../new",
        ] {
            assert!(inside(name), "{name}");
        }
        for name in ["data-2/x", "data/../x", "data/x/../../x", "data/out/x", "else/link/../x", "x/y"] {
            assert!(!inside(name), "{name}");
        }
        is_inside(&at("dangling/x"), &at("data")).expect_err("nobody knows where it leads");
        assert!(is_inside(&at("else/link/x"), &at("else/link")).expect("a link to the folder itself"));
        assert!(!is_inside(&at("x"), &at("missing")).expect("nothing lies in what is not there"));
    }

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
