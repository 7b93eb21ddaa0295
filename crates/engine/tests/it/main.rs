//! The engine through its public face, over memory stores.

#![allow(clippy::unwrap_used, missing_docs)]

mod model;
mod objects;
mod refs;
mod restart;
mod support;
mod uploads;
