//! Differences between two trees, in order, reading only what differs.
//!
//! Two cursors move together. Where both are before subtrees with the same id, both skip them unread. Where the
//! ids differ, both go in; where one stands higher than the other, that one goes in. At entries, keys decide.
//! Since the boundaries of both trees follow from their keys, the two fall into step again right behind a
//! difference.

use crate::cursor::{At, Cursor};
use crate::scan::path;
use crate::source::NodeSource;
use crate::{Node, TreeError};
use millpond_types::{Entry, NodeId, ObjectPath, TreeId};
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

/// One difference, seen from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the right tree has the path.
    Added(Entry),
    /// Only the left tree has it.
    Removed(Entry),
    /// Both have it, with different objects.
    Changed {
        /// The left tree's entry.
        left: Entry,
        /// The right tree's entry.
        right: Entry,
    },
}

impl Change {
    /// What the right tree has at the path: what to write into the left one to make it the same there.
    pub fn into_right(self) -> Option<Entry> {
        match self {
            Self::Added(right) | Self::Changed { right, .. } => Some(right),
            Self::Removed(_) => None,
        }
    }
}

/// Walks the differences between two trees in ascending order of path. Entries that are [`Entry::same_object`]
/// are no difference, even if mtime or address differ. After an error it stays where it was.
pub struct Diff<'a> {
    raw: RawDiff<'a>,
}

impl<'a> Diff<'a> {
    /// Differences at paths that begin with `prefix` and lie within the bound `from`.
    pub fn new(
        source: &'a dyn NodeSource,
        left: TreeId,
        right: TreeId,
        prefix: &[u8],
        from: Bound<&[u8]>,
    ) -> Self {
        Self { raw: RawDiff::new(source, left, right, prefix, from) }
    }

    /// The next difference.
    ///
    /// # Errors
    /// Those of the source; [`TreeError::Damaged`].
    #[allow(clippy::should_implement_trait)] // it can fail, and callers stop at the first failure
    pub fn next(&mut self) -> Result<Option<(ObjectPath, Change)>, TreeError> {
        loop {
            match self.raw.next()? {
                Some((_, Change::Changed { left, right })) if left.same_object(&right) => {}
                other => return Ok(other),
            }
        }
    }

    /// Goes forward to the first path within the bound, without reading what lies between. A bound that is
    /// already passed changes nothing.
    ///
    /// # Errors
    /// None today: the first read happens in the next call.
    pub fn seek(&mut self, from: Bound<&[u8]>) -> Result<(), TreeError> {
        self.raw.left.seek(from);
        self.raw.right.seek(from);
        Ok(())
    }
}

/// Differences in anything, mtime and address included: what merge works on.
pub(crate) struct RawDiff<'a> {
    left: Cursor<'a>,
    right: Cursor<'a>,
    /// Equal trees: there is nothing to read.
    equal: bool,
    prefix: Vec<u8>,
    /// Whether the two leaves last compared have the same keys: then their rows are compared without them.
    same_keys: Option<(NodeId, NodeId, bool)>,
}

/// Which side goes on.
#[allow(clippy::large_enum_variant)] // lives for one step; a box would cost an allocation per difference
enum Step {
    Skip,
    Descend { left: bool, right: bool },
    Emit(ObjectPath, Change),
    End,
}

impl<'a> RawDiff<'a> {
    pub(crate) fn new(
        source: &'a dyn NodeSource,
        left: TreeId,
        right: TreeId,
        prefix: &[u8],
        from: Bound<&[u8]>,
    ) -> Self {
        let start = match from {
            Bound::Included(key) | Bound::Excluded(key) if key >= prefix => from,
            _ => Bound::Included(prefix),
        };
        Self {
            left: Cursor::new(source, left, start),
            right: Cursor::new(source, right, start),
            equal: left == right,
            prefix: prefix.to_vec(),
            same_keys: None,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<(ObjectPath, Change)>, TreeError> {
        if self.equal {
            return Ok(None);
        }
        self.left.open()?;
        self.right.open()?;
        loop {
            match self.step()? {
                Step::Skip => {
                    let count = self.equal_rows();
                    self.left.advance_by(count);
                    self.right.advance_by(count);
                }
                Step::Descend { left, right } => {
                    if left {
                        self.left.descend()?;
                    }
                    if right {
                        self.right.descend()?;
                    }
                }
                Step::Emit(path, change) => {
                    match change {
                        Change::Added(_) => self.right.advance(),
                        Change::Removed(_) => self.left.advance(),
                        Change::Changed { .. } => {
                            self.left.advance();
                            self.right.advance();
                        }
                    }
                    return Ok(Some((path, change)));
                }
                Step::End => return Ok(None),
            }
        }
    }

    fn step(&self) -> Result<Step, TreeError> {
        let level = |at: &At<'_>| match at {
            At::Subtree(level, _) => Some(*level + 1),
            At::Entry(..) => Some(0),
            At::End => None,
        };
        let (left, right) = (self.left.at(), self.right.at());
        Ok(match (&left, &right) {
            (At::End, At::End) => Step::End,
            (At::Subtree(a, left), At::Subtree(b, right)) if a == b && left == right => Step::Skip,
            (At::Subtree(..), _) | (_, At::Subtree(..)) => {
                // A side at its end has level none, which is below every other.
                let (a, b) = (level(&left), level(&right));
                Step::Descend { left: a >= b, right: b >= a }
            }
            (At::Entry(leaf, index, key), At::End) => {
                self.emit(key, || Ok(Change::Removed(leaf.entry(*index)?)))?
            }
            (At::End, At::Entry(leaf, index, key)) => {
                self.emit(key, || Ok(Change::Added(leaf.entry(*index)?)))?
            }
            (At::Entry(left, i, left_key), At::Entry(right, j, right_key)) => match left_key.cmp(right_key) {
                Ordering::Less => self.emit(left_key, || Ok(Change::Removed(left.entry(*i)?)))?,
                Ordering::Greater => self.emit(right_key, || Ok(Change::Added(right.entry(*j)?)))?,
                Ordering::Equal if equal(left, *i, right, *j) => Step::Skip,
                Ordering::Equal => self.emit(left_key, || {
                    Ok(Change::Changed { left: left.entry(*i)?, right: right.entry(*j)? })
                })?,
            },
        })
    }

    /// How many items at the cursors are equal, given that the first is.
    fn equal_rows(&mut self) -> usize {
        // With the same keys on both sides, equal keys are at equal indexes.
        let (At::Entry(left, i, _), At::Entry(right, ..)) = (self.left.at(), self.right.at()) else {
            return 1;
        };
        let same = match self.same_keys {
            Some((a, b, same)) if a == left.id() && b == right.id() => same,
            _ => left.same_keys(right),
        };
        let count = match same {
            true => left.leaf().equal_rows(left.bytes(), i, right.leaf(), right.bytes(), i, left.len() - i),
            false => 1,
        };
        self.same_keys = Some((left.id(), right.id(), same));
        count
    }

    /// A difference at this key, or the end when the key is beyond the prefix.
    fn emit(
        &self,
        key: &[u8],
        change: impl FnOnce() -> Result<Change, TreeError>,
    ) -> Result<Step, TreeError> {
        if key.starts_with(&self.prefix) { Ok(Step::Emit(path(key), change()?)) } else { Ok(Step::End) }
    }
}

fn equal(left: &Arc<Node>, i: usize, right: &Arc<Node>, j: usize) -> bool {
    left.leaf().equal(left.bytes(), i, right.leaf(), right.bytes(), j)
}
