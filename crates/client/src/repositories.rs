//! Repositories (API area 9).

use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its name.
    pub id: String,
    /// Unix seconds.
    pub creation_date: i64,
    /// The branch it was created with.
    pub default_branch: String,
    /// Where its data is stored.
    pub storage_namespace: String,
    /// Whether it refuses changes.
    #[serde(default)]
    pub read_only: bool,
}

/// A repository to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RepositoryCreation {
    /// 3 to 63 lower-case letters, digits and dashes.
    pub name: String,
    /// Where its data goes, for example `local://demo` or `s3://bucket/prefix`.
    pub storage_namespace: String,
    /// Name of the first branch; none is `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Whether to commit sample files.
    pub sample_data: bool,
    /// Whether it refuses changes from the start.
    pub read_only: bool,
}

#[derive(Serialize)]
struct MetadataSet<'a> {
    metadata: &'a BTreeMap<String, String>,
}

impl Client {
    /// A page of the repositories that the caller may see.
    pub async fn list_repositories(&self, query: &PageQuery) -> Result<Page<Repository>, Error> {
        let call =
            self.call(Method::GET, Api::Compatible, &["repositories"], "list the repositories".to_owned());
        query.add_to(call).read_json().await
    }

    /// Makes a repository with one branch and a first, empty commit.
    pub async fn create_repository(&self, creation: &RepositoryCreation) -> Result<Repository, Error> {
        let attempt = format!("create repository {}", creation.name);
        self.call(Method::POST, Api::Compatible, &["repositories"], attempt).json(creation).read_json().await
    }

    /// Makes a repository without any branch or commit, for what is brought in from elsewhere.
    pub async fn create_bare_repository(&self, creation: &RepositoryCreation) -> Result<Repository, Error> {
        let attempt = format!("create repository {}", creation.name);
        self.call(Method::POST, Api::Compatible, &["repositories"], attempt)
            .query("bare", "true")
            .json(creation)
            .read_json()
            .await
    }

    /// One repository.
    pub async fn get_repository(&self, repository: &str) -> Result<Repository, Error> {
        let attempt = format!("read repository {repository}");
        self.call(Method::GET, Api::Compatible, &["repositories", repository], attempt).read_json().await
    }

    /// What users and tools have noted about a repository.
    pub async fn get_repository_metadata(&self, repository: &str) -> Result<BTreeMap<String, String>, Error> {
        let attempt = format!("read the metadata of repository {repository}");
        self.call(Method::GET, Api::Compatible, &["repositories", repository, "metadata"], attempt)
            .read_json()
            .await
    }

    /// Adds to that, or replaces what is there under the same keys.
    pub async fn set_repository_metadata(
        &self,
        repository: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let attempt = format!("set the metadata of repository {repository}");
        self.call(Method::POST, Api::Compatible, &["repositories", repository, "metadata"], attempt)
            .json(&MetadataSet { metadata })
            .read_nothing()
            .await
    }

    /// Deletes a repository with all its branches, tags and commits; `force` also a read-only one.
    pub async fn delete_repository(&self, repository: &str, force: bool) -> Result<(), Error> {
        let attempt = format!("delete repository {repository}");
        self.call(Method::DELETE, Api::Compatible, &["repositories", repository], attempt)
            .query_flag("force", force)
            .read_nothing()
            .await
    }
}
