//! A blob whose bytes come in pieces. Up to 64 KiB it stays in memory and ends in a segment; a longer one goes to a
//! temporary file in large steps, one being written while the next is gathered.

use super::blob_file::FileSink;
use super::{SMALL_BYTES_MAX, Shared, blocking};
use crate::{BlobError, BlobKey, BlobWriter};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinHandle;

/// Bytes gathered before they are written, so that handing over to a blocking thread costs little.
const STEP_BYTES: usize = 512 * 1024;

/// See the module documentation.
pub struct LocalWriter {
    shared: Arc<Shared>,
    key: BlobKey,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    file: Progress,
}

enum Progress {
    /// Nothing is on the disk yet.
    Memory,
    /// A step is being written; its end gives the file back.
    Step(JoinHandle<Result<FileSink, BlobError>>),
    /// An earlier step failed.
    Failed,
}

impl LocalWriter {
    /// Starts an empty blob.
    pub(super) fn new(shared: Arc<Shared>, key: BlobKey) -> Self {
        Self { shared, key, gathered: Vec::new(), gathered_bytes: 0, file: Progress::Memory }
    }

    /// Waits for the step before and returns what the next one appends to.
    async fn settle(&mut self) -> Result<Option<FileSink>, BlobError> {
        let lost = || BlobError::Failed("an earlier write of this blob failed".into());
        let step = match std::mem::replace(&mut self.file, Progress::Failed) {
            Progress::Memory => return Ok(None),
            Progress::Step(step) => step,
            Progress::Failed => return Err(lost()),
        };
        step.await.map_err(|e| BlobError::Failed(format!("a task of the object store: {e}")))?.map(Some)
    }

    async fn start_step(&mut self) -> Result<(), BlobError> {
        let sink = self.settle().await?;
        let pieces = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let shared = self.shared.clone();
        self.file = Progress::Step(tokio::task::spawn_blocking(move || append(&shared, sink, &pieces)));
        Ok(())
    }
}

fn append(shared: &Shared, sink: Option<FileSink>, pieces: &[Bytes]) -> Result<FileSink, BlobError> {
    let mut sink = match sink {
        Some(sink) => sink,
        None => FileSink::new(shared.disk.temp()?),
    };
    sink.append(pieces)?;
    Ok(sink)
}

#[async_trait]
impl BlobWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        match self.gathered_bytes >= STEP_BYTES {
            true => self.start_step().await,
            false => Ok(()),
        }
    }

    async fn publish(mut self: Box<Self>) -> Result<(), BlobError> {
        let sink = self.settle().await?;
        let pieces = std::mem::take(&mut self.gathered);
        if sink.is_none() && self.gathered_bytes <= SMALL_BYTES_MAX {
            return self.shared.put_small(&self.key, join(pieces)).await;
        }
        let (shared, key) = (self.shared.clone(), self.key.clone());
        blocking(move || {
            let sink = append(&shared, sink, &pieces)?;
            sink.publish(&shared.disk, &shared.file_path(&key), &key)?;
            shared.files_published.fetch_add(1, Ordering::Relaxed);
            shared.small.generation.fetch_add(1, Ordering::Release);
            Ok(())
        })
        .await?;
        // A small blob of that name would be found first.
        self.shared.delete_small(&self.key).await
    }
}

/// One piece is passed on as it is; several are copied together.
fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.swap_remove(0),
        _ => {
            let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            for piece in pieces {
                whole.extend_from_slice(&piece);
            }
            whole.freeze()
        }
    }
}
