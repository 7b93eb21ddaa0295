//! A writer is killed with SIGKILL in the middle of its work, again and again in one directory: every blob that it
//! called published is there, byte for byte, and no blob is there in part. (A power cut needs a machine.)

use millpond_blob::contract::{pattern, read};
use millpond_blob::{BlobKey, Blobs, LocalBlobs};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CHILD_DIRECTORY: &str = "MILLPOND_BLOB_KILL_DIRECTORY";
const CHILD_FROM: &str = "MILLPOND_BLOB_KILL_FROM";

fn key(n: u64) -> BlobKey {
    match n % 5 {
        0 => BlobKey::new(&format!("r1/pack/{n}")),
        _ => BlobKey::new(&format!("r1/data/{n}")),
    }
}

/// One in four is too large for a segment.
fn bytes(n: u64) -> bytes::Bytes {
    pattern(n, if n.is_multiple_of(4) { 66_000 + n as usize * 7 } else { n as usize * 13 % 60_000 })
}

/// Not a test but the victim: runs only as the child of the test below.
#[test]
fn victim() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else { return };
    let from = std::env::var(CHILD_FROM).expect("both are set").parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
    runtime.block_on(write_until_killed(directory.into(), from));
}

async fn write_until_killed(directory: PathBuf, from: u64) {
    let blobs = LocalBlobs::open(directory).expect("opens");
    let next = Arc::new(AtomicU64::new(from));
    let writers = (0..4).map(|_| {
        let (blobs, next) = (blobs.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                blobs.put(&key(n), bytes(n)).await.expect("put");
                say("published", n);
                if n % 7 == 0 {
                    say("deleting", n);
                    blobs.delete(&key(n)).await.expect("delete");
                    say("deleted", n);
                }
            }
        })
    });
    futures::future::join_all(writers).await;
}

fn say(what: &str, n: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "did: {what} {n}").and_then(|()| out.flush()).expect("the parent listens");
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Published,
    Deleting,
    Deleted,
}

#[tokio::test]
async fn nothing_published_is_lost_and_nothing_is_half_there() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut states = std::collections::BTreeMap::new();
    // Killed after so many lines: at once, early, late. Numbers are never used twice.
    for (round, lines_until_kill) in [1, 3, 40, 7, 150, 2, 90, 25].into_iter().enumerate() {
        run_and_kill(directory.path(), round as u64 * 10_000, lines_until_kill, &mut states);
        let blobs =
            LocalBlobs::open(directory.path().to_path_buf()).expect("opens after a kill without any repair");
        assert_eq!(blobs.damage(), [], "a kill is no damage");
        for (&n, &state) in &states {
            let found = read(&*blobs, &key(n)).await.ok();
            let right = match state {
                State::Published => found == Some(bytes(n)),
                State::Deleting => found.is_none() || found == Some(bytes(n)),
                State::Deleted => found.is_none(),
            };
            assert!(right, "blob {n}, {state:?}, has {:?} bytes", found.map(|b| b.len()));
        }
        // Whatever else is there was published without our hearing of it: it must be whole, too.
        for (name, size) in blobs.list("", "", usize::MAX / 4).await.expect("list") {
            let n = name.as_str().rsplit('/').next().and_then(|n| n.parse().ok()).expect("a number");
            assert_eq!(size, bytes(n).len() as u64);
            assert_eq!(read(&*blobs, &name).await.expect("read"), bytes(n), "blob {n} is there in part");
        }
        assert_eq!(std::fs::read_dir(directory.path().join("tmp")).expect("tmp").count(), 0);
    }
}

fn run_and_kill(
    directory: &Path,
    from: u64,
    lines_until_kill: usize,
    states: &mut std::collections::BTreeMap<u64, State>,
) {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "kill::victim", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIRECTORY, directory)
        .env(CHILD_FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        // The first line shares its row with the test harness.
        let Some((_, did)) = line.split_once("did: ") else { continue };
        let (what, n) = did.split_once(' ').expect("two words");
        let state = match what {
            "published" => State::Published,
            "deleting" => State::Deleting,
            _ => State::Deleted,
        };
        states.insert(n.parse().expect("a number"), state);
        seen += 1;
        if seen == lines_until_kill {
            child.kill().expect("SIGKILL");
        }
    }
    let status = child.wait().expect("reaped");
    assert_eq!(status.signal(), Some(9), "the victim must die of the kill, not end by itself");
}
