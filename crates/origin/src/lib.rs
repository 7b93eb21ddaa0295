//! Where imported objects are: places outside the repository that are listed once and read for ever after.
//!
//! The accident this prevents: an import names a file, the file is changed, and every commit that names it
//! quietly changes with it. So a listing records what it saw of each object ([`Seen`]), and an object is opened
//! only by showing that again; what changed since is [`OriginErrorKind::Gone`], never other bytes.
//!
//! [`LocalFolders`] is the adapter for directories of the server; [`Nowhere`] is that of a server which may
//! import from nothing. This crate does not know about repositories, keys, commits or what an import is for.

mod local;

pub use local::{LocalFolders, canonical};

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use bytes::Bytes;
use millpond_blob::BlobReader;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// The full, normal name of an object or folder somewhere else, scheme included: `local:///data/a.png`. Bytes,
/// because file names are. A folder ends with `/`, so folder and relative name together name an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(pub Bytes);

impl Location {
    /// The object of this name relative to a folder.
    pub fn join(&self, name: &[u8]) -> Self {
        Self([&self.0, name].concat().into())
    }
    /// For people and JSON; bytes that are not UTF-8 become U+FFFD.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// Twelve bytes that change when the object does: a SHA-256 over what the place tells about it, cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub [u8; 12]);

/// No `-` and no length of a hexadecimal MD5, so that no client takes it for one, or for one of parts.
const ALPHABET: Alphabet =
    match Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._") {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("the alphabet has 64 different characters"),
    };
const TEXT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, NO_PAD);

impl Mark {
    /// The mark of these facts.
    pub fn of(facts: &[u64]) -> Self {
        let mut hash = Sha256::new();
        for fact in facts {
            hash.update(fact.to_le_bytes());
        }
        Self(hash.finalize()[..12].try_into().expect("a SHA-256 is longer"))
    }
    /// 16 characters, which clients see as checksum.
    pub fn to_text(&self) -> String {
        TEXT.encode(self.0)
    }
    /// The inverse of [`Mark::to_text`].
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(TEXT.decode(text).ok()?.try_into().ok()?))
    }
}

/// What was seen of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Size in bytes.
    pub size: u64,
    /// Last modification, milliseconds since the Unix epoch.
    pub modified_millis: i64,
    /// See there.
    pub mark: Mark,
}

/// Objects of one folder that follow each other in a listing.
#[derive(Debug, Default)]
pub struct Block {
    /// The folder's name relative to the place that is listed: empty, or with a `/` at its end.
    pub folder: Arc<[u8]>,
    names: Vec<u8>,
    objects: Vec<(u32, Seen)>,
    /// What is no object and was passed over since the block before: links, sockets, devices.
    pub skipped: u64,
}

impl Block {
    /// One object of the place itself.
    pub fn of(name: &[u8], seen: Seen) -> Self {
        let mut block = Self::default();
        block.push(name, seen);
        block
    }
    fn new(folder: Arc<[u8]>) -> Self {
        Self { folder, ..Self::default() }
    }
    fn push(&mut self, name: &[u8], seen: Seen) {
        self.names.extend_from_slice(name);
        let end = u32::try_from(self.names.len()).expect("a block holds some thousand names");
        self.objects.push((end, seen));
    }
    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
    /// Name in the folder, and what was seen.
    pub fn get(&self, index: usize) -> Option<(&[u8], Seen)> {
        let (end, seen) = *self.objects.get(index)?;
        let start = if index == 0 { 0 } else { self.objects[index - 1].0 };
        Some((&self.names[start as usize..end as usize], seen))
    }
}

/// A listing under way. Dropping it ends all its work.
pub trait Listing: Send {
    /// The next objects, ascending by the bytes of folder and name; `None` at the end. Waits for the place.
    fn next(&mut self) -> Result<Option<Block>, OriginError>;
}

/// Whether a source is one object or everything below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A folder.
    Prefix,
    /// One object.
    Object,
}

/// What the caller does next is the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginErrorKind {
    /// Not a place that may be read. Ask for another, or change the server's configuration.
    Refused,
    /// The object is not there any more, or is not what was seen.
    Gone,
    /// The place could not be read just now: a network that is down, a server that was started again. Try again.
    Busy,
    /// The place cannot be read.
    Failed,
}

/// A failure, which names the place.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct OriginError {
    /// See there.
    pub kind: OriginErrorKind,
    /// For people.
    pub message: String,
}

impl OriginError {
    fn refused(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::Refused, message: message.into() }
    }
    fn gone(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::Gone, message: message.into() }
    }
    fn busy(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::Busy, message: message.into() }
    }
    fn failed(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::Failed, message: message.into() }
    }
}

/// Places that objects are imported from. All methods may wait for a disk: call them where that is allowed.
pub trait Origin: fmt::Debug + Send + Sync + 'static {
    /// Reads a source as a user writes it and says whether it may be read; not whether it is there.
    fn locate(&self, source: &str, kind: SourceKind) -> Result<Location, OriginError>;
    /// Lists everything below a folder whose relative name is greater than `after`.
    fn list(&self, folder: &Location, after: &[u8]) -> Result<Box<dyn Listing>, OriginError>;
    /// Looks at one object.
    fn look(&self, object: &Location) -> Result<Seen, OriginError>;
    /// Opens an object if it is what was seen. Reads fail once it changes.
    fn open(&self, object: &Location, mark: Mark) -> Result<Arc<dyn BlobReader>, OriginError>;
}

/// The places of a server to which nobody named any.
#[derive(Debug)]
pub struct Nowhere;

/// What to do about a place that may not be read.
const NAME_IT: &str = "name its directory in the setting 'local_import' and restart the server";

impl Nowhere {
    fn refusal(what: &str) -> OriginError {
        OriginError::refused(format!("{what} may not be read: {NAME_IT}"))
    }
}

impl Origin for Nowhere {
    fn locate(&self, source: &str, _: SourceKind) -> Result<Location, OriginError> {
        Err(Self::refusal(source))
    }
    fn list(&self, folder: &Location, _: &[u8]) -> Result<Box<dyn Listing>, OriginError> {
        Err(Self::refusal(&folder.to_text()))
    }
    fn look(&self, object: &Location) -> Result<Seen, OriginError> {
        Err(Self::refusal(&object.to_text()))
    }
    fn open(&self, object: &Location, _: Mark) -> Result<Arc<dyn BlobReader>, OriginError> {
        Err(Self::refusal(&object.to_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_text_that_no_client_takes_for_an_md5() {
        let mark = Mark::of(&[5, 1_700_000_000, 7, 8, 9, 10]);
        let text = mark.to_text();
        assert_eq!(text.len(), 16);
        assert!(!text.contains('-'), "{text}");
        assert_eq!(Mark::parse(&text), Some(mark));
        assert_ne!(mark, Mark::of(&[5, 1_700_000_000, 7, 8, 9, 11]));
        for wrong in ["", "abc", "AAAAAAAAAAAAAAA-", "AAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(Mark::parse(wrong), None, "{wrong}");
        }
    }
}
