//! What this crate promises, through its public face.

mod evaluator;
mod policies;
