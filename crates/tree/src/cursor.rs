//! A place in a tree: before a subtree that was not read yet, or at an entry.
//!
//! Scans need one cursor, diffs two that skip what they have in common. A cursor only moves forward and reads a
//! node when it is told to go into it; after an error it stays where it was, so the call can be repeated.

use crate::inner::Child;
use crate::keys::KeyWalk;
use crate::source::NodeSource;
use crate::{Node, TreeError};
use millpond_types::{Entry, NodeId, TreeId};
use std::ops::Bound;
use std::sync::Arc;

/// Reads a child and checks that it is what its parent says.
pub(crate) fn load_child(
    source: &dyn NodeSource,
    parent: &Node,
    index: usize,
) -> Result<Arc<Node>, TreeError> {
    let node = source.node(&parent.child(index).id)?;
    check_child(parent, index, &node)?;
    Ok(node)
}

/// Checks that a child is what its parent says. The level is checked so that no chain of nodes can lead in a
/// circle, the rest so that damage is found where it is.
pub(crate) fn check_child(parent: &Node, index: usize, node: &Node) -> Result<(), TreeError> {
    let child = parent.child(index);
    if node.level() + 1 != parent.level() {
        return Err(TreeError::node(node.id(), "its level is not one below that of its parent"));
    }
    if Child::of(node) != child {
        return Err(TreeError::node(node.id(), "its totals are not those its parent has"));
    }
    if !parent.child_ends_like(index, node) {
        return Err(TreeError::node(node.id(), "its last key is not the one its parent has"));
    }
    Ok(())
}

/// What is at the cursor.
pub(crate) enum At<'c> {
    /// A subtree of this level that was not read yet.
    Subtree(u8, NodeId),
    /// An entry: its leaf, its index in it, its path.
    Entry(&'c Arc<Node>, usize, &'c [u8]),
    /// Nothing comes any more.
    End,
}

struct Frame {
    node: Arc<Node>,
    index: usize,
    /// In leaves: the walk that stands at `index`.
    walk: Option<KeyWalk>,
}

pub(crate) struct Cursor<'a> {
    source: &'a dyn NodeSource,
    /// The root while it was not read yet.
    unread: Option<NodeId>,
    frames: Vec<Frame>,
    /// Where to begin inside the subtree that lies across the bound of the last seek.
    from: Option<Bound<Vec<u8>>>,
}

fn as_slice(bound: &Option<Bound<Vec<u8>>>) -> Bound<&[u8]> {
    bound.as_ref().map_or(Bound::Unbounded, |bound| bound.as_ref().map(Vec::as_slice))
}

/// Whether the last key of something is within the bound.
fn reaches(last: &[u8], from: Bound<&[u8]>) -> bool {
    match from {
        Bound::Unbounded => true,
        Bound::Included(key) => last >= key,
        Bound::Excluded(key) => last > key,
    }
}

impl<'a> Cursor<'a> {
    /// Before the first entry within the bound. Reads nothing yet.
    pub(crate) fn new(source: &'a dyn NodeSource, tree: TreeId, from: Bound<&[u8]>) -> Self {
        let from = Some(from.map(<[u8]>::to_vec));
        Self { source, unread: tree.0, frames: Vec::new(), from }
    }

    /// Reads the root if that has not happened. Before it, [`Cursor::at`] cannot tell the root's level.
    pub(crate) fn open(&mut self) -> Result<(), TreeError> {
        if let Some(root) = self.unread {
            let node = self.source.node(&root)?;
            self.unread = None;
            self.enter(node);
        }
        Ok(())
    }

    pub(crate) fn at(&self) -> At<'_> {
        debug_assert!(self.unread.is_none(), "the cursor is open");
        match self.frames.last() {
            None => At::End,
            Some(Frame { node, index, walk: Some(walk) }) => At::Entry(node, *index, walk.key()),
            Some(Frame { node, index, walk: None }) => At::Subtree(node.level() - 1, node.child(*index).id),
        }
    }

    /// Goes into the subtree at the cursor, to its first item within the bound.
    pub(crate) fn descend(&mut self) -> Result<(), TreeError> {
        let frame = self.frames.last().expect("the cursor is at a subtree");
        let child = load_child(self.source, &frame.node, frame.index)?;
        self.enter(child);
        Ok(())
    }

    fn enter(&mut self, node: Arc<Node>) {
        let index = node.first_within(as_slice(&self.from));
        if node.level() == 0 {
            self.from = None;
        }
        if index == node.len() {
            return self.leave();
        }
        let walk = (node.level() == 0).then(|| node.walk(index));
        self.frames.push(Frame { node, index, walk });
    }

    /// The item at the cursor is done with: goes to the next one.
    pub(crate) fn advance(&mut self) {
        self.advance_by(1);
    }

    /// So are this and the next items of the same node, `count` together and at least one.
    pub(crate) fn advance_by(&mut self, count: usize) {
        let Some(frame) = self.frames.last_mut() else { return };
        frame.index += count;
        let more = frame.index < frame.node.len();
        if more && let Some(walk) = &mut frame.walk {
            if count == 1 {
                frame.node.advance(walk);
            } else {
                *walk = frame.node.walk(frame.index);
            }
        }
        if !more {
            self.frames.pop();
            self.leave();
        }
    }

    /// A child is done with: goes to the next one, or up.
    fn leave(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            frame.index += 1;
            if frame.index < frame.node.len() {
                return;
            }
            self.frames.pop();
        }
    }

    /// Goes into subtrees until the cursor is at an entry or the end.
    pub(crate) fn reach_entry(&mut self) -> Result<(), TreeError> {
        self.open()?;
        while let At::Subtree(..) = self.at() {
            self.descend()?;
        }
        Ok(())
    }

    /// Goes forward to the first item that can hold keys within the bound; never back. Subtrees that are passed
    /// over are not read.
    pub(crate) fn seek(&mut self, from: Bound<&[u8]>) {
        if self.frames.is_empty() {
            if self.unread.is_some() && self.begins_before(from) {
                self.from = Some(from.map(<[u8]>::to_vec));
            }
            return;
        }
        while let Some(frame) = self.frames.last_mut() {
            if reaches(&frame.node.last_key(), from) {
                let index = frame.node.first_within(from);
                if index > frame.index {
                    frame.index = index;
                    frame.walk = frame.walk.take().map(|_| frame.node.walk(index));
                }
                if frame.walk.is_none() && self.begins_before(from) {
                    self.from = Some(from.map(<[u8]>::to_vec));
                }
                return;
            }
            // The parent's search then finds a child behind this one: load_child checked their last keys.
            self.frames.pop();
        }
    }

    /// The entry with this key, for keys that come in ascending order.
    pub(crate) fn find(&mut self, key: &[u8]) -> Result<Option<Entry>, TreeError> {
        self.seek(Bound::Included(key));
        self.reach_entry()?;
        match self.at() {
            At::Entry(leaf, index, found) if found == key => leaf.entry(index).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether the bound lies beyond the one that is still to be honoured.
    fn begins_before(&self, from: Bound<&[u8]>) -> bool {
        let rank = |bound: Bound<&[u8]>| match bound {
            Bound::Unbounded => None,
            Bound::Included(key) => Some((key.to_vec(), false)),
            Bound::Excluded(key) => Some((key.to_vec(), true)),
        };
        rank(as_slice(&self.from)) < rank(from)
    }
}
