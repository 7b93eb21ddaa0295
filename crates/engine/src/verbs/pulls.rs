//! Pull requests (API area 24): a record of the wish to merge one branch into another, and its merge.

use super::merge::AlsoMerged;
use super::repositories::{page_of, page_start};
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::journal::Submission;
use crate::record::Record;
use crate::state::{Repo, RepoState};
use crate::{
    Actor, Error, Kind, MergeRequest, NewPullRequest, Page, PageRequest, PullRequest, PullRequestChange,
    PullRequestFilter, PullRequestId, PullRequestStatus, Result, Thing,
};
use bytes::Bytes;
use millpond_types::{BranchName, CommitId, RefExpr, RepositoryName, Timestamp, Writer};
use std::sync::Arc;

fn no_pull(id: &PullRequestId) -> Error {
    Error::new(Kind::NotFound(Thing::Other), format!("pull request '{id}' not found"))
}

impl Engine {
    /// Opens a pull request and names it.
    pub async fn create_pull_request(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        new: NewPullRequest,
    ) -> Result<PullRequestId> {
        self.journal.admit()?;
        if new.source == new.destination {
            return Err(Error::new(
                Kind::Invalid,
                format!("source and destination are the same branch '{}'", new.source),
            ));
        }
        let request = || format!("{new:?}").into_bytes();
        let mut keyed = match self.begin(actor, "create-pull-request", repository, request).await? {
            Begin::Again(answer) => {
                let text = self.same(answer, |r| r.text()).await?;
                return PullRequestId::parse(&text)
                    .ok_or_else(|| Error::new(Kind::Damaged, "a remembered answer cannot be read"));
            }
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let context = self.context(actor, "create-pull-request");
        let mut chance = [0; 8];
        self.random.fill(&mut chance);
        let decided = repo.decide().and_then(|mut state| {
            for name in [&new.source, &new.destination] {
                if !state.branches.contains_key(name) {
                    return Err(super::train::branch_gone(name));
                }
            }
            let id = next_id(&state, context.time, u64::from_be_bytes(chance))?;
            let pull = PullRequest {
                id: id.clone(),
                title: new.title,
                description: new.description,
                author: actor.name.clone(),
                created: context.time,
                source: new.source,
                destination: new.destination,
                status: PullRequestStatus::Open,
                closed: None,
                merged: None,
            };
            let mut context = context;
            let record = change(&repo, &state, pull)?;
            state.apply(&record, None);
            keyed.answer(&mut context, || {
                let mut w = Writer::new();
                w.text(id.as_str());
                w.finish().into()
            });
            let records = vec![record];
            Ok((id, self.submit(Submission { context, records, nodes: None, created: None })))
        });
        let (id, ticket) = match decided {
            Ok((id, ticket)) => (Some(id), Ok(ticket)),
            Err(error) => (None, Err(error)),
        };
        self.settle(ticket).await?;
        Ok(id.expect("what was decided has its name"))
    }

    /// One pull request.
    pub fn get_pull_request(&self, repository: &RepositoryName, id: &PullRequestId) -> Result<PullRequest> {
        let state = self.repo(repository)?.state.read();
        state.pulls.get(id).map(|pull| (**pull).clone()).ok_or_else(|| no_pull(id))
    }

    /// Pull requests, newest first.
    pub fn list_pull_requests(
        &self,
        repository: &RepositoryName,
        page: &PageRequest,
        filter: PullRequestFilter,
    ) -> Result<Page<PullRequest>> {
        let state = self.repo(repository)?.state.read();
        let all = state.pulls.by_id().range::<_, str>(page_start(page)).map(|(id, pull)| (id.as_str(), pull));
        let keep = |status| match filter {
            PullRequestFilter::All => true,
            PullRequestFilter::Open => status == PullRequestStatus::Open,
            PullRequestFilter::NotOpen => status != PullRequestStatus::Open,
        };
        Ok(page_of(all, page, |_, pull| keep(pull.status), |_, pull| (**pull).clone()))
    }

    /// Changes texts and status as asked; the status may become any (API-24.5). Nothing is merged by it.
    pub async fn update_pull_request(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        id: &PullRequestId,
        update: PullRequestChange,
    ) -> Result<()> {
        self.journal.admit()?;
        let request = || format!("{id}{update:?}").into_bytes();
        let mut keyed = match self.begin(actor, "update-pull-request", repository, request).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let mut context = self.context(actor, "update-pull-request");
        let decided = repo.decide().and_then(|mut state| {
            let mut pull = state.pulls.get(id).map(|pull| (**pull).clone()).ok_or_else(|| no_pull(id))?;
            if let Some(title) = update.title {
                pull.title = title;
            }
            if let Some(description) = update.description {
                pull.description = description;
            }
            if let Some(status) = update.status {
                pull.status = status;
                if status != PullRequestStatus::Open {
                    pull.closed = Some(context.time);
                }
            }
            let record = change(&repo, &state, pull)?;
            state.apply(&record, None);
            keyed.answer(&mut context, Bytes::new);
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        });
        self.settle(decided).await
    }

    /// Merges the source branch's head as it is now and marks the request as merged: both or neither.
    pub async fn merge_pull_request(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        id: &PullRequestId,
    ) -> Result<CommitId> {
        self.journal.admit()?;
        let request = || id.as_str().as_bytes().to_vec();
        let mut keyed = match self.begin(actor, "merge-pull-request", repository, request).await? {
            Begin::Again(answer) => return self.same_commit(answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let pull = self.get_pull_request(repository, id)?;
        must_be_open(&pull)?;
        let source = branch_ref(&pull.source)?;
        let time = self.clock.now();
        let also: AlsoMerged<'_> = Box::new(|state: &RepoState, commit| {
            let pull = state.pulls.get(id).ok_or_else(|| no_pull(id))?;
            // It may have been closed, or merged by somebody else, while the trees were merged.
            must_be_open(pull)?;
            let merged = PullRequest {
                status: PullRequestStatus::Merged,
                closed: Some(time),
                merged: Some(commit),
                ..(**pull).clone()
            };
            Ok(vec![change(&repo, state, merged)?])
        });
        let request = MergeRequest::default();
        self.merge_and(actor, &mut keyed, &repo, &source, &pull.destination, request, Some(also)).await
    }
}

fn must_be_open(pull: &PullRequest) -> Result<()> {
    match pull.status {
        PullRequestStatus::Open => Ok(()),
        _ => Err(Error::new(Kind::Invalid, format!("bad pull request status: '{}' is not open", pull.id))),
    }
}

/// A branch as what is merged.
fn branch_ref(name: &BranchName) -> Result<RefExpr> {
    RefExpr::parse(name.as_str()).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}

/// The record that makes a pull request this.
fn change(repo: &Repo, state: &RepoState, pull: PullRequest) -> Result<Record> {
    state.pulls.admit(&pull)?;
    Ok(Record::PullRequestChanged { uid: repo.uid, pull: Arc::new(pull) })
}

/// An id that is before all there are, so that a listing gives the newest first: also within a second, and also
/// when the clock was set back.
fn next_id(state: &RepoState, now: Timestamp, chance: u64) -> Result<PullRequestId> {
    let wanted = PullRequestId::at(now, chance);
    let first = state.pulls.by_id().keys().next();
    match first.filter(|first| **first <= wanted) {
        None => Ok(wanted),
        Some(first) => first
            .before()
            .ok_or_else(|| Error::new(Kind::Internal, "there is no pull request id left in this repository")),
    }
}
