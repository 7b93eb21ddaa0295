//! The part list of a multipart object, stored as a blob (`docs/formats/manifest.md`, version 1).

use crate::address::DataName;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use millpond_types::{ContentHash, DecodeError, Reader, Writer};
use std::ops::Range;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where its bytes are.
    pub name: DataName,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: ContentHash,
}

/// The parts in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// At least two.
    pub parts: Vec<Part>,
}

impl Manifest {
    /// Stored bytes.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.raw(b"MPPL").u8(1).uint(self.parts.len() as u64);
        for part in &self.parts {
            w.raw(&part.name.0).uint(part.size).raw(&part.sha256.0);
        }
        w.finish().into()
    }

    /// The inverse of [`Manifest::encode`].
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let parse = || {
            if r.raw(4)?.as_ref() != b"MPPL" || r.u8()? != 1 {
                return Err(DecodeError("not a part list of version 1"));
            }
            let mut parts: Vec<Part> = Vec::new();
            for _ in 0..r.uint()? {
                let name = DataName(r.raw(25)?.as_ref().try_into().expect("raw(25) gives 25 bytes"));
                parts.push(Part { name, size: r.uint()?, sha256: ContentHash(r.digest()?) });
            }
            r.end()?;
            let total = parts.iter().try_fold(0u64, |total, part| total.checked_add(part.size));
            total.ok_or(DecodeError("part sizes do not add up"))?;
            Ok(parts)
        };
        let parts =
            parse().map_err(|e| Error::new(Kind::Damaged, format!("a part list cannot be read: {e}")))?;
        Ok(Self { parts })
    }

    /// Which ranges of which parts make up a range of the object.
    pub fn cover(&self, range: Range<u64>) -> Vec<(DataName, Range<u64>)> {
        let mut covered = Vec::new();
        let mut start = 0;
        for part in &self.parts {
            let end = start + part.size;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                covered.push((part.name, from - start..to - start));
            }
            start = end;
        }
        covered
    }
}
