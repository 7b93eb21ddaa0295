//! Entries in order, from anywhere.

use crate::TreeError;
use crate::cursor::{At, Cursor};
use crate::source::NodeSource;
use bytes::Bytes;
use millpond_types::{Entry, ObjectPath, TreeId};
use std::ops::Bound;

/// Walks a tree in ascending order of path bytes. Reads a leaf when it comes to it, and after an error stays
/// where it was, so that the call can be repeated when the node is at hand.
pub struct Scan<'a> {
    cursor: Cursor<'a>,
}

/// A path of a checked node: its length was checked with it.
pub(crate) fn path(key: &[u8]) -> ObjectPath {
    ObjectPath::new(Bytes::copy_from_slice(key)).expect("keys of a checked node are paths")
}

impl<'a> Scan<'a> {
    /// Starts at the first path within the bound. Reads nothing yet.
    pub fn new(source: &'a dyn NodeSource, tree: TreeId, from: Bound<&[u8]>) -> Self {
        Self { cursor: Cursor::new(source, tree, from) }
    }

    /// The next path and its entry.
    ///
    /// # Errors
    /// Those of the source; [`TreeError::Damaged`].
    #[allow(clippy::should_implement_trait)] // it can fail, and callers stop at the first failure
    pub fn next(&mut self) -> Result<Option<(ObjectPath, Entry)>, TreeError> {
        self.cursor.reach_entry()?;
        let At::Entry(leaf, index, key) = self.cursor.at() else { return Ok(None) };
        let item = (path(key), leaf.entry(index)?);
        self.cursor.advance();
        Ok(Some(item))
    }

    /// The next path; its entry is not decoded.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn next_path(&mut self) -> Result<Option<ObjectPath>, TreeError> {
        let path = self.peek_path()?;
        self.cursor.advance();
        Ok(path)
    }

    /// The path that [`Scan::next`] will give.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn peek_path(&mut self) -> Result<Option<ObjectPath>, TreeError> {
        Ok(self.peek_key()?.map(path))
    }

    /// The bytes of that path, without making a path of them.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn peek_key(&mut self) -> Result<Option<&[u8]>, TreeError> {
        self.cursor.reach_entry()?;
        match self.cursor.at() {
            At::Entry(_, _, key) => Ok(Some(key)),
            _ => Ok(None),
        }
    }

    /// Goes forward to the first path within the bound, without reading what lies between. A bound that is
    /// already passed changes nothing.
    ///
    /// # Errors
    /// None today: the first read happens in the next call.
    pub fn seek(&mut self, from: Bound<&[u8]>) -> Result<(), TreeError> {
        self.cursor.seek(from);
        Ok(())
    }
}
