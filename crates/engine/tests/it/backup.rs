//! Backups: of one moment while writers go on, only what is new, proved without restoring, restored the same.

use crate::fsck::rich;
use crate::support::*;
use async_trait::async_trait;
use bytes::Bytes;
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

/// An object store that takes so many blobs and then fails.
struct Failing {
    blobs: MemoryBlobs,
    left: AtomicI64,
}

#[async_trait]
impl Blobs for Failing {
    async fn put(&self, key: &BlobKey, bytes: Bytes) -> std::result::Result<(), BlobError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(BlobError::Failed("injected".into()));
        }
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
    let failing = Arc::new(Failing { blobs: MemoryBlobs::new(), left: AtomicI64::new(10) });
    let backup = Stores { kv: Arc::new(MemoryKv::new()), blobs: failing.clone() };
    engine.backup(&backup, &Watch::default()).await.unwrap_err();
    let tasks = Options::default().tasks;
    let none = verify_backup(&backup, tasks, FsckRequest::default(), Watch::new()).await.unwrap_err();
    assert!(none.message.contains("no complete backup"), "{none}");
    failing.left.store(1_000, Ordering::SeqCst);
    let report = engine.backup(&backup, &Watch::default()).await.unwrap();
    assert_eq!(report.number, 1);
    assert_eq!(verified(&backup, false).await.1, []);
    // A later one that is cut off leaves the one before as it was.
    put(&engine, "main", b"new", b"new").await;
    failing.left.store(0, Ordering::SeqCst);
    engine.backup(&backup, &Watch::default()).await.unwrap_err();
    let (still, defects) = verified(&backup, false).await;
    assert_eq!((still.number, still.upto_row, defects), (1, report.upto_row, vec![]));
}

#[tokio::test]
async fn damage_in_a_backup_is_named_and_never_restored() {
    let world = World::new(74);
    let (engine, _) = rich(&world).await;
    let backup = empty();
    engine.backup(&backup, &Watch::default()).await.unwrap();
    for (key, _) in backup.blobs.list("", "", 10_000).await.unwrap() {
        let reader = backup.blobs.open(&key).await.unwrap();
        let good = reader.read(0..reader.size()).await.unwrap();
        let mut bad = good.to_vec();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        for bad in [Some(bad), None] {
            backup.blobs.delete(&key).await.unwrap();
            if let Some(bad) = bad {
                backup.blobs.put(&key, bad.into()).await.unwrap();
            }
            let (_, defects) = verified(&backup, false).await;
            assert!(defects.iter().any(|d| d.thing == format!("blob {}", key.as_str())), "{defects:?}");
            restore(&backup, &empty(), &Watch::default()).await.unwrap_err();
        }
        backup.blobs.put(&key, good).await.unwrap();
    }
    assert_eq!(verified(&backup, false).await.1, []);
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
    let refused = restore(&backup, &empty(), &Watch::default()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Damaged);
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
