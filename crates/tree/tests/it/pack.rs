//! Packs give back what was put into them and refuse what was changed.

use crate::support::*;
use bytes::Bytes;
use millpond_tree::{NewNodes, TreeError, pack};

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
