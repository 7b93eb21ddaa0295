//! Opening again, with and without the snapshot, twice at once, after a crash; and how puts share their syncs.

use millpond_blob::contract::{pattern, read};
use millpond_blob::{BlobError, BlobKey, Blobs, LocalBlobs};
use std::path::Path;

fn open(directory: &Path) -> std::sync::Arc<LocalBlobs> {
    LocalBlobs::open(directory.to_path_buf()).expect("opens")
}

fn key(n: usize) -> BlobKey {
    match n % 3 {
        0 => BlobKey::new(&format!("r1/pack/{n}")),
        _ => BlobKey::new(&format!("r1/data/{n}")),
    }
}

fn bytes(n: usize) -> bytes::Bytes {
    pattern(n as u64, if n % 10 == 9 { 100_000 } else { n * 10 })
}

/// Blobs of both kinds under both kinds of names, some of them deleted.
async fn fill(directory: &Path) {
    let blobs = open(directory);
    for n in 0..60 {
        blobs.put(&key(n), bytes(n)).await.expect("put");
    }
    for n in (0..60).step_by(4) {
        blobs.delete(&key(n)).await.expect("delete");
    }
}

async fn expect_filled(blobs: &LocalBlobs) {
    for n in 0..60 {
        match n % 4 {
            0 => assert!(
                matches!(read(blobs, &key(n)).await, Err(BlobError::NotFound(_))),
                "blob {n} came back"
            ),
            _ => assert_eq!(read(blobs, &key(n)).await.expect("read"), bytes(n), "blob {n}"),
        }
    }
    assert_eq!(blobs.list("", "", 100).await.expect("list").len(), 45);
    assert_eq!(blobs.damage(), []);
}

#[tokio::test]
async fn all_is_there_with_the_snapshot_without_it_and_with_a_bad_one() {
    let directory = tempfile::tempdir().expect("temporary directory");
    fill(directory.path()).await;
    let snapshot = directory.path().join("segments/index.snapshot");
    let good = std::fs::read(&snapshot).expect("a clean close leaves a snapshot");
    expect_filled(&open(directory.path())).await;
    std::fs::remove_file(&snapshot).expect("remove");
    expect_filled(&open(directory.path())).await;
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&snapshot, bad).expect("write");
    expect_filled(&open(directory.path())).await;
}

#[tokio::test]
async fn an_old_snapshot_is_completed_from_the_segments() {
    let directory = tempfile::tempdir().expect("temporary directory");
    fill(directory.path()).await;
    let snapshot = directory.path().join("segments/index.snapshot");
    let old = std::fs::read(&snapshot).expect("read");
    let blobs = open(directory.path());
    blobs.put(&BlobKey::new("r1/data/late"), pattern(1, 10)).await.expect("put");
    blobs.delete(&key(1)).await.expect("delete");
    drop(blobs);
    std::fs::write(&snapshot, old).expect("write");
    let blobs = open(directory.path());
    assert_eq!(read(&*blobs, &BlobKey::new("r1/data/late")).await.expect("read"), pattern(1, 10));
    assert_eq!(blobs.size(&key(1)).await.expect("size"), None);
    assert_eq!(blobs.size(&key(2)).await.expect("size"), Some(20));
}

#[tokio::test]
async fn a_directory_in_use_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let first = open(directory.path());
    let Err(BlobError::Failed(text)) = LocalBlobs::open(directory.path().to_path_buf()) else {
        panic!("opened twice")
    };
    assert!(text.contains(&directory.path().display().to_string()) && text.contains("in use"), "{text}");
    drop(first);
    open(directory.path());
}

#[tokio::test]
async fn temporary_files_of_a_crash_are_removed() {
    let directory = tempfile::tempdir().expect("temporary directory");
    drop(open(directory.path()));
    let left = directory.path().join("tmp/0000000000000000");
    std::fs::write(&left, "half a blob").expect("write");
    let blobs = open(directory.path());
    assert!(!left.exists());
    blobs.put(&BlobKey::new("r1/data/x"), pattern(1, 100_000)).await.expect("the name is free");
}

#[tokio::test]
async fn a_closed_store_leaves_nothing_running_and_late_writers_are_told() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let blobs = open(directory.path());
    let mut writer = blobs.create(&BlobKey::new("r1/data/x")).await.expect("create");
    writer.write(pattern(1, 10)).await.expect("write");
    drop(blobs);
    assert!(matches!(writer.publish().await, Err(BlobError::Failed(_))));
    let blobs = open(directory.path());
    assert_eq!(blobs.size(&BlobKey::new("r1/data/x")).await.expect("size"), None);
}

#[tokio::test]
async fn concurrent_small_puts_share_their_syncs() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let blobs = open(directory.path());
    let keys: Vec<BlobKey> = (0..500).map(|n| BlobKey::new(&format!("r1/data/{n}"))).collect();
    let puts = keys.iter().map(|key| blobs.put(key, pattern(1, 100)));
    futures::future::join_all(puts).await.into_iter().collect::<Result<(), _>>().expect("all put");
    let counters = blobs.counters();
    assert_eq!(counters.segment_records, 500);
    assert!(counters.segment_syncs < 500, "500 waiting puts took {} syncs", counters.segment_syncs);
    // Equal bytes under a name that has them are durable already.
    blobs.put(&keys[7], pattern(1, 100)).await.expect("put");
    assert_eq!(blobs.counters().segment_records, 500);
}
