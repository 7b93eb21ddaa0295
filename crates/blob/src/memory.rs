//! The object store in memory, for tests and simulation.

use crate::{BlobError, BlobKey, BlobReader, BlobWriter, Blobs};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

type Map = Arc<RwLock<BTreeMap<BlobKey, Bytes>>>;

/// Loses everything when dropped; otherwise keeps the contract.
#[derive(Default)]
pub struct MemoryBlobs {
    map: Map,
}

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        self.map.write().insert(key.clone(), bytes);
        Ok(())
    }

    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(Writer { key: key.clone(), buffer: BytesMut::new(), map: self.map.clone() }))
    }

    async fn open(&self, key: &BlobKey) -> Result<Arc<dyn BlobReader>, BlobError> {
        match self.map.read().get(key) {
            Some(bytes) => Ok(Arc::new(bytes.clone())),
            None => Err(BlobError::NotFound(key.as_str().to_owned())),
        }
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        Ok(self.map.read().get(key).map(|bytes| bytes.len() as u64))
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.map.write().remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError> {
        let map = self.map.read();
        let all = map.range::<BlobKey, _>((Bound::Unbounded, Bound::<BlobKey>::Unbounded));
        let wanted = all.filter(|(key, _)| key.as_str().starts_with(prefix) && key.as_str() > after);
        Ok(wanted.take(limit).map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect())
    }
}

struct Writer {
    key: BlobKey,
    buffer: BytesMut,
    map: Map,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }
    async fn publish(self: Box<Self>) -> Result<(), BlobError> {
        self.map.write().insert(self.key, self.buffer.freeze());
        Ok(())
    }
}

/// Bytes in memory, wherever they come from.
#[async_trait]
impl BlobReader for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }
    async fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        if range.start > range.end || range.end > self.size() {
            return Err(BlobError::Range(range, self.size()));
        }
        Ok(self.slice(range.start as usize..range.end as usize))
    }
}
