//! Branches, tags, expressions, log, merge base, ref log and undo.

use crate::support::*;
use millpond_engine::*;
use millpond_types::*;

#[tokio::test]
async fn a_branch_name_is_unique_among_branches_and_tags() {
    let world = World::new(1);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    let again = engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await;
    assert_eq!(again.unwrap_err().kind, Kind::AlreadyExists);
    engine.create_tag(&me(), &repo(), &tag("v1"), &at("main"), false).await.unwrap();
    let clash = engine.create_branch(&me(), &repo(), &branch("v1"), &at("main"), false, false).await;
    assert_eq!(clash.unwrap_err().kind, Kind::NameClash);
    let clash = engine.create_tag(&me(), &repo(), &tag("dev"), &at("main"), false).await;
    assert_eq!(clash.unwrap_err().kind, Kind::NameClash);
    let nowhere = engine.create_branch(&me(), &repo(), &branch("x"), &at("nowhere"), false, false).await;
    assert_eq!(nowhere.unwrap_err().kind, Kind::NotFound(Thing::Ref));
}

#[tokio::test]
async fn staged_changes_do_not_carry_over_to_a_new_branch() {
    let world = World::new(2);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    assert_eq!(get(&engine, "dev", b"a").await, None);
    let dirty = engine.create_branch(&me(), &repo(), &branch("dev2"), &at("main$"), false, false).await;
    assert_eq!(dirty.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn hidden_branches_are_listed_only_when_asked_for() {
    let world = World::new(3);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("tx-1"), &at("main"), true, false).await.unwrap();
    let page = PageRequest { amount: 10, ..Default::default() };
    let names = |show| {
        let page = engine.list_branches(&repo(), &page, show).unwrap();
        page.items.into_iter().map(|b| b.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(false), ["main"]);
    assert_eq!(names(true), ["main", "tx-1"]);
}

#[tokio::test]
async fn expressions_walk_history() {
    let world = World::new(4);
    let engine = with_repo(&world).await;
    let mut ids = vec![engine.get_branch(&repo(), &branch("main")).unwrap().commit];
    for n in 1..=3 {
        world.clock.advance(10_000);
        put(&engine, "main", b"f", format!("{n}").as_bytes()).await;
        ids.push(commit(&engine, "main", &format!("c{n}")).await.unwrap().id);
    }
    let resolve = async |text: &str| engine.get_commit(&repo(), &at(text)).await.map(|c| c.id);
    assert_eq!(resolve("main~1").await.unwrap(), ids[2]);
    assert_eq!(resolve("main~").await.unwrap(), ids[2]);
    assert_eq!(resolve("main^^").await.unwrap(), ids[1]);
    assert_eq!(resolve("main^0").await.unwrap(), ids[3]);
    assert_eq!(resolve(&ids[1].to_hex()[..12]).await.unwrap(), ids[1]);
    assert_eq!(resolve("main@{1700000010}").await.unwrap(), ids[1]);
    assert_eq!(resolve("main@{2023-11-14T22:13:35Z}").await.unwrap(), ids[1]);
    assert_eq!(resolve("main~4").await.unwrap_err().kind, Kind::NotFound(Thing::Ref));
    assert_eq!(resolve("main^2").await.unwrap_err().kind, Kind::Invalid);
    let early = resolve("main@{1}").await.unwrap_err();
    assert_eq!(early.kind, Kind::NotFound(Thing::Ref));
    assert_eq!(early.message, "ref 'main' not found: not there at that time");
    engine.create_tag(&me(), &repo(), &tag("20261122"), &at("main"), false).await.unwrap();
    assert_eq!(resolve("20261122").await.unwrap(), ids[3], "a tag beats a commit prefix");
    assert_eq!(resolve("20261122$").await.unwrap_err().kind, Kind::Invalid);
    put(&engine, "main", b"f", b"staged").await;
    assert_eq!(get(&engine, "main", b"f").await.unwrap(), b"staged");
    assert_eq!(get(&engine, "main$", b"f").await.unwrap(), b"staged");
    assert_eq!(get(&engine, "main@", b"f").await.unwrap(), b"3");
    assert_eq!(get(&engine, "main~1", b"f").await.unwrap(), b"2");
}

#[tokio::test]
async fn the_log_filters_by_path_parent_and_time() {
    let world = World::new(5);
    let engine = with_repo(&world).await;
    for (n, key) in ["a/1", "b/1", "a/2"].iter().enumerate() {
        world.clock.advance(10_000);
        put(&engine, "main", key.as_bytes(), b"x").await;
        commit(&engine, "main", &format!("c{n}")).await.unwrap();
    }
    engine.create_branch(&me(), &repo(), &branch("side"), &at("main~1"), false, false).await.unwrap();
    world.clock.advance(10_000);
    put(&engine, "side", b"s", b"x").await;
    commit(&engine, "side", "on side").await.unwrap();
    world.clock.advance(10_000);
    engine.merge(&me(), &repo(), &at("side"), &branch("main"), MergeRequest::default()).await.unwrap();
    let log = async |request: LogRequest| {
        let page = engine.log(&repo(), &at("main"), &LogRequest { amount: 100, ..request }).await.unwrap();
        page.items.into_iter().map(|c| c.commit.message).collect::<Vec<_>>()
    };
    assert_eq!(
        log(LogRequest::default()).await,
        ["Merge 'side' into 'main'", "on side", "c2", "c1", "c0", "Repository created"]
    );
    let first_parent = LogRequest { first_parent: true, ..Default::default() };
    assert_eq!(log(first_parent).await, ["Merge 'side' into 'main'", "c2", "c1", "c0", "Repository created"]);
    let of_a = LogRequest { prefixes: vec!["a/".into()], ..Default::default() };
    assert_eq!(log(of_a).await, ["c2", "c0"]);
    let of_path = LogRequest { paths: vec![path(b"b/1"), path(b"s")], ..Default::default() };
    assert_eq!(log(of_path).await, ["on side", "c1"]);
    let since = LogRequest { since: Some(Timestamp(1_700_000_040_000)), ..Default::default() };
    assert_eq!(log(since).await, ["Merge 'side' into 'main'", "on side"]);
    let stop = LogRequest { stop_at: Some(at("main~1")), ..Default::default() };
    assert_eq!(log(stop).await, ["Merge 'side' into 'main'", "on side", "c2"]);
    let page =
        engine.log(&repo(), &at("main"), &LogRequest { amount: 2, ..Default::default() }).await.unwrap();
    assert!(page.has_more);
    let after = Some(at(&page.items[1].id.to_hex()));
    assert_eq!(
        log(LogRequest { after, ..Default::default() }).await,
        ["c2", "c1", "c0", "Repository created"]
    );
}

#[tokio::test]
async fn within_a_second_the_log_names_children_before_parents() {
    for seed in 0..8 {
        let world = World::new(seed);
        let engine = with_repo(&world).await;
        put(&engine, "main", b"a", b"1").await;
        commit(&engine, "main", "base").await.unwrap();
        engine.create_branch(&me(), &repo(), &branch("side"), &at("main"), false, false).await.unwrap();
        put(&engine, "side", b"s", &[seed as u8]).await;
        commit(&engine, "side", "on side").await.unwrap();
        engine.merge(&me(), &repo(), &at("side"), &branch("main"), MergeRequest::default()).await.unwrap();
        let page =
            engine.log(&repo(), &at("main"), &LogRequest { amount: 9, ..Default::default() }).await.unwrap();
        let messages = page.items.iter().map(|c| c.commit.message.as_str()).collect::<Vec<_>>();
        assert_eq!(messages, ["Merge 'side' into 'main'", "on side", "base", "Repository created"]);
    }
}

#[tokio::test]
async fn undo_takes_back_the_last_move_and_undo_again_repeats_it() {
    let world = World::new(6);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let first = commit(&engine, "main", "one").await.unwrap().id;
    put(&engine, "main", b"a", b"2").await;
    let second = commit(&engine, "main", "two").await.unwrap().id;
    let (made, undone) = engine.undo(&me(), &repo(), &branch("main"), false).await.unwrap();
    assert_eq!((made.old, made.new, made.cause.as_str()), (Some(second), Some(first), "undo"));
    assert_eq!(undone.cause, "commit");
    assert_eq!(get(&engine, "main", b"a").await.unwrap(), b"1");
    engine.undo(&me(), &repo(), &branch("main"), false).await.unwrap();
    assert_eq!(get(&engine, "main", b"a").await.unwrap(), b"2");
    put(&engine, "main", b"a", b"3").await;
    assert_eq!(engine.undo(&me(), &repo(), &branch("main"), false).await.unwrap_err().kind, Kind::Dirty);

    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    assert_eq!(engine.undo(&me(), &repo(), &branch("dev"), false).await.unwrap_err().kind, Kind::Invalid);
    engine.delete_branch(&me(), &repo(), &branch("dev"), false).await.unwrap();
    engine.undo(&me(), &repo(), &branch("dev"), false).await.unwrap();
    assert_eq!(engine.get_branch(&repo(), &branch("dev")).unwrap().commit, second);
    let log = engine.ref_log(&repo(), Some("dev"), None, 10).await.unwrap();
    assert_eq!(log.items.iter().map(|m| m.cause.as_str()).collect::<Vec<_>>(), ["undo", "delete", "create"]);
    let never = engine.undo(&me(), &repo(), &branch("never"), false).await;
    assert_eq!(never.unwrap_err().kind, Kind::NotFound(Thing::Branch));
}

#[tokio::test]
async fn the_ref_log_pages_across_a_checkpoint() {
    let world = World::new(7);
    let engine = with_repo(&world).await;
    for n in 0..6 {
        put(&engine, "main", b"a", format!("{n}").as_bytes()).await;
        commit(&engine, "main", &format!("c{n}")).await.unwrap();
        if n == 2 {
            engine.checkpoint().await.unwrap();
        }
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = engine.ref_log(&repo(), None, before, 2).await.unwrap();
        seen.extend(page.items.iter().map(|m| m.sequence));
        before = seen.last().copied();
        if !page.has_more {
            break;
        }
    }
    assert_eq!(seen.len(), 7, "six commits and the creation, each once");
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
}

#[tokio::test]
async fn a_read_only_repository_refuses_changes_unless_forced() {
    let world = World::new(8);
    let engine = world.open().await;
    let new = NewRepository {
        name: repo(),
        storage_namespace: "local://ro".into(),
        default_branch: branch("main"),
        read_only: true,
    };
    engine.create_repository(&me(), new).await.unwrap();
    let refused = put_with(&engine, "main", b"a", b"1", put_request("")).await;
    assert_eq!(refused.unwrap_err().kind, Kind::ReadOnly);
    let forced = PutRequest { force: true, ..put_request("") };
    put_with(&engine, "main", b"a", b"1", forced).await.unwrap();
    assert_eq!(commit(&engine, "main", "x").await.unwrap_err().kind, Kind::ReadOnly);
    assert_eq!(engine.delete_repository(&me(), &repo(), false).await.unwrap_err().kind, Kind::ReadOnly);
    engine.delete_repository(&me(), &repo(), true).await.unwrap();
}

#[tokio::test]
async fn three_dot_diff_marks_what_a_merge_would_call_conflicts() {
    let world = World::new(9);
    let engine = with_repo(&world).await;
    for key in ["both", "same", "gone", "theirs", "ours"] {
        put(&engine, "main", key.as_bytes(), b"0").await;
    }
    commit(&engine, "main", "base").await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    for (name, body) in [("main", b"1"), ("dev", b"2")] {
        put(&engine, name, b"both", body).await;
        put(&engine, name, b"same", b"9").await;
        put(&engine, name, b"added", body).await;
    }
    put(&engine, "main", b"gone", b"1").await;
    delete(&engine, "dev", b"gone").await;
    put(&engine, "dev", b"theirs", b"2").await;
    put(&engine, "main", b"ours", b"2").await;
    put(&engine, "dev", b"dir/x", b"2").await;
    put(&engine, "dev", b"dir/y", b"2").await;
    commit(&engine, "main", "m").await.unwrap();
    commit(&engine, "dev", "d").await.unwrap();
    let expected = ["! added", "! both", "+ dir/x", "+ dir/y", "! gone", "~ theirs"];
    assert_eq!(diff(&engine, "main", "dev", DiffKind::ThreeDot).await, expected);
    let request = DiffRequest { amount: 100, delimiter: "/".into(), ..Default::default() };
    let page = engine.diff_refs(&repo(), &at("main"), &at("dev"), DiffKind::TwoDot, request).await.unwrap();
    assert_eq!(picture(&page.items), ["~ added", "~ both", "/ dir/", "- gone", "~ ours", "~ theirs"]);
    let conflict = engine.merge(&me(), &repo(), &at("dev"), &branch("main"), MergeRequest::default()).await;
    let error = conflict.unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    assert!(error.message.contains("added, both, gone"), "{}", error.message);
    let request = MergeRequest { strategy: MergeStrategy::SourceWins, ..Default::default() };
    engine.merge(&me(), &repo(), &at("dev"), &branch("main"), request).await.unwrap();
    assert_eq!(get(&engine, "main", b"both").await.unwrap(), b"2");
    assert_eq!(get(&engine, "main", b"gone").await, None);
    assert_eq!(get(&engine, "main", b"ours").await.unwrap(), b"2");
}

#[tokio::test]
async fn sixty_four_merges_into_one_branch_all_land() {
    let world = World::new(10);
    let engine = with_repo(&world).await;
    let rounds = (0..64).map(|n| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let name = format!("round-{n}");
            engine.create_branch(&me(), &repo(), &branch(&name), &at("main"), false, false).await.unwrap();
            put(&engine, &name, format!("f/{n}").as_bytes(), b"x").await;
            commit(&engine, &name, &name).await.unwrap();
            engine.merge(&me(), &repo(), &at(&name), &branch("main"), MergeRequest::default()).await.unwrap();
        })
    });
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
    assert_eq!(list(&engine, "main@", 1000).await.len(), 64);
}
