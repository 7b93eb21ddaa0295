//! Who may do what: access keys, session tokens, and the one evaluator in front of every verb.
//!
//! For now there is one administrator, who may do everything; users, groups and policies slot in behind
//! [`Auth::authorize`] without a change to its callers. Secrets are sealed before they reach the metadata
//! store (`docs/formats/auth.md`); open ones live only in memory and have no `Debug`.
//!
//! This crate does not know about HTTP, S3, signatures, cookies, configuration or where the master key is
//! kept. It reads time and draws chance only through the ports of `millpond-types`.

mod access;
mod auth;
mod backoff;
mod error;
mod mac;
mod pattern;
mod permission;
mod policy;
mod seal;
mod secret;
mod store;
mod token;

pub use access::{Access, Because, Explanation};
pub use auth::{AdminKeys, Auth, Credential};
pub use error::{Error, Result};
pub use permission::{Action, Needs, Permit, Resource};
pub use policy::{Circumstances, Conditions, Document, Effect, Miss, Statement};
pub use seal::{MASTER_KEY_BYTES, SealError, Sealer};
pub use secret::Secret;
pub use token::TOKEN_LIFETIME_SECONDS;
