//! A segment: journal rows that a checkpoint has taken in, as one blob and one row about it
//! (`docs/formats/audit.md`).

use crate::engine::kv_error;
use crate::keys;
use crate::nodes::store_error;
use crate::record::Row;
use crate::tasks::{Places, Tasks};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use millpond_blob::{BlobKey, Blobs};
use millpond_kv::Kv;
use millpond_types::{DecodeError, Reader, Timestamp, Writer};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const MAGIC: &[u8] = b"MPAT";
/// The rows as they are.
const PLAIN: u8 = 0;
/// One LZ4 block.
const LZ4: u8 = 1;
/// No segment unpacks to more than this, in bytes: a damaged length must not take all memory.
const RAW_BYTES_MAX: u64 = 1 << 30;

/// What is known of a segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Number of its first row.
    pub first: u64,
    /// How many rows it has.
    pub rows: u64,
    /// How many mutations they have.
    pub mutations: u64,
    /// The earliest time in them.
    pub from: Timestamp,
    /// The latest.
    pub until: Timestamp,
    /// SHA-256 of the row before its first.
    pub before: [u8; 32],
    /// SHA-256 of its last row.
    pub after: [u8; 32],
    /// Bytes of its rows.
    pub raw_bytes: u64,
    /// SHA-256 of the blob, which has its name from it.
    pub sha256: [u8; 32],
    /// Bytes of the blob.
    pub bytes: u64,
}

impl Segment {
    /// The row behind its last.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(self.rows)
    }

    /// What these rows say about themselves; nothing of a blob.
    pub fn of_rows(first: u64, rows: &[Bytes], after: [u8; 32]) -> std::result::Result<Self, DecodeError> {
        let mut segment = Self {
            first,
            rows: rows.len() as u64,
            mutations: 0,
            from: Timestamp(i64::MAX),
            until: Timestamp(i64::MIN),
            before: [0; 32],
            after,
            raw_bytes: rows.iter().map(|row| row.len() as u64).sum(),
            sha256: [0; 32],
            bytes: 0,
        };
        for (index, row) in rows.iter().enumerate() {
            let (previous, mutations, from, until) = Row::summary(row.clone())?;
            if index == 0 {
                segment.before = previous;
            }
            segment.mutations += mutations;
            segment.from = segment.from.min(from);
            segment.until = segment.until.max(until);
        }
        Ok(segment)
    }

    pub fn blob(&self) -> BlobKey {
        keys::audit_segment_blob(self.first, &self.sha256)
    }

    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.u8(VERSION).uint(self.first).uint(self.rows).uint(self.mutations);
        w.int(self.from.millis()).int(self.until.millis()).raw(&self.before).raw(&self.after);
        w.uint(self.raw_bytes).raw(&self.sha256).uint(self.bytes);
        w.finish().into()
    }

    /// Bytes behind what this version knows are a later version's, and passed over.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let mut parse = || {
            if r.u8()? != VERSION {
                return Err(DecodeError("a newer Millpond wrote it"));
            }
            Ok(Self {
                first: r.uint()?,
                rows: r.uint()?,
                mutations: r.uint()?,
                from: Timestamp(r.int()?),
                until: Timestamp(r.int()?),
                before: r.digest()?,
                after: r.digest()?,
                raw_bytes: r.uint()?,
                sha256: r.digest()?,
                bytes: r.uint()?,
            })
        };
        parse().map_err(|e| Error::new(Kind::Damaged, format!("a row about an audit segment: {e}")))
    }

    /// Its rows, in order. That they are the right ones is judged here by the blob's hash, and by the chain in
    /// `verify`.
    pub async fn read(&self, blobs: &dyn Blobs, tasks: &dyn Tasks) -> Result<Vec<Bytes>> {
        let reader = blobs.open(&self.blob()).await.map_err(store_error)?;
        let bytes = reader.read(0..reader.size()).await.map_err(store_error)?;
        if reader.size() != self.bytes {
            return Err(self.damaged("it has not as many bytes as it should"));
        }
        let (wanted, rows) = (self.sha256, self.rows);
        let unpacked = tasks.run_in(Places::Unbounded, move |_| {
            if <[u8; 32]>::from(Sha256::digest(&bytes)) != wanted {
                return Err(DecodeError("its bytes are not those that were written"));
            }
            unpack(bytes)
        });
        match unpacked.await? {
            Ok(found) if found.len() as u64 == rows => Ok(found),
            Ok(_) => Err(self.damaged("it has not as many rows as it should")),
            Err(error) => Err(self.damaged(error.0)),
        }
    }

    fn damaged(&self, what: &str) -> Error {
        Error::new(Kind::Damaged, format!("audit segment {}: {what}", self.blob().as_str()))
    }
}

/// The blob of these rows.
pub(crate) fn pack(rows: &[Bytes]) -> Bytes {
    let mut raw = Writer::new();
    rows.iter().for_each(|row| {
        raw.bytes(row);
    });
    let raw = raw.finish();
    let packed = lz4_flex::block::compress(&raw);
    let mut w = Writer::new();
    w.raw(MAGIC).u8(VERSION);
    match packed.len() < raw.len() {
        true => w.u8(LZ4).uint(raw.len() as u64).raw(&packed),
        false => w.u8(PLAIN).uint(raw.len() as u64).raw(&raw),
    };
    w.finish().into()
}

/// The inverse of [`pack`].
pub(crate) fn unpack(blob: Bytes) -> std::result::Result<Vec<Bytes>, DecodeError> {
    let mut r = Reader::new(blob);
    if r.raw(MAGIC.len())? != MAGIC || r.u8()? != VERSION {
        return Err(DecodeError("it is no audit segment of a version that this Millpond reads"));
    }
    let (codec, len) = (r.u8()?, r.uint()?);
    let rest = r.raw(r.remaining())?;
    // LZ4 makes at most 255 bytes of one.
    if len > RAW_BYTES_MAX || len > rest.len() as u64 * 255 + 64 {
        return Err(DecodeError("it says to hold more than it can"));
    }
    let raw: Bytes = match codec {
        PLAIN => rest,
        LZ4 => lz4_flex::block::decompress(&rest, len as usize)
            .map_err(|_| DecodeError("it cannot be decompressed"))?
            .into(),
        _ => return Err(DecodeError("it is compressed in a way that this Millpond does not know")),
    };
    if raw.len() as u64 != len {
        return Err(DecodeError("it holds not as much as it says"));
    }
    let mut r = Reader::new(raw);
    let mut rows = Vec::new();
    while !r.is_empty() {
        rows.push(r.bytes()?);
    }
    Ok(rows)
}

/// Why the trail begins where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has everything since the data directory was made.
    Complete,
    /// Versions before it existed deleted rows; this is the first that was left.
    Upgrade,
    /// What was before is older than it is to be kept.
    Retention,
}

/// Where the trail begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The first row.
    pub row: u64,
    /// Why.
    pub reason: Reason,
}

/// Where the trail begins, and the hash of the row before: the boundary that makes the rest verifiable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub first: u64,
    pub before: [u8; 32],
    pub reason: Reason,
}

impl Beginning {
    pub async fn read(kv: &dyn Kv) -> Result<Self> {
        match kv.get(keys::AUDIT).await.map_err(kv_error)? {
            Some(bytes) => Self::decode(bytes),
            // What the step from format 1 will write, for those who look at stores that nobody has opened since.
            None if kv.get(keys::FORMAT).await.map_err(kv_error)?.as_deref() == Some(b"1") => {
                Self::at_checkpoint(kv).await
            }
            None => Ok(Self { first: 1, before: [0; 32], reason: Reason::Complete }),
        }
    }

    /// With the first row that is left, where earlier ones were dropped unkept.
    pub async fn at_checkpoint(kv: &dyn Kv) -> Result<Self> {
        let (first, before) = crate::checkpoint::read(kv).await?;
        let reason = if first > 1 { Reason::Upgrade } else { Reason::Complete };
        Ok(Self { first, before, reason })
    }

    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.u8(VERSION).uint(self.first).raw(&self.before);
        w.u8(match self.reason {
            Reason::Complete => 0,
            Reason::Upgrade => 1,
            Reason::Retention => 2,
        });
        w.finish().into()
    }

    pub fn decode(bytes: Bytes) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let mut parse = || Ok::<_, DecodeError>((r.u8()?, r.uint()?, r.digest()?, r.u8()?));
        let (first, before, reason) = match parse() {
            Ok((VERSION, first, before, 0)) => (first, before, Reason::Complete),
            Ok((VERSION, first, before, 1)) => (first, before, Reason::Upgrade),
            Ok((VERSION, first, before, 2)) => (first, before, Reason::Retention),
            _ => return Err(Error::new(Kind::Damaged, "where the audit trail begins cannot be read")),
        };
        Ok(Self { first, before, reason })
    }

    pub fn begun(&self) -> Begun {
        Begun { row: self.first, reason: self.reason }
    }
}

/// The name of a repository, kept when it is gone, for rows that have only its number.
pub(crate) fn encode_name(name: &str) -> Bytes {
    let mut w = Writer::new();
    w.u8(VERSION).text(name);
    w.finish().into()
}

/// The inverse of [`encode_name`].
pub(crate) fn decode_name(bytes: Bytes) -> std::result::Result<String, DecodeError> {
    let mut r = Reader::new(bytes);
    if r.u8()? != VERSION {
        return Err(DecodeError("a newer Millpond wrote it"));
    }
    r.text()
}
