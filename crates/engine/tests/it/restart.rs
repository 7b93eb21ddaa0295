//! What is acknowledged is there after a restart without a clean stop, checkpoint or not.

use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_kv::Write;
use millpond_types::*;

#[tokio::test]
async fn everything_survives_a_restart_with_and_without_a_checkpoint() {
    for checkpoint in [false, true] {
        let world = World::new(1);
        let engine = with_repo(&world).await;
        put(&engine, "main", b"a", b"1").await;
        let first = commit(&engine, "main", "one").await.unwrap().id;
        engine.create_tag(&me(), &repo(), &tag("v1"), &at("main"), false).await.unwrap();
        engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
        engine.create_branch(&me(), &repo(), &branch("gone"), &at("main"), false, false).await.unwrap();
        put(&engine, "dev", b"b", b"2").await;
        let set = Metadata::from([("k".into(), "v".into())]);
        engine.change_repository_metadata(&me(), &repo(), set.clone(), &[]).await.unwrap();
        if checkpoint {
            engine.checkpoint().await.unwrap();
        }
        delete(&engine, "dev", b"a").await;
        engine.delete_branch(&me(), &repo(), &branch("gone"), false).await.unwrap();

        let engine = world.open().await;
        assert_eq!(uncommitted(&engine, "dev").await, ["- a", "+ b"]);
        assert_eq!(engine.get_tag(&repo(), &tag("v1")).unwrap().commit, first);
        assert_eq!(engine.get_commit(&repo(), &at("main")).await.unwrap().id, first);
        assert!(engine.get_branch(&repo(), &branch("gone")).is_err());
        assert_eq!(engine.get_repository(&repo()).unwrap().metadata, set);
        let causes: Vec<_> = engine
            .ref_log(&repo(), None, None, 100)
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|m| m.cause)
            .collect();
        assert_eq!(causes, ["delete", "create", "create", "create", "commit", "create"]);
        engine.close().await.unwrap();

        let engine = world.open().await;
        assert_eq!(uncommitted(&engine, "dev").await, ["- a", "+ b"]);
        let second = commit(&engine, "dev", "two").await.unwrap();
        assert_eq!(second.commit.parents, [first]);
    }
}

#[tokio::test]
async fn a_deleted_repository_leaves_nothing_behind_for_its_name() {
    let world = World::new(2);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    commit(&engine, "main", "one").await.unwrap();
    engine.create_tag(&me(), &repo(), &tag("v1"), &at("main"), false).await.unwrap();
    engine.checkpoint().await.unwrap();
    engine.delete_repository(&me(), &repo(), false).await.unwrap();
    assert_eq!(engine.get_repository(&repo()).unwrap_err().kind, Kind::NotFound(Thing::Repository));
    let engine = world.open().await;
    assert_eq!(engine.get_repository(&repo()).unwrap_err().kind, Kind::NotFound(Thing::Repository));
    engine.checkpoint().await.unwrap();
    let engine = with_repo(&world).await;
    assert!(engine.get_tag(&repo(), &tag("v1")).is_err());
    assert!(list(&engine, "main", 10).await.is_empty());
    let engine = world.open().await;
    assert!(list(&engine, "main", 10).await.is_empty());
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_answer_also_after_a_restart() {
    let world = World::new(3);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let actor = Actor { idempotency_key: Some("key-1".into()), ..me() };
    let request = || CommitRequest { message: "once".into(), ..Default::default() };
    let first = engine.commit(&actor, &repo(), &branch("main"), request()).await.unwrap();
    put(&engine, "main", b"a", b"2").await;
    assert_eq!(engine.commit(&actor, &repo(), &branch("main"), request()).await.unwrap(), first);
    for checkpoint in [false, true] {
        let engine = world.open().await;
        assert_eq!(engine.commit(&actor, &repo(), &branch("main"), request()).await.unwrap(), first);
        assert_eq!(uncommitted(&engine, "main").await, ["~ a"]);
        let other = CommitRequest { message: "other".into(), ..Default::default() };
        let refused = engine.commit(&actor, &repo(), &branch("main"), other).await;
        assert_eq!(refused.unwrap_err().kind, Kind::IdempotencyMismatch);
        if !checkpoint {
            engine.checkpoint().await.unwrap();
        }
    }
    world.clock.advance(25 * 3600 * 1000);
    let engine = world.open().await;
    let again = engine.commit(&actor, &repo(), &branch("main"), request()).await.unwrap();
    assert_ne!(again.id, first.id, "after 24 h the key is free");
}

#[tokio::test]
async fn a_repeated_put_with_its_key_stages_nothing_new() {
    let world = World::new(7);
    let engine = with_repo(&world).await;
    let actor = Actor { idempotency_key: Some("put-1".into()), ..me() };
    let write = async |engine: &Engine, body: &'static [u8]| {
        let mut writer =
            engine.put_object(&actor, &repo(), &branch("main"), &path(b"k"), put_request("")).await.unwrap();
        writer.write(Bytes::from_static(body)).await.unwrap();
        writer.finish(Default::default()).await
    };
    let first = write(&engine, b"1").await.unwrap();
    delete(&engine, "main", b"k").await;
    let engine = world.open().await;
    assert_eq!(write(&engine, b"1").await.unwrap().entry, first.entry);
    assert_eq!(get(&engine, "main", b"k").await, None, "the second PUT must not bring the object back");
    assert_eq!(write(&engine, b"2").await.unwrap_err().kind, Kind::IdempotencyMismatch);
}

#[tokio::test]
async fn a_refused_request_leaves_its_idempotency_key_free() {
    let world = World::new(4);
    let engine = with_repo(&world).await;
    let actor = Actor { idempotency_key: Some("key-1".into()), ..me() };
    let request = || CommitRequest { message: "once".into(), ..Default::default() };
    let refused = engine.commit(&actor, &repo(), &branch("main"), request()).await;
    assert_eq!(refused.unwrap_err().kind, Kind::NoChanges);
    put(&engine, "main", b"a", b"1").await;
    engine.commit(&actor, &repo(), &branch("main"), request()).await.unwrap();
}

#[tokio::test]
async fn a_second_server_on_the_same_store_fences_the_first() {
    let world = World::new(5);
    let old = with_repo(&world).await;
    put(&old, "main", b"a", b"1").await;
    let new = world.open().await;
    put(&new, "main", b"b", b"1").await;
    let refused = put_with(&old, "main", b"c", b"1", put_request("")).await;
    assert_eq!(refused.unwrap_err().kind, Kind::Internal, "the first must not write any more");
    let third = world.open().await;
    let names: Vec<_> = list(&third, "main", 10).await.into_iter().map(|(k, _)| k).collect();
    assert_eq!(names, [b"a".to_vec(), b"b".to_vec()]);
}

#[tokio::test]
async fn a_changed_journal_row_is_noticed() {
    let world = World::new(6);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    put(&engine, "main", b"b", b"1").await;
    drop(engine);
    let key = keys::journal(2);
    let row = world.kv.get(&key).await.unwrap().unwrap();
    let mut changed = row.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let batch =
        millpond_kv::Batch { preconditions: vec![], writes: vec![Write::Put(key, Bytes::from(changed))] };
    world.kv.commit(batch).await.unwrap();
    let opened = Engine::open(
        world.kv.clone(),
        world.blobs.clone(),
        world.clock.clone(),
        world.random.clone(),
        world.options.clone(),
    )
    .await;
    let error = opened.err().expect("a changed row must be refused");
    assert_eq!(error.kind, Kind::Damaged);
}

/// What the repository's packs take, in bytes.
async fn pack_bytes(world: &World) -> u64 {
    world.blobs.list("r1/pack/", "", 100_000).await.unwrap().iter().map(|(_, size)| size).sum()
}

#[tokio::test]
async fn a_small_commit_on_a_large_tree_stores_its_change_and_not_its_leaves() {
    let world = World::new(8);
    let engine = with_repo(&world).await;
    for n in 0..3000 {
        put(&engine, "main", format!("data/part-{n:05}").as_bytes(), b"x").await;
    }
    commit(&engine, "main", "all").await.unwrap();
    let before = pack_bytes(&world).await;
    let mut engine = engine;
    for n in 0..40 {
        put(&engine, "main", format!("data/part-{:05}", n * 70).as_bytes(), b"changed").await;
        if n % 3 == 0 {
            put(&engine, "main", format!("data/part-{:05}-new", n * 70).as_bytes(), b"new").await;
        }
        commit(&engine, "main", &format!("change {n}")).await.unwrap();
        if n == 20 {
            engine.checkpoint().await.unwrap();
        }
        // A restart finds the nodes in packs and the index, edits included.
        engine = world.open().await;
    }
    let each = (pack_bytes(&world).await - before) / 40;
    assert!(each < 4_000, "{each} bytes for a commit of one or two changes");
    let names: Vec<_> = list(&engine, "main", 1000).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(names.len(), 3000 + 14);
    for n in 0..40 {
        let key = format!("data/part-{:05}", n * 70);
        assert_eq!(get(&engine, "main", key.as_bytes()).await.unwrap(), b"changed");
        assert_eq!(get(&engine, "main~40", key.as_bytes()).await.unwrap(), b"x");
    }
}

/// Names of the saved pack indexes.
async fn saved_indexes(world: &World) -> Vec<millpond_blob::BlobKey> {
    let listed = world.blobs.list("r1/midx/", "", 1000).await.unwrap();
    listed.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn a_long_history_has_few_pack_indexes_and_any_of_them_may_be_lost_or_damaged() {
    let world = World::new(11);
    let engine = with_repo(&world).await;
    let mut ids = Vec::new();
    let mut most = 0;
    for n in 0..70u8 {
        put(&engine, "main", &[b'k', n], &[n]).await;
        ids.push(commit(&engine, "main", "one more").await.unwrap().id);
        engine.checkpoint().await.unwrap();
        most = most.max(saved_indexes(&world).await.len());
    }
    assert!((2..=7).contains(&most), "{most} indexes of 70 checkpoints");
    drop(engine);
    let mut indexes = Vec::new();
    for key in saved_indexes(&world).await {
        let reader = world.blobs.open(&key).await.unwrap();
        indexes.push((key, reader.read(0..reader.size()).await.unwrap()));
    }
    assert!(indexes.len() > 1, "{indexes:?}");
    for ((key, good), is_lost) in indexes.iter().flat_map(|index| [(index, true), (index, false)]) {
        if is_lost {
            world.blobs.delete(key).await.unwrap();
        } else {
            world.blobs.put(key, good.slice(..good.len() - 1)).await.unwrap();
        }
        let engine = world.open().await;
        for (n, id) in (0..).zip(&ids) {
            let read = get(&engine, &id.to_string(), &[b'k', n]).await;
            assert_eq!(read, Some(vec![n]), "{key:?} is lost: {is_lost}");
        }
        put(&engine, "main", b"after", key.as_str().as_bytes()).await;
        put(&engine, "main", b"lost", &[u8::from(is_lost)]).await;
        commit(&engine, "main", "after a loss").await.unwrap();
        engine.checkpoint().await.unwrap();
        assert_eq!(crate::fsck::check(&world, FsckRequest::default()).await.1, []);
        drop(engine);
        for key in saved_indexes(&world).await {
            world.blobs.delete(&key).await.unwrap();
        }
        for (key, good) in &indexes {
            world.blobs.put(key, good.clone()).await.unwrap();
        }
    }
}
