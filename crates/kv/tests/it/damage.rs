//! Bytes of the file that changed on the disk: a read gives what was written or an error, and a look at the
//! whole file finds every change that matters.

use bytes::Bytes;
use millpond_kv::{Batch, Kv, KvError, LocalKv, Write};
use std::path::Path;

const ROWS: usize = 300;

fn key(n: usize) -> Bytes {
    Bytes::from(format!("t/{n:05}"))
}

fn value(n: usize) -> Bytes {
    Bytes::from(format!("value {n} ").repeat(1 + n % 30))
}

async fn filled(path: &Path) -> Vec<u8> {
    let kv = LocalKv::open(path).expect("opens");
    let writes = (0..ROWS).map(|n| Write::Put(key(n), value(n))).collect();
    kv.commit(Batch { preconditions: vec![], writes }).await.expect("commit");
    drop(kv);
    std::fs::read(path).expect("read")
}

/// What became of all rows: `(right, refused, missing)`. A wrong value ends the test.
async fn read_all(kv: &LocalKv, what: &str) -> (usize, usize, usize) {
    let mut counts = (0, 0, 0);
    for n in 0..ROWS {
        match kv.get(&key(n)).await {
            Ok(Some(found)) => {
                assert_eq!(found, value(n), "{what}: a wrong value was served");
                counts.0 += 1;
            }
            Ok(None) => counts.2 += 1,
            Err(_) => counts.1 += 1,
        }
    }
    if let Ok(rows) = kv.scan(b"t/", b"t0", 10_000).await {
        for (found, its_value) in rows {
            let n = (0..ROWS).find(|n| key(*n) == found);
            assert_eq!(Some(its_value), n.map(value), "{what}: a scan served a wrong row");
        }
    }
    counts
}

/// Flips one bit of every `step`-th byte of the file that is not zero, or lies beside one that is not.
async fn flip_everywhere(step: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("meta.redb");
    let good = filled(&path).await;
    let (mut flips, mut harmless, mut found) = (0, 0, 0);
    let used = |at: usize| good[at.saturating_sub(64)..(at + 64).min(good.len())].iter().any(|b| *b != 0);
    for at in (0..good.len()).filter(|at| used(*at)).step_by(step) {
        flips += 1;
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).expect("write");
        let what = format!("byte {at}");
        let looked = LocalKv::open_untouched(&path);
        let (counts, told) = match &looked {
            Ok((kv, pages)) => (Some(read_all(kv, &what).await), pages.is_some()),
            Err(_) => (None, true),
        };
        drop(looked);
        assert!(std::fs::read(&path).expect("read") == bad, "{what}: looking changed the file");
        match counts {
            // Beyond the pages in use: nobody can tell, and nobody need.
            Some((ROWS, 0, 0)) if !told => harmless += 1,
            Some((_, refused, missing)) => {
                assert!(told || refused > 0, "{what}: {missing} rows are gone and nobody says so");
                found += 1;
            }
            None => found += 1,
        }
        // A server that opens it for work may refuse, and must not serve anything wrong.
        if let Ok(kv) = LocalKv::open(&path) {
            read_all(&kv, &what).await;
        }
    }
    assert!(found > flips / 4, "{found} of {flips} found, {harmless} harmless");
    eprintln!("{flips} flips, {found} found, {harmless} harmless");
}

#[tokio::test]
async fn a_flipped_bit_is_never_served() {
    flip_everywhere(211).await;
}

/// `make flips` runs this.
#[tokio::test]
#[ignore = "takes minutes"]
async fn a_flipped_bit_is_never_served_exhaustive() {
    flip_everywhere(1).await;
}

#[tokio::test]
async fn a_torn_file_is_refused_or_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("meta.redb");
    let good = filled(&path).await;
    for keep in [1, 4_096, good.len() / 3, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..keep]).expect("write");
        if let Ok((kv, pages)) = LocalKv::open_untouched(&path) {
            let (right, refused, missing) = read_all(&kv, &format!("cut to {keep}")).await;
            assert!(right == ROWS || pages.is_some() || refused > 0, "cut to {keep}: {missing} rows gone");
        }
    }
}

#[tokio::test]
async fn a_damaged_row_is_named_and_the_others_stay_readable() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("meta.redb");
    let mut bytes = filled(&path).await;
    let body = value(77);
    let at = bytes.windows(body.len()).position(|w| w == body).expect("the value is in the file");
    bytes[at + 3] ^= 4;
    std::fs::write(&path, &bytes).expect("write");
    let kv = LocalKv::open(&path).expect("opens");
    let Err(KvError::Damaged(named, _)) = kv.get(&key(77)).await else { panic!("served or not named") };
    assert_eq!(named, key(77));
    assert_eq!(kv.get(&key(78)).await.expect("read"), Some(value(78)));
    let Err(KvError::Damaged(named, _)) = kv.scan(b"t/", b"t0", 10_000).await else { panic!("scanned") };
    assert_eq!(named, key(77));
    let expect = millpond_kv::Expect::Value(value(77));
    let batch = Batch { preconditions: vec![(key(77), expect)], writes: vec![] };
    assert!(matches!(kv.commit(batch).await, Err(KvError::Damaged(..))), "judged by a damaged row");
    kv.commit(Batch { preconditions: vec![], writes: vec![Write::Put(key(77), value(77))] })
        .await
        .expect("writing it again heals it");
    assert_eq!(kv.get(&key(77)).await.expect("read"), Some(value(77)));
}
