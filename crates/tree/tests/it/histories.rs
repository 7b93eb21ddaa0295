//! A tree id does not depend on history, and a tree holds what the model holds.

use crate::support::*;
use millpond_tree::{NewNodes, NodeSource, Scan, apply, build, get};
use millpond_types::{ObjectPath, TreeId};
use std::ops::Bound;

fn scan_all(source: &dyn NodeSource, tree: TreeId) -> Model {
    let mut scan = Scan::new(source, tree, Bound::Unbounded);
    let mut model = Model::new();
    while let Some((path, entry)) = scan.next().expect("all nodes are there") {
        model.insert(path, entry);
    }
    model
}

/// A model of up to `n` entries with keys of one kind.
fn model_of(dice: &mut Dice, n: u64, hostile: bool) -> Model {
    (0..n)
        .map(|i| {
            let path = if hostile { hostile_key(dice) } else { plain_key(i * 3) };
            let entry = if hostile { odd_entry(dice) } else { entry(i) };
            (path, entry)
        })
        .collect()
}

/// One step of a history: scattered edits, a range that goes, an append, or all of it.
fn some_changes(dice: &mut Dice, model: &Model, hostile: bool) -> Changes {
    let mut changes = Changes::new();
    let paths: Vec<&ObjectPath> = model.keys().collect();
    let some = |dice: &mut Dice| if hostile { odd_entry(dice) } else { entry(dice.below(1 << 40)) };
    match dice.below(10) {
        0 if !paths.is_empty() => {
            let from = dice.below(paths.len() as u64) as usize;
            let len = dice.below(paths.len() as u64 + 1) as usize;
            changes.extend(paths.iter().skip(from).take(len).map(|p| ((*p).clone(), None)));
        }
        1 => {
            let start = 10_000_000 + dice.below(1_000_000);
            for i in 0..dice.below(3_000) {
                changes.insert(plain_key(start + i), Some(some(dice)));
            }
        }
        2 if dice.chance(3) => changes.extend(paths.iter().map(|p| ((*p).clone(), None))),
        3 if dice.chance(3) => changes.extend(paths.iter().skip(1).map(|p| ((*p).clone(), None))),
        _ => {
            for _ in 0..=dice.below(60) {
                let known = !paths.is_empty() && !dice.chance(3);
                let path = if known {
                    paths[dice.below(paths.len() as u64) as usize].clone()
                } else if hostile {
                    hostile_key(dice)
                } else {
                    plain_key(dice.below(30_000))
                };
                let change = if dice.chance(3) { None } else { Some(some(dice)) };
                changes.insert(path, change);
            }
        }
    }
    changes
}

fn history(seed: u64, n: u64, steps: usize, hostile: bool) {
    let mut dice = Dice::new(seed);
    let mut model = model_of(&mut dice, n, hostile);
    let mut nodes = NewNodes::default();
    let mut tree = tree_of(&model, &mut nodes);
    assert_eq!(scan_all(&nodes, tree), model, "seed {seed}: built");
    for step in 0..steps {
        let changes = some_changes(&mut dice, &model, hostile);
        tree = apply_to(&mut nodes, tree, &changes);
        apply_to_model(&mut model, &changes);
        assert_eq!(tree, id_of(&model), "seed {seed}, step {step}: id depends on history");
        for (path, _) in changes.iter().take(5) {
            let found = get(&nodes, tree, path.as_bytes()).expect("all nodes are there");
            assert_eq!(found.as_ref(), model.get(path), "seed {seed}, step {step}: {path:?}");
        }
    }
    assert_eq!(scan_all(&nodes, tree), model, "seed {seed}: after all steps");
}

#[test]
fn ids_do_not_depend_on_history() {
    for seed in 0..12 {
        history(seed, 9_000, 14, false);
    }
}

#[test]
fn ids_do_not_depend_on_history_with_hostile_keys() {
    for seed in 100..120 {
        history(seed, 3_000, 12, true);
    }
}

/// Trees of few entries, where every leaf is also the root.
#[test]
fn ids_do_not_depend_on_history_in_small_trees() {
    for seed in 200..260 {
        history(seed, seed % 7, 8, seed % 2 == 0);
    }
}

/// Three levels: growth over the boundary between heights and back.
#[test]
fn a_tree_grows_and_shrinks_through_three_levels() {
    let n = 450_000u64;
    let e = entry(1);
    let key = |i: u64| path((i as u32).to_be_bytes());
    let build_range = |from: u64, to: u64, nodes: &mut NewNodes| {
        build((from..to).map(|i| Ok((key(i), e.clone()))), nodes).expect("no source")
    };
    let mut nodes = NewNodes::default();
    let big = build_range(0, n, &mut nodes);
    let root = nodes.node(&big.0.expect("not empty")).expect("built");
    assert_eq!((root.level(), root.objects()), (2, n), "the test needs three levels");
    assert_eq!(root.total_bytes(), n * e.size);

    let mut small_nodes = NewNodes::default();
    let small = build_range(0, 3_000, &mut small_nodes);
    let grow = (3_000..n).map(|i| (key(i), Some(e.clone())));
    assert_eq!(apply(&small_nodes, small, grow, &mut NewNodes::default()), Ok(big), "grown");

    for (from, to) in [(0, 3_000), (200_000, 200_900), (n - 5, n), (7, 8), (0, 0)] {
        let shrink = (0..n).filter(|i| !(from..to).contains(i)).map(|i| (key(i), None));
        let mut new = NewNodes::default();
        let result = apply(&nodes, big, shrink, &mut new).expect("all nodes are there");
        assert_eq!(result, build_range(from, to, &mut NewNodes::default()), "shrunk to {from}..{to}");
        assert_all_reachable(&nodes, &new, result);
    }

    // Scattered: what is written follows the change.
    let scattered = (0..20).map(|i| (key(i * 22_111), Some(entry(99 + i))));
    let mut new = NewNodes::default();
    let result = apply(&nodes, big, scattered, &mut new).expect("all nodes are there");
    assert!(new.len() <= 20 + 6, "{} new nodes for 20 updates", new.len());
    let back = (0..20).map(|i| (key(i * 22_111), Some(e.clone())));
    let overlay = millpond_tree::Overlay { new: &new, base: &nodes };
    assert_eq!(apply(&overlay, result, back, &mut NewNodes::default()), Ok(big), "and back");
}

/// What a sink gets is what the tree needs, no more: packs are kept for ever.
#[test]
fn every_new_node_is_reachable() {
    for seed in 0..6 {
        let mut dice = Dice::new(seed);
        let model = model_of(&mut dice, 9_000, false);
        let mut nodes = NewNodes::default();
        let tree = tree_of(&model, &mut nodes);
        let changes = some_changes(&mut dice, &model, false);
        let mut new = NewNodes::default();
        let result = apply(&nodes, tree, changes.into_iter(), &mut new).expect("all nodes are there");
        assert_all_reachable(&nodes, &new, result);
    }
}

fn assert_all_reachable(base: &NewNodes, new: &NewNodes, tree: TreeId) {
    let overlay = millpond_tree::Overlay { new, base };
    let mut reachable = std::collections::HashSet::new();
    let mut todo: Vec<_> = tree.0.into_iter().collect();
    while let Some(id) = todo.pop() {
        reachable.insert(id);
        todo.extend(overlay.node(&id).expect("reachable").children());
    }
    for node in new.nodes() {
        assert!(reachable.contains(&node.id()), "{node:?} belongs to nothing");
    }
}

#[test]
fn writing_the_same_object_again_changes_nothing() {
    let model: Model = (0..5_000).map(|i| (plain_key(i), entry(i))).collect();
    let mut nodes = NewNodes::default();
    let tree = tree_of(&model, &mut nodes);
    let again = (0..5_000).step_by(7).map(|i| (plain_key(i), Some(rewritten(i, 1)))).collect::<Changes>();
    let mut new = NewNodes::default();
    assert_eq!(apply(&nodes, tree, again.into_iter(), &mut new), Ok(tree));
    let absent = [(path("zzz"), None), (path("zzzz"), None)];
    assert_eq!(apply(&nodes, tree, absent.into_iter(), &mut new), Ok(tree));
    assert!(new.is_empty());
}

#[test]
#[should_panic(expected = "must ascend")]
fn entries_out_of_order_are_a_mistake_of_the_caller() {
    let entries = [(path("b"), entry(1)), (path("a"), entry(2))];
    let _ = build(entries.into_iter().map(Ok), &mut NewNodes::default());
}

#[test]
#[should_panic(expected = "must ascend")]
fn changes_out_of_order_are_a_mistake_of_the_caller() {
    let mut nodes = NewNodes::default();
    let tree = tree_of(&[(path("a"), entry(1))].into(), &mut nodes);
    let changes = [(path("c"), Some(entry(1))), (path("b"), Some(entry(2)))];
    let _ = apply(&nodes, tree, changes.into_iter(), &mut NewNodes::default());
}
