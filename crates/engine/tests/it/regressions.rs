//! One test for each defect that was found by reading, where no other file is about its subject.

use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_types::*;

#[tokio::test]
async fn a_conditional_put_repeated_with_its_key_gets_its_first_answer() {
    let world = World::new(1);
    let engine = with_repo(&world).await;
    let actor = Actor { idempotency_key: Some("put-1".into()), ..me() };
    let write = async || {
        let condition = WriteCondition { if_match: None, if_none_match: Some(EtagMatch::Any) };
        let request = PutRequest { condition, ..put_request("") };
        let mut writer = engine.put_object(&actor, &repo(), &branch("main"), &path(b"k"), request).await?;
        writer.write(Bytes::from_static(b"1")).await?;
        writer.finish(Default::default()).await
    };
    let first = write().await.unwrap();
    assert_eq!(write().await.unwrap().entry, first.entry, "the reply to the first may have been lost");
}

#[tokio::test]
async fn a_hard_reset_repeated_with_its_key_resets_once() {
    let world = World::new(2);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let one = commit(&engine, "main", "one").await.unwrap().id;
    put(&engine, "main", b"a", b"2").await;
    commit(&engine, "main", "two").await.unwrap();
    let actor = Actor { idempotency_key: Some("reset-1".into()), ..me() };
    for _ in 0..2 {
        engine.hard_reset(&actor, &repo(), &branch("main"), &at("main~1"), false).await.unwrap();
        assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap().commit, one);
    }
}

#[tokio::test]
async fn an_answer_that_outlived_its_repository_is_not_called_damage() {
    let world = World::new(4);
    let engine = with_repo(&world).await;
    let actor = Actor { idempotency_key: Some("commit-1".into()), ..me() };
    let again = async || {
        let request = CommitRequest { message: "one".into(), ..Default::default() };
        engine.commit(&actor, &repo(), &branch("main"), request).await
    };
    put(&engine, "main", b"a", b"1").await;
    again().await.unwrap();
    engine.delete_repository(&me(), &repo(), false).await.unwrap();
    create_repo(&engine).await;
    put(&engine, "main", b"a", b"2").await;
    let head = || engine.get_branch(&repo(), &branch("main")).unwrap().commit;
    let first = head();
    for _ in 0..2 {
        let error = again().await.unwrap_err();
        assert_eq!(error.kind, Kind::NotFound(Thing::Commit), "{error}");
        assert_eq!(head(), first);
        engine.checkpoint().await.unwrap();
    }
}

#[tokio::test]
async fn a_key_used_again_after_a_day_is_remembered_again() {
    let world = World::new(5);
    let engine = with_repo(&world).await;
    let actor = Actor { idempotency_key: Some("daily".into()), ..me() };
    let run = async |bytes: &[u8]| {
        put(&engine, "main", b"a", bytes).await;
        let request = CommitRequest { message: "daily".into(), ..Default::default() };
        engine.commit(&actor, &repo(), &branch("main"), request).await.unwrap().id
    };
    let first = run(b"1").await;
    engine.checkpoint().await.unwrap();
    world.clock.advance(24 * 3600 * 1000 + 1);
    let second = run(b"2").await;
    assert_ne!(first, second);
    engine.checkpoint().await.unwrap();
    assert_eq!(
        run(b"3").await,
        second,
        "the checkpoint that freed the table of old answers kept the new one"
    );
}

#[tokio::test]
async fn a_keyed_completion_is_the_same_request_whatever_the_door_works_out_for_it() {
    let world = World::new(6);
    let engine = with_repo(&world).await;
    let id = crate::uploads::begin(&engine).await;
    let parts = vec![crate::uploads::part(&engine, &id, 1, b"small").await];
    let actor = Actor { idempotency_key: Some("complete-1".into()), ..me() };
    let complete = async |extra: &[(&str, &[u8])]| {
        let extra = extra.iter().map(|(k, v)| ((*k).into(), Bytes::copy_from_slice(v))).collect();
        let request = CompleteRequest { parts: parts.clone(), extra, ..Default::default() };
        engine.complete_upload(&actor, &repo(), &branch("main"), &path(b"big"), &id, request).await
    };
    let first = complete(&[("checksum", b"crc32")]).await.unwrap();
    // The parts are gone, so there is nothing to sum.
    assert_eq!(complete(&[]).await.unwrap().entry, first.entry);
}

#[tokio::test]
async fn a_damaged_pack_that_no_index_covers_stops_nobody_else() {
    let world = World::new(7);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let one = commit(&engine, "main", "one").await.unwrap().id;
    put(&engine, "main", b"a", b"2").await;
    commit(&engine, "main", "two").await.unwrap();
    drop(engine);
    assert!(world.blobs.list("r1/midx/", "", 10).await.unwrap().is_empty(), "nothing covers the packs");
    let (first, _) = world.blobs.list("r1/pack/", "", 10).await.unwrap().remove(0);
    let reader = world.blobs.open(&first).await.unwrap();
    let good = reader.read(0..reader.size()).await.unwrap();
    world.blobs.put(&first, good.slice(..good.len() - 1)).await.unwrap();

    let engine = world.open().await;
    let lost = engine.stat_object(&repo(), &at(&one.to_hex()), &path(b"a")).await.unwrap_err();
    assert_eq!(lost.kind, Kind::Damaged, "{lost}");
    engine.hard_reset(&me(), &repo(), &branch("main"), &at("main~2"), false).await.unwrap();
    let other = NewRepository {
        name: RepositoryName::parse("other").unwrap(),
        storage_namespace: "local://other".into(),
        default_branch: branch("main"),
        read_only: false,
    };
    engine.create_repository(&me(), other).await.unwrap();
    put(&engine, "main", b"b", b"3").await;
    let three = commit(&engine, "main", "three").await.unwrap().id;
    engine.checkpoint().await.unwrap();
    drop(engine);
    world.blobs.put(&first, good).await.unwrap();

    let engine = world.open().await;
    assert_eq!(get(&engine, &one.to_hex(), b"a").await.unwrap(), b"1", "restored, it is looked at again");
    assert_eq!(get(&engine, &three.to_hex(), b"b").await.unwrap(), b"3");
}

#[tokio::test]
async fn a_completed_upload_is_forgotten_after_a_day() {
    let world = World::new(3);
    let engine = with_repo(&world).await;
    let id = crate::uploads::begin(&engine).await;
    let parts = vec![crate::uploads::part(&engine, &id, 1, b"small").await];
    crate::uploads::complete(&engine, &id, parts.clone()).await.unwrap();
    engine.checkpoint().await.unwrap();
    crate::uploads::complete(&engine, &id, parts.clone()).await.unwrap();
    world.clock.advance(25 * 3600 * 1000);
    engine.checkpoint().await.unwrap();
    let again = crate::uploads::complete(&engine, &id, parts.clone()).await;
    assert_eq!(again.unwrap_err().kind, Kind::NotFound(Thing::Upload));
    let engine = world.open().await;
    let again = crate::uploads::complete(&engine, &id, parts).await;
    assert_eq!(again.unwrap_err().kind, Kind::NotFound(Thing::Upload));
    assert_eq!(get(&engine, "main", b"big").await.unwrap(), b"small", "the object stays");
    let rows = world.kv.scan(b"u/", b"u0", 10).await.unwrap();
    assert!(rows.is_empty(), "no row is left");
}

#[tokio::test]
async fn a_listing_after_a_text_longer_than_any_path_goes_on_behind_it() {
    let world = World::new(4);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    put(&engine, "main", b"z", b"1").await;
    for _ in 0..2 {
        let after = Bytes::from([b"b".to_vec(), vec![b'x'; 2000]].concat());
        let request = ListRequest { amount: 10, after, ..Default::default() };
        let page = engine.snapshot(&repo(), &at("main")).await.unwrap().list(&request).await.unwrap();
        let [ListItem::Object(only)] = &page.items[..] else { panic!("{:?}", page.items) };
        assert_eq!(only.path.as_bytes(), b"z");
        let _ = commit(&engine, "main", "the same from a tree").await;
    }
}

#[tokio::test]
async fn a_branch_does_not_come_back_under_the_name_of_a_tag() {
    let world = World::new(5);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("v1"), &at("main"), false, false).await.unwrap();
    engine.delete_branch(&me(), &repo(), &branch("v1"), false).await.unwrap();
    engine.create_tag(&me(), &repo(), &tag("v1"), &at("main"), false).await.unwrap();
    let undone = engine.undo(&me(), &repo(), &branch("v1"), false).await;
    assert_eq!(undone.unwrap_err().kind, Kind::NameClash);
}

/// A page that needs more nodes than the cache holds was read again and again without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folded_listing_ends_with_a_cache_that_holds_next_to_nothing() {
    let mut world = World::new(6);
    world.options.node_cache_bytes = 1;
    let engine = with_repo(&world).await;
    let batch = 200;
    for dir in 0..40 {
        for file in 0..batch {
            put(&engine, "main", format!("{dir:02}/{file:04}").as_bytes(), b"1").await;
        }
    }
    commit(&engine, "main", "one").await.unwrap();
    let engine = world.open().await;
    let request = ListRequest { amount: 1000, delimiter: "/".into(), ..Default::default() };
    let listing = tokio::spawn(async move {
        engine.snapshot(&repo(), &at("main")).await.unwrap().list(&request).await.unwrap().items.len()
    });
    let limit = std::time::Duration::from_secs(60);
    assert_eq!(tokio::time::timeout(limit, listing).await.expect("it must end").unwrap(), 40);
}

#[tokio::test]
async fn since_leaves_out_a_commit_that_is_older_by_less_than_a_second() {
    let world = World::new(7);
    let engine = with_repo(&world).await;
    let mut request =
        LogRequest { amount: 10, since: Some(Timestamp(1_700_000_000_500)), ..Default::default() };
    assert!(engine.log(&repo(), &at("main"), &request).await.unwrap().items.is_empty());
    request.since = Some(Timestamp(1_700_000_000_000));
    assert_eq!(engine.log(&repo(), &at("main"), &request).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn part_numbers_outside_the_limits_are_refused() {
    let world = World::new(8);
    let engine = with_repo(&world).await;
    let id = crate::uploads::begin(&engine).await;
    let part = engine.put_part(&me(), &repo(), &branch("main"), &path(b"big"), &id, 10_001, None).await;
    assert_eq!(part.err().unwrap().kind, Kind::Invalid, "part numbers end at 10,000");
    let part = engine.put_part(&me(), &repo(), &branch("main"), &path(b"big"), &id, 0, None).await;
    assert_eq!(part.err().unwrap().kind, Kind::Invalid, "and begin at 1");
}

#[tokio::test]
async fn an_object_store_that_is_busy_for_a_moment_does_not_stop_the_journal() {
    let mut world = World::new(9);
    let busy = std::sync::Arc::new(crate::gate::BusyBlobs { inner: world.blobs.clone(), refusals: 0.into() });
    world.blobs = busy.clone();
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    busy.refusals.store(2, std::sync::atomic::Ordering::SeqCst);
    commit(&engine, "main", "one").await.unwrap();
    put(&engine, "main", b"b", b"1").await;
    commit(&engine, "main", "two").await.unwrap();
    // The pack index is only a short cut: a checkpoint does without.
    busy.refusals.store(1, std::sync::atomic::Ordering::SeqCst);
    engine.checkpoint().await.unwrap();
    assert_eq!(busy.refusals.load(std::sync::atomic::Ordering::SeqCst), 0, "it was tried");
    assert_eq!(list(&*world.open().await, "main", 10).await.len(), 2);
}

#[tokio::test]
async fn a_squash_merge_is_one_generation_above_its_one_parent() {
    let world = World::new(10);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    for body in [b"1", b"2", b"3"] {
        put(&engine, "dev", b"a", body).await;
        commit(&engine, "dev", "more").await.unwrap();
    }
    let request = MergeRequest { squash: true, ..Default::default() };
    let id = engine.merge(&me(), &repo(), &at("dev"), &branch("main"), request).await.unwrap();
    let merged = engine.get_commit(&repo(), &at(&id.to_hex())).await.unwrap().commit;
    assert_eq!((merged.parents.len(), merged.generation), (1, 2));
}

/// A branch that cannot be folded stopped the checkpoints of all repositories.
#[tokio::test]
async fn a_damaged_branch_keeps_its_changes_and_stops_no_checkpoint() {
    let world = World::new(77);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    commit(&engine, "main", "first").await.unwrap();
    let new = NewRepository {
        name: RepositoryName::parse("other").unwrap(),
        storage_namespace: "local://other".into(),
        default_branch: branch("main"),
        read_only: false,
    };
    engine.create_repository(&me(), new.clone()).await.unwrap();
    engine.checkpoint().await.unwrap();
    drop(engine);
    for (pack, _) in world.blobs.list("r1/pack/", "", 100).await.unwrap() {
        world.blobs.delete(&pack).await.unwrap();
    }
    let engine = world.open().await;
    put(&engine, "main", b"b", b"2").await;
    let staged_in_other = async |engine: &Engine, key: &[u8]| {
        let request = put_request("text/plain");
        let writer = engine.put_object(&me(), &new.name, &branch("main"), &path(key), request).await.unwrap();
        writer.finish(Default::default()).await.unwrap();
    };
    staged_in_other(&engine, b"x").await;
    let rows = async || world.kv.scan(b"j/", b"j0", 1000).await.unwrap().len();
    let packs = async || world.blobs.list("r2/pack/", "", 100).await.unwrap().len();
    for _ in 0..2 {
        engine.checkpoint().await.unwrap();
        assert_eq!(engine.unfoldable_branches(), 1);
        assert_eq!(packs().await, 1, "the other repository's changes are in a tree");
    }
    let kept = rows().await;
    assert!(kept >= 2, "{kept} rows");
    drop(engine);
    // The rows are replayed over tables that are ahead of them.
    let engine = world.open().await;
    assert_eq!(get(&engine, "main", b"b").await.unwrap(), b"2", "what was staged is there");
    let other = engine.stat_object(&new.name, &at("main"), &path(b"x")).await;
    assert_eq!(other.unwrap().entry.size, 0);
    engine.reset(&me(), &repo(), &branch("main"), ResetScope::All, false).await.unwrap();
    engine.checkpoint().await.unwrap();
    assert_eq!((engine.unfoldable_branches(), rows().await < kept), (0, true), "the journal is short again");
}
