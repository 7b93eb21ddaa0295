//! fsck: what is whole passes, what is not is named; and no flipped bit is ever served.
#![allow(clippy::disallowed_methods)] // the tests play the failing disk

use crate::gate::{Gate, GatedBlobs};
use crate::support::*;
use crate::uploads;
use bytes::Bytes;
use millpond_blob::LocalBlobs;
use millpond_engine::*;
use millpond_kv::{Batch, Kv, Write};
use millpond_types::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Paths of `rich` and what they hold, at a ref.
type Bodies = Vec<(&'static str, &'static [u8], Vec<u8>)>;

/// A repository with everything in it that the stores can hold, and the bodies to read back.
pub async fn rich(world: &World) -> (Arc<Engine>, Bodies) {
    let engine = with_repo(world).await;
    let mut bodies: Bodies = Vec::new();
    // Long ones are mostly zeros, so that the golden data directory stays small.
    let byte = |seed: u8, i: usize, len: usize| {
        if len < 200 || i % 50_021 < 7 { (i as u8).wrapping_mul(seed) } else { 0 }
    };
    let body = |seed: u8, len: usize| (0..len).map(|i| byte(seed, i, len)).collect::<Vec<u8>>();
    for n in 0..40u8 {
        put(&engine, "main", format!("many/{n:02}").as_bytes(), &body(n, 40 + usize::from(n))).await;
    }
    bodies.push(("v1", b"many/07", body(7, 47)));
    bodies.push(("v1", b"many/39", body(39, 79)));
    put(&engine, "main", b"block", &body(3, 70_000)).await;
    bodies.push(("v1", b"block", body(3, 70_000)));
    put(&engine, "main", b"large", &body(5, 1_200_000)).await;
    bodies.push(("v1", b"large", body(5, 1_200_000)));
    commit(&engine, "main", "first").await.unwrap();
    engine.create_tag(&me(), &repo(), &tag("v1"), &at("main"), false).await.unwrap();
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    put(&engine, "dev", b"many/07", b"changed on dev").await;
    bodies.push(("dev", b"many/07", b"changed on dev".to_vec()));
    delete(&engine, "dev", b"many/08").await;
    commit(&engine, "dev", "second").await.unwrap();
    let id = uploads::begin(&engine).await;
    let zeros = vec![0; limits::PART_BYTES_MIN as usize];
    let parts =
        vec![uploads::part(&engine, &id, 1, &zeros).await, uploads::part(&engine, &id, 2, b"the end").await];
    uploads::complete(&engine, &id, parts).await.unwrap();
    bodies.push(("main", b"big", [zeros, b"the end".to_vec()].concat()));
    commit(&engine, "main", "third").await.unwrap();
    let merge = MergeRequest { message: "merged".into(), ..Default::default() };
    engine.merge(&me(), &repo(), &at("dev"), &branch("main"), merge).await.unwrap();
    let open = uploads::begin(&engine).await;
    uploads::part(&engine, &open, 3, b"a part of an upload that goes on").await;
    engine.checkpoint().await.unwrap();
    // From here on in the journal only.
    put(&engine, "main", b"staged", b"uncommitted").await;
    bodies.push(("main", b"staged", b"uncommitted".to_vec()));
    put(&engine, "dev", b"late", b"committed after the checkpoint").await;
    commit(&engine, "dev", "fourth").await.unwrap();
    bodies.push(("dev", b"late", b"committed after the checkpoint".to_vec()));
    (engine, bodies)
}

pub async fn check(world: &World, request: FsckRequest) -> (FsckReport, Vec<Defect>) {
    let watch = Watch::new();
    let tasks = world.options.tasks.clone();
    let report = fsck(world.kv.clone(), world.blobs.clone(), tasks, request, watch.clone()).await.unwrap();
    let defects = watch.take_defects();
    assert_eq!(report.defects, defects.len() as u64);
    (report, defects)
}

/// A defect as `ref path: thing: what`.
fn line(defect: &Defect) -> String {
    let path = defect.path.as_ref().map(|path| path.to_text()).unwrap_or_default();
    let reference = defect.reference.clone().unwrap_or_default();
    format!("{reference} {path}: {}: {}", defect.thing, defect.what)
}

async fn all_pairs(kv: &dyn Kv) -> Vec<(Bytes, Bytes)> {
    kv.scan(b"", b"\xff", usize::MAX).await.unwrap()
}

async fn write(kv: &dyn Kv, writes: Vec<Write>) {
    kv.commit(Batch { preconditions: vec![], writes }).await.unwrap();
}

#[tokio::test]
async fn a_sound_repository_passes_running_and_stopped() {
    let mut world = World::new(60);
    let folder = tempfile::tempdir().unwrap();
    world.blobs = LocalBlobs::open(folder.path().to_owned()).unwrap();
    let (engine, _) = rich(&world).await;
    let watch = Watch::new();
    let running = engine.fsck(FsckRequest::default(), watch.clone()).await.unwrap();
    assert_eq!(watch.take_defects(), []);
    drop(engine);
    let (stopped, defects) = check(&world, FsckRequest::default()).await;
    assert_eq!(defects, []);
    assert_eq!(running, stopped, "the same point, the same counts");
    let counts = [stopped.repositories, stopped.branches, stopped.tags, stopped.commits];
    assert_eq!(counts, [1, 2, 1, 6], "the first commit, four of ours and the merge");
    // 40 small, 2 larger, 3 changed, a part list, its two parts, and the part of the open upload; `second` and
    // `third` of the small ones of 40 bytes and more are different, so nothing is stored twice.
    assert_eq!(stopped.objects, 40 + 2 + 3 + 3 + 1);
    assert_eq!(stopped.orphans.objects, 0);
    assert_eq!((stopped.declared, stopped.orphans.packs), (0, 0));
    let progress = watch.progress();
    assert_eq!((progress.objects, progress.objects_total), (stopped.objects, stopped.objects));
    let (quick, defects) = check(&world, FsckRequest { quick: true, ..Default::default() }).await;
    assert_eq!((defects, quick.objects, quick.nodes), (vec![], 0, stopped.nodes));
    let nobody = FsckRequest { repository: RepositoryName::parse("nobody").ok(), ..Default::default() };
    let tasks = world.options.tasks.clone();
    let refused = fsck(world.kv.clone(), world.blobs.clone(), tasks, nobody, Watch::new()).await;
    assert_eq!(refused.unwrap_err().kind, Kind::NotFound(Thing::Repository));
}

#[tokio::test]
async fn what_nothing_refers_to_is_counted() {
    let world = World::new(61);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"overwritten").await;
    put(&engine, "main", b"a", b"kept").await;
    commit(&engine, "main", "c").await.unwrap();
    engine.checkpoint().await.unwrap();
    let other = NewRepository {
        name: RepositoryName::parse("gone").unwrap(),
        storage_namespace: "local://gone".into(),
        default_branch: branch("main"),
        read_only: false,
    };
    engine.create_repository(&me(), other.clone()).await.unwrap();
    let mut writer =
        engine.put_object(&me(), &other.name, &branch("main"), &path(b"x"), put_request("")).await.unwrap();
    writer.write(Bytes::from_static(b"of a deleted repository")).await.unwrap();
    writer.finish(BTreeMap::new()).await.unwrap();
    engine.delete_repository(&me(), &other.name, false).await.unwrap();
    let report = engine.fsck(FsckRequest::default(), Watch::new()).await.unwrap();
    assert_eq!(report.defects, 0);
    assert_eq!((report.orphans.objects, report.orphans.object_bytes), (1, 11));
    assert_eq!((report.orphans.deleted_objects, report.orphans.deleted_bytes), (1, 23));
}

#[tokio::test]
async fn a_commit_that_comes_while_it_checks_is_no_defect() {
    let world = World::new(62);
    let (engine, _) = rich(&world).await;
    let watch = Watch::new();
    let writer = async {
        for n in 0..30 {
            put(&engine, "main", format!("new/{n}").as_bytes(), &[n; 100]).await;
            commit(&engine, "main", "more").await.unwrap();
            engine.checkpoint().await.unwrap();
        }
    };
    let checks = async {
        for _ in 0..10 {
            engine.fsck(FsckRequest::default(), watch.clone()).await.unwrap();
        }
    };
    tokio::join!(writer, checks);
    assert_eq!(watch.take_defects(), []);
}

/// Each row of the metadata in turn is lost, or replaced by that of another: either a start does not mind, or
/// fsck says so.
#[tokio::test]
async fn a_lost_or_exchanged_row_is_named() {
    let world = World::new(63);
    let (engine, _) = rich(&world).await;
    drop(engine);
    let pairs = all_pairs(&*world.kv).await;
    let mut silent = Vec::new();
    for (key, value) in &pairs {
        let mut found = Vec::new();
        write(&*world.kv, vec![Write::Delete(key.clone())]).await;
        found.push(("lost", check(&world, FsckRequest::default()).await.1));
        let mut changed = value.to_vec();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        write(&*world.kv, vec![Write::Put(key.clone(), changed.into())]).await;
        found.push(("changed", check(&world, FsckRequest::default()).await.1));
        write(&*world.kv, vec![Write::Put(key.clone(), value.clone())]).await;
        silent.extend(
            found
                .iter()
                .filter(|(_, defects)| defects.is_empty())
                .map(|(how, _)| format!("{how}: {}", millpond_kv::key_text(key))),
        );
    }
    assert_eq!(check(&world, FsckRequest::default()).await.1, []);
    // What a row says about nothing else cannot be missed by looking at the rest: a whole branch or tag, an open
    // upload, the last row of the journal, and the counters. The store's own pages have checksums for these.
    let excused = |text: &String| {
        let row = text.split_once(": ").unwrap().1;
        ["'m/format'", "'m/epoch'", "'m/checkpoint'"].contains(&row)
            // The name of a repository, for when it is gone.
            || text.starts_with("lost: 'g/")
            || ["'b/", "'t/", "'u/", "'r/", "'j/"].iter().any(|table| row.starts_with(table))
    };
    silent.retain(|text| !excused(text));
    assert_eq!(silent, Vec::<String>::new());
}

#[tokio::test]
async fn each_kind_of_defect_is_named_exactly() {
    let world = World::new(64);
    let (engine, _) = rich(&world).await;
    drop(engine);
    let blobs = world.blobs.clone();
    let list = blobs.list("r1/", "", 10_000).await.unwrap();
    for (key, _) in list {
        let reader = blobs.open(&key).await.unwrap();
        let good = reader.read(0..reader.size()).await.unwrap();
        // Lost.
        blobs.delete(&key).await.unwrap();
        let (_, defects) = check(&world, FsckRequest::default()).await;
        let is_index = key.as_str().contains("/midx/");
        assert_eq!(defects.is_empty(), is_index, "{} lost", key.as_str());
        // Changed behind the store's back, with its checksum: the hash alone tells.
        let mut bad = good.to_vec();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        blobs.put(&key, bad.into()).await.unwrap();
        let (_, defects) = check(&world, FsckRequest::default()).await;
        assert!(!defects.is_empty(), "{} changed", key.as_str());
        let lines: Vec<String> = defects.iter().map(line).collect();
        if key.as_str().contains("/data/") {
            let [one] = &defects[..] else { panic!("one blob, {lines:?}") };
            assert_eq!(one.repository.as_deref(), Some("lake"));
            assert!(one.reference.is_some() && one.path.is_some(), "{lines:?}");
            assert_eq!(one.thing, format!("blob {}", key.as_str()));
        } else {
            let names_it = |d: &Defect| format!("{} {}", d.thing, d.what).contains(key.as_str());
            let is_node = |d: &Defect| d.thing.starts_with("tree node") && d.reference.is_some();
            assert!(defects.iter().any(|d| names_it(d) || is_node(d)), "{}: {lines:?}", key.as_str());
        }
        blobs.delete(&key).await.unwrap();
        blobs.put(&key, good).await.unwrap();
    }
    assert_eq!(check(&world, FsckRequest::default()).await.1, []);
}

/// The old leaf is stored plain and the new one as its edits: that it was read as a base is not that it was checked.
#[tokio::test]
async fn an_object_that_only_an_older_commit_holds_is_checked() {
    let world = World::new(66);
    let engine = with_repo(&world).await;
    for n in (0..40u8).filter(|n| *n != 7) {
        put(&engine, "main", format!("many/{n:02}").as_bytes(), &[n; 40]).await;
    }
    put(&engine, "main", b"many/07", b"only in the first commit").await;
    commit(&engine, "main", "first").await.unwrap();
    put(&engine, "main", b"many/07", b"since then").await;
    commit(&engine, "main", "second").await.unwrap();
    let mut lost = None;
    for (key, _) in world.blobs.list("r1/data/", "", 100).await.unwrap() {
        let reader = world.blobs.open(&key).await.unwrap();
        if reader.read(0..reader.size()).await.unwrap() == b"only in the first commit"[..] {
            lost = Some(key);
        }
    }
    world.blobs.delete(&lost.expect("it is stored")).await.unwrap();
    let (report, defects) = check(&world, FsckRequest::default()).await;
    let [defect] = &defects[..] else { panic!("one defect of {report:?}: {defects:?}") };
    assert_eq!(defect.path, Some(path(b"many/07")));
    assert_eq!(report.orphans.objects, 0);
}

/// Packs are numbered when their writing begins and there when it ends, so one may come after another of a greater
/// number.
#[tokio::test]
async fn a_pack_that_was_on_its_way_when_the_check_began_is_not_missing() {
    let world = World::new(68);
    let engine = with_repo(&world).await;
    for name in ["a", "b"] {
        put(&engine, "main", name.as_bytes(), b"x").await;
        commit(&engine, "main", name).await.unwrap();
    }
    let first = world.blobs.list("r1/pack/", "", 1).await.unwrap().remove(0).0;
    let reader = world.blobs.open(&first).await.unwrap();
    let bytes = reader.read(0..reader.size()).await.unwrap();
    world.blobs.delete(&first).await.unwrap();
    let gate = Gate::new();
    let blobs = Arc::new(GatedBlobs { inner: world.blobs.clone(), gate: gate.clone() });
    gate.shut();
    let (kv, tasks, watch) = (world.kv.clone(), world.options.tasks.clone(), Watch::new());
    let checking = tokio::spawn(fsck(kv, blobs, tasks, FsckRequest::default(), watch.clone()));
    gate.somebody_waits().await;
    world.blobs.put(&first, bytes).await.unwrap();
    gate.open();
    checking.await.unwrap().unwrap();
    assert_eq!(watch.take_defects(), []);
}

#[tokio::test]
async fn a_damaged_object_is_told_with_ref_path_blob_and_remedy() {
    let world = World::new(65);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a/b.csv", b"hello").await;
    commit(&engine, "main", "c").await.unwrap();
    let key = world.blobs.list("r1/data/", "", 10).await.unwrap().remove(0).0;
    world.blobs.delete(&key).await.unwrap();
    world.blobs.put(&key, Bytes::from_static(b"hellu")).await.unwrap();
    let watch = Watch::new();
    engine.fsck(FsckRequest::default(), watch.clone()).await.unwrap();
    let [defect] = &watch.take_defects()[..] else { panic!("one defect") };
    assert_eq!(defect.repository.as_deref(), Some("lake"));
    assert_eq!(
        line(defect),
        format!(
            "branch main a/b.csv: blob {}: its bytes have the SHA-256 {} instead of {}",
            key.as_str(),
            ContentHash::of(b"hellu"),
            ContentHash::of(b"hello"),
        )
    );
    assert!(defect.remedy.contains("same bytes"), "{}", defect.remedy);
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort_unstable();
    found
}

/// Flips a bit in every `step`-th byte of every file of the object store, or in so many bytes of it if it is long, each
/// time in a fresh copy: every read is right or an error, and what is wrong with anything that a ref needs is found by
/// fsck.
async fn flip_everywhere(step: usize, most: usize) {
    let mut world = World::new(66);
    let folder = tempfile::tempdir().unwrap();
    world.blobs = LocalBlobs::open(folder.path().to_owned()).unwrap();
    let (engine, bodies) = rich(&world).await;
    drop(engine);
    let pairs = all_pairs(&*world.kv).await;
    world.blobs = Arc::new(millpond_blob::MemoryBlobs::new());
    let all: BTreeMap<PathBuf, Vec<u8>> =
        files(folder.path()).into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect();
    let (mut flips, mut found, mut harmless) = (0, 0, Vec::new());
    for (file, good) in &all {
        // Of megabytes of zeros a few will do.
        let step = step.max(good.len() / most);
        for at in (0..good.len()).step_by(step) {
            flips += 1;
            let what = format!("byte {at} of {}", file.display());
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(file, &bad).unwrap();
            let mut sick = World::new(67);
            write(&*sick.kv, pairs.iter().map(|(k, v)| Write::Put(k.clone(), v.clone())).collect()).await;
            sick.blobs = LocalBlobs::open(folder.path().to_owned()).unwrap();
            let (_, defects) = check(&sick, FsckRequest::default()).await;
            let mut refused = 0;
            let engine = sick.open().await;
            for (expr, key, body) in &bodies {
                match read(&engine, expr, key).await {
                    Ok(read) => assert!(read == *body, "{what}: wrong bytes of {expr} were served"),
                    Err(_) => refused += 1,
                }
            }
            assert!(refused == 0 || !defects.is_empty(), "{what}: {refused} reads fail, fsck found nothing");
            if defects.is_empty() {
                harmless.push(what)
            } else {
                found += 1
            }
            drop(engine);
            drop(sick);
            // Opening may have cut a tail or written an index.
            for made in files(folder.path()).iter().filter(|made| !all.contains_key(*made)) {
                std::fs::remove_file(made).unwrap();
            }
            for (path, bytes) in all.iter().filter(|(path, bytes)| *path == file || bytes.len() < 200_000) {
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
    // Only what saves time (the index of a start) or concerns nobody (the lock, the last record before a crash
    // that nothing refers to) may go unnoticed.
    let silent: Vec<&String> =
        harmless.iter().filter(|what| !what.ends_with("index.snapshot") && !what.ends_with("lock")).collect();
    assert!(silent.is_empty(), "{} of {flips} flips unnoticed: {silent:#?}", silent.len());
    assert!(found > 100, "{found} of {flips}");
    eprintln!("{flips} flips in {} files, {found} found, {} harmless", all.len(), harmless.len());
}

/// All bytes at a path, or the first error.
async fn read(engine: &Engine, expr: &str, key: &[u8]) -> Result<Vec<u8>> {
    use futures::StreamExt;
    let open = engine.open_object(&repo(), &at(expr), &path(key)).await?;
    let mut stream = open.read(0..open.info.entry.size);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_flipped_bit_of_a_blob_is_never_served() {
    flip_everywhere(331, 60).await;
}

/// `make flips` runs this.
#[tokio::test]
#[ignore = "takes minutes"]
async fn a_flipped_bit_of_a_blob_is_never_served_exhaustive() {
    flip_everywhere(1, 1_000).await;
}
