//! Changes on a tree: only the nodes they touch are rewritten, and the result is the tree that a build from
//! scratch would give.
//!
//! Every level is an ordered map: the leaves from paths to entries, an inner level from the last key of each
//! node below to that node. Changing a level gives changes for the level above: nodes that went (their last
//! keys are deleted) and nodes that came. So one algorithm runs once per level.
//!
//! Most changes leave a node one node: then it is patched, column by column, and nothing else of the level is
//! looked at. Otherwise a run starts at the node that the next change belongs to. Its rows and the changes are
//! merged into the builder, which ends nodes by the rule of `boundary`. When an old node ends where a new one ends,
//! the two levels are in step again and everything up to the next change stays as it is; otherwise the run goes
//! on into the next old node. Since a boundary depends on nothing but the keys since the boundary before, this
//! is exactly what a build from scratch would do.

use crate::build::{Built, Edit, Level, NodeBuilder, RowEdit, Tower};
use crate::cursor::load_child;
use crate::inner::{Child, InnerBuilder};
use crate::keys::KeyWalk;
use crate::leaf::{LeafBuilder, Puts};
use crate::source::{NodeSink, NodeSource};
use crate::{Node, TreeError};
use millpond_types::{Entry, NodeId, ObjectPath, TreeId};
use std::collections::HashMap;
use std::sync::Arc;

/// Applies changes in strictly ascending order of path; `None` deletes. Putting an entry that is
/// [`Entry::same_object`] as the old one keeps the old one, and deleting what is not there does nothing. The
/// result has the id that [`build`](crate::build()) gives for the same entries.
///
/// # Errors
/// Those of the source. On error nothing was put into the sink.
///
/// # Panics
/// When the changes do not ascend.
pub fn apply(
    source: &dyn NodeSource,
    tree: TreeId,
    changes: impl Iterator<Item = (ObjectPath, Option<Entry>)>,
    sink: &mut dyn NodeSink,
) -> Result<TreeId, TreeError> {
    let mut changes = changes.map(Ok);
    let rewritten = rewrite(source, tree, Puts::KeepSameObject, &mut changes)?;
    Ok(rewritten.hand_over(sink))
}

/// As [`apply`], but an entry that is put takes the place of the old one even if it is the same object, and
/// changes may be found while they are applied: all of them are in memory as nodes at the end, none as entries.
///
/// # Errors
/// Those of the source and of the changes. On error nothing was put into the sink.
///
/// # Panics
/// When the changes do not ascend.
pub fn replace(
    source: &dyn NodeSource,
    tree: TreeId,
    mut changes: impl Iterator<Item = Result<(ObjectPath, Option<Entry>), TreeError>>,
    sink: &mut dyn NodeSink,
) -> Result<TreeId, TreeError> {
    Ok(rewrite(source, tree, Puts::Exact, &mut changes)?.hand_over(sink))
}

/// A changed tree whose new nodes nobody else has seen.
pub(crate) struct Rewritten {
    tree: TreeId,
    nodes: Vec<Arc<Node>>,
    replaced: HashMap<NodeId, NodeId>,
}

impl Rewritten {
    /// Hands the new nodes over, children first.
    pub(crate) fn hand_over(self, sink: &mut dyn NodeSink) -> TreeId {
        for node in self.nodes {
            if let Some(old) = self.replaced.get(&node.id()) {
                sink.replaces(node.id(), *old);
            }
            sink.put(node);
        }
        self.tree
    }
}

/// A source of changes of one level, which may fail.
type Changes<'a, V> = dyn Iterator<Item = Result<(ObjectPath, Option<V>), TreeError>> + 'a;

/// As [`apply`], for changes that are found while they are applied.
pub(crate) fn rewrite(
    source: &dyn NodeSource,
    tree: TreeId,
    puts: Puts,
    changes: &mut Changes<'_, Entry>,
) -> Result<Rewritten, TreeError> {
    let Some(root) = tree.0 else {
        let mut nodes = Pending::default();
        let puts = changes.filter_map(|change| match change {
            Ok((path, Some(entry))) => Some(Ok((path, entry))),
            Ok((_, None)) => None,
            Err(error) => Some(Err(error)),
        });
        let tree = crate::build(puts, &mut nodes)?;
        return Ok(Rewritten { tree, nodes: nodes.nodes, replaced: HashMap::new() });
    };
    let root = source.node(&root)?;
    let top = root.level();
    let mut pending = Pending::default();
    let changes = changes.map(|change| change.map(|(path, entry)| (path.as_bytes().to_vec(), entry)));
    let mut outcome =
        Run { source, root: &root, pending: &mut pending }.level(LeafBuilder::new(puts), changes)?;
    for level in 1..=top {
        if outcome.changes.is_empty() {
            break;
        }
        let run = Run { source, root: &root, pending: &mut pending };
        outcome = run.level(InnerBuilder::new(level), outcome.changes.into_iter().map(Ok))?;
    }
    if outcome.changes.is_empty() {
        return Ok(Rewritten { tree, nodes: Vec::new(), replaced: HashMap::new() });
    }
    // The root was the only node of its level, so what replaced it is all of that level.
    let root = match outcome.came.len() {
        0 => None,
        1 => Some(lower(source, outcome.came[0].1.id, &mut pending)?),
        _ => {
            let mut tower = Tower::on(top);
            for (key, child) in outcome.came {
                tower.add(key, child, &mut pending);
            }
            tower.finish(&mut pending)
        }
    };
    Ok(Rewritten { tree: TreeId(root), nodes: pending.nodes, replaced: pending.replaced })
}

/// The root of a tree whose top level has one node: the lowest level with only one is the top, so a node with
/// one child gives way to it.
fn lower(source: &dyn NodeSource, top: NodeId, pending: &mut Pending) -> Result<NodeId, TreeError> {
    let mut id = top;
    loop {
        let new = pending.nodes.iter().rev().find(|new| new.id() == id);
        let node = match new {
            Some(node) => node.clone(),
            None => source.node(&id)?,
        };
        if node.level() == 0 || node.len() > 1 {
            pending.nodes.retain(|new| new.level() <= node.level());
            return Ok(id);
        }
        id = node.child(0).id;
    }
}

/// New nodes until it is known which of them the tree needs.
#[derive(Default)]
struct Pending {
    nodes: Vec<Arc<Node>>,
    /// For new nodes that took the place of old ones: which.
    replaced: HashMap<NodeId, NodeId>,
}

impl NodeSink for Pending {
    fn put(&mut self, node: Arc<Node>) {
        self.nodes.push(node);
    }
}

/// What changing a level did.
struct Outcome {
    /// For the level above, ascending: last keys of nodes that went, nodes that came.
    changes: Vec<ChangeAt<Child>>,
    /// All nodes that runs wrote, ascending, also those that turned out to be the old ones.
    came: Vec<(Vec<u8>, Child)>,
}

/// One level being changed.
struct Run<'a> {
    source: &'a dyn NodeSource,
    root: &'a Arc<Node>,
    pending: &'a mut Pending,
}

impl Run<'_> {
    fn level<B: NodeBuilder>(
        self,
        builder: B,
        changes: impl Iterator<Item = Result<ChangeAt<B::Value>, TreeError>>,
    ) -> Result<Outcome, TreeError> {
        let mut nodes =
            Walker { source: self.source, root: self.root, level: builder.level(), path: Vec::new() };
        let mut level = Level::new(builder);
        let mut changes = Ordered { inner: changes, next: None };
        let mut outcome = Outcome { changes: Vec::new(), came: Vec::new() };
        let mut edits = Vec::new();
        while let Some((key, _)) = changes.peek()? {
            let mut node = nodes.locate(key)?;
            let mut end = nodes.end_of(&node);
            changes.edits_of(&node, &end, &level.builder, &mut edits)?;
            if edits.is_empty() {
                continue;
            }
            let mut went: Vec<(Vec<u8>, Child)> = Vec::new();
            let mut came: Vec<Built> = Vec::new();
            let whole = edits.len() < EDITS_AT_ONCE_MAX;
            let patched = if whole { level.patch(&node, &edits, end.is_none()) } else { None };
            if let Some(built) = patched {
                went.push((node.last_key(), Child::of(&node)));
                came.push(built);
                settle(went, came, &mut outcome, self.pending);
                continue;
            }
            loop {
                went.push((node.last_key(), Child::of(&node)));
                merge_node(&node, &end, &mut edits, &mut changes, &mut level, &mut came)?;
                if level.builder.is_empty() {
                    break;
                }
                match nodes.next()? {
                    Some(next) => node = next,
                    None => {
                        came.extend(level.end());
                        break;
                    }
                }
                end = nodes.end_of(&node);
                changes.edits_of(&node, &end, &level.builder, &mut edits)?;
            }
            settle(went, came, &mut outcome, self.pending);
        }
        Ok(outcome)
    }
}

/// Compares the nodes before and after a run, which cover the same range of keys.
fn settle(went: Vec<(Vec<u8>, Child)>, came: Vec<Built>, outcome: &mut Outcome, pending: &mut Pending) {
    let bases: Vec<NodeId> = went.iter().map(|(_, child)| child.id).collect();
    let mut went = went.into_iter().peekable();
    for (place, Built { node, last_key }) in came.into_iter().enumerate() {
        let child = Child::of(&node);
        while let Some((key, _)) = went.next_if(|(key, _)| *key < last_key) {
            outcome.changes.push((key, None));
        }
        let old = went.next_if(|(key, _)| *key == last_key);
        if old.is_none_or(|(_, old)| old != child) {
            outcome.changes.push((last_key.clone(), Some(child)));
            // A run begins in step, so nodes at the same place of it share most rows.
            pending.replaced.insert(node.id(), bases[place.min(bases.len() - 1)]);
            pending.put(node);
        }
        outcome.came.push((last_key, child));
    }
    outcome.changes.extend(went.map(|(key, _)| (key, None)));
}

/// Merges a node's rows, the edits that were taken and the changes behind them up to `end` into the level.
fn merge_node<B: NodeBuilder>(
    node: &Node,
    end: &Option<Vec<u8>>,
    edits: &mut Vec<Edit<B::Value>>,
    changes: &mut Ordered<impl Iterator<Item = Result<ChangeAt<B::Value>, TreeError>>, B::Value>,
    level: &mut Level<B>,
    came: &mut Vec<Built>,
) -> Result<(), TreeError> {
    let mut walk = Some(node.walk(0));
    loop {
        let more = edits.len() == EDITS_AT_ONCE_MAX;
        for edit in edits.drain(..) {
            copy_rows(node, &mut walk, edit.row, level, came);
            let row = walk.as_mut();
            match (edit.what, row) {
                (RowEdit::Insert(key, value), _) => came.extend(level.push(&key, &value)),
                (what, Some(at)) => {
                    if let RowEdit::Replace(value) = what {
                        came.extend(level.push(at.key(), &value));
                    }
                    if !node.advance(at) {
                        walk = None;
                    }
                }
                (_, None) => unreachable!("edits are of rows that are there"),
            }
        }
        if !more {
            break;
        }
        changes.edits_of(node, end, &level.builder, edits)?;
    }
    copy_rows(node, &mut walk, node.len(), level, came);
    Ok(())
}

/// Copies the rows from the walk to `end`.
fn copy_rows<B: NodeBuilder>(
    node: &Node,
    walk: &mut Option<KeyWalk>,
    end: usize,
    level: &mut Level<B>,
    came: &mut Vec<Built>,
) {
    while let Some(row) = walk
        && row.index() < end
    {
        came.extend(level.copy(row.key(), node, row.index()));
        if !node.advance(row) {
            *walk = None;
        }
    }
}

/// Changes of one node that are looked at together. A bulk load behind the last key must not collect all it loads.
const EDITS_AT_ONCE_MAX: usize = 4_096;

/// A key and what is put there; nothing deletes it.
type ChangeAt<V> = (Vec<u8>, Option<V>);

/// Changes with a look ahead.
struct Ordered<I, V> {
    inner: I,
    next: Option<ChangeAt<V>>,
}

impl<V, I: Iterator<Item = Result<ChangeAt<V>, TreeError>>> Ordered<I, V> {
    fn peek(&mut self) -> Result<Option<&ChangeAt<V>>, TreeError> {
        if self.next.is_none() {
            self.next = self.inner.next().transpose()?;
        }
        Ok(self.next.as_ref())
    }
    /// The next change if its key is not beyond `end`; no `end` is the end of the level.
    fn peek_until(&mut self, end: &Option<Vec<u8>>) -> Result<Option<&ChangeAt<V>>, TreeError> {
        Ok(self.peek()?.filter(|(key, _)| end.as_ref().is_none_or(|end| key <= end)))
    }
    /// The next changes up to `end` as edits of the node that they belong to, at most [`EDITS_AT_ONCE_MAX`].
    /// Changes that change nothing are dropped: they must not cost a rewrite.
    fn edits_of(
        &mut self,
        node: &Node,
        end: &Option<Vec<u8>>,
        builder: &impl NodeBuilder<Value = V>,
        edits: &mut Vec<Edit<V>>,
    ) -> Result<(), TreeError> {
        edits.clear();
        while edits.len() < EDITS_AT_ONCE_MAX
            && let Some((key, value)) = self.peek_until(end)?
        {
            let (row, exists) = node.search(key);
            let idle = match value {
                None => !exists,
                Some(value) => exists && builder.already(node, row, value)?,
            };
            let change = self.take()?;
            if !idle && let Some((key, value)) = change {
                let what = match (exists, value) {
                    (_, None) => RowEdit::Delete,
                    (true, Some(value)) => RowEdit::Replace(value),
                    (false, Some(value)) => RowEdit::Insert(key, value),
                };
                edits.push(Edit { row, what });
            }
        }
        Ok(())
    }
    /// Takes the change that was looked at and checks the order of the one behind it.
    fn take(&mut self) -> Result<Option<ChangeAt<V>>, TreeError> {
        let taken = self.next.take();
        if let Some((before, _)) = &taken
            && let Some((key, _)) = self.peek()?
        {
            assert!(before < key, "changes of a tree must ascend");
        }
        Ok(taken)
    }
}

/// Walks the nodes of one level of the old tree, forward.
struct Walker<'a> {
    source: &'a dyn NodeSource,
    root: &'a Arc<Node>,
    level: u8,
    /// From the root down to the parent of the present node, with the index taken in each.
    path: Vec<(Arc<Node>, usize)>,
}

impl Walker<'_> {
    /// Goes to the node that holds the key or would hold it: the first whose last key is not below it, or else
    /// the last node of the level.
    fn locate(&mut self, key: &[u8]) -> Result<Arc<Node>, TreeError> {
        self.path.clear();
        self.down(self.root.clone(), |node| node.search(key).0.min(node.len() - 1))
    }

    /// Goes to the next node of the level.
    fn next(&mut self) -> Result<Option<Arc<Node>>, TreeError> {
        while let Some((parent, index)) = self.path.pop() {
            if index + 1 < parent.len() {
                let child = load_child(self.source, &parent, index + 1)?;
                self.path.push((parent, index + 1));
                return self.down(child, |_| 0).map(Some);
            }
        }
        Ok(None)
    }

    fn down(&mut self, from: Arc<Node>, choose: impl Fn(&Node) -> usize) -> Result<Arc<Node>, TreeError> {
        let mut node = from;
        while node.level() > self.level {
            let index = choose(&node);
            let child = load_child(self.source, &node, index)?;
            self.path.push((node, index));
            node = child;
        }
        Ok(node)
    }

    /// The last key that belongs to the present node; none when it is the last of its level, to which all
    /// greater keys belong too.
    fn end_of(&self, node: &Node) -> Option<Vec<u8>> {
        let last = self.path.iter().all(|(parent, index)| index + 1 == parent.len());
        (!last).then(|| node.last_key())
    }
}
