//! Protected branches: what is refused there, what is not, and from which moment on.

use crate::support::*;
use crate::uploads;
use bytes::Bytes;
use millpond_engine::*;
use millpond_types::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

async fn protect(engine: &Engine, patterns: &[&str]) {
    let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let change = ProtectionChange::Replace { patterns, if_match: None };
    engine.change_branch_protection(&me(), &repo(), change).await.unwrap();
}

fn patterns(engine: &Engine) -> Vec<String> {
    engine.branch_protection(&repo()).unwrap().patterns
}

async fn merge(engine: &Engine, source: &str, destination: &str) -> Result<CommitId> {
    let request = MergeRequest { allow_empty: true, ..Default::default() };
    engine.merge(&me(), &repo(), &at(source), &branch(destination), request).await
}

/// Everything that changes a branch and is no merge, with force where there is such a thing.
async fn every_change(
    engine: &Engine,
    name: &str,
    upload: (&str, CompletedPart),
) -> Vec<(&'static str, Result<()>)> {
    let (me, repo, on) = (me(), repo(), branch(name));
    let plain = WriteCondition::default();
    let new = WriteCondition { if_none_match: Some(EtagMatch::Any), ..Default::default() };
    let link = LinkRequest {
        physical_address: "local://elsewhere/x".into(),
        checksum: "c".into(),
        size: 1,
        mtime: None,
        attributes: Default::default(),
        condition: plain.clone(),
        force: true,
    };
    let copy = CopyRequest {
        source: &at("main"),
        source_path: &path(b"base"),
        attributes: None,
        source_condition: plain.clone(),
        condition: plain.clone(),
        force: true,
    };
    let put = PutRequest { force: true, ..put_request("text/plain") };
    let put_new = PutRequest { condition: new.clone(), ..put.clone() };
    let complete = CompleteRequest { parts: vec![upload.1], ..Default::default() };
    let commit = CommitRequest { message: "m".into(), allow_empty: true, force: true, ..Default::default() };
    let none = CommitOverrides::default;
    let both = vec![(path(b"base"), plain.clone()), (path(b"x"), plain.clone())];
    let mut done = Vec::new();
    let mut say = |what, outcome: Result<()>| done.push((what, outcome));
    say("put", put_with(engine, name, b"x", b"1", put).await.map(drop));
    say("put if absent", put_with(engine, name, b"y", b"1", put_new).await.map(drop));
    say("link", engine.link_object(&me, &repo, &on, &path(b"l"), None, link).await.map(drop));
    say("copy", engine.copy_object(&me, &repo, &on, &path(b"c"), copy).await.map(drop));
    let metadata = Metadata::from([("k".to_owned(), "v".to_owned())]);
    say("metadata", engine.set_object_metadata(&me, &repo, &on, &path(b"base"), metadata, true).await);
    say("delete", engine.delete_object(&me, &repo, &on, &path(b"none"), plain.clone(), true).await);
    say("delete if", engine.delete_object(&me, &repo, &on, &path(b"none"), new, true).await);
    say("delete several", engine.delete_objects(&me, &repo, &on, both, true).await.map(drop));
    let attributes = Attributes::default();
    let begun = engine.create_upload(&me, &repo, &on, &path(b"u"), attributes, "", "").await;
    say("begin an upload", begun.map(drop));
    let completed = engine.complete_upload(&me, &repo, &on, &path(b"big"), upload.0, complete).await;
    say("complete an upload", completed.map(drop));
    say("reset", engine.reset(&me, &repo, &on, ResetScope::All, true).await);
    say("reset a path", engine.reset(&me, &repo, &on, ResetScope::Path(path(b"x")), true).await);
    let below = ResetScope::Prefix(Bytes::from_static(b"x"));
    say("reset a prefix", engine.reset(&me, &repo, &on, below, true).await);
    say("commit", engine.commit(&me, &repo, &on, commit).await.map(drop));
    say("hard reset", engine.hard_reset(&me, &repo, &on, &at(&format!("{name}~1")), true).await);
    say("undo", engine.undo(&me, &repo, &on, true).await.map(drop));
    let reverted = engine.revert(&me, &repo, &on, &at(name), 0, none(), true, true).await;
    say("revert", reverted.map(drop));
    let picked = engine.cherry_pick(&me, &repo, &on, &at("picked"), None, none(), true).await;
    say("cherry-pick", picked.map(drop));
    let import = ImportRequest { force: true, ..Default::default() };
    say("import", engine.import_start(&me, &repo, &on, import).await.map(drop));
    done
}

/// `main` with a commit, `picked` with one more, and an upload to `main` that waits to be completed.
async fn prepared(world: &World) -> (Arc<Engine>, String, CompletedPart) {
    let engine = with_repo(world).await;
    put(&engine, "main", b"base", b"1").await;
    commit(&engine, "main", "base").await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("picked"), &at("main"), false, false).await.unwrap();
    put(&engine, "picked", b"p", b"1").await;
    commit(&engine, "picked", "to be picked").await.unwrap();
    let id = uploads::begin(&engine).await;
    let part = uploads::part(&engine, &id, 1, b"part").await;
    (engine, id, part)
}

#[tokio::test]
async fn everything_but_merging_is_refused_on_a_protected_branch() {
    let world = World::new(1);
    let (engine, id, part) = prepared(&world).await;
    protect(&engine, &["ma*"]).await;
    let log = async || engine.ref_log(&repo(), None, None, 100).await.unwrap().items.len();
    let before = (list(&engine, "main", 100).await, log().await);
    for (what, outcome) in every_change(&engine, "main", (&id, part.clone())).await {
        let error = outcome.expect_err(what);
        assert_eq!(error.kind, Kind::Protected, "{what}: {error}");
        let text = match what {
            "commit" | "revert" | "cherry-pick" | "import" => "cannot commit to protected branch",
            "hard reset" | "undo" => "protected branch",
            _ => "cannot write to protected branch",
        };
        assert!(error.message.starts_with(text), "{what}: {error}");
    }
    assert_eq!((list(&engine, "main", 100).await, log().await), before);
    merge(&engine, "picked", "main").await.unwrap();
    assert_eq!(get(&engine, "main", b"p").await.unwrap(), b"1");
    // The server's own upkeep goes on, and whoever is not covered is free.
    engine.checkpoint().await.unwrap();
    put(&engine, "picked", b"q", b"1").await;
    // Without the rule all of it goes, so what was refused was refused for the rule.
    protect(&engine, &[]).await;
    for (what, outcome) in every_change(&engine, "main", (&id, part)).await {
        assert!(!matches!(outcome, Err(Error { kind: Kind::Protected, .. })), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn branches_and_tags_come_and_go_whatever_is_protected() {
    let world = World::new(2);
    let (engine, ..) = prepared(&world).await;
    protect(&engine, &["*"]).await;
    engine.create_branch(&me(), &repo(), &branch("new"), &at("main"), false, false).await.unwrap();
    engine.delete_branch(&me(), &repo(), &branch("new"), false).await.unwrap();
    engine.undo(&me(), &repo(), &branch("new"), false).await.unwrap();
    engine.create_tag(&me(), &repo(), &tag("v1"), &at("main"), false).await.unwrap();
    engine.delete_tag(&me(), &repo(), &tag("v1"), false).await.unwrap();
}

#[tokio::test]
async fn rules_outlive_restarts_and_say_what_they_are() {
    let world = World::new(3);
    let engine = with_repo(&world).await;
    let never = engine.branch_protection(&repo()).unwrap();
    assert_eq!(never.patterns, Vec::<String>::new());
    protect(&engine, &["rel-*", "main", "main"]).await;
    let set = engine.branch_protection(&repo()).unwrap();
    assert_eq!(set.patterns, ["main", "rel-*"]);
    assert_ne!(set.etag, never.etag);
    let engine = world.open().await;
    assert_eq!(engine.branch_protection(&repo()).unwrap(), set, "from the journal");
    engine.checkpoint().await.unwrap();
    let engine = world.open().await;
    assert_eq!(engine.branch_protection(&repo()).unwrap(), set, "from the table");
    assert_eq!(
        put_with(&engine, "main", b"x", b"1", put_request("t/t")).await.unwrap_err().kind,
        Kind::Protected
    );
    protect(&engine, &[]).await;
    engine.close().await.unwrap();
    assert_eq!(world.open().await.branch_protection(&repo()).unwrap(), never);
}

#[tokio::test]
async fn changes_of_the_rules_by_condition_and_one_by_one() {
    let world = World::new(4);
    let engine = with_repo(&world).await;
    let change =
        async |change| engine.change_branch_protection(&me(), &repo(), change).await.map_err(|e| e.kind);
    let replace = |text: &str, if_match: &str| ProtectionChange::Replace {
        patterns: vec![text.to_owned()],
        if_match: Some(if_match.to_owned()),
    };
    let first = engine.branch_protection(&repo()).unwrap().etag;
    change(replace("a", &first)).await.unwrap();
    assert_eq!(change(replace("b", &first)).await, Err(Kind::PreconditionFailed));
    let add = |text: &str| ProtectionChange::Add(text.to_owned());
    let remove = |text: &str| ProtectionChange::Remove(text.to_owned());
    change(add("c")).await.unwrap();
    change(add("c")).await.unwrap();
    assert_eq!(patterns(&engine), ["a", "c"]);
    change(remove("a")).await.unwrap();
    assert_eq!(change(remove("a")).await, Err(Kind::NotFound(Thing::Other)));
    assert_eq!(change(add("[")).await, Err(Kind::Invalid));
    assert_eq!(patterns(&engine), ["c"]);
    let mut keyed = me();
    keyed.idempotency_key = Some("k".into());
    for _ in 0..2 {
        engine.change_branch_protection(&keyed, &repo(), remove("c")).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_repository_keeps_its_settings() {
    let world = World::new(5);
    let engine = world.open().await;
    let new = NewRepository {
        name: repo(),
        storage_namespace: "local://lake".into(),
        default_branch: branch("main"),
        read_only: true,
    };
    engine.create_repository(&me(), new).await.unwrap();
    let change = ProtectionChange::Add("main".into());
    let refused = engine.change_branch_protection(&me(), &repo(), change).await;
    assert_eq!(refused.map_err(|e| e.kind), Err(Kind::ReadOnly));
    let refused = engine.set_collection_rules(&me(), &repo(), None).await;
    assert_eq!(refused.map_err(|e| e.kind), Err(Kind::ReadOnly));
}

#[tokio::test]
async fn collection_rules_are_kept_as_given_also_of_no_days() {
    let world = World::new(6);
    let mut engine = with_repo(&world).await;
    assert_eq!(engine.collection_rules(&repo()).unwrap(), None);
    engine.set_collection_rules(&me(), &repo(), None).await.unwrap();
    protect(&engine, &["main"]).await;
    let none = CollectionRules::default();
    let some = CollectionRules { default_days: -3, branches: [("main".to_owned(), 7)].into() };
    for rules in [none, some] {
        engine.set_collection_rules(&me(), &repo(), Some(rules.clone())).await.unwrap();
        engine = world.open().await;
        assert_eq!(engine.collection_rules(&repo()).unwrap(), Some(rules.clone()), "from the journal");
        engine.checkpoint().await.unwrap();
        engine = world.open().await;
        assert_eq!(engine.collection_rules(&repo()).unwrap(), Some(rules), "from the table");
    }
    engine.set_collection_rules(&me(), &repo(), None).await.unwrap();
    assert_eq!(engine.collection_rules(&repo()).unwrap(), None);
    assert_eq!(patterns(&engine), ["main"], "the one setting does not touch the other");
    let long = "x".repeat(limits::REPOSITORY_SETTINGS_BYTES_MAX + 1);
    let long = CollectionRules { default_days: 1, branches: [(long, 7)].into() };
    let refused = engine.set_collection_rules(&me(), &repo(), Some(long)).await;
    assert_eq!(refused.map_err(|e| e.kind), Err(Kind::TooLarge));
}

/// Sixty-four clients write while a rule comes: nothing becomes visible after the rule was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_its_answer_on_a_rule_holds_for_every_write() {
    let world = World::new(7);
    let engine = with_repo(&world).await;
    for round in 0..20 {
        protect(&engine, &[]).await;
        let (protected, landed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let writers = (0..64).map(|client| {
            let (engine, protected, landed) = (engine.clone(), protected.clone(), landed.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let late = protected.load(Ordering::SeqCst);
                    let key = format!("{round}/{client}/{n}");
                    // Conditional writes take another way to the branch than plain ones.
                    let mut request = put_request("text/plain");
                    if client % 2 == 0 {
                        request.condition.if_none_match = Some(EtagMatch::Any);
                    }
                    match put_with(&engine, "main", key.as_bytes(), b"1", request).await {
                        Ok(_) => assert!(!late, "written although the rule had been answered"),
                        Err(error) => {
                            assert_eq!(error.kind, Kind::Protected, "{error}");
                            return;
                        }
                    }
                    landed.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        while landed.load(Ordering::SeqCst) < 100 {
            tokio::task::yield_now().await;
        }
        protect(&engine, &["main"]).await;
        protected.store(true, Ordering::SeqCst);
        let at_once = list(&engine, "main", 1_000).await.len();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(list(&engine, "main", 1_000).await.len(), at_once, "a write came after the rule");
    }
}
