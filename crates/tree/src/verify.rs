//! The thorough check of one node, for fsck: all that a reader does not check because a node which fails it is
//! harmless to read. A tree whose nodes all pass is the one tree of its entries; one that does not pass would get
//! another id if it were written again, so equal content would be taken for different.

use crate::boundary::Chunker;
use crate::build::{Built, NodeBuilder};
use crate::cursor::check_child;
use crate::inner::InnerBuilder;
use crate::leaf::{LeafBuilder, Puts};
use crate::scan::path;
use crate::{Node, TreeError};
use millpond_types::{Entry, NodeId, ObjectPath};
use std::sync::Arc;

/// Whether a node's last key is one after which nodes end. Any node may end elsewhere only if it is the last of
/// its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ends where the rule says.
    AtBoundary,
    /// It ends because nothing follows.
    Open,
}

/// Decodes every row of a node, encodes it again and compares; checks that the node does not go on beyond a
/// boundary. The node's hash was checked when it was read. Entries of a leaf are given to `see`.
///
/// # Errors
/// [`TreeError::Damaged`].
pub fn verify(node: &Arc<Node>, mut see: impl FnMut(ObjectPath, Entry)) -> Result<Ending, TreeError> {
    let mut chunker = Chunker::new(node.level());
    let mut ending = Ending::Open;
    let mut take = |index: usize, key: &[u8]| {
        let ends = chunker.ends_after(key);
        if ends && index + 1 < node.len() {
            return Err(TreeError::node(node.id(), format!("it goes on beyond the boundary at row {index}")));
        }
        if ends {
            ending = Ending::AtBoundary;
        }
        Ok(())
    };
    let again = if node.level() == 0 {
        let mut builder = LeafBuilder::new(Puts::Exact);
        for index in 0..node.len() {
            let (key, entry) = (node.key(index), node.entry(index)?);
            take(index, &key)?;
            builder.push(&key, &entry);
            see(path(&key), entry);
        }
        builder.finish()
    } else {
        let mut builder = InnerBuilder::new(node.level());
        for index in 0..node.len() {
            let key = node.key(index);
            take(index, &key)?;
            builder.push(&key, &node.child(index));
        }
        builder.finish()
    };
    let Built { node: again, .. } = again;
    if again.bytes() != node.bytes() {
        return Err(TreeError::node(node.id(), "it is not in canonical form"));
    }
    Ok(ending)
}

/// Checks that a node may be the root: a root with one child would not be the root of its tree.
///
/// # Errors
/// [`TreeError::Damaged`].
pub fn verify_root(node: &Node) -> Result<(), TreeError> {
    match node.level() > 0 && node.len() == 1 {
        true => Err(TreeError::node(node.id(), "it is a root with one child")),
        false => Ok(()),
    }
}

/// Checks that a child is what its parent says: level, totals, last key; and that its keys lie behind those of
/// the child before it.
///
/// # Errors
/// [`TreeError::Damaged`].
pub fn verify_child(parent: &Node, index: usize, child: &Node) -> Result<(), TreeError> {
    check_child(parent, index, child)?;
    if index > 0 && child.key(0) <= parent.key(index - 1) {
        return Err(TreeError::node(child.id(), "its keys begin before its neighbour's end"));
    }
    Ok(())
}

/// What lies under a child of an inner node, for messages: its id, the last path before it (none if it is the
/// first) and its own last path.
///
/// # Panics
/// On a leaf, or if there is no such child.
pub fn child(parent: &Node, index: usize) -> (NodeId, Option<ObjectPath>, ObjectPath) {
    let before = index.checked_sub(1).map(|before| path(&parent.key(before)));
    (parent.child(index).id, before, path(&parent.key(index)))
}
