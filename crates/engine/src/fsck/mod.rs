//! The proof that everything stored is what was written: from refs down to the hash of every object's bytes.
//!
//! The accident this prevents: a disk loses bytes of an object that nobody reads for a year, all backups that
//! still had them are gone by then. So `fsck` reads everything that anything refers to, once, and names each
//! defect: where it is, what is lost, what to do.
//!
//! It looks at what is stored, not at what a running engine has in memory: it loads refs from the metadata store
//! as a start would ([`load`]), walks their trees through the packs themselves ([`trees`]), and reads the bytes
//! ([`data`]). So one code checks a running server, a stopped one and a backup. Everything is judged as of one
//! row of the journal; what is written later is left to the next check.
//!
//! Memory: about 40 bytes for each stored object and 60 for each tree node, beside the refs themselves.

mod data;
mod load;
mod trees;

use crate::engine::Engine;
use crate::tasks::Tasks;
use crate::watch::{Defect, Watch};
use crate::{Error, Kind, Result};
use data::Data;
use millpond_blob::Blobs;
use millpond_kv::Kv;
use millpond_origin::Origin;
use millpond_types::RepositoryName;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What to check.
#[derive(Clone, Debug)]
pub struct FsckRequest {
    /// Only this repository.
    pub repository: Option<RepositoryName>,
    /// Only metadata: refs, commits, trees and packs, not the bytes of objects.
    pub quick: bool,
    /// How many objects are read at the same time; at least 1.
    pub parallel: usize,
    /// Where imported objects are, to see whether each is still what was imported. Without it, or with `quick`,
    /// they are only counted. A running engine looks where it imports from.
    pub origin: Option<Arc<dyn Origin>>,
}

impl Default for FsckRequest {
    fn default() -> Self {
        Self { repository: None, quick: false, parallel: 2, origin: None }
    }
}

/// Restoring is what helps when nothing else does.
pub(crate) const RESTORE: &str = "restore the data directory from a backup (millpond restore)";
/// A content-addressed object heals when the same bytes come again.
pub(crate) const REWRITE: &str =
    "write an object with the same bytes into the repository again, which heals it, or restore from a backup";
/// What was imported belongs to somebody else.
pub(crate) const SOURCE: &str = "put the file back as it was (also its times), import it again, or upload it; commits that have it cannot read it";
/// What is derived is made again.
pub(crate) const REBUILT: &str = "nothing is lost: it is made anew from the packs";

/// Counts of what was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Repositories.
    pub repositories: u64,
    /// Branches, with what is uncommitted on them.
    pub branches: u64,
    /// Tags.
    pub tags: u64,
    /// Commits.
    pub commits: u64,
    /// Entries of the ref log.
    pub moves: u64,
    /// Rows of the journal since the last checkpoint.
    pub journal_rows: u64,
    /// The journal row up to which writes were taken into account.
    pub upto_row: u64,
    /// Packs of tree nodes.
    pub packs: u64,
    /// Tree nodes that a ref needs.
    pub nodes: u64,
    /// Entries in the leaves among them and in staging; one that is in two versions of a leaf counts twice.
    pub entries: u64,
    /// Blobs whose bytes were read and found right; each is read once.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Entries whose bytes are not here: imported.
    pub imported: u64,
    /// Imported objects, each once, that are not there any more.
    pub sources_missing: u64,
    /// Those that are not what was imported any more.
    pub sources_changed: u64,
    /// Those that could not be looked at.
    pub sources_unreadable: u64,
    /// Entries whose bytes nobody here has seen, so that there is nothing to compare with: linked.
    pub declared: u64,
    /// Of those: the ones whose bytes are not there, or not as many as declared.
    pub declared_unreadable: u64,
    /// What nothing refers to. Until garbage collection exists it stays; on a running server it may also be in
    /// the making.
    pub orphans: Orphans,
    /// Defects found, also those that were not kept.
    pub defects: u64,
}

/// What nothing refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Blobs with object bytes.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Packs of which no node is needed.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Nodes that are not needed, in any pack.
    pub nodes: u64,
    /// Bytes of their records.
    pub node_bytes: u64,
    /// Blobs of deleted repositories.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
}

/// What all parts of a check share.
struct Check {
    kv: Arc<dyn Kv>,
    blobs: Arc<dyn Blobs>,
    tasks: Arc<dyn Tasks>,
    watch: Arc<Watch>,
    request: FsckRequest,
}

impl Engine {
    /// Checks what is stored, as of one moment between two writes; writers go on meanwhile.
    ///
    /// # Errors
    /// The stores fail, or there is no such repository. Defects are no error: they are in `watch`.
    pub async fn fsck(&self, mut request: FsckRequest, watch: Arc<Watch>) -> Result<FsckReport> {
        request.origin.get_or_insert_with(|| self.options.origin.clone());
        let check = Check {
            kv: self.kv.clone(),
            blobs: self.blobs.clone(),
            tasks: self.options.tasks.clone(),
            watch,
            request,
        };
        self.without_deletions(self.checked(&check)).await
    }

    async fn checked(&self, check: &Check) -> Result<FsckReport> {
        let listed = check.list().await?;
        // Tables change at checkpoints only, so without one they and the journal up to `next` are one state.
        let no_checkpoint = self.checkpointing.lock().await;
        // A journal that has stopped writes nothing any more: what is stored is one state.
        let next = self.journal.capture(|next, _| next).await.unwrap_or(u64::MAX);
        let loaded = check.load(next).await?;
        drop(no_checkpoint);
        check.run(listed, loaded).await
    }
}

/// Checks stores that no engine has open: those of a stopped server, or a backup.
///
/// # Errors
/// As [`Engine::fsck`].
pub async fn fsck(
    kv: Arc<dyn Kv>,
    blobs: Arc<dyn Blobs>,
    tasks: Arc<dyn Tasks>,
    request: FsckRequest,
    watch: Arc<Watch>,
) -> Result<FsckReport> {
    let check = Check { kv, blobs, tasks, watch, request };
    let listed = check.list().await?;
    let loaded = check.load(u64::MAX).await?;
    check.run(listed, loaded).await
}

impl Check {
    async fn run(&self, listed: data::Listed, loaded: load::Loaded) -> Result<FsckReport> {
        let mut report = loaded.report;
        for damage in self.blobs.damage() {
            self.watch.defect(Defect {
                repository: None,
                reference: None,
                path: None,
                thing: format!("file {} at byte {}", damage.file.display(), damage.offset),
                what: format!("{}; objects that were there are named by themselves", damage.what),
                remedy: RESTORE,
            });
        }
        let mut repos: Vec<_> = loaded.root.read().by_uid.values().cloned().collect();
        repos.sort_unstable_by_key(|repo| repo.info().name.clone());
        let live: std::collections::HashSet<_> = repos.iter().map(|repo| repo.uid).collect();
        if let Some(wanted) = &self.request.repository {
            repos.retain(|repo| repo.info().name == *wanted);
            if repos.is_empty() {
                return Err(Error::new(
                    Kind::NotFound(crate::Thing::Repository),
                    format!("repository '{wanted}' not found"),
                ));
            }
        }
        let mut listed = listed;
        for repo in repos {
            let objects = listed.objects.remove(&repo.uid);
            let mut data = Data::new(self, &repo, objects);
            data.journal_commits = repo.unsaved.read().commits.clone();
            let packs = listed.packs.remove(&repo.uid).unwrap_or_default();
            self.repository(&repo, packs, data, &mut report).await?;
        }
        if self.request.repository.is_none() {
            if let Some(trail) = loaded.trail {
                self.trail(trail).await?;
            }
            let of_deleted = listed.objects.iter().filter(|(uid, _)| !live.contains(uid));
            for bytes in of_deleted.flat_map(|(_, objects)| objects.values()).map(|object| object.bytes()) {
                report.orphans.deleted_objects += 1;
                report.orphans.deleted_bytes += bytes;
            }
            let of_deleted = listed.packs.iter().filter(|(uid, _)| !live.contains(uid));
            for (_, bytes) in of_deleted.flat_map(|(_, packs)| packs) {
                report.orphans.deleted_objects += 1;
                report.orphans.deleted_bytes += bytes;
            }
        }
        report.defects = self.watch.defects.load(Ordering::Relaxed);
        self.watch.phase("done");
        Ok(report)
    }
}
