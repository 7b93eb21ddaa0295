//! The server itself: who am I, what does it store to, which version is it.

use crate::connection::{Api, Client};
use crate::error::Error;
use reqwest::Method;
use serde::{Deserialize, Serialize};

/// The caller, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User name; empty when the request carried no keys (API-2.6).
    pub id: String,
    /// Unix seconds.
    #[serde(default)]
    pub creation_date: i64,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

#[derive(Deserialize)]
struct CurrentUser {
    user: User,
}

/// The part of the server's configuration that clients need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where repositories store their data.
    #[serde(default)]
    pub storage_config: Option<StorageConfig>,
    /// What the server is.
    #[serde(default)]
    pub version_config: Option<VersionConfig>,
}

/// Where repositories store their data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageConfig {
    /// `local`, `mem`, `s3`, `gs`, `azure`.
    pub blockstore_type: String,
    /// A storage namespace that would be accepted.
    #[serde(default)]
    pub blockstore_namespace_example: String,
    /// Text to which `/name` is appended for a namespace, or nothing.
    #[serde(default)]
    pub default_namespace_prefix: Option<String>,
}

/// The compatible interface's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionConfig {
    /// Numeric x.y.z.
    #[serde(default)]
    pub version: String,
}

/// Millpond's own version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerVersion {
    /// As `millpond --version` prints it.
    pub version: String,
}

impl Client {
    /// Who the keys belong to. Without keys the answer is a user with an empty id.
    pub async fn current_user(&self) -> Result<User, Error> {
        let attempt = format!("sign in to {}", self.server());
        let answer: CurrentUser =
            self.call(Method::GET, Api::Compatible, &["user"], attempt).read_json().await?;
        Ok(answer.user)
    }

    /// The server's configuration.
    pub async fn config(&self) -> Result<Config, Error> {
        let attempt = format!("read the configuration of {}", self.server());
        self.call(Method::GET, Api::Compatible, &["config"], attempt).read_json().await
    }

    /// Millpond's version; 404 or [`Error::Unreadable`] on a server that is not Millpond.
    pub async fn server_version(&self) -> Result<ServerVersion, Error> {
        let attempt = format!("ask {} for its version", self.server());
        self.call(Method::GET, Api::Own, &["version"], attempt).read_json().await
    }
}
