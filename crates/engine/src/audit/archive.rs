//! Keeping journal rows when a checkpoint is about to drop them, and letting go of those that are too old.
//!
//! The blob is durable before the batch that deletes the rows and names it: a crash in between leaves a blob that
//! nobody names, and the rows. Small segments are taken into the next, so that a server that writes once a minute
//! does not leave a segment a minute.

use super::segment::{Beginning, Reason, Segment, pack};
use crate::engine::{Engine, kv_error};
use crate::nodes::store_error;
use crate::record::Row;
use crate::tasks::Places;
use crate::{Error, Kind, Result, checkpoint, keys};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use millpond_blob::{BlobKey, Blobs};
use millpond_kv::{Kv, Write};
use millpond_types::{DecodeError, Timestamp};
use sha2::{Digest, Sha256};

/// A segment is closed when its rows come to this many bytes.
const SEGMENT_BYTES: usize = 8 << 20;
/// One with fewer bytes of rows is taken into the next.
const SMALL_BYTES: u64 = 256 << 10;
/// Rows of one read.
const PAGE_ROWS: usize = 1024;
/// Segments that one checkpoint lets go of at most.
const DROP_MAX: usize = 64;

/// What belongs into the batch that drops the rows, and what may be deleted after it.
#[derive(Default)]
pub(crate) struct Archived {
    pub writes: Vec<Write>,
    pub unnamed: Vec<BlobKey>,
}

impl Engine {
    /// Makes the rows that the checkpoint at `first` drops durable elsewhere. `previous` is the hash of the last.
    ///
    /// # Errors
    /// Then no row may be dropped.
    pub(crate) async fn archive(&self, first: u64, previous: &[u8; 32], now: Timestamp) -> Result<Archived> {
        let mut done = Archived::default();
        let (mut number, _) = checkpoint::read(&*self.kv).await?;
        if number < first {
            let mut rows = Rows { first: number, ..Rows::default() };
            if let Some(small) = self.small_end(number).await? {
                rows = Rows { first: small.0.first, bytes: small.0.raw_bytes as usize, rows: small.1 };
                done.unnamed.push(small.0.blob());
            }
            while number < first {
                let page = self.kv.scan(&keys::journal(number), &keys::journal(first), PAGE_ROWS).await;
                let page = page.map_err(kv_error)?;
                if page.is_empty() {
                    return Err(missing(number));
                }
                for (key, row) in page {
                    if key != keys::journal(number) {
                        return Err(missing(number));
                    }
                    if rows.bytes >= SEGMENT_BYTES {
                        let after = Row::summary(row.clone()).map_err(unreadable)?.0;
                        let full = std::mem::replace(&mut rows, Rows { first: number, ..Rows::default() });
                        done.writes.push(self.keep(full, after).await?);
                    }
                    rows.bytes += row.len();
                    rows.rows.push(row);
                    number += 1;
                }
            }
            done.writes.push(self.keep(rows, *previous).await?);
        }
        self.let_go(&mut done, now).await?;
        Ok(done)
    }

    /// The last segment and its rows, if it ends before `next` and is small. One that cannot be read stays what it
    /// is, for `verify` to name.
    async fn small_end(&self, next: u64) -> Result<Option<(Segment, Vec<Bytes>)>> {
        let end = millpond_kv::prefix_end(keys::AUDIT_SEGMENTS).expect("the prefix is not all 0xff");
        let newest = self.kv.scan(keys::AUDIT_SEGMENTS, &end, 1).await.map_err(kv_error)?;
        let Some((_, row)) = newest.into_iter().next() else { return Ok(None) };
        let Ok(segment) = Segment::decode(row) else { return Ok(None) };
        if segment.raw_bytes >= SMALL_BYTES || segment.next() != next {
            return Ok(None);
        }
        match segment.read(&*self.blobs, &*self.options.tasks).await {
            Ok(rows) => Ok(Some((segment, rows))),
            Err(error) if matches!(error.kind, Kind::Damaged | Kind::Gone) => {
                tracing::error!(%error, "the newest part of the audit trail cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a segment's blob durable and gives the row about it.
    async fn keep(&self, rows: Rows, after: [u8; 32]) -> Result<Write> {
        let made = self.options.tasks.run_in(Places::Unbounded, move |_| rows.segment(after)).await?;
        let (segment, blob) = made.map_err(unreadable)?;
        self.journal.alive()?;
        if let Err(error) = self.blobs.put(&segment.blob(), blob).await {
            let error = store_error(error);
            if error.kind == Kind::Internal {
                self.journal.fail(&error);
            }
            return Err(error);
        }
        Ok(Write::Put(keys::audit_segment(segment.first), segment.encode()))
    }

    /// Lets go of segments that are older than they are to be kept. The newest always stays.
    async fn let_go(&self, done: &mut Archived, now: Timestamp) -> Result<()> {
        let Some(keep) = self.options.audit_retention else { return Ok(()) };
        let oldest_kept = now.millis().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        let mut begin = Beginning::read(&*self.kv).await?;
        let was = begin;
        for _ in 0..DROP_MAX {
            let Some(row) = self.kv.get(&keys::audit_segment(begin.first)).await.map_err(kv_error)? else {
                break;
            };
            let segment = Segment::decode(row)?;
            let has_next = self.kv.get(&keys::audit_segment(segment.next())).await.map_err(kv_error)?;
            if segment.until.millis() >= oldest_kept || has_next.is_none() {
                break;
            }
            begin = Beginning { first: segment.next(), before: segment.after, reason: Reason::Retention };
            // A small one may just have been taken into the next; then that is the newest, which stays.
            done.writes.push(Write::Delete(keys::audit_segment(segment.first)));
            done.unnamed.push(segment.blob());
        }
        if begin != was {
            done.writes.push(Write::Put(Bytes::from_static(keys::AUDIT), begin.encode()));
        }
        Ok(())
    }
}

/// Rows on their way into a segment.
#[derive(Default)]
struct Rows {
    first: u64,
    rows: Vec<Bytes>,
    bytes: usize,
}

impl Rows {
    fn segment(self, after: [u8; 32]) -> std::result::Result<(Segment, Bytes), DecodeError> {
        let mut segment = Segment::of_rows(self.first, &self.rows, after)?;
        let blob = pack(&self.rows);
        segment.sha256 = Sha256::digest(&blob).into();
        segment.bytes = blob.len() as u64;
        Ok((segment, blob))
    }
}

fn missing(number: u64) -> Error {
    Error::new(Kind::Damaged, format!("journal row {number} is missing, so none is dropped"))
}

fn unreadable(error: DecodeError) -> Error {
    Error::new(Kind::Damaged, format!("a journal row cannot be read, so none is dropped: {error}"))
}

/// The step from format 1, whose checkpoints deleted rows: the trail begins with the first row that is left.
pub(crate) fn begin_at_checkpoint<'a>(kv: &'a dyn Kv, _: &'a dyn Blobs) -> BoxFuture<'a, Result<Vec<Write>>> {
    async move {
        let begin = Beginning::at_checkpoint(kv).await?;
        Ok(vec![Write::Put(Bytes::from_static(keys::AUDIT), begin.encode())])
    }
    .boxed()
}
