//! Single look-ups and totals.

use crate::Node;
use crate::TreeError;
use crate::cursor::load_child;
use crate::source::NodeSource;
use millpond_types::{Entry, TreeId};
use std::sync::Arc;

/// The entry at a path. Reads one node per level, usually 2 to 4.
///
/// # Errors
/// Those of the source; [`TreeError::Damaged`].
pub fn get(source: &dyn NodeSource, tree: TreeId, path: &[u8]) -> Result<Option<Entry>, TreeError> {
    let Some(root) = tree.0 else { return Ok(None) };
    let mut node = source.node(&root)?;
    loop {
        let (index, exact) = node.search(path);
        if node.level() == 0 {
            return if exact { node.entry(index).map(Some) } else { Ok(None) };
        }
        if index == node.len() {
            return Ok(None);
        }
        node = load_child(source, &node, index)?;
    }
}

/// How much a tree or a part of it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of objects.
    pub objects: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
}

impl Totals {
    fn add(&mut self, objects: u64, bytes: u64) {
        self.objects = self.objects.saturating_add(objects);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What all paths with this prefix hold together; the empty prefix is the whole tree. Reads at most two nodes
/// per level.
///
/// # Errors
/// Those of the source; [`TreeError::Damaged`].
pub fn totals(source: &dyn NodeSource, tree: TreeId, prefix: &[u8]) -> Result<Totals, TreeError> {
    let mut totals = Totals::default();
    if let Some(root) = tree.0 {
        let beyond = prefix_end(prefix);
        add_range(source, &source.node(&root)?, Some(prefix), beyond.as_deref(), &mut totals)?;
    }
    Ok(totals)
}

/// Adds what the node holds from `from` on and before `to`; no bound, no limit.
fn add_range(
    source: &dyn NodeSource,
    node: &Arc<Node>,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
    totals: &mut Totals,
) -> Result<(), TreeError> {
    let from = from.filter(|from| !from.is_empty());
    if from.is_none() && to.is_none() {
        totals.add(node.objects(), node.total_bytes());
        return Ok(());
    }
    let first = from.map_or(0, |from| node.search(from).0);
    // In a leaf: the first entry beyond. In an inner node: the child that the bound cuts.
    let last = to.map_or(node.len(), |to| node.search(to).0);
    if node.level() == 0 {
        for index in first..last {
            totals.add(1, node.leaf().size(node.bytes(), index));
        }
        return Ok(());
    }
    for index in first..=last.min(node.len() - 1) {
        let (from, to) = (from.filter(|_| index == first), to.filter(|_| index == last));
        if from.is_none() && to.is_none() {
            let child = node.child(index);
            totals.add(child.objects, child.total_bytes);
        } else {
            add_range(source, &load_child(source, node, index)?, from, to, totals)?;
        }
    }
    Ok(())
}

/// The first key that is greater than every key with this prefix; none when there is no such key.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}
