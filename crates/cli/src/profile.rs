//! Saved servers and keys: `~/.config/millpond/config.toml`, readable by its owner only.
//!
//! `millpond login` and `millpond up` write it. It never touches lakectl's own file.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for the profile file")]

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The profile used when none is named.
pub const DEFAULT: &str = "default";

/// One server and the keys for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Address.
    pub server: String,
    /// Public half of the key.
    pub access_key_id: String,
    /// Secret half of the key.
    pub secret_access_key: String,
    /// File with the certificates to trust for https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("server", &self.server).finish_non_exhaustive()
    }
}

#[derive(Default, Serialize, Deserialize)]
struct ProfileFile {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
    /// Keys of later versions survive a rewrite by this one.
    #[serde(flatten)]
    other: toml::Table,
}

/// Reads one profile; none if the file or the profile does not exist.
///
/// # Errors
/// The file cannot be read, or is not what it should be.
pub fn load(path: &Path, name: &str) -> io::Result<Option<Profile>> {
    Ok(load_file(path)?.profiles.remove(name))
}

/// Adds or replaces one profile. The file is replaced as a whole, with mode 0600.
///
/// # Errors
/// The file cannot be read or written; it is then unchanged.
pub fn save(path: &Path, name: &str, profile: &Profile) -> io::Result<()> {
    let mut file = load_file(path)?;
    file.profiles.insert(name.to_owned(), profile.clone());
    let text = toml::to_string(&file).map_err(io::Error::other)?;
    let folder = path.parent().ok_or_else(|| io::Error::other("the profile path has no folder"))?;
    std::fs::create_dir_all(folder)?;
    let next = path.with_extension(format!("toml.{}", std::process::id()));
    // A leftover of a crash may have another mode: make the file anew.
    if let Err(error) = std::fs::remove_file(&next)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next).and_then(
        |mut out| {
            out.write_all(text.as_bytes())?;
            out.sync_all()
        },
    );
    written.and_then(|()| std::fs::rename(&next, path)).inspect_err(|_| {
        // The first error is the one to report.
        drop(std::fs::remove_file(&next));
    })
}

/// Reads a certificate file named by a flag, a variable or a profile.
///
/// # Errors
/// It cannot be read.
pub fn read_certificates(path: &str) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

fn load_file(path: &Path) -> io::Result<ProfileFile> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ProfileFile::default()),
        Err(error) => return Err(error),
    };
    let text = std::str::from_utf8(&bytes).map_err(io::Error::other)?;
    // The parser's message quotes the line, which may hold the secret.
    toml::from_str(text).map_err(|error| io::Error::other(error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn profile(server: &str) -> Profile {
        Profile {
            server: server.into(),
            access_key_id: "AKIAJTEST".into(),
            secret_access_key: "s\"e\\cret".into(),
            ca_cert: None,
        }
    }

    #[test]
    fn profiles_come_back_and_stay_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/config.toml");
        assert_eq!(load(&path, DEFAULT).expect("no file"), None);
        save(&path, DEFAULT, &profile("http://a")).expect("saved");
        save(&path, "other", &profile("http://b")).expect("saved");
        save(&path, DEFAULT, &profile("http://c")).expect("replaced");
        assert_eq!(load(&path, DEFAULT).expect("read"), Some(profile("http://c")));
        assert_eq!(load(&path, "other").expect("read"), Some(profile("http://b")));
        assert_eq!(load(&path, "none").expect("read"), None);
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().expect("folder")).expect("list").count(), 1);
    }

    #[test]
    fn settings_of_later_versions_survive() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "pager = \"less\"\n[ui]\ntheme = \"dark\"\n").expect("written");
        save(&path, DEFAULT, &profile("http://a")).expect("saved");
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains("pager = \"less\"") && text.contains("theme = \"dark\""), "{text}");
        assert!(load(&path, DEFAULT).expect("read").is_some());
    }

    #[test]
    fn a_broken_file_is_reported_without_its_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "[profiles.default]\nsecret_access_key = hush-hush\n").expect("written");
        let error = load(&path, DEFAULT).expect_err("refused").to_string();
        assert!(!error.contains("hush"), "{error}");
    }
}
