//! An entry: what one path holds at one commit (design.md 3.2, API-16.16, API-19.3).

use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer};
use crate::hash::ContentHash;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known about an object's bytes, and what the hash was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// SHA-256 of the bytes, computed by this server while they streamed in.
    Whole(ContentHash),
    /// SHA-256 over the list of part hashes and sizes (see [`crate::entry::parts_hash`]).
    Parts(ContentHash),
    /// Imported or linked: nobody here has seen the bytes.
    Declared,
}

/// The checksum that clients see as ETag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// MD5 of the bytes.
    Md5([u8; 16]),
    /// MD5 over the MD5s of the parts, shown with `-<parts>` behind it.
    Md5Parts([u8; 16], u32),
    /// Whatever an import or a link declared.
    Declared(String),
}

impl Checksum {
    /// The ETag without quotes.
    pub fn to_text(&self) -> String {
        match self {
            Self::Md5(md5) => hex::encode(md5),
            Self::Md5Parts(md5, parts) => format!("{}-{parts}", hex::encode(md5)),
            Self::Declared(text) => text.clone(),
        }
    }
}

/// Where an object's bytes are, relative to the repository that owns them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Derived from the content hash; stored in no entry.
    Cas,
    /// An import rule of the repository: its prefix plus the entry's own path.
    Rule(u32),
    /// A blob name inside the repository, or a full URI for linked and imported objects.
    Explicit(Bytes),
}

/// Content type, standard headers and user metadata. Shared by most entries of a dataset, so they
/// are held once and stored in a dictionary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// Media type; empty when the writer gave none.
    pub content_type: String,
    /// User metadata, and under keys beginning with [`HEADER_PREFIX`] the standard headers to give
    /// back (`cache-control`, `content-disposition`, `content-encoding`, `content-language`, `expires`).
    pub metadata: BTreeMap<String, String>,
}

/// Metadata keys with this prefix hold standard response headers, lower case, for instance
/// `::millpond::header::cache-control`. They count as metadata for equality, and no client sees them as such.
pub const HEADER_PREFIX: &str = "::millpond::header::";

impl Attributes {
    /// The metadata that users set and see: everything but the stored standard headers.
    pub fn user_metadata(&self) -> impl Iterator<Item = (&String, &String)> {
        self.metadata.iter().filter(|(key, _)| !key.starts_with(HEADER_PREFIX))
    }
    /// The stored standard headers, names without prefix.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().filter_map(|(k, v)| Some((k.strip_prefix(HEADER_PREFIX)?, v.as_str())))
    }
    /// Canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.text(&self.content_type).map(self.metadata.iter());
        writer.finish()
    }
    /// The inverse of [`Attributes::encode`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let attributes = Self { content_type: reader.text()?, metadata: reader.map()? };
        reader.end()?;
        Ok(attributes)
    }
}

/// What one path holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Kind and value of the content hash.
    pub content: Content,
    /// Size in bytes.
    pub size: u64,
    /// Last modification, by the server's clock at the write unless the client declared it.
    pub mtime: Timestamp,
    /// The ETag.
    pub checksum: Checksum,
    /// Where the bytes are.
    pub address: Address,
    /// Content type, headers and user metadata.
    pub attributes: Arc<Attributes>,
    /// Further facts, sorted by key, not part of equality: stored S3 checksums under
    /// `crc32`, `crc32c`, `crc64nvme`, `sha1`, `sha256` (base64 text as S3 shows it; `<alg>:type` holds
    /// `FULL_OBJECT` or `COMPOSITE` where it is not the default), what an import saw of its source under `source:*`,
    /// and for parts objects `parts` (see docs/formats).
    pub extra: BTreeMap<String, Bytes>,
}

impl Entry {
    /// Whether two entries hold the same object (API-16.16 and design.md 3.2): content hash or declared
    /// checksum, size, content type and metadata. Address and mtime do not count, except that declared
    /// entries are the same only with the same explicit address or the same checksum and size. A rule's
    /// address says where an object is and not what was seen there, which is the checksum.
    pub fn same_object(&self, other: &Entry) -> bool {
        if self.size != other.size || self.attributes != other.attributes {
            return false;
        }
        match (&self.content, &other.content) {
            (Content::Declared, Content::Declared) => {
                self.checksum == other.checksum
                    || (self.address == other.address && matches!(self.address, Address::Explicit(_)))
            }
            (Content::Declared, _) | (_, Content::Declared) => false,
            (a, b) => a == b,
        }
    }

    /// The content hash; all zero for declared entries.
    pub fn hash(&self) -> ContentHash {
        match self.content {
            Content::Whole(hash) | Content::Parts(hash) => hash,
            Content::Declared => ContentHash([0; 32]),
        }
    }

    /// Canonical bytes of one entry, for log batches (`docs/formats/journal.md`). Trees store entries
    /// by column instead.
    pub fn encode(&self, writer: &mut Writer) {
        let kind = match self.content {
            Content::Whole(_) => 0,
            Content::Parts(_) => 1,
            Content::Declared => 2,
        };
        writer.u8(kind);
        if kind != 2 {
            writer.raw(&self.hash().0);
        }
        writer.uint(self.size).int(self.mtime.millis());
        match &self.checksum {
            Checksum::Md5(md5) => writer.u8(0).raw(md5),
            Checksum::Md5Parts(md5, parts) => writer.u8(1).raw(md5).uint(u64::from(*parts)),
            Checksum::Declared(text) => writer.u8(2).text(text),
        };
        match &self.address {
            Address::Cas => writer.u8(0),
            Address::Rule(rule) => writer.u8(1).uint(u64::from(*rule)),
            Address::Explicit(bytes) => writer.u8(2).bytes(bytes),
        };
        writer.bytes(&self.attributes.encode());
        writer.bytes(&encode_extra(&self.extra));
    }

    /// The inverse of [`Entry::encode`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let content = match reader.u8()? {
            0 => Content::Whole(ContentHash(reader.digest()?)),
            1 => Content::Parts(ContentHash(reader.digest()?)),
            2 => Content::Declared,
            _ => return Err(DecodeError("unknown content kind")),
        };
        let size = reader.uint()?;
        let mtime = Timestamp(reader.int()?);
        let md5 = |reader: &mut Reader| -> Result<[u8; 16], DecodeError> {
            Ok(reader.raw(16)?.as_ref().try_into().expect("raw(16) gives 16 bytes"))
        };
        let checksum = match reader.u8()? {
            0 => Checksum::Md5(md5(reader)?),
            1 => Checksum::Md5Parts(
                md5(reader)?,
                u32::try_from(reader.uint()?).map_err(|_| DecodeError("part count does not fit"))?,
            ),
            2 => Checksum::Declared(reader.text()?),
            _ => return Err(DecodeError("unknown checksum kind")),
        };
        let address = match reader.u8()? {
            0 => Address::Cas,
            1 => Address::Rule(
                u32::try_from(reader.uint()?).map_err(|_| DecodeError("rule number does not fit"))?,
            ),
            2 => Address::Explicit(reader.bytes()?),
            _ => return Err(DecodeError("unknown address mode")),
        };
        let attributes = Arc::new(Attributes::decode(reader.bytes()?)?);
        let extra = decode_extra(reader.bytes()?)?;
        Ok(Self { content, size, mtime, checksum, address, attributes, extra })
    }
}

/// Canonical bytes of [`Entry::extra`]; empty for an empty map.
pub fn encode_extra(extra: &BTreeMap<String, Bytes>) -> Vec<u8> {
    let mut writer = Writer::new();
    for (key, value) in extra {
        writer.text(key).bytes(value);
    }
    writer.finish()
}

/// The inverse of [`encode_extra`].
pub fn decode_extra(bytes: Bytes) -> Result<BTreeMap<String, Bytes>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut extra = BTreeMap::new();
    while !reader.is_empty() {
        let key = reader.text()?;
        extra.insert(key, reader.bytes()?);
    }
    Ok(extra)
}

/// The content hash of a multipart object: SHA-256 over, for each part in order, its SHA-256 and its
/// size as 8 bytes big-endian.
pub fn parts_hash(parts: impl Iterator<Item = (ContentHash, u64)>) -> ContentHash {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    for (hash, size) in parts {
        hasher.update(hash.0);
        hasher.update(size.to_be_bytes());
    }
    ContentHash(hasher.finalize().into())
}
