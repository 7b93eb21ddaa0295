//! Histories by the hundred, the same seed twice, and defects that must be found.

#![allow(clippy::unwrap_used, missing_docs)]

mod planted;
mod regressions;
mod seeds;
