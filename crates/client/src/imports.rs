//! Imports (API area 20).

use crate::commits::{Commit, CommitCreation};
use crate::connection::{Api, Client};
use crate::error::Error;
use crate::objects::PathType;
use reqwest::Method;
use serde::{Deserialize, Serialize};

/// One source of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportLocation {
    /// One object, or everything below a folder.
    #[serde(rename = "type")]
    pub kind: PathType,
    /// URI of the source, as the server sees it.
    pub path: String,
    /// Where it goes on the branch.
    pub destination: String,
}

/// An import to be started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportCreation {
    /// Its sources.
    pub paths: Vec<ImportLocation>,
    /// How to describe its commit.
    pub commit: CommitCreation,
    /// Whether to import into a read-only repository.
    pub force: bool,
}

/// How an import is doing. It has ended when it is completed or has an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportStatus {
    /// Whether it made its commit.
    pub completed: bool,
    /// RFC 3339.
    pub update_time: String,
    /// Objects taken in so far.
    #[serde(default)]
    pub ingested_objects: u64,
    /// Links and special files that were passed over (Millpond only).
    #[serde(default)]
    pub skipped_objects: u64,
    /// The commit, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Why there will be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ImportError>,
}

/// Why an import failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportError {
    /// For people.
    pub message: String,
}

#[derive(Deserialize)]
struct Started {
    id: String,
}

impl Client {
    /// Starts an import; gives its id.
    pub async fn import_start(
        &self,
        repository: &str,
        branch: &str,
        creation: &ImportCreation,
    ) -> Result<String, Error> {
        let attempt = format!("import into {repository}/{branch}");
        let segments = ["repositories", repository, "branches", branch, "import"];
        let started: Started =
            self.call(Method::POST, Api::Compatible, &segments, attempt).json(creation).read_json().await?;
        Ok(started.id)
    }

    /// How an import is doing.
    pub async fn import_status(
        &self,
        repository: &str,
        branch: &str,
        id: &str,
    ) -> Result<ImportStatus, Error> {
        let attempt = format!("ask about import {id} into {repository}/{branch}");
        let segments = ["repositories", repository, "branches", branch, "import"];
        self.call(Method::GET, Api::Compatible, &segments, attempt).query("id", id).read_json().await
    }

    /// Ends an import that has not ended.
    pub async fn import_cancel(&self, repository: &str, branch: &str, id: &str) -> Result<(), Error> {
        let attempt = format!("cancel import {id} into {repository}/{branch}");
        let segments = ["repositories", repository, "branches", branch, "import"];
        self.call(Method::DELETE, Api::Compatible, &segments, attempt).query("id", id).read_nothing().await
    }
}
