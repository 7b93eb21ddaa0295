//! Differences are exact, in order, and cost what differs.

use crate::reading::Forgetful;
use crate::support::*;
use millpond_tree::{Change, Diff, NewNodes, NodeSource, TreeError};
use millpond_types::{ObjectPath, TreeId};
use std::ops::Bound;
use std::sync::Mutex;

fn reference(left: &Model, right: &Model) -> Vec<(ObjectPath, Change)> {
    let paths: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let mut all = Vec::new();
    for path in paths {
        let change = match (left.get(path), right.get(path)) {
            (None, Some(right)) => Change::Added(right.clone()),
            (Some(left), None) => Change::Removed(left.clone()),
            (Some(left), Some(right)) if !left.same_object(right) => {
                Change::Changed { left: left.clone(), right: right.clone() }
            }
            _ => continue,
        };
        all.push((path.clone(), change));
    }
    all
}

fn collect(mut diff: Diff) -> Vec<(ObjectPath, Change)> {
    let mut all = Vec::new();
    while let Some(item) = diff.next().expect("all nodes are there") {
        all.push(item);
    }
    all
}

/// Two models that share most entries; some are the same object with another mtime and address.
fn two_models(dice: &mut Dice, hostile: bool) -> (Model, Model) {
    let n = [3, 40, 3_000, 12_000][dice.below(4) as usize];
    let left: Model = (0..n)
        .map(|i| if hostile { (hostile_key(dice), odd_entry(dice)) } else { (plain_key(i * 2), entry(i)) })
        .collect();
    let mut right = left.clone();
    let paths: Vec<_> = left.keys().cloned().collect();
    for _ in 0..dice.below(50) {
        let at = dice.below(paths.len() as u64);
        let path = paths[at as usize].clone();
        match dice.below(5) {
            0 => {
                right.remove(&path);
            }
            1 => {
                right.insert(path, odd_entry(dice));
            }
            2 => {
                right.insert(path, rewritten(at, dice.below(9)));
            }
            3 => {
                right.insert(plain_key(dice.below(30_000)), entry(dice.below(100)));
            }
            _ => {
                right.insert(hostile_key(dice), odd_entry(dice));
            }
        }
    }
    if dice.chance(4) {
        let start = dice.below(20_000);
        right.extend((start..start + 4_000).map(|i| (plain_key(i), entry(i / 2))));
    }
    (left, right)
}

#[test]
fn differences_are_exact() {
    for seed in 0..24 {
        let mut dice = Dice::new(seed);
        let (a, b) = two_models(&mut dice, seed % 2 == 0);
        let mut nodes = NewNodes::default();
        let (left, right) = (tree_of(&a, &mut nodes), tree_of(&b, &mut nodes));
        for (a, b, left, right) in [(&a, &b, left, right), (&b, &a, right, left)] {
            let expected = reference(a, b);
            assert_eq!(
                collect(Diff::new(&nodes, left, right, b"", Bound::Unbounded)),
                expected,
                "seed {seed}"
            );

            // With a prefix and a start, and with seeks on the way.
            let keys: Vec<_> = b.keys().chain(a.keys()).collect();
            for _ in 0..6 {
                let near = |dice: &mut Dice| keys[dice.below(keys.len() as u64) as usize].as_bytes().to_vec();
                let prefix = near(&mut dice);
                let prefix = prefix[..dice.below(prefix.len() as u64) as usize].to_vec();
                let start = near(&mut dice);
                let diff = Diff::new(&nodes, left, right, &prefix, Bound::Excluded(&start));
                let within = |path: &ObjectPath| path.as_bytes().starts_with(&prefix);
                let mut rest = expected.clone();
                rest.retain(|(path, _)| within(path) && path.as_bytes() > &start[..]);
                assert_eq!(collect(diff), rest, "seed {seed}, prefix {prefix:?}, after {start:?}");

                let mut diff = Diff::new(&nodes, left, right, &prefix, Bound::Unbounded);
                let mut rest: std::collections::VecDeque<_> =
                    expected.iter().filter(|(path, _)| within(path)).cloned().collect();
                loop {
                    let to = near(&mut dice);
                    if dice.chance(2) {
                        diff.seek(Bound::Included(&to)).unwrap();
                        rest.retain(|(path, _)| path.as_bytes() >= &to[..]);
                    }
                    let (item, expected) = (diff.next().unwrap(), rest.pop_front());
                    assert_eq!(item, expected, "seed {seed}, prefix {prefix:?}");
                    if item.is_none() {
                        break;
                    }
                }
            }
        }
        assert_eq!(collect(Diff::new(&nodes, left, left, b"", Bound::Unbounded)), []);
        assert_eq!(collect(Diff::new(&nodes, TreeId::EMPTY, left, b"", Bound::Unbounded)).len(), a.len());
        assert_eq!(collect(Diff::new(&nodes, left, TreeId::EMPTY, b"", Bound::Unbounded)).len(), a.len());
    }
}

#[test]
fn equal_subtrees_are_not_read() {
    let mut nodes = NewNodes::default();
    let model: Model = (0..60_000).map(|i| (plain_key(i), entry(i))).collect();
    let left = tree_of(&model, &mut nodes);
    let changes: Changes = [
        (plain_key(100), Some(entry(7_000_000))),
        (plain_key(30_000), None),
        (plain_key(1_000_000), Some(entry(1))),
    ]
    .into();
    let right = apply_to(&mut nodes, left, &changes);
    let source = Forgetful { base: &nodes, seen: Mutex::default() };
    let mut diff = Diff::new(&source, left, right, b"", Bound::Unbounded);
    let mut found = Vec::new();
    loop {
        match diff.next() {
            Ok(Some((path, _))) => found.push(path),
            Ok(None) => break,
            Err(TreeError::NotResident(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let expected: Vec<_> = changes.into_keys().collect();
    assert_eq!(found, expected);
    let read = source.seen.lock().unwrap().len();
    assert!(read <= 2 + 2 * 3 + 2, "{read} nodes read for 3 differences");
    assert!(nodes.node(&left.0.unwrap()).unwrap().children().count() > 50);
}
