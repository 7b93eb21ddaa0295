//! Checks what concurrent clients of a running Millpond saw against what it promises.
//!
//! Clients call the real server through both doors while it is killed, paused and robbed of replies; every call
//! and answer is recorded; afterwards the rules in [`check`] judge the record. They know nothing of how the
//! server works. `docs/design/history.md` says which rule keeps which promise.
#![allow(clippy::disallowed_methods, reason = "clients, processes and clocks are what this is about")]

pub mod check;
pub mod client;
pub mod episode;
pub mod event;
pub mod picture;
pub mod proxy;
pub mod run;
