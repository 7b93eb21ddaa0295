//! Look-ups, scans from bounds, forward seeks and totals against the model.

use crate::support::*;
use millpond_tree::{NewNodes, Node, NodeSource, Scan, Totals, TreeError, get, totals};
use millpond_types::{NodeId, ObjectPath, TreeId};
use std::collections::HashSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

fn hostile_tree(seed: u64, nodes: &mut NewNodes) -> (Model, TreeId) {
    let mut dice = Dice::new(seed);
    let mut model: Model = (0..4_000).map(|_| (hostile_key(&mut dice), odd_entry(&mut dice))).collect();
    model.extend((0..4_000).map(|i| (plain_key(i), entry(i))));
    let tree = tree_of(&model, nodes);
    (model, tree)
}

/// Some bound near real keys.
fn bound(dice: &mut Dice, keys: &[ObjectPath]) -> (Vec<u8>, u64) {
    let mut key = keys[dice.below(keys.len() as u64) as usize].as_bytes().to_vec();
    match dice.below(4) {
        0 => key.push(0),
        1 => {
            key.pop();
        }
        _ => {}
    }
    (key, dice.below(3))
}

fn as_bound(bound: &(Vec<u8>, u64)) -> Bound<&[u8]> {
    match bound.1 {
        0 => Bound::Excluded(&bound.0),
        _ => Bound::Included(&bound.0),
    }
}

fn reference(keys: &[ObjectPath], from: Bound<&[u8]>) -> usize {
    keys.partition_point(|key| match from {
        Bound::Unbounded => false,
        Bound::Included(from) => key.as_bytes() < from,
        Bound::Excluded(from) => key.as_bytes() <= from,
    })
}

#[test]
fn look_ups_find_what_is_there_and_nothing_else() {
    let mut nodes = NewNodes::default();
    let (model, tree) = hostile_tree(1, &mut nodes);
    for (path, entry) in &model {
        assert_eq!(get(&nodes, tree, path.as_bytes()).unwrap().as_ref(), Some(entry), "{path:?}");
    }
    let mut dice = Dice::new(2);
    let keys: Vec<_> = model.keys().cloned().collect();
    for _ in 0..2_000 {
        let (key, _) = bound(&mut dice, &keys);
        assert_eq!(get(&nodes, tree, &key).unwrap().as_ref(), model.get(&key[..]), "{key:?}");
    }
    assert_eq!(get(&nodes, TreeId::EMPTY, b"a"), Ok(None));
    assert_eq!(get(&nodes, tree, b""), Ok(None));
}

#[test]
fn scans_start_and_seek_where_they_are_told() {
    let mut nodes = NewNodes::default();
    let (model, tree) = hostile_tree(3, &mut nodes);
    let keys: Vec<_> = model.keys().cloned().collect();
    let mut dice = Dice::new(4);
    for round in 0..300 {
        let start = bound(&mut dice, &keys);
        let mut at = reference(&keys, as_bound(&start));
        let mut scan = Scan::new(&nodes, tree, as_bound(&start));
        for _ in 0..12 {
            match dice.below(4) {
                0 => {
                    let to = bound(&mut dice, &keys);
                    scan.seek(as_bound(&to)).unwrap();
                    at = at.max(reference(&keys, as_bound(&to)));
                }
                1 => assert_eq!(scan.peek_path().unwrap().as_ref(), keys.get(at), "round {round}"),
                2 => {
                    assert_eq!(scan.next_path().unwrap().as_ref(), keys.get(at), "round {round}");
                    at = (at + 1).min(keys.len());
                }
                _ => {
                    let expected = keys.get(at).map(|key| (key.clone(), model[key].clone()));
                    assert_eq!(scan.next().unwrap(), expected, "round {round}");
                    at = (at + 1).min(keys.len());
                }
            }
        }
    }
    assert_eq!(Scan::new(&nodes, TreeId::EMPTY, Bound::Unbounded).next(), Ok(None));
}

/// The last key of every leaf is where a seek must change leaves, and the key behind it where it must not.
#[test]
fn seeks_at_the_ends_of_leaves() {
    let mut nodes = NewNodes::default();
    let model: Model = (0..9_000).map(|i| (plain_key(i), entry(i))).collect();
    let tree = tree_of(&model, &mut nodes);
    let keys: Vec<_> = model.keys().cloned().collect();
    let root = nodes.node(&tree.0.unwrap()).unwrap();
    let mut end = 0;
    for child in root.children() {
        end += nodes.node(&child).unwrap().objects() as usize;
        for at in [end - 1, end.min(keys.len() - 1)] {
            for begin in [0, end - 1] {
                let mut scan = Scan::new(&nodes, tree, Bound::Included(keys[begin].as_bytes()));
                scan.peek_path().unwrap();
                scan.seek(Bound::Excluded(keys[at].as_bytes())).unwrap();
                assert_eq!(scan.peek_path().unwrap().as_ref(), keys.get((at + 1).max(begin)), "behind {at}");
                let mut scan = Scan::new(&nodes, tree, Bound::Included(keys[begin].as_bytes()));
                scan.peek_path().unwrap();
                scan.seek(Bound::Included(keys[at].as_bytes())).unwrap();
                assert_eq!(scan.peek_path().unwrap().as_ref(), keys.get(at), "at {at}");
            }
        }
    }
}

#[test]
fn totals_do_not_read_what_lies_within_the_prefix() {
    let mut nodes = NewNodes::default();
    let model: Model = (0..60_000).map(|i| (plain_key(i), entry(i))).collect();
    let tree = tree_of(&model, &mut nodes);
    let source = Forgetful { base: &nodes, seen: Mutex::default() };
    while totals(&source, tree, b"datasets/imagenet/train/n0000").is_err() {}
    assert_eq!(totals(&source, tree, b"datasets/imagenet/train/n0000"), totals(&nodes, tree, b"datasets/"));
    let read = source.seen.lock().unwrap().len();
    assert!(read <= 3, "{read} of {} nodes read", nodes.len());
    let few = Forgetful { base: &nodes, seen: Mutex::default() };
    while totals(&few, tree, b"datasets/imagenet/train/n00001").is_err() {}
    let part = totals(&few, tree, b"datasets/imagenet/train/n00001").unwrap();
    assert!(part.objects > 10_000 && part.objects < 50_000);
    let read = few.seen.lock().unwrap().len();
    assert!(read <= 3, "{read} of {} nodes read", nodes.len());
}

#[test]
fn totals_are_sums_over_the_prefix() {
    let mut nodes = NewNodes::default();
    let model: Model = (0..20_000).map(|i| (plain_key(i), entry(i))).collect();
    let tree = tree_of(&model, &mut nodes);
    let keys: Vec<_> = model.keys().cloned().collect();
    let mut dice = Dice::new(5);
    let mut prefixes: Vec<Vec<u8>> =
        vec![b"".to_vec(), b"z".to_vec(), b"\xff".to_vec(), b"datasets/".to_vec()];
    for _ in 0..200 {
        let key = keys[dice.below(keys.len() as u64) as usize].as_bytes();
        prefixes.push(key[..dice.below(key.len() as u64 + 1) as usize].to_vec());
    }
    for prefix in prefixes {
        let expected = model.iter().filter(|(path, _)| path.as_bytes().starts_with(&prefix)).fold(
            Totals::default(),
            |sum, (_, entry)| Totals { objects: sum.objects + 1, bytes: sum.bytes + entry.size },
        );
        assert_eq!(totals(&nodes, tree, &prefix), Ok(expected), "{:?}", String::from_utf8_lossy(&prefix));
    }
    assert_eq!(totals(&nodes, TreeId::EMPTY, b""), Ok(Totals::default()));
}

/// A source that knows a node only after it was asked for it once, and counts.
pub struct Forgetful<'a> {
    pub base: &'a NewNodes,
    pub seen: Mutex<HashSet<NodeId>>,
}

impl NodeSource for Forgetful<'_> {
    fn node(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        if self.seen.lock().unwrap().insert(*id) {
            Err(TreeError::NotResident(*id))
        } else {
            self.base.node(id)
        }
    }
}

#[test]
fn a_scan_goes_on_after_a_node_was_fetched() {
    let mut nodes = NewNodes::default();
    let (model, tree) = hostile_tree(6, &mut nodes);
    let source = Forgetful { base: &nodes, seen: Mutex::default() };
    let mut scan = Scan::new(&source, tree, Bound::Unbounded);
    let (mut found, mut misses) = (Vec::new(), 0);
    loop {
        match scan.next_path() {
            Ok(Some(path)) => found.push(path),
            Ok(None) => break,
            Err(TreeError::NotResident(_)) => misses += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(found.iter().eq(model.keys()));
    assert_eq!(misses, nodes.len());
}

/// A delimiter listing reads the nodes at its stops and no others.
#[test]
fn seeks_do_not_read_what_they_pass() {
    let mut nodes = NewNodes::default();
    let model: Model = (0..60_000).map(|i| (plain_key(i), entry(i))).collect();
    let tree = tree_of(&model, &mut nodes);
    let source = Forgetful { base: &nodes, seen: Mutex::default() };
    for key in [b"datasets/imagenet/train/n00".as_slice(), b"datasets/imagenet/train/n00001", b"datasets/j"] {
        while get(&source, tree, key).is_err() {}
    }
    let mut scan = Scan::new(&source, tree, Bound::Unbounded);
    while scan.peek_path().is_err() {}
    scan.seek(Bound::Included(b"datasets/j")).unwrap();
    assert_eq!(scan.peek_path(), Ok(None));
    let read = source.seen.lock().unwrap().len();
    assert!(read <= 5, "{read} of {} nodes read", nodes.len());
}
