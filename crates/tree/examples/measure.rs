//! Measures the tree alone: bytes per entry, build, look-up, scan, and for each number of changes apply, pack,
//! read back, diff and merge. One thread. Nodes are in memory; rows named *stored* read what the changes made
//! from their records in a pack each time they touch it, as a server does that has not read it yet.
//!
//! ```text
//! cargo run --release -p millpond-tree --example measure -- [--objects 1e6] [--changes 1,100,1000] [--json]
//! ```
//!
//! 1e8 objects take about 8 GB of memory and three minutes. With `--json` one object goes to stdout:
//! `objects`, `nodes`, `bytes_per_object`, `rss_bytes`, and `rows`, each with `name`, `unit`, `count`, `wall_ms`,
//! `cpu_ms` and, where something is written, `nodes` and `bytes`.
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // it measures time and prints

use bytes::Bytes;
use millpond_tree::{
    Diff, NewNodes, Node, NodeSink, NodeSource, Scan, Strategy, TreeError, apply, build, get, merge, pack,
    totals,
};
use millpond_types::{
    Address, Attributes, Checksum, Content, ContentHash, Entry, NodeId, ObjectPath, Timestamp, TreeId,
};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

/// Objects in each directory.
const PER_CLASS: u64 = 1_300;
/// Bytes of the path up to the end of its directory.
const CLASS_LEN: usize = "datasets/imagenet/train/n00000000/".len();

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `datasets/imagenet/train/n01440764/n01440764_10026.JPEG`, in the order of S3.
fn key(i: u64) -> ObjectPath {
    let class = 1_440_764 + i / PER_CLASS * 13;
    let text = format!("datasets/imagenet/train/n{class:08}/n{class:08}_{:05}.JPEG", 10_000 + i % PER_CLASS);
    ObjectPath::parse(&text).expect("a path")
}

fn entry(i: u64, whole: bool, attributes: &Arc<Attributes>) -> Entry {
    let words = [1, 2, 3, 4].map(|n| mix(i.wrapping_mul(4) + n).to_le_bytes());
    let hash: [u8; 32] = words.concat().try_into().expect("32 bytes");
    Entry {
        content: if whole { Content::Whole(ContentHash(hash)) } else { Content::Declared },
        size: 20_000 + mix(i) % 200_000,
        mtime: Timestamp(1_760_000_000_000 + (i / 2) as i64),
        checksum: Checksum::Md5(hash[..16].try_into().expect("16 bytes")),
        address: if whole { Address::Cas } else { Address::Rule(1) },
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

/// The process's resident memory in bytes.
fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// The rows so far; printed as they come, or kept for the JSON.
struct Report {
    json: bool,
    rows: Vec<String>,
}

impl Report {
    fn timed<T>(&mut self, name: &str, unit: &str, count: u64, work: impl FnOnce() -> T) -> T {
        let (start, cpu) = (Instant::now(), cpu_nanos());
        let result = work();
        let (wall, cpu) = (start.elapsed().as_nanos() as f64 / 1e6, (cpu_nanos() - cpu) as f64 / 1e6);
        let each = cpu * 1e3 / count.max(1) as f64;
        if !self.json {
            println!("{name:<32} {wall:>10.2} ms {cpu:>10.2} ms CPU {each:>9.3} us CPU per {unit}");
        }
        self.rows.push(format!(
            r#"{{"name":"{name}","unit":"{unit}","count":{count},"wall_ms":{wall:.3},"cpu_ms":{cpu:.3}}}"#
        ));
        result
    }
    /// What the work of the last row would write.
    fn wrote(&mut self, nodes: usize, bytes: usize) {
        if !self.json {
            println!("    {nodes} nodes, {:.1} KB", bytes as f64 / 1e3);
        }
        if let Some(row) = self.rows.last_mut() {
            row.truncate(row.len() - 1);
            row.push_str(&format!(r#","nodes":{nodes},"bytes":{bytes}}}"#));
        }
    }
}

/// Counts nodes and drops them.
#[derive(Default)]
struct Counted {
    nodes: usize,
    bytes: usize,
}

impl NodeSink for Counted {
    fn put(&mut self, node: Arc<Node>) {
        self.nodes += 1;
        self.bytes += node.bytes().len();
    }
}

/// Nodes in memory, and behind them records that are decoded whenever they are asked for.
struct Stored<'a> {
    nodes: &'a NewNodes,
    records: HashMap<NodeId, Bytes>,
}

impl<'a> Stored<'a> {
    fn new(nodes: &'a NewNodes, packed: &pack::EncodedPack) -> Self {
        let record = |at: &pack::PackEntry| {
            packed.bytes.slice(at.offset as usize..at.offset as usize + at.len as usize)
        };
        Self { nodes, records: packed.index.iter().map(|at| (at.id, record(at))).collect() }
    }
}

impl NodeSource for Stored<'_> {
    fn node(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        match self.records.get(id) {
            Some(record) => pack::decode_record_with(*id, record.clone(), self.nodes),
            None => self.nodes.node(id),
        }
    }
}

type Batch = BTreeMap<ObjectPath, Option<Entry>>;

/// `count` updates at places that `salt` decides; with a stride, only at every so-manieth object from `first`.
fn scattered(
    count: u64,
    n: u64,
    salt: u64,
    (stride, first): (u64, u64),
    attributes: &Arc<Attributes>,
) -> Batch {
    let picked = (0..count).map(|i| mix(i + salt) % (n / stride) * stride + first);
    picked.map(|i| (key(i), Some(entry(i + n * (salt + 1), true, attributes)))).collect()
}

fn count_differences(source: &dyn NodeSource, left: TreeId, right: TreeId) -> Result<u64, TreeError> {
    let mut diff = Diff::new(source, left, right, b"", Bound::Unbounded);
    let mut found = 0;
    while diff.next()?.is_some() {
        found += 1;
    }
    Ok(found)
}

fn pack_of(new: &NewNodes, nodes: &NewNodes) -> pack::EncodedPack {
    pack::encode_with(new.nodes(), |node| {
        let node = nodes.get(&new.replaced_by(&node.id())?)?.clone();
        Some(pack::Base { node, replaced_len: 0 })
    })
}

fn main() -> Result<(), TreeError> {
    let (mut n, mut sizes, mut json) = (1_000_000u64, vec![1u64, 100, 1_000, 10_000], false);
    let mut args = std::env::args().skip(1);
    let number = |text: &str| text.parse::<f64>().expect("a number, such as 1e6") as u64;
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--objects" => n = number(&value()),
            "--changes" => sizes = value().split(',').map(number).collect(),
            "--json" => json = true,
            _ => panic!("usage: measure [--objects N] [--changes K,K] [--json]"),
        }
    }
    let mut report = Report { json, rows: Vec::new() };
    let attributes = Arc::new(Attributes { content_type: "image/jpeg".into(), ..Attributes::default() });
    let entries = |whole| {
        let attributes = attributes.clone();
        (0..n).map(move |i| Ok((key(i), entry(i, whole, &attributes))))
    };

    report.timed("making the entries", "entry", n, || entries(true).count());
    let mut nodes = NewNodes::default();
    let tree = report.timed("build", "entry", n, || build(entries(true), &mut nodes))?;
    let bytes: usize = nodes.nodes().map(|node| node.bytes().len()).sum();
    report.wrote(nodes.len(), bytes);
    let mut imported = Counted::default();
    report.timed("build of declared entries", "entry", n, || build(entries(false), &mut imported))?;
    report.wrote(imported.nodes, imported.bytes);
    let (node_count, bytes_per_object) = (nodes.len(), bytes as f64 / n as f64);

    let lookups = 200_000;
    let looked_for: Vec<ObjectPath> = (0..lookups).map(|i| key(mix(i) % n)).collect();
    report.timed("look-up, random", "look-up", lookups, || -> Result<(), TreeError> {
        for path in &looked_for {
            assert!(get(&nodes, tree, path.as_bytes())?.is_some());
        }
        Ok(())
    })?;
    let some: Vec<_> = nodes.nodes().take(10_000).collect();
    report.timed("decode of a plain node", "node", some.len() as u64, || {
        some.iter().try_for_each(|node| Node::decode(node.id(), node.bytes().clone()).map(drop))
    })?;
    let scanned = n.min(2_000_000);
    report.timed("scan of paths", "entry", scanned, || -> Result<(), TreeError> {
        let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
        (0..scanned).try_for_each(|_| scan.next_path().map(drop))
    })?;
    report.timed("scan of entries", "entry", scanned, || -> Result<(), TreeError> {
        let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
        (0..scanned).try_for_each(|_| scan.next().map(drop))
    })?;
    let classes = (n / PER_CLASS).min(1_000);
    report.timed("delimiter listing", "directory", classes, || -> Result<(), TreeError> {
        let mut scan = Scan::new(&nodes, tree, Bound::Unbounded);
        for _ in 0..classes {
            let Some(path) = scan.peek_path()? else { break };
            let mut next = path.as_bytes()[..CLASS_LEN].to_vec();
            *next.last_mut().expect("not empty") += 1;
            scan.seek(Bound::Included(&next))?;
        }
        Ok(())
    })?;
    report.timed("totals of a prefix", "prefix", 1_000, || -> Result<(), TreeError> {
        for path in &looked_for[..1_000] {
            totals(&nodes, tree, &path.as_bytes()[..CLASS_LEN])?;
        }
        Ok(())
    })?;

    for &changes in &sizes {
        let batch = scattered(changes, n, changes, (1, 0), &attributes);
        let count = batch.len() as u64;
        let mut new = NewNodes::default();
        let changed = report.timed(&format!("apply {changes}"), "change", count, || {
            apply(&nodes, tree, batch.clone().into_iter(), &mut new)
        })?;
        report.wrote(new.len(), new.nodes().map(|node| node.bytes().len()).sum());
        let packed = report.timed(&format!("pack {changes}"), "change", count, || pack_of(&new, &nodes));
        report.wrote(new.len(), packed.bytes.len());
        let stored = Stored::new(&nodes, &packed);
        report.timed(&format!("read back {changes}"), "node", new.len() as u64, || {
            new.nodes().try_for_each(|node| stored.node(&node.id()).map(drop))
        })?;
        let found = report.timed(&format!("diff {changes} stored"), "change", count, || {
            count_differences(&stored, tree, changed)
        })?;
        assert_eq!(found, count);
        // Again over what was stored: where two versions of a leaf are both edits.
        let batch = scattered(changes, n, changes + 1_000_000, (1, 0), &attributes);
        let mut newer = NewNodes::default();
        let again = report.timed(&format!("apply {changes} stored"), "change", count, || {
            apply(&stored, changed, batch.into_iter(), &mut newer)
        })?;
        let all = millpond_tree::Overlay { new: &newer, base: &stored };
        let found = count_differences(&all, changed, again)?;
        assert!(found > 0);

        // Fewer deletions and insertions than updates in life, but they move rows.
        let moved: Batch = scattered(changes, n, changes + 2_000_000, (1, 0), &attributes)
            .into_iter()
            .enumerate()
            .map(|(i, (path, entry))| match i % 2 {
                0 => (path, None),
                _ => (
                    ObjectPath::parse(&format!("{}-2.JPEG", path.to_text().trim_end_matches(".JPEG")))
                        .expect("a path"),
                    entry,
                ),
            })
            .collect();
        let mut moving = NewNodes::default();
        report.timed(&format!("apply {changes} moving rows"), "change", count, || {
            apply(&nodes, tree, moved.into_iter(), &mut moving)
        })?;
        let packed = report
            .timed(&format!("pack {changes} moving rows"), "change", count, || pack_of(&moving, &nodes));
        report.wrote(moving.len(), packed.bytes.len());

        let all = millpond_tree::Overlay { new: &new, base: &nodes };
        let found = report
            .timed(&format!("diff {changes}"), "change", count, || count_differences(&all, tree, changed))?;
        assert_eq!(found, count);
        let mut sides = NewNodes::default();
        let mut side = |salt: u64, first: u64| -> Result<TreeId, TreeError> {
            apply(&nodes, tree, scattered(changes, n, salt, (2, first), &attributes).into_iter(), &mut sides)
        };
        let (dest, theirs) = (side(3_000_000, 0)?, side(4_000_000, 1)?);
        let all = millpond_tree::Overlay { new: &sides, base: &nodes };
        let merged = report.timed(&format!("merge {changes} into {changes}"), "change", count, || {
            merge(&all, tree, dest, theirs, Strategy::Fail, 10, &mut NewNodes::default())
        })?;
        assert!(merged.conflicts.is_empty());
    }

    if json {
        let rows = report.rows.join(",");
        println!(
            r#"{{"objects":{n},"nodes":{node_count},"bytes_per_object":{bytes_per_object:.3},"rss_bytes":{},"rows":[{rows}]}}"#,
            rss_bytes()
        );
    } else {
        println!("bytes per object: {bytes_per_object:.2}; resident memory: {} MB", rss_bytes() / 1_000_000);
    }
    Ok(())
}
