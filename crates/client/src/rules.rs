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

impl Client {
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
