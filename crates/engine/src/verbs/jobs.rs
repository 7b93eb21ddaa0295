//! Jobs: start, look at, forget. See [`crate::jobs`].
//!
//! A commit or merge of a job is made under an idempotency key of the job's own, so whoever asks after a crash is
//! told the commit if it was made, although the job's end was not written.

use crate::checkpoint::REMEMBER_MILLIS;
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::jobs::{Job, JobEnd, Made};
use crate::journal::Submission;
use crate::record::Record;
use crate::state::Repo;
use crate::{
    Actor, CommitRequest, Error, JobInfo, JobKind, JobOutcome, JobResult, Kind, MergeRequest, PullRequestId,
    Result, Thing,
};
use futures::future::BoxFuture;
use millpond_types::limits::JOBS_KEPT_MAX;
use millpond_types::{BranchName, CommitId, Reader, RefExpr, RepositoryName, Timestamp, Writer};
use std::sync::Arc;

/// Longest part of an error text that a job keeps, in bytes.
const ERROR_BYTES_MAX: usize = 4096;

/// What a job is to be.
pub(super) struct NewJob<'a> {
    pub kind: JobKind,
    /// Remembered answers are told apart by it.
    pub verb: &'a str,
    pub branch: &'a str,
    /// All parameters, in any fixed encoding.
    pub request: Vec<u8>,
}

impl JobKind {
    /// The verb that does the work, if it remembers its answer.
    fn verb(self) -> Option<&'static str> {
        match self {
            Self::Commit => Some("commit"),
            Self::Merge => Some("merge"),
            Self::Dump => None,
            Self::Restore => Some("restore-refs"),
        }
    }
}

impl Engine {
    /// Commits in the background, and names the job. What can be refused at once is.
    pub async fn commit_job(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        request: CommitRequest,
    ) -> Result<String> {
        let fingerprint = format!("{name:?}{request:?}").into_bytes();
        let new =
            NewJob { kind: JobKind::Commit, verb: "commit-job", branch: name.as_str(), request: fingerprint };
        let check = |repo: &Repo| {
            self.changeable(repo, name, "commit", request.force)?;
            self.branch(repo, name).map(drop)
        };
        let work = |engine: Arc<Self>, actor: Actor| -> BoxFuture<'static, Result<Made>> {
            let (repository, name, request) = (repository.clone(), name.clone(), request.clone());
            Box::pin(
                async move { Ok(Made::Commit(engine.commit(&actor, &repository, &name, request).await?.id)) },
            )
        };
        self.start_job(actor, repository, new, check, work).await
    }

    /// Merges in the background, and names the job. What can be refused at once is.
    pub async fn merge_job(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        source: &RefExpr,
        destination: &BranchName,
        request: MergeRequest,
    ) -> Result<String> {
        let fingerprint = format!("{source:?}{destination:?}{request:?}").into_bytes();
        let branch = destination.as_str();
        let new = NewJob { kind: JobKind::Merge, verb: "merge-job", branch, request: fingerprint };
        let check = |repo: &Repo| {
            self.writable(repo, request.force)?;
            self.branch(repo, destination).map(drop)
        };
        let work = |engine: Arc<Self>, actor: Actor| -> BoxFuture<'static, Result<Made>> {
            let (repository, source, destination, request) =
                (repository.clone(), source.clone(), destination.clone(), request.clone());
            Box::pin(async move {
                let merged = engine.merge(&actor, &repository, &source, &destination, request).await?;
                Ok(Made::Commit(merged))
            })
        };
        self.start_job(actor, repository, new, check, work).await
    }

    /// Writes a job down and works on it in the background.
    pub(super) async fn start_job(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        new: NewJob<'_>,
        check: impl Fn(&Repo) -> Result<()>,
        work: impl Fn(Arc<Self>, Actor) -> BoxFuture<'static, Result<Made>>,
    ) -> Result<String> {
        self.journal.admit()?;
        let mut keyed = match self.begin(actor, new.verb, repository, || new.request).await? {
            Begin::Again(answer) => return self.same(answer, Reader::text).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        check(&repo)?;
        let mut chance = [0; 8];
        self.random.fill(&mut chance);
        let mut context = self.context(actor, new.verb);
        let id = PullRequestId::at(context.time, u64::from_be_bytes(chance)).as_str().to_owned();
        let job = Job {
            id: id.clone(),
            kind: new.kind,
            branch: new.branch.to_owned(),
            actor: actor.name.clone(),
            started: context.time,
            epoch: self.epoch,
            end: None,
        };
        let decided = repo.decide().and_then(|mut state| {
            let mut records = Vec::new();
            if state.jobs.len() >= JOBS_KEPT_MAX {
                let oldest = state.jobs.iter().rev().find(|(_, job)| self.has_ended(job));
                let (oldest, _) = oldest
                    .ok_or_else(|| Error::new(Kind::Busy, "too many jobs of this repository are running"))?;
                records.push(Record::JobChanged { uid: repo.uid, id: oldest.clone(), job: None });
            }
            records.push(Record::JobChanged {
                uid: repo.uid,
                id: id.clone(),
                job: Some(Arc::new(job.clone())),
            });
            records.iter().for_each(|record| state.apply(record, None));
            keyed.answer(&mut context, || {
                let mut w = Writer::new();
                w.text(&id);
                w.finish().into()
            });
            Ok(self.submit(Submission { context, records, nodes: None, created: None }))
        });
        self.settle(decided).await?;
        let engine = self.owned();
        let work = work(engine.clone(), worker(actor, &job));
        self.options.tasks.spawn(Box::pin(async move {
            let outcome = work.await;
            engine.end_job(&repo, job, outcome).await;
        }));
        Ok(id)
    }

    async fn end_job(&self, repo: &Repo, mut job: Job, outcome: Result<Made>) {
        let context = self.context(&Actor { name: job.actor.clone(), ..Actor::default() }, "job-ended");
        let outcome = outcome.map_err(|Error { kind, mut message }| {
            message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX));
            (kind, message)
        });
        job.end = Some(JobEnd { time: context.time, outcome });
        let id = job.id.clone();
        let ticket = {
            let Ok(mut state) = repo.decide() else { return };
            let record = Record::JobChanged { uid: repo.uid, id: id.clone(), job: Some(Arc::new(job)) };
            state.apply(&record, None);
            self.submit(Submission { context, records: vec![record], nodes: None, created: None })
        };
        if let Err(error) = ticket.durable().await {
            tracing::error!(job = %id, %error, "the end of a job was not written");
        }
    }

    /// How a job of this kind is doing. Ended ones are known for a day.
    pub async fn job_status(&self, repository: &RepositoryName, kind: JobKind, id: &str) -> Result<JobInfo> {
        let repo = self.repo(repository)?;
        let job = repo.state.read().jobs.get(id).filter(|job| job.kind == kind).cloned();
        let job = job.ok_or_else(|| {
            Error::new(Kind::NotFound(Thing::Other), format!("no task '{id}' of this kind is known"))
        })?;
        let made = async |made: &Made| -> Result<JobResult> {
            match made {
                Made::Commit(id) => {
                    let commit = (*self.stored_commit(&repo, id).await?).clone();
                    Ok(JobResult::Commit(crate::CommitInfo { id: *id, commit }))
                }
                Made::Dump(ids) => Ok(JobResult::Dump(*ids)),
                Made::Nothing => Ok(JobResult::Nothing),
            }
        };
        let (updated, outcome) = match &job.end {
            Some(JobEnd { time, outcome: Ok(result) }) => (*time, JobOutcome::Completed(made(result).await?)),
            Some(JobEnd { time, outcome: Err((kind, why)) }) => {
                (*time, JobOutcome::Failed(Error::new(*kind, why.clone())))
            }
            None if job.epoch == self.epoch => (job.started, JobOutcome::Running),
            None => {
                let worker = worker(&Actor { name: job.actor.clone(), ..Actor::default() }, &job);
                let answer = match job.kind.verb() {
                    None => None,
                    Some(verb) => self.idempotency.answer(&*self.kv, &worker, verb, repository).await?,
                };
                let outcome = match answer {
                    Some(answer) if answer.is_empty() => {
                        self.journal.barrier().await?;
                        JobOutcome::Completed(JobResult::Nothing)
                    }
                    Some(answer) => {
                        let id = self.same(answer, |r| Ok(CommitId(r.digest()?))).await?;
                        JobOutcome::Completed(made(&Made::Commit(id)).await?)
                    }
                    None => JobOutcome::Failed(Error::new(
                        Kind::Interrupted,
                        "the server that worked on this task ended before the task did",
                    )),
                };
                (job.started, outcome)
            }
        };
        Ok(JobInfo { id: job.id.clone(), branch: job.branch.clone(), updated, outcome })
    }

    fn has_ended(&self, job: &Job) -> bool {
        job.end.is_some() || job.epoch != self.epoch
    }

    /// Forgets jobs that ended a day ago.
    pub(crate) fn forget_ended_jobs(&self, repo: &Repo, now: Timestamp) {
        let Ok(mut state) = repo.decide() else { return };
        let old = |job: &&Arc<Job>| {
            let last = job.end.as_ref().map_or(job.started, |end| end.time);
            self.has_ended(job) && last.millis().saturating_add(REMEMBER_MILLIS) < now.millis()
        };
        let doomed: Vec<String> = state.jobs.values().filter(old).map(|job| job.id.clone()).collect();
        for id in doomed {
            let record = Record::JobChanged { uid: repo.uid, id, job: None };
            state.apply(&record, None);
            let context = self.context(&Actor::default(), "forget-job");
            // Nobody waits for it; the journal logs a failure.
            drop(self.submit(Submission { context, records: vec![record], nodes: None, created: None }));
        }
    }
}

/// Who works on a job: who asked for it, under a key that only this job uses.
fn worker(actor: &Actor, job: &Job) -> Actor {
    Actor { idempotency_key: Some(format!("job/{}", job.id)), ..actor.clone() }
}
