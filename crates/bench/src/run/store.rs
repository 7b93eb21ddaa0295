//! What is left on disk and in memory, and how long a start takes.

use super::{Bench, REPOSITORY, object_key};
use crate::server::Server;
use anyhow::Result;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

impl Bench<'_> {
    /// Stops the server, starts it again and asks for one object of the N; then the same after SIGKILL.
    pub(super) async fn restart(&mut self) -> Result<()> {
        let resident = self.resident_mb()?;
        self.fact("rss-after", "resident memory after all scenarios before", resident, "MB");
        let target = format!(
            "/repositories/{REPOSITORY}/refs/{}/objects/stat?path={}",
            self.loaded,
            object_key(1, self.options.size)
        );
        self.server.kill()?;
        self.server = Server::start(&self.setup, &target, 200).await?;
        let took = self.server.first_answer.as_secs_f64() * 1000.0;
        self.fact("restart-killed", "start after SIGKILL to the first stat of an object", took, "ms");
        self.server.stop().await?;
        self.server = Server::start(&self.setup, &target, 200).await?;
        let took = self.server.first_answer.as_secs_f64() * 1000.0;
        self.fact("restart", "start after SIGTERM to the first stat of an object", took, "ms");
        self.metadata(
            "metadata-bytes-end",
            "bytes on disk without those of objects uploaded, for each of the N objects, at the end: all commits and branches of the run are in it",
        );
        Ok(())
    }

    pub(super) fn metadata(&mut self, name: &'static str, what: &str) {
        let on_disk = OnDisk::of(&self.setup.data());
        let metadata = on_disk.total().saturating_sub(self.object_bytes.get());
        self.report.note(format!("{name}: on disk {on_disk}"));
        self.fact(name, what, metadata as f64 / self.options.size as f64, "B");
    }
}

/// Bytes on disk (blocks, as `du` counts) of a server's data folder, by what they hold.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    parts: BTreeMap<&'static str, u64>,
}

impl OnDisk {
    /// Of the folder with everything below.
    pub fn of(folder: &Path) -> Self {
        let mut found = Self::default();
        found.add(folder);
        found
    }

    pub fn total(&self) -> u64 {
        self.parts.values().sum()
    }

    pub fn part(&self, name: &str) -> u64 {
        self.parts.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            let path = entry.path();
            if about.is_dir() {
                self.add(&path);
            } else {
                *self.parts.entry(part(&path)).or_default() += about.blocks() * 512;
            }
        }
    }
}

fn part(path: &Path) -> &'static str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".redb") {
        DATABASE
    } else if name.starts_with("metadata.") && name.ends_with(".log") {
        DATABASE_LOG
    } else if name.contains("+pack+") {
        PACKS
    } else if name.contains("+midx+") {
        PACK_INDEX
    } else if path.parent().is_some_and(|folder| folder.ends_with("segments")) {
        "small objects and small packs in segments"
    } else {
        "large objects and other"
    }
}

pub(super) const DATABASE: &str = "the database with its free pages";
pub(super) const DATABASE_LOG: &str = "the database's log";
pub(super) const PACKS: &str = "trees in packs";
pub(super) const PACK_INDEX: &str = "pack index";

impl std::fmt::Display for OnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, bytes)) in self.parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {:.2} MB", *bytes as f64 / 1e6)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_what_they_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in [
            ("metadata.redb", 4096),
            ("blobs/files/named/03/r1+pack+0000000100000001", 8192),
            ("blobs/files/named/99/r1+midx+01", 4096),
            ("x/y", 4096),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("made");
            std::fs::write(path, vec![1; bytes]).expect("written");
        }
        let found = OnDisk::of(folder.path());
        assert_eq!(found.part(PACKS), 8192, "{found}");
        assert_eq!(
            (found.part(DATABASE), found.part(PACK_INDEX), found.total()),
            (4096, 4096, 20_480),
            "{found}"
        );
    }
}
