//! Every call of the engine to its stores fails once, in every way it may: an answer must stay true.
//!
//! A script of verbs runs again and again; in run *k* the *k*-th call fails. A verb that answers with an error must
//! have changed nothing while the server goes on, and must have happened whole or not at all after a restart. What was
//! acknowledged is there whatever failed.

use crate::failing::{Fault, Faults, FaultyBlobs, FaultyKv};
use crate::support::*;
use bytes::Bytes;
use millpond_blob::Blobs;
use millpond_engine::*;
use millpond_kv::Kv;
use millpond_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A world whose stores can fail, and where the script stands.
struct Run {
    world: World,
    healthy: (Arc<dyn Kv>, Arc<dyn Blobs>),
    faults: Arc<Faults>,
    engine: Arc<Engine>,
    upload: String,
    part: Option<CompletedPart>,
}

const STEPS: usize = 32;

impl Run {
    /// Call `fails_at` will fail, and the `busy_for - 1` after it. Zero: none does.
    async fn begin(fault: Fault, fails_at: u64, busy_for: u64) -> Self {
        let mut world = World::new(1);
        world.options.memtable_entries_max = 3;
        let engine = with_repo(&world).await;
        drop(engine);
        let healthy = (world.kv.clone(), world.blobs.clone());
        let faults = Arc::new(Faults::default());
        faults.fails_at.store(fails_at, Ordering::SeqCst);
        faults.busy_for.store(busy_for, Ordering::SeqCst);
        world.kv = Arc::new(FaultyKv { inner: healthy.0.clone(), faults: faults.clone(), fault });
        world.blobs = Arc::new(FaultyBlobs { inner: healthy.1.clone(), faults: faults.clone(), fault });
        faults.quiet.store(true, Ordering::SeqCst);
        let engine = world.open().await;
        faults.quiet.store(false, Ordering::SeqCst);
        Self { world, healthy, faults, engine, upload: String::new(), part: None }
    }

    async fn put(&self, name: &str, key: &[u8], body: &[u8]) -> Result<()> {
        put_with(&self.engine, name, key, body, put_request("text/plain")).await.map(drop)
    }

    async fn restart(&mut self) -> Result<()> {
        let World { kv, blobs, clock, random, options } = &self.world;
        let (kv, blobs) = (kv.clone(), blobs.clone());
        self.engine = Engine::open(kv, blobs, clock.clone(), random.clone(), options.clone()).await?;
        Ok(())
    }

    /// A restart after which nothing fails any more.
    async fn recover(&mut self) {
        self.world.kv = self.healthy.0.clone();
        self.world.blobs = self.healthy.1.clone();
        self.engine = self.world.open().await;
        // The answer with its id may have been lost.
        let open = self.engine.list_uploads(&repo(), "", "", "", 1).unwrap().items;
        self.upload = open.into_iter().next().map_or(std::mem::take(&mut self.upload), |upload| upload.id);
    }

    async fn step(&mut self, step: usize) -> Result<()> {
        let (main, dev) = (branch("main"), branch("dev"));
        let overrides = || CommitOverrides { message: Some(format!("step {step}")), metadata: None };
        let keyed = Actor { idempotency_key: Some(format!("key {step}")), ..me() };
        let message = format!("step {step}");
        let engine = self.engine.clone();
        match step {
            0 => self.put("main", b"a", b"small").await,
            1 => self.put("main", b"large", &[1; 200_000]).await,
            2 => self.put("main", b"stream", &[2; 1_500_000]).await,
            3 => commit(&engine, "main", &message).await.map(drop),
            4 => engine.create_branch(&me(), &repo(), &dev, &at("main"), false, false).await.map(drop),
            5 => self.put("dev", b"a", b"changed").await,
            6 => {
                engine
                    .delete_object(&me(), &repo(), &dev, &path(b"large"), WriteCondition::default(), false)
                    .await
            }
            7 => commit(&engine, "dev", &message).await.map(drop),
            8 => {
                let request = MergeRequest { message, ..Default::default() };
                engine.merge(&me(), &repo(), &at("dev"), &main, request).await.map(drop)
            }
            9 => engine.create_tag(&me(), &repo(), &tag("v1"), &at("main"), false).await.map(drop),
            10 => {
                let attributes = Attributes { content_type: "x/y".into(), metadata: BTreeMap::new() };
                let made =
                    engine.create_upload(&me(), &repo(), &main, &path(b"upload"), attributes, "", "").await?;
                self.upload = made.id;
                Ok(())
            }
            11 => {
                let key = path(b"upload");
                let mut writer = engine.put_part(&me(), &repo(), &main, &key, &self.upload, 1, None).await?;
                writer.write(Bytes::from(vec![3; 100_000])).await?;
                // The client knows it, also if the answer is lost.
                let etag = hex::encode(writer.digests().md5);
                self.part = Some(CompletedPart { number: 1, etag, checksums: BTreeMap::new() });
                writer.finish(BTreeMap::new()).await.map(drop)
            }
            12 | 13 => {
                // Once more, as a client does that lost the answer.
                let parts = self.part.iter().cloned().collect();
                let request = CompleteRequest { parts, ..Default::default() };
                engine
                    .complete_upload(&me(), &repo(), &main, &path(b"upload"), &self.upload, request)
                    .await
                    .map(drop)
            }
            14 => {
                let request = CopyRequest {
                    source: &at("dev"),
                    source_path: &path(b"stream"),
                    attributes: None,
                    source_condition: WriteCondition::default(),
                    condition: WriteCondition::default(),
                    force: false,
                };
                engine.copy_object(&me(), &repo(), &main, &path(b"copy"), request).await.map(drop)
            }
            15 => {
                let all = [&b"upload"[..], b"stream", b"nothing"];
                let all = all.map(|key| (path(key), WriteCondition::default())).to_vec();
                engine.delete_objects(&me(), &repo(), &main, all, false).await.map(drop)
            }
            16 | 23 | 30 => engine.checkpoint().await,
            17 => {
                let set = Metadata::from([("k".into(), "v".into())]);
                engine.set_object_metadata(&me(), &repo(), &main, &path(b"a"), set, false).await
            }
            18 => engine.reset(&me(), &repo(), &main, ResetScope::Path(path(b"upload")), false).await,
            19 => commit(&engine, "main", &message).await.map(drop),
            20 | 31 => self.restart().await,
            21 => engine
                .revert(&me(), &repo(), &main, &at("main"), 0, overrides(), false, false)
                .await
                .map(drop),
            22 => engine
                .cherry_pick(&me(), &repo(), &dev, &at("main~1"), None, overrides(), false)
                .await
                .map(drop),
            24 => self.put("main", b"b", b"b").await,
            25 => {
                let request = CommitRequest { message, ..Default::default() };
                engine.commit(&keyed, &repo(), &main, request).await.map(drop)
            }
            26 => engine.hard_reset(&me(), &repo(), &main, &at("v1"), false).await,
            27 => engine.undo(&me(), &repo(), &main, false).await.map(drop),
            28 => engine.delete_tag(&me(), &repo(), &tag("v1"), false).await,
            29 => engine.delete_branch(&me(), &repo(), &dev, false).await,
            _ => unreachable!("the script has {STEPS} steps"),
        }
    }

    /// Everything that a client can see, as text.
    async fn picture(&self) -> Vec<String> {
        self.faults.quiet.store(true, Ordering::SeqCst);
        let engine = &self.engine;
        let mut lines = Vec::new();
        for name in ["main", "dev"] {
            if engine.get_branch(&repo(), &branch(name)).is_err() {
                continue;
            }
            for (key, etag) in list(engine, name, 100).await {
                let body = get(engine, name, &key).await.unwrap_or_else(|| panic!("{key:?} cannot be read"));
                let (first, last) = (body.first(), body.last());
                let key = String::from_utf8_lossy(&key).into_owned();
                lines.push(format!("{name}: {key} {etag}, {} bytes from {first:?} to {last:?}", body.len()));
            }
            lines.extend(uncommitted(engine, name).await.iter().map(|line| format!("{name}: {line}")));
            let log = LogRequest { amount: 100, ..Default::default() };
            let log = engine.log(&repo(), &at(name), &log).await.unwrap();
            lines.extend(log.items.iter().map(|commit| format!("{name}: commit {}", commit.commit.message)));
        }
        for found in
            engine.list_tags(&repo(), &PageRequest { amount: 100, ..Default::default() }).unwrap().items
        {
            let commit = engine.get_commit(&repo(), &at(&found.commit.to_hex())).await.unwrap();
            lines.push(format!("tag {}: {}", found.name, commit.commit.message));
        }
        for upload in engine.list_uploads(&repo(), "", "", "", 100).unwrap().items {
            let key = upload.path.clone();
            let parts = engine.list_parts(&repo(), &branch("main"), &key, &upload.id, 0, 100).unwrap();
            lines.push(format!("upload of {}: {} parts", key.to_text(), parts.items.len()));
        }
        let moves = engine.ref_log(&repo(), None, None, 1000).await.unwrap().items;
        lines.extend(moves.iter().map(|m| format!("{} {}", m.name, m.cause)));
        self.faults.quiet.store(false, Ordering::SeqCst);
        lines
    }
}

/// What is seen after each step when nothing fails, and how many calls that takes.
async fn expected() -> (Vec<Vec<String>>, u64) {
    let mut run = Run::begin(Fault::Busy, 0, 0).await;
    let mut pictures = vec![run.picture().await];
    for step in 0..STEPS {
        run.step(step).await.unwrap_or_else(|e| panic!("step {step}: {e}"));
        pictures.push(run.picture().await);
    }
    (pictures, run.faults.calls.load(Ordering::SeqCst))
}

/// One run of the script. True if the fault made a verb fail.
async fn one_fault(fault: Fault, call: u64, busy_for: u64, pictures: &[Vec<String>]) -> bool {
    let mut run = Run::begin(fault, call, busy_for).await;
    let mut failed = false;
    for step in 0..STEPS {
        let tell = |what: &str| format!("call {call} {fault:?}, step {step}: {what}");
        let Err(error) = run.step(step).await else {
            assert_eq!(run.picture().await, pictures[step + 1], "{}", tell("acknowledged"));
            continue;
        };
        failed = true;
        if matches!(step, 20 | 31) {
            // It does not start, which is an answer as good as any. The next one does.
            run.recover().await;
        }
        // An undo that is made reads the ref log for its answer; when that cannot be read, a client has to look.
        if step == 27 && run.picture().await == pictures[step + 1] {
            continue;
        }
        assert_eq!(run.picture().await, pictures[step], "{}", tell("refused, so nothing may show"));
        match run.engine.health() {
            Ok(()) if !run.faults.has_failed() => {}
            Ok(()) => run.recover().await,
            Err(refusal) => {
                assert_eq!(refusal.kind, Kind::Internal, "{}: {error}", tell(&refusal.message));
                let later = run.put("main", b"later", b"later").await;
                assert_eq!(
                    later.map_err(|e| e.kind),
                    Err(Kind::Internal),
                    "{}",
                    tell("written after a failure")
                );
                run.recover().await;
                let found = run.picture().await;
                if found == pictures[step + 1] && found != pictures[step] {
                    continue;
                }
                assert_eq!(found, pictures[step], "{}", tell("neither whole nor not at all"));
            }
        }
        let mut again = run.step(step).await;
        while fault == Fault::Busy && again.as_ref().is_err_and(|error| error.kind == Kind::Busy) {
            assert_eq!(run.picture().await, pictures[step], "{}", tell("refused once more"));
            again = run.step(step).await;
        }
        again.unwrap_or_else(|e| panic!("{}", tell(&format!("refused again: {e}"))));
        assert_eq!(run.picture().await, pictures[step + 1], "{}", tell("done the second time"));
    }
    run.recover().await;
    assert_eq!(run.picture().await, pictures[STEPS], "call {call} {fault:?}: after a restart");
    failed
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_any_call_makes_no_answer_untrue() {
    let (pictures, calls) = expected().await;
    assert!(calls > 60, "{calls} calls");
    for fault in [Fault::FailedBefore, Fault::FailedAfter] {
        let mut failed = 0;
        for call in 1..=calls {
            failed += u64::from(one_fault(fault, call, 1, &pictures).await);
        }
        assert!(failed > calls / 2, "{failed} of {calls} faults made a verb fail");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_busy_at_any_call_for_a_while_or_long_makes_no_answer_untrue() {
    let (pictures, calls) = expected().await;
    for busy_for in [1, 30] {
        for call in 1..=calls {
            one_fault(Fault::Busy, call, busy_for, &pictures).await;
        }
    }
}
