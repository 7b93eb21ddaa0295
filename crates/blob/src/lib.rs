//! The object store as a port: named immutable blobs, published durably, read by range.
//!
//! Adapters: [`MemoryBlobs`] and [`LocalBlobs`]; `contract` is the one suite that every adapter passes.
//! This crate does not know what the bytes mean, nor about repositories, hashes of content or S3.

#[cfg(feature = "contract")]
pub mod contract;
mod local;
mod memory;

pub use local::{Damage, LocalBlobs, LocalCounters};
pub use memory::MemoryBlobs;

use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The name of a blob: made by the server, ASCII `[a-z0-9/._-]`, no empty segment, at most 255 bytes.
/// User keys never become blob keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey(Arc<str>);

impl BlobKey {
    /// Wraps a name that this program made.
    ///
    /// # Panics
    /// If the name breaks the rule above: that is a bug here, never bad input.
    pub fn new(name: &str) -> Self {
        Self::parse(name).unwrap_or_else(|| panic!("blob key {name:?} breaks the rule for blob keys"))
    }
    /// Wraps a name read from a disk; `None` if it breaks the rule.
    pub fn parse(name: &str) -> Option<Self> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/._-".contains(&b);
        let keeps = !name.is_empty()
            && name.len() <= 255
            && name.bytes().all(ok)
            && !name.split('/').any(|s| s.is_empty() || s.starts_with('.'));
        keeps.then(|| Self(name.into()))
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for BlobKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What the caller must do next is the kind.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No blob of that name.
    #[error("blob {0} does not exist")]
    NotFound(String),
    /// The stored bytes are damaged; none of the damaged block was returned. Restore from another copy.
    #[error("blob {0} is damaged: {1}")]
    Damaged(String, String),
    /// The range ends beyond the blob.
    #[error("range {0:?} is outside blob of {1} bytes")]
    Range(Range<u64>, u64),
    /// The store is full or busy; the same call may succeed later. Nothing was published.
    #[error("object store is busy: {0}")]
    Busy(String),
    /// The store failed. For a publish it is unknown whether it happened.
    #[error("object store failed: {0}")]
    Failed(String),
}

/// The contract of an object store. All methods may be called at the same time.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Publishes a whole blob. When it returns `Ok` the bytes survive a power cut. Publishing a name again
    /// with the same bytes is `Ok`; with other bytes the newer may win (names are derived from content or random).
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError>;

    /// Starts a blob whose bytes come in pieces. Nothing is visible before [`BlobWriter::publish`];
    /// dropping the writer discards what was written.
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// Opens a blob for reading. Bytes are checked as they are read.
    async fn open(&self, key: &BlobKey) -> Result<Arc<dyn BlobReader>, BlobError>;

    /// Whether the blob exists, and its size in bytes.
    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError>;

    /// Removes a blob; a missing one is no error. Space may be given back later.
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError>;

    /// Names beginning with `prefix` and greater than `after`, ascending, at most `limit`, with sizes.
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError>;

    /// Damage that the store met by itself, when it was opened and in listings since. Reads report theirs to
    /// their callers.
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }

    /// Why nothing is written any more until the store is opened again: a write failed in a way that left unknown
    /// what is on the disk.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// A blob being written.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError>;
    /// Makes the blob durable and visible under its key.
    async fn publish(self: Box<Self>) -> Result<(), BlobError>;
}

/// An open blob. It stays readable while open even if the blob is deleted meanwhile, where the store can do so.
#[async_trait]
pub trait BlobReader: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// The bytes of the range, all of them; every block touched is checked before any byte of it is returned.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError>;
}
