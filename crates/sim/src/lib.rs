//! The whole engine under a seeded scheduler, on stores that do the worst their contracts allow, with every
//! history checked against a model (`docs/design/simulation.md`).
//!
//! It does not know HTTP, S3 or real disks; those have tests of their own.

#![allow(clippy::expect_used, reason = "development only")]

pub mod check;
pub mod executor;
pub mod history;
pub mod ops;
pub mod outside;
pub mod stores;
pub mod world;

pub use world::{Failure, Plan, Report, run};
