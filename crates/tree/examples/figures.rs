//! Prints what the tree costs: bytes per entry, build, look-up, scan, commit, diff, merge. One thread, all nodes
//! in memory.
//!
//! `cargo run --release -p millpond-tree --example figures [objects]` (default 1,000,000)
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // it measures time and prints

use millpond_tree::{
    Diff, NewNodes, NodeSink, Scan, Strategy, TreeError, apply, build, get, merge, pack, totals,
};
use millpond_types::{
    Address, Attributes, Checksum, Content, ContentHash, Entry, ObjectPath, Timestamp, TreeId,
};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `datasets/imagenet/train/n01440764/n01440764_10026.JPEG`, in the order of S3.
fn key(i: u64, per_class: u64) -> ObjectPath {
    let class = 1_440_764 + i / per_class * 13;
    let text = format!("datasets/imagenet/train/n{class:08}/n{class:08}_{:05}.JPEG", 10_000 + i % per_class);
    ObjectPath::parse(&text).expect("a path")
}

fn entry(i: u64, md5: bool, attributes: &Arc<Attributes>) -> Entry {
    let words = [1, 2, 3, 4].map(|n| mix(i.wrapping_mul(4) + n).to_le_bytes());
    let hash: [u8; 32] = words.concat().try_into().expect("32 bytes");
    Entry {
        content: if md5 { Content::Whole(ContentHash(hash)) } else { Content::Declared },
        size: 20_000 + mix(i) % 200_000,
        mtime: Timestamp(1_760_000_000_000 + (i / 2) as i64),
        checksum: Checksum::Md5(hash[..16].try_into().expect("16 bytes")),
        address: if md5 { Address::Cas } else { Address::Rule(1) },
        attributes: attributes.clone(),
        extra: Default::default(),
    }
}

/// Nanoseconds that this thread was on a core: what holds on a machine that others use too. Giving way first
/// makes the kernel settle the account.
fn cpu_nanos() -> u64 {
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

fn timed<T>(what: &str, unit: &str, count: u64, work: impl FnOnce() -> T) -> T {
    let (start, cpu) = (Instant::now(), cpu_nanos());
    let result = work();
    let (took, cpu) = (start.elapsed().as_nanos() as f64 / 1e6, (cpu_nanos() - cpu) as f64 / 1e6);
    println!(
        "{what:<28} {took:>9.2} ms {cpu:>9.2} ms CPU {:>9.3} us CPU per {unit}",
        cpu * 1e3 / count as f64
    );
    result
}

fn main() -> Result<(), TreeError> {
    let n: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let per_class = 1_300;
    let attributes = Arc::new(Attributes { content_type: "image/jpeg".into(), ..Attributes::default() });
    let paths: Vec<ObjectPath> = (0..n).map(|i| key(i, per_class)).collect();
    let all = |md5| paths.iter().enumerate().map(move |(i, p)| (p.clone(), i as u64, md5));

    let mut nodes = NewNodes::default();
    let tree = timed("build", "entry", n, || {
        build(all(true).map(|(p, i, md5)| Ok((p, entry(i, md5, &attributes)))), &mut nodes)
    })?;
    let bytes: usize = nodes.nodes().map(|node| node.bytes().len()).sum();
    println!("bytes per entry: {:.2} ({} nodes)", bytes as f64 / n as f64, nodes.len());
    let mut imported = NewNodes::default();
    build(all(false).map(|(p, i, md5)| Ok((p, entry(i, md5, &attributes)))), &mut imported)?;
    let bytes: usize = imported.nodes().map(|node| node.bytes().len()).sum();
    println!("bytes per imported entry (MD5 only): {:.2}", bytes as f64 / n as f64);

    let lookups = 200_000;
    timed("look-up, random", "look-up", lookups, || -> Result<(), TreeError> {
        for i in 0..lookups {
            let path = &paths[(mix(i) % n) as usize];
            assert!(get(&nodes, tree, path.as_bytes())?.is_some());
        }
        Ok(())
    })?;
    timed("decode of all nodes", "entry", n, || {
        nodes
            .nodes()
            .try_for_each(|node| millpond_tree::Node::decode(node.id(), node.bytes().clone()).map(drop))
    })?;
    timed("scan of paths", "entry", n, || -> Result<(), TreeError> {
        let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
        while scan.next_path()?.is_some() {}
        Ok(())
    })?;
    timed("scan of entries", "entry", n, || -> Result<(), TreeError> {
        let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
        while scan.next()?.is_some() {}
        Ok(())
    })?;
    let classes = n / per_class;
    timed("delimiter listing", "directory", classes, || -> Result<(), TreeError> {
        let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
        while let Some(path) = scan.peek_path()? {
            let mut next = path.as_bytes()[.."datasets/imagenet/train/n01440764/".len()].to_vec();
            *next.last_mut().expect("not empty") += 1;
            scan.seek(Bound::Included(&next))?;
        }
        Ok(())
    })?;
    timed("totals of a prefix", "prefix", 1_000, || -> Result<(), TreeError> {
        for i in 0..1_000 {
            let path = &paths[(mix(i) % n) as usize];
            totals(&nodes, tree, &path.as_bytes()[..34])?;
        }
        Ok(())
    })?;

    for changes in [1u64, 100, 1_000, 10_000] {
        let mut picked: Vec<u64> = (0..changes).map(|i| mix(i + changes) % n).collect();
        picked.sort_unstable();
        picked.dedup();
        let batch: Vec<(ObjectPath, Option<Entry>)> = picked
            .iter()
            .map(|i| (paths[*i as usize].clone(), Some(entry(i + n, true, &attributes))))
            .collect();
        let mut new = NewNodes::default();
        let changed = timed(&format!("apply {changes} scattered"), "change", changes, || {
            apply(&nodes, tree, batch.clone().into_iter(), &mut new)
        })?;
        let written = pack::encode(new.nodes()).bytes.len();
        println!("    {} nodes, {:.1} KB written", new.len(), written as f64 / 1000.0);
        let edits = timed("    as edits", "change", changes, || {
            pack::encode_with(new.nodes(), |node| nodes.get(&new.replaced_by(&node.id())?).cloned())
        });
        println!("    {:.1} KB as edits", edits.bytes.len() as f64 / 1000.0);
        timed("    read back", "node", new.len() as u64, || {
            edits.index.iter().try_for_each(|at| {
                let record = edits.bytes.slice(at.offset as usize..at.offset as usize + at.len as usize);
                pack::decode_record_with(at.id, record, &nodes).map(drop)
            })
        })?;
        new.nodes().for_each(|node| nodes.put(node.clone()));
        let found = timed(&format!("diff of {changes}"), "change", changes, || -> Result<u64, TreeError> {
            let mut diff = Diff::new(&nodes, tree, changed, b"", Bound::Unbounded);
            let mut found = 0;
            while diff.next()?.is_some() {
                found += 1;
            }
            Ok(found)
        })?;
        assert_eq!(found, picked.len() as u64);
    }

    let side = |nodes: &mut NewNodes, salt: u64| -> Result<TreeId, TreeError> {
        let mut picked: Vec<u64> = (0..1_000).map(|i| mix(i + salt) % (n / 2) * 2 + salt % 2).collect();
        picked.sort_unstable();
        picked.dedup();
        let batch =
            picked.iter().map(|i| (paths[*i as usize].clone(), Some(entry(i + n * salt, true, &attributes))));
        let mut new = NewNodes::default();
        let tree = apply(nodes, tree, batch, &mut new)?;
        new.nodes().for_each(|node| nodes.put(node.clone()));
        Ok(tree)
    };
    let (dest, theirs) = (side(&mut nodes, 100_000)?, side(&mut nodes, 200_001)?);
    let merged = timed("merge, 2 x 1,000 scattered", "change", 2_000, || {
        merge(&nodes, tree, dest, theirs, Strategy::Fail, 10, &mut NewNodes::default())
    })?;
    assert!(merged.conflicts.is_empty());
    Ok(())
}
