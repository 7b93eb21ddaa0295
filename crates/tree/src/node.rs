//! One node: its bytes, checked once, and what is read from them in place.

use crate::TreeError;
use crate::inner::{Child, InnerLayout};
use crate::keys::{KeyEdit, KeyWalk, Keys};
use crate::leaf::LeafLayout;
use bytes::Bytes;
use millpond_types::{Entry, NodeId};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// The node format that this program writes. Byte 0 of every node.
pub(crate) const FORMAT: u8 = 1;

/// A tree node. Cheap to share, immutable, read in place: its memory is its bytes plus about 200.
pub struct Node {
    id: NodeId,
    bytes: Bytes,
    layout: Layout,
    /// Encoded by this process, so certainly in canonical form.
    written: bool,
}

enum Layout {
    Leaf(LeafLayout),
    Inner(InnerLayout),
}

/// The little-endian integer of 0 to 8 bytes at `at`. The caller has checked the bounds.
#[inline]
pub(crate) fn get_uint(bytes: &[u8], at: usize, width: usize) -> u64 {
    // Nearly always eight bytes can be read at once; only the last restarts lie closer to the end.
    if let Some(Ok(eight)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let mask = if width == 0 { 0 } else { u64::MAX >> (64 - 8 * width) };
        return u64::from_le_bytes(eight) & mask;
    }
    let mut value = [0u8; 8];
    value[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(value)
}

/// The fewest bytes that hold the value, 0 for 0.
pub(crate) fn width_of(value: u64) -> u8 {
    (64 - value.leading_zeros()).div_ceil(8) as u8
}

/// Appends the low `width` bytes of the value.
pub(crate) fn put_uint(out: &mut Vec<u8>, value: u64, width: u8) {
    out.extend_from_slice(&value.to_le_bytes()[..usize::from(width)]);
}

/// Appends a column of integers of this width.
pub(crate) fn put_column(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u64>, width: u8) {
    fn put<const W: usize>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u64>) {
        let start = out.len();
        out.resize(start + values.len() * W, 0);
        for (slot, value) in out[start..].as_chunks_mut::<W>().0.iter_mut().zip(values) {
            slot.copy_from_slice(&value.to_le_bytes()[..W]);
        }
    }
    match width {
        0 => {}
        1 => put::<1>(out, values),
        2 => put::<2>(out, values),
        3 => put::<3>(out, values),
        4 => put::<4>(out, values),
        5 => put::<5>(out, values),
        6 => put::<6>(out, values),
        7 => put::<7>(out, values),
        _ => put::<8>(out, values),
    }
}

/// Calls `take` with each integer of a column of this width.
pub(crate) fn each_of_column(column: &[u8], width: usize, mut take: impl FnMut(u64)) {
    fn each<const W: usize>(column: &[u8], take: &mut impl FnMut(u64)) {
        for value in column.as_chunks::<W>().0 {
            let mut eight = [0; 8];
            eight[..W].copy_from_slice(value);
            take(u64::from_le_bytes(eight));
        }
    }
    match width {
        0 => {}
        1 => each::<1>(column, &mut take),
        2 => each::<2>(column, &mut take),
        3 => each::<3>(column, &mut take),
        4 => each::<4>(column, &mut take),
        5 => each::<5>(column, &mut take),
        6 => each::<6>(column, &mut take),
        7 => each::<7>(column, &mut take),
        _ => each::<8>(column, &mut take),
    }
}

/// Reads a node's fixed header and hands out its columns one after the other, checking bounds.
pub(crate) struct Sections<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl Sections<'_> {
    /// The start of the next `count * width` bytes.
    pub(crate) fn column(&mut self, count: usize, width: usize) -> Result<usize, &'static str> {
        let start = self.at;
        let len = count.checked_mul(width).ok_or("column is too large")?;
        let end = start.checked_add(len).ok_or("column is too large")?;
        if end > self.bytes.len() {
            return Err("column is cut off");
        }
        self.at = end;
        Ok(start)
    }
    /// The next integer of the header.
    pub(crate) fn uint(&mut self, width: usize) -> Result<u64, &'static str> {
        let start = self.column(1, width)?;
        Ok(get_uint(self.bytes, start, width))
    }
}

impl Node {
    /// Checks that the bytes have this id and are a node, and wraps them.
    ///
    /// # Errors
    /// [`TreeError::Damaged`] when they do not or are not.
    pub fn decode(id: NodeId, bytes: Bytes) -> Result<Arc<Self>, TreeError> {
        if NodeId::of(&bytes) != id {
            return Err(TreeError::node(id, "the bytes have another hash"));
        }
        Self::decode_unhashed(id, bytes)
    }

    /// As [`Node::decode`] for bytes whose hash is known to be the id.
    pub(crate) fn decode_unhashed(id: NodeId, bytes: Bytes) -> Result<Arc<Self>, TreeError> {
        let parsed = Self::parse(id, bytes).and_then(|node| {
            match &node.layout {
                Layout::Leaf(leaf) => leaf.check(&node.bytes)?,
                Layout::Inner(inner) => inner.check(&node.bytes)?,
            }
            Ok(node)
        });
        parsed.map(Arc::new).map_err(|why| TreeError::node(id, why))
    }

    /// Wraps bytes that this program has just written.
    pub(crate) fn written(bytes: Vec<u8>) -> Arc<Self> {
        Self::written_as(NodeId::of(&bytes), bytes)
    }

    /// As [`Node::written`] for bytes whose hash is known to be the id.
    pub(crate) fn written_as(id: NodeId, bytes: Vec<u8>) -> Arc<Self> {
        // The encoder reserves for the worst case; a node in a cache must not keep what it did not need.
        let bytes = Bytes::from(bytes.into_boxed_slice());
        let node = Self::parse(id, bytes).expect("the encoder writes what the decoder reads");
        Arc::new(Self { written: true, ..node })
    }

    fn parse(id: NodeId, bytes: Bytes) -> Result<Self, &'static str> {
        let layout = match (bytes.first(), bytes.get(1)) {
            (Some(&FORMAT), Some(0)) => Layout::Leaf(LeafLayout::parse(&bytes)?),
            (Some(&FORMAT), Some(_)) => Layout::Inner(InnerLayout::parse(&bytes)?),
            _ => return Err("not a node of a known format"),
        };
        Ok(Self { id, bytes, layout, written: false })
    }

    /// Whether this process encoded the node; one that was read may be sound without being canonical.
    pub(crate) fn is_written(&self) -> bool {
        self.written
    }
    /// The canonical bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// SHA-256 of the bytes.
    pub fn id(&self) -> NodeId {
        self.id
    }
    /// 0 for a leaf; the level of the children plus one otherwise.
    pub fn level(&self) -> u8 {
        match &self.layout {
            Layout::Leaf(_) => 0,
            Layout::Inner(inner) => inner.level,
        }
    }
    /// Entries of a leaf or children of an inner node; at least one.
    pub fn len(&self) -> usize {
        match &self.layout {
            Layout::Leaf(leaf) => leaf.len,
            Layout::Inner(inner) => inner.len,
        }
    }
    /// Never: a node holds something.
    pub fn is_empty(&self) -> bool {
        false
    }
    /// Objects under this node.
    pub fn objects(&self) -> u64 {
        match &self.layout {
            Layout::Leaf(leaf) => leaf.len as u64,
            Layout::Inner(inner) => inner.objects,
        }
    }
    /// Sum of the sizes of the objects under this node, in bytes; saturates.
    pub fn total_bytes(&self) -> u64 {
        match &self.layout {
            Layout::Leaf(leaf) => leaf.total_bytes,
            Layout::Inner(inner) => inner.total_bytes,
        }
    }
    /// The ids of the children in order; none for leaves.
    pub fn children(&self) -> impl Iterator<Item = NodeId> {
        let count = if self.level() == 0 { 0 } else { self.len() };
        (0..count).map(|index| self.child(index).id)
    }

    fn keys(&self) -> &Keys {
        match &self.layout {
            Layout::Leaf(leaf) => &leaf.keys,
            Layout::Inner(inner) => &inner.keys,
        }
    }
    /// The key at the index: an entry's path, or the last path under a child.
    pub(crate) fn key(&self, index: usize) -> Vec<u8> {
        self.keys().key(&self.bytes, index)
    }
    /// Whether both nodes have the same keys.
    pub(crate) fn same_keys(&self, other: &Node) -> bool {
        self.keys().same(&self.bytes, other.keys(), &other.bytes)
    }
    /// See [`Keys::same_first`].
    pub(crate) fn same_first_keys(&self, other: &Node) -> usize {
        self.keys().same_first(&self.bytes, other.keys(), &other.bytes)
    }
    /// See [`Keys::patch`].
    pub(crate) fn patch_keys(&self, edits: &[KeyEdit<'_>], out: &mut Vec<u8>) {
        self.keys().patch(&self.bytes, edits, out);
    }
    pub(crate) fn last_key(&self) -> Vec<u8> {
        self.key(self.len() - 1)
    }
    /// Whether the child, once read, ends with the key that this node files it under.
    pub(crate) fn child_ends_like(&self, index: usize, child: &Node) -> bool {
        self.key(index) == child.last_key()
    }
    /// See [`Keys::search`].
    pub(crate) fn search(&self, target: &[u8]) -> (usize, bool) {
        self.keys().search(&self.bytes, target)
    }
    /// See [`Keys::first_within`].
    pub(crate) fn first_within(&self, from: Bound<&[u8]>) -> usize {
        self.keys().first_within(&self.bytes, from)
    }
    pub(crate) fn walk(&self, index: usize) -> KeyWalk {
        self.keys().walk(&self.bytes, index)
    }
    pub(crate) fn advance(&self, walk: &mut KeyWalk) -> bool {
        walk.advance(self.keys(), &self.bytes)
    }

    /// The leaf's layout; asking an inner node is a mistake of this crate.
    pub(crate) fn leaf(&self) -> &LeafLayout {
        match &self.layout {
            Layout::Leaf(leaf) => leaf,
            Layout::Inner(_) => unreachable!("an inner node has no entries"),
        }
    }
    /// The entry at the index of a leaf.
    pub(crate) fn entry(&self, index: usize) -> Result<Entry, TreeError> {
        let entry = self.leaf().entry(&self.bytes, index);
        entry.map_err(|why| TreeError::node(self.id, format!("entry {index}: {why}")))
    }
    /// The child at the index of an inner node.
    pub(crate) fn child(&self, index: usize) -> Child {
        match &self.layout {
            Layout::Inner(inner) => inner.child(&self.bytes, index),
            Layout::Leaf(_) => unreachable!("a leaf has no children"),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, len) = (self.level(), self.len());
        write!(f, "Node({}, level {level}, {len} keys, {} bytes)", self.id, self.bytes.len())
    }
}
