//! Backups: of one moment while writers go on, only what is new, proved without restoring, restored the same.

use crate::fsck::rich;
use crate::support::*;
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use millpond_blob::{BlobError, BlobKey, BlobReader, BlobWriter, Blobs, MemoryBlobs};
use millpond_engine::*;
use millpond_kv::MemoryKv;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn empty() -> Stores {
    Stores { kv: Arc::new(MemoryKv::new()), blobs: Arc::new(MemoryBlobs::new()) }
}

async fn verified(at: &Stores, quick: bool) -> (BackupReport, Vec<Defect>) {
    let watch = Watch::new();
    let request = FsckRequest { quick, ..Default::default() };
    let tasks = Options::default().tasks;
    let (report, _) = verify_backup(at, tasks, request, watch.clone()).await.unwrap();
    (report, watch.take_defects())
}

/// A world over the stores of a restored backup.
fn world_of(stores: Stores) -> World {
    World { kv: stores.kv, blobs: stores.blobs, ..World::new(71) }
}

#[tokio::test]
async fn a_backup_restores_to_the_same_and_the_next_one_copies_only_what_is_new() {
    let world = World::new(70);
    let (engine, bodies) = rich(&world).await;
    let backup = empty();
    let first = engine.backup(&backup, &Watch::default()).await.unwrap();
    assert_eq!((first.number, first.copied), (1, first.blobs));
    assert!(first.rows > 20 && first.unreadable == 0, "{first:?}");
    assert_eq!(verified(&backup, false).await.1, []);
    let again = engine.backup(&backup, &Watch::default()).await.unwrap();
    assert_eq!((again.number, again.copied, again.blobs), (2, 0, first.blobs));

    put(&engine, "main", b"later", b"after the second backup").await;
    commit(&engine, "main", "later").await.unwrap();
    let third = engine.backup(&backup, &Watch::default()).await.unwrap();
    // The object and the pack of the commit.
    assert_eq!((third.copied, third.blobs), (2, first.blobs + 2));
    let (report, defects) = verified(&backup, false).await;
    assert_eq!((report.number, defects), (3, vec![]));
    let before = engine.fsck(FsckRequest::default(), Watch::new()).await.unwrap();
    drop(engine);

    let target = empty();
    let restored = restore(&backup, &target, &Watch::default()).await.unwrap();
    assert_eq!((restored.copied, restored.copied_bytes), (third.blobs, third.bytes));
    let old_epoch = target.kv.get(b"m/epoch").await.unwrap().unwrap();
    let copy = world_of(target);
    let (after, defects) = crate::fsck::check(&copy, FsckRequest::default()).await;
    assert_eq!((&after, defects), (&before, vec![]));
    let engine = copy.open().await;
    for (expr, key, body) in bodies {
        assert_eq!(get(&engine, expr, key).await.as_ref(), Some(&body), "{expr}");
    }
    assert_eq!(get(&engine, "main", b"later").await.unwrap(), b"after the second backup");
    let new_epoch = copy.kv.get(b"m/epoch").await.unwrap().unwrap();
    assert!(new_epoch > old_epoch, "the restored server is another writer");
    // It goes its own way, so the old backup is not its own.
    let refused = engine.backup(&backup, &Watch::default()).await.unwrap_err();
    assert!(refused.message.contains("another server"), "{refused}");
    engine.backup(&empty(), &Watch::default()).await.unwrap();
}

#[tokio::test]
async fn a_backup_under_writes_is_of_one_moment() {
    let world = World::new(72);
    let engine = with_repo(&world).await;
    let writing = async {
        // Two paths always hold the same after each commit.
        for n in 0..60u32 {
            let body = n.to_string();
            put(&engine, "main", b"a", body.as_bytes()).await;
            put(&engine, "main", b"b", body.as_bytes()).await;
            commit(&engine, "main", &body).await.unwrap();
            if n % 7 == 0 {
                engine.checkpoint().await.unwrap();
            }
        }
    };
    let backups = async {
        let backup = empty();
        for _ in 0..12 {
            engine.backup(&backup, &Watch::default()).await.unwrap();
            assert_eq!(verified(&backup, false).await.1, []);
            let target = empty();
            restore(&backup, &target, &Watch::default()).await.unwrap();
            let copy = world_of(target).open().await;
            assert_eq!(get(&copy, "main@", b"a").await, get(&copy, "main@", b"b").await);
        }
    };
    tokio::join!(writing, backups);
}

#[tokio::test]
async fn a_backup_right_after_a_checkpoint_says_up_to_which_row_it_holds_everything() {
    let world = World::new(75);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"a").await;
    let before = engine.backup(&empty(), &Watch::default()).await.unwrap();
    engine.checkpoint().await.unwrap();
    let after = engine.backup(&empty(), &Watch::default()).await.unwrap();
    // The checkpoint folds what is staged, which is a row too.
    assert!(before.upto_row > 0 && after.upto_row > before.upto_row, "{before:?} {after:?}");
}

/// An object store in which something comes before each blob that is put there.
struct Tapped {
    blobs: MemoryBlobs,
    first: Box<dyn Fn() -> BoxFuture<'static, std::result::Result<(), BlobError>> + Send + Sync>,
}

#[async_trait]
impl Blobs for Tapped {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> std::result::Result<(), BlobError> {
        (self.first)().await?;
        self.blobs.put(key, bytes).await
    }
    async fn create(&self, key: &BlobKey) -> std::result::Result<Box<dyn BlobWriter>, BlobError> {
        self.blobs.create(key).await
    }
    async fn open(&self, key: &BlobKey) -> std::result::Result<Arc<dyn BlobReader>, BlobError> {
        self.blobs.open(key).await
    }
    async fn size(&self, key: &BlobKey) -> std::result::Result<Option<u64>, BlobError> {
        self.blobs.size(key).await
    }
    async fn delete(&self, key: &BlobKey) -> std::result::Result<(), BlobError> {
        self.blobs.delete(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> std::result::Result<Vec<(BlobKey, u64)>, BlobError> {
        self.blobs.list(prefix, after, limit).await
    }
}

#[tokio::test]
async fn a_backup_that_was_cut_off_is_none_and_the_next_run_makes_it() {
    let world = World::new(73);
    let (engine, _) = rich(&world).await;
    let left = Arc::new(AtomicI64::new(10));
    let failing = {
        let left = left.clone();
        let first = move || {
            let full = left.fetch_sub(1, Ordering::SeqCst) <= 0;
            std::future::ready(if full { Err(BlobError::Failed("injected".into())) } else { Ok(()) }).boxed()
        };
        Tapped { blobs: MemoryBlobs::new(), first: Box::new(first) }
    };
    let backup = Stores { kv: Arc::new(MemoryKv::new()), blobs: Arc::new(failing) };
    engine.backup(&backup, &Watch::default()).await.unwrap_err();
    let tasks = Options::default().tasks;
    let none = verify_backup(&backup, tasks, FsckRequest::default(), Watch::new()).await.unwrap_err();
    assert!(none.message.contains("no complete backup"), "{none}");
    left.store(1_000, Ordering::SeqCst);
    let report = engine.backup(&backup, &Watch::default()).await.unwrap();
    assert_eq!(report.number, 1);
    assert_eq!(verified(&backup, false).await.1, []);
    // A later one that is cut off leaves the one before as it was.
    put(&engine, "main", b"new", b"new").await;
    left.store(0, Ordering::SeqCst);
    engine.backup(&backup, &Watch::default()).await.unwrap_err();
    let (still, defects) = verified(&backup, false).await;
    assert_eq!((still.number, still.upto_row, defects), (1, report.upto_row, vec![]));
}

/// The blob, and the same with its last bit turned.
async fn with_a_bit_turned(blobs: &dyn Blobs, key: &BlobKey) -> (Bytes, Bytes) {
    let reader = blobs.open(key).await.unwrap();
    let good = reader.read(0..reader.size()).await.unwrap();
    let mut bad = good.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    (good, bad.into())
}

#[tokio::test]
async fn damage_in_a_backup_is_named_left_out_of_a_restore_and_copied_again_by_the_next() {
    let world = World::new(74);
    let (engine, _) = rich(&world).await;
    // So that no checkpoint of an idle engine adds a pack meanwhile, nor keeps the rows of the first one's folds.
    engine.checkpoint().await.unwrap();
    engine.checkpoint().await.unwrap();
    let backup = empty();
    let first = engine.backup(&backup, &Watch::default()).await.unwrap();
    for (key, _) in backup.blobs.list("", "", 10_000).await.unwrap() {
        let (good, bad) = with_a_bit_turned(&*backup.blobs, &key).await;
        for bad in [Some(bad), None] {
            backup.blobs.delete(&key).await.unwrap();
            let is_there = bad.is_some();
            if let Some(bad) = bad {
                backup.blobs.put(&key, bad).await.unwrap();
            }
            let blob = format!("blob {}", key.as_str());
            let watch = Watch::new();
            let target = empty();
            let restored = restore(&backup, &target, &watch).await.unwrap();
            assert_eq!((restored.unreadable, restored.copied), (1, first.blobs - 1));
            assert!(watch.take_defects().iter().all(|d| d.thing == blob), "{blob} alone");
            assert_eq!(target.blobs.size(&key).await.unwrap(), None, "{blob} is not served from there");
            // The rest of it can be worked with.
            world_of(target).open().await;

            // What has another size is seen by any backup, what has not by one after a verification.
            if is_there {
                let unseen = engine.backup(&backup, &Watch::default()).await.unwrap();
                assert_eq!(unseen.copied, 0);
                let (_, defects) = verified(&backup, false).await;
                let named: Vec<_> = defects.iter().filter(|d| d.thing == blob).collect();
                assert!(named.iter().any(|d| d.remedy.contains("next backup")), "{defects:?}");
            }
            let healed = engine.backup(&backup, &Watch::default()).await.unwrap();
            assert_eq!((healed.copied, healed.blobs), (1, first.blobs), "{blob}");
            assert_eq!(verified(&backup, false).await.1, []);
            let (again, _) = with_a_bit_turned(&*backup.blobs, &key).await;
            assert_eq!(again, good);
        }
    }
    assert_eq!(engine.backup(&backup, &Watch::default()).await.unwrap().copied, 0);
    // A row of the metadata.
    let rows = backup.kv.scan(b"k/", b"k0", 10_000).await.unwrap();
    let (key, value) = rows.into_iter().find(|(key, _)| key.ends_with(b"v1")).unwrap();
    let mut bad = value.to_vec();
    bad[7] ^= 1;
    let write = |value: Bytes| millpond_kv::Batch {
        preconditions: vec![],
        writes: vec![millpond_kv::Write::Put(key.clone(), value)],
    };
    backup.kv.commit(write(bad.into())).await.unwrap();
    let (_, defects) = verified(&backup, true).await;
    assert!(defects.iter().any(|d| d.thing == "metadata of the backup"), "{defects:?}");
    let watch = Watch::new();
    restore(&backup, &empty(), &watch).await.unwrap();
    assert_eq!(watch.take_defects()[0].thing, "metadata of the backup");
}

#[tokio::test]
async fn an_upload_that_is_aborted_beside_a_backup_keeps_its_parts_until_the_end() {
    let world = World::new(76);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"an object").await;
    let upload = crate::uploads::begin(&engine).await;
    for number in 1..=100 {
        crate::uploads::part(&engine, &upload, number, format!("part {number}").as_bytes()).await;
    }
    let aborting = (engine.clone(), Arc::new(std::sync::Mutex::new(Some(upload))));
    let first = move || {
        let (engine, upload) = aborting.clone();
        async move {
            let upload = upload.lock().unwrap().take();
            if let Some(id) = upload {
                crate::uploads::abort(&engine, &id).await;
            }
            Ok(())
        }
        .boxed()
    };
    let blobs = Tapped { blobs: MemoryBlobs::new(), first: Box::new(first) };
    let backup = Stores { kv: Arc::new(MemoryKv::new()), blobs: Arc::new(blobs) };
    engine.backup(&backup, &Watch::default()).await.unwrap();
    assert_eq!(verified(&backup, false).await.1, []);
    let left = world.blobs.list("r1/data/", "", 1_000).await.unwrap();
    assert_eq!(left.len(), 1, "then they go");
}

#[tokio::test]
async fn a_blob_that_cannot_be_read_is_named_and_the_rest_is_backed_up() {
    let world = World::new(75);
    let (engine, _) = rich(&world).await;
    let backup = empty();
    let watch = Watch::new();
    engine.backup(&backup, &watch).await.unwrap();
    assert_eq!(watch.take_defects(), []);
    // Lost from the server, it is still in the backup.
    let key = world.blobs.list("r1/data/", "", 10).await.unwrap().remove(0).0;
    world.blobs.delete(&key).await.unwrap();
    let report = engine.backup(&backup, &watch).await.unwrap();
    assert_eq!((report.number, report.unreadable), (2, 0));
    assert_eq!(verified(&backup, false).await.1, []);
    let target = empty();
    restore(&backup, &target, &Watch::default()).await.unwrap();
    assert!(target.blobs.size(&key).await.unwrap().is_some());
}
