//! Sign-in through an OIDC provider: our own relying party. It finds out who is at the browser, and nothing else.
//!
//! One flow, the authorization code with PKCE; why it is built so, and what each check prevents, is in
//! `docs/design/oidc.md`. Protocol and checks are functions of their arguments; the network is in [`RelyingParty`] and
//! the small adapter below it, and time and chance come in through the ports of `millpond-types`.
//!
//! This crate does not know about users, groups, sessions or cookies of ours, nor about requests to this server.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that fails says where"))]

mod attempt;
mod claims;
mod encode;
mod error;
mod id_token;
mod keys;
mod outbound;
mod party;
mod provider;
mod settings;
#[cfg(test)]
mod signer;

pub use attempt::{ATTEMPT_BYTES, Attempt};
pub use claims::Identity;
pub use error::{Error, Result};
pub use id_token::Fault;
pub use party::{Answer, RelyingParty};
pub use settings::{ClientSecret, Settings};
