//! Opening again, opening twice, opening rubbish, and sharing transactions.

use bytes::Bytes;
use millpond_kv::{Batch, Kv, KvError, RedbKv, Write};

fn put(key: String, value: &'static str) -> Batch {
    Batch { preconditions: vec![], writes: vec![Write::Put(key.into(), value.into())] }
}

#[tokio::test]
async fn what_was_committed_is_there_when_opened_again() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("new/deep/meta.redb");
    for round in 0..3 {
        let kv = RedbKv::open(&path).expect("opens");
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
    let first = RedbKv::open(&path).expect("opens");
    let Err(KvError::Failed(text)) = RedbKv::open(&path) else { panic!("opened twice") };
    assert!(text.contains(&directory.path().display().to_string()) && text.contains("in use"), "{text}");
    drop(first);
    RedbKv::open(&path).expect("free again");
}

#[test]
fn a_file_of_something_else_is_refused_not_overwritten() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("meta.redb");
    std::fs::write(&path, vec![7; 10_000]).expect("write");
    assert!(matches!(RedbKv::open(&path), Err(KvError::Failed(_))));
    assert_eq!(std::fs::read(&path).expect("read"), vec![7; 10_000]);
}

#[tokio::test]
async fn concurrent_batches_share_transactions() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let kv = RedbKv::open(directory.path().join("meta.redb")).expect("opens");
    let commits = (0..500).map(|n| kv.commit(put(format!("k{n}"), "v")));
    futures::future::join_all(commits).await.into_iter().collect::<Result<(), _>>().expect("all commit");
    let counters = kv.counters();
    assert_eq!(counters.batches, 500);
    assert!(counters.transactions < 500, "500 waiting batches took {} transactions", counters.transactions);
}
