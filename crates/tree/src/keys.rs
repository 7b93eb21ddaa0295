//! The key section that leaves and inner nodes share: front-coded keys, readable in place.
//!
//! The prefix and suffix common to all keys are stored once. What is left of each key is coded against the one
//! before it, and every 16th is whole, so that a search halves over those and then walks at most 15 steps.
//! Layout in `docs/formats/tree-node.md`. It knows nothing about what the keys belong to.

use millpond_types::limits::OBJECT_PATH_BYTES_MAX;
use std::cmp::Ordering;
use std::ops::Bound;

/// Keys between two that are stored whole.
pub(crate) const RESTART_EVERY: usize = 16;
/// Bytes of the section's own header: lengths of prefix and suffix, width of the restart table, three zeros.
const HEADER: usize = 8;
/// In the four bits of a length: the length minus this follows as an LEB128 integer.
const ESCAPE: usize = 15;

/// Where the keys of one node are inside its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    len: usize,
    prefix: usize,
    prefix_len: usize,
    suffix_len: usize,
    restart_width: usize,
    restarts: usize,
    data: usize,
}

/// Compares the two parts of a key, end to end, with a whole one.
fn compare_parts(head: &[u8], tail: &[u8], whole: &[u8]) -> Ordering {
    let cut = head.len().min(whole.len());
    head[..cut]
        .cmp(&whole[..cut])
        .then_with(|| if head.len() > whole.len() { Ordering::Greater } else { tail.cmp(&whole[cut..]) })
}

/// Appends a length that did not fit four bits.
fn put_escaped(out: &mut Vec<u8>, len: usize) {
    if len >= ESCAPE {
        let mut rest = len - ESCAPE;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

/// Takes one key's lengths at `at`: bytes shared with the key before, bytes of its own.
fn step(bytes: &[u8], at: &mut usize) -> Option<(usize, usize)> {
    let first = *bytes.get(*at)?;
    *at += 1;
    let mut lengths = [usize::from(first >> 4), usize::from(first & 15)];
    for len in &mut lengths {
        if *len == ESCAPE {
            let mut shift = 0;
            loop {
                let byte = *bytes.get(*at)?;
                *at += 1;
                // 1,024 fits two bytes; a third cannot be ours.
                if shift > 7 || (shift > 0 && byte == 0) {
                    return None;
                }
                *len += usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
            }
        }
    }
    Some((lengths[0], lengths[1]))
}

impl Keys {
    /// Finds the parts of the section that runs from `at` to the end of the node, for `len` keys. Checks
    /// bounds, not the keys themselves: see [`Keys::check`].
    pub(crate) fn parse(bytes: &[u8], at: usize, len: usize) -> Result<Self, &'static str> {
        let header = bytes.get(at..at + HEADER).ok_or("key section is cut off")?;
        let prefix_len = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let suffix_len = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let restart_width = usize::from(header[4]);
        if !matches!(restart_width, 2 | 4) || header[5..8] != [0; 3] {
            return Err("key section header is malformed");
        }
        let prefix = at + HEADER;
        let restarts = prefix + prefix_len + suffix_len;
        let data = restarts + len.div_ceil(RESTART_EVERY) * restart_width;
        if data > bytes.len() {
            return Err("key section is cut off");
        }
        Ok(Self { len, prefix, prefix_len, suffix_len, restart_width, restarts, data })
    }

    /// Walks all keys: lengths within limits, strictly ascending, restarts where the table says, nothing left
    /// over. After this no other function of this type can leave the node's bytes.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), &'static str> {
        let (prefix, suffix) = (self.prefix(bytes), self.suffix(bytes));
        if self.prefix_len + self.suffix_len > OBJECT_PATH_BYTES_MAX {
            return Err("key is too long");
        }
        let mut at = self.data;
        let mut key: Vec<u8> = Vec::with_capacity(OBJECT_PATH_BYTES_MAX);
        key.extend_from_slice(prefix);
        for index in 0..self.len {
            let restart = index % RESTART_EVERY == 0;
            if restart && self.restart(bytes, index / RESTART_EVERY) != Some(at) {
                return Err("restart table does not match the keys");
            }
            let (shared, own) = step(bytes, &mut at).ok_or("key is cut off")?;
            let own = bytes.get(at..at + own).ok_or("key is cut off")?;
            at += own.len();
            if restart && shared != 0 {
                return Err("key at a restart is not whole");
            }
            let stem = self.prefix_len + shared;
            if index > 0 && stem + self.suffix_len > key.len() {
                return Err("key shares more than there is");
            }
            if index > 0 && compare_parts(own, suffix, &key[stem..]) != Ordering::Greater {
                return Err("keys are not ascending");
            }
            let len = stem + own.len() + self.suffix_len;
            if len == 0 || len > OBJECT_PATH_BYTES_MAX {
                return Err("key is empty or too long");
            }
            key.truncate(stem);
            key.extend_from_slice(own);
            key.extend_from_slice(suffix);
        }
        if at == bytes.len() { Ok(()) } else { Err("trailing bytes") }
    }

    /// Whether two sections hold the same keys, by comparing their bytes.
    pub(crate) fn same(&self, bytes: &[u8], other: &Self, theirs: &[u8]) -> bool {
        self.len == other.len && bytes[self.prefix - HEADER..] == theirs[other.prefix - HEADER..]
    }

    /// How many of the first keys are certainly the same in both sections: those of groups that are coded alike.
    pub(crate) fn same_first(&self, bytes: &[u8], other: &Self, theirs: &[u8]) -> usize {
        if self.prefix(bytes) != other.prefix(theirs) || self.suffix(bytes) != other.suffix(theirs) {
            return 0;
        }
        let alike = common(&bytes[self.data..], &theirs[other.data..]);
        // A whole group is alike when the next one begins within what is alike, in both.
        let groups = |keys: &Self, bytes: &[u8]| {
            let begins = |group: &usize| keys.restart_checked(bytes, *group) - keys.data <= alike;
            (1..keys.len.div_ceil(RESTART_EVERY)).take_while(begins).count()
        };
        groups(self, bytes).min(groups(other, theirs)) * RESTART_EVERY
    }

    /// Appends the section of these keys after some were deleted and others inserted: what [`KeyArena::encode`]
    /// gives for the resulting keys, of which there is at least one. Edits come in the order of rows.
    pub(crate) fn patch(&self, bytes: &[u8], edits: &[KeyEdit<'_>], out: &mut Vec<u8>) {
        if edits.is_empty() {
            out.extend_from_slice(&bytes[self.prefix - HEADER..]);
        } else if self.patch_stems(bytes, edits, out).is_none() {
            let mut arena = KeyArena::default();
            let mut edits = edits.iter().peekable();
            let mut walk = Some(self.walk(bytes, 0));
            for row in 0..=self.len {
                let mut kept = true;
                while let Some(edit) = edits.next_if(|edit| edit.row == row) {
                    match edit.inserted {
                        Some(key) => arena.push(key),
                        None => kept = false,
                    }
                }
                if let Some(at) = &mut walk {
                    if kept {
                        arena.push(at.key());
                    }
                    if !at.advance(self, bytes) {
                        walk = None;
                    }
                }
            }
            arena.encode(out);
        }
    }

    /// As [`Keys::patch`] where prefix and suffix of all keys stay: then most keys are coded as they were, and
    /// only those at the edits and at old and new restarts anew. None when they do not stay or it is not certain.
    fn patch_stems(&self, bytes: &[u8], edits: &[KeyEdit<'_>], out: &mut Vec<u8>) -> Option<()> {
        let (prefix, suffix) = (self.prefix(bytes), self.suffix(bytes));
        let inserted = edits.iter().filter_map(|edit| edit.inserted);
        let room: usize = inserted.map(|key| key.len() + 8).sum();
        let mut patch = StemPatch {
            data: Vec::with_capacity(bytes.len() - self.data + room + edits.len() * 16),
            restarts: Vec::with_capacity((self.len + edits.len()).div_ceil(RESTART_EVERY)),
            len: 0,
            before: Vec::new(),
            first: Vec::new(),
            ends_differ: false,
        };
        // Groups in front of the first edit stay as they are.
        let untouched = edits.first().map_or(0, |edit| edit.row) / RESTART_EVERY;
        let untouched = untouched.min(self.len.div_ceil(RESTART_EVERY) - 1);
        let mut at = self.restart_checked(bytes, untouched);
        if untouched > 0 {
            patch.data.extend_from_slice(&bytes[self.data..at]);
            let starts = (0..untouched).map(|group| self.restart_checked(bytes, group) - self.data);
            patch.restarts.extend(starts);
            patch.len = untouched * RESTART_EVERY;
            let mut start = self.data;
            let (_, own) = step(bytes, &mut start)?;
            patch.first.extend_from_slice(&bytes[start..start + own]);
        }
        let mut stem: Vec<u8> = Vec::with_capacity(64);
        // Whether the key put last is the one that stands before the row in the old node.
        let mut in_step = false;
        let mut edits = edits.iter().peekable();
        for row in patch.len..=self.len {
            let mut kept = true;
            while let Some(edit) = edits.next_if(|edit| edit.row == row) {
                match edit.inserted {
                    None => kept = false,
                    Some(key) => {
                        let key = key.strip_prefix(prefix)?.strip_suffix(suffix)?;
                        if in_step {
                            patch.before.clear();
                            patch.before.extend_from_slice(&stem);
                            in_step = false;
                        }
                        patch.put(key);
                        patch.before.clear();
                        patch.before.extend_from_slice(key);
                    }
                }
            }
            if row == self.len {
                break;
            }
            let start = at;
            let (shared, own) = step(bytes, &mut at)?;
            let own = &bytes[at..at + own];
            at += own.len();
            if !kept {
                if in_step {
                    patch.before.clear();
                    patch.before.extend_from_slice(&stem);
                    in_step = false;
                }
                stem.truncate(shared);
                stem.extend_from_slice(own);
            } else if in_step
                && !row.is_multiple_of(RESTART_EVERY)
                && !patch.len.is_multiple_of(RESTART_EVERY)
            {
                patch.data.extend_from_slice(&bytes[start..at]);
                patch.len += 1;
                stem.truncate(shared);
                stem.extend_from_slice(own);
                patch.compare_end(&stem);
            } else {
                if in_step {
                    std::mem::swap(&mut patch.before, &mut stem);
                    stem.clear();
                    stem.extend_from_slice(&patch.before[..shared]);
                } else {
                    stem.truncate(shared);
                }
                stem.extend_from_slice(own);
                patch.put(&stem);
                in_step = true;
            }
        }
        let last = if in_step { &stem } else { &patch.before };
        let whole = |stem: &[u8]| [prefix, stem, suffix].concat();
        if patch.len < 2 || !patch.ends_differ || common(&whole(&patch.first), &whole(last)) != prefix.len() {
            return None;
        }
        put_section(out, prefix, suffix, &patch.restarts, &patch.data);
        Some(())
    }

    fn prefix<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.prefix..self.prefix + self.prefix_len]
    }

    fn suffix<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let at = self.prefix + self.prefix_len;
        &bytes[at..at + self.suffix_len]
    }

    /// Where the group's first key starts.
    fn restart(&self, bytes: &[u8], group: usize) -> Option<usize> {
        let offset =
            crate::node::get_uint(bytes, self.restarts + group * self.restart_width, self.restart_width);
        self.data.checked_add(usize::try_from(offset).ok()?)
    }

    fn restart_checked(&self, bytes: &[u8], group: usize) -> usize {
        self.restart(bytes, group).expect("the restart table was checked")
    }

    /// A walk that starts at this key; `index` must be below the number of keys.
    pub(crate) fn walk(&self, bytes: &[u8], index: usize) -> KeyWalk {
        let group = index / RESTART_EVERY;
        let mut walk = KeyWalk {
            index: group * RESTART_EVERY,
            at: self.restart_checked(bytes, group),
            key: Vec::with_capacity(self.prefix_len + self.suffix_len + 64),
        };
        walk.key.extend_from_slice(self.prefix(bytes));
        walk.take(self, bytes);
        while walk.index < index {
            walk.advance(self, bytes);
        }
        walk
    }

    /// The key at this index.
    pub(crate) fn key(&self, bytes: &[u8], index: usize) -> Vec<u8> {
        self.walk(bytes, index).key
    }

    /// The index of the first key that is not below `target`, and whether it is `target`. The index is the
    /// number of keys when all are below.
    pub(crate) fn search(&self, bytes: &[u8], target: &[u8]) -> (usize, bool) {
        let (prefix, suffix) = (self.prefix(bytes), self.suffix(bytes));
        let Some(rest) = target.strip_prefix(prefix) else {
            return (if target < prefix { 0 } else { self.len }, false);
        };
        // The first group whose whole key is above the target; the target is in the group before it.
        let (mut low, mut high) = (0, self.len.div_ceil(RESTART_EVERY));
        while low < high {
            let middle = low + (high - low) / 2;
            let mut at = self.restart_checked(bytes, middle);
            let (_, own) = step(bytes, &mut at).expect("keys were checked");
            match compare_parts(&bytes[at..at + own], suffix, rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return (middle * RESTART_EVERY, true),
                Ordering::Greater => high = middle,
            }
        }
        if low == 0 {
            return (0, false);
        }
        let start = (low - 1) * RESTART_EVERY;
        let mut at = self.restart_checked(bytes, low - 1);
        let mut stem = [0u8; OBJECT_PATH_BYTES_MAX];
        for index in start..(start + RESTART_EVERY).min(self.len) {
            let (shared, own) = step(bytes, &mut at).expect("keys were checked");
            stem[shared..shared + own].copy_from_slice(&bytes[at..at + own]);
            at += own;
            match compare_parts(&stem[..shared + own], suffix, rest) {
                Ordering::Less => {}
                Ordering::Equal => return (index, true),
                Ordering::Greater => return (index, false),
            }
        }
        ((start + RESTART_EVERY).min(self.len), false)
    }

    /// The index of the first key within the bound, or the number of keys.
    pub(crate) fn first_within(&self, bytes: &[u8], from: Bound<&[u8]>) -> usize {
        match from {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.search(bytes, key).0,
            Bound::Excluded(key) => {
                let (index, exact) = self.search(bytes, key);
                index + usize::from(exact)
            }
        }
    }
}

/// A key that comes in before a row, or the key of a row that goes.
pub(crate) struct KeyEdit<'a> {
    pub(crate) row: usize,
    pub(crate) inserted: Option<&'a [u8]>,
}

/// Key data being put together out of old and new stems.
struct StemPatch {
    data: Vec<u8>,
    restarts: Vec<usize>,
    /// Keys so far.
    len: usize,
    /// The stem put last, unless it is the old node's.
    before: Vec<u8>,
    /// The first stem.
    first: Vec<u8>,
    /// Whether two stems end differently, so that their keys share no more than the suffix.
    ends_differ: bool,
}

impl StemPatch {
    fn put(&mut self, stem: &[u8]) {
        let shared = if self.len.is_multiple_of(RESTART_EVERY) {
            self.restarts.push(self.data.len());
            0
        } else {
            common(&self.before, stem)
        };
        put_key(&mut self.data, shared, &stem[shared..]);
        if self.len == 0 {
            self.first.extend_from_slice(stem);
        }
        self.len += 1;
        self.compare_end(stem);
    }
    fn compare_end(&mut self, stem: &[u8]) {
        self.ends_differ |= stem.is_empty() || stem.last() != self.first.last();
    }
}

/// A walk over the keys of one node. It holds no reference, so that cursors can own node and walk together; it
/// must be used with the node it came from.
#[derive(Clone, Debug)]
pub(crate) struct KeyWalk {
    index: usize,
    /// Where the next key starts.
    at: usize,
    key: Vec<u8>,
}

impl KeyWalk {
    pub(crate) fn index(&self) -> usize {
        self.index
    }
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
    /// Goes to the next key; false at the end, and then the walk stays at the last key.
    pub(crate) fn advance(&mut self, keys: &Keys, bytes: &[u8]) -> bool {
        if self.index + 1 >= keys.len {
            return false;
        }
        self.index += 1;
        self.take(keys, bytes);
        true
    }
    fn take(&mut self, keys: &Keys, bytes: &[u8]) {
        let (shared, own) = step(bytes, &mut self.at).expect("keys were checked");
        self.key.truncate(keys.prefix_len + shared);
        self.key.extend_from_slice(&bytes[self.at..self.at + own]);
        self.key.extend_from_slice(keys.suffix(bytes));
        self.at += own;
    }
}

/// Keys on their way into a node.
#[derive(Default)]
pub(crate) struct KeyArena {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyArena {
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.len().checked_sub(1).map(|index| self.get(index))
    }
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends the key section for all keys, of which there is at least one.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let first = self.get(0);
        let last = self.get(self.len() - 1);
        // Ascending order makes the prefix of the outermost two that of all.
        let prefix = common(first, last);
        let mut suffix: &[u8] = if self.len() == 1 { &[] } else { &first[prefix..] };
        for index in 1..self.len() {
            let stem = &self.get(index)[prefix..];
            if !stem.ends_with(suffix) {
                let shared = suffix.iter().rev().zip(stem.iter().rev()).take_while(|(x, y)| x == y).count();
                suffix = &suffix[suffix.len() - shared..];
            }
        }
        let mut data = Vec::with_capacity(self.len() * 8);
        let mut restarts = Vec::with_capacity(self.len().div_ceil(RESTART_EVERY));
        let mut before: &[u8] = &[];
        for index in 0..self.len() {
            let key = self.get(index);
            let stem = &key[prefix..key.len() - suffix.len()];
            let shared = if index % RESTART_EVERY == 0 {
                restarts.push(data.len());
                0
            } else {
                common(before, stem)
            };
            put_key(&mut data, shared, &stem[shared..]);
            before = stem;
        }
        put_section(out, &first[..prefix], suffix, &restarts, &data);
    }
}

/// How many leading bytes two strings share.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    let mut at = 0;
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return at + differing.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

/// Appends one key: what it shares with the one before, and the rest.
fn put_key(out: &mut Vec<u8>, shared: usize, own: &[u8]) {
    out.push((shared.min(ESCAPE) << 4 | own.len().min(ESCAPE)) as u8);
    put_escaped(out, shared);
    put_escaped(out, own.len());
    out.extend_from_slice(own);
}

/// Appends a key section.
fn put_section(out: &mut Vec<u8>, prefix: &[u8], suffix: &[u8], restarts: &[usize], data: &[u8]) {
    let restart_width = if data.len() <= usize::from(u16::MAX) { 2 } else { 4 };
    out.extend_from_slice(&(prefix.len() as u16).to_le_bytes());
    out.extend_from_slice(&(suffix.len() as u16).to_le_bytes());
    out.extend_from_slice(&[restart_width, 0, 0, 0]);
    out.extend_from_slice(prefix);
    out.extend_from_slice(suffix);
    for restart in restarts {
        out.extend_from_slice(&(*restart as u64).to_le_bytes()[..usize::from(restart_width)]);
    }
    out.extend_from_slice(data);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test a panic is the report
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn section(keys: &BTreeSet<Vec<u8>>) -> Vec<u8> {
        let mut arena = KeyArena::default();
        keys.iter().for_each(|key| arena.push(key));
        let mut out = vec![0xaa; 3];
        arena.encode(&mut out);
        out
    }

    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..4),
            prop::collection::vec(prop::sample::select(b"a/".to_vec()), 1..40),
            (0u32..3000).prop_map(|i| format!("data/train/{i}.jpeg").into_bytes()),
            (0u8..8).prop_map(|b| vec![b'a' + b; 1024]),
        ]
    }

    #[test]
    fn empty_and_long_keys_are_refused() {
        for (key, sound) in [(0, false), (1, true), (1_024, true), (1_025, false)] {
            let bytes = section(&[vec![b'a'; key]].into());
            let parsed = Keys::parse(&bytes, 3, 1).unwrap();
            assert_eq!(parsed.check(&bytes).is_ok(), sound, "a key of {key} bytes");
            let bytes = section(&[vec![b'a'; key], vec![b'b'; key + 1]].into());
            let parsed = Keys::parse(&bytes, 3, 2).unwrap();
            assert_eq!(
                parsed.check(&bytes).is_ok(),
                sound && key < 1_024,
                "keys of {key} bytes and one more"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn sections_read_as_written(keys in prop::collection::btree_set(any_key(), 1..200), probe in any_key()) {
            let bytes = section(&keys);
            let parsed = Keys::parse(&bytes, 3, keys.len()).unwrap();
            parsed.check(&bytes).unwrap();
            let list: Vec<_> = keys.iter().cloned().collect();
            let mut walk = parsed.walk(&bytes, 0);
            for (i, key) in list.iter().enumerate() {
                prop_assert_eq!(&parsed.key(&bytes, i), key);
                prop_assert_eq!(walk.key(), &key[..]);
                prop_assert_eq!(parsed.search(&bytes, key), (i, true));
                prop_assert_eq!(walk.advance(&parsed, &bytes), i + 1 < list.len());
            }
            let expected = list.partition_point(|key| *key < probe);
            prop_assert_eq!(parsed.search(&bytes, &probe), (expected, list.get(expected) == Some(&probe)));
            prop_assert_eq!(parsed.search(&bytes, b""), (0, false));
        }

        /// A patched section is, byte for byte, the section of the keys that it leaves.
        #[test]
        fn patched_sections_are_those_of_their_keys(
            keys in prop::collection::btree_set(any_key(), 1..200),
            inserted in prop::collection::btree_set(any_key(), 0..12),
            deleted in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            alike in any::<bool>(),
        ) {
            // Half of the cases: keys like those of one directory, where prefix and suffix stay.
            let like = |key: &Vec<u8>| if alike { [b"data/", &key[..], b".jpeg"].concat() } else { key.clone() };
            let keys: BTreeSet<Vec<u8>> = keys.iter().map(like).filter(|key| key.len() <= 1_024).collect();
            let inserted: BTreeSet<Vec<u8>> = inserted.iter().map(like).filter(|key| key.len() <= 1_024).collect();
            prop_assume!(!keys.is_empty());
            let list: Vec<_> = keys.iter().cloned().collect();
            let deleted: BTreeSet<usize> = deleted.iter().map(|at| at.index(list.len())).collect();
            let mut result = keys.clone();
            let mut edits: Vec<(usize, Option<&[u8]>)> = deleted.iter().map(|row| (*row, None)).collect();
            for row in &deleted {
                result.remove(&list[*row]);
            }
            for key in &inserted {
                if result.insert(key.clone()) {
                    edits.push((list.partition_point(|k| k < key), Some(key)));
                }
            }
            prop_assume!(!result.is_empty());
            edits.sort_by_key(|(row, key)| (*row, key.is_none(), *key));
            let edits: Vec<_> = edits.into_iter().map(|(row, inserted)| KeyEdit { row, inserted }).collect();
            let bytes = section(&keys);
            let parsed = Keys::parse(&bytes, 3, keys.len()).unwrap();
            let mut patched = vec![0xaa; 3];
            parsed.patch(&bytes, &edits, &mut patched);
            prop_assert_eq!(&patched, &section(&result));
            let mut patched = vec![0xaa; 3];
            if parsed.patch_stems(&bytes, &edits, &mut patched).is_some() {
                prop_assert_eq!(patched, section(&result));
            }
        }

        #[test]
        fn damaged_sections_are_refused_or_harmless(
            keys in prop::collection::btree_set(any_key(), 1..60), at in any::<prop::sample::Index>(), to in any::<u8>(),
        ) {
            let mut bytes = section(&keys);
            let at = 3 + at.index(bytes.len() - 3);
            bytes[at] = to;
            if let Ok(parsed) = Keys::parse(&bytes, 3, keys.len())
                && parsed.check(&bytes).is_ok()
            {
                for i in 0..keys.len() {
                    let key = parsed.key(&bytes, i);
                    prop_assert_eq!(parsed.search(&bytes, &key), (i, true));
                }
            }
        }
    }
}
