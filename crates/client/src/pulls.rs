//! Pull requests (API area 24).

use crate::changes::MergeResult;
use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use reqwest::Method;
use serde::{Deserialize, Serialize};

/// The wish to merge one branch into another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Its id.
    pub id: String,
    /// `open`, `closed` or `merged`.
    pub status: String,
    /// In a line.
    pub title: String,
    /// At length.
    #[serde(default)]
    pub description: String,
    /// Who opened it.
    pub author: String,
    /// RFC 3339.
    pub creation_date: String,
    /// What is to be merged.
    pub source_branch: String,
    /// Into what.
    pub destination_branch: String,
    /// The merge, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_commit_id: Option<String>,
    /// RFC 3339; when it was last closed or merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_date: Option<String>,
}

/// A pull request to be opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PullRequestCreation {
    /// In a line.
    pub title: String,
    /// At length.
    pub description: String,
    /// What is to be merged.
    pub source_branch: String,
    /// Into what.
    pub destination_branch: String,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Serialize)]
struct NewStatus<'a> {
    status: &'a str,
}

impl Client {
    /// A page of a repository's pull requests, newest first; `status` is `open`, `closed` (merged ones too) or
    /// `all`.
    pub async fn list_pull_requests(
        &self,
        repository: &str,
        query: &PageQuery,
        status: &str,
    ) -> Result<Page<PullRequest>, Error> {
        let attempt = format!("list the pull requests of {repository}");
        let call = self.call(Method::GET, Api::Compatible, &["repositories", repository, "pulls"], attempt);
        query.add_to(call).query("status", status).read_json().await
    }

    /// Opens a pull request; returns its id.
    pub async fn create_pull_request(
        &self,
        repository: &str,
        creation: &PullRequestCreation,
    ) -> Result<String, Error> {
        let PullRequestCreation { source_branch, destination_branch, .. } = creation;
        let attempt =
            format!("open a pull request of {repository}/{source_branch} into {destination_branch}");
        let call = self.call(Method::POST, Api::Compatible, &["repositories", repository, "pulls"], attempt);
        Ok(call.json(creation).read_json::<Created>().await?.id)
    }

    /// One pull request.
    pub async fn get_pull_request(&self, repository: &str, id: &str) -> Result<PullRequest, Error> {
        let attempt = format!("read pull request {id} of {repository}");
        self.call(Method::GET, Api::Compatible, &["repositories", repository, "pulls", id], attempt)
            .read_json()
            .await
    }

    /// Closes a pull request without merging it, or opens it again (`closed`, `open`).
    pub async fn set_pull_request_status(
        &self,
        repository: &str,
        id: &str,
        status: &str,
    ) -> Result<(), Error> {
        let attempt = format!("make pull request {id} of {repository} {status}");
        self.call(Method::PATCH, Api::Compatible, &["repositories", repository, "pulls", id], attempt)
            .json(&NewStatus { status })
            .read_nothing()
            .await
    }

    /// Merges a pull request.
    pub async fn merge_pull_request(&self, repository: &str, id: &str) -> Result<MergeResult, Error> {
        let attempt = format!("merge pull request {id} of {repository}");
        let segments = ["repositories", repository, "pulls", id, "merge"];
        self.call(Method::PUT, Api::Compatible, &segments, attempt).read_json().await
    }
}
