//! Object paths: byte strings compared bytewise, never touched by a file system (API-6.3).

use crate::limits::OBJECT_PATH_BYTES_MAX;
use bytes::Bytes;
use std::fmt;

/// The path is empty or longer than 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// An object needs a path.
    #[error("the object path is empty")]
    Empty,
    /// More than [`OBJECT_PATH_BYTES_MAX`] bytes.
    #[error("the object path has {0} bytes; the limit is 1024")]
    TooLong(usize),
}

/// 1 to 1024 arbitrary bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(Bytes);

impl ObjectPath {
    /// Checks the length and wraps the bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, InvalidPath> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(InvalidPath::Empty),
            n if n > OBJECT_PATH_BYTES_MAX => Err(InvalidPath::TooLong(n)),
            _ => Ok(Self(bytes)),
        }
    }
    /// The same from text.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// The bytes without copying.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }
    /// As text; bytes that are not UTF-8 become U+FFFD.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl std::borrow::Borrow<[u8]> for ObjectPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}
