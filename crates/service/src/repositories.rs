//! Repository verbs.

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{NewRepository, Page, PageRequest, RepositoryInfo, Result};
use millpond_types::{Metadata, RepositoryName};

impl Service {
    /// Creates a repository with its first commit (API-9.1, 9.7).
    pub async fn create_repository(&self, caller: &Caller, new: NewRepository) -> Result<RepositoryInfo> {
        let (name, namespace) = (new.name.clone(), new.storage_namespace.clone());
        let needs = [
            (Action::CreateRepository, Resource::Repository(&name)),
            (Action::AttachStorageNamespace, Resource::Namespace(&namespace)),
        ];
        let p = self.permit(caller, &needs)?;
        p.engine.create_repository(&p.actor, new).await
    }

    /// Creates a repository without any branch, for a dump to be restored into.
    pub async fn create_bare_repository(
        &self,
        caller: &Caller,
        new: NewRepository,
    ) -> Result<RepositoryInfo> {
        let (name, namespace) = (new.name.clone(), new.storage_namespace.clone());
        let needs = [
            (Action::CreateRepository, Resource::Repository(&name)),
            (Action::AttachStorageNamespace, Resource::Namespace(&namespace)),
        ];
        let p = self.permit(caller, &needs)?;
        p.engine.create_bare_repository(&p.actor, new).await
    }

    /// Unpublishes a repository.
    pub async fn delete_repository(&self, caller: &Caller, name: &RepositoryName, force: bool) -> Result<()> {
        let p = self.permit(caller, &[(Action::DeleteRepository, Resource::Repository(name))])?;
        p.engine.delete_repository(&p.actor, name, force).await
    }

    /// Unpublishes a repository in which nothing ever was.
    pub async fn delete_empty_repository(&self, caller: &Caller, name: &RepositoryName) -> Result<()> {
        let p = self.permit(caller, &[(Action::DeleteRepository, Resource::Repository(name))])?;
        p.engine.delete_empty_repository(&p.actor, name).await
    }

    /// One repository.
    pub async fn get_repository(&self, caller: &Caller, name: &RepositoryName) -> Result<RepositoryInfo> {
        let p = self.permit(caller, &[(Action::ReadRepository, Resource::Repository(name))])?;
        p.engine.get_repository(name)
    }

    /// Repositories by name, those that the caller may list; `search` is a substring of the name. A page is filled
    /// after it was filtered (API-4.29).
    pub async fn list_repositories(
        &self,
        caller: &Caller,
        page: PageRequest,
        search: &str,
    ) -> Result<Page<RepositoryInfo>> {
        let (p, access) = self.permit_list(caller, Action::ListRepositories)?;
        let mut found = Page { items: Vec::new(), has_more: false };
        // One more than asked for tells whether there are more.
        let mut rest = PageRequest { amount: page.amount.saturating_add(1), ..page.clone() };
        loop {
            let part = p.engine.list_repositories(&rest, search);
            if let Some(last) = part.items.last() {
                rest.after = last.name.to_string();
            }
            let may = |repo: &RepositoryInfo| {
                access.allows(Action::ListRepositories, Resource::Repository(&repo.name))
            };
            found.items.extend(part.items.into_iter().filter(may));
            if found.items.len() > page.amount || !part.has_more {
                found.has_more = found.items.len() > page.amount;
                found.items.truncate(page.amount);
                return Ok(found);
            }
        }
    }

    /// Merges keys into the repository's metadata.
    pub async fn set_repository_metadata(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        set: Metadata,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::UpdateRepository, Resource::Repository(name))])?;
        p.engine.change_repository_metadata(&p.actor, name, set, &[]).await
    }

    /// Removes keys from the repository's metadata.
    pub async fn delete_repository_metadata(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        keys: Vec<String>,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::UpdateRepository, Resource::Repository(name))])?;
        p.engine.change_repository_metadata(&p.actor, name, Metadata::new(), &keys).await
    }
}
