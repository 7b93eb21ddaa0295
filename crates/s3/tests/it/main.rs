//! The whole door over the real service in memory, driven by hand-signed requests.

#![allow(clippy::unwrap_used)]

mod access;
mod buckets;
mod copy;
mod delete;
mod limits;
mod listing;
mod matrix;
mod multipart;
mod objects;
mod server;
