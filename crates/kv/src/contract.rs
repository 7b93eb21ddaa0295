//! What every metadata store must do, as tests. An adapter passes when [`suite`] returns.
//!
//! Durability is not in here, because a process cannot cut its own power: each adapter has its own crash test.

use crate::{Batch, Expect, Kv, KvError, Write, prefix_end};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs every test of the contract, each on a fresh store.
///
/// # Panics
/// With the broken rule, when the store breaks one.
pub async fn suite(make: impl Fn() -> Arc<dyn Kv>) {
    values_are_bytes(make()).await;
    scans_are_ordered_half_open_and_limited(make()).await;
    preconditions_hold_or_nothing_happens(make()).await;
    writes_apply_in_order(make()).await;
    one_of_many_wins(make()).await;
    no_increment_is_lost(make()).await;
    a_batch_is_seen_whole_or_not_at_all(make()).await;
    random_batches_match_a_map(make()).await;
}

fn batch(preconditions: Vec<(Bytes, Expect)>, writes: Vec<Write>) -> Batch {
    Batch { preconditions, writes }
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Write {
    Write::Put(key.into(), value.into())
}

async fn write(kv: &dyn Kv, writes: Vec<Write>) {
    kv.commit(batch(vec![], writes)).await.expect("a batch without preconditions commits");
}

async fn get(kv: &dyn Kv, key: &[u8]) -> Option<Bytes> {
    kv.get(key).await.expect("get works")
}

async fn keys(kv: &dyn Kv, from: &[u8], to: &[u8], limit: usize) -> Vec<Bytes> {
    kv.scan(from, to, limit).await.expect("scan works").into_iter().map(|(key, _)| key).collect()
}

async fn values_are_bytes(kv: Arc<dyn Kv>) {
    assert_eq!(get(&*kv, b"nothing").await, None);
    let long = Bytes::from(vec![0xa5; 1 << 20]);
    let odd: [&[u8]; 5] = [b"\0", b"\0\0", b"\xff", b"\xff\xff", "gr\u{fc}n/\u{1f41f}".as_bytes()];
    write(&*kv, odd.iter().map(|key| put(key.to_vec(), key.to_vec())).collect()).await;
    write(&*kv, vec![put("long", long.clone()), put("empty", "")]).await;
    for key in odd {
        assert_eq!(get(&*kv, key).await.as_deref(), Some(key), "value of {key:?}");
    }
    assert_eq!(get(&*kv, b"long").await, Some(long), "a value of a mebibyte");
    assert_eq!(get(&*kv, b"empty").await, Some(Bytes::new()), "an empty value is not a missing one");
    write(&*kv, vec![Write::Delete("long".into()), Write::Delete("never there".into())]).await;
    assert_eq!(get(&*kv, b"long").await, None, "deleted");
}

async fn scans_are_ordered_half_open_and_limited(kv: Arc<dyn Kv>) {
    let all: [&[u8]; 7] = [b"a", b"a\0", b"a/", b"a0", b"b", b"b\xff", b"c"];
    write(&*kv, all.iter().rev().map(|key| put(key.to_vec(), "")).collect()).await;
    assert_eq!(keys(&*kv, b"", b"\xff", 100).await, all, "ascending by unsigned bytes");
    assert_eq!(keys(&*kv, b"a", b"b", 100).await, all[..4], "the start is in, the end is out");
    assert_eq!(keys(&*kv, b"a", b"b\0", 100).await, all[..5]);
    assert_eq!(keys(&*kv, b"a", b"\xff", 2).await, all[..2], "the limit");
    assert_eq!(keys(&*kv, b"a", b"\xff", 0).await, Vec::<Bytes>::new());
    assert_eq!(keys(&*kv, b"b", b"a", 9).await, Vec::<Bytes>::new(), "a backward range is empty");
    assert_eq!(keys(&*kv, b"b", b"b", 9).await, Vec::<Bytes>::new());
    let end = prefix_end(b"b").expect("b has an end");
    assert_eq!(keys(&*kv, b"b", &end, 9).await, all[4..6], "all keys with a prefix");
    // Page by page equals all at once, whatever the page size; more pages than any inline limit.
    write(&*kv, (0..300u32).map(|n| put(format!("page/{n:05}"), n.to_string())).collect()).await;
    let whole = keys(&*kv, b"page/", b"page0", 1000).await;
    assert_eq!(whole.len(), 300);
    for size in [1, 7, 64, 65, 299, 300, 301] {
        let (mut paged, mut from) = (Vec::new(), b"page/".to_vec());
        loop {
            let page = keys(&*kv, &from, b"page0", size).await;
            let Some(last) = page.last() else { break };
            from = [last.as_ref(), b"\0"].concat();
            paged.extend(page);
        }
        assert_eq!(paged, whole, "pages of {size}");
    }
}

async fn preconditions_hold_or_nothing_happens(kv: Arc<dyn Kv>) {
    let absent = || vec![(Bytes::from("k"), Expect::Absent)];
    let has = |value: &'static str| vec![(Bytes::from("k"), Expect::Value(value.into()))];
    let refused = |result: Result<(), KvError>| match result {
        Err(KvError::PreconditionFailed(key)) => assert_eq!(key, "k", "the error names the key"),
        other => panic!("expected a failed precondition, got {other:?}"),
    };
    refused(kv.commit(batch(has("1"), vec![put("k", "x"), put("other", "x")])).await);
    assert_eq!(get(&*kv, b"other").await, None, "a refused batch writes nothing");
    kv.commit(batch(absent(), vec![put("k", "1")])).await.expect("absent holds");
    refused(kv.commit(batch(absent(), vec![put("k", "2")])).await);
    refused(kv.commit(batch(has("2"), vec![Write::Delete("k".into())])).await);
    kv.commit(batch(has("1"), vec![put("k", "2")])).await.expect("the value holds");
    assert_eq!(get(&*kv, b"k").await.as_deref(), Some(&b"2"[..]));
    // All must hold, and they speak of the state before the batch.
    let both = [has("2"), vec![("j".into(), Expect::Absent)]].concat();
    kv.commit(batch(both.clone(), vec![put("j", "1"), put("k", "2")])).await.expect("both hold");
    let result = kv.commit(batch(both, vec![put("k", "3")])).await;
    assert!(matches!(result, Err(KvError::PreconditionFailed(key)) if key == "j"), "one of two is broken");
    assert_eq!(get(&*kv, b"k").await.as_deref(), Some(&b"2"[..]));
    // A batch that only checks.
    kv.commit(batch(has("2"), vec![])).await.expect("a check alone");
    refused(kv.commit(batch(has("3"), vec![])).await);
    // An empty value and a missing one differ here too.
    write(&*kv, vec![put("k", "")]).await;
    refused(kv.commit(batch(absent(), vec![])).await);
    kv.commit(batch(has(""), vec![])).await.expect("an empty value");
}

async fn writes_apply_in_order(kv: Arc<dyn Kv>) {
    write(&*kv, ["a", "b", "c", "d"].map(|k| put(k, "old")).into()).await;
    let range = |from: &'static str, to: &'static str| Write::DeleteRange(from.into(), to.into());
    write(
        &*kv,
        vec![put("b", "1"), range("b", "d"), put("c", "2"), put("e", "3"), Write::Delete("e".into())],
    )
    .await;
    assert_eq!(keys(&*kv, b"", b"\xff", 9).await, ["a", "c", "d"]);
    assert_eq!(get(&*kv, b"c").await.as_deref(), Some(&b"2"[..]), "written after the range was deleted");
    write(&*kv, vec![range("d", "a"), range("a", "a")]).await;
    assert_eq!(
        keys(&*kv, b"", b"\xff", 9).await,
        ["a", "c", "d"],
        "a backward or empty range deletes nothing"
    );
    write(&*kv, vec![range("", "\u{7f}")]).await;
    assert_eq!(keys(&*kv, b"", b"\xff", 9).await, Vec::<Bytes>::new());
}

async fn one_of_many_wins(kv: Arc<dyn Kv>) {
    let racers: Vec<_> = (0..32)
        .map(|n| {
            let kv = kv.clone();
            tokio::spawn(async move {
                let only_if_absent = vec![("prize".into(), Expect::Absent)];
                kv.commit(batch(only_if_absent, vec![put("prize", n.to_string())])).await.is_ok().then_some(n)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        winners.extend(racer.await.expect("racer"));
    }
    assert_eq!(winners.len(), 1, "exactly one creation succeeds, not {winners:?}");
    assert_eq!(
        get(&*kv, b"prize").await,
        Some(winners[0].to_string().into()),
        "and it is the one that is there"
    );
}

async fn no_increment_is_lost(kv: Arc<dyn Kv>) {
    write(&*kv, vec![put("count", "0")]).await;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let kv = kv.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < 25 {
                    let before = get(&*kv, b"count").await.expect("the counter exists");
                    let n: u64 = std::str::from_utf8(&before).expect("text").parse().expect("a number");
                    let unchanged = vec![("count".into(), Expect::Value(before))];
                    match kv.commit(batch(unchanged, vec![put("count", (n + 1).to_string())])).await {
                        Ok(()) => done += 1,
                        Err(KvError::PreconditionFailed(_)) => {}
                        Err(e) => panic!("commit failed: {e}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("writer");
    }
    assert_eq!(get(&*kv, b"count").await.as_deref(), Some(&b"200"[..]), "8 writers, 25 increments each");
}

async fn a_batch_is_seen_whole_or_not_at_all(kv: Arc<dyn Kv>) {
    let pair = |n: u32| vec![put("pair/left", n.to_string()), put("pair/right", n.to_string())];
    write(&*kv, pair(0)).await;
    let writer = tokio::spawn({
        let kv = kv.clone();
        async move {
            for n in 1..100 {
                write(&*kv, pair(n)).await;
            }
        }
    });
    while !writer.is_finished() {
        let seen = kv.scan(b"pair/", b"pair0", 9).await.expect("scan");
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].1, seen[1].1, "a scan saw half of a batch");
        tokio::task::yield_now().await;
    }
    writer.await.expect("writer");
}

/// Random batches over few keys, so that they meet often; the model is a map.
async fn random_batches_match_a_map(kv: Arc<dyn Kv>) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    let alphabet: [&[u8]; 8] = [b"", b"a", b"a/", b"a//", b"aa", b"b", b"\xff", b"\xff\xff"];
    let mut model: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    for step in 0..300 {
        let mut key = || Bytes::from_static(alphabet[below(8) as usize]);
        let (k1, k2, k3, k4) = (key(), key(), key(), key());
        let value = Bytes::from(below(4).to_string());
        let preconditions = match below(3) {
            0 => vec![],
            1 => vec![(k1.clone(), Expect::Absent)],
            _ => vec![(k1.clone(), Expect::Value(below(4).to_string().into()))],
        };
        let writes = (0..below(4))
            .map(|_| match below(4) {
                0 => Write::Delete(k2.clone()),
                1 if k3 < k4 => Write::DeleteRange(k3.clone(), k4.clone()),
                _ => Write::Put(if below(2) == 0 { k2.clone() } else { k3.clone() }, value.clone()),
            })
            .collect::<Vec<_>>();
        let holds = preconditions.iter().all(|(key, expect)| match expect {
            Expect::Absent => !model.contains_key(key),
            Expect::Value(value) => model.get(key) == Some(value),
        });
        let result = kv.commit(batch(preconditions.clone(), writes.clone())).await;
        assert_eq!(result.is_ok(), holds, "step {step}: {preconditions:?} on {model:?} gave {result:?}");
        if holds {
            for write in writes {
                match write {
                    Write::Put(key, value) => drop(model.insert(key, value)),
                    Write::Delete(key) => drop(model.remove(&key)),
                    Write::DeleteRange(from, to) => model.retain(|key, _| *key < from || *key >= to),
                }
            }
        }
        let all = kv.scan(b"", b"\xff\xff\xff", 100).await.expect("scan");
        assert_eq!(all, model.clone().into_iter().collect::<Vec<_>>(), "after step {step}");
    }
}
