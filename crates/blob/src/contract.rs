//! What every object store must do, as tests. An adapter passes when [`suite`] returns.
//!
//! Durability and damage are not in here, because they need the machine under the store: each adapter has its own
//! tests for them.

use crate::{BlobError, BlobKey, Blobs};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sizes on both sides of every edge that a store is likely to have, in bytes.
const SIZES: [usize; 9] = [0, 1, 4096, 65_535, 65_536, 65_537, 131_072, 700_000, 3_000_001];

/// Runs every test of the contract, each on a fresh store.
///
/// # Panics
/// With the broken rule, when the store breaks one.
pub async fn suite(make: impl Fn() -> Arc<dyn Blobs>) {
    bytes_come_back_whole_and_by_range(make()).await;
    pieces_make_the_same_blob(make()).await;
    nothing_is_visible_before_it_is_published(make()).await;
    publishing_again_is_no_error(make()).await;
    deleted_is_gone_but_open_stays_readable(make()).await;
    listings_are_ordered_prefixed_and_paged(make()).await;
    a_missing_blob_is_not_found(make()).await;
    many_at_once(make()).await;
    random_steps_match_a_map(make()).await;
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

fn key(name: &str) -> BlobKey {
    BlobKey::new(name)
}

/// The whole blob.
///
/// # Errors
/// As opening and reading.
pub async fn read(blobs: &dyn Blobs, key: &BlobKey) -> Result<Bytes, BlobError> {
    let reader = blobs.open(key).await?;
    reader.read(0..reader.size()).await
}

async fn expect(blobs: &dyn Blobs, key: &BlobKey, bytes: &Bytes) {
    assert_eq!(blobs.size(key).await.expect("size"), Some(bytes.len() as u64), "size of {key:?}");
    let found = read(blobs, key).await.unwrap_or_else(|e| panic!("{key:?}: {e}"));
    assert!(found == *bytes, "{key:?} of {} bytes came back changed", bytes.len());
}

async fn expect_missing(blobs: &dyn Blobs, key: &BlobKey) {
    assert_eq!(blobs.size(key).await.expect("size"), None, "{key:?} should not be there");
    assert!(matches!(blobs.open(key).await.err(), Some(BlobError::NotFound(_))), "{key:?} should not open");
}

async fn names(blobs: &dyn Blobs, prefix: &str, after: &str, limit: usize) -> Vec<String> {
    let page = blobs.list(prefix, after, limit).await.expect("list");
    page.into_iter().map(|(key, _)| key.as_str().to_owned()).collect()
}

async fn bytes_come_back_whole_and_by_range(blobs: Arc<dyn Blobs>) {
    for (n, size) in SIZES.into_iter().enumerate() {
        let (key, bytes) = (key(&format!("r1/data/{n}")), pattern(n as u64, size));
        blobs.put(&key, bytes.clone()).await.expect("put");
        expect(&*blobs, &key, &bytes).await;
        let reader = blobs.open(&key).await.expect("open");
        assert_eq!(reader.size(), size as u64);
        let edges = [0, 1, 65_535, 65_536, 65_537, size / 2, size.saturating_sub(1), size];
        for from in edges {
            for to in edges {
                if from <= to && to <= size {
                    let part = reader.read(from as u64..to as u64).await.expect("a range inside");
                    assert!(part == bytes.slice(from..to), "bytes {from}..{to} of {size}");
                }
            }
            let beyond = size as u64 + 1;
            if from <= size {
                let result = reader.read(from as u64..beyond).await;
                assert!(matches!(result, Err(BlobError::Range(..))), "a range that ends outside: {result:?}");
            }
        }
    }
}

async fn pieces_make_the_same_blob(blobs: Arc<dyn Blobs>) {
    for (n, size) in SIZES.into_iter().enumerate() {
        for piece in [1000, 65_536, 400_000, 5_000_000] {
            let (key, bytes) = (key(&format!("r1/data/{n}-{piece}")), pattern(n as u64, size));
            let mut writer = blobs.create(&key).await.expect("create");
            for piece in bytes.chunks(piece) {
                writer.write(Bytes::copy_from_slice(piece)).await.expect("write");
                writer.write(Bytes::new()).await.expect("an empty piece");
            }
            writer.publish().await.expect("publish");
            expect(&*blobs, &key, &bytes).await;
        }
    }
}

async fn nothing_is_visible_before_it_is_published(blobs: Arc<dyn Blobs>) {
    for size in SIZES {
        let key = key("r1/data/draft");
        let mut writer = blobs.create(&key).await.expect("create");
        writer.write(pattern(1, size)).await.expect("write");
        expect_missing(&*blobs, &key).await;
        drop(writer);
        expect_missing(&*blobs, &key).await;
        assert_eq!(names(&*blobs, "", "", 10).await, Vec::<String>::new(), "a dropped writer leaves nothing");
    }
}

async fn publishing_again_is_no_error(blobs: Arc<dyn Blobs>) {
    for size in SIZES {
        let (key, bytes) = (key(&format!("r1/pack/{size}")), pattern(2, size));
        blobs.put(&key, bytes.clone()).await.expect("put");
        blobs.put(&key, bytes.clone()).await.expect("the same again");
        expect(&*blobs, &key, &bytes).await;
    }
    // Other bytes, across the edge between small and large: the one or the other, whole; and one delete is enough.
    for (old, new) in [(10, 20), (10, 100_000), (100_000, 10), (100_000, 200_000)] {
        let (key, old, new) = (key("r1/name"), pattern(3, old), pattern(4, new));
        blobs.put(&key, old.clone()).await.expect("put");
        blobs.put(&key, new.clone()).await.expect("other bytes");
        let found = read(&*blobs, &key).await.expect("read");
        assert!(found == old || found == new);
        assert_eq!(blobs.size(&key).await.expect("size"), Some(found.len() as u64));
        assert_eq!(names(&*blobs, "r1/name", "", 10).await, ["r1/name"], "listed once");
        blobs.delete(&key).await.expect("delete");
        expect_missing(&*blobs, &key).await;
    }
}

async fn deleted_is_gone_but_open_stays_readable(blobs: Arc<dyn Blobs>) {
    for name in ["r1/data/x", "r1/pack/x"] {
        for size in SIZES {
            let (key, bytes) = (key(name), pattern(5, size));
            blobs.put(&key, bytes.clone()).await.expect("put");
            let reader = blobs.open(&key).await.expect("open");
            blobs.delete(&key).await.expect("delete");
            blobs.delete(&key).await.expect("deleting again is no error");
            expect_missing(&*blobs, &key).await;
            assert_eq!(names(&*blobs, "", "", 10).await, Vec::<String>::new());
            assert!(reader.read(0..size as u64).await.expect("open before the delete") == bytes);
            blobs.put(&key, bytes.clone()).await.expect("put again");
            expect(&*blobs, &key, &bytes).await;
            blobs.delete(&key).await.expect("delete");
        }
    }
}

async fn listings_are_ordered_prefixed_and_paged(blobs: Arc<dyn Blobs>) {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for n in 0..40 {
        let size = if n % 3 == 0 { 70_000 + n } else { n };
        for name in
            [format!("r1/data/{:02x}", n * 7 % 40), format!("r1/pack/{n:03}"), format!("r10/data/{n}")]
        {
            blobs.put(&key(&name), pattern(6, size)).await.expect("put");
            all.insert(name, size as u64);
        }
    }
    for name in ["r1", "r1/d", "r1/database", "r2/data", "single"] {
        blobs.put(&key(name), pattern(7, 3)).await.expect("put");
        all.insert(name.to_owned(), 3);
    }
    for prefix in
        ["", "r", "r1", "r1/", "r1/d", "r1/data", "r1/data/", "r1/data/1", "r1/pack/", "r10/", "r2/data", "x"]
    {
        let expected: Vec<(BlobKey, u64)> = all
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, size)| (key(name), *size))
            .collect();
        let found = blobs.list(prefix, "", usize::MAX / 4).await.expect("list");
        assert_eq!(found, expected, "prefix {prefix:?}");
        for limit in [1, 7, 1000] {
            let (mut paged, mut after) = (Vec::new(), String::new());
            loop {
                let page = blobs.list(prefix, &after, limit).await.expect("list");
                assert!(page.len() <= limit);
                let Some((last, _)) = page.last() else { break };
                after = last.as_str().to_owned();
                paged.extend(page);
            }
            assert_eq!(paged, expected, "prefix {prefix:?} in pages of {limit}");
        }
    }
    assert_eq!(
        names(&*blobs, "r1/pack/", "r1/pack/0385", 9).await,
        ["r1/pack/039"],
        "`after` need not exist"
    );
    assert_eq!(
        names(&*blobs, "r1/pack/", "r0", 1).await,
        ["r1/pack/000"],
        "`after` may lie before the prefix"
    );
    assert_eq!(names(&*blobs, "r1/pack/", "s", 9).await, Vec::<String>::new(), "or behind it");
    assert_eq!(names(&*blobs, "", "", 0).await, Vec::<String>::new());
}

async fn a_missing_blob_is_not_found(blobs: Arc<dyn Blobs>) {
    for name in ["r1/data/none", "r1/pack/none", "none"] {
        expect_missing(&*blobs, &key(name)).await;
        blobs.delete(&key(name)).await.expect("deleting what is not there");
    }
}

async fn many_at_once(blobs: Arc<dyn Blobs>) {
    let tasks: Vec<_> = (0..64u64)
        .map(|n| {
            let blobs = blobs.clone();
            tokio::spawn(async move {
                let key = key(&format!("r1/data/{n}"));
                let bytes = pattern(n, if n % 8 == 0 { 200_000 } else { 500 + n as usize });
                blobs.put(&key, bytes.clone()).await.expect("put");
                expect(&*blobs, &key, &bytes).await;
                // All write one name with one content at the same time, as equal objects do; it is never missing.
                let (shared, content) = (self::key("r1/data/shared"), pattern(99, 100_000));
                blobs.put(&shared, content.clone()).await.expect("put shared");
                expect(&*blobs, &shared, &content).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
    assert_eq!(names(&*blobs, "r1/data/", "", 1000).await.len(), 65);
}

async fn random_steps_match_a_map(blobs: Arc<dyn Blobs>) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    let mut model: BTreeMap<BlobKey, Bytes> = BTreeMap::new();
    for step in 0..300 {
        let name = match below(2) {
            0 => format!("r1/data/{}", below(6)),
            _ => format!("r1/pack/{}", below(6)),
        };
        let key = key(&name);
        if below(3) == 0 {
            blobs.delete(&key).await.expect("delete");
            model.remove(&key);
        } else {
            // One size a name, because the contract leaves open which of two contents wins.
            let bytes = pattern(name.len() as u64, name.as_bytes()[8] as usize % 3 * 50_000);
            blobs.put(&key, bytes.clone()).await.expect("put");
            model.insert(key.clone(), bytes);
        }
        match model.get(&key) {
            Some(bytes) => expect(&*blobs, &key, bytes).await,
            None => expect_missing(&*blobs, &key).await,
        }
        if step % 10 == 0 {
            let expected: Vec<(BlobKey, u64)> =
                model.iter().map(|(k, v)| (k.clone(), v.len() as u64)).collect();
            assert_eq!(blobs.list("", "", 100).await.expect("list"), expected, "after step {step}");
        }
    }
}
