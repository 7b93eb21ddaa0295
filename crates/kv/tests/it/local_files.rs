//! Opening again, opening twice, opening rubbish, and sharing transactions.

use bytes::Bytes;
use millpond_kv::{Batch, Expect, Kv, KvError, LocalKv, Write};

fn put(key: String, value: &'static str) -> Batch {
    Batch { preconditions: vec![], writes: vec![Write::Put(key.into(), value.into())] }
}

#[tokio::test]
async fn what_was_committed_is_there_when_opened_again() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("new/deep/meta.redb");
    for round in 0..3 {
        let kv = LocalKv::open(&path).expect("opens");
        for earlier in 0..round {
            let value = kv.get(format!("round/{earlier}").as_bytes()).await.expect("get");
            assert_eq!(value, Some(Bytes::from("kept")), "round {earlier} seen from round {round}");
        }
        kv.commit(put(format!("round/{round}"), "kept")).await.expect("commit");
    }
}

#[tokio::test]
async fn a_directory_in_use_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("meta.redb");
    let first = LocalKv::open(&path).expect("opens");
    let Err(KvError::Failed(text)) = LocalKv::open(&path) else { panic!("opened twice") };
    assert!(text.contains(&directory.path().display().to_string()) && text.contains("in use"), "{text}");
    drop(first);
    LocalKv::open(&path).expect("free again");
}

#[test]
fn a_file_of_something_else_is_refused_not_overwritten() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("meta.redb");
    std::fs::write(&path, vec![7; 10_000]).expect("write");
    assert!(matches!(LocalKv::open(&path), Err(KvError::Failed(_))));
    assert_eq!(std::fs::read(&path).expect("read"), vec![7; 10_000]);
}

#[tokio::test]
async fn concurrent_batches_share_records() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let kv = LocalKv::open(directory.path().join("meta.redb")).expect("opens");
    let commits = (0..500).map(|n| kv.commit(put(format!("k{n}"), "v")));
    futures::future::join_all(commits).await.into_iter().collect::<Result<(), _>>().expect("all commit");
    let counters = kv.counters();
    assert_eq!(counters.batches, 500);
    assert!(counters.records < 500, "500 waiting batches took {} records", counters.records);
}

/// A first start must not be made over what is left of a store.
#[tokio::test]
async fn a_log_without_its_tables_is_no_new_store() {
    for is_empty in [false, true] {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("meta.redb");
        left_open(&path).await;
        if is_empty {
            std::fs::write(&path, b"").expect("emptied");
        } else {
            std::fs::remove_file(&path).expect("removed");
        }
        for _ in 0..2 {
            let Err(KvError::Failed(text)) = LocalKv::open(&path) else { panic!("begun anew") };
            assert!(text.contains("meta.redb") && text.contains("restore a backup"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_batch_is_judged_on_what_the_ranges_deleted_before_it_left() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let kv = LocalKv::open(directory.path().join("meta.redb")).expect("opens");
    for round in 0..50 {
        kv.commit(put("k/a".into(), "old")).await.expect("commit");
        let delete = Write::DeleteRange("k/".into(), "k0".into());
        let delete = Batch { preconditions: vec![], writes: vec![delete] };
        let make = |expect, value| Batch {
            preconditions: vec![("k/a".into(), expect)],
            writes: vec![Write::Put("k/a".into(), value)],
        };
        // One after the other, whether or not they share a record.
        let (deleted, wrong, right) = futures::join!(
            kv.commit(delete),
            kv.commit(make(Expect::Value("old".into()), "wrong".into())),
            kv.commit(make(Expect::Absent, "new".into())),
        );
        deleted.expect("deleted");
        assert!(matches!(wrong, Err(KvError::PreconditionFailed(_))), "round {round}: {wrong:?}");
        right.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}

/// A store that was not closed: twenty acknowledged batches in its log. Gives the log's path and its bytes.
async fn left_open(path: &std::path::Path) -> (std::path::PathBuf, Vec<u8>) {
    let kv = LocalKv::open(path).expect("opens");
    let log = path.with_extension("0000000001.log");
    for n in 0..20 {
        kv.commit(put(format!("k{n:02}"), "a value that is not short")).await.expect("commit");
    }
    let bytes = std::fs::read(&log).expect("the log is there");
    drop(kv);
    // As it was before it was closed.
    std::fs::remove_file(path).expect("remove");
    for file in std::fs::read_dir(path.parent().expect("a directory")).expect("list") {
        std::fs::remove_file(file.expect("entry").path()).expect("remove");
    }
    drop(LocalKv::open(path).expect("opens"));
    std::fs::write(&log, &bytes).expect("write");
    (log, bytes)
}

async fn count(path: &std::path::Path) -> Result<usize, KvError> {
    Ok(LocalKv::open(path)?.scan(b"k", b"l", usize::MAX).await?.len())
}

fn used(log: &[u8]) -> usize {
    log.iter().rposition(|b| *b != 0).expect("records") + 1
}

#[tokio::test]
async fn what_a_crash_tore_off_is_removed_and_writing_goes_on() {
    for torn in [1, 3, 9, 30] {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("meta.redb");
        let (log, mut bytes) = left_open(&path).await;
        let used = used(&bytes);
        bytes[used - torn..used].fill(0);
        std::fs::write(&log, &bytes).expect("write");
        let kv = LocalKv::open(&path).expect("opens");
        assert_eq!(kv.scan(b"k", b"l", usize::MAX).await.expect("scan").len(), 19, "{torn} bytes torn");
        kv.commit(put("kx".into(), "v")).await.expect("commit");
        drop(kv);
        assert_eq!(count(&path).await.expect("opens"), 20);
    }
}

#[tokio::test]
async fn a_flipped_bit_before_the_last_record_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("meta.redb");
    let (log, bytes) = left_open(&path).await;
    let last_record = used(&bytes) - 55;
    for at in (0..last_record).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&log, &damaged).expect("write");
        let Err(error) = count(&path).await else { panic!("byte {at} flipped and served") };
        let text = error.to_string();
        assert!(text.contains("0000000001.log"), "{text}");
    }
    std::fs::write(&log, &bytes).expect("write");
    assert_eq!(count(&path).await.expect("whole again"), 20);
}

#[tokio::test]
async fn a_missing_log_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("meta.redb");
    let (log, _) = left_open(&path).await;
    std::fs::remove_file(&log).expect("remove");
    let Err(KvError::Damaged(_, text)) = count(&path).await else { panic!("opened without its log") };
    assert!(text.contains("0000000001.log"), "{text}");
}

/// The accident: half of what the engine wrote was to stay, so the log grew to 96 MiB, was held in memory, and was read
/// again by the start after a kill.
#[tokio::test]
async fn what_is_left_when_a_range_is_deleted_goes_to_the_tables() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let kv = LocalKv::open(directory.path().join("meta.redb")).expect("opens");
    let row = Bytes::from(vec![3; 1 << 20]);
    for n in 0..12 {
        let put = |table: &str| Write::Put(format!("{table}/{n:03}").into(), row.clone());
        kv.commit(Batch { preconditions: vec![], writes: vec![put("journal"), put("table")] })
            .await
            .expect("commit");
    }
    assert_eq!(kv.counters().exchanges, 0, "all of it is alive");
    let trim = Write::DeleteRange("journal/".into(), "journal0".into());
    kv.commit(Batch { preconditions: vec![], writes: vec![trim] }).await.expect("commit");
    while kv.counters().exchanges == 0 {
        std::thread::yield_now();
    }
    assert_eq!(kv.scan(b"table/", b"table0", usize::MAX).await.expect("scan").len(), 12);
    assert_eq!(kv.scan(b"journal/", b"journal0", usize::MAX).await.expect("scan").len(), 0);
}

#[tokio::test]
async fn a_long_log_of_dead_rows_is_exchanged_while_writes_go_on() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("meta.redb");
    let kv = LocalKv::open(&path).expect("opens");
    let row = Bytes::from(vec![3; 1 << 20]);
    for n in 0..40 {
        let rows = Write::Put(format!("row/{n:03}").into(), row.clone());
        let trim = Write::DeleteRange("row/".into(), format!("row/{n:03}").into());
        let kept = Write::Put(format!("kept/{n:03}").into(), "v".into());
        let batch = Batch { preconditions: vec![], writes: vec![rows, trim, kept] };
        kv.commit(batch).await.expect("commit");
        let rows = kv.scan(b"row/", b"row0", usize::MAX).await.expect("scan");
        assert_eq!(rows.len(), 1, "after {n}");
        assert_eq!(kv.scan(b"kept/", b"kept0", usize::MAX).await.expect("scan").len(), n + 1);
    }
    assert!(kv.counters().exchanges > 0);
    drop(kv);
    let logs: Vec<u64> = std::fs::read_dir(directory.path())
        .expect("list")
        .map(|file| file.expect("entry"))
        .filter(|file| file.path().extension().is_some_and(|e| e == "log"))
        .map(|file| file.metadata().expect("metadata").len())
        .collect();
    assert_eq!(logs, [1 << 20], "one log without a record is left");
    let kv = LocalKv::open(&path).expect("opens");
    assert_eq!(kv.scan(b"", b"z", usize::MAX).await.expect("scan").len(), 41);
}
