//! Where object bytes are: names inside a repository, and addresses as clients see them (API-33).
//!
//! A data name is 200 bits: the first 25 bytes of the content hash for `cas`, random for the rest.
//! It is shown as `data/` + 20 + `/` + 20 characters of `[0-9a-v]`.

use crate::state::RepoState;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use millpond_origin::{Location, Mark};
use millpond_types::{
    Address, Checksum, ContentHash, DecodeError, Entry, ObjectPath, Random, Reader, Writer,
};

/// Name of a data blob within its repository.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DataName(pub [u8; 25]);

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

impl DataName {
    /// The name that content has by itself.
    pub fn of(hash: &ContentHash) -> Self {
        Self(hash.0[..25].try_into().expect("a hash has 32 bytes"))
    }

    /// A name that nothing has yet.
    pub fn random(random: &dyn Random) -> Self {
        let mut name = [0; 25];
        random.fill(&mut name);
        Self(name)
    }

    /// 20 digits, a slash, 20 digits.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(41);
        for five in self.0.chunks_exact(5) {
            let bits = five.iter().fold(0u64, |bits, &b| bits << 8 | u64::from(b));
            for shift in (0..8).rev() {
                text.push(DIGITS[(bits >> (shift * 5)) as usize & 31] as char);
            }
        }
        text.insert(20, '/');
        text
    }

    /// The inverse of [`DataName::to_text`].
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 41 || bytes[20] != b'/' {
            return None;
        }
        let mut digits = bytes[..20].iter().chain(&bytes[21..]).map(|b| match b {
            b'0'..=b'9' => Some(u64::from(b - b'0')),
            b'a'..=b'v' => Some(u64::from(b - b'a' + 10)),
            _ => None,
        });
        let mut name = [0; 25];
        for five in name.chunks_exact_mut(5) {
            let mut bits = 0u64;
            for _ in 0..8 {
                bits = bits << 5 | digits.next()??;
            }
            five.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Some(Self(name))
    }
}

/// Where an entry's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A data blob of the repository.
    Data(DataName),
    /// Somewhere else, as imported: readable while it is what was seen.
    Origin(Location, Mark),
    /// Somewhere else, by URI.
    Foreign(String),
}

const OWN: u8 = 0;
const FOREIGN: u8 = 1;
const IMPORTED: u8 = 2;

/// The address of a data blob with a random name.
pub fn explicit(name: &DataName) -> Address {
    let mut bytes = vec![OWN];
    bytes.extend_from_slice(&name.0);
    Address::Explicit(bytes.into())
}

/// The address of bytes that this repository does not own.
pub fn foreign(uri: &str) -> Address {
    let mut bytes = vec![FOREIGN];
    bytes.extend_from_slice(uri.as_bytes());
    Address::Explicit(bytes.into())
}

/// The address of an imported object that does not follow from its path: the number of the rule whose source
/// folder it is in, what was seen of it, and its name in that folder.
pub fn imported(rule: u32, mark: Mark, name: &[u8]) -> Address {
    let mut writer = Writer::new();
    writer.u8(IMPORTED).uint(u64::from(rule)).raw(&mark.0).raw(name);
    Address::Explicit(writer.finish().into())
}

/// The address that an object keeps at another path of its repository.
pub fn portable(state: &RepoState, path: &ObjectPath, entry: &Entry) -> Result<Address> {
    match &entry.address {
        Address::Rule(number) => {
            let (_, name, mark) = by_rule(state, *number, path, entry)?;
            Ok(imported(*number, mark, name))
        }
        other => Ok(other.clone()),
    }
}

fn damaged() -> Error {
    Error::new(Kind::Damaged, "the stored address of an object cannot be read")
}

/// Source folder, name in it, and mark of an entry with a rule as its address.
fn by_rule<'a>(
    state: &'a RepoState,
    number: u32,
    path: &'a ObjectPath,
    entry: &Entry,
) -> Result<(&'a Location, &'a [u8], Mark)> {
    let rule = state.rules.get(&number).ok_or_else(damaged)?;
    let name = path.as_bytes().strip_prefix(&*rule.destination).ok_or_else(damaged)?;
    let mark = match &entry.checksum {
        Checksum::Declared(text) => Mark::parse(text).ok_or_else(damaged)?,
        Checksum::Md5(_) | Checksum::Md5Parts(..) => return Err(damaged()),
    };
    Ok((&rule.source, name, mark))
}

/// Finds the bytes of the entry at this path.
pub fn place(state: &RepoState, path: &ObjectPath, entry: &Entry) -> Result<Place> {
    match &entry.address {
        Address::Cas => Ok(Place::Data(DataName::of(&entry.hash()))),
        Address::Explicit(bytes) => match bytes.split_first() {
            Some((&OWN, name)) => Ok(Place::Data(DataName(name.try_into().map_err(|_| damaged())?))),
            Some((&FOREIGN, uri)) => Ok(Place::Foreign(String::from_utf8_lossy(uri).into_owned())),
            Some((&IMPORTED, _)) => {
                let mut reader = Reader::new(bytes.slice(1..));
                let mut parse = || -> std::result::Result<_, DecodeError> {
                    let number = reader.uint()?;
                    let mark: [u8; 12] = reader.raw(12)?.as_ref().try_into().expect("12 bytes");
                    Ok((number, Mark(mark), reader.raw(reader.remaining())?))
                };
                let (number, mark, name) = parse().map_err(|_| damaged())?;
                let rule = u32::try_from(number).ok().and_then(|number| state.rules.get(&number));
                Ok(Place::Origin(rule.ok_or_else(damaged)?.source.join(&name), mark))
            }
            _ => Err(damaged()),
        },
        Address::Rule(number) => {
            let (source, name, mark) = by_rule(state, *number, path, entry)?;
            Ok(Place::Origin(source.join(name), mark))
        }
    }
}

/// The address of the entry at this path as clients see it.
pub fn to_text(state: &RepoState, path: &ObjectPath, entry: &Entry) -> String {
    match place(state, path, entry) {
        Ok(Place::Data(name)) => data_text(&state.info.storage_namespace, &name),
        Ok(Place::Origin(location, _)) => location.to_text(),
        Ok(Place::Foreign(uri)) => uri,
        Err(_) => String::new(),
    }
}

/// The address of a data blob as clients see it.
pub fn data_text(namespace: &str, name: &DataName) -> String {
    format!("{}/data/{}", namespace.trim_end_matches('/'), name.to_text())
}

/// Takes a text that clients sent back apart again.
pub fn from_text(namespace: &str, text: &str) -> Option<DataName> {
    let rest = text.strip_prefix(namespace.trim_end_matches('/'))?;
    DataName::parse(rest.strip_prefix("/data/")?)
}

/// An address that may be put into an entry. The only way to get one is [`acquire`].
#[derive(Clone, Debug)]
pub struct Acquired(Address);

impl Acquired {
    /// The address.
    pub fn address(&self) -> Address {
        self.0.clone()
    }
}

/// Takes hold of an address for a new entry, whether its bytes were just written, were there already
/// (deduplicated PUT, copy, link), or are somebody else's. Every entry passes through here, so that
/// garbage collection can add its condemned state in one place: from then on this also returns the ledger
/// precondition that goes into the same journal row as the entry.
pub fn acquire(address: Address) -> Acquired {
    Acquired(address)
}

/// Raw bytes of a data name, for manifests.
pub fn name_bytes(name: &DataName) -> Bytes {
    Bytes::copy_from_slice(&name.0)
}
