//! A node as edits of the node it replaced.
//!
//! One changed entry makes a new leaf of 57 KB and new inner nodes above it. Almost all of their rows are those
//! of the nodes they replace, so a pack may store what differs: about 100 bytes for an entry, 45 for a child.
//! Since a node's encoding follows from its rows, row edits give back the exact bytes, and the id proves it.
//!
//! The layout is in `docs/formats/pack.md`. This module does not decide which base to use, and does not know
//! whether the base is itself stored as edits; a store keeps chains one long.

use crate::build::{Edit, NodeBuilder, RowEdit};
use crate::inner::{Child, InnerBuilder};
use crate::leaf::{LeafBuilder, Puts};
use crate::{Node, TreeError};
use bytes::Bytes;
use millpond_types::limits::OBJECT_PATH_BYTES_MAX;
use millpond_types::{DecodeError, Entry, NodeId, Reader, Writer};
use std::sync::Arc;

// What the low two bits of an edit say about the number of rows in the others.
/// These rows of the base stay.
const COPY: u64 = 0;
/// These rows of the base go.
const SKIP: u64 = 1;
/// These rows, which follow as keys and values, come in.
const INSERT: u64 = 2;
/// These rows of the base keep their keys and get the values that follow.
const REPLACE: u64 = 3;

/// The rows of one kind of node, to compare and to spell out.
trait Rows: NodeBuilder {
    /// How many rows of `a` from `i` on equal those of `b` from `j` on, of at most `len`.
    fn equal_rows(a: &Node, i: usize, b: &Node, j: usize, len: usize) -> usize;
    /// Spells a row out; none when reading it back would not give the same bytes.
    fn write(node: &Node, index: usize, writer: &mut Writer) -> Option<()>;
    fn read(reader: &mut Reader) -> Result<Self::Value, DecodeError>;
}

impl Rows for LeafBuilder {
    fn equal_rows(a: &Node, i: usize, b: &Node, j: usize, len: usize) -> usize {
        a.leaf().equal_rows(a.bytes(), i, b.leaf(), b.bytes(), j, len)
    }
    fn write(node: &Node, index: usize, writer: &mut Writer) -> Option<()> {
        let entry = node.entry(index).ok()?;
        entry.encode(writer);
        node.leaf().holds(node.bytes(), index, &entry).then_some(())
    }
    fn read(reader: &mut Reader) -> Result<Entry, DecodeError> {
        Entry::decode(reader)
    }
}

impl Rows for InnerBuilder {
    fn equal_rows(a: &Node, i: usize, b: &Node, j: usize, len: usize) -> usize {
        (0..len).find(|n| a.child(i + n) != b.child(j + n)).unwrap_or(len)
    }
    fn write(node: &Node, index: usize, writer: &mut Writer) -> Option<()> {
        let child = node.child(index);
        writer.raw(&child.id.0).uint(child.objects).uint(child.total_bytes);
        Some(())
    }
    fn read(reader: &mut Reader) -> Result<Child, DecodeError> {
        Ok(Child { id: NodeId(reader.digest()?), objects: reader.uint()?, total_bytes: reader.uint()? })
    }
}

/// The edits that make `new` out of `base`; none when they are of different levels or the edits would take more
/// than `len_max` bytes.
pub(crate) fn encode(base: &Node, new: &Node, len_max: usize) -> Option<Vec<u8>> {
    let edits = match (base.level(), new.level()) {
        (a, b) if a != b => None,
        (0, _) => encode_rows::<LeafBuilder>(base, new, len_max),
        _ => encode_rows::<InnerBuilder>(base, new, len_max),
    }?;
    // Edits give a canonical node. One that came from outside may be another: then it must be kept as it is.
    if !new.is_written() && decode(new.id(), base, Bytes::copy_from_slice(&edits)).is_err() {
        return None;
    }
    Some(edits)
}

/// Edits being written: rows of one kind in a row are one edit.
struct Edits {
    out: Writer,
    kind: u64,
    count: u64,
    rows: Writer,
    last_key: Vec<u8>,
}

impl Edits {
    fn add(&mut self, kind: u64) -> &mut Writer {
        self.add_rows(kind, 1);
        &mut self.rows
    }
    fn add_rows(&mut self, kind: u64, count: usize) {
        if kind != self.kind && count > 0 {
            self.close();
            self.kind = kind;
        }
        self.count += count as u64;
    }
    /// None when the edits have become longer than this.
    fn check(&self, len_max: usize) -> Option<()> {
        (self.out.len() + self.rows.len() <= len_max).then_some(())
    }
    fn close(&mut self) {
        if self.count > 0 {
            let rows = std::mem::take(&mut self.rows).finish();
            self.out.uint(self.count << 2 | self.kind).raw(&rows);
            self.count = 0;
        }
    }
    /// The key is spelled as what differs from the last one that was.
    fn add_key(&mut self, key: &[u8]) {
        let shared = self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count();
        self.rows.uint(shared as u64).bytes(&key[shared..]);
        self.last_key = key.to_vec();
    }
}

fn encode_rows<R: Rows>(base: &Node, new: &Node, len_max: usize) -> Option<Vec<u8>> {
    let mut edits =
        Edits { out: Writer::new(), kind: COPY, count: 0, rows: Writer::new(), last_key: Vec::new() };
    let (mut old, mut row) = (0, 0);
    for run in key_runs(base, new) {
        edits.add_rows(SKIP, run.old - old);
        for row in row..run.new {
            edits.add(INSERT);
            edits.add_key(&new.key(row));
            R::write(new, row, &mut edits.rows)?;
            edits.check(len_max)?;
        }
        (old, row) = (run.old, run.new);
        let end = run.new + run.len;
        while row < end {
            let equal = R::equal_rows(base, old, new, row, end - row);
            edits.add_rows(COPY, equal);
            (old, row) = (old + equal, row + equal);
            if row < end {
                R::write(new, row, edits.add(REPLACE))?;
                edits.check(len_max)?;
                (old, row) = (old + 1, row + 1);
            }
        }
    }
    edits.close();
    Some(edits.out.finish())
}

/// Rows with the same keys.
struct KeyRun {
    old: usize,
    new: usize,
    len: usize,
}

/// Where both nodes have the same keys, in order; at the end an empty run.
fn key_runs(base: &Node, new: &Node) -> Vec<KeyRun> {
    let end = KeyRun { old: base.len(), new: new.len(), len: 0 };
    if base.same_keys(new) {
        return vec![KeyRun { old: 0, new: 0, len: new.len() }, end];
    }
    let mut runs: Vec<KeyRun> = Vec::new();
    let start = base.same_first_keys(new);
    if start > 0 {
        runs.push(KeyRun { old: 0, new: 0, len: start });
    }
    let walk = |node: &Node| (start < node.len()).then(|| node.walk(start));
    let (mut old, mut row) = (walk(base), walk(new));
    while let (Some(was), Some(is)) = (&mut old, &mut row) {
        let order = was.key().cmp(is.key());
        if order.is_eq() {
            match runs.last_mut() {
                Some(run) if run.old + run.len == was.index() && run.new + run.len == is.index() => {
                    run.len += 1;
                }
                _ => runs.push(KeyRun { old: was.index(), new: is.index(), len: 1 }),
            }
        }
        if order.is_le() && !base.advance(was) {
            old = None;
        }
        if order.is_ge() && !new.advance(is) {
            row = None;
        }
    }
    runs.push(end);
    runs
}

/// The node that these edits of `base` give.
///
/// # Errors
/// [`TreeError::Damaged`] when they do not give the node with this id.
pub(crate) fn decode(id: NodeId, base: &Node, edits: Bytes) -> Result<Arc<Node>, TreeError> {
    let node = Node::written(patched(id, base, edits)?);
    if node.id() == id { Ok(node) } else { Err(TreeError::node(id, "its edits give another node")) }
}

/// As [`decode`] for edits that are known to give this node: its hash is not computed.
pub(crate) fn decode_unhashed(id: NodeId, base: &Node, edits: Bytes) -> Result<Arc<Node>, TreeError> {
    Ok(Node::written_as(id, patched(id, base, edits)?))
}

fn patched(id: NodeId, base: &Node, edits: Bytes) -> Result<Vec<u8>, TreeError> {
    let bytes = match base.level() {
        0 => patch_rows(LeafBuilder::new(Puts::Exact), base, edits),
        level => patch_rows(InnerBuilder::new(level), base, edits),
    };
    bytes.map_err(|why| TreeError::node(id, format!("its edits cannot be read: {}", why.0)))
}

fn patch_rows<R: Rows>(mut builder: R, base: &Node, edits: Bytes) -> Result<Vec<u8>, DecodeError> {
    let edits = read_edits::<R>(base, edits)?;
    Ok(builder.patch(base, &edits))
}

/// What stands in front of the next row of the result.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// This row of the base.
    Row(usize),
    /// The key spelled last.
    Spelled,
}

/// Reads edits and checks that they make a node of the base: at least one row, not too many, keys that ascend.
fn read_edits<R: Rows>(base: &Node, edits: Bytes) -> Result<Vec<Edit<R::Value>>, DecodeError> {
    const OUT_OF_RANGE: DecodeError = DecodeError("number of rows is out of range");
    const DISORDER: DecodeError = DecodeError("keys do not ascend");
    let mut edits = Reader::new(edits);
    let mut read = Vec::new();
    let (mut row, mut len) = (0, 0);
    let mut before = Before::Nothing;
    let mut spelled: Vec<u8> = Vec::new();
    while !edits.is_empty() {
        let edit = edits.uint()?;
        let (rows, kind) = (usize::try_from(edit >> 2).unwrap_or(usize::MAX), edit & 3);
        if kind != SKIP {
            len = rows.saturating_add(len);
        }
        // Base and result both are nodes, which bounds the work that hostile counts can cause.
        if rows == 0 || len > R::ROWS_MAX as usize {
            return Err(OUT_OF_RANGE);
        }
        if kind == INSERT {
            for _ in 0..rows {
                let shared = usize::try_from(edits.uint()?).unwrap_or(usize::MAX);
                let own = edits.bytes()?;
                if shared > spelled.len() || !(1..=OBJECT_PATH_BYTES_MAX).contains(&(shared + own.len())) {
                    return Err(DecodeError("key is out of range"));
                }
                if before == Before::Spelled && own[..] <= spelled[shared..] {
                    return Err(DISORDER);
                }
                spelled.truncate(shared);
                spelled.extend_from_slice(&own);
                if let Before::Row(before) = before
                    && spelled <= base.key(before)
                {
                    return Err(DISORDER);
                }
                before = Before::Spelled;
                let what = RowEdit::Insert(spelled.clone(), R::read(&mut edits)?);
                read.push(Edit { row, what });
            }
            continue;
        }
        if rows > base.len() - row {
            return Err(DecodeError("base has fewer rows"));
        }
        let end = row + rows;
        if kind == SKIP {
            read.extend((row..end).map(|row| Edit { row, what: RowEdit::Delete }));
        } else {
            if before == Before::Spelled && base.key(row) <= spelled {
                return Err(DISORDER);
            }
            before = Before::Row(end - 1);
        }
        if kind == REPLACE {
            for row in row..end {
                read.push(Edit { row, what: RowEdit::Replace(R::read(&mut edits)?) });
            }
        }
        row = end;
    }
    if row != base.len() || len == 0 { Err(OUT_OF_RANGE) } else { Ok(read) }
}
