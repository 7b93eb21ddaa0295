//! Bytes that changed on the disk: found wherever they are, never returned, and nothing beside them is lost.

use millpond_blob::contract::{pattern, read};
use millpond_blob::{BlobError, BlobKey, Blobs, LocalBlobs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn open(directory: &Path) -> Arc<LocalBlobs> {
    LocalBlobs::open(directory.to_path_buf()).expect("damage does not keep a store from opening")
}

fn key(n: u64) -> BlobKey {
    BlobKey::new(&format!("r1/data/{n}"))
}

fn segment(directory: &Path) -> PathBuf {
    directory.join("segments/00000001.seg")
}

/// Three small blobs, each in a group of its own, and a clean close.
async fn three(directory: &Path) -> Vec<u8> {
    let blobs = open(directory);
    for n in 0..3 {
        blobs.put(&key(n), pattern(n, 1000)).await.expect("put");
    }
    drop(blobs);
    std::fs::read(segment(directory)).expect("read")
}

fn flip(good: &[u8], at: usize) -> Vec<u8> {
    let mut bad = good.to_vec();
    bad[at] ^= 0x04;
    bad
}

#[tokio::test]
async fn every_flipped_byte_of_a_small_blob_is_found_on_reading() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let good = three(directory.path()).await;
    let record = (good.len() - 32) / 3;
    let second = 32 + record;
    let blobs = open(directory.path());
    for at in second..second + record {
        std::fs::write(segment(directory.path()), flip(&good, at)).expect("write");
        let result = read(&*blobs, &key(1)).await;
        // The first eight bytes only serve a scan; they are under the header's CRC all the same.
        assert!(matches!(result, Err(BlobError::Damaged(..))), "byte {at} flipped: {result:?}");
        assert_eq!(read(&*blobs, &key(0)).await.expect("the one before"), pattern(0, 1000));
        assert_eq!(read(&*blobs, &key(2)).await.expect("the one after"), pattern(2, 1000));
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_reported_at_a_start_and_never_cut_off() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let good = three(directory.path()).await;
    let record = (good.len() - 32) / 3;
    // In the data: the name is known, reading it tells. In the header: the name is lost, the report tells.
    for (at, name_known) in [(32 + record + 500, true), (32 + record + 20, false)] {
        std::fs::write(segment(directory.path()), flip(&good, at)).expect("write");
        let _ = std::fs::remove_file(directory.path().join("segments/index.snapshot"));
        let blobs = open(directory.path());
        assert_eq!(blobs.damage().len(), 1);
        assert_eq!(blobs.damage()[0].offset, (32 + record) as u64);
        match (read(&*blobs, &key(1)).await, name_known) {
            (Err(BlobError::Damaged(..)), true) | (Err(BlobError::NotFound(_)), false) => {}
            (other, _) => panic!("byte {at} flipped: {other:?}"),
        }
        for n in [0, 2] {
            assert_eq!(read(&*blobs, &key(n)).await.expect("sound"), pattern(n, 1000));
        }
        drop(blobs);
        assert_eq!(std::fs::read(segment(directory.path())).expect("read").len(), good.len());
    }
}

#[tokio::test]
async fn a_damaged_record_known_to_the_snapshot_is_damaged_not_missing() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let good = three(directory.path()).await;
    std::fs::write(segment(directory.path()), flip(&good, good.len() - 1020)).expect("write");
    let blobs = open(directory.path());
    assert!(matches!(read(&*blobs, &key(2)).await, Err(BlobError::Damaged(..))));
    // Writing it again heals it.
    blobs.put(&key(2), pattern(2, 1000)).await.expect("put");
    assert_eq!(read(&*blobs, &key(2)).await.expect("read"), pattern(2, 1000));
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_writing_goes_on() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let good = three(directory.path()).await;
    let record = (good.len() - 32) / 3;
    for torn in [1, 31, 32, 40, 500, record - 1] {
        // As after a kill: no snapshot of this end, and half of the third record.
        std::fs::write(segment(directory.path()), &good[..32 + 2 * record + torn]).expect("write");
        let _ = std::fs::remove_file(directory.path().join("segments/index.snapshot"));
        let blobs = open(directory.path());
        assert_eq!(blobs.damage(), [], "a torn tail is no damage");
        assert_eq!(blobs.size(&key(2)).await.expect("size"), None);
        blobs.put(&key(3), pattern(3, 77)).await.expect("put");
        drop(blobs);
        let blobs = open(directory.path());
        for (n, len) in [(0, 1000), (1, 1000), (3, 77)] {
            assert_eq!(
                read(&*blobs, &key(n)).await.expect("read"),
                pattern(n, len),
                "torn after {torn} bytes"
            );
        }
    }
}

#[tokio::test]
async fn a_missing_or_shortened_segment_is_reported() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let good = three(directory.path()).await;
    std::fs::write(segment(directory.path()), &good[..good.len() - 10]).expect("write");
    let blobs = open(directory.path());
    assert!(!blobs.damage().is_empty(), "a clean close knew of more bytes");
    assert_eq!(read(&*blobs, &key(0)).await.expect("sound"), pattern(0, 1000));
    drop(blobs);
    std::fs::rename(segment(directory.path()), directory.path().join("segments/00000002.seg"))
        .expect("rename");
    let blobs = open(directory.path());
    assert!(!blobs.damage().is_empty(), "segment 1 is missing");
    blobs.put(&key(9), pattern(9, 9)).await.expect("writing goes on");
}

#[tokio::test]
async fn a_segment_of_a_newer_version_is_refused_and_untouched() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut newer = three(directory.path()).await;
    newer[8] = 2;
    let crc = crc32fast::hash(&newer[..28]).to_le_bytes();
    newer[28..32].copy_from_slice(&crc);
    std::fs::write(segment(directory.path()), &newer).expect("write");
    let Err(BlobError::Failed(text)) = LocalBlobs::open(directory.path().to_path_buf()) else {
        panic!("opened a newer version")
    };
    assert!(text.contains("newer"), "{text}");
    assert_eq!(std::fs::read(segment(directory.path())).expect("read"), newer);
}

#[tokio::test]
async fn a_flipped_byte_of_a_large_blob_is_found_and_the_other_blocks_are_read() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let blobs = open(directory.path());
    let bytes = pattern(1, 300_000);
    blobs.put(&key(1), bytes.clone()).await.expect("put");
    let fans = std::fs::read_dir(directory.path().join("files/bulk")).expect("read");
    let fan = fans.map(|entry| entry.expect("entry").path()).next().expect("one directory");
    let file = fan.join("r1+data+1");
    let good = std::fs::read(&file).expect("the file is named after the blob");
    let reader = blobs.open(&key(1)).await.expect("open");
    for at in (0..bytes.len()).step_by(7919) {
        std::fs::write(&file, flip(&good, at)).expect("write");
        let result = reader.read(0..300_000).await;
        assert!(matches!(result, Err(BlobError::Damaged(..))), "byte {at} flipped");
        let block = at as u64 / 65_536;
        let result = reader.read(at as u64..at as u64 + 1).await;
        assert!(matches!(result, Err(BlobError::Damaged(..))), "a range inside the block");
        let other = if block == 0 { 70_000..70_010 } else { 0..10 };
        let sound = reader.read(other.clone()).await.expect("another block");
        assert_eq!(sound, bytes.slice(other.start as usize..other.end as usize));
    }
    // An unpublished file cut short is not served either.
    std::fs::write(&file, &good[..200_000]).expect("write");
    assert!(matches!(read(&*blobs, &key(1)).await, Err(BlobError::Damaged(..))));
    assert_eq!(blobs.list("r1/data/", "", 9).await.expect("list").len(), 1, "fsck can find it");
}
