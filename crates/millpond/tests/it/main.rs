//! The binary as a user starts it: processes, signals, files.
#![allow(clippy::disallowed_methods, reason = "tests of the binary touch the machine")]

mod process;
mod serve;
mod up;
