//! Jobs as state: work that goes on after its answer, which lakeFS calls tasks (`docs/formats/journal.md`).
//!
//! The accident this prevents: somebody waits for ever for work whose server has died. So a job names the opening
//! of the store that works on it; one without an end from an earlier opening has been interrupted, without anybody
//! having to write that.

use crate::record::take_flag;
use crate::{CommitInfo, DumpIds, Error, Kind};
use millpond_types::{CommitId, ContentHash, DecodeError, Reader, Timestamp, Writer};

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Commits what is staged.
    Commit,
    /// Merges into a branch.
    Merge,
    /// Dumps the refs of a repository.
    Dump,
    /// Restores them into a bare one.
    Restore,
}

const KINDS: &[(u8, JobKind)] =
    &[(0, JobKind::Commit), (1, JobKind::Merge), (2, JobKind::Dump), (3, JobKind::Restore)];

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Names it.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// On which branch; empty: on the whole repository.
    pub branch: String,
    /// Who asked.
    pub actor: String,
    /// When.
    pub started: Timestamp,
    /// Which opening of the store works on it.
    pub epoch: u64,
    /// Set when it ended; kept for a day.
    pub end: Option<JobEnd>,
}

/// The end of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// When.
    pub time: Timestamp,
    /// What it made, or why it made nothing.
    pub outcome: Result<Made, (Kind, String)>,
}

/// What a job made, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A commit.
    Commit(CommitId),
    /// A dump.
    Dump(DumpIds),
    /// What it made is elsewhere.
    Nothing,
}

/// A job as callers see it.
#[derive(Clone, Debug)]
pub struct JobInfo {
    /// Names it.
    pub id: String,
    /// On which branch; empty: on the whole repository.
    pub branch: String,
    /// Last time something changed, as far as is known.
    pub updated: Timestamp,
    /// How it is doing.
    pub outcome: JobOutcome,
}

/// How a job is doing.
#[derive(Clone, Debug)]
pub enum JobOutcome {
    /// Nothing is known yet.
    Running,
    /// It failed, or was interrupted.
    Failed(Error),
    /// It made this.
    Completed(JobResult),
}

/// What a job made.
#[derive(Clone, Debug)]
pub enum JobResult {
    /// A commit.
    Commit(CommitInfo),
    /// A dump.
    Dump(DumpIds),
    /// What it made is elsewhere.
    Nothing,
}

/// Stored form of a job.
pub fn encode(w: &mut Writer, job: &Job) {
    let kind = KINDS.iter().find(|(_, kind)| *kind == job.kind).expect("every kind is in the table").0;
    w.text(&job.id).u8(kind).text(&job.branch).text(&job.actor).int(job.started.millis()).uint(job.epoch);
    let Some(end) = &job.end else {
        w.u8(0);
        return;
    };
    w.u8(1).int(end.time.millis());
    match &end.outcome {
        Err((kind, why)) => w.u8(0).u8(kind.code()).text(why),
        Ok(Made::Commit(id)) => w.u8(1).raw(&id.0),
        Ok(Made::Dump(ids)) => w.u8(2).raw(&ids.commits.0).raw(&ids.branches.0).raw(&ids.tags.0),
        Ok(Made::Nothing) => w.u8(3),
    };
}

/// The inverse of [`encode`].
pub fn decode(r: &mut Reader) -> Result<Job, DecodeError> {
    let id = r.text()?;
    let kind = r.u8()?;
    let kind = KINDS.iter().find(|(code, _)| *code == kind).ok_or(DecodeError("unknown kind of job"))?.1;
    let (branch, actor, started, epoch) = (r.text()?, r.text()?, Timestamp(r.int()?), r.uint()?);
    let mut end = None;
    if take_flag(r)? {
        let time = Timestamp(r.int()?);
        let outcome = match r.u8()? {
            0 => Err((Kind::of_code(r.u8()?), r.text()?)),
            1 => Ok(Made::Commit(CommitId(r.digest()?))),
            2 => {
                let mut hash = || Ok(ContentHash(r.digest()?));
                Ok(Made::Dump(DumpIds { commits: hash()?, branches: hash()?, tags: hash()? }))
            }
            3 => Ok(Made::Nothing),
            _ => return Err(DecodeError("unknown result of a job")),
        };
        end = Some(JobEnd { time, outcome });
    }
    Ok(Job { id, kind, branch, actor, started, epoch, end })
}
