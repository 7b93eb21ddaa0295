//! Differences and what is done with them: merge, revert, cherry-pick, reset (API areas 13 to 15).

use crate::commits::Commit;
use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// `added`, `removed`, `changed`, `conflict` or `prefix_changed`.
    #[serde(rename = "type")]
    pub change: String,
    /// The object's path, or a common prefix.
    pub path: String,
    /// `object` or `common_prefix`.
    pub path_type: String,
    /// Size of the object, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
}

/// How two refs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotDiff {
    /// From the left tree to the right tree.
    Two,
    /// What merging right into left would bring, conflicts marked.
    Three,
}

/// Which part of a difference to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiffQuery {
    /// The page.
    pub page: PageQuery,
    /// Folds everything up to the next delimiter; empty folds nothing.
    pub delimiter: String,
}

/// Which side a merge takes for a path that both changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The source's version.
    SourceWins,
    /// The destination's version.
    DestWins,
}

/// How to merge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Merge {
    /// None takes the server's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Recorded in the merge commit.
    pub metadata: BTreeMap<String, String>,
    /// None refuses to merge when there is a conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Whether the merge commit has the destination as its only parent.
    pub squash_merge: bool,
    /// Whether to make a commit although there is nothing to merge.
    pub allow_empty: bool,
    /// Whether to merge into a read-only repository.
    pub force: bool,
}

/// The merge commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeResult {
    /// Its id.
    pub reference: String,
}

/// Message and metadata in place of the derived ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CommitOverrides {
    /// None keeps the derived message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// None keeps the derived metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// What to revert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RevertCreation {
    /// The commit, as a ref expression.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Counted from 1 for a merge commit; 0 otherwise.
    pub parent_number: u32,
    /// Message and metadata of the new commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_overrides: Option<CommitOverrides>,
    /// Whether a revert that changes nothing is wanted.
    pub allow_empty: bool,
    /// Whether to revert in a read-only repository.
    pub force: bool,
}

/// What to pick.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CherryPickCreation {
    /// The commit, as a ref expression.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Counted from 1; needed for a merge commit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_number: Option<u32>,
    /// Message and metadata of the new commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_overrides: Option<CommitOverrides>,
    /// Whether to pick in a read-only repository.
    pub force: bool,
}

/// Which uncommitted changes to drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResetCreation {
    /// All of them.
    #[serde(rename = "reset")]
    All,
    /// Those whose path begins with this text.
    CommonPrefix {
        /// Plain text prefix.
        path: String,
    },
    /// That of one object.
    Object {
        /// Its path.
        path: String,
    },
}

impl Client {
    /// A page of what is uncommitted on a branch.
    pub async fn diff_branch(
        &self,
        repository: &str,
        branch: &str,
        query: &DiffQuery,
    ) -> Result<Page<Diff>, Error> {
        let attempt = format!("read the uncommitted changes of {repository}/{branch}");
        let segments = ["repositories", repository, "branches", branch, "diff"];
        query
            .page
            .add_to(self.call(Method::GET, Api::Compatible, &segments, attempt))
            .query_filled("delimiter", &query.delimiter)
            .read_json()
            .await
    }

    /// A page of the difference between two refs.
    pub async fn diff_refs(
        &self,
        repository: &str,
        left: &str,
        right: &str,
        dots: DotDiff,
        query: &DiffQuery,
    ) -> Result<Page<Diff>, Error> {
        let (between, kind) = match dots {
            DotDiff::Two => ("..", "two_dot"),
            DotDiff::Three => ("...", "three_dot"),
        };
        let attempt = format!("compare {left}{between}{right} in {repository}");
        let segments = ["repositories", repository, "refs", left, "diff", right];
        query
            .page
            .add_to(self.call(Method::GET, Api::Compatible, &segments, attempt))
            .query_filled("delimiter", &query.delimiter)
            .query("type", kind)
            .read_json()
            .await
    }

    /// Merges a ref into a branch. A conflict is refused with 409; the conflicting paths are the items of
    /// type `conflict` in the three-dot difference.
    pub async fn merge(
        &self,
        repository: &str,
        source: &str,
        destination: &str,
        merge: &Merge,
    ) -> Result<MergeResult, Error> {
        let attempt = format!("merge {source} into {destination} in {repository}");
        let segments = ["repositories", repository, "refs", source, "merge", destination];
        self.call(Method::POST, Api::Compatible, &segments, attempt).json(merge).read_json().await
    }

    /// Commits the opposite of a commit.
    pub async fn revert(&self, repository: &str, branch: &str, revert: &RevertCreation) -> Result<(), Error> {
        let attempt = format!("revert {} on {repository}/{branch}", revert.reference);
        let segments = ["repositories", repository, "branches", branch, "revert"];
        self.call(Method::POST, Api::Compatible, &segments, attempt).json(revert).read_nothing().await
    }

    /// Commits what another commit changed.
    pub async fn cherry_pick(
        &self,
        repository: &str,
        branch: &str,
        pick: &CherryPickCreation,
    ) -> Result<Commit, Error> {
        let attempt = format!("cherry-pick {} to {repository}/{branch}", pick.reference);
        let segments = ["repositories", repository, "branches", branch, "cherry-pick"];
        self.call(Method::POST, Api::Compatible, &segments, attempt).json(pick).read_json().await
    }

    /// Drops uncommitted changes.
    pub async fn reset_branch(
        &self,
        repository: &str,
        branch: &str,
        reset: &ResetCreation,
    ) -> Result<(), Error> {
        let attempt = format!("reset {repository}/{branch}");
        let segments = ["repositories", repository, "branches", branch];
        self.call(Method::PUT, Api::Compatible, &segments, attempt).json(reset).read_nothing().await
    }

    /// Moves a branch to any commit of the repository; `force` also of a read-only one.
    pub async fn hard_reset_branch(
        &self,
        repository: &str,
        branch: &str,
        reference: &str,
        force: bool,
    ) -> Result<(), Error> {
        let attempt = format!("move {repository}/{branch} to {reference}");
        let segments = ["repositories", repository, "branches", branch, "hard_reset"];
        self.call(Method::PUT, Api::Compatible, &segments, attempt)
            .query("ref", reference)
            .query_flag("force", force)
            .read_nothing()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_spelled_as_the_interface_wants() {
        let spell = |reset: ResetCreation| serde_json::to_string(&reset).expect("serializable");
        assert_eq!(spell(ResetCreation::All), r#"{"type":"reset"}"#);
        assert_eq!(
            spell(ResetCreation::CommonPrefix { path: "a/".into() }),
            r#"{"type":"common_prefix","path":"a/"}"#
        );
        assert_eq!(spell(ResetCreation::Object { path: "a".into() }), r#"{"type":"object","path":"a"}"#);
    }

    #[test]
    fn strategies_are_spelled_as_the_interface_wants() {
        let merge = Merge { strategy: Some(Strategy::SourceWins), ..Merge::default() };
        let text = serde_json::to_string(&merge).expect("serializable");
        assert!(text.contains(r#""strategy":"source-wins""#), "{text}");
    }
}
