//! Dump of refs, and their restoring into a bare repository (area 23).

use crate::gate::{Caller, Service};
use bytes::Bytes;
use millpond_auth::{Action, Resource};
use millpond_engine::{DumpIds, JobInfo, JobKind, Result};
use millpond_types::{ContentHash, RepositoryName};

/// What a dump shows.
const DUMP: [Action; 3] = [Action::ListTags, Action::ListBranches, Action::ListCommits];
/// What a restore makes.
const RESTORE: [Action; 3] = [Action::CreateTag, Action::CreateBranch, Action::CreateCommit];

impl Service {
    /// Writes down all commits, branches and tags of a repository.
    pub async fn dump_refs(&self, caller: &Caller, repo: &RepositoryName) -> Result<DumpIds> {
        let p = self.permit(caller, &DUMP.map(|action| (action, Resource::Repository(repo))))?;
        p.engine.dump_refs(repo).await
    }

    /// The same in the background; names the job.
    pub async fn dump_job(&self, caller: &Caller, repo: &RepositoryName) -> Result<String> {
        let p = self.permit(caller, &DUMP.map(|action| (action, Resource::Repository(repo))))?;
        p.engine.dump_job(&p.actor, repo).await
    }

    /// How a dump in the background is doing.
    pub async fn dump_status(&self, caller: &Caller, repo: &RepositoryName, id: &str) -> Result<JobInfo> {
        let p = self.permit(caller, &DUMP.map(|action| (action, Resource::Repository(repo))))?;
        p.engine.job_status(repo, JobKind::Dump, id).await
    }

    /// A node of a tree, or a file of a dump, by its id.
    pub async fn metadata_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        id: &ContentHash,
    ) -> Result<Bytes> {
        let needs = [
            (Action::ListObjects, Resource::Repository(repo)),
            (Action::ReadRepository, Resource::Repository(repo)),
        ];
        let p = self.permit(caller, &needs)?;
        p.engine.metadata_object(repo, id).await
    }

    /// Gives a bare repository the commits, branches and tags of a dump.
    pub async fn restore_refs(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        ids: DumpIds,
        force: bool,
    ) -> Result<()> {
        let p = self.permit(caller, &RESTORE.map(|action| (action, Resource::Repository(repo))))?;
        p.engine.restore_refs(&p.actor, repo, ids, force).await
    }

    /// The same in the background; names the job.
    pub async fn restore_job(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        ids: DumpIds,
        force: bool,
    ) -> Result<String> {
        let p = self.permit(caller, &RESTORE.map(|action| (action, Resource::Repository(repo))))?;
        p.engine.restore_job(&p.actor, repo, ids, force).await
    }

    /// How a restore in the background is doing.
    pub async fn restore_status(&self, caller: &Caller, repo: &RepositoryName, id: &str) -> Result<JobInfo> {
        let p = self.permit(caller, &RESTORE.map(|action| (action, Resource::Repository(repo))))?;
        p.engine.job_status(repo, JobKind::Restore, id).await
    }
}
