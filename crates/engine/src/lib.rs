//! The versioning engine: repositories, refs, staging, commit, merge, diff, and the objects under them.
//!
//! It works over three ports (metadata store, object store, clock and chance) so that it runs under
//! simulation as well as on a disk. It does not know about principals, tokens, HTTP, S3, JSON or
//! configuration: an [`Actor`] is a name to write down, never a right.

pub mod api;
pub use api::*;
