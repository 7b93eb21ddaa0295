//! Commits and history (API area 12).

use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Parent ids; two for a merge, none for the first commit.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub parents: Vec<String>,
    /// Who made it.
    pub committer: String,
    /// Why.
    pub message: String,
    /// Unix seconds.
    pub creation_date: i64,
    /// Id of its tree.
    #[serde(default)]
    pub meta_range_id: String,
    /// What the committer added.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// 1 for the first commit, then one more than the largest parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Version of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

/// Some replies hold `null` for an empty list or map (API-12.7).
pub(crate) fn null_is_empty<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// A commit to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CommitCreation {
    /// Why; may be empty.
    pub message: String,
    /// Anything worth recording.
    pub metadata: BTreeMap<String, String>,
    /// Unix seconds; none is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<i64>,
    /// Whether a commit without changes is wanted.
    pub allow_empty: bool,
    /// Whether to commit to a read-only repository.
    pub force: bool,
    /// Only these staged paths (Millpond only); empty with `prefixes` empty takes everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Only what is staged under these prefixes (Millpond only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
}

/// Which part of a history to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// The page; its prefix is ignored.
    pub page: PageQuery,
    /// Only commits that changed one of these paths.
    pub objects: Vec<String>,
    /// Only commits that changed something under one of these prefixes.
    pub prefixes: Vec<String>,
    /// Whether to follow first parents only.
    pub first_parent: bool,
    /// RFC 3339; older commits are left out. Empty for no limit.
    pub since: String,
    /// A ref at which to stop, itself included. Empty for no limit.
    pub stop_at: String,
    /// Whether to stop scanning at `page.amount` commits instead of looking for one more.
    pub limit: bool,
}

impl Client {
    /// Commits what is staged on a branch.
    pub async fn commit(
        &self,
        repository: &str,
        branch: &str,
        creation: &CommitCreation,
    ) -> Result<Commit, Error> {
        let attempt = format!("commit to {repository}/{branch}");
        let segments = ["repositories", repository, "branches", branch, "commits"];
        self.call(Method::POST, Api::Compatible, &segments, attempt).json(creation).read_json().await
    }

    /// The commit that a ref expression names.
    pub async fn get_commit(&self, repository: &str, reference: &str) -> Result<Commit, Error> {
        let attempt = format!("read commit {repository}/{reference}");
        self.call(Method::GET, Api::Compatible, &["repositories", repository, "commits", reference], attempt)
            .read_json()
            .await
    }

    /// A page of the history of a ref, newest first.
    pub async fn log(
        &self,
        repository: &str,
        reference: &str,
        query: &LogQuery,
    ) -> Result<Page<Commit>, Error> {
        let attempt = format!("read the history of {repository}/{reference}");
        let segments = ["repositories", repository, "refs", reference, "commits"];
        let page = PageQuery { prefix: String::new(), ..query.page.clone() };
        let mut call = page.add_to(self.call(Method::GET, Api::Compatible, &segments, attempt));
        for path in &query.objects {
            call = call.query("objects", path);
        }
        for prefix in &query.prefixes {
            call = call.query("prefixes", prefix);
        }
        call.query_flag("first_parent", query.first_parent)
            .query_filled("since", &query.since)
            .query_filled("stop_at", &query.stop_at)
            .query_flag("limit", query.limit)
            .read_json()
            .await
    }
}
