//! SHA-256 everywhere (design.md 3.1): one type per purpose so that they cannot be mixed up.

use sha2::{Digest, Sha256};
use std::fmt;

/// A raw SHA-256 value, 32 bytes.
pub type Sha256Digest = [u8; 32];

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not 64 lower-case hexadecimal digits")]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Sha256Digest);

        impl $name {
            /// Parses 64 lower-case hexadecimal digits.
            pub fn from_hex(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(InvalidId);
                }
                let mut bytes = [0u8; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidId)?;
                Ok(Self(bytes))
            }
            /// 64 lower-case hexadecimal digits.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
            /// The raw 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.to_hex()[..12])
            }
        }
    };
}

id!(
    /// What a content hash is taken over is told by [`crate::Content`].
    ContentHash
);
id!(
    /// SHA-256 of the canonical bytes of one tree node.
    NodeId
);
id!(
    /// SHA-256 of the commit encoding (API-19.7).
    CommitId
);

impl ContentHash {
    /// SHA-256 of the bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl NodeId {
    /// SHA-256 of a node's canonical bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// A whole tree: the id of its root node, or nothing for the empty tree. The empty tree is spelled
/// as an empty text where a tree id is shown or hashed (API-9.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreeId(pub Option<NodeId>);

impl TreeId {
    /// The tree without entries.
    pub const EMPTY: TreeId = TreeId(None);

    /// 64 hexadecimal digits, or the empty text for the empty tree.
    pub fn to_hex(&self) -> String {
        self.0.map(|id| id.to_hex()).unwrap_or_default()
    }

    /// The inverse of [`TreeId::to_hex`].
    pub fn from_hex(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() { Ok(Self::EMPTY) } else { NodeId::from_hex(text).map(|id| Self(Some(id))) }
    }
}

impl fmt::Display for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
