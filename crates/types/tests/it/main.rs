//! Rules of names, ref expressions, encodings and ids.

#![allow(clippy::unwrap_used)]

mod fuzz;

use bytes::Bytes;
use millpond_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn names_at_the_edges_of_their_rules() {
    for good in ["abc", "a-b", "0ab", &"a".repeat(63)] {
        assert!(RepositoryName::parse(good).is_ok(), "{good}");
    }
    for bad in ["ab", "-ab", "aB c", "Abc", "a_b", &"a".repeat(64), ""] {
        assert!(RepositoryName::parse(bad).is_err(), "{bad}");
    }
    for good in ["a", "_", "main-2", "20261122", "abcdef"] {
        assert!(BranchName::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "a.b", "a/b", "é", &"a".repeat(64), &"0".repeat(64)] {
        assert!(BranchName::parse(bad).is_err(), "{bad}");
    }
    for good in ["v1.0", "20261122", "a~b", "@x", "é", "a$"] {
        assert!(TagName::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "@", "a.", "a.lock", "a..b", "a/b", "a@{b", "a b", "a:b", "a\u{7f}", &"f".repeat(64)] {
        assert!(TagName::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn ref_expressions() {
    let modifiers = |text: &str| RefExpr::parse(text).map(|e| e.modifiers);
    assert_eq!(modifiers("main").unwrap(), vec![]);
    assert_eq!(
        modifiers("main~2^2~").unwrap(),
        vec![Modifier::Ancestor(2), Modifier::Parent(2), Modifier::Ancestor(1)]
    );
    assert_eq!(modifiers("main@").unwrap(), vec![Modifier::Head]);
    assert_eq!(modifiers("main$").unwrap(), vec![Modifier::Staging]);
    let at = |millis| vec![Modifier::At(Timestamp(millis))];
    assert_eq!(modifiers("main@{2026-11-22T20:00:00Z}").unwrap(), at(1_795_377_600_000));
    assert_eq!(modifiers("main@{2026-11-22T20:00Z}").unwrap(), at(1_795_377_600_000));
    assert_eq!(modifiers("main@{2026-11-22}").unwrap(), at(1_795_305_600_000));
    assert_eq!(modifiers("main@{1795377600}").unwrap(), at(1_795_377_600_000));
    assert_eq!(modifiers("main@{1970-01-01T00:00:00.250Z}").unwrap(), at(250));
    for bad in [
        "",
        "~",
        "main@2",
        "main$1",
        "main@~1",
        "main~1$",
        "ma in",
        "main@{",
        "main@{soon}",
        "main~1@{5}",
        "main@{2026-02-30}",
        "main~99999999999999999999",
    ] {
        assert!(RefExpr::parse(bad).is_err(), "{bad:?} must be refused");
    }
}

fn entry() -> Entry {
    Entry {
        content: Content::Whole(ContentHash::of(b"x")),
        size: 300,
        mtime: Timestamp(-5),
        checksum: Checksum::Md5Parts([7; 16], 12),
        address: Address::Explicit(Bytes::from_static(b"\0abc")),
        attributes: Arc::new(Attributes {
            content_type: "text/plain".into(),
            metadata: BTreeMap::from([
                ("k".into(), "v".into()),
                (format!("{}expires", entry::HEADER_PREFIX), "0".into()),
            ]),
        }),
        extra: BTreeMap::from([("crc32".into(), Bytes::from_static(b"AAAA"))]),
    }
}

#[test]
fn entries_survive_encoding_and_every_cut_is_noticed() {
    for change in [
        |_: &mut Entry| {},
        |e: &mut Entry| e.content = Content::Declared,
        |e: &mut Entry| e.content = Content::Parts(ContentHash([1; 32])),
        |e: &mut Entry| e.checksum = Checksum::Declared("W/x".into()),
        |e: &mut Entry| e.address = Address::Rule(9),
        |e: &mut Entry| e.address = Address::Cas,
    ] {
        let mut wanted = entry();
        change(&mut wanted);
        let mut writer = Writer::new();
        wanted.encode(&mut writer);
        let bytes = Bytes::from(writer.finish());
        let mut reader = Reader::new(bytes.clone());
        assert_eq!(Entry::decode(&mut reader).unwrap(), wanted);
        reader.end().unwrap();
        for cut in 0..bytes.len() {
            assert!(Entry::decode(&mut Reader::new(bytes.slice(..cut))).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn same_object_looks_at_content_not_at_place_or_time() {
    let a = entry();
    let mut b = entry();
    b.mtime = Timestamp(99);
    b.address = Address::Cas;
    b.extra.clear();
    assert!(a.same_object(&b));
    b.attributes = Arc::new(Attributes::default());
    assert!(!a.same_object(&b), "content type and metadata count");
    let declared = |checksum: &str, address: &'static [u8]| Entry {
        content: Content::Declared,
        checksum: Checksum::Declared(checksum.into()),
        address: Address::Explicit(Bytes::from_static(address)),
        ..entry()
    };
    assert!(declared("a", b"1").same_object(&declared("a", b"2")));
    assert!(declared("a", b"1").same_object(&declared("b", b"1")));
    assert!(!declared("a", b"1").same_object(&declared("b", b"2")));
    assert!(!declared("a", b"1").same_object(&a), "declared content is never taken for verified content");
}

#[test]
fn commits_survive_encoding() {
    let commit = Commit {
        committer: "ada".into(),
        message: "first\nsecond".into(),
        tree: TreeId(Some(NodeId([3; 32]))),
        creation_date: 1_700_000_000,
        metadata: Metadata::from([("a".into(), "b".into())]),
        parents: vec![CommitId([1; 32]), CommitId([2; 32])],
        generation: 7,
    };
    let mut writer = Writer::new();
    commit.encode(&mut writer);
    assert_eq!(Commit::from_bytes(writer.finish().into()).unwrap(), commit);
    let mut other = commit.clone();
    other.generation = 8;
    assert_eq!(other.id(), commit.id(), "generation is derived, so it is not part of the id (API-12.10)");
    other.metadata.insert("c".into(), String::new());
    assert_ne!(other.id(), commit.id());
}

/// The typed encoding of API-19.5 and 19.7, spelled out byte by byte: a second way to the same id.
#[test]
fn commit_id_is_the_documented_encoding() {
    use sha2::{Digest, Sha256};
    let commit = Commit {
        committer: "u".into(),
        message: "m".into(),
        tree: TreeId::EMPTY,
        creation_date: 1,
        metadata: Metadata::from([("k".into(), "v".into())]),
        parents: vec![CommitId([0xab; 32])],
        generation: 2,
    };
    let int = |n: i64| [vec![2, 8], n.to_be_bytes().to_vec()].concat();
    let text = |t: &str| [vec![1], int(t.len() as i64), t.as_bytes().to_vec()].concat();
    let parents = Sha256::digest([vec![3], int(1), text(&"ab".repeat(32))].concat());
    let bytes = [
        text("commit:v1"),
        text("u"),
        text("m"),
        text(""),
        int(1),
        vec![4],
        int(1),
        text("k"),
        text("v"),
        vec![0],
        int(32),
        parents.to_vec(),
    ]
    .concat();
    assert_eq!(commit.id().0, <[u8; 32]>::from(Sha256::digest(bytes)));
}

#[test]
fn integers_have_one_encoding() {
    for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
        let mut writer = Writer::new();
        writer.uint(value);
        assert_eq!(Reader::new(writer.finish().into()).uint().unwrap(), value);
    }
    assert!(Reader::new(Bytes::from_static(&[0x80, 0])).uint().is_err(), "over-long zero");
    assert!(Reader::new(Bytes::from_static(&[0x80])).uint().is_err(), "cut off");
    assert!(Reader::new(Bytes::from_static(&[0xff; 10])).uint().is_err(), "beyond 64 bits");
    for value in [0, -1, i64::MIN, i64::MAX] {
        let mut writer = Writer::new();
        writer.int(value);
        assert_eq!(Reader::new(writer.finish().into()).int().unwrap(), value);
    }
}
