//! How long work tells whoever waits for it how far it is and what it has found: fsck, backup, restore.

use millpond_types::ObjectPath;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Defects that are kept with all they say; beyond it they are only counted.
const DEFECTS_KEPT_MAX: usize = 10_000;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The repository, where it is known.
    pub repository: Option<String>,
    /// The first ref found to need it: `branch main`, `branch main, uncommitted`, `tag v1`, `commit ...`.
    pub reference: Option<String>,
    /// The object, or the first of the range of objects, that cannot be read.
    pub path: Option<ObjectPath>,
    /// What is damaged or missing: a blob, a tree node, a pack, a commit, a row.
    pub thing: String,
    /// What does not hold.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// How far the work is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it is at, in words.
    pub phase: String,
    /// Blobs done so far.
    pub objects: u64,
    /// Blobs to do, as far as is known; 0 if nothing is.
    pub objects_total: u64,
    /// Bytes of the blobs done so far.
    pub bytes: u64,
    /// Bytes to do.
    pub bytes_total: u64,
    /// Entries met so far.
    pub entries: u64,
    /// Defects so far.
    pub defects: u64,
}

/// The wire between running work and whoever waits for it.
#[derive(Default)]
pub struct Watch {
    phase: Mutex<String>,
    pub(crate) objects: AtomicU64,
    pub(crate) objects_total: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) bytes_total: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) defects: AtomicU64,
    found: Mutex<Vec<Defect>>,
    gone: Mutex<Vec<Defect>>,
}

impl Watch {
    /// A new one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How far the work is.
    pub fn progress(&self) -> Progress {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Progress {
            phase: self.phase.lock().clone(),
            objects: of(&self.objects),
            objects_total: of(&self.objects_total),
            bytes: of(&self.bytes),
            bytes_total: of(&self.bytes_total),
            entries: of(&self.entries),
            defects: of(&self.defects),
        }
    }

    /// Takes the defects found since the last call.
    pub fn take_defects(&self) -> Vec<Defect> {
        std::mem::take(&mut *self.found.lock())
    }

    /// Takes the imported objects found since the last call that are not there any more, or not what was imported.
    /// Nothing that is stored here is damaged by it, so they are not counted as defects.
    pub fn take_gone_sources(&self) -> Vec<Defect> {
        std::mem::take(&mut *self.gone.lock())
    }

    /// Adds what was found wrong with a file as a whole.
    pub fn report(&self, thing: &str, what: &str) {
        self.defect(Defect {
            repository: None,
            reference: None,
            path: None,
            thing: thing.to_owned(),
            what: what.to_owned(),
            remedy: crate::fsck::RESTORE,
        });
    }

    pub(crate) fn phase(&self, words: impl Into<String>) {
        *self.phase.lock() = words.into();
    }

    pub(crate) fn defect(&self, defect: Defect) {
        self.defects.fetch_add(1, Ordering::Relaxed);
        let mut found = self.found.lock();
        if found.len() < DEFECTS_KEPT_MAX {
            found.push(defect);
        }
    }

    pub(crate) fn gone(&self, source: Defect) {
        let mut gone = self.gone.lock();
        if gone.len() < DEFECTS_KEPT_MAX {
            gone.push(source);
        }
    }

    /// Blobs that were done, and their bytes.
    pub(crate) fn add(&self, objects: u64, bytes: u64) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
