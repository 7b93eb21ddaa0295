//! The merge table, and merges of larger trees, against a model that looks at one path at a time.

use crate::support::*;
use bytes::Bytes;
use millpond_tree::{Merged, NewNodes, Overlay, Strategy, merge};
use millpond_types::{Address, Checksum, Content, Entry, ObjectPath, TreeId};

/// What API-14.8 and 14.9 say, for one path. The outer option is none for a conflict.
fn naive(
    base: Option<&Entry>,
    dest: Option<&Entry>,
    theirs: Option<&Entry>,
    strategy: Strategy,
) -> Option<Option<Entry>> {
    let same = |a: Option<&Entry>, b: Option<&Entry>| match (a, b) {
        (Some(a), Some(b)) => a.same_object(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let dest_untouched = dest == base;
    let theirs_untouched = theirs == base;
    let dest_changed = !same(dest, base);
    let theirs_changed = !same(theirs, base);
    let result = if dest_untouched {
        theirs
    } else if theirs_untouched || same(dest, theirs) {
        dest
    } else if !dest_changed {
        theirs
    } else if !theirs_changed {
        dest
    } else {
        match strategy {
            Strategy::Fail => return None,
            Strategy::SourceWins => theirs,
            Strategy::DestWins => dest,
        }
    };
    Some(result.cloned())
}

fn naive_merge(
    base: &Model,
    dest: &Model,
    theirs: &Model,
    strategy: Strategy,
) -> Result<Model, Vec<ObjectPath>> {
    let paths: std::collections::BTreeSet<_> = base.keys().chain(dest.keys()).chain(theirs.keys()).collect();
    let (mut merged, mut conflicts) = (Model::new(), Vec::new());
    for path in paths {
        match naive(base.get(path), dest.get(path), theirs.get(path), strategy) {
            None => conflicts.push(path.clone()),
            Some(None) => {}
            Some(Some(entry)) => {
                merged.insert(path.clone(), entry);
            }
        }
    }
    if conflicts.is_empty() { Ok(merged) } else { Err(conflicts) }
}

fn check(base: &Model, dest: &Model, theirs: &Model, what: &str) {
    let mut nodes = NewNodes::default();
    let (b, d, t) = (tree_of(base, &mut nodes), tree_of(dest, &mut nodes), tree_of(theirs, &mut nodes));
    for strategy in [Strategy::Fail, Strategy::SourceWins, Strategy::DestWins] {
        let mut new = NewNodes::default();
        let got = merge(&nodes, b, d, t, strategy, 1_000_000, &mut new).expect("all nodes are there");
        match naive_merge(base, dest, theirs, strategy) {
            Ok(model) => {
                let expected = Merged { tree: id_of(&model), conflicts: vec![] };
                assert_eq!(got, expected, "{what}, {strategy:?}");
                // The new nodes complete the tree.
                let source = Overlay { new: &new, base: &nodes };
                let mut scan = millpond_tree::Scan::new(&source, got.tree, std::ops::Bound::Unbounded);
                for (path, entry) in model {
                    assert_eq!(scan.next(), Ok(Some((path, entry))), "{what}, {strategy:?}");
                }
                assert_eq!(scan.next(), Ok(None));
            }
            Err(conflicts) => {
                assert_eq!(got, Merged { tree: d, conflicts: conflicts.clone() }, "{what}, {strategy:?}");
                assert!(new.is_empty());
                for max in [0, 1, 3] {
                    let few = merge(&nodes, b, d, t, strategy, max, &mut new).expect("all nodes are there");
                    assert_eq!(
                        few.conflicts,
                        conflicts[..conflicts.len().min(max.max(1))],
                        "{what}, at most {max}"
                    );
                }
            }
        }
    }
}

/// Absent; three objects; the first again with another mtime, another address, both; and declared entries whose equality
/// goes over the checksum or over the address.
fn states() -> Vec<Option<Entry>> {
    let declared = |checksum: &str, address: &'static str, mtime: i64| {
        let mut entry = entry(1);
        entry.content = Content::Declared;
        entry.checksum = Checksum::Declared(checksum.into());
        entry.address = Address::Explicit(Bytes::from_static(address.as_bytes()));
        entry.mtime = millpond_types::Timestamp(mtime);
        Some(entry)
    };
    let mut touched = entry(1);
    touched.mtime.0 += 1;
    let mut moved = entry(1);
    moved.address = Address::Rule(4);
    vec![
        None,
        Some(touched),
        Some(moved),
        Some(entry(1)),
        Some(entry(2)),
        Some(entry(3)),
        Some(rewritten(1, 1)),
        Some(rewritten(1, 2)),
        Some(rewritten(2, 1)),
        declared("x", "s3://a/1", 5),
        declared("x", "s3://a/2", 5),
        declared("y", "s3://a/1", 6),
    ]
}

/// Every case of base, destination and source for one path, alone in its tree and among others.
#[test]
fn the_merge_table() {
    let states = states();
    let surroundings: Model = [(path("a"), entry(90)), (path("z"), entry(91))].into();
    let mut cases = 0;
    for (b, base) in states.iter().enumerate() {
        for (d, dest) in states.iter().enumerate() {
            for (t, theirs) in states.iter().enumerate() {
                for around in [Model::new(), surroundings.clone()] {
                    let with = |entry: &Option<Entry>| -> Model {
                        around.clone().into_iter().chain(entry.clone().map(|e| (path("m"), e))).collect()
                    };
                    check(
                        &with(base),
                        &with(dest),
                        &with(theirs),
                        &format!("base {b}, dest {d}, source {t}"),
                    );
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 2 * 12 * 12 * 12);
}

/// All cases at once, in one tree of many leaves, together with changes on one side only.
#[test]
fn merges_of_larger_trees() {
    let states = states();
    for seed in 0..10u64 {
        let mut dice = Dice::new(seed);
        let mut base: Model = (0..6_000).map(|i| (plain_key(i * 2), entry(i))).collect();
        let (mut dest, mut theirs) = (base.clone(), base.clone());
        for _ in 0..150 {
            let path = if dice.chance(4) { hostile_key(&mut dice) } else { plain_key(dice.below(15_000)) };
            let pick = |dice: &mut Dice| states[dice.below(states.len() as u64) as usize].clone();
            let put = |model: &mut Model, entry: Option<Entry>| match entry {
                Some(entry) => drop(model.insert(path.clone(), entry)),
                None => drop(model.remove(&path)),
            };
            match dice.below(if seed % 2 == 0 { 2 } else { 3 }) {
                0 => put(&mut dest, pick(&mut dice)),
                1 => put(&mut theirs, pick(&mut dice)),
                _ => {
                    put(&mut base, pick(&mut dice));
                    put(&mut dest, pick(&mut dice));
                    put(&mut theirs, pick(&mut dice));
                }
            }
        }
        if dice.chance(2) {
            let start = dice.below(10_000);
            theirs.extend((start..start + 2_000).map(|i| (plain_key(20_000 + i), entry(i))));
            dest.retain(|path, _| *path < plain_key(start) || *path > plain_key(start + 900));
        }
        check(&base, &dest, &theirs, &format!("seed {seed}"));
    }
}

#[test]
fn whole_trees_are_taken_unread() {
    let nodes = NewNodes::default();
    let tree = |n: u8| TreeId(Some(millpond_types::NodeId([n; 32])));
    let mut new = NewNodes::default();
    let mut run =
        |b, d, t| merge(&nodes, tree(b), tree(d), tree(t), Strategy::Fail, 9, &mut new).unwrap().tree;
    assert_eq!(run(1, 1, 2), tree(2), "dest did not change");
    assert_eq!(run(1, 2, 1), tree(2), "source did not change");
    assert_eq!(run(1, 2, 2), tree(2), "both changed to the same");
}
