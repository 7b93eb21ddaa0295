//! Pull requests (area 24).

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{
    Error, Kind, NewPullRequest, Page, PageRequest, PullRequest, PullRequestChange, PullRequestFilter,
    PullRequestId, Result,
};
use millpond_types::{CommitId, RepositoryName};

impl Service {
    /// Opens a pull request.
    pub async fn create_pull_request(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        new: NewPullRequest,
    ) -> Result<PullRequestId> {
        let p = self.permit(caller, &[(Action::WritePullRequest, Resource::Repository(repo))])?;
        p.engine.create_pull_request(&p.actor, repo, new).await
    }

    /// One pull request.
    pub async fn get_pull_request(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        id: &PullRequestId,
    ) -> Result<PullRequest> {
        let p = self.permit(caller, &[(Action::ReadPullRequest, Resource::Repository(repo))])?;
        p.engine.get_pull_request(repo, id)
    }

    /// Pull requests, newest first.
    pub async fn list_pull_requests(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        page: PageRequest,
        filter: PullRequestFilter,
    ) -> Result<Page<PullRequest>> {
        let p = self.permit(caller, &[(Action::ListPullRequests, Resource::Repository(repo))])?;
        p.engine.list_pull_requests(repo, &page, filter)
    }

    /// Changes texts and status of a pull request.
    pub async fn update_pull_request(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        id: &PullRequestId,
        change: PullRequestChange,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::WritePullRequest, Resource::Repository(repo))])?;
        p.engine.update_pull_request(&p.actor, repo, id, change).await
    }

    /// Merges a pull request. Which branch it changes is written in the request, so it is looked up first; who
    /// may not read pull requests learns nothing from that: a missing one is refused like one into a branch that
    /// is closed to the caller (area 33).
    pub async fn merge_pull_request(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        id: &PullRequestId,
    ) -> Result<CommitId> {
        let write = (Action::WritePullRequest, Resource::Repository(repo));
        let p = self.permit(caller, &[write])?;
        match p.engine.get_pull_request(repo, id) {
            Ok(pull) => {
                let commit = (Action::CreateCommit, Resource::Branch(repo, pull.destination.as_str()));
                let p = self.permit(caller, &[write, commit]).map_err(quiet)?;
                p.engine.merge_pull_request(&p.actor, repo, id).await
            }
            Err(error) => {
                let read = (Action::ReadPullRequest, Resource::Repository(repo));
                if matches!(error.kind, Kind::NotFound(_)) && self.permit(caller, &[read]).is_err() {
                    let commit = (Action::CreateCommit, Resource::Branch(repo, "*"));
                    self.permit(caller, &[commit]).map_err(quiet)?;
                }
                Err(error)
            }
        }
    }
}

/// A refusal that does not tell which branch a pull request is into.
fn quiet(error: Error) -> Error {
    match error.kind {
        Kind::Denied => Error::new(Kind::Denied, "insufficient permissions: not allowed to merge it"),
        _ => error,
    }
}
