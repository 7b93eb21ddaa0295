//! Commit, log, diff, merge, revert, cherry-pick.

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{
    CommitInfo, CommitOverrides, CommitRecord, CommitRequest, DiffItem, DiffKind, DiffRequest, LogRequest,
    MergeRequest, Page, Result,
};
use millpond_types::{BranchName, CommitId, RefExpr, RepositoryName};

impl Service {
    /// Commits staged changes as of one point in time.
    pub async fn commit(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        request: CommitRequest,
    ) -> Result<CommitInfo> {
        let needs = [(Action::CreateCommit, Resource::Branch(repo, branch.as_str()))];
        let p = self.permit(caller, &needs)?;
        p.engine.commit(&p.actor, repo, branch, request).await
    }

    /// Stores a commit that was made elsewhere; no branch moves.
    pub async fn create_commit_record(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        record: CommitRecord,
        force: bool,
    ) -> Result<CommitInfo> {
        let p = self.permit(caller, &[(Action::CreateCommit, Resource::Repository(repo))])?;
        p.engine.create_commit_record(&p.actor, repo, record, force).await
    }

    /// The commit that a ref leads to.
    pub async fn get_commit(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
    ) -> Result<CommitInfo> {
        let p = self.permit(caller, &[(Action::ReadCommit, Resource::Repository(repo))])?;
        p.engine.get_commit(repo, at).await
    }

    /// Commits reachable from a ref, newest first. The permission is that of API-4.28: reading the branch
    /// that the ref's text names.
    pub async fn log(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        from: &RefExpr,
        request: LogRequest,
    ) -> Result<Page<CommitInfo>> {
        let p = self.permit(caller, &[(Action::ReadBranch, Resource::Branch(repo, &from.base))])?;
        p.engine.log(repo, from, &request).await
    }

    /// Differences between two refs.
    pub async fn diff_refs(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        left: &RefExpr,
        right: &RefExpr,
        kind: DiffKind,
        request: DiffRequest,
    ) -> Result<Page<DiffItem>> {
        let p = self.permit(caller, &[(Action::ListObjects, Resource::Repository(repo))])?;
        p.engine.diff_refs(repo, left, right, kind, request).await
    }

    /// Uncommitted changes of a branch.
    pub async fn diff_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        request: DiffRequest,
    ) -> Result<Page<DiffItem>> {
        let p = self.permit(caller, &[(Action::ListObjects, Resource::Repository(repo))])?;
        p.engine.diff_branch(repo, branch, request).await
    }

    /// Merges a ref into a branch; returns the new commit.
    pub async fn merge(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        source: &RefExpr,
        destination: &BranchName,
        request: MergeRequest,
    ) -> Result<CommitId> {
        let needs = [(Action::CreateCommit, Resource::Branch(repo, destination.as_str()))];
        let p = self.permit(caller, &needs)?;
        p.engine.merge(&p.actor, repo, source, destination, request).await
    }

    /// (base, source, destination) commits of a merge.
    pub async fn merge_base(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        source: &RefExpr,
        destination: &RefExpr,
    ) -> Result<(CommitId, CommitId, CommitId)> {
        let p = self.permit(caller, &[(Action::ListCommits, Resource::Repository(repo))])?;
        p.engine.merge_base(repo, source, destination).await
    }

    /// Undoes one commit with a new one.
    #[allow(clippy::too_many_arguments)]
    pub async fn revert(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        target: &RefExpr,
        parent_number: u64,
        overrides: CommitOverrides,
        allow_empty: bool,
        force: bool,
    ) -> Result<CommitInfo> {
        let needs = [(Action::RevertBranch, Resource::Branch(repo, branch.as_str()))];
        let p = self.permit(caller, &needs)?;
        let engine = p.engine;
        engine.revert(&p.actor, repo, branch, target, parent_number, overrides, allow_empty, force).await
    }

    /// Repeats one commit's change on a branch.
    #[allow(clippy::too_many_arguments)]
    pub async fn cherry_pick(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        target: &RefExpr,
        parent_number: Option<u64>,
        overrides: CommitOverrides,
        force: bool,
    ) -> Result<CommitInfo> {
        let needs = [
            (Action::CreateCommit, Resource::Branch(repo, branch.as_str())),
            (Action::ReadCommit, Resource::Repository(repo)),
        ];
        let p = self.permit(caller, &needs)?;
        p.engine.cherry_pick(&p.actor, repo, branch, target, parent_number, overrides, force).await
    }
}
