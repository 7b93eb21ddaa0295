//! The sample repository: `samples/` as it was when the binary was built, played through the service's
//! verbs like the work of any client.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use millpond_service::{
    Attributes, BranchName, Caller, CommitRequest, Kind, Metadata, NewRepository, ObjectPath, PutRequest,
    RefExpr, RepositoryName, Service, TagName, WriteCondition,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Path below `samples/`, and bytes.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/samples.rs"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    repository: String,
    content_types: BTreeMap<String, String>,
    #[serde(rename = "step")]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    branch: String,
    from: Option<String>,
    directory: String,
    delete: Vec<String>,
    message: String,
    #[serde(default)]
    metadata: Metadata,
    tag: Option<String>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The repository is there now.
    New,
    /// Somebody has a repository of that name; it was left alone.
    NameTaken,
}

fn manifest() -> Result<Manifest> {
    let text = file("manifest.toml").context("the binary holds no samples/manifest.toml")?;
    toml::from_str(std::str::from_utf8(text)?).context("samples/manifest.toml")
}

fn file(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(path, _)| *path == name).map(|(_, bytes)| *bytes)
}

/// Name of the sample repository.
///
/// # Errors
/// The embedded manifest is broken.
pub fn repository_name() -> Result<RepositoryName> {
    Ok(RepositoryName::parse(&manifest()?.repository)?)
}

/// Makes the repository. `restart`: an earlier try was interrupted, what it left is removed first.
///
/// # Errors
/// A verb failed.
pub async fn create(service: &Service, caller: &Caller, restart: bool) -> Result<Made> {
    let manifest = manifest()?;
    let repo = RepositoryName::parse(&manifest.repository)?;
    if restart {
        match service.delete_repository(caller, &repo, true).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, Kind::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let first = manifest.steps.first().context("samples/manifest.toml has no step")?;
    let new = NewRepository {
        name: repo.clone(),
        storage_namespace: format!("local://{repo}"),
        default_branch: BranchName::parse(&first.branch)?,
        read_only: false,
    };
    match service.create_repository(caller, new).await {
        Ok(_) => {}
        Err(error) if error.kind == Kind::AlreadyExists => return Ok(Made::NameTaken),
        Err(error) => return Err(error.into()),
    }
    for step in &manifest.steps {
        play(service, caller, &repo, step, &manifest.content_types)
            .await
            .with_context(|| format!("the step '{}' of the sample repository", step.message))?;
    }
    Ok(Made::New)
}

async fn play(
    service: &Service,
    caller: &Caller,
    repo: &RepositoryName,
    step: &Step,
    content_types: &BTreeMap<String, String>,
) -> Result<()> {
    let branch = BranchName::parse(&step.branch)?;
    if let Some(from) = &step.from {
        service.create_branch(caller, repo, &branch, &RefExpr::parse(from)?, false, false).await?;
    }
    let below = format!("{}/", step.directory);
    let files = FILES.iter().filter_map(|(path, bytes)| Some((path.strip_prefix(&below)?, *bytes)));
    let mut uploaded = 0;
    for (path, bytes) in files {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        let content_type = content_types.get(extension).map_or("application/octet-stream", String::as_str);
        let request = PutRequest {
            attributes: Attributes { content_type: content_type.to_owned(), metadata: BTreeMap::new() },
            condition: WriteCondition::default(),
            force: false,
            verified_sha256: None,
            size_hint: Some(bytes.len() as u64),
        };
        let mut upload =
            service.put_object(caller, repo, &branch, &ObjectPath::parse(path)?, request).await?;
        upload.write(Bytes::from_static(bytes)).await?;
        upload.finish(BTreeMap::new()).await?;
        uploaded += 1;
    }
    if uploaded == 0 {
        bail!("the folder samples/{} is empty", step.directory);
    }
    for path in &step.delete {
        let path = ObjectPath::parse(path)?;
        service.delete_object(caller, repo, &branch, &path, WriteCondition::default(), false).await?;
    }
    let request = CommitRequest {
        message: step.message.clone(),
        metadata: step.metadata.clone(),
        ..CommitRequest::default()
    };
    service.commit(caller, repo, &branch, request).await?;
    if let Some(tag) = &step.tag {
        let at = RefExpr::parse(&step.branch)?;
        service.create_tag(caller, repo, &TagName::parse(tag)?, &at, false).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_manifest_fits_its_files() {
        let manifest = manifest().expect("parses");
        assert!(RepositoryName::parse(&manifest.repository).is_ok());
        assert_eq!(manifest.steps.len(), 3);
        for step in &manifest.steps {
            assert!(BranchName::parse(&step.branch).is_ok());
            let below = format!("{}/", step.directory);
            assert!(FILES.iter().any(|(path, _)| path.starts_with(&below)), "{below} is empty");
        }
    }
}
