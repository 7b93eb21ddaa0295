//! Walking the whole chain: every row that was ever kept, from where the trail begins to its end.
//!
//! Every row holds the hash of the row before it, so one that was changed, dropped, put in or moved shows where
//! the chain breaks. What it cannot show is a trail that was made anew as a whole, or cut off at its end while the
//! server was down: for that, note the head that this gives in another place, and hand it in the next time.

use super::segment::{Beginning, Begun, Segment, decode_name};
use crate::engine::{Engine, kv_error};
use crate::keys::RepoUid;
use crate::record::{Record, Row};
use crate::tasks::{Places, Tasks};
use crate::{Error, Kind, Result, checkpoint, keys};
use bytes::Bytes;
use millpond_blob::Blobs;
use millpond_kv::Kv;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// Faults that are kept; beyond it they are only counted.
const FAULTS_KEPT_MAX: usize = 1000;
/// Rows of one read.
const PAGE_ROWS: usize = 1024;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFault {
    /// The first row that it is about.
    pub row: u64,
    /// What does not hold.
    pub what: String,
}

/// What a walk along the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditProof {
    /// Where the trail begins.
    pub begun: Begun,
    /// The last row that was looked at; below the first if there is none.
    pub last: u64,
    /// Its hash: whoever keeps it elsewhere can tell later whether the trail still leads there.
    pub head: [u8; 32],
    /// Rows that were read.
    pub rows: u64,
    /// Their mutations.
    pub events: u64,
    /// Segments that rows were read from.
    pub segments: u64,
    /// What does not hold, the first thousand, in the order of rows.
    pub faults: Vec<AuditFault>,
    /// How many things do not hold.
    pub faults_total: u64,
}

/// The trail at one moment: the rows about its segments and the rows of the journal. As long as nothing is deleted,
/// it can be read at leisure.
pub(crate) struct Trail {
    begin: Beginning,
    /// Newest first.
    segments: Vec<Segment>,
    /// Rows about segments that cannot be read.
    faults: Vec<AuditFault>,
    /// The first row of the journal, and the hash before it.
    checkpoint: (u64, [u8; 32]),
    rows: Vec<(Bytes, Bytes)>,
    /// What repositories are said to be called.
    names: HashMap<RepoUid, String>,
}

impl Trail {
    /// Reads what is stored before the journal row `next`; `None`: nothing of the journal. No checkpoint may run
    /// meanwhile.
    pub(crate) async fn load(kv: &dyn Kv, next: Option<u64>) -> Result<Self> {
        let mut trail = Self {
            begin: Beginning::read(kv).await?,
            segments: Vec::new(),
            faults: Vec::new(),
            checkpoint: checkpoint::read(kv).await?,
            rows: Vec::new(),
            names: HashMap::new(),
        };
        for (key, row) in checkpoint::scan_all(kv, keys::AUDIT_SEGMENTS).await? {
            match Segment::decode(row) {
                Ok(segment) if key == keys::audit_segment(segment.first) => trail.segments.push(segment),
                Ok(segment) => {
                    trail.faults.push(fault(segment.first, "its segment is filed under another number"))
                }
                Err(error) => trail.faults.push(fault(keys::audit_segment_first(&key), &error.message)),
            }
        }
        for (key, row) in checkpoint::scan_all(kv, keys::AUDIT_REPOSITORIES).await? {
            // One that cannot be read is none that was written.
            let uid = key[keys::AUDIT_REPOSITORIES.len()..].try_into().map_or(0, u64::from_be_bytes);
            trail.names.insert(uid, decode_name(row).unwrap_or_default());
        }
        let Some(next) = next else { return Ok(trail) };
        let (mut from, end) = (keys::journal(trail.checkpoint.0), keys::journal(next));
        loop {
            let page = kv.scan(&from, &end, PAGE_ROWS).await.map_err(kv_error)?;
            let Some((last, _)) = page.last() else { return Ok(trail) };
            from = millpond_kv::key_after(last);
            trail.rows.extend(page);
        }
    }

    /// Walks along it. `known` is a row and its hash from an earlier walk. Without `bytes` the blobs of segments are
    /// only looked for.
    pub(crate) async fn walk(
        self,
        blobs: &dyn Blobs,
        tasks: &dyn Tasks,
        known: Option<(u64, [u8; 32])>,
        bytes: bool,
    ) -> Result<AuditProof> {
        let mut walk = Walk {
            next: self.begin.first,
            previous: Some(self.begin.before),
            known,
            names: self.names,
            proof: AuditProof {
                begun: self.begin.begun(),
                last: 0,
                head: [0; 32],
                rows: 0,
                events: 0,
                segments: 0,
                faults: Vec::new(),
                faults_total: 0,
            },
        };
        self.faults.into_iter().for_each(|found| walk.fault(found.row, found.what));
        for segment in self.segments.into_iter().rev() {
            walk.come_to(segment.first);
            let rows = match bytes {
                true => segment.read(blobs, tasks).await,
                false => match blobs.size(&segment.blob()).await {
                    Ok(Some(size)) if size == segment.bytes => Ok(Vec::new()),
                    Ok(_) => Err(Error::new(Kind::Damaged, "its segment is missing or cut off")),
                    Err(error) => Err(crate::nodes::store_error(error)),
                },
            };
            match rows {
                Ok(rows) if bytes => {
                    let said = segment.clone();
                    walk = tasks.run_in(Places::Unbounded, move |_| walk.rows(&rows, &said)).await?;
                }
                Ok(_) => walk.skip(&segment),
                Err(error) if matches!(error.kind, Kind::Damaged | Kind::Gone) => {
                    let what = format!("the rows up to {} cannot be read: {error}", segment.next() - 1);
                    walk.fault(segment.first, what);
                    walk.skip(&segment);
                }
                Err(error) => return Err(error),
            }
            if walk.previous.is_some_and(|previous| previous != segment.after) || walk.next != segment.next()
            {
                walk.fault(segment.first, "its segment does not end as the row about it says".into());
                (walk.next, walk.previous) = (segment.next(), Some(segment.after));
            }
            walk.proof.segments += 1;
        }
        walk.come_to(self.checkpoint.0);
        if walk.previous.is_some_and(|previous| previous != self.checkpoint.1) {
            walk.fault(self.checkpoint.0, "the journal does not follow from the rows before it".into());
        }
        walk.previous = Some(self.checkpoint.1);
        for (key, row) in self.rows {
            let number = key[keys::JOURNAL.len()..].try_into().map_or(0, u64::from_be_bytes);
            walk.come_to(number);
            walk.row(&row);
        }
        if let Some((row, _)) = walk.known.filter(|(row, _)| *row >= walk.next) {
            walk.fault(row, format!("the trail ends at row {}, before a row that was seen", walk.next - 1));
        }
        walk.proof.last = walk.next.saturating_sub(1);
        walk.proof.head = walk.previous.unwrap_or_default();
        walk.proof.faults.sort_by_key(|found| found.row);
        Ok(walk.proof)
    }
}

struct Walk {
    /// Number of the next row.
    next: u64,
    /// Hash of the row before it, where it is known.
    previous: Option<[u8; 32]>,
    known: Option<(u64, [u8; 32])>,
    names: HashMap<RepoUid, String>,
    proof: AuditProof,
}

impl Walk {
    fn fault(&mut self, row: u64, what: String) {
        self.proof.faults_total += 1;
        if self.proof.faults.len() < FAULTS_KEPT_MAX {
            self.proof.faults.push(AuditFault { row, what });
        }
    }

    /// The next row that is there has this number.
    fn come_to(&mut self, number: u64) {
        if number > self.next {
            self.fault(self.next, format!("rows {} to {} are missing", self.next, number - 1));
            self.previous = None;
        } else if number < self.next {
            self.fault(number, "it is there twice, or not in its place".into());
            self.previous = None;
        }
        self.next = number;
    }

    /// The rows of a segment, and whether they are as it is said.
    fn rows(mut self, rows: &[Bytes], said: &Segment) -> Self {
        let found = self.proof.faults_total;
        rows.iter().for_each(|row| self.row(row));
        // Of a row that is not what it was, the counts are not either.
        if found == self.proof.faults_total
            && let Ok(are) = Segment::of_rows(said.first, rows, said.after)
            && (Segment { sha256: said.sha256, bytes: said.bytes, ..are }) != *said
        {
            self.fault(
                said.first,
                "the row about its segment says other counts or times than its rows".into(),
            );
        }
        self
    }

    fn row(&mut self, row: &Bytes) {
        let hash: [u8; 32] = Sha256::digest(row).into();
        match Row::decode(row.clone()) {
            Err(error) => self.fault(self.next, format!("it cannot be read: {error}")),
            Ok(read) => {
                self.proof.events += read.mutations.len() as u64;
                for record in read.mutations.iter().flat_map(|(_, records)| records) {
                    if let Record::RepositoryCreated { uid, name, .. } = record
                        && self.names.get(uid).is_some_and(|said| said != name.as_str())
                    {
                        self.fault(self.next, format!("the name noted for repository '{name}' was changed"));
                    }
                }
                if self.previous.is_some_and(|previous| previous != read.previous) {
                    let what =
                        "it does not follow from the row before it: one of them was changed, moved or put in";
                    self.fault(self.next, what.into());
                }
            }
        }
        if self.known.is_some_and(|(row, known)| row == self.next && known != hash) {
            self.fault(self.next, "it is not the row that was seen under this number".into());
        }
        self.proof.rows += 1;
        self.previous = Some(hash);
        self.next += 1;
    }

    /// Passes over a segment's rows.
    fn skip(&mut self, segment: &Segment) {
        if self.previous.is_some_and(|previous| previous != segment.before) {
            self.fault(segment.first, "its segment does not follow from the row before it".into());
        }
        (self.next, self.previous) = (segment.next(), Some(segment.after));
    }
}

fn fault(row: u64, what: &str) -> AuditFault {
    AuditFault { row, what: what.into() }
}

impl Engine {
    /// Walks along the whole audit trail as of now; writers go on meanwhile. `known`: a row and its hash from an
    /// earlier walk, to see that the trail still leads there.
    ///
    /// # Errors
    /// The stores fail. What does not hold is no error: it is in the proof.
    pub async fn verify_audit(self: &Arc<Self>, known: Option<(u64, [u8; 32])>) -> Result<AuditProof> {
        self.without_deletions(async {
            // Segments come and rows go at checkpoints only.
            let no_checkpoint = self.checkpointing.lock().await;
            let (next, head) = match self.journal.capture(|next, previous| (next, previous)).await {
                Ok((next, previous)) => (next, Some((next - 1, previous))),
                // A journal that has stopped writes nothing any more.
                Err(_) => (u64::MAX, None),
            };
            let trail = Trail::load(&*self.kv, Some(next)).await?;
            drop(no_checkpoint);
            let mut proof = trail.walk(&*self.blobs, &*self.options.tasks, known, true).await?;
            if let Some((last, hash)) = head
                && (proof.last, proof.head) != (last, hash)
            {
                proof.faults_total += 1;
                let what =
                    format!("this server wrote rows up to {last}, and the trail does not end with that");
                proof.faults.push(AuditFault { row: last, what });
            }
            Ok(proof)
        })
        .await
    }
}
