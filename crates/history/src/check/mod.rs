//! The rules. Each is its own file, judges a whole history, and has tests with planted violations.

pub mod chain;
pub mod register;
pub mod snapshot;

use crate::event::{History, Violation};

/// Everything that is wrong with a history.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = chain::check(history);
    violations.extend(snapshot::check(history));
    violations.extend(register::check(history));
    violations
}
