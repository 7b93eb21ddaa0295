//! Packs: all new nodes of a commit group in one append-only file with an index at its end.
//! Layout in `docs/formats/pack.md`.
//!
//! A node's id does not depend on how a pack stores it, so a record has a codec: plain, or edits of another node,
//! with room for compression. This module turns bytes into nodes and back; it does
//! not know where packs are kept or which of them holds a node.

use crate::source::NodeSource;
use crate::{Node, TreeError, delta};
use bytes::Bytes;
use millpond_types::NodeId;
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

const MAGIC: &[u8; 4] = b"MPPK";
const MAGIC_END: &[u8; 4] = b"MPPE";
const VERSION: u8 = 1;
/// Flag: the content was destroyed on purpose. Only the header is meaningful.
const FLAG_PURGED: u8 = 1;
/// Bytes at the start of every pack.
pub const HEADER_LEN: usize = 16;
/// Bytes at the end of every pack, which say where the index is.
pub const TRAILER_LEN: usize = 24;
/// Bytes of the index per node.
const INDEX_ENTRY_LEN: usize = 44;

/// The record is the node's canonical bytes. 1 is reserved for zstd.
const CODEC_PLAIN: u8 = 0;
/// The record is the id of another node and edits that make this node of it.
const CODEC_EDITS: u8 = 2;

/// A pack ready to be stored.
#[derive(Clone, Debug)]
pub struct EncodedPack {
    /// The whole file.
    pub bytes: Bytes,
    /// Where each node is in it, ascending by id.
    pub index: Vec<PackEntry>,
}

/// Where a node's record is in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// The node.
    pub id: NodeId,
    /// Where its record begins, in bytes from the start of the pack.
    pub offset: u64,
    /// The length of its record in bytes, codec byte included.
    pub len: u32,
}

/// What the header says about a pack as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHeader {
    /// The key that encrypts the records; 0 for none. Reserved: this version writes and reads only 0.
    pub key_id: u32,
    /// The content was destroyed on purpose, and its absence is no damage.
    pub purged: bool,
}

/// Encodes nodes, each once, in the order given, all plain. A node that comes twice is stored once.
pub fn encode<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> EncodedPack {
    encode_with(nodes, |_| None)
}

/// A node to store another as edits of.
#[derive(Clone, Debug)]
pub struct Base {
    /// Stays readable as long as the pack, and is itself stored plain: [`record_base`] tells.
    pub node: Arc<Node>,
    /// Length in bytes of the record of the node that was replaced; 0 if that is the base.
    pub replaced_len: u32,
}

/// Bytes that the edits of a node grow by at least when they change; about one entry.
const EDITS_GROWTH_MIN: u64 = 100;

/// Whether edits of this length are worth it. They name all that changed since the base, so one row after the other
/// makes them longer and each version pays for all before it: together about len^2 / (2 * growth). When that is
/// more than the plain node, a new base would have been cheaper.
fn edits_pay(len: usize, replaced_len: u32, plain_len: usize) -> bool {
    let growth = (len as u64).abs_diff(u64::from(replaced_len)).max(EDITS_GROWTH_MIN);
    (len as u64).saturating_mul(len as u64) <= growth.saturating_mul(2 * plain_len as u64)
}

/// As [`encode`], but a node for which `base` gives another node is stored as edits of that one, if they take
/// less than half its size and it does not pay to begin anew.
/// [`NewNodes::replaced_by`](crate::NewNodes::replaced_by) names good bases.
pub fn encode_with<'a>(
    nodes: impl Iterator<Item = &'a Arc<Node>>,
    mut base: impl FnMut(&Node) -> Option<Base>,
) -> EncodedPack {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    out.extend_from_slice(&[0; 8]);
    let mut index: Vec<PackEntry> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for node in nodes.filter(|node| seen.insert(node.id())) {
        let offset = out.len() as u64;
        let base = base(node).filter(|base| base.node.id() != node.id());
        let edits = base.and_then(|base| {
            let edits = delta::encode(&base.node, node, node.bytes().len() / 2)?;
            edits_pay(edits.len(), base.replaced_len, node.bytes().len()).then(|| (base.node.id(), edits))
        });
        match edits {
            Some((base, edits)) => {
                out.push(CODEC_EDITS);
                out.extend_from_slice(&base.0);
                out.extend_from_slice(&edits);
            }
            None => {
                out.push(CODEC_PLAIN);
                out.extend_from_slice(node.bytes());
            }
        }
        let len = u32::try_from(out.len() as u64 - offset).expect("a node is smaller than 4 GiB");
        index.push(PackEntry { id: node.id(), offset, len });
    }
    index.sort_unstable_by_key(|entry| entry.id);
    let index_offset = out.len();
    for entry in &index {
        out.extend_from_slice(&entry.id.0);
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.len.to_le_bytes());
    }
    let count = u32::try_from(index.len()).expect("a pack holds fewer than 2^32 nodes");
    let check = checksum(&out[..HEADER_LEN], &out[index_offset..]);
    out.extend_from_slice(&(index_offset as u64).to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(MAGIC_END);
    EncodedPack { bytes: out.into(), index }
}

/// Covers what says where the nodes are. The nodes themselves are covered by their ids.
fn checksum(header: &[u8], index: &[u8]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(header);
    hasher.update(index);
    hasher.digest()
}

/// Reads a pack's header from its first [`HEADER_LEN`] bytes.
///
/// # Errors
/// [`TreeError::Damaged`] when this is no pack of a known version.
pub fn read_header(start: &[u8]) -> Result<PackHeader, TreeError> {
    let header = start.get(..HEADER_LEN).ok_or_else(|| TreeError::pack("header is cut off"))?;
    if &header[..4] != MAGIC || header[4] != VERSION {
        return Err(TreeError::pack("not a pack of version 1"));
    }
    if header[5] & !FLAG_PURGED != 0 || header[6..8] != [0; 2] || header[12..16] != [0; 4] {
        return Err(TreeError::pack("header is malformed"));
    }
    let key_id = u32::from_le_bytes(header[8..12].try_into().expect("4 bytes"));
    Ok(PackHeader { key_id, purged: header[5] & FLAG_PURGED != 0 })
}

/// Reads the index of a whole pack, ascending by id.
///
/// # Errors
/// [`TreeError::Damaged`] when header, index or trailer are not what [`encode`] writes, or the pack is purged.
pub fn read_index(pack: &[u8]) -> Result<Vec<PackEntry>, TreeError> {
    read_index_with(pack.len() as u64, |range| {
        let slice = pack.get(range.start as usize..range.end as usize);
        slice.map(Bytes::copy_from_slice).ok_or_else(|| TreeError::pack("cut off"))
    })
}

/// As [`read_index`] for a pack of `size` bytes of which ranges can be read: reads header, trailer and index,
/// one call each, and no node.
///
/// # Errors
/// As [`read_index`], and those of `read`.
pub fn read_index_with(
    size: u64,
    mut read: impl FnMut(Range<u64>) -> Result<Bytes, TreeError>,
) -> Result<Vec<PackEntry>, TreeError> {
    let range = trailer_range(size)?;
    let header = read(0..HEADER_LEN as u64)?;
    let range = index_range(size, &header, &read(range)?)?;
    let index_and_trailer = read(range)?;
    decode_index(size, &header, &index_and_trailer)
}

/// Where the trailer of a pack of this size is, for callers that read asynchronously: read
/// [`HEADER_LEN`] bytes at 0 and this range, ask [`index_range`], read that, call [`decode_index`].
///
/// # Errors
/// [`TreeError::Damaged`] when the pack is too short to have one.
pub fn trailer_range(size: u64) -> Result<Range<u64>, TreeError> {
    match size.checked_sub(TRAILER_LEN as u64) {
        Some(start) if start >= HEADER_LEN as u64 => Ok(start..size),
        _ => Err(TreeError::pack("it is too short")),
    }
}

/// Where index and trailer together are.
///
/// # Errors
/// [`TreeError::Damaged`] as [`read_index`].
pub fn index_range(size: u64, header: &[u8], trailer: &[u8]) -> Result<Range<u64>, TreeError> {
    let header = read_header(header)?;
    if header.purged {
        return Err(TreeError::pack("its content was purged"));
    }
    if header.key_id != 0 {
        return Err(TreeError::pack("it is encrypted, which this version cannot read"));
    }
    let trailer: &[u8; TRAILER_LEN] =
        trailer.try_into().map_err(|_| TreeError::pack("trailer is cut off"))?;
    let start = u64::from_le_bytes(trailer[..8].try_into().expect("8 bytes"));
    let count = u32::from_le_bytes(trailer[8..12].try_into().expect("4 bytes"));
    let len = u64::from(count) * INDEX_ENTRY_LEN as u64 + TRAILER_LEN as u64;
    if &trailer[20..] != MAGIC_END || start < HEADER_LEN as u64 || start.checked_add(len) != Some(size) {
        return Err(TreeError::pack("trailer is malformed"));
    }
    Ok(start..size)
}

/// Decodes the index from the bytes of [`index_range`].
///
/// # Errors
/// [`TreeError::Damaged`] as [`read_index`].
pub fn decode_index(size: u64, header: &[u8], index_and_trailer: &[u8]) -> Result<Vec<PackEntry>, TreeError> {
    let trailer_at = index_and_trailer
        .len()
        .checked_sub(TRAILER_LEN)
        .ok_or_else(|| TreeError::pack("trailer is cut off"))?;
    let (index, trailer) = index_and_trailer.split_at(trailer_at);
    let range = index_range(size, header, trailer)?;
    if range.end - range.start != index_and_trailer.len() as u64 {
        return Err(TreeError::pack("index is cut off"));
    }
    let check = u64::from_le_bytes(trailer[12..20].try_into().expect("8 bytes"));
    if checksum(&header[..HEADER_LEN], index) != check {
        return Err(TreeError::pack("index does not match its checksum"));
    }
    let mut entries: Vec<PackEntry> = Vec::with_capacity(index.len() / INDEX_ENTRY_LEN);
    for bytes in index.chunks_exact(INDEX_ENTRY_LEN) {
        let entry = PackEntry {
            id: NodeId(bytes[..32].try_into().expect("32 bytes")),
            offset: u64::from_le_bytes(bytes[32..40].try_into().expect("8 bytes")),
            len: u32::from_le_bytes(bytes[40..44].try_into().expect("4 bytes")),
        };
        let end = entry.offset.checked_add(u64::from(entry.len));
        if entry.offset < HEADER_LEN as u64 || end.is_none_or(|end| end > range.start) {
            return Err(TreeError::pack("index points outside the records"));
        }
        if entries.last().is_some_and(|before| before.id >= entry.id) {
            return Err(TreeError::pack("index does not ascend"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Turns a node's record into the node and checks that it is that node.
///
/// # Errors
/// [`TreeError::Damaged`] when it is not; [`TreeError::NotResident`] with the base when the record holds edits:
/// then use [`decode_record_with`].
pub fn decode_record(id: NodeId, bytes: Bytes) -> Result<Arc<Node>, TreeError> {
    struct Nothing;
    impl NodeSource for Nothing {
        fn node(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
            Err(TreeError::NotResident(*id))
        }
    }
    decode_record_with(id, bytes, &Nothing)
}

/// As [`decode_record`], with a source for the base of edits.
///
/// # Errors
/// [`TreeError::Damaged`], and those of the source: after [`TreeError::NotResident`] fetch that node and call
/// again.
pub fn decode_record_with(id: NodeId, bytes: Bytes, bases: &dyn NodeSource) -> Result<Arc<Node>, TreeError> {
    match (bytes.first(), record_base(id, &bytes)?) {
        (_, Some(base)) => delta::decode(id, &*bases.node(&base)?, bytes.slice(33..)),
        (Some(&CODEC_PLAIN), None) => Node::decode(id, bytes.slice(1..)),
        (Some(codec), None) => Err(TreeError::node(id, format!("its record has the unknown codec {codec}"))),
        (None, None) => Err(TreeError::node(id, "its record is empty")),
    }
}

/// As [`decode_record_with`] for a record that this process wrote, or has decoded before: that the edits give this
/// node is known, and its hash is not computed again.
///
/// # Errors
/// [`TreeError::Damaged`] when the record does not hold edits of this base.
pub fn decode_known_record(id: NodeId, bytes: Bytes, base: &Node) -> Result<Arc<Node>, TreeError> {
    if record_base(id, &bytes)? != Some(base.id()) {
        return Err(TreeError::node(id, "its record does not hold edits of this base"));
    }
    delta::decode_unhashed(id, base, bytes.slice(33..))
}

/// The node whose edits a record holds, from its first 33 bytes; none when it stands alone.
///
/// # Errors
/// [`TreeError::Damaged`] when the record is cut off, or names itself.
pub fn record_base(id: NodeId, record: &[u8]) -> Result<Option<NodeId>, TreeError> {
    if record.first() != Some(&CODEC_EDITS) {
        return Ok(None);
    }
    let base = record.get(1..33).and_then(|base| base.try_into().ok()).map(NodeId);
    match base {
        Some(base) if base != id => Ok(Some(base)),
        _ => Err(TreeError::node(id, "its record names no base")),
    }
}
