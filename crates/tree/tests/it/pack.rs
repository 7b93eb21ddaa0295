//! Packs give back what was put into them and refuse what was changed.

use crate::support::*;
use bytes::Bytes;
use millpond_tree::{NewNodes, TreeError, apply, pack};

fn sample() -> (NewNodes, pack::EncodedPack) {
    let mut nodes = NewNodes::default();
    let model: Model = (0..5_000).map(|i| (plain_key(i), entry(i))).collect();
    tree_of(&model, &mut nodes);
    let packed = pack::encode(nodes.nodes().chain(nodes.nodes()));
    (nodes, packed)
}

#[test]
fn nodes_come_back_from_a_pack() {
    let (nodes, packed) = sample();
    let index = pack::read_index(&packed.bytes).unwrap();
    assert_eq!(index, packed.index);
    assert_eq!(index.len(), nodes.len(), "each node once");
    for at in &index {
        let record = packed.bytes.slice(at.offset as usize..at.offset as usize + at.len as usize);
        let node = pack::decode_record(at.id, record).unwrap();
        assert_eq!(node.bytes(), nodes.get(&at.id).unwrap().bytes());
    }
}

#[test]
fn the_index_is_read_without_the_nodes() {
    let (nodes, packed) = sample();
    let mut read = 0;
    let index = pack::read_index_with(packed.bytes.len() as u64, |range| {
        read += range.end - range.start;
        Ok(packed.bytes.slice(range.start as usize..range.end as usize))
    });
    assert_eq!(index.unwrap(), packed.index);
    assert_eq!(read, (pack::HEADER_LEN + 2 * pack::TRAILER_LEN + 44 * nodes.len()) as u64);
}

/// What a history of changes stores as edits is what was there, and small.
#[test]
fn nodes_come_back_from_edits() {
    for seed in 0..15u64 {
        let mut dice = Dice::new(seed);
        let hostile = seed % 3 == 0;
        let mut model: Model = (0..6_000).map(|i| (plain_key(i * 2), entry(i))).collect();
        if hostile {
            model = (0..3_000).map(|_| (hostile_key(&mut dice), odd_entry(&mut dice))).collect();
        }
        let mut nodes = NewNodes::default();
        let tree = tree_of(&model, &mut nodes);
        let paths: Vec<_> = model.keys().cloned().collect();
        let mut changes = Changes::new();
        for _ in 0..[1, 20, 300][dice.below(3) as usize] {
            let known = paths[dice.below(paths.len() as u64) as usize].clone();
            match dice.below(3) {
                0 => changes.insert(known, None),
                1 => changes.insert(known, Some(odd_entry(&mut dice))),
                _ => changes.insert(plain_key(dice.below(12_000)), Some(odd_entry(&mut dice))),
            };
        }
        if dice.chance(4) {
            changes.extend(paths.iter().skip(500).take(1_500).map(|path| (path.clone(), None)));
        }
        let mut new = NewNodes::default();
        apply(&nodes, tree, changes.clone().into_iter(), &mut new).unwrap();
        let packed = pack::encode_with(new.nodes(), |node| base_of(&new, &nodes, node));
        let plain = pack::encode(new.nodes());
        assert!(packed.bytes.len() <= plain.bytes.len());
        if changes.len() == 1 && !hostile {
            assert!(packed.bytes.len() < 700, "{} bytes for one change", packed.bytes.len());
        }
        for at in &packed.index {
            let record = packed.bytes.slice(at.offset as usize..at.offset as usize + at.len as usize);
            let base = pack::record_base(at.id, &record).unwrap();
            if let Some(base) = base {
                assert_eq!(
                    pack::decode_record(at.id, record.clone()).unwrap_err(),
                    TreeError::NotResident(base)
                );
            }
            let node = pack::decode_record_with(at.id, record.clone(), &nodes).unwrap();
            assert_eq!(node.bytes(), new.get(&at.id).unwrap().bytes(), "seed {seed}");
            if let Some(base) = base {
                let base = nodes.get(&base).unwrap();
                let known = pack::decode_known_record(at.id, record.clone(), base).unwrap();
                assert_eq!((known.id(), known.bytes()), (at.id, node.bytes()), "seed {seed}");
                let other = new.get(&at.id).unwrap();
                assert!(pack::decode_known_record(at.id, record.clone(), other).is_err(), "another base");
            }
            // Damage is found, whatever it is.
            for _ in 0..30 {
                let mut record = record.to_vec();
                let len = record.len();
                match dice.below(4) {
                    0 => record.truncate(dice.below(len as u64) as usize),
                    1 => record.push(dice.next() as u8),
                    _ => record[dice.below(len as u64) as usize] ^= 1 << dice.below(8),
                }
                assert!(pack::decode_record_with(at.id, record.into(), &nodes).is_err(), "seed {seed}");
            }
        }
    }
}

/// A leaf that changes row after row gets a new base before its edits cost more than that; one whose same row
/// changes again and again, or that changes a lot at once, does not.
#[test]
fn edits_that_grow_give_way_to_a_new_base() {
    let model: Model = (0..500).map(|i| (plain_key(i), entry(i))).collect();
    // Bytes written and plain nodes among them, over 60 versions that change these rows each.
    let history = |rows: &dyn Fn(u64) -> Vec<u64>| {
        let mut nodes = NewNodes::default();
        let mut tree = tree_of(&model, &mut nodes);
        let (mut base, mut len) = (nodes.get(&tree.0.unwrap()).unwrap().clone(), 0);
        let plain_len = base.bytes().len();
        let (mut written, mut plain) = (0, 0);
        for version in 1..=60 {
            let changes: Changes =
                rows(version).iter().map(|i| (plain_key(*i), Some(entry(i + version * 1_000)))).collect();
            let mut new = NewNodes::default();
            tree = apply(&nodes, tree, changes.into_iter(), &mut new).unwrap();
            let packed = pack::encode_with(new.nodes(), |_| {
                Some(pack::Base { node: base.clone(), replaced_len: len })
            });
            assert_eq!(packed.index.len(), 1, "a tree of one leaf");
            written += packed.index[0].len as usize;
            len = packed.index[0].len;
            if len as usize > plain_len / 2 {
                (base, len) = (new.nodes().next().unwrap().clone(), 0);
                plain += 1;
            }
            new.nodes().for_each(|node| millpond_tree::NodeSink::put(&mut nodes, node.clone()));
        }
        (written / plain_len, plain)
    };
    assert_eq!(history(&|version| vec![version]), (3, 1), "each version another row");
    assert_eq!(history(&|_| vec![7]), (0, 0), "the same row each time");
    let (written, _) = history(&|version| (0..500).filter(|i| i % 10 == version % 10).collect());
    assert!(written < 30, "a tenth of the rows each time: {written} leaves for 60 versions");
}

#[test]
fn an_empty_pack_is_a_pack() {
    let packed = pack::encode([].into_iter());
    assert_eq!(pack::read_index(&packed.bytes), Ok(vec![]));
}

#[test]
fn changed_and_cut_packs_are_refused() {
    let (_, packed) = sample();
    let bytes = packed.bytes.to_vec();
    let index_at = bytes.len() - pack::TRAILER_LEN - packed.index.len() * 44;
    for at in (0..pack::HEADER_LEN).chain(index_at..bytes.len()) {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            assert!(matches!(pack::read_index(&bytes), Err(TreeError::Damaged(..))), "byte {at} ^ {flip}");
        }
    }
    for len in (0..200).chain([bytes.len() - 1, index_at]) {
        assert!(pack::read_index(&bytes[..len]).is_err(), "cut to {len}");
    }
    for at in &packed.index {
        let record = packed.bytes.slice(at.offset as usize..at.offset as usize + at.len as usize);
        for change in [0, record.len() / 2, record.len() - 1] {
            let mut record = record.to_vec();
            record[change] ^= 4;
            assert!(pack::decode_record(at.id, record.into()).is_err());
        }
    }
    assert!(pack::decode_record(packed.index[0].id, Bytes::new()).is_err());
}

#[test]
fn a_purged_pack_says_so() {
    let (_, packed) = sample();
    let mut bytes = packed.bytes.to_vec();
    bytes[5] = 1;
    assert!(pack::read_header(&bytes).unwrap().purged);
    let error = pack::read_index(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "node pack is damaged: its content was purged");
}
