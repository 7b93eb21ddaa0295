//! Commits and their identity (API-12.10, API-19.5, API-19.7).

use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer};
use crate::hash::{CommitId, TreeId};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Key-value pairs of a commit, sorted by key. Keys beginning with `.millpond.` are reserved for what
/// the server itself binds under the commit id.
pub type Metadata = BTreeMap<String, String>;

/// One commit. The id is derived, see [`Commit::id`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Who committed, as shown to people.
    pub committer: String,
    /// Free text.
    pub message: String,
    /// The whole content at this commit.
    pub tree: TreeId,
    /// Creation date in Unix seconds (the encoding has no finer unit).
    pub creation_date: i64,
    /// Sorted key-value pairs.
    pub metadata: Metadata,
    /// Parents in order; the first is the branch that was committed or merged into.
    pub parents: Vec<CommitId>,
    /// 1 + the largest generation of the parents; 1 for a root.
    pub generation: u64,
}

impl Commit {
    /// SHA-256 of the typed encoding. Generation is not part of it.
    pub fn id(&self) -> CommitId {
        let mut encoder = TypedEncoder(Sha256::new());
        encoder.text("commit:v1");
        encoder.text(&self.committer);
        encoder.text(&self.message);
        encoder.text(&self.tree.to_hex());
        encoder.integer(self.creation_date);
        encoder.map(&self.metadata);
        let mut parents = TypedEncoder(Sha256::new());
        parents.list(&self.parents);
        encoder.raw(&parents.0.finalize());
        CommitId(encoder.0.finalize().into())
    }

    /// Date as a timestamp.
    pub fn date(&self) -> Timestamp {
        Timestamp::from_seconds(self.creation_date)
    }

    /// Stored form (`docs/formats/journal.md`), version 1.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(1).text(&self.committer).text(&self.message);
        match self.tree.0 {
            None => writer.u8(0),
            Some(root) => writer.u8(1).raw(&root.0),
        };
        writer.int(self.creation_date).map(self.metadata.iter()).uint(self.parents.len() as u64);
        for parent in &self.parents {
            writer.raw(&parent.0);
        }
        writer.uint(self.generation);
    }

    /// The inverse of [`Commit::encode`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        if reader.u8()? != 1 {
            return Err(DecodeError("unknown commit version"));
        }
        let committer = reader.text()?;
        let message = reader.text()?;
        let tree = match reader.u8()? {
            0 => TreeId::EMPTY,
            1 => TreeId(Some(crate::NodeId(reader.digest()?))),
            _ => return Err(DecodeError("unknown tree form")),
        };
        let creation_date = reader.int()?;
        let metadata = reader.map()?;
        let count = reader.uint()?;
        let mut parents = Vec::new();
        for _ in 0..count {
            parents.push(CommitId(reader.digest()?));
        }
        let generation = reader.uint()?;
        Ok(Self { committer, message, tree, creation_date, metadata, parents, generation })
    }

    /// Decodes a record that holds one commit and nothing else.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let commit = Self::decode(&mut reader)?;
        reader.end()?;
        Ok(commit)
    }
}

/// The typed encoding of API-19.5, fed straight into a hash.
struct TypedEncoder(Sha256);

impl TypedEncoder {
    fn integer(&mut self, value: i64) {
        self.0.update([2, 8]);
        self.0.update(value.to_be_bytes());
    }
    fn raw(&mut self, bytes: &[u8]) {
        self.0.update([0]);
        self.integer(bytes.len() as i64);
        self.0.update(bytes);
    }
    fn text(&mut self, text: &str) {
        self.0.update([1]);
        self.integer(text.len() as i64);
        self.0.update(text.as_bytes());
    }
    fn list(&mut self, ids: &[CommitId]) {
        self.0.update([3]);
        self.integer(ids.len() as i64);
        for id in ids {
            self.text(&id.to_hex());
        }
    }
    fn map(&mut self, map: &Metadata) {
        self.0.update([4]);
        self.integer(map.len() as i64);
        for (key, value) in map {
            self.text(key);
            self.text(value);
        }
    }
}
