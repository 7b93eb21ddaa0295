//! What happens in the window between a decision and its durability.

use crate::gate::{Gate, GatedBlobs, GatedKv, everything_else_runs};
use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_types::*;
use std::sync::Arc;

/// A world whose journal rows wait at a gate, and the store behind the gate for a restart.
fn gated(seed: u64) -> (World, Gate, Arc<dyn millpond_kv::Kv>) {
    let mut world = World::new(seed);
    let (gate, inner) = (Gate::new(), world.kv.clone());
    world.kv = Arc::new(GatedKv { inner: inner.clone(), gate: gate.clone() });
    (world, gate, inner)
}

/// Starts a checkpoint and brings it to where its capture waits behind a put that is not durable yet. What
/// is decided from now on is behind the capture in the journal.
async fn checkpoint_about_to_capture(
    engine: &Arc<Engine>,
    gate: &Gate,
) -> tokio::task::JoinHandle<Result<()>> {
    gate.shut();
    let folding = engine.clone();
    let checkpoint = tokio::spawn(async move { folding.checkpoint().await });
    // The fold of the staged change stands at the gate.
    gate.somebody_waits().await;
    let putting = engine.clone();
    tokio::spawn(async move { put(&putting, "main", b"late", b"1").await });
    everything_else_runs().await;
    gate.one();
    gate.somebody_waits().await;
    checkpoint
}

#[tokio::test]
async fn a_repository_deleted_while_a_checkpoint_captures_stays_deleted() {
    let (world, gate, _) = gated(1);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let checkpoint = checkpoint_about_to_capture(&engine, &gate).await;
    let deleting = engine.clone();
    let deletion = tokio::spawn(async move { deleting.delete_repository(&me(), &repo(), false).await });
    everything_else_runs().await;
    gate.open();
    checkpoint.await.unwrap().unwrap();
    deletion.await.unwrap().unwrap();
    engine.checkpoint().await.unwrap();
    let engine = world.open().await;
    assert_eq!(engine.get_repository(&repo()).unwrap_err().kind, Kind::NotFound(Thing::Repository));
}

#[tokio::test]
async fn a_checkpoint_remembers_no_answer_whose_change_is_not_durable() {
    let (mut world, gate, inner) = gated(2);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let checkpoint = checkpoint_about_to_capture(&engine, &gate).await;
    let actor = Actor { idempotency_key: Some("key-1".into()), ..me() };
    let (creating, who) = (engine.clone(), actor.clone());
    tokio::spawn(async move {
        creating.create_branch(&who, &repo(), &branch("dev"), &at("main"), false, false).await
    });
    everything_else_runs().await;
    // The put passes, the capture runs, the new branch stays at the gate: power cut.
    gate.one();
    checkpoint.await.unwrap().unwrap();
    world.kv = inner;
    let engine = world.open().await;
    engine.create_branch(&actor, &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    engine.get_branch(&repo(), &branch("dev")).expect("acknowledged, so it must be there");
}

#[tokio::test]
async fn a_head_relative_target_means_the_head_as_decided() {
    let (world, gate, _) = gated(3);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let first = commit(&engine, "main", "one").await.unwrap().id;
    put(&engine, "main", b"b", b"1").await;
    gate.shut();
    let committing = engine.clone();
    let two = tokio::spawn(async move { commit(&committing, "main", "two").await });
    gate.somebody_waits().await;
    let resetting = engine.clone();
    let reset = tokio::spawn(async move {
        resetting.hard_reset(&me(), &repo(), &branch("main"), &at("main~1"), false).await
    });
    everything_else_runs().await;
    gate.open();
    two.await.unwrap().unwrap();
    reset.await.unwrap().unwrap();
    assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap().commit, first, "one back from two");
}

#[tokio::test]
async fn a_refusal_for_a_dirty_branch_waits_until_the_change_is_durable() {
    let (world, gate, _) = gated(4);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    gate.shut();
    let putting = engine.clone();
    tokio::spawn(async move { put(&putting, "main", b"a", b"1").await });
    gate.somebody_waits().await;
    let merging = engine.clone();
    let merge = tokio::spawn(async move {
        merging.merge(&me(), &repo(), &at("dev"), &branch("main"), MergeRequest::default()).await
    });
    // The judgement runs on a thread of its own: give it time to be wrong.
    for _ in 0..100 {
        everything_else_runs().await;
        std::thread::yield_now();
    }
    assert!(!merge.is_finished(), "told of a change that a power cut can still take back");
    gate.open();
    assert_eq!(merge.await.unwrap().unwrap_err().kind, Kind::Dirty);
}

#[tokio::test]
async fn the_same_complete_sent_twice_at_once_gets_one_answer() {
    let (world, gate, _) = gated(5);
    let engine = with_repo(&world).await;
    let id = crate::uploads::begin(&engine).await;
    let parts = vec![crate::uploads::part(&engine, &id, 1, b"small").await];
    gate.shut();
    let both: Vec<_> = (0..2)
        .map(|_| {
            let (engine, id, parts) = (engine.clone(), id.clone(), parts.clone());
            tokio::spawn(async move { crate::uploads::complete(&engine, &id, parts).await })
        })
        .collect();
    gate.somebody_waits().await;
    gate.open();
    let mut entries = Vec::new();
    for one in both {
        entries.push(one.await.unwrap().unwrap().entry);
    }
    assert_eq!(entries[0], entries[1]);
}

/// An engine that has just restarted and whose first look into a tree waits at a gate.
async fn cold(world: &mut World) -> (Arc<Engine>, Gate) {
    let gate = Gate::new();
    world.blobs = Arc::new(GatedBlobs { inner: world.blobs.clone(), gate: gate.clone() });
    let engine = world.open().await;
    gate.shut();
    (engine, gate)
}

#[tokio::test]
async fn a_write_refused_for_a_deleted_branch_leaves_its_idempotency_key_free() {
    let mut world = World::new(6);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    commit(&engine, "main", "one").await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    let (engine, gate) = cold(&mut world).await;
    let actor = Actor { idempotency_key: Some("key-1".into()), ..me() };
    let write = |engine: Arc<Engine>, actor: Actor| async move {
        let mut writer =
            engine.put_object(&actor, &repo(), &branch("dev"), &path(b"k"), put_request("")).await?;
        writer.write(Bytes::from_static(b"1")).await?;
        writer.finish(Default::default()).await
    };
    let first = tokio::spawn(write(engine.clone(), actor.clone()));
    gate.somebody_waits().await;
    engine.delete_branch(&me(), &repo(), &branch("dev"), false).await.unwrap();
    gate.open();
    assert_eq!(first.await.unwrap().unwrap_err().kind, Kind::NotFound(Thing::Branch));
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    write(engine.clone(), actor).await.unwrap();
    assert_eq!(get(&engine, "dev", b"k").await.unwrap(), b"1", "acknowledged, so it must be there");
}

#[tokio::test]
async fn a_complete_refused_for_a_deleted_branch_leaves_the_upload_open() {
    let mut world = World::new(7);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    commit(&engine, "main", "one").await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    let (dev, key) = (branch("dev"), path(b"k"));
    let id =
        engine.create_upload(&me(), &repo(), &dev, &key, Attributes::default(), "", "").await.unwrap().id;
    let mut writer = engine.put_part(&me(), &repo(), &dev, &key, &id, 1, None).await.unwrap();
    writer.write(Bytes::from_static(b"1")).await.unwrap();
    let part = writer.finish(Default::default()).await.unwrap();
    let part = CompletedPart { number: 1, etag: hex::encode(part.md5), checksums: Default::default() };
    let (engine, gate) = cold(&mut world).await;
    let (completing, upload) = (engine.clone(), id.clone());
    let complete = tokio::spawn(async move {
        let request = CompleteRequest { parts: vec![part], ..Default::default() };
        completing.complete_upload(&me(), &repo(), &branch("dev"), &path(b"k"), &upload, request).await
    });
    gate.somebody_waits().await;
    engine.delete_branch(&me(), &repo(), &dev, false).await.unwrap();
    gate.open();
    assert_eq!(complete.await.unwrap().unwrap_err().kind, Kind::NotFound(Thing::Branch));
    engine.abort_upload(&me(), &repo(), &dev, &key, &id).await.unwrap();
}

#[tokio::test]
async fn a_write_that_comes_before_the_deletion_of_an_empty_repository_stops_it() {
    let mut world = World::new(8);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    engine.checkpoint().await.unwrap();
    delete(&engine, "main", b"a").await;
    let (engine, gate) = cold(&mut world).await;
    let deleting = engine.clone();
    let deletion = tokio::spawn(async move { deleting.delete_empty_repository(&me(), &repo()).await });
    // It has looked at the branch and now reads its tree.
    gate.somebody_waits().await;
    put(&engine, "main", b"late", b"1").await;
    gate.open();
    assert_eq!(deletion.await.unwrap().unwrap_err().kind, Kind::NotEmpty);
    assert_eq!(get(&engine, "main", b"late").await.unwrap(), b"1", "acknowledged, so it must be there");
    delete(&engine, "main", b"late").await;
    engine.delete_empty_repository(&me(), &repo()).await.unwrap();
    let engine = world.open().await;
    assert_eq!(engine.get_repository(&repo()).unwrap_err().kind, Kind::NotFound(Thing::Repository));
}

#[tokio::test]
async fn a_refusal_for_a_deleted_branch_waits_until_the_deletion_is_durable() {
    let (world, gate, _) = gated(8);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    gate.shut();
    let deleting = engine.clone();
    tokio::spawn(async move { deleting.delete_branch(&me(), &repo(), &branch("dev"), false).await });
    gate.somebody_waits().await;
    let (putting, resetting) = (engine.clone(), engine.clone());
    let put = tokio::spawn(async move { put_with(&putting, "dev", b"a", b"1", put_request("")).await });
    let delete = {
        let engine = engine.clone();
        tokio::spawn(async move {
            engine
                .delete_objects(&me(), &repo(), &branch("dev"), vec![(path(b"a"), Default::default())], false)
                .await
        })
    };
    let reset =
        tokio::spawn(
            async move { resetting.reset(&me(), &repo(), &branch("dev"), ResetScope::All, false).await },
        );
    everything_else_runs().await;
    assert!(!put.is_finished() && !delete.is_finished(), "told of a deletion that a power cut can take back");
    gate.open();
    assert_eq!(put.await.unwrap().unwrap_err().kind, Kind::NotFound(Thing::Branch));
    assert_eq!(delete.await.unwrap().unwrap_err().kind, Kind::NotFound(Thing::Branch));
    assert_eq!(reset.await.unwrap().unwrap_err().kind, Kind::NotFound(Thing::Branch));
}

/// Decided and not yet durable is enough to forbid: the journal must not have the write behind the rule.
#[tokio::test]
async fn a_write_that_meets_a_rule_on_its_way_is_refused_once_the_rule_is_durable() {
    let (world, gate, _) = gated(21);
    let engine = with_repo(&world).await;
    gate.shut();
    let ruling = engine.clone();
    let rule = tokio::spawn(async move {
        let change = ProtectionChange::Add("main".into());
        ruling.change_branch_protection(&me(), &repo(), change).await
    });
    gate.somebody_waits().await;
    let absent = WriteCondition { if_none_match: Some(EtagMatch::Any), ..Default::default() };
    let writes = [WriteCondition::default(), absent].map(|condition| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let request = PutRequest { condition, ..put_request("text/plain") };
            put_with(&engine, "main", b"x", b"1", request).await
        })
    });
    let moving = engine.clone();
    let moved = tokio::spawn(async move {
        let request = CommitRequest { allow_empty: true, ..Default::default() };
        moving.commit(&me(), &repo(), &branch("main"), request).await
    });
    let resetting = engine.clone();
    let reset = tokio::spawn(async move {
        resetting.reset(&me(), &repo(), &branch("main"), ResetScope::All, false).await
    });
    everything_else_runs().await;
    assert!(!writes[0].is_finished() && !moved.is_finished() && !reset.is_finished());
    gate.open();
    rule.await.unwrap().unwrap();
    for write in writes {
        assert_eq!(write.await.unwrap().unwrap_err().kind, Kind::Protected);
    }
    assert_eq!(moved.await.unwrap().unwrap_err().kind, Kind::Protected);
    assert_eq!(reset.await.unwrap().unwrap_err().kind, Kind::Protected);
}

#[tokio::test]
async fn a_pull_request_that_is_being_closed_is_not_merged() {
    let (world, gate, _) = gated(22);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    put(&engine, "dev", b"a", b"1").await;
    commit(&engine, "dev", "one").await.unwrap();
    let new = NewPullRequest {
        title: "t".into(),
        description: String::new(),
        source: branch("dev"),
        destination: branch("main"),
    };
    let id = engine.create_pull_request(&me(), &repo(), new).await.unwrap();
    let before = engine.get_branch(&repo(), &branch("main")).unwrap();
    gate.shut();
    let (closing, closed) = (engine.clone(), id.clone());
    let close = tokio::spawn(async move {
        let change = PullRequestChange { status: Some(PullRequestStatus::Closed), ..Default::default() };
        closing.update_pull_request(&me(), &repo(), &closed, change).await
    });
    gate.somebody_waits().await;
    let (merging, merged) = (engine.clone(), id.clone());
    let merge = tokio::spawn(async move { merging.merge_pull_request(&me(), &repo(), &merged).await });
    everything_else_runs().await;
    gate.open();
    close.await.unwrap().unwrap();
    assert_eq!(merge.await.unwrap().unwrap_err().kind, Kind::Invalid);
    assert_eq!(engine.get_pull_request(&repo(), &id).unwrap().status, PullRequestStatus::Closed);
    assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap(), before);
}
