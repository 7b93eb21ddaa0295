//! Tests of trees against a model simple enough to be obviously right: a `BTreeMap`.
#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod diff;
mod golden;
mod histories;
mod hostile;
mod merge;
mod pack;
mod reading;
mod support;
