//! Verbs that go on in the background, and how they are doing.

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{CommitRequest, Error, JobInfo, JobKind, Kind, MergeRequest, Result, Thing};
use millpond_types::{BranchName, RefExpr, RepositoryName};

impl Service {
    /// As [`Service::commit`], in the background; names the job.
    pub async fn commit_job(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        request: CommitRequest,
    ) -> Result<String> {
        let p = self.permit(caller, &[(Action::CreateCommit, Resource::Branch(repo, branch.as_str()))])?;
        p.engine.commit_job(&p.actor, repo, branch, request).await
    }

    /// As [`Service::merge`], in the background; names the job.
    pub async fn merge_job(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        source: &RefExpr,
        destination: &BranchName,
        request: MergeRequest,
    ) -> Result<String> {
        let needs = [(Action::CreateCommit, Resource::Branch(repo, destination.as_str()))];
        let p = self.permit(caller, &needs)?;
        p.engine.merge_job(&p.actor, repo, source, destination, request).await
    }

    /// How a commit or merge in the background is doing. Who may have it made may ask.
    pub async fn branch_job(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        kind: JobKind,
        id: &str,
    ) -> Result<JobInfo> {
        let p = self.permit(caller, &[(Action::CreateCommit, Resource::Branch(repo, branch.as_str()))])?;
        let info = p.engine.job_status(repo, kind, id).await?;
        match info.branch == branch.as_str() {
            true => Ok(info),
            // Of another branch, for which the caller was not authorized.
            false => Err(Error::new(
                Kind::NotFound(Thing::Other),
                format!("no task '{id}' of this kind is known on branch '{branch}'"),
            )),
        }
    }
}
