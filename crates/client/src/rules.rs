//! Branch protection (API area 21).

use crate::connection::{Api, Client};
use crate::error::Error;
use reqwest::Method;
use serde::{Deserialize, Serialize};

/// Branches of these names are changed by merges only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectionRule {
    /// A glob over branch names.
    pub pattern: String,
}

/// For how long what nothing refers to any more is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionRules {
    /// Days, where a branch has no rule of its own.
    pub default_retention_days: i64,
    /// By branch.
    #[serde(default, deserialize_with = "crate::commits::null_is_empty")]
    pub branches: Vec<BranchRetention>,
}

/// The same for one branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchRetention {
    /// Its name.
    pub branch_id: String,
    /// Days.
    pub retention_days: i64,
}

impl Client {
    /// The garbage collection rules of a repository; not found where there are none.
    pub async fn get_collection_rules(&self, repository: &str) -> Result<CollectionRules, Error> {
        let attempt = format!("read the garbage collection rules of {repository}");
        let segments = ["repositories", repository, "settings", "gc_rules"];
        self.call(Method::GET, Api::Compatible, &segments, attempt).read_json().await
    }

    /// Replaces the garbage collection rules of a repository.
    pub async fn set_collection_rules(&self, repository: &str, rules: &CollectionRules) -> Result<(), Error> {
        let attempt = format!("set the garbage collection rules of {repository}");
        let segments = ["repositories", repository, "settings", "gc_rules"];
        self.call(Method::PUT, Api::Compatible, &segments, attempt).json(rules).read_nothing().await
    }

    /// The rules of a repository.
    pub async fn list_protection(&self, repository: &str) -> Result<Vec<ProtectionRule>, Error> {
        let attempt = format!("list the protected branches of {repository}");
        let segments = ["repositories", repository, "settings", "branch_protection"];
        self.call(Method::GET, Api::Compatible, &segments, attempt).read_json().await
    }

    /// Adds a rule; that it is there already is no error.
    pub async fn add_protection(&self, repository: &str, rule: &ProtectionRule) -> Result<(), Error> {
        let attempt = format!("protect '{}' in {repository}", rule.pattern);
        let segments = ["repositories", repository, "branch_protection"];
        self.call(Method::POST, Api::Compatible, &segments, attempt).json(rule).read_nothing().await
    }

    /// Takes a rule away.
    pub async fn remove_protection(&self, repository: &str, rule: &ProtectionRule) -> Result<(), Error> {
        let attempt = format!("stop protecting '{}' in {repository}", rule.pattern);
        let segments = ["repositories", repository, "branch_protection"];
        self.call(Method::DELETE, Api::Compatible, &segments, attempt).json(rule).read_nothing().await
    }
}
