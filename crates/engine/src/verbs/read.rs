//! Stat and open.

use super::put::describe;
use crate::address::{Place, place};
use crate::engine::Engine;
use crate::manifest::Manifest;
use crate::nodes::store_error;
use crate::state::Repo;
use crate::{Error, Kind, ObjectInfo, Result, Thing};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use millpond_blob::BlobReader;
use millpond_origin::{OriginError, OriginErrorKind};
use millpond_types::limits::READ_MEMORY_BYTES_MAX;
use millpond_types::{Content, ObjectPath, RefExpr, RepositoryName};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes of one read.
const READ_BYTES_MAX: u64 = 1024 * 1024;
/// Fewest: a block of the store, which is read and checked whole.
const READ_BYTES_MIN: u64 = 64 * 1024;

/// The reads that are under way. Each holds a piece, for as long as its client likes: the more there are, the
/// smaller their pieces, so that a thousand slow readers do not take a gigabyte.
#[derive(Debug, Default)]
pub(crate) struct Reads(Arc<AtomicU64>);

/// One of them.
struct Read(Arc<AtomicU64>);

impl Reads {
    fn begin(&self) -> Read {
        self.0.fetch_add(1, Ordering::Relaxed);
        Read(self.0.clone())
    }
}

impl Read {
    fn bytes(&self) -> u64 {
        let share = READ_MEMORY_BYTES_MAX / self.0.load(Ordering::Relaxed).max(1);
        (share / READ_BYTES_MIN * READ_BYTES_MIN).clamp(READ_BYTES_MIN, READ_BYTES_MAX)
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An object opened for reading: one state of it, whatever happens to its path meanwhile.
pub struct OpenObject {
    /// What it is.
    pub info: ObjectInfo,
    engine: Arc<Engine>,
    repo: Arc<Repo>,
    source: Source,
}

enum Source {
    Whole(Arc<dyn BlobReader>),
    Parts(Arc<Manifest>),
}

impl Engine {
    /// What is at a path.
    pub async fn stat_object(
        &self,
        repository: &RepositoryName,
        at: &RefExpr,
        path: &ObjectPath,
    ) -> Result<ObjectInfo> {
        let repo = self.repo(repository)?;
        let view = self.resolve_view(&repo, at).await?;
        let entry = view.get(&repo, path).await?.ok_or_else(|| not_found(path))?;
        Ok(describe(&repo, path.clone(), &entry))
    }

    /// Opens what is at a path.
    pub async fn open_object(
        &self,
        repository: &RepositoryName,
        at: &RefExpr,
        path: &ObjectPath,
    ) -> Result<OpenObject> {
        let info = self.stat_object(repository, at, path).await?;
        let repo = self.repo(repository)?;
        let place = place(&repo.state.read(), path, &info.entry)?;
        let reader = match place {
            Place::Data(name) => {
                self.blobs.open(&crate::keys::data(repo.uid, &name)).await.map_err(|e| no_data(path, e))?
            }
            Place::Origin(location, mark) => {
                let origin = self.options.origin.clone();
                let open = move |_: &dyn crate::tasks::Wait| origin.open(&location, mark);
                let opened = self.options.tasks.run_in(crate::tasks::Places::Origins, open).await?;
                opened.map_err(|error| not_as_seen(path, error))?
            }
            Place::Foreign(uri) => {
                return Err(Error::new(
                    Kind::Gone,
                    format!("No data: '{}' was linked from {uri} and is not kept here", path.to_text()),
                ));
            }
        };
        let source = match info.entry.content {
            Content::Parts(_) => {
                let bytes = reader.read(0..reader.size()).await.map_err(store_error)?;
                Source::Parts(Arc::new(Manifest::decode(bytes)?))
            }
            Content::Whole(_) | Content::Declared => Source::Whole(reader),
        };
        let stored = match &source {
            Source::Whole(reader) => reader.size(),
            Source::Parts(manifest) => manifest.parts.iter().map(|p| p.size).sum(),
        };
        if stored != info.entry.size {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "'{}' has {} bytes by its record, but {stored} are stored",
                    path.to_text(),
                    info.entry.size
                ),
            ));
        }
        Ok(OpenObject { info, engine: self.owned(), repo, source })
    }
}

fn not_found(path: &ObjectPath) -> Error {
    Error::new(Kind::NotFound(Thing::Object), format!("object '{}' not found", path.to_text()))
}

fn not_as_seen(path: &ObjectPath, error: OriginError) -> Error {
    let message = format!("No data: '{}' was imported, and {error}", path.to_text());
    match error.kind {
        // A place that may no longer be read is as good as gone.
        OriginErrorKind::Gone | OriginErrorKind::Refused => Error::new(Kind::Gone, message),
        OriginErrorKind::Busy => Error::new(Kind::Busy, message),
        OriginErrorKind::Failed => Error::new(Kind::Internal, message),
    }
}

fn no_data(path: &ObjectPath, error: millpond_blob::BlobError) -> Error {
    match error {
        millpond_blob::BlobError::NotFound(_) => {
            Error::new(Kind::Gone, format!("No data: the bytes of '{}' are not in the store", path.to_text()))
        }
        other => store_error(other),
    }
}

impl OpenObject {
    /// Sizes of the parts of a multipart object, in order; empty for others.
    pub fn part_sizes(&self) -> Vec<u64> {
        match &self.source {
            Source::Whole(_) => vec![],
            Source::Parts(manifest) => manifest.parts.iter().map(|p| p.size).collect(),
        }
    }

    /// The bytes of a range within the object, in pieces. Each block is checked before it is given.
    pub fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        match &self.source {
            Source::Whole(reader) => pieces(reader.clone(), range, self.engine.reads.begin()),
            Source::Parts(manifest) => {
                let (engine, repo) = (self.engine.clone(), self.repo.clone());
                let wanted = manifest.cover(range);
                futures::stream::iter(wanted)
                    .then(move |(name, within)| {
                        let (engine, key) = (engine.clone(), crate::keys::data(repo.uid, &name));
                        async move {
                            match engine.blobs.open(&key).await {
                                Ok(reader) => pieces(reader, within, engine.reads.begin()),
                                Err(e) => futures::stream::once(async { Err(store_error(e)) }).boxed(),
                            }
                        }
                    })
                    .flatten()
                    .boxed()
            }
        }
    }
}

fn pieces(reader: Arc<dyn BlobReader>, range: Range<u64>, read: Read) -> BoxStream<'static, Result<Bytes>> {
    futures::stream::unfold(range.start, move |at| {
        let (reader, end, bytes) = (reader.clone(), range.end, read.bytes());
        async move {
            if at >= end {
                return None;
            }
            // Whole blocks of the store, so that none is read and checked twice.
            let next = ((at / bytes + 1) * bytes).min(end);
            match reader.read(at..next).await {
                Ok(bytes) => Some((Ok(bytes), next)),
                Err(e) => Some((Err(store_error(e)), end)),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reads_together_keep_to_their_memory() {
        let reads = Reads::default();
        let mut held = vec![reads.begin()];
        assert_eq!(held[0].bytes(), READ_BYTES_MAX, "alone");
        let most = READ_MEMORY_BYTES_MAX / READ_BYTES_MIN;
        while (held.len() as u64) < most {
            held.push(reads.begin());
            let bytes = held[0].bytes();
            assert!(bytes % READ_BYTES_MIN == 0 && bytes * held.len() as u64 <= READ_MEMORY_BYTES_MAX);
        }
        held.push(reads.begin());
        assert_eq!(held[0].bytes(), READ_BYTES_MIN, "blocks are read whole");
        held.truncate(1);
        assert_eq!(held[0].bytes(), READ_BYTES_MAX, "alone again");
    }
}
