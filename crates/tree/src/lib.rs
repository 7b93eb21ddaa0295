//! Immutable trees: what a commit holds, as one canonical ordered Merkle tree keyed by path bytes.
//!
//! The same set of entries has the same tree id whatever history led to it, because only keys decide where
//! nodes end (see `boundary`) and every node has one encoding (`docs/formats/tree-node.md`). Equality of two
//! trees, or of any two subtrees, is therefore one comparison of ids, and the cost of [`apply`], [`Diff`] and
//! [`merge`] follows the change and not the size of the tree.
//!
//! This crate does not know about branches, commits, repositories, files, networks or caches. It reads nodes
//! through a [`NodeSource`] and hands new ones to a [`NodeSink`]; where they live is the caller's business. It
//! does no I/O, reads no clock and draws no random number. Bytes that come back from a source are checked
//! before anything is believed: hostile nodes lead to [`TreeError::Damaged`], never to a panic.

mod apply;
mod boundary;
mod build;
mod cursor;
mod delta;
mod diff;
mod error;
mod inner;
mod keys;
mod leaf;
mod merge;
mod node;
pub mod pack;
mod read;
mod scan;
mod source;
pub mod verify;

pub use apply::{apply, replace};
pub use build::build;
pub use diff::{Change, Diff};
pub use error::{Place, TreeError};
pub use merge::{Merged, Strategy, merge};
pub use node::Node;
pub use read::{Totals, get, totals};
pub use scan::Scan;
pub use source::{NewNodes, NodeSink, NodeSource, Overlay};
