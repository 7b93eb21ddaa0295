//! Whoever changes the trail is found out, whatever they mend around it.

use super::*;
use crate::record::{Beside, BesideChange, Context, Refusal, Row};
use crate::{Actor, Engine, NewRepository, Options, keys};
use bytes::Bytes;
use millpond_blob::{Blobs, MemoryBlobs};
use millpond_kv::{Batch, Kv, MemoryKv, Write};
use millpond_testkit::{ManualClock, Seeded};
use millpond_types::{BranchName, RefExpr, RepositoryName};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

struct World {
    kv: Arc<MemoryKv>,
    blobs: Arc<MemoryBlobs>,
    clock: Arc<ManualClock>,
    options: Options,
}

impl World {
    fn new() -> Self {
        Self {
            kv: Arc::new(MemoryKv::new()),
            blobs: Arc::new(MemoryBlobs::new()),
            clock: Arc::new(ManualClock::at(1_700_000_000_000)),
            options: Options::default(),
        }
    }

    async fn open(&self) -> Arc<Engine> {
        let random = Arc::new(Seeded::new(7));
        let options = self.options.clone();
        Engine::open(self.kv.clone(), self.blobs.clone(), self.clock.clone(), random, options)
            .await
            .expect("opened")
    }

    async fn write(&self, writes: Vec<Write>) {
        self.kv.commit(Batch { preconditions: vec![], writes }).await.expect("written");
    }

    /// The newest segment and its rows.
    async fn newest(&self, engine: &Engine) -> (Segment, Vec<Bytes>) {
        let rows = crate::checkpoint::scan_all(&*self.kv, keys::AUDIT_SEGMENTS).await.expect("read");
        let segment = Segment::decode(rows[0].1.clone()).expect("a segment");
        let rows = segment.read(&*self.blobs, &*engine.options.tasks).await.expect("its rows");
        (segment, rows)
    }

    /// What somebody leaves behind who changes a segment and mends whatever is said about it.
    async fn forge(&self, old: Segment, rows: &[Bytes]) {
        let blob = pack(rows);
        let segment = Segment {
            rows: rows.len() as u64,
            sha256: Sha256::digest(&blob).into(),
            bytes: blob.len() as u64,
            ..old
        };
        self.blobs.put(&segment.blob(), blob).await.expect("written");
        self.write(vec![Write::Put(keys::audit_segment(segment.first), segment.encode())]).await;
    }
}

fn repo() -> RepositoryName {
    RepositoryName::parse("lake").expect("a name")
}

fn ada() -> Actor {
    let address = Some("192.0.2.7".parse().expect("an address"));
    Actor { name: "ada".into(), request_id: "R".into(), address, ..Actor::default() }
}

async fn create(engine: &Engine) {
    let main = BranchName::parse("main").expect("a name");
    let new = NewRepository {
        name: repo(),
        storage_namespace: "local://lake".into(),
        default_branch: main,
        read_only: false,
    };
    engine.create_repository(&ada(), new).await.expect("made");
}

async fn branch(engine: &Engine, name: &str) {
    let (name, from) = (BranchName::parse(name).expect("a name"), RefExpr::parse("main").expect("a ref"));
    engine.create_branch(&ada(), &repo(), &name, &from, false, false).await.expect("made");
}

async fn faults(engine: &Arc<Engine>) -> Vec<AuditFault> {
    engine.verify_audit(None).await.expect("walked").faults
}

#[tokio::test]
async fn rows_outlive_checkpoints_and_restarts_in_one_chain() {
    let world = World::new();
    let engine = world.open().await;
    create(&engine).await;
    for name in ["a", "b", "c"] {
        branch(&engine, name).await;
        engine.checkpoint().await.expect("checkpoint");
    }
    // Small ones were taken into the next: one segment, one blob.
    let proof = engine.verify_audit(None).await.expect("walked");
    assert_eq!((proof.segments, proof.rows, proof.events, proof.last), (1, 4, 4, 4));
    assert_eq!(world.blobs.list("audit/", "", 9).await.expect("listed").len(), 1);
    engine.close().await.expect("closed");
    drop(engine);
    let engine = world.open().await;
    branch(&engine, "d").await;
    let proof = engine.verify_audit(Some((proof.last, proof.head))).await.expect("walked");
    assert_eq!((proof.faults, proof.rows), (vec![], 5));
    assert_eq!(proof.begun, Begun { row: 1, reason: Reason::Complete });

    let query = AuditQuery { amount: 2, ..AuditQuery::default() };
    let page = engine.audit(query.clone()).await.expect("read");
    let names = |page: &AuditPage| page.events.iter().map(|e| e.reference.clone()).collect::<Vec<_>>();
    assert_eq!(names(&page), ["d", "c"], "one of the journal, one of a segment");
    let event = &page.events[0];
    assert_eq!((event.actor.as_str(), event.verb.as_str()), ("ada", "create"));
    assert_eq!(event.address, ada().address);
    assert_eq!((event.request_id.as_str(), event.repository.as_str()), ("R", "lake"));
    let page = engine.audit(AuditQuery { before: page.next, ..query.clone() }).await.expect("read");
    assert_eq!(names(&page), ["b", "a"]);
    let page = engine.audit(AuditQuery { before: page.next, ..query.clone() }).await.expect("read");
    assert_eq!((page.events.len(), page.next), (1, None));
    assert_eq!(page.events[0].changes[0].kind, "create-repository");
    let only = AuditQuery { reference: Some("b".into()), amount: 9, ..AuditQuery::default() };
    assert_eq!(names(&engine.audit(only).await.expect("read")), ["b"]);
    let none = AuditQuery { since: Some(millpond_types::Timestamp(i64::MAX)), ..query.clone() };
    assert_eq!(engine.audit(none).await.expect("read").events, []);

    // A repository that is gone keeps its name.
    engine.delete_repository(&ada(), &repo(), true).await.expect("deleted");
    for _ in 0..2 {
        let page = engine.audit(AuditQuery { amount: 9, ..AuditQuery::default() }).await.expect("read");
        assert!(page.events.iter().all(|event| event.repository == "lake"), "{page:?}");
        engine.checkpoint().await.expect("checkpoint");
    }
}

#[tokio::test]
async fn a_changed_dropped_moved_or_forged_row_is_named() {
    for case in
        ["flip", "change", "drop", "drop the last", "swap", "insert", "no segment", "no blob", "journal"]
    {
        let world = World::new();
        let engine = world.open().await;
        create(&engine).await;
        for name in ["a", "b", "c", "d"] {
            branch(&engine, name).await;
        }
        engine.checkpoint().await.expect("checkpoint");
        branch(&engine, "live").await;
        assert_eq!(faults(&engine).await, [], "{case}");
        let (segment, mut rows) = world.newest(&engine).await;
        // The row of branch b, which is the third.
        let altered = {
            let mut row = Row::decode(rows[2].clone()).expect("a row");
            row.mutations[0].0.actor = "eve".into();
            let mutations: Vec<_> = row.mutations.iter().map(|(c, r)| (c, r.as_slice())).collect();
            Bytes::from(Row::encode(row.epoch, &row.previous, &mutations))
        };
        let key = keys::audit_segment(segment.first);
        let expected = match case {
            "flip" => {
                let mut blob = pack(&rows).to_vec();
                *blob.last_mut().expect("bytes") ^= 1;
                world.blobs.put(&segment.blob(), blob.into()).await.expect("written");
                1
            }
            "change" => {
                rows[2] = altered;
                world.forge(segment, &rows).await;
                4
            }
            "drop" => {
                rows.remove(2);
                world.forge(segment, &rows).await;
                3
            }
            "drop the last" => {
                rows.pop();
                world.forge(segment, &rows).await;
                1
            }
            "swap" => {
                rows.swap(2, 3);
                world.forge(segment, &rows).await;
                3
            }
            "insert" => {
                rows.insert(2, altered);
                world.forge(segment, &rows).await;
                4
            }
            "no segment" => {
                world.write(vec![Write::Delete(key)]).await;
                1
            }
            "no blob" => {
                world.blobs.delete(&segment.blob()).await.expect("deleted");
                1
            }
            _ => {
                let live = world.kv.get(&keys::journal(6)).await.expect("read").expect("there");
                let mut row = Row::decode(live).expect("a row");
                row.mutations[0].0.actor = "eve".into();
                let mutations: Vec<_> = row.mutations.iter().map(|(c, r)| (c, r.as_slice())).collect();
                let forged = Row::encode(row.epoch, &row.previous, &mutations);
                world.write(vec![Write::Put(keys::journal(6), forged.into())]).await;
                6
            }
        };
        let found = faults(&engine).await;
        assert_eq!(found.first().map(|fault| fault.row), Some(expected), "{case}: {found:?}");
        // fsck names it too; the rows of the journal it can judge only by the rows behind them.
        if case != "journal" {
            let watch = crate::Watch::new();
            engine.fsck(crate::FsckRequest::default(), watch.clone()).await.expect("checked");
            let defects = watch.take_defects();
            assert!(defects.iter().any(|d| d.thing.contains("audit trail")), "{case}: {defects:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_was_put_back_to_yesterday_does_not_lead_to_the_known_head() {
    let world = World::new();
    let engine = world.open().await;
    create(&engine).await;
    let known = engine.verify_audit(None).await.expect("walked");
    let before = crate::checkpoint::scan_all(&*world.kv, b"j/").await.expect("read");
    branch(&engine, "a").await;
    let later = engine.verify_audit(None).await.expect("walked");
    drop(engine);
    let everything = crate::checkpoint::scan_all(&*world.kv, b"j/").await.expect("read");
    let new = everything[before.len()..].iter().map(|(key, _)| Write::Delete(key.clone()));
    world.write(new.collect()).await;
    let engine = world.open().await;
    let proof = engine.verify_audit(Some((known.last, known.head))).await.expect("walked");
    assert_eq!(proof.faults, []);
    let proof = engine.verify_audit(Some((later.last, later.head))).await.expect("walked");
    assert_eq!(proof.faults[0].row, later.last);
    branch(&engine, "b").await;
    let proof = engine.verify_audit(Some((later.last, later.head))).await.expect("walked");
    assert!(proof.faults[0].what.contains("not the row that was seen"), "{proof:?}");
}

/// The blob is written, the batch is not: the rows are there still, and the next checkpoint keeps them.
#[tokio::test]
async fn a_crash_between_segment_and_batch_loses_no_row() {
    let world = World::new();
    let engine = world.open().await;
    create(&engine).await;
    engine.checkpoint().await.expect("checkpoint");
    branch(&engine, "a").await;
    let before = world.kv.scan(b"", &[0xff; 64], usize::MAX).await.expect("read");
    let blobs = world.blobs.list("audit/", "", 9).await.expect("listed");
    let kept = {
        let reader = world.blobs.open(&blobs[0].0).await.expect("there");
        reader.read(0..reader.size()).await.expect("read")
    };
    engine.checkpoint().await.expect("checkpoint");
    drop(engine);
    // As if the last batch, and the deletion that follows it, had never been.
    let crashed = World { kv: Arc::new(MemoryKv::new()), ..world };
    crashed.write(before.into_iter().map(|(key, value)| Write::Put(key, value)).collect()).await;
    crashed.blobs.put(&blobs[0].0, kept).await.expect("written");
    let engine = crashed.open().await;
    let proof = engine.verify_audit(None).await.expect("walked");
    assert_eq!((proof.faults, proof.rows), (vec![], 2));
    branch(&engine, "b").await;
    engine.checkpoint().await.expect("checkpoint");
    let proof = engine.verify_audit(None).await.expect("walked");
    assert_eq!((proof.faults, proof.rows), (vec![], 3));
}

#[tokio::test]
async fn what_is_too_old_goes_and_the_rest_still_follows_from_it() {
    let mut world = World::new();
    world.options.audit_retention = Some(Duration::from_secs(3600));
    let engine = world.open().await;
    create(&engine).await;
    // More than is small, so that each checkpoint makes a segment of its own.
    let settle = async |name: &str| {
        for _ in 0..5 {
            let metadata = (0..60).map(|k| (format!("k{k}"), name.repeat(1000))).collect();
            engine.change_repository_metadata(&ada(), &repo(), metadata, &[]).await.expect("set");
        }
        branch(&engine, name).await;
        engine.checkpoint().await.expect("checkpoint");
    };
    settle("a").await;
    world.clock.advance(3_000_000);
    settle("b").await;
    assert_eq!(engine.verify_audit(None).await.expect("walked").begun.reason, Reason::Complete);
    world.clock.advance(1_000_000);
    settle("c").await;
    let proof = engine.verify_audit(None).await.expect("walked");
    assert_eq!(proof.faults, []);
    assert_eq!((proof.begun.reason, proof.segments), (Reason::Retention, 2));
    assert!(proof.begun.row > 1 && proof.rows == proof.last + 1 - proof.begun.row, "{proof:?}");
    assert_eq!(world.blobs.list("audit/", "", 9).await.expect("listed").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_noted_within_a_second_and_a_flood_is_counted() {
    let world = World::new();
    let engine = world.open().await;
    let refusal = |name: &str| Refusal {
        resource: format!("arn:{name}"),
        repository: "lake".into(),
        path: Bytes::from_static(b"secret/x"),
        ..Refusal::default()
    };
    for _ in 0..1000 {
        engine.note_refusal(&ada(), "fs:ReadObject", refusal("one"));
    }
    for n in 0..1000 {
        engine.note_refusal(&ada(), "fs:ReadObject", refusal(&format!("{n}")));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let query = AuditQuery { refused: Some(true), amount: 1000, ..AuditQuery::default() };
    let events = engine.audit(query.clone()).await.expect("read").events;
    assert_eq!(events.iter().map(|event| event.count).sum::<u64>(), 2000);
    assert_eq!(events.len(), 129);
    let first = events.last().expect("events");
    assert_eq!((first.count, first.refused.as_deref()), (1000, Some("arn:one")));
    assert_eq!((first.actor.as_str(), first.repository.as_str()), ("ada", "lake"));
    let path_prefix = Some(Bytes::from_static(b"secret/"));
    let found = engine.audit(AuditQuery { path_prefix, ..query.clone() }).await.expect("read");
    assert_eq!(found.events.len(), 128);
    // A stop leaves none behind.
    engine.note_refusal(&ada(), "fs:WriteObject", refusal("last"));
    engine.close().await.expect("closed");
    let last = engine.audit(query).await.expect("read").events;
    assert_eq!(last[0].verb, "fs:WriteObject");
    assert_eq!(faults(&engine).await, []);
}

/// Golden: a blob of two rows as version 1 wrote it, plain and compressed.
#[test]
fn segments_of_version_1_are_read() {
    let rows = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let plain = Bytes::from_static(b"MPAT\x01\x00\x08\x03one\x03two");
    assert_eq!(pack(&rows), plain, "what does not get shorter is not compressed");
    assert_eq!(unpack(plain).expect("plain"), rows);
    // Two literals, a match of 94 bytes at offset 1, five literals.
    let packed = Bytes::from(hex::decode("4d5041540101652f646101004b506161616161").expect("hexadecimal"));
    let long = [Bytes::from(vec![b'a'; 100])];
    assert_eq!(unpack(packed.clone()).expect("compressed"), long);
    assert!(pack(&long).len() < 40);
    assert_eq!(unpack(pack(&long)).expect("compressed now"), long);
    for cut in 0..packed.len() {
        assert!(unpack(packed.slice(..cut)).is_err(), "cut at {cut}");
    }
    let huge = Bytes::from_static(b"MPAT\x01\x01\xff\xff\xff\xff\xff\x0fabc");
    assert!(unpack(huge).is_err());
}

#[test]
fn an_address_and_a_refusal_are_in_the_row_and_its_times_are_checked() {
    let context = Context {
        address: Some("2001:db8::1".parse().expect("an address")),
        refusal: Some(Refusal { resource: "r".into(), count: 3, ..Refusal::default() }),
        ..Context::default()
    };
    let bytes = Bytes::from(Row::encode(1, &[0; 32], &[(&context, &[])]));
    assert_eq!(Row::decode(bytes.clone()).expect("a row").mutations[0].0, context);
    let place = AuditPlace { row: 1, position: 0 };
    assert_eq!(event_of(place, &context, &[]).1.address, context.address);
    let mut lying = bytes.to_vec();
    lying[34] = 2; // the earliest time
    assert!(Row::decode(lying.into()).is_err());
}

/// A change of users or policies writes a note in its batch; the note becomes a part of the chain, once, also when the
/// server dies in between.
#[tokio::test]
async fn notes_of_changes_beside_the_engine_are_taken_in_once() {
    let world = World::new();
    let engine = world.open().await;
    create(&engine).await;
    let note = |number: u64, on: &str| {
        let change = BesideChange { is_deletion: number == 2, on: on.into(), new: "words".into() };
        let beside = Beside { number, changes: vec![change] };
        audit_note(&ada(), "auth:CreateUser", millpond_types::Timestamp(1_700_000_000_001), beside)
    };
    world.write(vec![note(1, "user/eve"), note(2, "policy/p")]).await;
    let query = AuditQuery { verb: Some("auth:CreateUser".into()), amount: 9, ..AuditQuery::default() };
    let events = engine.audit(query.clone()).await.expect("read").events;
    let shown: Vec<_> = events.iter().map(|e| (e.changes[0].kind, &e.changes[0].on[..])).collect();
    assert_eq!(shown, [("remove", &b"policy/p"[..]), ("set", b"user/eve")]);
    assert_eq!((events[1].actor.as_str(), events[1].changes[0].new.as_str()), ("ada", "words"));
    assert_eq!(events[1].address, ada().address);
    // The server dies after the change and before it is taken in.
    world.write(vec![note(3, "user/bob")]).await;
    let damaged = Write::Put(keys::note(4), Bytes::from_static(b"\x02x"));
    world.write(vec![damaged]).await;
    drop(engine);
    let engine = world.open().await;
    let path_prefix = Some(Bytes::from_static(b"user/"));
    let page = engine.audit(AuditQuery { path_prefix, ..query }).await.expect("read");
    assert_eq!(page.events.len(), 2);
    let left = crate::checkpoint::scan_all(&*world.kv, keys::NOTES).await.expect("read");
    assert_eq!(left.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [keys::note(4)]);
    engine.checkpoint().await.expect("checkpoint");
    let proof = engine.verify_audit(None).await.expect("walked");
    assert_eq!((proof.faults, proof.events), (vec![], 4));
}
