//! Where nodes come from and where new ones go.

use crate::{Node, TreeError};
use millpond_types::NodeId;
use std::collections::HashMap;
use std::sync::Arc;

/// Finds nodes by id.
///
/// Contract: the node returned has exactly the id asked for; the same id always gives the same node. A source
/// that holds only what is in memory answers [`TreeError::NotResident`]; one that looked everywhere answers
/// [`TreeError::Missing`]. Every operation of this crate asks for the same node again and again (the root above
/// all), so an implementation should answer from memory.
pub trait NodeSource: Send + Sync {
    /// The node with this id.
    fn node(&self, id: &NodeId) -> Result<Arc<Node>, TreeError>;
}

/// Where new nodes go. Children arrive before their parents.
pub trait NodeSink {
    /// Takes one node. The same node may come more than once, and may exist in the source already.
    fn put(&mut self, node: Arc<Node>);

    /// Says that a new node took the place of an old one and holds mostly the same. Comes before the new node
    /// is put; a sink that stores nodes as edits of others wants to know, the rest need not.
    fn replaces(&mut self, new: NodeId, old: NodeId) {
        let _ = (new, old);
    }
}

/// New nodes in memory, each once, in the order they came.
#[derive(Default, Clone, Debug)]
pub struct NewNodes {
    nodes: Vec<Arc<Node>>,
    places: HashMap<NodeId, usize>,
    replaced: HashMap<NodeId, NodeId>,
}

impl NewNodes {
    /// All nodes, children before parents.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter()
    }
    /// The node with this id, if it is among the new ones.
    pub fn get(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.places.get(id).map(|place| &self.nodes[*place])
    }
    /// The older node whose place the new one took, if [`apply`](crate::apply()) or [`merge`](crate::merge())
    /// made it: a good base for [`pack::encode_with`](crate::pack::encode_with).
    pub fn replaced_by(&self, new: &NodeId) -> Option<NodeId> {
        self.replaced.get(new).copied()
    }
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl NodeSink for NewNodes {
    fn replaces(&mut self, new: NodeId, old: NodeId) {
        self.replaced.entry(new).or_insert(old);
    }

    fn put(&mut self, node: Arc<Node>) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.places.entry(node.id()) {
            place.insert(self.nodes.len());
            self.nodes.push(node);
        }
    }
}

/// New nodes alone are a complete source for a tree that was built into them.
impl NodeSource for NewNodes {
    fn node(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        self.get(id).cloned().ok_or(TreeError::Missing(*id))
    }
}

/// New nodes in front of the stored ones, so that work can build on a tree that is not stored yet.
pub struct Overlay<'a> {
    /// Asked first.
    pub new: &'a NewNodes,
    /// Asked for everything else.
    pub base: &'a dyn NodeSource,
}

impl NodeSource for Overlay<'_> {
    fn node(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        match self.new.get(id) {
            Some(node) => Ok(node.clone()),
            None => self.base.node(id),
        }
    }
}
