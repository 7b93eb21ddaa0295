//! Who may do what: users, groups, policies, access keys, sessions, and the one evaluator in front of every verb.
//!
//! Everything is in memory as well as in the metadata store, because every request asks. It changes through
//! [`Change`] alone: durable first, seen afterwards. Secrets are sealed before they reach the store
//! (`docs/formats/auth.md`); open ones live only in memory and have no `Debug`. Why it is built so:
//! `docs/design/authorization.md`.
//!
//! This crate does not know about HTTP, S3, signatures, cookies, configuration or where the master key is
//! kept. It reads time and draws chance only through the ports of `millpond-types`.

mod access;
mod auth;
mod backoff;
mod change;
mod defaults;
mod directory;
mod error;
mod mac;
mod password;
mod pattern;
mod permission;
mod policy;
mod seal;
mod secret;
mod state;
mod store;
mod token;
mod vouch;

pub use access::{Access, Because, Explanation};
pub use auth::{AdminKeys, Auth, Credential, Who, sealed_with};
pub use change::{Change, NewKey, NewUser, Told, ToldChange};
pub use defaults::{ADMINS, AclLevel, acl_policy};
pub use directory::{Acl, GroupInfo, KeyInfo, Page, PolicyInfo, UserInfo};
pub use error::{Error, Result};
/// Rows that a change is written with, and what they expect: see [`Change::commit`].
pub use millpond_kv::Batch;
pub use password::PasswordHash;
pub use permission::{Action, Needs, Permit, Resource};
pub use policy::{Circumstances, Conditions, Document, Effect, Miss, Statement};
pub use seal::{MASTER_KEY_BYTES, SealError, Sealer};
pub use secret::Secret;
pub use token::TOKEN_LIFETIME_SECONDS;
pub use vouch::Vouched;
