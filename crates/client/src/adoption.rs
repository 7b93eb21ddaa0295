//! Adoption: bytes, trees and commits of another server are made again here (Millpond only).

use crate::commits::Commit;
use crate::connection::{Api, Client};
use crate::error::Error;
use reqwest::{Body, Method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes that are stored without a path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AdoptedContent {
    /// Names them in a tree to be made; good for a day.
    pub receipt: String,
    /// MD5 in hexadecimal.
    pub checksum: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// An object as the other server shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AdoptedObject {
    /// Bytes.
    pub size_bytes: u64,
    /// Its ETag.
    pub checksum: String,
    /// Unix seconds.
    pub mtime: i64,
    /// Of its bytes, if they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// Where it is, if it may stay there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub physical_address: Option<String>,
    /// Whether its bytes are nowhere any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What the uploader added.
    pub metadata: BTreeMap<String, String>,
}

/// What becomes of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdoptedChange {
    /// Where.
    pub path: String,
    /// None removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<AdoptedObject>,
}

/// A tree to be made from another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AdoptedTreeCreation {
    /// A tree, or empty.
    pub base: String,
    /// At most some thousand.
    pub changes: Vec<AdoptedChange>,
    /// Commits that may have the same objects at the same paths.
    pub like: Vec<String>,
    /// Where the other server keeps its own objects.
    pub storage: String,
}

/// What became of the changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AdoptedTree {
    /// The base with all changes but those that are missing.
    pub tree: String,
    /// Objects that stay where they are.
    pub linked: u64,
    /// Paths whose objects have to be sent.
    pub missing: Vec<String>,
}

/// A commit of another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdoptedCommit {
    /// Its id there, which becomes an alias here.
    pub source_id: String,
    /// Its tree here.
    pub tree: String,
    /// Its parents' ids here.
    pub parents: Vec<String>,
    /// Who made it.
    pub committer: String,
    /// Why.
    pub message: String,
    /// Unix seconds.
    pub creation_date: i64,
    /// What the committer added.
    pub metadata: BTreeMap<String, String>,
}

impl Client {
    /// Stores bytes. A streamed body cannot be sent twice: trying again is the caller's.
    pub async fn adopt_content(&self, repository: &str, body: Body) -> Result<AdoptedContent, Error> {
        self.adoption(repository, "contents", format!("store bytes in {repository}"))
            .header("content-type", "application/octet-stream")
            .body(body)
            .read_json()
            .await
    }

    /// Makes a tree.
    pub async fn adopt_tree(
        &self,
        repository: &str,
        creation: &AdoptedTreeCreation,
    ) -> Result<AdoptedTree, Error> {
        self.adoption(repository, "trees", format!("make a tree in {repository}"))
            .json(creation)
            .read_json()
            .await
    }

    /// Makes a commit that the other server's id stands for, too. Doing it again does nothing.
    pub async fn adopt_commit(&self, repository: &str, commit: &AdoptedCommit) -> Result<Commit, Error> {
        let attempt = format!("take over commit {} into {repository}", commit.source_id);
        self.adoption(repository, "commits", attempt).json(commit).read_json().await
    }

    /// A repository that is read-only is filled all the same.
    fn adoption(&self, repository: &str, what: &str, attempt: String) -> crate::call::Call<'_> {
        self.call(Method::POST, Api::Own, &["repositories", repository, "adoption", what], attempt)
            .query("force", "true")
    }
}
