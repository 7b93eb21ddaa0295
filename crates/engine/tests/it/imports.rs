//! Imports: what they make of a branch, also beside others, cancelled, and across restarts.

use crate::gate::{Gate, GatedBlobs};
use crate::support::*;
use bytes::Bytes;
use millpond_blob::{BlobError, BlobKey, BlobReader, BlobWriter, Blobs, MemoryBlobs};
use millpond_engine::*;
use millpond_kv::{Batch, Kv, KvError};
use millpond_origin::{Block, Listing, Location, Mark, Origin, OriginError, OriginErrorKind, Seen};
use millpond_testkit::Seeded;
use millpond_types::*;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A place in memory. Objects have a version that their mark tells; listings stop where they are told to.
#[derive(Clone, Debug, Default)]
pub struct Place(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By location: bytes and version.
    objects: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    /// Listings wait before their `n`th object.
    hold_at: Option<usize>,
    /// How many wait there.
    holding: usize,
    /// What listings were to begin behind.
    asked_after: Vec<Vec<u8>>,
    /// The next listings fail before these objects, one each.
    away_at: Vec<usize>,
}

fn seen_of(bytes: &[u8], version: u64) -> Seen {
    let size = bytes.len() as u64;
    Seen { size, modified_millis: 1_600_000_000_000 + version as i64, mark: Mark::of(&[size, version]) }
}

fn error(kind: OriginErrorKind, message: String) -> OriginError {
    OriginError { kind, message }
}

impl Place {
    pub fn put(&self, location: &str, bytes: &[u8]) {
        let mut state = self.0.state.lock();
        let object = state.objects.entry(location.as_bytes().to_vec()).or_default();
        *object = (bytes.to_vec(), object.1 + 1);
    }
    fn remove(&self, location: &str) {
        self.0.state.lock().objects.remove(location.as_bytes());
    }
    fn hold_at(&self, at: Option<usize>) {
        self.0.state.lock().hold_at = at;
        self.0.changed.notify_all();
    }
    /// Waits until this many listings wait.
    async fn until_holding(&self, listings: usize) {
        while self.0.state.lock().holding < listings {
            tokio::task::yield_now().await;
        }
    }
}

struct Objects {
    place: Place,
    objects: std::vec::IntoIter<(Vec<u8>, Seen)>,
    given: usize,
}

impl Listing for Objects {
    fn next(&mut self) -> std::result::Result<Option<Block>, OriginError> {
        let inside = &self.place.0;
        let mut state = inside.state.lock();
        state.holding += 1;
        while state.hold_at == Some(self.given) {
            inside.changed.wait(&mut state);
        }
        state.holding -= 1;
        if state.away_at.first() == Some(&self.given) {
            state.away_at.remove(0);
            return Err(error(OriginErrorKind::Busy, "the file server is away".into()));
        }
        self.given += 1;
        let Some((name, seen)) = self.objects.next() else { return Ok(None) };
        Ok(Some(Block::of(&name, seen)))
    }
}

impl Origin for Place {
    fn locate(&self, source: &str, kind: SourceKind) -> std::result::Result<Location, OriginError> {
        if !source.starts_with("mem://") {
            return Err(error(OriginErrorKind::Refused, format!("{source} is no place")));
        }
        let slash = if kind == SourceKind::Prefix && !source.ends_with('/') { "/" } else { "" };
        Ok(Location(format!("{source}{slash}").into()))
    }
    fn list(&self, folder: &Location, after: &[u8]) -> std::result::Result<Box<dyn Listing>, OriginError> {
        let mut state = self.0.state.lock();
        state.asked_after.push(after.to_vec());
        let below = |(location, (bytes, version)): (&Vec<u8>, &(Vec<u8>, u64))| {
            let name = location.strip_prefix(&*folder.0)?;
            (name > after).then(|| (name.to_vec(), seen_of(bytes, *version)))
        };
        let objects: Vec<_> = state.objects.iter().filter_map(below).collect();
        Ok(Box::new(Objects { place: self.clone(), objects: objects.into_iter(), given: 0 }))
    }
    fn look(&self, object: &Location) -> std::result::Result<Seen, OriginError> {
        match self.0.state.lock().objects.get(&*object.0) {
            Some((bytes, version)) => Ok(seen_of(bytes, *version)),
            None => Err(error(OriginErrorKind::Gone, format!("{} does not exist", object.to_text()))),
        }
    }
    fn open(&self, object: &Location, mark: Mark) -> std::result::Result<Arc<dyn BlobReader>, OriginError> {
        if self.look(object)?.mark != mark {
            return Err(error(OriginErrorKind::Gone, format!("{} has changed", object.to_text())));
        }
        Ok(Arc::new(InMemory(self.0.state.lock().objects[&*object.0].0.clone())))
    }
}

struct InMemory(Vec<u8>);

#[async_trait::async_trait]
impl BlobReader for InMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    async fn read(&self, range: std::ops::Range<u64>) -> std::result::Result<Bytes, BlobError> {
        Ok(Bytes::copy_from_slice(&self.0[range.start as usize..range.end as usize]))
    }
}

/// A world whose engine may import from a place in memory.
fn world(seed: u64) -> (World, Place) {
    let (mut world, place) = (World::new(seed), Place::default());
    world.options.origin = Arc::new(place.clone());
    (world, place)
}

pub fn prefix(source: &str, destination: &[u8]) -> ImportPath {
    let destination = Bytes::copy_from_slice(destination);
    ImportPath { kind: SourceKind::Prefix, source: source.to_owned(), destination }
}

pub fn object(source: &str, destination: &[u8]) -> ImportPath {
    ImportPath { kind: SourceKind::Object, ..prefix(source, destination) }
}

async fn start(engine: &Engine, paths: Vec<ImportPath>) -> String {
    start_to(engine, "main", paths).await
}

pub async fn start_to(engine: &Engine, name: &str, paths: Vec<ImportPath>) -> String {
    let request = ImportRequest { paths, message: "taken in".into(), ..Default::default() };
    engine.import_start(&me(), &repo(), &branch(name), request).await.unwrap()
}

/// How it ended: the commit, or why there is none.
pub async fn end_of(engine: &Engine, id: &str) -> std::result::Result<CommitInfo, String> {
    loop {
        let info = engine.import_status(&repo(), id).await.unwrap();
        match info.outcome {
            ImportOutcome::Running => tokio::task::yield_now().await,
            ImportOutcome::Completed(commit) => return Ok(commit),
            ImportOutcome::Failed(why) => return Err(why),
        }
    }
}

async fn import(engine: &Engine, paths: Vec<ImportPath>) -> std::result::Result<CommitInfo, String> {
    let id = start(engine, paths).await;
    end_of(engine, &id).await
}

async fn keys_of(engine: &Engine, expr: &str) -> Vec<String> {
    list(engine, expr, 100).await.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

async fn fill(engine: &Engine, keys: &[&str]) {
    for key in keys {
        put(engine, "main", key.as_bytes(), format!("old {key}").as_bytes()).await;
    }
    commit(engine, "main", "before").await.unwrap();
}

async fn opened(engine: &Engine, expr: &str, key: &str) -> Error {
    engine.open_object(&repo(), &at(expr), &path(key.as_bytes())).await.err().expect("it is gone")
}

#[tokio::test]
async fn an_import_replaces_what_is_below_its_destination_with_one_commit() {
    let (world, place) = world(1);
    let engine = with_repo(&world).await;
    fill(&engine, &["foo/gone", "foobar", "fop", "a", "z"]).await;
    for name in ["x", "y/1", "y/2"] {
        place.put(&format!("mem://lake-1/d/{name}"), name.as_bytes());
    }
    let before = engine.get_branch(&repo(), &branch("main")).unwrap().commit;
    let made = import(&engine, vec![prefix("mem://lake-1/d", b"foo")]).await.unwrap();
    assert_eq!(keys_of(&engine, "main").await, ["a", "foo/x", "foo/y/1", "foo/y/2", "fop", "z"]);
    assert_eq!(made.commit.parents, [before]);
    assert_eq!((made.commit.message.as_str(), made.commit.committer.as_str()), ("taken in", "ada"));
    assert_eq!(made.commit.metadata[".lakefs.merge.strategy"], "source-wins");
    assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap().commit, made.id);
    let repository = engine.get_repository(&repo()).unwrap();
    assert_eq!(repository.metadata[".lakefs.last.import.timestamp"], "1700000000");

    let info = engine.stat_object(&repo(), &at("main"), &path(b"foo/y/1")).await.unwrap();
    assert_eq!(info.physical_address, "mem://lake-1/d/y/1");
    assert_eq!((info.entry.size, info.entry.mtime), (3, Timestamp(1_600_000_000_001)));
    assert_eq!(info.entry.checksum.to_text(), seen_of(b"y/1", 1).mark.to_text());
    assert_eq!(info.entry.content, Content::Declared);
    assert_eq!(get(&engine, "main", b"foo/y/1").await.unwrap(), b"y/1");
    assert_eq!(get(&engine, "main", b"a").await.unwrap(), b"old a");

    // Equal to what is there, and of nothing at all: still a commit (API-20.13).
    let again = import(&engine, vec![prefix("mem://lake-1/d/", b"foo")]).await.unwrap();
    assert_eq!(again.commit.tree, made.commit.tree);
    let nothing = import(&engine, vec![]).await.unwrap();
    assert_eq!((nothing.commit.tree, nothing.commit.parents), (made.commit.tree, vec![again.id]));
    // Into everything.
    import(&engine, vec![prefix("mem://lake-1/d/y", b"")]).await.unwrap();
    assert_eq!(keys_of(&engine, "main").await, ["1", "2"]);
}

#[tokio::test]
async fn single_objects_and_several_sources_with_the_later_one_winning() {
    let (world, place) = world(2);
    let engine = with_repo(&world).await;
    fill(&engine, &["a", "ab", "b"]).await;
    for (location, bytes) in [("one/k", "one"), ("one/l", "1"), ("two/k", "two"), ("two/m", "2")] {
        place.put(&format!("mem://{location}"), bytes.as_bytes());
    }
    let paths = vec![
        object("mem://one/k", b"a"),
        prefix("mem://one", b"x"),
        prefix("mem://two/", b"x/"),
        object("mem://one/l", b"x/m"),
    ];
    import(&engine, paths).await.unwrap();
    assert_eq!(keys_of(&engine, "main").await, ["a", "b", "x/k", "x/l", "x/m"]);
    for (key, bytes) in [("a", "one"), ("x/k", "two"), ("x/l", "1"), ("x/m", "1")] {
        assert_eq!(get(&engine, "main", key.as_bytes()).await.unwrap(), bytes.as_bytes(), "{key}");
    }
}

#[tokio::test]
async fn a_changed_source_is_gone_for_every_path_that_names_it() {
    let (world, place) = world(3);
    let engine = with_repo(&world).await;
    place.put("mem://s/f", b"bytes");
    place.put("mem://s/g", b"other");
    import(&engine, vec![prefix("mem://s", b"d")]).await.unwrap();
    let (main, from, to) = (branch("main"), path(b"d/f"), path(b"copied/elsewhere"));
    let request = CopyRequest {
        source: &at("main"),
        source_path: &from,
        attributes: None,
        source_condition: WriteCondition::default(),
        condition: WriteCondition::default(),
        force: false,
    };
    let copy = engine.copy_object(&me(), &repo(), &main, &to, request).await.unwrap();
    assert_eq!(copy.physical_address, "mem://s/f");
    let metadata = Metadata::from([("k".into(), "v".into())]);
    engine.set_object_metadata(&me(), &repo(), &main, &path(b"d/g"), metadata, false).await.unwrap();
    commit(&engine, "main", "copied").await.unwrap();
    drop(engine);
    world.open().await.close().await.unwrap();
    let engine = world.open().await;
    for (key, bytes) in [("d/f", "bytes"), ("copied/elsewhere", "bytes"), ("d/g", "other")] {
        assert_eq!(get(&engine, "main", key.as_bytes()).await.unwrap(), bytes.as_bytes(), "{key}");
    }
    place.put("mem://s/f", b"BYTES");
    place.remove("mem://s/g");
    for (key, source) in [("d/f", "mem://s/f"), ("copied/elsewhere", "mem://s/f"), ("d/g", "mem://s/g")] {
        let error = opened(&engine, "main", key).await;
        assert_eq!(error.kind, Kind::Gone);
        assert!(error.message.contains(source) && error.message.contains(key), "{error}");
    }
    // A new import sees the new file of the same size, as a change.
    let head = engine.get_branch(&repo(), &branch("main")).unwrap().commit;
    import(&engine, vec![prefix("mem://s", b"d")]).await.unwrap();
    assert_eq!(get(&engine, "main", b"d/f").await.unwrap(), b"BYTES");
    assert_eq!(diff(&engine, &head.to_hex(), "main", DiffKind::TwoDot).await, ["~ d/f", "- d/g"]);
}

#[tokio::test(start_paused = true)]
async fn an_import_waits_for_a_source_that_is_away_for_a_while_but_not_for_ever() {
    let (world, place) = world(40);
    let engine = with_repo(&world).await;
    for n in 0..10 {
        place.put(&format!("mem://s/{n}"), b"x");
    }
    let end = async |away_at: Vec<usize>| {
        place.0.state.lock().away_at = away_at;
        let id = start(&engine, vec![prefix("mem://s", b"d")]).await;
        while matches!(engine.import_status(&repo(), &id).await.unwrap().outcome, ImportOutcome::Running) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        end_of(&engine, &id).await
    };
    end(vec![3, 0, 7]).await.unwrap();
    assert_eq!(keys_of(&engine, "main").await.len(), 10);
    let why = end(vec![0; 20]).await.unwrap_err();
    assert!(why.contains("the file server is away"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_does_not_keep_the_server_from_stopping() {
    let (world, place) = world(41);
    let engine = with_repo(&world).await;
    place.put("mem://s/f", b"x");
    place.hold_at(Some(0));
    start(&engine, vec![prefix("mem://s", b"d")]).await;
    place.until_holding(1).await;
    let (closed, ()) = tokio::join!(engine.close(), tokio::time::advance(std::time::Duration::from_secs(11)));
    closed.unwrap();
    place.hold_at(None);
}

#[tokio::test]
async fn what_cannot_be_imported_fails_in_the_status_and_changes_nothing() {
    let (world, place) = world(4);
    let engine = with_repo(&world).await;
    fill(&engine, &["a"]).await;
    place.put("mem://s/f", b"bytes");
    place.0.state.lock().objects.insert(b"mem://latin/caf\xe9".to_vec(), (b"bytes".to_vec(), 1));
    let head = engine.get_branch(&repo(), &branch("main")).unwrap().commit;
    for (paths, part) in [
        (vec![prefix("mem://latin", b"d")], "its name is not UTF-8"),
        (
            vec![prefix("s3://elsewhere/x", b"d")],
            "import error: error on ingest: s3://elsewhere/x is no place",
        ),
        (vec![object("mem://s/none", b"d")], "mem://s/none does not exist"),
        (vec![object("mem://s/f", b"")], "the destination of object 'mem://s/f' is empty"),
        (vec![object("mem://s/f", &[b'k'; 1025])], "cannot be imported"),
    ] {
        let why = import(&engine, paths).await.unwrap_err();
        assert!(why.contains(part), "{why}");
    }
    put(&engine, "main", b"staged", b"x").await;
    let why = import(&engine, vec![prefix("mem://s", b"d")]).await.unwrap_err();
    assert!(why.starts_with("import error: merge import: uncommitted changes"), "{why}");
    assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap().commit, head);
    // Refused at once.
    for source in ["local://lake", "local://lake/data/x", "local://la"] {
        let request = ImportRequest { paths: vec![prefix(source, b"d")], ..Default::default() };
        let refused = engine.import_start(&me(), &repo(), &branch("main"), request).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Invalid, "{source}");
    }
    let nowhere = engine.import_start(&me(), &repo(), &branch("none"), ImportRequest::default()).await;
    assert_eq!(nowhere.unwrap_err().kind, Kind::NotFound(Thing::Branch));
    assert_eq!(engine.import_status(&repo(), "none").await.unwrap_err().kind, Kind::NotFound(Thing::Other));
}

/// Commits, merges and other imports go on while one import lists, and nobody's work is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_commit_while_an_import_runs() {
    let (world, place) = world(5);
    let engine = with_repo(&world).await;
    fill(&engine, &["d/old", "keep", "change"]).await;
    for n in 0..20 {
        place.put(&format!("mem://s/{n:02}"), b"x");
    }
    place.hold_at(Some(10));
    let first = start(&engine, vec![prefix("mem://s", b"d")]).await;
    place.until_holding(1).await;
    put(&engine, "main", b"d/late", b"lost: below the destination").await;
    put(&engine, "main", b"change", b"changed").await;
    put(&engine, "main", b"new", b"new").await;
    delete(&engine, "main", b"keep").await;
    commit(&engine, "main", "meanwhile").await.unwrap();
    let second = start(&engine, vec![prefix("mem://s", b"e")]).await;
    place.until_holding(2).await;
    place.hold_at(None);
    let (one, two) = (end_of(&engine, &first).await.unwrap(), end_of(&engine, &second).await.unwrap());
    assert!(one.commit.parents == [two.id] || two.commit.parents == [one.id]);
    let mut expected = vec!["change".to_owned()];
    for folder in ["d", "e"] {
        expected.extend((0..20).map(|n| format!("{folder}/{n:02}")));
    }
    expected.push("new".to_owned());
    assert_eq!(keys_of(&engine, "main").await, expected);
    assert_eq!(get(&engine, "main", b"change").await.unwrap(), b"changed");
}

/// Whenever it is cancelled, an import has either made its commit or makes none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_import_makes_nothing_whenever_it_was_cancelled() {
    let (mut world, place) = world(6);
    world.options.import_step_changes = 3;
    let engine = with_repo(&world).await;
    for n in 0..10 {
        place.put(&format!("mem://s/{n}"), b"x");
    }
    let (mut cancelled, mut completed) = (0, 0);
    for hold in (0..12).map(Some).chain(std::iter::repeat_n(None, 40)) {
        let head = engine.get_branch(&repo(), &branch("main")).unwrap().commit;
        place.hold_at(hold.filter(|hold| *hold <= 10));
        let id = start(&engine, vec![prefix("mem://s", b"d")]).await;
        if hold.is_some_and(|hold| hold <= 10) {
            place.until_holding(1).await;
        }
        let cancel = engine.import_cancel(&me(), &repo(), &id).await;
        place.hold_at(None);
        let end = end_of(&engine, &id).await;
        match (cancel, end) {
            (Ok(()), Err(why)) => {
                assert_eq!(why, "Canceled");
                assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap().commit, head);
                cancelled += 1;
            }
            (Err(late), Ok(commit)) => {
                assert_eq!(late.kind, Kind::AlreadyExists);
                assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap().commit, commit.id);
                completed += 1;
            }
            other => panic!("cancel and end do not fit: {other:?}"),
        }
        let again = engine.import_cancel(&me(), &repo(), &id).await.unwrap_err();
        assert_eq!(again.kind, Kind::AlreadyExists);
    }
    assert!(cancelled >= 11, "{cancelled} cancelled, {completed} completed");
    assert!(engine.import_cancel(&me(), &repo(), "none").await.is_err());
}

/// A check of a running server walks commits that are newer than the refs it has loaded.
#[tokio::test]
async fn a_check_knows_the_rule_of_an_import_that_ends_while_it_runs() {
    let (world, place) = world(14);
    let engine = with_repo(&world).await;
    fill(&engine, &["a"]).await;
    place.put("mem://s/x", b"x");
    // It has loaded the refs when it opens the first pack.
    let gate = Gate::new();
    let blobs = Arc::new(GatedBlobs { inner: world.blobs.clone(), gate: gate.clone() });
    gate.shut();
    let (kv, tasks, watch) = (world.kv.clone(), world.options.tasks.clone(), Watch::new());
    let checking = tokio::spawn(fsck(kv, blobs, tasks, FsckRequest::default(), watch.clone()));
    gate.somebody_waits().await;
    import(&engine, vec![prefix("mem://s", b"d")]).await.unwrap();
    engine.checkpoint().await.unwrap();
    gate.open();
    checking.await.unwrap().unwrap();
    assert_eq!(watch.take_defects(), []);
}

/// A server that dies in the middle: its successor goes on behind the last note, and the tree is the one that an
/// undisturbed import makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_a_restart_behind_the_last_key_noted() {
    for kind in ["killed", "closed", "closed and checkpointed"] {
        let (mut world, place) = world(7);
        world.options.import_step_changes = 4;
        let engine = with_repo(&world).await;
        fill(&engine, &["d/05x", "d/zz", "e"]).await;
        for n in 0..20 {
            place.put(&format!("mem://s/{n:02}"), b"x");
        }
        let undisturbed = {
            engine.create_branch(&me(), &repo(), &branch("other"), &at("main"), false, false).await.unwrap();
            let request = ImportRequest { paths: vec![prefix("mem://s", b"d")], ..Default::default() };
            let id = engine.import_start(&me(), &repo(), &branch("other"), request).await.unwrap();
            end_of(&engine, &id).await.unwrap()
        };
        place.hold_at(Some(11));
        let id = start(&engine, vec![prefix("mem://s", b"d")]).await;
        place.until_holding(1).await;
        if kind != "killed" {
            let mut closing = Box::pin(engine.close());
            assert!(futures::poll!(&mut closing).is_pending(), "it waits for the import to stop");
            place.hold_at(None);
            closing.await.unwrap();
        }
        // The old one, if it still runs, is fenced off by the new one's epoch.
        let engine = world.open().await;
        let status = engine.import_status(&repo(), &id).await.unwrap();
        assert!(matches!(status.outcome, ImportOutcome::Running));
        assert!(status.ingested >= 7 && status.ingested <= 11, "{}", status.ingested);
        if kind == "closed and checkpointed" {
            engine.checkpoint().await.unwrap();
        }
        place.0.state.lock().asked_after.clear();
        place.hold_at(None);
        engine.resume_imports();
        let commit = end_of(&engine, &id).await.unwrap();
        assert_eq!(commit.commit.tree, undisturbed.commit.tree, "{kind}");
        let after = place.0.state.lock().asked_after.clone();
        assert!(after.contains(&b"06".to_vec()) || after.contains(&b"10".to_vec()), "{after:?}");
        assert_eq!(engine.import_status(&repo(), &id).await.unwrap().ingested, 20);
        assert_eq!(get(&engine, "main", b"d/19").await.unwrap(), b"x");
        // Also what a later restart finds.
        engine.close().await.unwrap();
        let engine = world.open().await;
        assert_eq!(end_of(&engine, &id).await.unwrap().id, commit.id);
        assert_eq!(get(&engine, "main", b"d/19").await.unwrap(), b"x");
        world.clock.advance(25 * 3600 * 1000);
        engine.checkpoint().await.unwrap();
        engine.checkpoint().await.unwrap();
        assert!(engine.import_status(&repo(), &id).await.is_err(), "an import is forgotten after a day");
    }
}

/// Packs of an import are stored beside those of commits. An index that covers a pack's number without having
/// its nodes would lose them at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_the_index_covers_no_pack_that_is_still_being_stored() {
    let (mut world, place) = world(8);
    let slow = Arc::new(SlowPacks {
        inner: MemoryBlobs::new(),
        hold: Mutex::default(),
        go: tokio::sync::Notify::new(),
    });
    world.blobs = slow.clone();
    let engine = with_repo(&world).await;
    for n in 0..5_000 {
        place.put(&format!("mem://s/{n:04}"), b"x");
    }
    fill(&engine, &["a"]).await;
    *slow.hold.lock() = Some(1_000);
    let id = start(&engine, vec![prefix("mem://s", b"d")]).await;
    while slow.hold.lock().is_some() {
        tokio::task::yield_now().await;
    }
    // Now a pack with a smaller number is on its way: commit and checkpoint pass it.
    fill(&engine, &["b"]).await;
    engine.checkpoint().await.unwrap();
    slow.go.notify_one();
    end_of(&engine, &id).await.unwrap();
    engine.close().await.unwrap();
    let engine = world.open().await;
    assert_eq!(list(&engine, "main", 1000).await.len(), 5_002);
}

/// Holds the first blob that is larger than so many bytes until it may go.
struct SlowPacks {
    inner: MemoryBlobs,
    hold: Mutex<Option<usize>>,
    go: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl Blobs for SlowPacks {
    async fn put(&self, key: &millpond_blob::BlobKey, bytes: Bytes) -> std::result::Result<(), BlobError> {
        let held = self.hold.lock().take_if(|least| bytes.len() > *least).is_some();
        if held {
            self.go.notified().await;
        }
        self.inner.put(key, bytes).await
    }
    async fn create(
        &self,
        key: &millpond_blob::BlobKey,
    ) -> std::result::Result<Box<dyn millpond_blob::BlobWriter>, BlobError> {
        self.inner.create(key).await
    }
    async fn open(
        &self,
        key: &millpond_blob::BlobKey,
    ) -> std::result::Result<Arc<dyn BlobReader>, BlobError> {
        self.inner.open(key).await
    }
    async fn size(&self, key: &millpond_blob::BlobKey) -> std::result::Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }
    async fn delete(&self, key: &millpond_blob::BlobKey) -> std::result::Result<(), BlobError> {
        self.inner.delete(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> std::result::Result<Vec<(millpond_blob::BlobKey, u64)>, BlobError> {
        self.inner.list(prefix, after, limit).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_fails_when_its_branch_becomes_protected_meanwhile() {
    let (world, place) = world(11);
    let engine = with_repo(&world).await;
    place.put("mem://one/k", b"1");
    place.hold_at(Some(0));
    let id = start(&engine, vec![prefix("mem://one", b"")]).await;
    place.until_holding(1).await;
    let change = ProtectionChange::Add("main".into());
    engine.change_branch_protection(&me(), &repo(), change).await.unwrap();
    place.hold_at(None);
    let why = end_of(&engine, &id).await.unwrap_err();
    assert!(why.starts_with("import error: merge import: cannot commit to protected branch"), "{why}");
    assert_eq!(keys_of(&engine, "main").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_fails_when_its_branch_goes_and_ends_when_its_repository_goes() {
    let (world, place) = world(9);
    let engine = with_repo(&world).await;
    place.put("mem://s/f", b"x");
    engine.create_branch(&me(), &repo(), &branch("side"), &at("main"), false, false).await.unwrap();
    place.hold_at(Some(0));
    let request = ImportRequest { paths: vec![prefix("mem://s", b"d")], ..Default::default() };
    let id = engine.import_start(&me(), &repo(), &branch("side"), request).await.unwrap();
    place.until_holding(1).await;
    engine.delete_branch(&me(), &repo(), &branch("side"), false).await.unwrap();
    place.hold_at(None);
    assert!(end_of(&engine, &id).await.unwrap_err().contains("branch 'side' not found"));
    place.hold_at(Some(0));
    start(&engine, vec![prefix("mem://s", b"d")]).await;
    place.until_holding(1).await;
    engine.delete_repository(&me(), &repo(), false).await.unwrap();
    place.hold_at(None);
    engine.close().await.unwrap();
    with_repo(&world).await;
}

/// Random trees, sources and destinations, in steps of every size, against a map.
#[tokio::test]
async fn imports_agree_with_a_map_that_is_obviously_right() {
    for seed in 0..40 {
        let random = Seeded::new(seed);
        let (mut world, place) = world(100 + seed);
        world.options.import_step_changes = 1 + random.draw() as usize % 7;
        let engine = with_repo(&world).await;
        let word = || ["a", "ab", "b", "a/a", "a/b", "b/", "c"][random.draw() as usize % 7];
        let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for n in 0..random.draw() % 30 {
            let key = format!("{}{}{n}", word(), word());
            put(&engine, "main", key.as_bytes(), key.as_bytes()).await;
            model.insert(key.clone(), key.into_bytes());
        }
        if !model.is_empty() {
            commit(&engine, "main", "before").await.unwrap();
        }
        let mut sources: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for n in 0..random.draw() % 30 {
            sources.insert(format!("{}/{}", word().trim_end_matches('/'), word()), vec![n as u8; n as usize]);
        }
        sources.iter().for_each(|(name, bytes)| place.put(&format!("mem://{name}"), bytes));
        for _ in 0..3 {
            let mut paths = Vec::new();
            for _ in 0..random.draw() % 3 {
                match sources.keys().nth(random.draw() as usize % 5) {
                    Some(name) if random.draw().is_multiple_of(3) => {
                        paths.push(object(&format!("mem://{name}"), word().as_bytes()));
                    }
                    _ => paths.push(prefix(&format!("mem://{}", word()), word().as_bytes())),
                }
            }
            for path in &paths {
                model.retain(|key, _| !key.as_bytes().starts_with(&path.destination));
            }
            for path in &paths {
                let to = String::from_utf8(path.destination.to_vec()).unwrap();
                let from = path.source.strip_prefix("mem://").unwrap();
                if path.kind == SourceKind::Object {
                    model.insert(to, sources[from].clone());
                    continue;
                }
                let from = if from.ends_with('/') { from.to_owned() } else { format!("{from}/") };
                let to = if to.ends_with('/') { to } else { format!("{to}/") };
                for (name, bytes) in &sources {
                    if let Some(name) = name.strip_prefix(&from).filter(|name| !name.is_empty()) {
                        model.insert(format!("{to}{name}"), bytes.clone());
                    }
                }
            }
            import(&engine, paths).await.unwrap();
            assert_eq!(
                keys_of(&engine, "main").await,
                model.keys().cloned().collect::<Vec<_>>(),
                "seed {seed}"
            );
            for (key, bytes) in &model {
                assert_eq!(
                    get(&engine, "main", key.as_bytes()).await.as_ref(),
                    Some(bytes),
                    "seed {seed}: {key}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_check_names_sources_that_are_gone_or_changed_and_calls_nothing_damaged() {
    let (world, place) = world(40);
    let engine = with_repo(&world).await;
    for name in ["changed", "gone", "same"] {
        place.put(&format!("mem://s/{name}"), name.as_bytes());
    }
    import(&engine, vec![prefix("mem://s", b"d"), object("mem://s/gone", b"alone")]).await.unwrap();
    // A second version of the leaf: each source is looked at once all the same.
    put(&engine, "main", b"d/own", b"own").await;
    commit(&engine, "main", "after").await.unwrap();
    let check = async |request: FsckRequest| {
        let watch = Watch::new();
        let report = engine.fsck(request, watch.clone()).await.unwrap();
        assert_eq!((report.defects, watch.take_defects()), (0, vec![]));
        (report, watch.take_gone_sources())
    };
    let (whole, sources) = check(FsckRequest::default()).await;
    assert_eq!((whole.imported, whole.declared, sources), (8, 0, vec![]));
    place.put("mem://s/changed", b"CHANGED");
    place.remove("mem://s/gone");
    let (report, sources) = check(FsckRequest::default()).await;
    let counts = [report.sources_changed, report.sources_missing, report.sources_unreadable];
    assert_eq!(counts, [1, 1, 0]);
    let mut lines: Vec<_> = sources
        .iter()
        .map(|s| format!("{}: {}: {}", s.path.as_ref().unwrap().to_text(), s.thing, s.what))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "alone: source mem://s/gone: mem://s/gone does not exist",
            "d/changed: source mem://s/changed: it is not what was imported any more",
        ]
    );
    assert_eq!(check(FsckRequest { quick: true, ..Default::default() }).await.1, []);
}

/// Stores of which the first look does not show everything yet, as when it comes meanwhile.
struct Late<T: ?Sized> {
    inner: Arc<T>,
    hidden: Vec<u8>,
    looks: std::sync::atomic::AtomicUsize,
}

impl<T: ?Sized> Late<T> {
    fn new(inner: &Arc<T>, hidden: &[u8]) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), hidden: hidden.to_vec(), looks: Default::default() })
    }
    fn shows(&self, is_first: bool, key: &[u8]) -> bool {
        !is_first || !key.starts_with(&self.hidden)
    }
    fn is_first(&self, concerns: bool) -> bool {
        concerns && self.looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0
    }
}

#[async_trait::async_trait]
impl Blobs for Late<dyn Blobs> {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> std::result::Result<(), BlobError> {
        self.inner.put(key, bytes).await
    }
    async fn create(&self, key: &BlobKey) -> std::result::Result<Box<dyn BlobWriter>, BlobError> {
        self.inner.create(key).await
    }
    async fn open(&self, key: &BlobKey) -> std::result::Result<Arc<dyn BlobReader>, BlobError> {
        self.inner.open(key).await
    }
    async fn size(&self, key: &BlobKey) -> std::result::Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }
    async fn delete(&self, key: &BlobKey) -> std::result::Result<(), BlobError> {
        self.inner.delete(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> std::result::Result<Vec<(BlobKey, u64)>, BlobError> {
        let is_first = self.is_first(true);
        let all = self.inner.list(prefix, after, limit).await?;
        Ok(all.into_iter().filter(|(key, _)| self.shows(is_first, key.as_str().as_bytes())).collect())
    }
}

#[async_trait::async_trait]
impl Kv for Late<dyn Kv> {
    async fn get(&self, key: &[u8]) -> std::result::Result<Option<Bytes>, KvError> {
        self.inner.get(key).await
    }
    async fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> std::result::Result<Vec<(Bytes, Bytes)>, KvError> {
        let is_first = self.is_first(from.starts_with(&self.hidden));
        let all = self.inner.scan(from, to, limit).await?;
        Ok(all.into_iter().filter(|(key, _)| self.shows(is_first, key)).collect())
    }
    async fn commit(&self, batch: Batch) -> std::result::Result<(), KvError> {
        self.inner.commit(batch).await
    }
}

#[tokio::test]
async fn what_an_import_adds_beside_a_check_is_no_defect() {
    let (world, place) = world(41);
    let engine = with_repo(&world).await;
    place.put("mem://s/f", b"bytes");
    import(&engine, vec![prefix("mem://s", b"d")]).await.unwrap();
    put(&engine, "main", b"later", b"later").await;
    commit(&engine, "main", "later").await.unwrap();
    engine.checkpoint().await.unwrap();
    drop(engine);
    let check = async |kv: Arc<dyn Kv>, blobs: Arc<dyn Blobs>| {
        let watch = Watch::new();
        let tasks = world.options.tasks.clone();
        fsck(kv, blobs, tasks, FsckRequest::default(), watch.clone()).await.unwrap();
        watch.take_defects()
    };
    // A pack that lands after others with higher numbers.
    let packs = world.blobs.list("r1/pack/", "", 100).await.unwrap();
    assert!(packs.len() > 1, "{packs:?}");
    for (pack, _) in &packs {
        let late = Late::new(&world.blobs, pack.as_str().as_bytes());
        assert_eq!(check(world.kv.clone(), late).await, [], "{}", pack.as_str());
    }
    // The rule by which entries of a later commit have their address.
    let late = Late::new(&world.kv, b"a/");
    assert_eq!(check(late.clone(), world.blobs.clone()).await, []);
    assert!(late.looks.load(std::sync::atomic::Ordering::SeqCst) > 1, "it was hidden");
}
