//! Stores of which the *k*-th call fails.

use async_trait::async_trait;
use bytes::Bytes;
use millpond_blob::{BlobError, BlobKey, BlobReader, BlobWriter, Blobs};
use millpond_kv::{Batch, Kv, KvError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done; it may be tried again.
    Busy,
    /// Unknown to the caller: nothing was done. The store writes no more.
    FailedBefore,
    /// Unknown to the caller: it was done. The store writes no more.
    FailedAfter,
}

/// What the two stores of one world share.
#[derive(Default)]
pub struct Faults {
    pub calls: AtomicU64,
    pub fails_at: AtomicU64,
    pub busy_for: AtomicU64,
    pub quiet: AtomicBool,
    pub kv_failed: AtomicBool,
    pub blobs_failed: AtomicBool,
}

impl Faults {
    /// Whether one of the stores has stopped.
    pub fn has_failed(&self) -> bool {
        self.kv_failed.load(Ordering::SeqCst) || self.blobs_failed.load(Ordering::SeqCst)
    }

    /// Counts a call. Whether it is the one that fails.
    fn strikes(&self) -> bool {
        if self.quiet.load(Ordering::SeqCst) {
            return false;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let first = self.fails_at.load(Ordering::SeqCst);
        first > 0 && (first..first + self.busy_for.load(Ordering::SeqCst)).contains(&call)
    }
}

pub struct FaultyKv {
    pub inner: Arc<dyn Kv>,
    pub faults: Arc<Faults>,
    pub fault: Fault,
}

impl FaultyKv {
    fn read(&self) -> Result<(), KvError> {
        match (self.faults.strikes(), self.fault) {
            (false, _) => Ok(()),
            (true, Fault::Busy) => Err(KvError::Busy("injected".into())),
            (true, _) => Err(KvError::Failed("injected".into())),
        }
    }
}

#[async_trait]
impl Kv for FaultyKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read()?;
        self.inner.get(key).await
    }
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.read()?;
        self.inner.scan(from, to, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        if self.faults.kv_failed.load(Ordering::SeqCst) {
            return Err(KvError::Failed("failed before".into()));
        }
        match (self.faults.strikes(), self.fault) {
            (false, _) => return self.inner.commit(batch).await,
            (true, Fault::Busy) => return Err(KvError::Busy("injected".into())),
            (true, Fault::FailedBefore) => {}
            (true, Fault::FailedAfter) => self.inner.commit(batch).await?,
        }
        self.faults.kv_failed.store(true, Ordering::SeqCst);
        Err(KvError::Failed("injected".into()))
    }
}

#[derive(Clone)]
pub struct FaultyBlobs {
    pub inner: Arc<dyn Blobs>,
    pub faults: Arc<Faults>,
    pub fault: Fault,
}

impl FaultyBlobs {
    fn read(&self) -> Result<(), BlobError> {
        match (self.faults.strikes(), self.fault) {
            (false, _) => Ok(()),
            (true, Fault::Busy) => Err(BlobError::Busy("injected".into())),
            (true, _) => Err(BlobError::Failed("injected".into())),
        }
    }

    async fn write(&self, work: impl Future<Output = Result<(), BlobError>>) -> Result<(), BlobError> {
        if self.faults.blobs_failed.load(Ordering::SeqCst) {
            return Err(BlobError::Failed("failed before".into()));
        }
        match (self.faults.strikes(), self.fault) {
            (false, _) => return work.await,
            (true, Fault::Busy) => return Err(BlobError::Busy("injected".into())),
            (true, Fault::FailedBefore) => {}
            (true, Fault::FailedAfter) => work.await?,
        }
        self.faults.blobs_failed.store(true, Ordering::SeqCst);
        Err(BlobError::Failed("injected".into()))
    }
}

#[async_trait]
impl Blobs for FaultyBlobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        self.write(self.inner.put(key, bytes)).await
    }
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.read()?;
        Ok(Box::new(FaultyWriter { inner: self.inner.create(key).await?, blobs: self.clone() }))
    }
    async fn open(&self, key: &BlobKey) -> Result<Arc<dyn BlobReader>, BlobError> {
        self.read()?;
        self.inner.open(key).await
    }
    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        self.read()?;
        self.inner.size(key).await
    }
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.write(self.inner.delete(key)).await
    }
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError> {
        self.read()?;
        self.inner.list(prefix, after, limit).await
    }
    fn failure(&self) -> Option<String> {
        self.faults.blobs_failed.load(Ordering::SeqCst).then(|| "injected".into())
    }
}

struct FaultyWriter {
    inner: Box<dyn BlobWriter>,
    blobs: FaultyBlobs,
}

#[async_trait]
impl BlobWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.blobs.read()?;
        self.inner.write(bytes).await
    }
    async fn publish(self: Box<Self>) -> Result<(), BlobError> {
        self.blobs.write(self.inner.publish()).await
    }
}
