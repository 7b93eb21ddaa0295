//! What this crate promises, through its public face.

mod administrator;
mod directory;
mod durable;
mod evaluator;
mod keys;
mod machine;
mod policies;
mod rotation;
mod sessions;
mod vouched;
