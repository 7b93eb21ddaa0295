//! Everything at once on several threads, and what must hold afterwards whatever the interleaving.

use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_testkit::Seeded;
use millpond_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const WRITERS: usize = 4;
const STEPS: usize = 500;

type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// Outcomes that the others may cause; anything else is a defect.
fn allowed<T>(outcome: Result<T>, kinds: &[Kind]) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(e) if kinds.contains(&e.kind) => None,
        Err(e) => panic!("{:?}: {e}", e.kind),
    }
}

const NOTHING_OR_DIRTY: &[Kind] = &[Kind::NoChanges, Kind::Dirty];

/// Writes its own paths on its own branch and on the shared one; gives back what it was told is there.
async fn writer(engine: Arc<Engine>, number: usize) -> (Files, Files) {
    let rng = Seeded::new(number as u64 + 1);
    let (own, main) = (format!("w{number}"), branch("main"));
    engine.create_branch(&me(), &repo(), &branch(&own), &at("main"), false, false).await.unwrap();
    let (mut mine, mut shared) = (Files::new(), Files::new());
    for step in 0..STEPS {
        let body = format!("{number} {step}").into_bytes();
        match rng.below(16) {
            0..=5 => {
                let key = format!("own/{number}/{:02}", rng.below(20)).into_bytes();
                put(&engine, &own, &key, &body).await;
                assert_eq!(get(&engine, &own, &key).await.as_ref(), Some(&body), "read what was written");
                mine.insert(key, body);
            }
            6 => {
                let key = format!("own/{number}/{:02}", rng.below(20)).into_bytes();
                delete(&engine, &own, &key).await;
                assert_eq!(get(&engine, &own, &key).await, None);
                mine.remove(&key);
            }
            7..=9 => {
                let key = format!("shared/{number}/{:02}", rng.below(20)).into_bytes();
                put(&engine, "main", &key, &body).await;
                shared.insert(key, body);
            }
            10 => drop(allowed(commit(&engine, &own, "own").await, NOTHING_OR_DIRTY)),
            11 => drop(allowed(commit(&engine, "main", "shared").await, NOTHING_OR_DIRTY)),
            12 => {
                // Some of what is staged on the shared branch, while the others go on.
                let prefixes = vec![Bytes::from(format!("shared/{number}/"))];
                let request = CommitRequest { message: "some".into(), prefixes, ..Default::default() };
                allowed(engine.commit(&me(), &repo(), &main, request).await, NOTHING_OR_DIRTY);
            }
            13 => {
                let merge = MergeRequest::default();
                allowed(engine.merge(&me(), &repo(), &at(&own), &main, merge).await, NOTHING_OR_DIRTY);
            }
            14 => {
                let merge = MergeRequest::default();
                allowed(
                    engine.merge(&me(), &repo(), &at("main"), &branch(&own), merge).await,
                    NOTHING_OR_DIRTY,
                );
            }
            _ => {
                put(&engine, "main", b"scratch/x", &body).await;
                let scope = ResetScope::Prefix(Bytes::from_static(b"scratch/"));
                engine.reset(&me(), &repo(), &main, scope, false).await.unwrap();
            }
        }
    }
    (mine, shared)
}

/// Branches that come and go under one name, with everything that moves a head.
async fn churn(engine: Arc<Engine>, number: usize) {
    let rng = Seeded::new(1_000 + number as u64);
    let name = branch(&format!("c{number}"));
    for step in 0..STEPS / 4 {
        engine.create_branch(&me(), &repo(), &name, &at("main"), false, false).await.unwrap();
        for _ in 0..rng.below(4) {
            put(&engine, name.as_str(), b"x", format!("{number} {step}").as_bytes()).await;
        }
        if rng.below(2) == 0 {
            allowed(commit(&engine, name.as_str(), "c").await, NOTHING_OR_DIRTY);
        }
        engine.reset(&me(), &repo(), &name, ResetScope::All, false).await.unwrap();
        engine.hard_reset(&me(), &repo(), &name, &at("main"), false).await.unwrap();
        engine.undo(&me(), &repo(), &name, false).await.unwrap();
        engine.delete_branch(&me(), &repo(), &name, false).await.unwrap();
        let gone = engine.get_branch(&repo(), &name).unwrap_err();
        assert_eq!(gone.kind, Kind::NotFound(Thing::Branch));
        if rng.below(2) == 0 {
            engine.undo(&me(), &repo(), &name, false).await.unwrap();
            engine.delete_branch(&me(), &repo(), &name, false).await.unwrap();
        }
    }
}

/// Repositories that come and go, under checkpoints.
async fn repositories(engine: Arc<Engine>) {
    let name = RepositoryName::parse("pond").unwrap();
    for step in 0..STEPS / 4 {
        let new = NewRepository {
            name: name.clone(),
            storage_namespace: format!("local://pond{step}"),
            default_branch: branch("main"),
            read_only: false,
        };
        engine.create_repository(&me(), new).await.unwrap();
        let mut writer =
            engine.put_object(&me(), &name, &branch("main"), &path(b"x"), put_request("")).await.unwrap();
        writer.write(Bytes::from_static(b"1")).await.unwrap();
        writer.finish(Default::default()).await.unwrap();
        if step % 3 == 0 {
            engine.checkpoint().await.unwrap();
        }
        engine.delete_repository(&me(), &name, false).await.unwrap();
        assert!(engine.get_repository(&name).is_err());
    }
}

async fn check(engine: &Engine, told: &[(Files, Files)]) {
    for (number, (mine, shared)) in told.iter().enumerate() {
        let own = format!("w{number}");
        let prefix = format!("own/{number}/").into_bytes();
        let listed: Vec<_> = list(engine, &own, 7).await.into_iter().map(|(k, _)| k).collect();
        let listed: Vec<_> = listed.into_iter().filter(|k| k.starts_with(&prefix)).collect();
        assert_eq!(listed, mine.keys().cloned().collect::<Vec<_>>(), "paths on {own}");
        for (key, body) in mine {
            assert_eq!(get(engine, &own, key).await.as_ref(), Some(body));
        }
        for (key, body) in shared {
            let text = String::from_utf8_lossy(key);
            assert_eq!(get(engine, "main", key).await.as_ref(), Some(body), "{text} on main");
        }
    }
    let everything = PageRequest { amount: 1000, ..Default::default() };
    let branches = engine.list_branches(&repo(), &everything, true).unwrap().items;
    assert_eq!(branches.len(), 1 + WRITERS, "branches that were deleted stay so");
    for info in &branches {
        let mut generations = BTreeMap::new();
        let request = LogRequest { amount: 100_000, ..Default::default() };
        let log = engine.log(&repo(), &at(info.name.as_str()), &request).await.unwrap().items;
        for commit in &log {
            generations.insert(commit.id, commit.commit.generation);
            assert_eq!(commit.id, commit.commit.id());
        }
        for commit in &log {
            let parents = commit.commit.parents.iter().map(|p| generations[p]);
            assert_eq!(commit.commit.generation, 1 + parents.max().unwrap_or(0), "history is whole");
        }
    }
    // Each ref's moves: every one starts where the one before ended.
    let mut at: BTreeMap<String, Option<CommitId>> = BTreeMap::new();
    let moves = engine.ref_log(&repo(), None, None, 100_000).await.unwrap().items;
    for moved in moves.iter().rev() {
        let before = at.insert(moved.name.clone(), moved.new).flatten();
        assert_eq!(moved.old, before, "a move of {} is missing before {}", moved.name, moved.sequence);
    }
    at.retain(|_, head| head.is_some());
    let heads: BTreeMap<_, _> = branches.iter().map(|b| (b.name.to_string(), Some(b.commit))).collect();
    assert_eq!(at, heads);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_everything_happens_at_once() {
    let mut world = World::new(1);
    world.options.memtable_entries_max = 16;
    world.options.checkpoint_rows = 60;
    let engine = with_repo(&world).await;
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(writer(engine.clone(), n))).collect();
    let others = [
        tokio::spawn(churn(engine.clone(), 0)),
        tokio::spawn(churn(engine.clone(), 1)),
        tokio::spawn(repositories(engine.clone())),
    ];
    let mut told = Vec::new();
    for writer in writers {
        told.push(writer.await.unwrap());
    }
    for other in others {
        other.await.unwrap();
    }
    check(&engine, &told).await;
    // No clean stop.
    let engine = world.open().await;
    check(&engine, &told).await;
    engine.close().await.unwrap();
    check(&engine, &told).await;
    check(&*world.open().await, &told).await;
}
