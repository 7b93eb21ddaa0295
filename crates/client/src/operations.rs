//! The log of ref moves, and undo. Millpond only.

use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use reqwest::Method;
use serde::{Deserialize, Serialize};

/// One move of a branch or tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Decimal sequence number.
    pub id: String,
    /// RFC 3339.
    pub time: String,
    /// Who.
    pub actor: String,
    /// `commit`, `merge`, `revert`, `create`, `delete` and so on.
    pub verb: String,
    /// Name of the branch or tag.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `branch` or `tag`.
    pub kind: String,
    /// Commit before; empty when it was created.
    #[serde(default)]
    pub old: String,
    /// Commit after; empty when it was deleted.
    #[serde(default)]
    pub new: String,
    /// What was said about it.
    #[serde(default)]
    pub message: String,
}

/// What an undo did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Name of the branch.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Commit before the undo.
    pub old: String,
    /// Commit after the undo.
    pub new: String,
    /// The move that was undone.
    pub undone: Operation,
}

#[derive(Serialize)]
struct Nothing {}

impl Client {
    /// A page of a repository's ref moves, newest first; an empty `reference` takes all refs.
    pub async fn operations(
        &self,
        repository: &str,
        reference: &str,
        query: &PageQuery,
    ) -> Result<Page<Operation>, Error> {
        let attempt = format!("read the operation log of {repository}");
        let segments = ["repositories", repository, "oplog"];
        let page = PageQuery { prefix: String::new(), ..query.clone() };
        page.add_to(self.call(Method::GET, Api::Own, &segments, attempt))
            .query_filled("ref", reference)
            .read_json()
            .await
    }

    /// Undoes the last move of a branch.
    pub async fn undo(&self, repository: &str, branch: &str) -> Result<Undone, Error> {
        let attempt = format!("undo the last operation on {repository}/{branch}");
        let segments = ["repositories", repository, "branches", branch, "undo"];
        self.call(Method::POST, Api::Own, &segments, attempt).json(&Nothing {}).read_json().await
    }
}
