//! Branch and tag verbs.

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{BranchInfo, Page, PageRequest, RefMove, ResetScope, Result, TagInfo};
use millpond_types::{BranchName, CommitId, RefExpr, RepositoryName, TagName};

fn branch<'a>(repo: &'a RepositoryName, name: &'a BranchName) -> Resource<'a> {
    Resource::Branch(repo, name.as_str())
}

fn tag<'a>(repo: &'a RepositoryName, name: &'a TagName) -> Resource<'a> {
    Resource::Tag(repo, name.as_str())
}

impl Service {
    /// Creates a branch at the commit that `source` names; returns that commit.
    pub async fn create_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
        source: &RefExpr,
        hidden: bool,
        force: bool,
    ) -> Result<CommitId> {
        let p = self.permit(caller, &[(Action::CreateBranch, branch(repo, name))])?;
        p.engine.create_branch(&p.actor, repo, name, source, hidden, force).await
    }

    /// Deletes a branch with its staged changes.
    pub async fn delete_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
        force: bool,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::DeleteBranch, branch(repo, name))])?;
        p.engine.delete_branch(&p.actor, repo, name, force).await
    }

    /// One branch.
    pub async fn get_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
    ) -> Result<BranchInfo> {
        let p = self.permit(caller, &[(Action::ReadBranch, branch(repo, name))])?;
        p.engine.get_branch(repo, name)
    }

    /// Branches by name.
    pub async fn list_branches(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        page: PageRequest,
        show_hidden: bool,
    ) -> Result<Page<BranchInfo>> {
        let p = self.permit(caller, &[(Action::ListBranches, Resource::Repository(repo))])?;
        p.engine.list_branches(repo, &page, show_hidden)
    }

    /// Creates a tag.
    pub async fn create_tag(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &TagName,
        target: &RefExpr,
        force: bool,
    ) -> Result<CommitId> {
        let p = self.permit(caller, &[(Action::CreateTag, tag(repo, name))])?;
        p.engine.create_tag(&p.actor, repo, name, target, force).await
    }

    /// Deletes a tag.
    pub async fn delete_tag(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &TagName,
        force: bool,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::DeleteTag, tag(repo, name))])?;
        p.engine.delete_tag(&p.actor, repo, name, force).await
    }

    /// One tag.
    pub async fn get_tag(&self, caller: &Caller, repo: &RepositoryName, name: &TagName) -> Result<TagInfo> {
        let p = self.permit(caller, &[(Action::ReadTag, tag(repo, name))])?;
        p.engine.get_tag(repo, name)
    }

    /// Tags by name.
    pub async fn list_tags(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        page: PageRequest,
    ) -> Result<Page<TagInfo>> {
        let p = self.permit(caller, &[(Action::ListTags, Resource::Repository(repo))])?;
        p.engine.list_tags(repo, &page)
    }

    /// Drops staged changes.
    pub async fn reset(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
        scope: ResetScope,
        force: bool,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::RevertBranch, branch(repo, name))])?;
        p.engine.reset(&p.actor, repo, name, scope, force).await
    }

    /// Moves a branch's head to any commit.
    pub async fn hard_reset(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
        target: &RefExpr,
        force: bool,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::RevertBranch, branch(repo, name))])?;
        p.engine.hard_reset(&p.actor, repo, name, target, force).await
    }

    /// Moves of refs, newest first. `name`: only of that branch or tag. `before`: only older than this sequence.
    pub async fn ref_log(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: Option<&str>,
        before: Option<u64>,
        amount: usize,
    ) -> Result<Page<RefMove>> {
        let p = self.permit(caller, &[(Action::ListCommits, Resource::Repository(repo))])?;
        p.engine.ref_log(repo, name, before, amount).await
    }

    /// Undoes the last move of a branch; returns the move that did so and the one undone.
    pub async fn undo(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
        force: bool,
    ) -> Result<(RefMove, RefMove)> {
        let p = self.permit(caller, &[(Action::RevertBranch, branch(repo, name))])?;
        p.engine.undo(&p.actor, repo, name, force).await
    }
}
