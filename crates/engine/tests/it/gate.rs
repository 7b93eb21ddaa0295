//! Stores that stop at a gate, so that a test can stand in the window between decision and durability.

use async_trait::async_trait;
use bytes::Bytes;
use millpond_blob::{BlobError, BlobKey, BlobReader, BlobWriter, Blobs};
use millpond_kv::{Batch, Kv, KvError, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// A gate that is open until it is shut.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    shut: AtomicBool,
    permits: Semaphore,
    waiting: AtomicUsize,
}

impl Gate {
    pub fn new() -> Self {
        let inner =
            Inner { shut: AtomicBool::new(false), permits: Semaphore::new(0), waiting: AtomicUsize::new(0) };
        Self(Arc::new(inner))
    }
    pub fn shut(&self) {
        self.0.shut.store(true, Ordering::SeqCst);
    }
    /// Lets one through.
    pub fn one(&self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.permits.add_permits(1);
    }
    /// Lets everyone through from now on.
    pub fn open(&self) {
        self.0.shut.store(false, Ordering::SeqCst);
        self.0.permits.add_permits(1_000);
    }
    /// Returns when somebody stands at the gate, and everything else that can run has run.
    pub async fn somebody_waits(&self) {
        while self.0.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        everything_else_runs().await;
    }
    async fn pass(&self) {
        if self.0.shut.load(Ordering::SeqCst) {
            self.0.waiting.fetch_add(1, Ordering::SeqCst);
            self.0.permits.acquire().await.unwrap().forget();
        }
    }
}

/// On a runtime of one thread, every task that is ready gets its turn.
pub async fn everything_else_runs() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// A metadata store whose journal rows wait at the gate.
pub struct GatedKv {
    pub inner: Arc<dyn Kv>,
    pub gate: Gate,
}

#[async_trait]
impl Kv for GatedKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.inner.get(key).await
    }
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.inner.scan(from, to, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        if batch.writes.iter().any(|w| matches!(w, Write::Put(key, _) if key.starts_with(b"j/"))) {
            self.gate.pass().await;
        }
        self.inner.commit(batch).await
    }
}

/// An object store that is busy for a while when a whole blob is put or deleted.
pub struct BusyBlobs {
    pub inner: Arc<dyn Blobs>,
    pub refusals: AtomicUsize,
}

impl BusyBlobs {
    fn refuse(&self) -> Result<(), BlobError> {
        let take = |left: usize| left.checked_sub(1);
        match self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Err(BlobError::Busy("for a while".into())),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Blobs for BusyBlobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        self.refuse()?;
        self.inner.put(key, bytes).await
    }
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.inner.create(key).await
    }
    async fn open(&self, key: &BlobKey) -> Result<Arc<dyn BlobReader>, BlobError> {
        self.inner.open(key).await
    }
    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.refuse()?;
        self.inner.delete(key).await
    }
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError> {
        self.inner.list(prefix, after, limit).await
    }
}

/// An object store that waits at the gate before it opens a blob.
pub struct GatedBlobs {
    pub inner: Arc<dyn Blobs>,
    pub gate: Gate,
}

#[async_trait]
impl Blobs for GatedBlobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        self.inner.put(key, bytes).await
    }
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.inner.create(key).await
    }
    async fn open(&self, key: &BlobKey) -> Result<Arc<dyn BlobReader>, BlobError> {
        self.gate.pass().await;
        self.inner.open(key).await
    }
    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.inner.delete(key).await
    }
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(BlobKey, u64)>, BlobError> {
        self.inner.list(prefix, after, limit).await
    }
}
