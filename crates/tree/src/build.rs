//! Trees from scratch: entries in order go in, nodes come out level by level.
//!
//! The top of a tree is the first level with exactly one node. So a level passes nothing up before its second
//! node exists, and no node is ever written that the tree does not need.

use crate::boundary::Chunker;
use crate::inner::{Child, InnerBuilder};
use crate::keys::{KeyArena, KeyEdit};
use crate::leaf::{LeafBuilder, Puts};
use crate::source::NodeSink;
use crate::{Node, TreeError};
use millpond_types::{Entry, NodeId, ObjectPath, TreeId};
use std::ops::Range;
use std::sync::Arc;

/// A finished node and the key that its parent files it under.
pub(crate) struct Built {
    pub(crate) node: Arc<Node>,
    pub(crate) last_key: Vec<u8>,
}

/// A row that changes.
pub(crate) struct Edit<V> {
    /// Its index in the old node. Something new comes in before it, and may come at the node's end.
    pub(crate) row: usize,
    pub(crate) what: RowEdit<V>,
}

/// What happens to a row.
pub(crate) enum RowEdit<V> {
    Insert(Vec<u8>, V),
    Replace(V),
    Delete,
}

/// Collects one node after the other of one level. Leaves and inner nodes implement it; where a node ends is
/// decided outside, see [`Level`].
pub(crate) trait NodeBuilder {
    /// What belongs to a key: an entry, or a child.
    type Value;
    /// The most values a node of this kind can hold.
    const ROWS_MAX: u64;
    /// The level of the nodes it makes.
    fn level(&self) -> u8;
    /// Values added since the last node.
    fn len(&self) -> usize;
    /// Whether nothing has been added since the last node.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The keys pushed since the last node.
    fn keys(&mut self) -> &mut KeyArena;
    /// Adds a value whose key is added elsewhere.
    fn add(&mut self, value: &Self::Value);
    /// Adds what another node of this level holds in these rows, without the keys.
    fn add_rows(&mut self, from: &Node, rows: Range<usize>);
    /// Whether putting `value` over what the node holds at the index would change nothing.
    fn already(&self, from: &Node, index: usize, value: &Self::Value) -> Result<bool, TreeError>;
    /// Writes everything but the keys, and forgets all values. At least one was added.
    fn encode(&mut self) -> Vec<u8>;

    /// Adds a value. Keys come in ascending order.
    fn push(&mut self, key: &[u8], value: &Self::Value) {
        self.keys().push(key);
        self.add(value);
    }
    /// Adds what another node of this level holds at the index, under `key`.
    fn copy(&mut self, key: &[u8], from: &Node, index: usize) {
        self.keys().push(key);
        self.add_rows(from, index..index + 1);
    }
    /// Ends the node. At least one value was pushed.
    fn finish(&mut self) -> Built {
        let mut out = self.encode();
        let keys = self.keys();
        keys.encode(&mut out);
        let last_key = keys.last().expect("a node is finished when it holds something").to_vec();
        keys.clear();
        Built { node: Node::written(out), last_key }
    }
    /// The bytes of the node that these edits, in the order of rows, make of another: the same bytes as when all
    /// its rows were pushed, but columns are copied and keys are mostly left as they are. The result has at least
    /// one row. Call when the builder is empty.
    fn patch(&mut self, base: &Node, edits: &[Edit<Self::Value>]) -> Vec<u8> {
        assert!(self.is_empty(), "a patch makes a whole node");
        let mut row = 0;
        let mut keys = Vec::new();
        for edit in edits {
            self.add_rows(base, row..edit.row);
            row = edit.row;
            match &edit.what {
                RowEdit::Insert(key, value) => {
                    keys.push(KeyEdit { row, inserted: Some(key) });
                    self.add(value);
                }
                RowEdit::Replace(value) => {
                    self.add(value);
                    row += 1;
                }
                RowEdit::Delete => {
                    keys.push(KeyEdit { row, inserted: None });
                    row += 1;
                }
            }
        }
        self.add_rows(base, row..base.len());
        let mut out = self.encode();
        base.patch_keys(&keys, &mut out);
        out
    }
}

/// One level of a tree being written: a builder and the rule that says where nodes end.
pub(crate) struct Level<B> {
    pub(crate) builder: B,
    chunker: Chunker,
}

impl<B: NodeBuilder> Level<B> {
    pub(crate) fn new(builder: B) -> Self {
        let chunker = Chunker::new(builder.level());
        Self { builder, chunker }
    }
    /// Adds a value; a finished node comes back when it ends here.
    pub(crate) fn push(&mut self, key: &[u8], value: &B::Value) -> Option<Built> {
        self.builder.push(key, value);
        self.chunker.ends_after(key).then(|| self.builder.finish())
    }
    /// Adds a value of another node; a finished node comes back when it ends here.
    pub(crate) fn copy(&mut self, key: &[u8], from: &Node, index: usize) -> Option<Built> {
        self.builder.copy(key, from, index);
        self.chunker.ends_after(key).then(|| self.builder.finish())
    }
    /// The one node that these edits make of a node of this level, if that is where nodes end: exactly behind its
    /// last row, or anywhere when it is the last of its level.
    pub(crate) fn patch(&mut self, base: &Node, edits: &[Edit<B::Value>], last: bool) -> Option<Built> {
        let moved = edits.iter().position(|edit| !matches!(edit.what, RowEdit::Replace(_)));
        if !self.builder.is_empty() || moved.is_some_and(|moved| !self.stays_one(base, &edits[moved..], last))
        {
            return None;
        }
        let node = Node::written(self.builder.patch(base, edits));
        let last_key = node.last_key();
        Some(Built { node, last_key })
    }
    /// Whether the edits, of which the first is the first that moves rows, leave one node with something in it.
    fn stays_one(&self, base: &Node, edits: &[Edit<B::Value>], last: bool) -> bool {
        // In front of the first nothing ends, as before. Behind the base's last row something may.
        let from = edits[0].row.min(base.len() - 1);
        let mut chunker = Chunker::within(self.builder.level(), from);
        let mut rows = from;
        let mut ended = false;
        let mut take = |key: &[u8]| {
            let goes_on = !ended;
            ended = chunker.ends_after(key);
            rows += 1;
            goes_on
        };
        let mut edits = edits.iter().peekable();
        let mut walk = base.walk(from);
        for row in from..=base.len() {
            let mut kept = row < base.len();
            while let Some(edit) = edits.next_if(|edit| edit.row == row) {
                match &edit.what {
                    RowEdit::Insert(key, _) if !take(key) => return false,
                    RowEdit::Delete => kept = false,
                    RowEdit::Insert(..) | RowEdit::Replace(_) => {}
                }
            }
            if kept && !take(walk.key()) {
                return false;
            }
            base.advance(&mut walk);
        }
        rows > 0 && (ended || last)
    }
    /// Ends the level: its last node needs no boundary.
    pub(crate) fn end(&mut self) -> Option<Built> {
        (!self.builder.is_empty()).then(|| self.builder.finish())
    }
}

/// The inner levels above a level whose nodes arrive one by one.
pub(crate) struct Tower {
    /// Level of the nodes that arrive.
    base: u8,
    floors: Vec<Floor>,
}

struct Floor {
    /// The only node below so far. As long as it is the only one, it is the root.
    first: Option<(Vec<u8>, Child)>,
    level: Level<InnerBuilder>,
}

impl Tower {
    pub(crate) fn on(base: u8) -> Self {
        Self { base, floors: Vec::new() }
    }

    /// Takes the next node of the base level.
    pub(crate) fn add(&mut self, key: Vec<u8>, child: Child, sink: &mut dyn NodeSink) {
        self.add_at(0, key, child, sink);
    }

    fn add_at(&mut self, floor: usize, key: Vec<u8>, child: Child, sink: &mut dyn NodeSink) {
        if floor == self.floors.len() {
            let level = self.base + floor as u8 + 1;
            self.floors
                .push(Floor { first: Some((key, child)), level: Level::new(InnerBuilder::new(level)) });
            return;
        }
        let first = self.floors[floor].first.take();
        for (key, child) in first.into_iter().chain([(key, child)]) {
            if let Some(built) = self.floors[floor].level.push(&key, &child) {
                self.lift(floor, built, sink);
            }
        }
    }

    fn lift(&mut self, floor: usize, built: Built, sink: &mut dyn NodeSink) {
        let child = Child::of(&built.node);
        sink.put(built.node);
        self.add_at(floor + 1, built.last_key, child, sink);
    }

    /// Ends all levels and names the root; none when no node came.
    pub(crate) fn finish(mut self, sink: &mut dyn NodeSink) -> Option<NodeId> {
        let mut floor = 0;
        while floor < self.floors.len() {
            if let Some((_, only)) = &self.floors[floor].first {
                return Some(only.id);
            }
            if let Some(built) = self.floors[floor].level.end() {
                self.lift(floor, built, sink);
            }
            floor += 1;
        }
        None
    }
}

/// Builds a tree from entries in strictly ascending order of path bytes.
///
/// # Errors
/// Passes on the errors of the iterator.
///
/// # Panics
/// When the order is wrong: that is a mistake of the caller, and the tree would be unreadable.
pub fn build(
    entries: impl Iterator<Item = Result<(ObjectPath, Entry), TreeError>>,
    sink: &mut dyn NodeSink,
) -> Result<TreeId, TreeError> {
    let mut leaves = Level::new(LeafBuilder::new(Puts::Exact));
    let mut tower = Tower::on(0);
    let mut before: Option<ObjectPath> = None;
    for item in entries {
        let (path, entry) = item?;
        assert!(before.as_ref().is_none_or(|b| *b < path), "entries of a tree must ascend");
        if let Some(built) = leaves.push(path.as_bytes(), &entry) {
            add_leaf(built, &mut tower, sink);
        }
        before = Some(path);
    }
    if let Some(built) = leaves.end() {
        add_leaf(built, &mut tower, sink);
    }
    Ok(TreeId(tower.finish(sink)))
}

fn add_leaf(built: Built, tower: &mut Tower, sink: &mut dyn NodeSink) {
    let child = Child::of(&built.node);
    sink.put(built.node);
    tower.add(built.last_key, child, sink);
}
