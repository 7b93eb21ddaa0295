//! The metadata store as a port: ordered keys, range scans, and atomic batches of preconditioned writes.
//!
//! Adapters: [`MemoryKv`] and [`LocalKv`]; `contract` is the one suite that every adapter passes.
//! This crate does not know what is stored: no repository, branch or commit appears here.

#[cfg(feature = "contract")]
pub mod contract;
mod local;
mod memory;

pub use local::{LocalKv, LocalKvCounters};
pub use memory::MemoryKv;

use async_trait::async_trait;
use bytes::Bytes;

/// What must hold for a key before a batch is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists with exactly this value.
    Value(Bytes),
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the key.
    Put(Bytes, Bytes),
    /// Removes the key; a missing key is no error.
    Delete(Bytes),
    /// Removes every key in `from..to`.
    DeleteRange(Bytes, Bytes),
}

/// Writes that happen together or not at all, in order, if all preconditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Checked against the state before the batch.
    pub preconditions: Vec<(Bytes, Expect)>,
    /// Applied in order.
    pub writes: Vec<Write>,
}

/// What the caller must do next is the kind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KvError {
    /// Another writer was faster; read again and decide anew. Nothing was written.
    #[error("precondition failed on key {0:?}")]
    PreconditionFailed(Bytes),
    /// Stored bytes are not what was written: the row of this key, or the file as a whole (an empty key).
    /// Nothing of them was returned. Restore from a backup; fsck finds the extent.
    #[error("the metadata store is damaged at {key}: {1}", key = key_text(.0))]
    Damaged(Bytes, String),
    /// The store is busy; the same call may succeed later. Nothing was written.
    #[error("metadata store is busy: {0}")]
    Busy(String),
    /// The store failed. For a commit it is unknown whether it happened: stop writing until a restart.
    #[error("metadata store failed: {0}")]
    Failed(String),
}

/// A key for people: ASCII as it is, other bytes as `\xNN`.
pub fn key_text(key: &[u8]) -> String {
    format!("'{}'", key.escape_ascii())
}

/// The contract of a metadata store. All methods may be called at the same time.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    /// The value of a key, as of the last commit.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// Pairs with keys in `from..to`, ascending, at most `limit`, all of one state.
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError>;

    /// Applies the batch atomically. When it returns `Ok` the batch survives a power cut.
    async fn commit(&self, batch: Batch) -> Result<(), KvError>;
}

/// The smallest key greater than this one, for going on with a scan behind it.
pub fn key_after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// The smallest key greater than every key with this prefix, for use as `to` in a scan.
/// `None` when there is none (the prefix is empty or all 0xff).
pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&b| b != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}
