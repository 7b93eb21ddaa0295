//! Golden files: what version 1 wrote stays readable and keeps its id for ever. `docs/formats/tree-node.md` and
//! `docs/formats/pack.md` describe these bytes. To make them anew (only before the first release), run the tests
//! with `MILLPOND_GOLDEN_WRITE=1`.
#![allow(clippy::disallowed_methods)] // a test that compares with files

use crate::support::*;
use bytes::Bytes;
use millpond_tree::{NewNodes, Node, NodeSource, apply, get, pack};
use millpond_types::{Address, Attributes, Checksum, Content, ContentHash, Entry, Timestamp};
use std::sync::Arc;

fn compare(name: &str, bytes: &[u8]) {
    let file = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("MILLPOND_GOLDEN_WRITE").is_some() {
        std::fs::write(&file, bytes).expect("golden file written");
    }
    let golden = std::fs::read(&file).expect("golden file");
    assert!(golden == bytes, "{name}: the encoder no longer writes what version 1 wrote");
}

/// One entry of each kind.
fn every_kind() -> Model {
    let jpeg = Arc::new(Attributes { content_type: "image/jpeg".into(), ..Attributes::default() });
    let mut owned = Attributes { content_type: "text/csv".into(), ..Attributes::default() };
    owned.metadata.insert("owner".into(), "vision".into());
    let plain = Entry {
        content: Content::Whole(ContentHash([0x11; 32])),
        size: 1_000,
        mtime: Timestamp(1_700_000_000_000),
        checksum: Checksum::Md5([0x22; 16]),
        address: Address::Cas,
        attributes: jpeg,
        extra: Default::default(),
    };
    let mut parts = plain.clone();
    parts.content = Content::Parts(ContentHash([0x33; 32]));
    parts.size = 70_000_000;
    parts.checksum = Checksum::Md5Parts([0x44; 16], 9);
    parts.address = Address::Explicit(Bytes::from_static(b"data/0001"));
    parts.extra.insert("crc64nvme".into(), Bytes::from_static(b"AAAAAAAAAAA="));
    let mut declared = plain.clone();
    declared.content = Content::Declared;
    declared.mtime = Timestamp(1_600_000_000_000);
    declared.checksum = Checksum::Declared("0xABC".into());
    declared.address = Address::Rule(3);
    declared.attributes = Arc::new(owned);
    [
        (path("train/b/1.jpeg"), plain.clone()),
        (path("train/b/2.jpeg"), plain),
        (path("train/big.jpeg"), parts),
        (path("train/declared.jpeg"), declared),
    ]
    .into()
}

#[test]
fn a_leaf_of_every_kind_is_version_1() {
    let model = every_kind();
    let mut nodes = NewNodes::default();
    let tree = tree_of(&model, &mut nodes);
    let leaf = nodes.node(&tree.0.unwrap()).unwrap();
    compare("leaf-v1.bin", leaf.bytes());
    for (path, entry) in model {
        assert_eq!(get(&nodes, tree, path.as_bytes()), Ok(Some(entry)));
    }
}

#[test]
fn an_inner_node_and_its_tree_are_version_1() {
    let model: Model = (0..9_000).map(|i| (plain_key(i), entry(i))).collect();
    let mut nodes = NewNodes::default();
    let tree = tree_of(&model, &mut nodes);
    let root = nodes.node(&tree.0.unwrap()).unwrap();
    assert_eq!(root.level(), 1);
    compare("inner-v1.bin", root.bytes());
    assert_eq!(Node::decode(root.id(), root.bytes().clone()).unwrap().objects(), 9_000);
    assert_eq!(
        tree.to_hex(),
        "aecd110f6b09c8058e7a699fd9f7109d201086eefea4080b1be6c4003f75cf7a",
        "the id of a tree of 9,000 entries"
    );
}

#[test]
fn a_pack_is_version_1() {
    let mut nodes = NewNodes::default();
    tree_of(&every_kind(), &mut nodes);
    let one: Model = [(path("a"), entry(1))].into();
    tree_of(&one, &mut nodes);
    let packed = pack::encode(nodes.nodes());
    compare("pack-v1.bin", &packed.bytes);
    assert_eq!(pack::read_index(&packed.bytes).unwrap(), packed.index);
}

#[test]
fn edits_in_a_pack_are_version_1() {
    let mut nodes = NewNodes::default();
    let tree = tree_of(&(0..200).map(|i| (plain_key(i), entry(i))).collect(), &mut nodes);
    let changes = [
        (plain_key(7), Some(entry(1_000))),
        (plain_key(8), None),
        (path("datasets/new"), Some(entry(1_001))),
        (path("datasets/newer"), Some(entry(1_002))),
    ];
    let mut new = NewNodes::default();
    apply(&nodes, tree, std::collections::BTreeMap::from(changes).into_iter(), &mut new).unwrap();
    let packed = pack::encode_with(new.nodes(), |node| base_of(&new, &nodes, node));
    compare("pack-edits-v1.bin", &packed.bytes);
    let at = pack::read_index(&packed.bytes).unwrap()[0];
    let record = packed.bytes.slice(at.offset as usize..at.offset as usize + at.len as usize);
    let node = pack::decode_record_with(at.id, record, &nodes).unwrap();
    assert_eq!(node.bytes(), new.get(&at.id).unwrap().bytes());
}
