//! Pull requests: what is kept of them, in which order they come, and that merging is one step.

use crate::support::*;
use millpond_engine::*;
use millpond_types::*;
use std::sync::Arc;

fn new(title: &str, source: &str, destination: &str) -> NewPullRequest {
    NewPullRequest {
        title: title.into(),
        description: "why".into(),
        source: branch(source),
        destination: branch(destination),
    }
}

async fn open(engine: &Engine, title: &str) -> PullRequestId {
    engine.create_pull_request(&me(), &repo(), new(title, "dev", "main")).await.unwrap()
}

async fn merge(engine: &Engine, id: &PullRequestId) -> Result<CommitId> {
    engine.merge_pull_request(&me(), &repo(), id).await
}

async fn set(engine: &Engine, id: &PullRequestId, status: PullRequestStatus) {
    let change = PullRequestChange { status: Some(status), ..Default::default() };
    engine.update_pull_request(&me(), &repo(), id, change).await.unwrap();
}

fn get_pull(engine: &Engine, id: &PullRequestId) -> PullRequest {
    engine.get_pull_request(&repo(), id).unwrap()
}

fn head(engine: &Engine, name: &str) -> CommitId {
    engine.get_branch(&repo(), &branch(name)).unwrap().commit
}

/// `main`, and `dev` with one commit more.
async fn prepared(world: &World) -> Arc<Engine> {
    let engine = with_repo(world).await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    put(&engine, "dev", b"a", b"1").await;
    commit(&engine, "dev", "one").await.unwrap();
    engine
}

/// Titles, in pages of two.
fn titles(engine: &Engine, filter: PullRequestFilter) -> Vec<String> {
    let mut page = PageRequest { amount: 2, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let got = engine.list_pull_requests(&repo(), &page, filter).unwrap();
        all.extend(got.items.iter().map(|pull| pull.title.clone()));
        if !got.has_more {
            return all;
        }
        page.after = got.items.last().unwrap().id.to_string();
    }
}

#[tokio::test]
async fn the_newest_come_first_whatever_the_clock_does() {
    let world = World::new(1);
    let mut engine = prepared(&world).await;
    for (title, millis) in [("one", 0), ("two", 0), ("three", 1), ("four", 5_000), ("five", -60_000)] {
        world.clock.advance(millis);
        let id = open(&engine, title).await;
        if title != "four" {
            set(
                &engine,
                &id,
                if title == "two" { PullRequestStatus::Merged } else { PullRequestStatus::Closed },
            )
            .await;
            if title == "one" {
                set(&engine, &id, PullRequestStatus::Open).await;
            }
        }
        if title == "three" {
            engine.checkpoint().await.unwrap();
        }
        engine = world.open().await;
    }
    assert_eq!(titles(&engine, PullRequestFilter::All), ["five", "four", "three", "two", "one"]);
    assert_eq!(titles(&engine, PullRequestFilter::Open), ["four", "one"]);
    assert_eq!(titles(&engine, PullRequestFilter::NotOpen), ["five", "three", "two"]);
    let first = engine.list_pull_requests(
        &repo(),
        &PageRequest { amount: 9, ..Default::default() },
        PullRequestFilter::All,
    );
    let id = first.unwrap().items[1].id.to_string();
    let page = PageRequest { prefix: id, amount: 9, ..Default::default() };
    let found = engine.list_pull_requests(&repo(), &page, PullRequestFilter::All).unwrap().items;
    assert_eq!(found.iter().map(|pull| pull.title.as_str()).collect::<Vec<_>>(), ["four"]);
}

#[tokio::test]
async fn what_is_said_of_a_pull_request_is_kept() {
    let world = World::new(2);
    let engine = prepared(&world).await;
    let id = open(&engine, "labels").await;
    let opened = get_pull(&engine, &id);
    assert_eq!(
        (opened.title.as_str(), opened.description.as_str(), opened.author.as_str()),
        ("labels", "why", "ada")
    );
    assert_eq!((opened.source.as_str(), opened.destination.as_str()), ("dev", "main"));
    assert_eq!((opened.status, opened.closed, opened.merged), (PullRequestStatus::Open, None, None));
    assert_eq!(opened.created, Timestamp(1_700_000_000_000));
    world.clock.advance(5);
    set(&engine, &id, PullRequestStatus::Closed).await;
    let change = PullRequestChange { title: Some("better".into()), ..Default::default() };
    engine.update_pull_request(&me(), &repo(), &id, change).await.unwrap();
    set(&engine, &id, PullRequestStatus::Open).await;
    let now = PullRequest { title: "better".into(), closed: Some(Timestamp(1_700_000_000_005)), ..opened };
    let engine = world.open().await;
    assert_eq!(get_pull(&engine, &id), now, "from the journal");
    engine.close().await.unwrap();
    let engine = world.open().await;
    assert_eq!(get_pull(&engine, &id), now, "from the table");
}

#[tokio::test]
async fn what_cannot_be_asked_for() {
    let world = World::new(3);
    let engine = prepared(&world).await;
    let kind = async |source, destination| {
        let asked = engine.create_pull_request(&me(), &repo(), new("t", source, destination)).await;
        asked.unwrap_err().kind
    };
    assert_eq!(kind("main", "main").await, Kind::Invalid);
    assert_eq!(kind("none", "main").await, Kind::NotFound(Thing::Branch));
    assert_eq!(kind("dev", "none").await, Kind::NotFound(Thing::Branch));
    let unknown = PullRequestId::parse("00000000000000000000").unwrap();
    assert_eq!(merge(&engine, &unknown).await.unwrap_err().kind, Kind::NotFound(Thing::Other));
    assert_eq!(engine.get_pull_request(&repo(), &unknown).unwrap_err().kind, Kind::NotFound(Thing::Other));
    let mut keyed = me();
    keyed.idempotency_key = Some("k".into());
    let asked =
        async || engine.create_pull_request(&keyed, &repo(), new("once", "dev", "main")).await.unwrap();
    assert_eq!(asked().await, asked().await);
    assert_eq!(titles(&engine, PullRequestFilter::All), ["once"]);
}

#[tokio::test]
async fn a_merge_and_its_status_are_one_step() {
    let world = World::new(4);
    let engine = prepared(&world).await;
    let change = ProtectionChange::Add("main".into());
    engine.change_branch_protection(&me(), &repo(), change).await.unwrap();
    let id = open(&engine, "labels").await;
    let rows = async || world.kv.scan(b"j/", b"j0", 1_000).await.unwrap().len();
    let before = rows().await;
    world.clock.advance(1_000);
    let merged = merge(&engine, &id).await.unwrap();
    assert_eq!(rows().await, before + 1, "one row holds the head and the status");
    let engine = world.open().await;
    let pull = get_pull(&engine, &id);
    assert_eq!((pull.status, pull.merged), (PullRequestStatus::Merged, Some(merged)));
    assert_eq!(pull.closed, Some(Timestamp(1_700_000_001_000)));
    assert_eq!(head(&engine, "main"), merged);
    assert_eq!(get(&engine, "main", b"a").await.unwrap(), b"1");
    let made = engine.get_commit(&repo(), &at("main")).await.unwrap().commit;
    assert_eq!(made.message, "Merge 'dev' into 'main'");
    assert_eq!(made.parents.len(), 2);
    let again = merge(&engine, &id).await.unwrap_err();
    assert_eq!(again.kind, Kind::Invalid);
    assert!(again.message.starts_with("bad pull request status"), "{again}");
}

#[tokio::test]
async fn a_merge_that_fails_leaves_the_request_open() {
    let world = World::new(5);
    let engine = prepared(&world).await;
    let id = open(&engine, "labels").await;
    let fails = async |kind| {
        let before = head(&engine, "main");
        assert_eq!(merge(&engine, &id).await.unwrap_err().kind, kind);
        assert_eq!((get_pull(&engine, &id).status, head(&engine, "main")), (PullRequestStatus::Open, before));
    };
    put(&engine, "main", b"a", b"another").await;
    fails(Kind::Dirty).await;
    commit(&engine, "main", "in the way").await.unwrap();
    fails(Kind::Conflict).await;
    engine.hard_reset(&me(), &repo(), &branch("dev"), &at("main~1"), false).await.unwrap();
    fails(Kind::NoChanges).await;
    engine.delete_branch(&me(), &repo(), &branch("dev"), false).await.unwrap();
    fails(Kind::NotFound(Thing::Ref)).await;
}

#[tokio::test]
async fn a_read_only_repository_has_pull_requests_and_no_merges() {
    let world = World::new(6);
    let engine = world.open().await;
    let read_only = NewRepository {
        name: repo(),
        storage_namespace: "local://lake".into(),
        default_branch: branch("main"),
        read_only: true,
    };
    engine.create_repository(&me(), read_only).await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, true).await.unwrap();
    let id = open(&engine, "labels").await;
    set(&engine, &id, PullRequestStatus::Closed).await;
    set(&engine, &id, PullRequestStatus::Open).await;
    assert_eq!(merge(&engine, &id).await.unwrap_err().kind, Kind::ReadOnly);
}

/// Thirty-two clients merge the same request while one closes it: it is merged once, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_is_merged_once_or_closed_never_both() {
    let world = World::new(7);
    let engine = prepared(&world).await;
    let mut seen = (0, 0);
    for round in 0..30 {
        put(&engine, "dev", format!("round/{round}").as_bytes(), b"1").await;
        commit(&engine, "dev", "more").await.unwrap();
        let (id, before) = (open(&engine, "race").await, head(&engine, "main"));
        let closing = {
            let (engine, id) = (engine.clone(), id.clone());
            tokio::spawn(async move {
                for _ in 0..round % 7 {
                    tokio::task::yield_now().await;
                }
                // Only one that is open is closed, as a client would that looks first.
                if get_pull(&engine, &id).status == PullRequestStatus::Open {
                    set(&engine, &id, PullRequestStatus::Closed).await;
                }
            })
        };
        let merging = (0..32).map(|_| {
            let (engine, id) = (engine.clone(), id.clone());
            tokio::spawn(async move { merge(&engine, &id).await })
        });
        let mut made = Vec::new();
        for task in merging.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(commit) => made.push(commit),
                Err(error) => assert!(matches!(error.kind, Kind::Invalid | Kind::NoChanges), "{error}"),
            }
        }
        closing.await.unwrap();
        let pull = get_pull(&engine, &id);
        assert!(made.len() <= 1);
        assert_eq!(pull.merged, made.first().copied());
        assert_eq!(head(&engine, "main"), made.first().copied().unwrap_or(before));
        match made.is_empty() {
            true => {
                assert_eq!(pull.status, PullRequestStatus::Closed);
                seen.0 += 1;
            }
            false => seen.1 += 1,
        }
    }
    assert!(seen.0 + seen.1 == 30 && seen.1 > 0, "closed, merged: {seen:?}");
}
