//! Inner nodes: for each child its last key, id, object count and byte total, by column.
//! Layout in `docs/formats/tree-node.md`.

use crate::boundary::INNER_CHILDREN_MAX;
use crate::build::NodeBuilder;
use crate::keys::{KeyArena, Keys};
use crate::node::{FORMAT, Sections, get_uint, put_column, put_uint, width_of};
use crate::{Node, TreeError};
use millpond_types::NodeId;
use std::ops::Range;

/// What a parent knows about a child beside its last key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) id: NodeId,
    pub(crate) objects: u64,
    pub(crate) total_bytes: u64,
}

impl Child {
    pub(crate) fn of(node: &Node) -> Self {
        Self { id: node.id(), objects: node.objects(), total_bytes: node.total_bytes() }
    }
}

/// Where everything is in an inner node's bytes.
#[derive(Clone, Debug)]
pub(crate) struct InnerLayout {
    pub(crate) level: u8,
    pub(crate) len: usize,
    pub(crate) objects: u64,
    pub(crate) total_bytes: u64,
    ids: usize,
    counts: usize,
    count_width: usize,
    sizes: usize,
    size_width: usize,
    pub(crate) keys: Keys,
}

impl InnerLayout {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut sections = Sections { bytes, at: 1 };
        let level = sections.uint(1)? as u8;
        let count_width = sections.uint(1)? as usize;
        let size_width = sections.uint(1)? as usize;
        let len = sections.uint(4)?;
        if len == 0 || len > INNER_CHILDREN_MAX {
            return Err("number of children is out of range");
        }
        if count_width > 8 || size_width > 8 {
            return Err("column is wider than 8 bytes");
        }
        let len = len as usize;
        let objects = sections.uint(8)?;
        let total_bytes = sections.uint(8)?;
        let ids = sections.column(len, 32)?;
        let counts = sections.column(len, count_width)?;
        let sizes = sections.column(len, size_width)?;
        let keys = Keys::parse(bytes, sections.at, len)?;
        Ok(Self { level, len, objects, total_bytes, ids, counts, count_width, sizes, size_width, keys })
    }

    /// The part of the checks that is not needed for bytes just written.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), &'static str> {
        let (mut objects, mut total_bytes) = (0u64, 0u64);
        for index in 0..self.len {
            let child = self.child(bytes, index);
            objects = objects.saturating_add(child.objects);
            total_bytes = total_bytes.saturating_add(child.total_bytes);
        }
        if (objects, total_bytes) != (self.objects, self.total_bytes) {
            return Err("totals are not the sum over the children");
        }
        self.keys.check(bytes)
    }

    pub(crate) fn child(&self, bytes: &[u8], index: usize) -> Child {
        let id = self.ids + index * 32;
        Child {
            id: NodeId(bytes[id..id + 32].try_into().expect("32 bytes")),
            objects: get_uint(bytes, self.counts + index * self.count_width, self.count_width),
            total_bytes: get_uint(bytes, self.sizes + index * self.size_width, self.size_width),
        }
    }
}

/// Collects the children of one inner node after the other.
pub(crate) struct InnerBuilder {
    level: u8,
    keys: KeyArena,
    children: Vec<Child>,
}

impl InnerBuilder {
    /// For inner nodes of this level, at least 1.
    pub(crate) fn new(level: u8) -> Self {
        assert!(level > 0, "level 0 is for leaves");
        Self { level, keys: KeyArena::default(), children: Vec::new() }
    }
}

impl NodeBuilder for InnerBuilder {
    type Value = Child;
    const ROWS_MAX: u64 = INNER_CHILDREN_MAX;

    fn level(&self) -> u8 {
        self.level
    }
    fn len(&self) -> usize {
        self.children.len()
    }
    fn keys(&mut self) -> &mut KeyArena {
        &mut self.keys
    }
    fn add(&mut self, value: &Child) {
        self.children.push(*value);
    }
    fn add_rows(&mut self, from: &Node, rows: Range<usize>) {
        self.children.extend(rows.map(|row| from.child(row)));
    }
    fn already(&self, from: &Node, index: usize, value: &Child) -> Result<bool, TreeError> {
        Ok(from.child(index) == *value)
    }

    fn encode(&mut self) -> Vec<u8> {
        let children = std::mem::take(&mut self.children);
        let sum = |of: fn(&Child) -> u64| children.iter().fold(0u64, |sum, c| sum.saturating_add(of(c)));
        let widest = |of: fn(&Child) -> u64| children.iter().map(|c| width_of(of(c))).max().unwrap_or(0);
        let (count_width, size_width) = (widest(|c| c.objects), widest(|c| c.total_bytes));
        let mut out = Vec::with_capacity(64 + children.len() * 72);
        out.extend_from_slice(&[FORMAT, self.level, count_width, size_width]);
        put_uint(&mut out, children.len() as u64, 4);
        put_uint(&mut out, sum(|c| c.objects), 8);
        put_uint(&mut out, sum(|c| c.total_bytes), 8);
        children.iter().for_each(|c| out.extend_from_slice(&c.id.0));
        put_column(&mut out, children.iter().map(|c| c.objects), count_width);
        put_column(&mut out, children.iter().map(|c| c.total_bytes), size_width);
        out
    }
}
