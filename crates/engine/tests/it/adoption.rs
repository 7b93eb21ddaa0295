//! Adoption: what another server has, made again here (`docs/design/migrate.md`).

use crate::fsck::check;
use crate::imports::Place;
use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_kv::{Batch, Write};
use millpond_origin::{Origin, SourceKind};
use millpond_types::*;
use std::sync::Arc;

/// An id that a commit had elsewhere.
fn old(byte: u8) -> CommitId {
    CommitId([byte; 32])
}

async fn stored(engine: &Engine, bytes: &'static [u8]) -> StoredContent {
    let mut writer = engine.adopt_content(&repo(), false).await.unwrap();
    writer.write(Bytes::from_static(bytes)).await.unwrap();
    writer.finish().await.unwrap()
}

/// An object as another server would describe one with these bytes.
async fn described(engine: &Engine, bytes: &'static [u8]) -> AdoptedObject {
    let stored = stored(engine, bytes).await;
    AdoptedObject {
        size: bytes.len() as u64,
        checksum: stored.checksum(),
        stored: Some(stored),
        address: String::new(),
        gone: false,
        mtime: Timestamp(1_500_000_000_000),
        attributes: Attributes {
            content_type: "text/csv".into(),
            metadata: [("k".into(), "v".into())].into(),
        },
    }
}

fn unsent(object: &AdoptedObject) -> AdoptedObject {
    AdoptedObject { stored: None, ..object.clone() }
}

fn set(key: &[u8], object: &AdoptedObject) -> AdoptedChange {
    AdoptedChange { path: path(key), object: Some(object.clone()) }
}

fn gone(key: &[u8]) -> AdoptedChange {
    AdoptedChange { path: path(key), object: None }
}

async fn tree_of(engine: &Engine, base: TreeId, changes: Vec<AdoptedChange>) -> AdoptedTree {
    let request = AdoptedTreeRequest { base, changes, ..Default::default() };
    engine.adopt_tree(&me(), &repo(), request).await.unwrap()
}

fn record(message: &str, tree: TreeId, parents: &[CommitId]) -> CommitRecord {
    CommitRecord {
        id: None,
        committer: "grace".into(),
        message: message.into(),
        metadata: [("run".into(), "7".into())].into(),
        date: 1_500_000_001,
        tree,
        parents: parents.to_vec(),
    }
}

async fn adopt(engine: &Engine, alias: CommitId, record: CommitRecord) -> Result<CommitInfo> {
    engine.adopt_commit(&me(), &repo(), alias, record, false).await
}

async fn resolved(engine: &Engine, expr: &str) -> Option<CommitId> {
    match engine.get_commit(&repo(), &at(expr)).await {
        Ok(info) => Some(info.id),
        Err(error) => {
            assert_eq!(error.kind, Kind::NotFound(Thing::Ref), "{error}");
            None
        }
    }
}

#[tokio::test]
async fn a_history_is_taken_over_and_its_old_ids_stay_good() {
    let world = World::new(700);
    let engine = with_repo(&world).await;
    let (a, b) = (described(&engine, b"one").await, described(&engine, b"another").await);
    let first = tree_of(&engine, TreeId::EMPTY, vec![set(b"a", &a), set(b"b", &b)]).await;
    assert_eq!((first.linked, &*first.missing), (0, &[][..]));
    let root = adopt(&engine, old(0xa1), record("root", first.tree, &[])).await.unwrap();
    let second = tree_of(&engine, first.tree, vec![gone(b"a"), set(b"c", &a)]).await;
    let next = adopt(&engine, old(0xb2), record("next", second.tree, &[root.id])).await.unwrap();
    assert_eq!((next.commit.committer.as_str(), next.commit.creation_date), ("grace", 1_500_000_001));
    assert_eq!((next.commit.generation, &*next.commit.metadata["run"]), (2, "7"));
    assert!(list(&engine, "main", 10).await.is_empty(), "no branch has moved");
    engine.create_branch(&me(), &repo(), &branch("old"), &at(&next.id.to_hex()), false, false).await.unwrap();

    let known = |engine: Arc<Engine>| async move {
        for (text, id) in [
            (old(0xa1).to_hex(), Some(root.id)),
            ("a1a1".into(), Some(root.id)),
            ("b2".into(), Some(next.id)),
            (format!("{}~1", old(0xb2)), Some(root.id)),
            ("b2b3".into(), None),
            (old(0xc3).to_hex(), None),
        ] {
            assert_eq!(resolved(&engine, &text).await, id, "{text}");
        }
        assert_eq!(get(&engine, "a1a1", b"a").await.unwrap(), b"one");
        assert_eq!(get(&engine, "old", b"c").await.unwrap(), b"one");
        let info = engine.stat_object(&repo(), &at("b2b2"), &path(b"b")).await.unwrap();
        assert_eq!(info.entry.mtime, Timestamp(1_500_000_000_000));
        assert_eq!(info.entry.attributes.content_type, "text/csv");
        assert_eq!(info.entry.attributes.metadata["k"], "v");
    };
    known(engine.clone()).await;
    drop(engine);
    // From the journal.
    let engine = world.open().await;
    known(engine.clone()).await;
    engine.checkpoint().await.unwrap();
    known(engine.clone()).await;
    engine.close().await.unwrap();
    drop(engine);
    // From the table.
    let engine = world.open().await;
    known(engine.clone()).await;
    let report = engine.fsck(FsckRequest::default(), Watch::new()).await.unwrap();
    assert_eq!((report.defects, report.commits), (0, 3));

    // Once more, as after an answer that was lost.
    let again = adopt(&engine, old(0xa1), record("root", first.tree, &[])).await.unwrap();
    assert_eq!(again, root);
    let other = adopt(&engine, old(0xa1), record("not the root", first.tree, &[])).await.unwrap_err();
    assert_eq!(other.kind, Kind::AlreadyExists);
    // Two old ids of one commit, and an id that is the same on both servers.
    adopt(&engine, old(0xd4), record("root", first.tree, &[])).await.unwrap();
    assert_eq!(resolved(&engine, "d4").await, Some(root.id));
    adopt(&engine, root.id, record("root", first.tree, &[])).await.unwrap();
    let foreign = adopt(&engine, old(0xe5), record("x", first.tree, &[old(0xb2)])).await.unwrap_err();
    assert_eq!(foreign.kind, Kind::Invalid, "parents are named by their ids here");
}

#[tokio::test]
async fn aliases_come_after_branches_and_tags_and_are_never_mistaken() {
    let world = World::new(701);
    let engine = with_repo(&world).await;
    let main = engine.get_branch(&repo(), &branch("main")).unwrap().commit;
    let made = adopt(&engine, old(0xab), record("m", TreeId::EMPTY, &[])).await.unwrap();
    assert_eq!(resolved(&engine, "abab").await, Some(made.id));
    engine.create_tag(&me(), &repo(), &tag("abab"), &at("main"), false).await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("ababab"), &at("main"), false, false).await.unwrap();
    assert_eq!(resolved(&engine, "abab").await, Some(main));
    assert_eq!(resolved(&engine, "ababab").await, Some(main));
    assert_eq!(resolved(&engine, "abababab").await, Some(made.id));

    // An old id that begins as a commit of ours does: the beginning names neither, not in memory nor in the table.
    let mut alike = main;
    alike.0[31] ^= 1;
    let short = &main.to_hex()[..8];
    assert_eq!(resolved(&engine, short).await, Some(main));
    adopt(&engine, alike, record("other", TreeId::EMPTY, &[])).await.unwrap();
    for _ in 0..2 {
        assert_eq!(resolved(&engine, short).await, None);
        assert_eq!(resolved(&engine, &main.to_hex()).await, Some(main));
        assert_ne!(resolved(&engine, &alike.to_hex()).await, Some(main));
        engine.checkpoint().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_here_is_named_and_what_another_parent_has_is_taken_from_there() {
    let world = World::new(702);
    let engine = with_repo(&world).await;
    let (a, b) = (described(&engine, b"one").await, described(&engine, b"another").await);
    let side = tree_of(&engine, TreeId::EMPTY, vec![set(b"a", &a), set(b"b", &b)]).await;
    let side = adopt(&engine, old(1), record("side", side.tree, &[])).await.unwrap();
    let later = AdoptedObject { mtime: Timestamp(1_600_000_000_000), ..unsent(&b) };
    let request = AdoptedTreeRequest {
        changes: vec![set(b"a", &unsent(&a)), set(b"b", &later), set(b"c", &unsent(&a)), gone(b"d")],
        like: vec![side.id],
        ..Default::default()
    };
    let made = engine.adopt_tree(&me(), &repo(), request).await.unwrap();
    assert_eq!(made.missing, [path(b"b"), path(b"c")], "another time, another path");
    let made = tree_of(&engine, made.tree, vec![set(b"c", &b)]).await;
    let merge = adopt(&engine, old(2), record("merge", made.tree, &[side.id])).await.unwrap();
    assert_eq!(get(&engine, &merge.id.to_hex(), b"a").await.unwrap(), b"one");
    assert_eq!(get(&engine, &merge.id.to_hex(), b"c").await.unwrap(), b"another");

    let wrong = AdoptedObject { checksum: a.checksum.clone(), ..b.clone() };
    let short = AdoptedObject { size: 1, ..b.clone() };
    for object in [wrong, short] {
        let request = AdoptedTreeRequest { changes: vec![set(b"x", &object)], ..Default::default() };
        assert_eq!(engine.adopt_tree(&me(), &repo(), request).await.unwrap_err().kind, Kind::Invalid);
    }
    let base = TreeId(Some(NodeId([9; 32])));
    let request = AdoptedTreeRequest { base, ..Default::default() };
    assert_eq!(engine.adopt_tree(&me(), &repo(), request).await.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn only_the_same_bytes_are_linked_where_they_are() {
    let (mut world, place) = (World::new(703), Place::default());
    world.options.origin = Arc::new(place.clone());
    let engine = with_repo(&world).await;
    let a = described(&engine, b"one").await;
    for (name, bytes) in [("own/x/1", b"one"), ("else/2", b"one"), ("own/3", b"two"), ("own/5", b"one")] {
        place.put(&format!("mem://{name}"), bytes);
    }
    let there = |name: &str, checksum: &str| AdoptedObject {
        address: format!("mem://{name}"),
        checksum: checksum.to_owned(),
        ..unsent(&a)
    };
    let location = place.locate("mem://else/2", SourceKind::Object).unwrap();
    let mark = place.look(&location).unwrap().mark.to_text();
    let parts = format!("{}-2", "00".repeat(16));
    let request = AdoptedTreeRequest {
        changes: vec![
            set(b"1", &there("own/x/1", &a.checksum)),
            set(b"2 by its mark", &there("else/2", &mark)),
            set(b"2 with another mark", &there("else/2", &mark.chars().rev().collect::<String>())),
            set(b"3 has other bytes", &there("own/3", &a.checksum)),
            set(b"4 is not there", &there("own/4", &a.checksum)),
            set(b"5 in parts", &there("own/5", &parts)),
            set(b"6 in parts but not theirs", &there("else/2", &parts)),
            set(b"7 no place", &AdoptedObject { address: "s3://b/x".into(), ..unsent(&a) }),
        ],
        storage: "mem://own".into(),
        ..Default::default()
    };
    let made = engine.adopt_tree(&me(), &repo(), request).await.unwrap();
    assert_eq!(made.linked, 3);
    let missing: Vec<_> = made.missing.iter().map(|path| path.to_text()).collect();
    assert_eq!(
        missing,
        [
            "2 with another mark",
            "3 has other bytes",
            "4 is not there",
            "6 in parts but not theirs",
            "7 no place"
        ]
    );
    let commit = adopt(&engine, old(1), record("linked", made.tree, &[])).await.unwrap().id.to_hex();
    for (key, address, etag) in [
        ("1", "mem://own/x/1", a.checksum.as_str()),
        ("2 by its mark", "mem://else/2", mark.as_str()),
        ("5 in parts", "mem://own/5", parts.as_str()),
    ] {
        assert_eq!(get(&engine, &commit, key.as_bytes()).await.unwrap(), b"one", "{key}");
        let info = engine.stat_object(&repo(), &at(&commit), &path(key.as_bytes())).await.unwrap();
        assert_eq!((&*info.physical_address, &*info.entry.checksum.to_text()), (address, etag));
        assert_eq!(info.entry.mtime, a.mtime);
    }
    // One that the other server has lost is known as it was.
    let lost = AdoptedObject { gone: true, ..there("own/9", &a.checksum) };
    let lost = tree_of(&engine, TreeId::EMPTY, vec![set(b"lost", &lost)]).await;
    let lost = adopt(&engine, old(2), record("lost", lost.tree, &[])).await.unwrap().id.to_hex();
    let info = engine.stat_object(&repo(), &at(&lost), &path(b"lost")).await.unwrap();
    assert_eq!((info.entry.size, info.entry.checksum.to_text()), (3, a.checksum.clone()));
    let error = engine.open_object(&repo(), &at(&lost), &path(b"lost")).await.err().unwrap();
    assert!(error.kind == Kind::Gone && error.message.contains("mem://own/9"), "{error}");
    // One that changes is not served any more.
    place.put("mem://own/5", b"ONE");
    let error = engine.open_object(&repo(), &at(&commit), &path(b"5 in parts")).await.err().unwrap();
    assert_eq!(error.kind, Kind::Gone);
}

#[tokio::test]
async fn an_alias_of_nothing_is_a_defect() {
    let world = World::new(704);
    let engine = with_repo(&world).await;
    adopt(&engine, old(1), record("m", TreeId::EMPTY, &[])).await.unwrap();
    engine.close().await.unwrap();
    drop(engine);
    assert_eq!(check(&world, FsckRequest::default()).await.1, []);
    let uid = 1;
    let write = |value: Vec<u8>| vec![Write::Put(millpond_engine::keys::alias(uid, &old(2)), value.into())];
    let put = |writes| async { world.kv.commit(Batch { preconditions: vec![], writes }).await.unwrap() };
    put(write(vec![7; 32])).await;
    let (_, defects) = check(&world, FsckRequest::default()).await;
    assert_eq!(defects.len(), 1);
    assert_eq!(defects[0].reference.as_deref(), Some(&*format!("alias {}", old(2))));
    put(write(vec![7; 31])).await;
    let (_, defects) = check(&world, FsckRequest::default()).await;
    assert_eq!(defects.len(), 1, "{defects:?}");
    assert!(defects[0].what.contains("alias"), "{defects:?}");
}
