//! A typed, asynchronous HTTP client for Millpond's two HTTP interfaces: the lakeFS-compatible one under
//! `/api/v1` and Millpond's own under `/api/millpond/v1`.
//!
//! It exists so that the command line (and later the mount and the tests) speak to a server in terms of
//! branches, commits and objects instead of URLs. One module holds one area of the API: its models and the
//! methods that send them. It works against any server that speaks `/api/v1`; only the calls of
//! [`operations`], [`Client::explain`], [`Client::rotate_master_key`] and the `paths`/`prefixes` of a commit need Millpond.
//!
//! It deliberately does not know about terminals, files, profiles, environment variables or URIs, keeps no
//! state between calls but its connections, and never decides for the caller what an answer means beyond
//! [`Kind`].

pub mod adoption;
pub mod audit;
mod call;
pub mod changes;
pub mod commits;
mod connection;
pub mod error;
pub mod imports;
pub mod objects;
pub mod operations;
pub mod page;
pub mod people;
pub mod pulls;
pub mod refs;
pub mod repositories;
pub mod rules;
pub mod server;
pub mod upkeep;

pub use adoption::{
    AdoptedChange, AdoptedCommit, AdoptedContent, AdoptedObject, AdoptedTree, AdoptedTreeCreation,
};
pub use audit::{AuditChange, AuditEvent, AuditFilter};
pub use changes::{
    CherryPickCreation, CommitOverrides, Diff, DiffQuery, DotDiff, Merge, MergeResult, ResetCreation,
    RevertCreation, Strategy,
};
pub use commits::{Commit, CommitCreation, LogQuery};
pub use connection::{Client, Credentials, Settings, normalize_server};
pub use error::{Error, Kind, Refusal};
pub use imports::{ImportCreation, ImportError, ImportLocation, ImportStatus};
pub use objects::{ObjectBody, ObjectError, ObjectQuery, ObjectStats, PathType, UploadOptions};
pub use operations::{Operation, Undone};
pub use page::{Page, PageQuery, Pagination};
pub use people::{
    AccessKey, Explanation, Group, Holder, MasterKey, Near, NewAccessKey, Policy, Principal, ShortLivedKey,
    SignInLink,
};
pub use pulls::{PullRequest, PullRequestCreation};
pub use refs::{BranchCreation, Ref, TagCreation};
pub use repositories::{Repository, RepositoryCreation};
pub use reqwest::Body;
pub use rules::{CollectionRules, ProtectionRule};
pub use server::{Config, ServerVersion, StorageConfig, User, VersionConfig};
pub use upkeep::Lines;
