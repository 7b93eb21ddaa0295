//! The binary as a user starts it: processes, signals, files.
#![allow(clippy::disallowed_methods, reason = "tests of the binary touch the machine")]

mod history;
mod liars;
mod migrate;
mod overload;
mod process;
mod rows;
mod serve;
mod up;
mod upkeep;
