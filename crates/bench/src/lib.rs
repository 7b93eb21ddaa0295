//! How to run a Millpond server as a process and speak to it from outside: what every tool of this kind needs,
//! the history checker's included.
#![allow(clippy::disallowed_methods, reason = "the machine is what this is about")]

pub mod chance;
pub mod server;
pub mod sigv4;
pub mod site;
pub mod wire;
