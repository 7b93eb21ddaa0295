//! Branches and tags (API areas 10 and 11).

use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use reqwest::Method;
use serde::{Deserialize, Serialize};

/// A branch or tag and the commit it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ref {
    /// Its name.
    pub id: String,
    /// The commit.
    pub commit_id: String,
}

/// A branch to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BranchCreation {
    /// Letters, digits, underscores and dashes.
    pub name: String,
    /// Any ref expression.
    pub source: String,
    /// Whether listings leave it out.
    pub hidden: bool,
    /// Whether to make it in a read-only repository.
    pub force: bool,
}

/// A tag to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TagCreation {
    /// Its name.
    pub id: String,
    /// Any ref expression that leads to a commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Whether to make it in a read-only repository.
    pub force: bool,
}

impl Client {
    /// A page of a repository's branches.
    pub async fn list_branches(
        &self,
        repository: &str,
        query: &PageQuery,
        show_hidden: bool,
    ) -> Result<Page<Ref>, Error> {
        let attempt = format!("list the branches of {repository}");
        let call =
            self.call(Method::GET, Api::Compatible, &["repositories", repository, "branches"], attempt);
        query.add_to(call).query_flag("show_hidden", show_hidden).read_json().await
    }

    /// One branch.
    pub async fn get_branch(&self, repository: &str, branch: &str) -> Result<Ref, Error> {
        let attempt = format!("read branch {repository}/{branch}");
        self.call(Method::GET, Api::Compatible, &["repositories", repository, "branches", branch], attempt)
            .read_json()
            .await
    }

    /// Makes a branch; returns the commit it starts at.
    pub async fn create_branch(&self, repository: &str, creation: &BranchCreation) -> Result<String, Error> {
        let attempt = format!("create branch {repository}/{} from {}", creation.name, creation.source);
        let text = self
            .call(Method::POST, Api::Compatible, &["repositories", repository, "branches"], attempt)
            .json(creation)
            .read_text()
            .await?;
        Ok(text.trim().to_owned())
    }

    /// Deletes a branch and what is uncommitted on it; its commits stay.
    pub async fn delete_branch(&self, repository: &str, branch: &str, force: bool) -> Result<(), Error> {
        let attempt = format!("delete branch {repository}/{branch}");
        self.call(Method::DELETE, Api::Compatible, &["repositories", repository, "branches", branch], attempt)
            .query_flag("force", force)
            .read_nothing()
            .await
    }

    /// A page of a repository's tags.
    pub async fn list_tags(&self, repository: &str, query: &PageQuery) -> Result<Page<Ref>, Error> {
        let attempt = format!("list the tags of {repository}");
        let call = self.call(Method::GET, Api::Compatible, &["repositories", repository, "tags"], attempt);
        query.add_to(call).read_json().await
    }

    /// One tag.
    pub async fn get_tag(&self, repository: &str, tag: &str) -> Result<Ref, Error> {
        let attempt = format!("read tag {repository}/{tag}");
        self.call(Method::GET, Api::Compatible, &["repositories", repository, "tags", tag], attempt)
            .read_json()
            .await
    }

    /// Makes a tag.
    pub async fn create_tag(&self, repository: &str, creation: &TagCreation) -> Result<Ref, Error> {
        let attempt = format!("create tag {repository}/{} at {}", creation.id, creation.reference);
        self.call(Method::POST, Api::Compatible, &["repositories", repository, "tags"], attempt)
            .json(creation)
            .read_json()
            .await
    }

    /// Deletes a tag; its commit stays.
    pub async fn delete_tag(&self, repository: &str, tag: &str, force: bool) -> Result<(), Error> {
        let attempt = format!("delete tag {repository}/{tag}");
        self.call(Method::DELETE, Api::Compatible, &["repositories", repository, "tags", tag], attempt)
            .query_flag("force", force)
            .read_nothing()
            .await
    }
}
