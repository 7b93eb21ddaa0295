//! Import verbs.

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{Engine, Error, ImportInfo, ImportRequest, Kind, Result, Thing};
use millpond_types::{BranchName, ObjectPath, RepositoryName};

impl Service {
    /// Starts an import and names it.
    pub async fn import_start(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        mut request: ImportRequest,
    ) -> Result<String> {
        for path in &mut request.paths {
            path.source = millpond_engine::canonical(&path.source);
        }
        let onto = Resource::Branch(repo, branch.as_str());
        // Into everything is into any object.
        let destination = |bytes: &bytes::Bytes| {
            let bytes = if bytes.is_empty() { bytes::Bytes::from_static(b"*") } else { bytes.clone() };
            ObjectPath::new(bytes).map_err(|error| Error::new(Kind::Invalid, error.to_string()))
        };
        let destinations: Vec<ObjectPath> =
            request.paths.iter().map(|path| destination(&path.destination)).collect::<Result<_>>()?;
        let mut needs = vec![(Action::WriteObject, onto), (Action::CreateCommit, onto)];
        for (path, destination) in request.paths.iter().zip(&destinations) {
            needs.push((Action::ImportFromStorage, Resource::Namespace(&path.source)));
            needs.push((Action::WriteObject, Resource::Object(repo, destination)));
        }
        let p = self.permit(caller, &needs)?;
        p.engine.import_start(&p.actor, repo, branch, request).await
    }

    /// How an import is doing.
    pub async fn import_status(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        id: &str,
    ) -> Result<ImportInfo> {
        let p = self.permit(caller, &[(Action::ReadBranch, Resource::Branch(repo, branch.as_str()))])?;
        status_on(&p.engine, repo, branch, id).await
    }

    /// Ends an import that has not ended.
    pub async fn import_cancel(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        id: &str,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::ImportCancel, Resource::Branch(repo, branch.as_str()))])?;
        status_on(&p.engine, repo, branch, id).await?;
        p.engine.import_cancel(&p.actor, repo, id).await
    }
}

/// The import, if it is one of this branch: for that one the caller was authorized.
async fn status_on(
    engine: &Engine,
    repo: &RepositoryName,
    branch: &BranchName,
    id: &str,
) -> Result<ImportInfo> {
    let info = engine.import_status(repo, id).await?;
    if info.branch != *branch {
        let message = format!("import '{id}' not found on branch '{}'", branch.as_str());
        return Err(Error::new(Kind::NotFound(Thing::Other), message));
    }
    Ok(info)
}
