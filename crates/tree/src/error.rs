//! What can go wrong when a tree is read, and what the caller does about it.

use millpond_types::NodeId;

/// A failure to read or write a tree.
#[derive(thiserror::Error, Debug, Clone, PartialEq, Eq)]
pub enum TreeError {
    /// A source that holds only what is in memory does not have this node. Fetch it and call again: scans and
    /// diffs stay where they were.
    #[error("tree node {0} is not in memory")]
    NotResident(NodeId),
    /// No source has the node: stored data was lost. Report it; a retry does not help.
    #[error("tree node {0} is missing from the store")]
    Missing(NodeId),
    /// Bytes that cannot be what this program wrote. Report it; fsck finds the extent.
    #[error("{0} is damaged: {1}")]
    Damaged(Place, String),
    /// The source failed to read. Retry as the store's own error says.
    #[error("reading a tree node failed: {0}")]
    Store(String),
}

/// What was found damaged.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One node.
    #[error("tree node {0}")]
    Node(NodeId),
    /// A pack file: its header or its index.
    #[error("node pack")]
    Pack,
}

impl TreeError {
    pub(crate) fn node(id: NodeId, why: impl Into<String>) -> Self {
        Self::Damaged(Place::Node(id), why.into())
    }
    pub(crate) fn pack(why: impl Into<String>) -> Self {
        Self::Damaged(Place::Pack, why.into())
    }
}
