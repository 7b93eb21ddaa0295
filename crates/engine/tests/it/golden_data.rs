//! Whole data directories as every format left them: opened, read to the last byte, and found clean by fsck.
//!
//! `MILLPOND_GOLDEN_WRITE=1 cargo test -p millpond-engine golden_data` writes the one of the present format if it
//! is not there; one that is there is never replaced. A file holds, for each file of the directory, its name and
//! size, then extents of bytes that are not zero.
#![allow(clippy::disallowed_methods)] // tests that read files

use crate::fsck::rich;
use crate::imports::{Place, end_of, object, prefix, start_to};
use crate::support::*;
use futures::FutureExt;
use millpond_blob::{Blobs, LocalBlobs};
use millpond_engine::format::{Step, bring_up_by};
use millpond_engine::*;
use millpond_kv::{Kv, LocalKv, Write};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BLOCK: usize = 64;

fn golden_file(format: u32) -> PathBuf {
    PathBuf::from(format!("{}/tests/golden/data-v{format}.txt", env!("CARGO_MANIFEST_DIR")))
}

fn pack(folder: &Path) -> String {
    let mut text = String::new();
    for file in crate::fsck::files(folder) {
        let name = file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&file).unwrap();
        writeln!(text, "file {name} {}", bytes.len()).unwrap();
        let mut at = 0;
        while at < bytes.len() {
            let block = |at: usize| &bytes[at..bytes.len().min(at + BLOCK)];
            if block(at).iter().all(|byte| *byte == 0) {
                at += BLOCK;
                continue;
            }
            let start = at;
            while at < bytes.len() && block(at).iter().any(|byte| *byte != 0) {
                at += BLOCK;
            }
            writeln!(text, "{start} {}", hex::encode(&bytes[start..bytes.len().min(at)])).unwrap();
        }
    }
    text
}

fn unpack(text: &str, folder: &Path) {
    let mut file: Option<(PathBuf, Vec<u8>)> = None;
    let flush = |file: &mut Option<(PathBuf, Vec<u8>)>| {
        if let Some((path, bytes)) = file.take() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    };
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("file ") {
            flush(&mut file);
            let (name, size) = head.rsplit_once(' ').unwrap();
            file = Some((folder.join(name), vec![0; size.parse().unwrap()]));
        } else {
            let (at, bytes) = line.split_once(' ').unwrap();
            let (at, bytes) = (at.parse::<usize>().unwrap(), hex::decode(bytes).unwrap());
            file.as_mut().unwrap().1[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
    flush(&mut file);
}

fn open(folder: &Path) -> World {
    let mut world = World::new(80);
    world.kv = Arc::new(LocalKv::open(folder.join("metadata.redb")).unwrap());
    world.blobs = LocalBlobs::open(folder.join("blobs")).unwrap();
    let place = Place::default();
    for name in IMPORTED {
        place.put(&format!("mem://golden/{name}"), name.as_bytes());
    }
    world.options.origin = Arc::new(place);
    world
}

/// What lies in the place that golden directories have imported from.
const IMPORTED: [&str; 3] = ["a/1", "a/2", "b"];

/// A branch of its own with imported objects, by rule and by address. In the journal only, as what `rich` ends with.
async fn import(engine: &Engine) {
    engine.create_branch(&me(), &repo(), &branch("imported"), &at("main"), false, false).await.unwrap();
    let paths = vec![prefix("mem://golden/", b"in/"), object("mem://golden/b", b"single")];
    let id = start_to(engine, "imported", paths).await;
    end_of(engine, &id).await.unwrap();
}

/// What golden directories say of their settings.
fn settings() -> (Vec<String>, CollectionRules) {
    let rules = CollectionRules { default_days: 0, branches: [("main".to_owned(), 30)].into() };
    (vec!["prod".to_owned(), "rel-*".to_owned()], rules)
}

/// Settings, and a pull request that is merged and one that waits. In the journal only.
async fn settle(engine: &Engine) {
    let (patterns, rules) = settings();
    let protection = ProtectionChange::Replace { patterns, if_match: None };
    engine.change_branch_protection(&me(), &repo(), protection).await.unwrap();
    engine.set_collection_rules(&me(), &repo(), Some(rules)).await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("rel-1"), &at("v1"), false, false).await.unwrap();
    let new = || NewPullRequest {
        title: "release".into(),
        description: "golden".into(),
        source: branch("dev"),
        destination: branch("rel-1"),
    };
    let id = engine.create_pull_request(&me(), &repo(), new()).await.unwrap();
    engine.create_pull_request(&me(), &repo(), new()).await.unwrap();
    engine.merge_pull_request(&me(), &repo(), &id).await.unwrap();
}

/// The bodies that are in every golden directory, from a world of the same seed.
async fn bodies() -> Vec<(&'static str, &'static [u8], Vec<u8>)> {
    rich(&World::new(80)).await.1
}

async fn write_golden() {
    if std::env::var_os("MILLPOND_GOLDEN_WRITE").is_none() || golden_file(FORMAT).exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let world = open(folder.path());
    let (engine, _) = rich(&world).await;
    import(&engine).await;
    settle(&engine).await;
    drop(engine);
    drop(world);
    std::fs::write(folder.path().join("format"), format!("{FORMAT}\n")).unwrap();
    std::fs::write(golden_file(FORMAT), pack(folder.path())).unwrap();
}

fn unpacked(format: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    unpack(&std::fs::read_to_string(golden_file(format)).expect("golden data directory"), folder.path());
    folder
}

#[tokio::test]
async fn a_data_directory_of_every_format_is_read_to_the_last_byte() {
    write_golden().await;
    let bodies = bodies().await;
    for format in 1..=FORMAT {
        let folder = unpacked(format);
        let (looked_at, pages) = LocalKv::open_untouched(folder.path().join("metadata.redb")).unwrap();
        assert_eq!(pages, None);
        drop(looked_at);
        let world = open(folder.path());
        // Before anything brings it up, as after `millpond restore`.
        assert_eq!(crate::fsck::check(&world, FsckRequest::default()).await.1, [], "format {format}");
        let engine = world.open().await;
        for (expr, key, body) in &bodies {
            assert_eq!(get(&engine, expr, key).await.as_ref(), Some(body), "format {format}, {expr}");
        }
        for name in IMPORTED {
            let key = format!("in/{name}");
            assert_eq!(get(&engine, "imported", key.as_bytes()).await.as_deref(), Some(name.as_bytes()));
        }
        assert_eq!(get(&engine, "imported", b"single").await.as_deref(), Some(&b"b"[..]));
        let (patterns, rules) = settings();
        assert_eq!(engine.branch_protection(&repo()).unwrap().patterns, patterns);
        assert_eq!(engine.collection_rules(&repo()).unwrap(), Some(rules));
        let page = PageRequest { amount: 9, ..Default::default() };
        let pulls = engine.list_pull_requests(&repo(), &page, PullRequestFilter::All).unwrap().items;
        let head = engine.get_branch(&repo(), &branch("rel-1")).unwrap().commit;
        let seen = pulls.iter().map(|pull| (pull.title.as_str(), pull.status, pull.merged));
        let wanted =
            [("release", PullRequestStatus::Open, None), ("release", PullRequestStatus::Merged, Some(head))];
        assert_eq!(seen.collect::<Vec<_>>(), wanted);
        let watch = Watch::new();
        let report = engine.fsck(FsckRequest::default(), watch.clone()).await.unwrap();
        assert_eq!(watch.take_defects(), []);
        assert_eq!(watch.take_gone_sources(), []);
        assert_eq!((report.branches, report.tags, report.commits, report.imported), (4, 1, 8, 4));
        // Before format 2 rows were deleted, so the trail begins with those that were left.
        let proof = engine.verify_audit(None).await.unwrap();
        assert_eq!(proof.faults, [], "format {format}");
        assert_eq!(proof.begun.reason, if format < 2 { Reason::Upgrade } else { Reason::Complete });
        assert!(proof.rows > 5 && proof.rows == proof.last + 1 - proof.begun.row, "{proof:?}");
        // It can be written on.
        put(&engine, "main", b"new", b"new").await;
        commit(&engine, "main", "in the present format").await.unwrap();
        engine.close().await.unwrap();
        drop(engine);
        assert_eq!(world.open().await.verify_audit(None).await.unwrap().faults, [], "format {format}");
        let (_, defects) = crate::fsck::check(&world, FsckRequest::default()).await;
        assert_eq!(defects, []);
    }
}

/// A step that gives each tag row a new form, as a later version might.
const STEP: Step = Step {
    from: FORMAT,
    what: "tags say so",
    run: |kv: &dyn Kv, _: &dyn Blobs| {
        async move {
            let rows = kv.scan(b"t/", b"t0", usize::MAX).await.unwrap();
            Ok(rows
                .into_iter()
                .map(|(key, id)| Write::Put(key, [b"tag:", &id[..]].concat().into()))
                .collect())
        }
        .boxed()
    },
};

#[tokio::test]
async fn a_step_brings_a_golden_directory_up_once_and_an_older_millpond_then_refuses_it() {
    let folder = unpacked(FORMAT);
    let world = open(folder.path());
    let tags = || async { world.kv.scan(b"t/", b"t0", 10).await.unwrap() };
    let before = tags().await;
    assert_eq!(before.len(), 1);
    for _ in 0..2 {
        bring_up_by(&*world.kv, &*world.blobs, &[STEP], FORMAT + 1).await.unwrap();
        let after = tags().await;
        assert_eq!(after[0].1, [b"tag:", &before[0].1[..]].concat(), "once, however often it is opened");
        assert_eq!(world.kv.get(b"m/format").await.unwrap().unwrap(), (FORMAT + 1).to_string());
    }
    let pairs = world.kv.scan(b"", b"\xff", usize::MAX).await.unwrap();
    let refused = Engine::open(
        world.kv.clone(),
        world.blobs.clone(),
        world.clock.clone(),
        world.random.clone(),
        Options::default(),
    )
    .await
    .map(drop)
    .unwrap_err();
    assert_eq!(refused.kind, Kind::NotImplemented);
    assert!(refused.message.contains("a newer Millpond"), "{refused}");
    assert_eq!(world.kv.scan(b"", b"\xff", usize::MAX).await.unwrap(), pairs, "nothing was changed");
    // A gap is no way.
    let gap = bring_up_by(&*world.kv, &*world.blobs, &[STEP], FORMAT + 2).await.unwrap_err();
    assert!(gap.message.contains("no step"), "{gap}");
}
