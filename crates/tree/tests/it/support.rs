//! The model, entries and keys that tests are made of.

use bytes::Bytes;
use millpond_tree::{NewNodes, Node, apply, build, pack};
use millpond_types::{
    Address, Attributes, Checksum, Content, ContentHash, Entry, ObjectPath, Timestamp, TreeId,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a tree should hold.
pub type Model = BTreeMap<ObjectPath, Entry>;
/// What is done to it.
pub type Changes = BTreeMap<ObjectPath, Option<Entry>>;

/// A small fast generator: tests must not depend on the machine's chance.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

pub fn path(bytes: impl AsRef<[u8]>) -> ObjectPath {
    ObjectPath::new(Bytes::copy_from_slice(bytes.as_ref())).expect("a test path")
}

/// A plain entry that holds object number `object`.
pub fn entry(object: u64) -> Entry {
    let hash = ContentHash::of(&object.to_le_bytes());
    Entry {
        content: Content::Whole(hash),
        size: object % 5_000_000,
        mtime: Timestamp(1_700_000_000_000 + (object % 1_000_000) as i64),
        checksum: Checksum::Md5(hash.0[..16].try_into().expect("16 bytes")),
        address: Address::Cas,
        attributes: Arc::new(Attributes::default()),
        extra: BTreeMap::new(),
    }
}

/// The same object as [`entry`], written at another time to another place.
pub fn rewritten(object: u64, times: u64) -> Entry {
    let mut entry = entry(object);
    entry.mtime = Timestamp(1_800_000_000_000 + times as i64);
    entry.address = Address::Explicit(format!("data/{object}/{times}").into_bytes().into());
    entry
}

/// An entry of any shape that the format has.
pub fn odd_entry(dice: &mut Dice) -> Entry {
    let mut entry = entry(dice.below(40));
    match dice.below(4) {
        0 => entry.content = Content::Declared,
        1 => entry.content = Content::Parts(entry.hash()),
        _ => {}
    }
    match dice.below(4) {
        0 => entry.checksum = Checksum::Declared(format!("etag {}", dice.below(3))),
        1 => entry.checksum = Checksum::Md5Parts([7; 16], dice.below(10_000) as u32),
        _ => {}
    }
    match dice.below(5) {
        0 => entry.address = Address::Rule(dice.below(3) as u32),
        1 => entry.address = Address::Explicit(format!("blob/{}", dice.below(5)).into_bytes().into()),
        _ => {}
    }
    if dice.chance(3) {
        let mut attributes = Attributes { content_type: "image/jpeg".into(), ..Attributes::default() };
        if dice.chance(3) {
            attributes.metadata.insert("owner".into(), format!("team {} ü", dice.below(400)));
        }
        entry.attributes = Arc::new(attributes);
    }
    if dice.chance(5) {
        entry.extra.insert("crc64nvme".into(), Bytes::from_static(b"AAAAAAAAAAA="));
        entry.extra.insert("parts".into(), vec![dice.below(256) as u8; dice.below(300) as usize].into());
    }
    if dice.chance(10) {
        entry.size = [0, 1, u64::MAX, u64::MAX - 1][dice.below(4) as usize];
        entry.mtime = Timestamp([i64::MIN, i64::MAX, -1, 0][dice.below(4) as usize]);
    }
    entry
}

/// Keys that people and attackers use: empty segments, unicode, control characters, 0xff, 1,024 bytes.
pub fn hostile_key(dice: &mut Dice) -> ObjectPath {
    let mut key: Vec<u8> = Vec::new();
    let parts: [&[u8]; 12] = [
        b"/",
        b"//",
        b"a",
        b"b/",
        "ü".as_bytes(),
        "雪".as_bytes(),
        b"\0",
        b"\n",
        b"\xff",
        b"\xff\xff",
        b"..",
        b".JPEG",
    ];
    for _ in 0..=dice.below(6) {
        key.extend_from_slice(parts[dice.below(12) as usize]);
    }
    if dice.chance(20) {
        let fill = parts[dice.below(12) as usize][0];
        let len = 1_023 + dice.below(2) as usize;
        key.resize(len, fill);
    }
    path(key)
}

pub fn plain_key(i: u64) -> ObjectPath {
    path(format!("datasets/imagenet/train/n{:08}/n{:08}_{}.JPEG", i / 700 * 37, i / 700 * 37, i))
}

/// Builds the model's tree.
pub fn tree_of(model: &Model, nodes: &mut NewNodes) -> TreeId {
    build(model.iter().map(|(path, entry)| Ok((path.clone(), entry.clone()))), nodes).expect("no source")
}

/// Builds the model's tree and forgets the nodes.
pub fn id_of(model: &Model) -> TreeId {
    tree_of(model, &mut NewNodes::default())
}

/// Applies to the tree in `nodes`, which gets the new nodes too.
pub fn apply_to(nodes: &mut NewNodes, tree: TreeId, changes: &Changes) -> TreeId {
    let mut new = NewNodes::default();
    let result = apply(nodes, tree, changes.clone().into_iter(), &mut new).expect("all nodes are there");
    for node in new.nodes() {
        millpond_tree::NodeSink::put(nodes, node.clone());
    }
    result
}

/// The same on the model.
pub fn apply_to_model(model: &mut Model, changes: &Changes) {
    for (path, change) in changes {
        match change {
            None => {
                model.remove(path);
            }
            Some(new) => match model.get(path) {
                Some(old) if old.same_object(new) => {}
                _ => {
                    model.insert(path.clone(), new.clone());
                }
            },
        }
    }
}

/// The stored node that a new one replaced, to store it as edits of.
pub fn base_of(new: &NewNodes, stored: &NewNodes, node: &Node) -> Option<pack::Base> {
    let node = stored.get(&new.replaced_by(&node.id())?)?.clone();
    Some(pack::Base { node, replaced_len: 0 })
}
