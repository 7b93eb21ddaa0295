//! The vocabulary of Millpond: names, ids, paths, ref expressions, entries, commits, and the
//! ports for time and chance.
//!
//! Everything here is plain data with its rules. This crate does not know about storage, trees,
//! networks, JSON, principals or any protocol; it reads no clock and draws no random number.

pub mod clock;
pub mod codec;
pub mod commit;
pub mod entry;
pub mod hash;
pub mod limits;
pub mod name;
pub mod path;
pub mod refexpr;

pub use clock::{Clock, Random, Timestamp};
pub use codec::{DecodeError, Reader, Writer};
pub use commit::{Commit, Metadata};
pub use entry::{Address, Attributes, Checksum, Content, Entry};
pub use hash::{CommitId, ContentHash, InvalidId, NodeId, Sha256Digest, TreeId};
pub use name::{BranchName, InvalidName, RepositoryName, TagName};
pub use path::{InvalidPath, ObjectPath};
pub use refexpr::{Base, Modifier, RefExpr};
