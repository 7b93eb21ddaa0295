//! Dump of refs and their restoring: everything comes along, or nothing is to be seen.

use crate::fsck::{check, rich};
use crate::support::*;
use millpond_engine::*;
use millpond_types::*;

fn copy() -> RepositoryName {
    RepositoryName::parse("copy").unwrap()
}

async fn bare_copy(engine: &Engine) {
    let new = NewRepository {
        name: copy(),
        storage_namespace: "local://lake".into(),
        default_branch: branch("main"),
        read_only: false,
    };
    engine.create_bare_repository(&me(), new).await.unwrap();
}

/// Refs with their commits and how they came to be where they are.
fn refs(engine: &Engine, name: &RepositoryName) -> Vec<(String, CommitId)> {
    let page = PageRequest { amount: 100, ..Default::default() };
    let branches = engine.list_branches(name, &page, true).unwrap().items;
    let tags = engine.list_tags(name, &page).unwrap().items;
    let branches = branches.into_iter().map(|b| (format!("branch {}", b.name), b.commit));
    branches.chain(tags.into_iter().map(|t| (format!("tag {}", t.name), t.commit))).collect()
}

async fn body(engine: &Engine, expr: &str, key: &[u8]) -> Vec<u8> {
    use futures::StreamExt;
    let open = engine.open_object(&copy(), &at(expr), &path(key)).await.unwrap();
    let mut stream = open.read(0..open.info.entry.size);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

/// Commits and refs keep their ids; objects of every kind are there after the source is gone, before and after a
/// restart; what was staged is not. The copy goes on like any other repository.
#[tokio::test]
async fn a_restored_repository_is_whole_and_its_own() {
    let world = World::new(1);
    let (engine, bodies) = rich(&world).await;
    engine.create_branch(&me(), &repo(), &branch("hidden"), &at("dev"), true, false).await.unwrap();
    let ids = engine.dump_refs(&repo()).await.unwrap();
    bare_copy(&engine).await;
    engine.restore_refs(&me(), &copy(), ids, false).await.unwrap();
    assert_eq!(refs(&engine, &copy()), refs(&engine, &repo()));
    let log = async |name: &RepositoryName| {
        let request = LogRequest { amount: 100, ..Default::default() };
        engine.log(name, &at("main"), &request).await.unwrap().items
    };
    assert_eq!(log(&copy()).await, log(&repo()).await);
    engine.delete_repository(&me(), &repo(), true).await.unwrap();
    let mut engine = engine;
    for restart in 0..3 {
        for (expr, key, bytes) in bodies.iter().filter(|(_, key, _)| *key != b"staged") {
            assert!(body(&engine, expr, key).await == *bytes, "{expr} {}", String::from_utf8_lossy(key));
        }
        let staged = engine.open_object(&copy(), &at("main"), &path(b"staged")).await;
        assert!(staged.is_err());
        let moves = engine.ref_log(&copy(), None, None, 100).await.unwrap().items;
        assert_eq!(moves.len(), refs(&engine, &copy()).len(), "each ref has one move");
        if restart == 1 {
            engine.close().await.unwrap();
        }
        engine = world.open().await;
    }
    let request = CommitRequest { message: "on".into(), allow_empty: true, ..Default::default() };
    let next = engine.commit(&me(), &copy(), &branch("dev"), request).await.unwrap();
    assert_eq!(engine.get_branch(&copy(), &branch("dev")).unwrap().commit, next.id);
    engine.close().await.unwrap();
    let (_, defects) = check(&world, FsckRequest::default()).await;
    assert!(defects.is_empty(), "{defects:?}");
}

/// A pack is missing: no ref is to be seen, and when it is back the same restore goes on.
#[tokio::test]
async fn a_restore_that_breaks_off_shows_nothing_and_can_be_repeated() {
    let world = World::new(2);
    let (engine, _) = rich(&world).await;
    let ids = engine.dump_refs(&repo()).await.unwrap();
    let packs = world.blobs.list("r1/pack/", "", 100).await.unwrap();
    let (last, size) = packs.last().unwrap();
    let bytes = world.blobs.open(last).await.unwrap().read(0..*size).await.unwrap();
    world.blobs.delete(last).await.unwrap();
    bare_copy(&engine).await;
    let error = engine.restore_refs(&me(), &copy(), ids, false).await.unwrap_err();
    assert_eq!(error.kind, Kind::Gone, "{error}");
    assert_eq!(refs(&engine, &copy()), []);
    world.blobs.put(last, bytes).await.unwrap();
    let restore = async || engine.restore_refs(&me(), &copy(), ids, false).await;
    let (first, second) = tokio::join!(restore(), restore());
    let kinds = [first, second].map(|outcome| outcome.map_err(|error| error.kind));
    assert!(kinds.contains(&Ok(())) && kinds.contains(&Err(Kind::Invalid)), "{kinds:?}");
    assert_eq!(refs(&engine, &copy()), refs(&engine, &repo()));
}

/// What somebody else put under the name of a dump is not restored.
#[tokio::test]
async fn a_damaged_dump_is_refused() {
    let world = World::new(3);
    let (engine, _) = rich(&world).await;
    let ids = engine.dump_refs(&repo()).await.unwrap();
    bare_copy(&engine).await;
    for (key, size) in world.blobs.list("dump/", "", 10).await.unwrap() {
        let good = world.blobs.open(&key).await.unwrap().read(0..size).await.unwrap();
        let mut bad = good.to_vec();
        *bad.last_mut().unwrap() ^= 1;
        world.blobs.put(&key, bad.into()).await.unwrap();
        let error = engine.restore_refs(&me(), &copy(), ids, false).await.unwrap_err();
        assert_eq!(error.kind, Kind::Damaged, "{error}");
        world.blobs.put(&key, good).await.unwrap();
    }
    engine.restore_refs(&me(), &copy(), ids, false).await.unwrap();
}

/// More refs than one row has numbers for each mutation, and each still has its place in the ref log.
#[tokio::test]
async fn many_refs_come_in_one_step() {
    let world = World::new(4);
    let engine = with_repo(&world).await;
    for n in 0..300 {
        let name = branch(&format!("b{n:03}"));
        engine.create_branch(&me(), &repo(), &name, &at("main"), false, false).await.unwrap();
    }
    let ids = engine.dump_refs(&repo()).await.unwrap();
    bare_copy(&engine).await;
    engine.restore_refs(&me(), &copy(), ids, false).await.unwrap();
    let names: std::collections::BTreeSet<u64> = engine
        .ref_log(&copy(), None, None, 1000)
        .await
        .unwrap()
        .items
        .iter()
        .map(|moved| moved.sequence)
        .collect();
    assert_eq!(names.len(), 301);
    engine.close().await.unwrap();
    let (_, defects) = check(&world, FsckRequest::default()).await;
    assert!(defects.is_empty(), "{defects:?}");
}
