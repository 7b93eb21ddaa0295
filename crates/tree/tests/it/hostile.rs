//! Bytes that this program did not write: refused, or at least harmless.

use crate::support::*;
use bytes::Bytes;
use millpond_testkit::fuzz::Fuzz;
use millpond_tree::{
    Diff, NewNodes, Node, NodeSink, NodeSource, Place, Scan, TreeError, get, pack, totals, verify,
};
use millpond_types::{NodeId, TreeId};
use std::ops::Bound;
use std::sync::Arc;

fn sample_nodes() -> Vec<Arc<Node>> {
    let mut dice = Dice::new(77);
    let mut nodes = NewNodes::default();
    let model: Model = (0..60).map(|_| (hostile_key(&mut dice), odd_entry(&mut dice))).collect();
    tree_of(&model, &mut nodes);
    let model: Model = (0..5_000).map(|i| (plain_key(i), entry(i))).collect();
    let tree = tree_of(&model, &mut nodes);
    let model: Model = (0..40).map(|i| (plain_key(i), entry(i))).collect();
    tree_of(&model, &mut nodes);
    let root = tree.0.unwrap();
    nodes.nodes().filter(|node| node.bytes().len() < 12_000 || node.id() == root).cloned().collect()
}

/// Reads everything that can be read from a node whose bytes were changed, under the hash they now have.
fn read_all(bytes: Vec<u8>) -> bool {
    let id = NodeId::of(&bytes);
    let Ok(node) = Node::decode(id, bytes.into()) else { return false };
    let children: Vec<_> = node.children().collect();
    assert!(children.len() <= node.len());
    let mut rows = Model::new();
    let verified = verify::verify(&node, |path, entry| drop(rows.insert(path, entry)));
    if verified.is_ok() && node.level() == 0 {
        assert_eq!(id_of(&rows), TreeId(Some(id)), "what passes is what would be written");
    }
    let mut nodes = NewNodes::default();
    nodes.put(node);
    let tree = TreeId(Some(id));
    let _ = get(&nodes, tree, b"datasets/imagenet/train/n00000037/n00000037_703.JPEG");
    let _ = totals(&nodes, tree, b"datasets/imagenet/train/n00000037/");
    let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
    while let Ok(Some(_)) = scan.next() {}
    let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
    while let Ok(Some(path)) = scan.next_path() {
        assert!(get(&nodes, tree, path.as_bytes()) != Ok(None), "what a scan shows can be looked up");
    }
    let mut diff = Diff::new(&nodes, TreeId::EMPTY, tree, b"", Bound::Unbounded);
    while let Ok(Some(_)) = diff.next() {}
    let change = [(path("datasets/k"), Some(entry(3)))];
    let _ = millpond_tree::apply(&nodes, tree, change.into_iter(), &mut NewNodes::default());
    true
}

#[test]
fn changed_bytes_never_panic() {
    let mut dice = Dice::new(5);
    let (mut read, mut refused) = (0, 0);
    for node in sample_nodes() {
        let original = node.bytes().to_vec();
        // The first bytes hold all counts and widths: each with several values. The rest at random.
        let head =
            (0..100.min(original.len())).flat_map(|at| [0, 1, 2, 8, 9, 64, 127, 128, 255].map(|to| (at, to)));
        let rest: Vec<_> =
            (0..600).map(|_| (dice.below(original.len() as u64) as usize, dice.below(256) as u8)).collect();
        for (at, to) in head.chain(rest) {
            let mut bytes = original.clone();
            bytes[at] = to;
            if read_all(bytes) { read += 1 } else { refused += 1 }
        }
        for _ in 0..60 {
            let mut bytes = original.clone();
            match dice.below(3) {
                0 => bytes.truncate(dice.below(original.len() as u64) as usize),
                1 => bytes.extend((0..dice.below(40)).map(|i| i as u8)),
                _ => {
                    for _ in 0..8 {
                        let at = dice.below(original.len() as u64) as usize;
                        bytes[at] = dice.next() as u8;
                    }
                }
            }
            if read_all(bytes) { read += 1 } else { refused += 1 }
        }
    }
    assert!(read > 500 && refused > 500, "{read} read, {refused} refused: the test reaches both sides");
}

#[test]
fn random_bytes_are_refused() {
    let mut dice = Dice::new(6);
    for len in 0..300 {
        let mut bytes: Vec<u8> = (0..len).map(|_| dice.next() as u8).collect();
        read_all(bytes.clone());
        if len > 1 {
            bytes[0] = 1;
            bytes[1] = (len % 3) as u8;
            read_all(bytes);
        }
    }
}

#[test]
fn bytes_with_another_hash_are_refused() {
    for node in sample_nodes() {
        let mut bytes = node.bytes().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = Node::decode(node.id(), Bytes::from(bytes)).unwrap_err();
        assert!(matches!(error, TreeError::Damaged(Place::Node(id), _) if id == node.id()), "{error}");
    }
}

/// A source that answers with another node than asked for, as a store with swapped files would if its hashes
/// were not checked.
struct Swapped(NewNodes, NodeId, NodeId);

impl NodeSource for Swapped {
    fn node(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        self.0.node(if *id == self.1 { &self.2 } else { id })
    }
}

#[test]
fn a_child_that_its_parent_does_not_know_is_refused() {
    let mut nodes = NewNodes::default();
    let model: Model = (0..9_000).map(|i| (plain_key(i), entry(i))).collect();
    let tree = tree_of(&model, &mut nodes);
    let root = tree.0.unwrap();
    let children: Vec<_> = nodes.node(&root).unwrap().children().collect();
    // A parent that files its last child under another key.
    let mut bytes = nodes.node(&root).unwrap().bytes().to_vec();
    *bytes.last_mut().unwrap() += 1;
    let renamed = NodeId::of(&bytes);
    nodes.put(Node::decode(renamed, bytes.into()).expect("still a sound node"));
    for (wrong, tree) in [(children[0], tree), (root, tree), (children[3], TreeId(Some(renamed)))] {
        let source = Swapped(nodes.clone(), children[3], wrong);
        let mut scan = Scan::new(&source, tree, Bound::Unbounded);
        let error = loop {
            match scan.next_path() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the wrong child was read"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, TreeError::Damaged(..)), "{error}");
    }
}

#[test]
fn a_lost_node_is_named() {
    let mut nodes = NewNodes::default();
    let model: Model = (0..9_000).map(|i| (plain_key(i), entry(i))).collect();
    let tree = tree_of(&model, &mut nodes);
    let lost = nodes.node(&tree.0.unwrap()).unwrap().children().nth(2).unwrap();
    let mut rest = NewNodes::default();
    nodes.nodes().filter(|node| node.id() != lost).for_each(|node| rest.put(node.clone()));
    let mut scan = Scan::new(&rest, tree, Bound::Unbounded);
    let error = loop {
        if let Err(error) = scan.next_path() {
            break error;
        }
    };
    assert_eq!(error, TreeError::Missing(lost));
}

/// fsck's check passes what this program writes, and finds a tree whose nodes are sound but wrongly cut.
#[test]
fn a_tree_cut_in_other_places_is_found() {
    use millpond_tree::verify::{Ending, verify, verify_child, verify_root};
    let model: Model = (0..9_000).map(|i| (plain_key(i), entry(i))).collect();
    let mut nodes = NewNodes::default();
    let tree = tree_of(&model, &mut nodes);
    let root = nodes.node(&tree.0.unwrap()).unwrap();
    assert_eq!(verify_root(&root), Ok(()));
    let children: Vec<_> = root.children().map(|id| nodes.node(&id).unwrap()).collect();
    for (index, child) in children.iter().enumerate() {
        let mut seen = 0;
        let ending = verify(child, |path, entry| {
            assert_eq!(model[&path], entry);
            seen += 1;
        });
        assert_eq!(verify_child(&root, index, child), Ok(()));
        assert_eq!(seen, child.len());
        if index + 1 < children.len() {
            assert_eq!(ending, Ok(Ending::AtBoundary));
        }
        // Its first half alone is a leaf that ends where nothing ends.
        let half: Model = model.range(key_range(child)).take(child.len() / 2).map(own).collect();
        let mut alone = NewNodes::default();
        let half = tree_of(&half, &mut alone);
        assert_eq!(verify(&alone.node(&half.0.unwrap()).unwrap(), |_, _| {}), Ok(Ending::Open));
    }
    assert!(verify_child(&root, 0, &children[1]).is_err(), "another child");
}

fn key_range(leaf: &Arc<Node>) -> std::ops::RangeFrom<millpond_types::ObjectPath> {
    let mut first = None;
    millpond_tree::verify::verify(leaf, |path, _| {
        first.get_or_insert(path);
    })
    .unwrap();
    first.unwrap()..
}

fn own(
    (path, entry): (&millpond_types::ObjectPath, &millpond_types::Entry),
) -> (millpond_types::ObjectPath, millpond_types::Entry) {
    (path.clone(), entry.clone())
}

#[test]
fn fuzz_nodes() {
    let seeds =
        sample_nodes().iter().map(|node| node.bytes().to_vec()).filter(|bytes| bytes.len() < 8000).collect();
    Fuzz { name: "nodes", seeds, words: &[] }.run(|input| {
        let id = NodeId::of(input);
        match Node::decode(id, Bytes::copy_from_slice(input)) {
            Err(error) => error.to_string().rsplit(':').next().unwrap_or_default().to_owned(),
            Ok(_) => format!("read {}", read_all(input.to_vec())),
        }
    });
}

#[test]
fn fuzz_packs() {
    let mut nodes = sample_nodes();
    nodes.retain(|node| node.bytes().len() < 3000);
    let seeds =
        vec![pack::encode(nodes.iter()).bytes.to_vec(), pack::encode(nodes.iter().take(1)).bytes.to_vec()];
    Fuzz { name: "packs", seeds, words: &[] }.run(|input| {
        let index = match pack::read_index(input) {
            Ok(index) => index,
            Err(error) => return error.to_string(),
        };
        assert!(index.len() <= input.len());
        let mut read = 0;
        for entry in &index {
            let (start, end) = (entry.offset as usize, entry.offset as usize + entry.len as usize);
            let bytes = input.get(start..end).expect("an index that was taken stays within its pack");
            if let Ok(node) = pack::decode_record(entry.id, Bytes::copy_from_slice(bytes)) {
                assert_eq!(NodeId::of(node.bytes()), entry.id, "never other bytes than the id names");
                read += 1;
            }
        }
        format!("{} of {}", read, index.len())
    });
}
