//! Where each small blob lies: the index in memory, and its snapshot on disk.
//!
//! Names under `*/data/*` are many and random, so of them only a 64-bit fingerprint is kept (20 bytes a blob before
//! the hash table's slack); the name itself is in the record and checked on every read. All other names are few and
//! are listed at every start, so they are kept whole and ordered, as is a name whose fingerprint is taken.
//!
//! The snapshot only saves time: it is rebuilt from the segments whenever it is missing or does not check.

use crate::BlobKey;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the segment.
    pub segment: u32,
    /// Where the record begins in it.
    pub offset: u32,
    /// Length of the data in bytes.
    pub len: u32,
}

/// Whether a name is one of the many whose order nobody needs at a start: its second part is `data`.
pub fn is_bulk(key: &str) -> bool {
    key.split('/').nth(1) == Some("data")
}

/// Whether a name with this prefix can be (bulk, other).
pub fn classes(prefix: &str) -> (bool, bool) {
    let Some((_, rest)) = prefix.split_once('/') else { return (true, true) };
    match rest.split_once('/') {
        Some((second, _)) => (second == "data", second != "data"),
        None => ("data".starts_with(rest), true),
    }
}

/// The answer of [`Index::find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The record is here.
    Exact(Place),
    /// A record of this or of another name is here.
    Perhaps(Place),
}

// Bytes instead of a `u64`, so that a pair takes 20 bytes and not 24.
type Fingerprint = [u8; 8];
type FingerprintOf = fn(&BlobKey) -> Fingerprint;

/// The index in memory.
pub struct Index {
    bulk: HashMap<Fingerprint, Place, BuildHasherDefault<Already>>,
    named: BTreeMap<BlobKey, Place>,
    fingerprint: FingerprintOf,
}

/// A fingerprint is its own hash.
#[derive(Default)]
struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Ok(bytes) = bytes.try_into() {
            self.0 = u64::from_le_bytes(bytes);
        }
    }
    fn write_usize(&mut self, _length_prefix: usize) {}
}

impl Default for Index {
    fn default() -> Self {
        Self::with_fingerprint(|key| xxh3_64(key.as_str().as_bytes()).to_le_bytes())
    }
}

impl Index {
    fn with_fingerprint(fingerprint: FingerprintOf) -> Self {
        Self { bulk: HashMap::default(), named: BTreeMap::new(), fingerprint }
    }

    /// Where the key's record is, if anywhere.
    pub fn find(&self, key: &BlobKey) -> Option<Found> {
        if let Some(place) = self.named.get(key) {
            return Some(Found::Exact(*place));
        }
        match is_bulk(key.as_str()) {
            true => self.bulk.get(&(self.fingerprint)(key)).copied().map(Found::Perhaps),
            false => None,
        }
    }

    /// Sets the key's place. `is_at` reads a record to see whose it is; it is asked only when a fingerprint is taken.
    pub fn insert(&mut self, key: &BlobKey, place: Place, is_at: impl FnOnce(&BlobKey, Place) -> bool) {
        let named = !is_bulk(key.as_str()) || self.named.contains_key(key);
        if !named {
            match self.bulk.entry((self.fingerprint)(key)) {
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(place);
                    return;
                }
                std::collections::hash_map::Entry::Occupied(mut taken) => {
                    if is_at(key, *taken.get()) {
                        taken.insert(place);
                        return;
                    }
                }
            }
        }
        self.named.insert(key.clone(), place);
    }

    /// Forgets the key. `is_at` as for [`Index::insert`].
    pub fn remove(&mut self, key: &BlobKey, is_at: impl FnOnce(&BlobKey, Place) -> bool) {
        if self.named.remove(key).is_none() && is_bulk(key.as_str()) {
            let fingerprint = (self.fingerprint)(key);
            if self.bulk.get(&fingerprint).is_some_and(|place| is_at(key, *place)) {
                self.bulk.remove(&fingerprint);
            }
        }
    }

    /// Blobs in the index.
    pub fn len(&self) -> usize {
        self.bulk.len() + self.named.len()
    }

    /// Names that begin with the prefix and are greater than `after`, ascending, of those that are kept whole.
    pub fn named<'a>(&'a self, prefix: &'a str, after: &str) -> impl Iterator<Item = (&'a BlobKey, Place)> {
        // A prefix or marker need not be a valid name, so the ordered map is searched by text.
        let from = if after >= prefix { after } else { prefix }.to_owned();
        let after = after.to_owned();
        self.named
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded))
            .map(|(key, place)| (key, *place))
            .skip_while(move |(key, _)| key.as_str() <= after.as_str())
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
    }

    /// All places of names that are not kept whole, in the order of the disk.
    pub fn bulk_places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.bulk.values().copied().collect();
        places.sort_unstable();
        places
    }
}

/// Everything before this point is in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the last segment.
    pub segment: u32,
    /// Durable bytes of it.
    pub offset: u32,
}

const SNAPSHOT_MAGIC: &[u8; 8] = b"MPINDEX1";

/// The bytes of a snapshot: magic, position, counts, fingerprints with places, names with places, CRC-32.
pub fn encode_snapshot(index: &Index, position: Position) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + 20 * index.bulk.len() + 64 * index.named.len());
    out.extend_from_slice(SNAPSHOT_MAGIC);
    let put = |out: &mut Vec<u8>, n: u32| out.extend_from_slice(&n.to_le_bytes());
    let put_place = |out: &mut Vec<u8>, place: &Place| {
        put(out, place.segment);
        put(out, place.offset);
        put(out, place.len);
    };
    put(&mut out, position.segment);
    put(&mut out, position.offset);
    out.extend_from_slice(&(index.bulk.len() as u64).to_le_bytes());
    out.extend_from_slice(&(index.named.len() as u64).to_le_bytes());
    for (fingerprint, place) in &index.bulk {
        out.extend_from_slice(fingerprint);
        put_place(&mut out, place);
    }
    for (key, place) in &index.named {
        out.push(key.as_str().len() as u8);
        out.extend_from_slice(key.as_str().as_bytes());
        put_place(&mut out, place);
    }
    let crc = crc32fast::hash(&out);
    put(&mut out, crc);
    out
}

/// The index in a snapshot, or `None` if its bytes do not check.
pub fn decode_snapshot(bytes: &[u8]) -> Option<(Index, Position)> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
        return None;
    }
    let mut rest = body.strip_prefix(SNAPSHOT_MAGIC)?;
    let position = Position { segment: take_u32(&mut rest)?, offset: take_u32(&mut rest)? };
    let bulk = u64::from_le_bytes(*take::<8>(&mut rest)?);
    let named = u64::from_le_bytes(*take::<8>(&mut rest)?);
    let mut index = Index::default();
    index.bulk.reserve(usize::try_from(bulk).ok().filter(|n| *n <= rest.len() / 20)?);
    for _ in 0..bulk {
        let fingerprint = *take::<8>(&mut rest)?;
        index.bulk.insert(fingerprint, take_place(&mut rest)?);
    }
    for _ in 0..named {
        let [len] = *take::<1>(&mut rest)?;
        let (key, after) = rest.split_at_checked(usize::from(len))?;
        rest = after;
        let key = BlobKey::parse(std::str::from_utf8(key).ok()?)?;
        index.named.insert(key, take_place(&mut rest)?);
    }
    rest.is_empty().then_some((index, position))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take::<4>(rest).map(|bytes| u32::from_le_bytes(*bytes))
}

fn take_place(rest: &mut &[u8]) -> Option<Place> {
    Some(Place { segment: take_u32(rest)?, offset: take_u32(rest)?, len: take_u32(rest)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: u32) -> Place {
        Place { segment: 1, offset: n, len: 5 }
    }

    #[test]
    fn an_entry_takes_twenty_bytes() {
        assert_eq!(size_of::<(Fingerprint, Place)>(), 20);
    }

    #[test]
    fn two_names_with_one_fingerprint_live_side_by_side() {
        let mut index = Index::with_fingerprint(|_| [7; 8]);
        let (a, b, c) = (BlobKey::new("r/data/a"), BlobKey::new("r/data/b"), BlobKey::new("r/data/c"));
        // What the records say.
        let is_at = |key: &BlobKey, p: Place| (key.as_str() == "r/data/a") == (p.offset == 1);
        index.insert(&a, place(1), is_at);
        index.insert(&b, place(2), is_at);
        assert_eq!(index.find(&a), Some(Found::Perhaps(place(1))));
        assert_eq!(index.find(&b), Some(Found::Exact(place(2))));
        assert_eq!(
            index.find(&c),
            Some(Found::Perhaps(place(1))),
            "the reader finds that it is another's record"
        );
        index.insert(&b, place(3), is_at);
        assert_eq!(index.find(&b), Some(Found::Exact(place(3))));
        index.remove(&c, |_, _| false);
        index.remove(&b, is_at);
        assert_eq!(index.find(&a), Some(Found::Perhaps(place(1))));
        index.remove(&a, is_at);
        assert_eq!(index.find(&a), None);
        assert_eq!(index.len(), 0);
    }

    #[test]
    fn a_snapshot_reads_back_and_no_flipped_byte_passes() {
        let mut index = Index::default();
        for n in 0..50 {
            index.insert(&BlobKey::new(&format!("r1/data/{n}")), place(n), |_, _| false);
            index.insert(&BlobKey::new(&format!("r1/pack/{n}")), place(1000 + n), |_, _| false);
        }
        let position = Position { segment: 3, offset: 77 };
        let bytes = encode_snapshot(&index, position);
        let (read, at) = decode_snapshot(&bytes).expect("decodes");
        assert_eq!(at, position);
        assert_eq!((&read.bulk, &read.named), (&index.bulk, &index.named));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert!(decode_snapshot(&bad).is_none(), "byte {at} flipped");
            assert!(decode_snapshot(&bytes[..at]).is_none(), "cut to {at} bytes");
        }
    }

    #[test]
    fn prefixes_tell_which_names_they_can_reach() {
        for (prefix, bulk, other) in [
            ("", true, true),
            ("r1", true, true),
            ("r1/", true, true),
            ("r1/da", true, true),
            ("r1/data", true, true),
            ("r1/data/", true, false),
            ("r1/data/ab", true, false),
            ("r1/p", false, true),
            ("r1/pack/00", false, true),
            ("r1/database", false, true),
        ] {
            assert_eq!(classes(prefix), (bulk, other), "prefix {prefix:?}");
        }
    }
}
