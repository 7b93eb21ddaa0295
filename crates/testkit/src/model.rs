//! What commits and merges must do, simple enough to be obviously right: an ordered map per commit. The engine's
//! own model test and the simulation compare the engine with it.

use imbl::ordmap::DiffItem;
use millpond_types::CommitId;
use std::collections::{BTreeMap, BTreeSet};

/// The objects of one state by path. `V` is whatever tells two contents apart. States share what they have in common,
/// so that there may be thousands of objects in hundreds of states.
pub type Files<V> = imbl::OrdMap<Vec<u8>, V>;

/// Who wins where both sides of a merge changed a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wins {
    /// Nobody: such a merge is refused.
    Nobody,
    /// The source.
    Source,
    /// The destination.
    Dest,
}

/// A commit.
#[derive(Clone, Debug)]
pub struct ModelCommit<V> {
    /// All of its objects.
    pub files: Files<V>,
    /// First parent first.
    pub parents: Vec<CommitId>,
    /// One more than the largest of its parents.
    pub generation: u64,
}

/// Every commit there ever was.
#[derive(Clone, Debug)]
pub struct History<V> {
    commits: BTreeMap<CommitId, ModelCommit<V>>,
}

impl<V> Default for History<V> {
    fn default() -> Self {
        Self { commits: BTreeMap::new() }
    }
}

impl<V: Clone + PartialEq> History<V> {
    /// Adds a commit.
    ///
    /// # Panics
    /// If a parent is not there.
    pub fn add(&mut self, id: CommitId, files: Files<V>, parents: Vec<CommitId>) {
        let generation = 1 + parents.iter().map(|p| self[*p].generation).max().unwrap_or(0);
        self.commits.insert(id, ModelCommit { files, parents, generation });
    }

    /// A commit, if it is there.
    pub fn get(&self, id: &CommitId) -> Option<&ModelCommit<V>> {
        self.commits.get(id)
    }

    /// All ids in order.
    pub fn ids(&self) -> Vec<CommitId> {
        self.commits.keys().copied().collect()
    }

    /// The commit and everything it is built on.
    pub fn ancestors(&self, id: CommitId) -> BTreeSet<CommitId> {
        let mut all = BTreeSet::from([id]);
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            for parent in &self[id].parents {
                if all.insert(*parent) {
                    next.push(*parent);
                }
            }
        }
        all
    }

    /// The merge base: of the common ancestors the one of the largest generation, then the smallest id.
    ///
    /// # Panics
    /// If there is none.
    pub fn base(&self, a: CommitId, b: CommitId) -> CommitId {
        let (a, b) = (self.ancestors(a), self.ancestors(b));
        let best = a.intersection(&b).max_by_key(|id| (self[**id].generation, std::cmp::Reverse(**id)));
        *best.expect("all commits of a repository descend from its first")
    }
}

impl<V> std::ops::Index<CommitId> for History<V> {
    type Output = ModelCommit<V>;
    fn index(&self, id: CommitId) -> &ModelCommit<V> {
        self.commits.get(&id).unwrap_or_else(|| panic!("commit {id} is not in the model"))
    }
}

/// The destination with what the source has changed since the base. `None` when two sides changed a path differently
/// and nobody wins.
pub fn merge<V: Clone + PartialEq>(
    base: &Files<V>,
    dest: &Files<V>,
    source: &Files<V>,
    wins: Wins,
) -> Option<Files<V>> {
    let mut merged = dest.clone();
    for change in base.diff(source) {
        let path = match change {
            DiffItem::Add(path, _) | DiffItem::Remove(path, _) => path,
            DiffItem::Update { new: (path, _), .. } => path,
        };
        let (b, d, s) = (base.get(path), dest.get(path), source.get(path));
        let winner = if b == d || d == s {
            s
        } else {
            match wins {
                Wins::Nobody => return None,
                Wins::Source => s,
                Wins::Dest => d,
            }
        };
        match winner {
            Some(value) => merged.insert(path.clone(), value.clone()),
            None => merged.remove(path),
        };
    }
    Some(merged)
}

/// `from`, but with `to`'s state of every path that is hit.
pub fn with_paths_of<V: Clone + PartialEq>(
    from: &Files<V>,
    to: &Files<V>,
    hit: impl Fn(&[u8]) -> bool,
) -> Files<V> {
    let mut files = from.clone();
    for change in from.diff(to) {
        match change {
            DiffItem::Add(path, value) | DiffItem::Update { new: (path, value), .. } if hit(path) => {
                files.insert(path.clone(), value.clone());
            }
            DiffItem::Remove(path, _) if hit(path) => {
                files.remove(path);
            }
            _ => {}
        }
    }
    files
}

/// Keys that have broken other systems, in a space small enough that histories meet.
pub fn hostile_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        "a",
        "a/",
        "a/b",
        "a/b/c",
        "a//b",
        "//",
        "/",
        "/a",
        "a/b\u{0}",
        "ä",
        "日本/語",
        "a b",
        "a%2Fb",
        "a+b",
        "..",
        "../x",
        "orders",
        "orders2",
        "orders/1",
        "orders/10",
        "\u{7f}",
        "\n",
        "_lakefs/x",
    ]
    .iter()
    .map(|k| k.as_bytes().to_vec())
    .collect();
    keys.push(vec![b'k'; 1024]);
    keys.push([vec![b'k'; 1023], vec![b'l']].concat());
    keys.push(vec![0xff; 3]);
    keys.push(vec![0xff, 0xfe]);
    keys.push(vec![1]);
    keys
}
