//! Branch protection and garbage collection rules (areas 21, 22).

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{BranchProtection, CollectionRules, ProtectionChange, Result};
use millpond_types::RepositoryName;

impl Service {
    /// Which branches are protected.
    pub async fn branch_protection(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
    ) -> Result<BranchProtection> {
        let p = self.permit(caller, &[(Action::GetBranchProtectionRules, Resource::Repository(repo))])?;
        p.engine.branch_protection(repo)
    }

    /// Changes which branches are protected.
    pub async fn change_branch_protection(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        change: ProtectionChange,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::SetBranchProtectionRules, Resource::Repository(repo))])?;
        p.engine.change_branch_protection(&p.actor, repo, change).await
    }

    /// Whether the caller may change which branches are protected; no more is looked at (API-21.11).
    pub async fn may_change_branch_protection(&self, caller: &Caller, repo: &RepositoryName) -> Result<()> {
        self.permit(caller, &[(Action::SetBranchProtectionRules, Resource::Repository(repo))]).map(drop)
    }

    /// The garbage collection rules, if there are any.
    pub async fn collection_rules(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
    ) -> Result<Option<CollectionRules>> {
        let p = self.permit(caller, &[(Action::GetGarbageCollectionRules, Resource::Repository(repo))])?;
        p.engine.collection_rules(repo)
    }

    /// Whether there are rules to prepare a collection by.
    pub async fn may_prepare_collection(&self, caller: &Caller, repo: &RepositoryName) -> Result<bool> {
        let needs = [(Action::PrepareGarbageCollectionCommits, Resource::Repository(repo))];
        Ok(self.permit(caller, &needs)?.engine.collection_rules(repo)?.is_some())
    }

    /// Sets the garbage collection rules, or takes them away.
    pub async fn set_collection_rules(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        rules: Option<CollectionRules>,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::SetGarbageCollectionRules, Resource::Repository(repo))])?;
        p.engine.set_collection_rules(&p.actor, repo, rules).await
    }

    /// Whether the caller may set the garbage collection rules; no more is looked at (API-22.5).
    pub async fn may_set_collection_rules(&self, caller: &Caller, repo: &RepositoryName) -> Result<()> {
        self.permit(caller, &[(Action::SetGarbageCollectionRules, Resource::Repository(repo))]).map(drop)
    }
}
