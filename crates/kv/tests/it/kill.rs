//! A writer is killed with SIGKILL in the middle of its work, again and again on one file: every batch that it
//! called acknowledged is there, and no batch is there in part. (A power cut needs a machine, see `make crash`.)

use bytes::Bytes;
use millpond_kv::{Batch, Kv, LocalKv, Write};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CHILD_FILE: &str = "MILLPOND_KV_KILL_FILE";

/// Not a test but the victim: runs only as the child of the test below.
#[test]
fn victim() {
    let Ok(path) = std::env::var(CHILD_FILE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
    runtime.block_on(write_until_killed(Path::new(&path)));
}

async fn write_until_killed(path: &Path) {
    let kv = Arc::new(LocalKv::open(path).expect("opens"));
    // Each victim counts in a range of its own, so that no number is used twice however its writers overtake
    // each other.
    let life = kv.get(b"life").await.expect("get");
    let life = life.map_or(0, |v| u64::from_be_bytes(v[..].try_into().expect("eight bytes"))) + 1;
    let begun = Write::Put("life".into(), Bytes::copy_from_slice(&life.to_be_bytes()));
    kv.commit(Batch { preconditions: vec![], writes: vec![begun] }).await.expect("commit");
    let next = Arc::new(AtomicU64::new(life * 1_000_000));
    let writers = (0..4).map(|_| {
        let (kv, next) = (kv.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                let value = Bytes::from(n.to_string().repeat(50));
                let write = |key: String, value: &Bytes| Write::Put(key.into(), value.clone());
                let writes = vec![write(format!("left/{n}"), &value), write(format!("right/{n}"), &value)];
                kv.commit(Batch { preconditions: vec![], writes }).await.expect("commit");
                let mut out = std::io::stdout().lock();
                writeln!(out, "acknowledged {n}").and_then(|()| out.flush()).expect("the parent listens");
            }
        })
    });
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("meta.redb");
    let mut acknowledged: Vec<u64> = Vec::new();
    // Killed after so many acknowledgements: at once, early, late.
    for lines_until_kill in [1, 3, 40, 7, 150, 2, 90, 25] {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "kill::victim", "--nocapture", "--test-threads=1"])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.expect("text");
            // The first line shares its row with the test harness.
            let Some((_, n)) = line.split_once("acknowledged ") else { continue };
            acknowledged.push(n.parse().expect("a number"));
            seen += 1;
            if seen == lines_until_kill {
                child.kill().expect("SIGKILL");
            }
        }
        let status = child.wait().expect("reaped");
        assert_eq!(status.signal(), Some(9), "the victim must die of the kill, not end by itself");

        let kv = LocalKv::open(&path).expect("opens after a kill without any repair");
        for n in &acknowledged {
            let expected = Some(Bytes::from(n.to_string().repeat(50)));
            assert_eq!(
                kv.get(format!("left/{n}").as_bytes()).await.expect("get"),
                expected,
                "batch {n} is lost"
            );
        }
        let suffixes = async |prefix: &str| {
            let end = millpond_kv::prefix_end(prefix.as_bytes()).expect("an end");
            let pairs = kv.scan(prefix.as_bytes(), &end, usize::MAX).await.expect("scan");
            pairs.into_iter().map(|(k, v)| (k.slice(prefix.len()..), v)).collect::<Vec<_>>()
        };
        assert_eq!(suffixes("left/").await, suffixes("right/").await, "a batch is there in part");
    }
    let unique: std::collections::HashSet<_> = acknowledged.iter().collect();
    assert_eq!(unique.len(), acknowledged.len(), "the test counts each batch once");
}
