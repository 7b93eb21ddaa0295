//! Checks and backups: long work whose answer is a stream of JSON lines.
//!
//! Each line is an object with one member: `progress` (twice a second), `defect` or `source` (each as it is found:
//! damage here; an imported object that is gone or changed), and at the end `report`, or `error` with a message. What can
//! be refused is refused before the first line. A client that goes away ends the work.

use crate::call::Call;
use crate::error::Handled;
use crate::messages::{BackupOrder, MasterKey};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use millpond_service::{BackupReport, Defect, FsckReport, FsckRequest, Progress, Result, Watch};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// `POST /fsck`
pub(crate) async fn fsck(call: Call) -> Handled {
    let repository = match call.text("repository") {
        "" => None,
        _ => Some(call.repository()?),
    };
    // One reader, so that the others of the server have the rest of the machine.
    let request = FsckRequest { repository, quick: call.flag("quick"), parallel: 1, origin: None };
    let watch = Watch::new();
    let checking = call.service.fsck(&call.caller, request, watch.clone())?;
    Ok(lines(&call, watch, async move { checking.await.map(|report| fsck_report(&report)) }))
}

/// `POST /backup`
pub(crate) async fn backup(mut call: Call) -> Handled {
    let order: BackupOrder = call.message()?;
    let watch = Watch::new();
    let copying = call.service.backup(&call.caller, &order.directory, watch.clone()).await?;
    Ok(lines(&call, watch, async move { copying.await.map(|report| backup_report(&report)) }))
}

/// `POST /auth/rotate-master-key`
pub(crate) async fn rotate_master_key(call: Call) -> Handled {
    let id = call.change(|service, caller| async move { service.rotate_master_key(&caller).await }).await?;
    crate::json::ok(&MasterKey { master_key_id: &id })
}

/// Ends the work when nobody listens any more.
struct Running(JoinHandle<Result<Value>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Lines {
    watch: Arc<Watch>,
    running: Option<Running>,
    waiting: VecDeque<Value>,
    request_id: String,
}

impl Lines {
    async fn next(mut self) -> Option<(std::result::Result<Bytes, Infallible>, Self)> {
        loop {
            if let Some(value) = self.waiting.pop_front() {
                return Some((Ok(Bytes::from(format!("{value}\n"))), self));
            }
            let running = self.running.as_mut()?;
            let ended = tokio::time::timeout(PROGRESS_EVERY, &mut running.0).await.ok();
            self.waiting.extend(found(&self.watch));
            match ended {
                None => self.waiting.push_back(json!({"progress": progress(&self.watch.progress())})),
                Some(outcome) => {
                    self.running = None;
                    self.waiting.push_back(match outcome {
                        Ok(Ok(report)) => json!({"report": report}),
                        Ok(Err(error)) => {
                            let (request_id, message) = (&self.request_id, &error.message);
                            tracing::error!(request_id, message, "a check or backup failed");
                            json!({"error": error.message})
                        }
                        Err(error) => {
                            tracing::error!(request_id = self.request_id, %error, "a check or backup ended without an answer");
                            json!({"error": "it ended without an answer; the server's log says more"})
                        }
                    });
                }
            }
        }
    }
}

pub(crate) fn lines(
    call: &Call,
    watch: Arc<Watch>,
    work: impl Future<Output = Result<Value>> + Send + 'static,
) -> Response {
    let running = Some(Running(tokio::spawn(work)));
    let request_id = call.caller.request_id.clone();
    let lines = Lines { watch, running, waiting: VecDeque::new(), request_id };
    let mut response = Response::new(Body::from_stream(futures::stream::unfold(lines, Lines::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What was found since the last call, a line each; the binary writes the same.
pub fn found(watch: &Watch) -> impl Iterator<Item = Value> {
    let defects = watch.take_defects().into_iter().map(|found| json!({"defect": defect(&found)}));
    let sources = watch.take_gone_sources().into_iter().map(|found| json!({"source": defect(&found)}));
    defects.chain(sources)
}

/// How far the work is as JSON; the binary writes the same.
pub fn progress(p: &Progress) -> Value {
    json!({
        "phase": p.phase, "objects": p.objects, "objects_total": p.objects_total, "bytes": p.bytes,
        "bytes_total": p.bytes_total, "entries": p.entries, "defects": p.defects,
    })
}

fn defect(d: &Defect) -> Value {
    json!({
        "repository": d.repository, "ref": d.reference, "path": d.path.as_ref().map(|path| path.to_text()),
        "thing": d.thing, "what": d.what, "remedy": d.remedy,
    })
}

/// The counts of a check as JSON; the binary writes the same.
pub fn fsck_report(r: &FsckReport) -> Value {
    let o = &r.orphans;
    json!({
        "repositories": r.repositories, "branches": r.branches, "tags": r.tags, "commits": r.commits,
        "moves": r.moves, "journal_rows": r.journal_rows, "upto_row": r.upto_row, "packs": r.packs,
        "nodes": r.nodes, "entries": r.entries, "objects": r.objects, "object_bytes": r.object_bytes,
        "imported": r.imported, "sources_missing": r.sources_missing, "sources_changed": r.sources_changed,
        "sources_unreadable": r.sources_unreadable,
        "declared": r.declared, "declared_unreadable": r.declared_unreadable, "defects": r.defects,
        "orphans": {
            "objects": o.objects, "object_bytes": o.object_bytes, "packs": o.packs, "pack_bytes": o.pack_bytes,
            "nodes": o.nodes, "node_bytes": o.node_bytes, "deleted_objects": o.deleted_objects,
            "deleted_bytes": o.deleted_bytes,
        },
    })
}

/// What a backup holds as JSON; the binary writes the same.
pub fn backup_report(r: &BackupReport) -> Value {
    json!({
        "number": r.number, "time": r.time.millis(), "upto_row": r.upto_row, "rows": r.rows, "blobs": r.blobs,
        "bytes": r.bytes, "copied": r.copied, "copied_bytes": r.copied_bytes, "unreadable": r.unreadable,
    })
}
