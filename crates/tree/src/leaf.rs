//! Leaves: entries by column, uncompressed, readable in place. Layout in `docs/formats/tree-node.md`.
//!
//! A column whose values are all equal costs nothing beyond the header. What is rare or of variable length
//! (explicit addresses, declared checksums, part counts, extra facts) shares one section, and a leaf without
//! any of it has no such section.

use crate::boundary::LEAF_ENTRIES_MAX;
use crate::build::NodeBuilder;
use crate::keys::{KeyArena, Keys};
use crate::node::{FORMAT, Sections, each_of_column, get_uint, put_column, put_uint, width_of};
use crate::{Node, TreeError};
use bytes::Bytes;
use millpond_types::entry::{decode_extra, encode_extra};
use millpond_types::{
    Address, Attributes, Checksum, Content, ContentHash, DecodeError, Entry, NodeId, Reader, Timestamp,
    Writer,
};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

const HASH_COLUMN: u8 = 1;
const MD5_COLUMN: u8 = 2;

// The kind of an entry, one byte: what its other columns mean.
const CONTENT: u8 = 0b0000_0011;
const CONTENT_WHOLE: u8 = 0;
const CONTENT_PARTS: u8 = 1;
const CONTENT_DECLARED: u8 = 2;
const CHECKSUM: u8 = 0b0000_1100;
const CHECKSUM_MD5: u8 = 0 << 2;
const CHECKSUM_MD5_PARTS: u8 = 1 << 2;
const CHECKSUM_DECLARED: u8 = 2 << 2;
const ADDRESS: u8 = 0b0011_0000;
const ADDRESS_CAS: u8 = 0 << 4;
const ADDRESS_RULE: u8 = 1 << 4;
const ADDRESS_EXPLICIT: u8 = 2 << 4;
const EXTRA: u8 = 0b0100_0000;

fn kind_of(entry: &Entry) -> u8 {
    let content = match entry.content {
        Content::Whole(_) => CONTENT_WHOLE,
        Content::Parts(_) => CONTENT_PARTS,
        Content::Declared => CONTENT_DECLARED,
    };
    let checksum = match entry.checksum {
        Checksum::Md5(_) => CHECKSUM_MD5,
        Checksum::Md5Parts(..) => CHECKSUM_MD5_PARTS,
        Checksum::Declared(_) => CHECKSUM_DECLARED,
    };
    let address = match entry.address {
        Address::Cas => ADDRESS_CAS,
        Address::Rule(_) => ADDRESS_RULE,
        Address::Explicit(_) => ADDRESS_EXPLICIT,
    };
    content | checksum | address | if entry.extra.is_empty() { 0 } else { EXTRA }
}

fn kind_is_known(kind: u8) -> bool {
    kind & CONTENT <= CONTENT_DECLARED
        && kind & CHECKSUM <= CHECKSUM_DECLARED
        && kind & ADDRESS <= ADDRESS_EXPLICIT
        && kind <= CONTENT | CHECKSUM | ADDRESS | EXTRA
}

/// What the MD5 column and the variable section hold for an entry.
fn md5_and_record(entry: &Entry) -> ([u8; 16], Vec<u8>) {
    let mut record = Writer::new();
    let md5 = match &entry.checksum {
        Checksum::Md5(md5) => *md5,
        Checksum::Md5Parts(md5, parts) => {
            record.uint(u64::from(*parts));
            *md5
        }
        Checksum::Declared(text) => {
            record.text(text);
            [0; 16]
        }
    };
    match &entry.address {
        Address::Cas => {}
        Address::Rule(rule) => {
            record.uint(u64::from(*rule));
        }
        Address::Explicit(name) => {
            record.bytes(name);
        }
    }
    if !entry.extra.is_empty() {
        record.raw(&encode_extra(&entry.extra));
    }
    (md5, record.finish())
}

/// One column of fixed-width integers: where it starts and how wide it is. Width 0: every value is 0.
#[derive(Clone, Copy, Debug)]
struct Column {
    start: usize,
    width: usize,
}

impl Column {
    fn get(self, bytes: &[u8], index: usize) -> u64 {
        get_uint(bytes, self.start + index * self.width, self.width)
    }
    fn raw(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..]
    }
    /// Calls `take` with the value of each of these rows.
    fn each(self, bytes: &[u8], rows: Range<usize>, mut take: impl FnMut(u64)) {
        if self.width == 0 {
            rows.for_each(|_| take(0));
        } else {
            let (from, to) = (rows.start * self.width, rows.end * self.width);
            each_of_column(&bytes[self.start + from..self.start + to], self.width, take);
        }
    }
}

/// How many rows two columns of raw values of this width have in common before they differ, of at most `len`.
fn equal_rows(a: &[u8], b: &[u8], width: usize, len: usize) -> usize {
    /// Rows compared at once before looking closer.
    const BLOCK: usize = 16;
    let mut row = 0;
    while row < len {
        let next = (row + BLOCK).min(len);
        if a[row * width..next * width] != b[row * width..next * width] {
            let equal = |row: &usize| a[row * width..][..width] == b[row * width..][..width];
            return (row..next).find(|row| !equal(row)).unwrap_or(next);
        }
        row = next;
    }
    len
}

/// Byte strings one after the other behind a table of their ends.
#[derive(Clone, Copy, Debug)]
struct Strings {
    ends: Column,
    count: usize,
    data: usize,
}

impl Strings {
    /// The string at the index. Ends were checked to ascend within the section.
    fn get<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        let (from, to) = self.range(bytes, index);
        &bytes[from..to]
    }
    fn range(&self, bytes: &[u8], index: usize) -> (usize, usize) {
        let from = if index == 0 { 0 } else { self.ends.get(bytes, index - 1) as usize };
        (self.data + from, self.data + self.ends.get(bytes, index) as usize)
    }
    /// Checks that the ends ascend and that the last one is `len`.
    fn check(&self, bytes: &[u8], len: u64) -> Result<(), &'static str> {
        let mut before = 0;
        for index in 0..self.count {
            let end = self.ends.get(bytes, index);
            if end < before {
                return Err("string table does not ascend");
            }
            before = end;
        }
        if before == len { Ok(()) } else { Err("string table does not match its data") }
    }
}

/// Where everything is in a leaf's bytes.
pub(crate) struct LeafLayout {
    pub(crate) len: usize,
    pub(crate) total_bytes: u64,
    kind_constant: u8,
    size_base: u64,
    mtime_base: i64,
    hashes: Option<usize>,
    md5s: Option<usize>,
    kinds: Column,
    sizes: Column,
    mtimes: Column,
    attributes: Column,
    dictionary: Strings,
    variable: Option<Strings>,
    /// Lengths of the data of both string sections, for [`LeafLayout::check`].
    data_lens: (u64, u64),
    pub(crate) keys: Keys,
    /// Attributes of the dictionary, decoded at first use.
    decoded: Box<[OnceLock<Arc<Attributes>>]>,
}

impl LeafLayout {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut header = Sections { bytes, at: 2 };
        let columns = header.uint(1)? as u8;
        let kind_width = header.uint(1)? as usize;
        let kind_constant = header.uint(1)? as u8;
        let size_width = header.uint(1)? as usize;
        let mtime_width = header.uint(1)? as usize;
        let attribute_width = header.uint(1)? as usize;
        let len = header.uint(4)?;
        let dictionary_len = header.uint(4)?;
        let total_bytes = header.uint(8)?;
        let size_base = header.uint(8)?;
        let mtime_base = header.uint(8)? as i64;
        let dictionary_data = header.uint(4)?;
        let variable_data = header.uint(4)?;
        let variable_width = header.uint(1)? as usize;
        if header.uint(3)? != 0 || columns & !(HASH_COLUMN | MD5_COLUMN) != 0 {
            return Err("leaf header is malformed");
        }
        if len == 0 || len > LEAF_ENTRIES_MAX || dictionary_len == 0 || dictionary_len > len {
            return Err("number of entries is out of range");
        }
        if kind_width > 1 || size_width > 8 || mtime_width > 8 || attribute_width > 2 || variable_width > 4 {
            return Err("column is too wide");
        }
        let (len, dictionary_len) = (len as usize, dictionary_len as usize);
        let mut column = |count, width| -> Result<Column, &'static str> {
            Ok(Column { start: header.column(count, width)?, width })
        };
        let hashes = (columns & HASH_COLUMN != 0).then(|| column(len, 32)).transpose()?;
        let md5s = (columns & MD5_COLUMN != 0).then(|| column(len, 16)).transpose()?;
        let kinds = column(len, kind_width)?;
        let sizes = column(len, size_width)?;
        let mtimes = column(len, mtime_width)?;
        let attributes = column(len, attribute_width)?;
        let ends = column(dictionary_len, 4)?;
        let data = column(1, dictionary_data as usize)?.start;
        let dictionary = Strings { ends, count: dictionary_len, data };
        let variable = if variable_width > 0 {
            let ends = column(len, variable_width)?;
            Some(Strings { ends, count: len, data: column(1, variable_data as usize)?.start })
        } else if variable_data == 0 {
            None
        } else {
            return Err("leaf header is malformed");
        };
        let keys = Keys::parse(bytes, header.at, len)?;
        Ok(Self {
            len,
            total_bytes,
            kind_constant,
            size_base,
            mtime_base,
            hashes: hashes.map(|c| c.start),
            md5s: md5s.map(|c| c.start),
            kinds,
            sizes,
            mtimes,
            attributes,
            dictionary,
            variable,
            data_lens: (dictionary_data, variable_data),
            keys,
            decoded: (0..dictionary_len).map(|_| OnceLock::new()).collect(),
        })
    }

    /// The part of the checks that is not needed for bytes just written. After it nothing here can leave the
    /// node's bytes; what is inside attributes and variable records is checked when it is read.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), &'static str> {
        self.dictionary.check(bytes, self.data_lens.0)?;
        if let Some(variable) = &self.variable {
            variable.check(bytes, self.data_lens.1)?;
        }
        let mut total_bytes = 0u64;
        for index in 0..self.len {
            let kind = self.kind(bytes, index);
            if !kind_is_known(kind) {
                return Err("unknown kind of entry");
            }
            if (kind & CONTENT != CONTENT_DECLARED && self.hashes.is_none())
                || (kind & CHECKSUM != CHECKSUM_DECLARED && self.md5s.is_none())
            {
                return Err("a column that an entry needs is missing");
            }
            if self.attribute_index(bytes, index) >= self.dictionary.count {
                return Err("attributes are not in the dictionary");
            }
            total_bytes = total_bytes.saturating_add(self.size(bytes, index));
        }
        if total_bytes != self.total_bytes {
            return Err("total is not the sum over the entries");
        }
        self.keys.check(bytes)
    }

    fn kind(&self, bytes: &[u8], index: usize) -> u8 {
        // One of the two is always zero.
        self.kind_constant | self.kinds.get(bytes, index) as u8
    }
    pub(crate) fn size(&self, bytes: &[u8], index: usize) -> u64 {
        self.size_base.wrapping_add(self.sizes.get(bytes, index))
    }
    fn mtime(&self, bytes: &[u8], index: usize) -> i64 {
        self.mtime_base.wrapping_add(self.mtimes.get(bytes, index) as i64)
    }
    fn attribute_index(&self, bytes: &[u8], index: usize) -> usize {
        self.attributes.get(bytes, index) as usize
    }
    fn attribute_bytes<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        self.dictionary.get(bytes, self.attribute_index(bytes, index))
    }
    fn variable<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        self.variable.as_ref().map_or(&[], |strings| strings.get(bytes, index))
    }
    fn hash<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        self.hashes.map_or(&[0; 32], |start| &bytes[start + index * 32..][..32])
    }
    fn md5<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        self.md5s.map_or(&[0; 16], |start| &bytes[start + index * 16..][..16])
    }

    fn attributes(&self, bytes: &Bytes, index: usize) -> Result<Arc<Attributes>, DecodeError> {
        let at = self.attribute_index(bytes, index);
        let slot = &self.decoded[at];
        if let Some(known) = slot.get() {
            return Ok(known.clone());
        }
        let (from, to) = self.dictionary.range(bytes, at);
        let attributes = Arc::new(Attributes::decode(bytes.slice(from..to))?);
        Ok(slot.get_or_init(|| attributes).clone())
    }

    pub(crate) fn entry(&self, bytes: &Bytes, index: usize) -> Result<Entry, DecodeError> {
        let kind = self.kind(bytes, index);
        let mut record = Reader::new(match &self.variable {
            Some(strings) => {
                let (from, to) = strings.range(bytes, index);
                bytes.slice(from..to)
            }
            None => Bytes::new(),
        });
        let hash = || ContentHash(self.hash(bytes, index).try_into().expect("32 bytes"));
        let content = match kind & CONTENT {
            CONTENT_WHOLE => Content::Whole(hash()),
            CONTENT_PARTS => Content::Parts(hash()),
            _ => Content::Declared,
        };
        let md5 = || -> [u8; 16] { self.md5(bytes, index).try_into().expect("16 bytes") };
        let fit = |value: u64| u32::try_from(value).map_err(|_| DecodeError("integer does not fit"));
        let checksum = match kind & CHECKSUM {
            CHECKSUM_MD5 => Checksum::Md5(md5()),
            CHECKSUM_MD5_PARTS => Checksum::Md5Parts(md5(), fit(record.uint()?)?),
            _ => Checksum::Declared(record.text()?),
        };
        let address = match kind & ADDRESS {
            ADDRESS_CAS => Address::Cas,
            ADDRESS_RULE => Address::Rule(fit(record.uint()?)?),
            // A copy: a name of a few bytes must not keep the whole leaf in memory.
            _ => Address::Explicit(Bytes::copy_from_slice(&record.bytes()?)),
        };
        let mut extra = BTreeMap::new();
        if kind & EXTRA != 0 {
            let rest = record.raw(record.remaining())?;
            extra = decode_extra(Bytes::copy_from_slice(&rest))?;
        }
        record.end()?;
        Ok(Entry {
            content,
            size: self.size(bytes, index),
            mtime: Timestamp(self.mtime(bytes, index)),
            checksum,
            address,
            attributes: self.attributes(bytes, index)?,
            extra,
        })
    }

    /// Whether the entry, written anew, gives exactly the bytes that are at the index. True for all that this
    /// program wrote.
    pub(crate) fn holds(&self, bytes: &[u8], index: usize, entry: &Entry) -> bool {
        let (md5, record) = md5_and_record(entry);
        self.kind(bytes, index) == kind_of(entry)
            && self.hash(bytes, index) == entry.hash().0
            && self.md5(bytes, index) == md5
            && self.variable(bytes, index) == record
            && self.attribute_bytes(bytes, index) == entry.attributes.encode()
    }

    /// Whether two entries are equal in everything, read without decoding them.
    pub(crate) fn equal(&self, bytes: &[u8], index: usize, other: &Self, theirs: &[u8], at: usize) -> bool {
        self.hash(bytes, index) == other.hash(theirs, at)
            && self.size(bytes, index) == other.size(theirs, at)
            && self.mtime(bytes, index) == other.mtime(theirs, at)
            && self.kind(bytes, index) == other.kind(theirs, at)
            && self.md5(bytes, index) == other.md5(theirs, at)
            && self.attribute_bytes(bytes, index) == other.attribute_bytes(theirs, at)
            && self.variable(bytes, index) == other.variable(theirs, at)
    }
}

impl LeafLayout {
    /// How many entries from `row` on equal those of another leaf from `at` on in everything, of at most `len`. Goes
    /// column by column, which is many times faster than entry by entry.
    pub(crate) fn equal_rows(
        &self,
        bytes: &[u8],
        row: usize,
        other: &Self,
        theirs: &[u8],
        at: usize,
        len: usize,
    ) -> usize {
        let mut len = len;
        let rows = |len: usize, unequal: &dyn Fn(usize, usize) -> bool| {
            (0..len).find(|n| unequal(row + n, at + n)).unwrap_or(len)
        };
        let zeros = |len: usize, column: &[u8], width: usize| {
            (0..len).find(|n| column[n * width..][..width].iter().any(|byte| *byte != 0)).unwrap_or(len)
        };
        let wide = |len: usize, a: Option<usize>, b: Option<usize>, width: usize| {
            let a = a.map(|start| &bytes[start + row * width..]);
            let b = b.map(|start| &theirs[start + at * width..]);
            match (a, b) {
                (Some(a), Some(b)) => equal_rows(a, b, width, len),
                (None, None) => len,
                // A column that one of them lacks is all zeros there.
                (Some(column), None) | (None, Some(column)) => zeros(len, column, width),
            }
        };
        len = wide(len, self.hashes, other.hashes, 32);
        len = wide(len, self.md5s, other.md5s, 16);
        let narrow =
            |len: usize, a: Column, b: Column, same_base: bool, unequal: &dyn Fn(usize, usize) -> bool| {
                if same_base && a.width == b.width {
                    let width = a.width;
                    equal_rows(&a.raw(bytes)[row * width..], &b.raw(theirs)[at * width..], width, len)
                } else {
                    rows(len, unequal)
                }
            };
        let same_base = self.kind_constant == other.kind_constant;
        len = narrow(len, self.kinds, other.kinds, same_base, &|row, at| {
            self.kind(bytes, row) != other.kind(theirs, at)
        });
        let same_base = self.size_base == other.size_base;
        len = narrow(len, self.sizes, other.sizes, same_base, &|row, at| {
            self.size(bytes, row) != other.size(theirs, at)
        });
        let same_base = self.mtime_base == other.mtime_base;
        len = narrow(len, self.mtimes, other.mtimes, same_base, &|row, at| {
            self.mtime(bytes, row) != other.mtime(theirs, at)
        });
        let same_dictionary = self.dictionary.count == other.dictionary.count
            && (0..self.dictionary.count)
                .all(|place| self.dictionary.get(bytes, place) == other.dictionary.get(theirs, place));
        len = narrow(len, self.attributes, other.attributes, same_dictionary, &|row, at| {
            self.attribute_bytes(bytes, row) != other.attribute_bytes(theirs, at)
        });
        if self.variable.is_some() || other.variable.is_some() {
            len = rows(len, &|row, at| self.variable(bytes, row) != other.variable(theirs, at));
        }
        len
    }
}

/// Collects the entries of one leaf after the other. Entries that come from another leaf are copied column by
/// column and never decoded.
pub(crate) struct LeafBuilder {
    puts: Puts,
    keys: KeyArena,
    hashes: Vec<u8>,
    md5s: Vec<u8>,
    kinds: Vec<u8>,
    sizes: Vec<u64>,
    mtimes: Vec<i64>,
    attributes: Vec<u16>,
    dictionary: Dictionary,
    variable: Vec<u8>,
    variable_ends: Vec<usize>,
}

/// What a put does when the old entry holds the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Puts {
    /// The old entry stays, with its mtime and address: writing the same object again is no change.
    KeepSameObject,
    /// The new entry is taken as it is.
    Exact,
}

/// The distinct attributes of the leaf being built, in the order of first use.
#[derive(Default)]
struct Dictionary {
    all: Vec<Bytes>,
    places: HashMap<Bytes, u16>,
    /// Places of the dictionary of the leaf that entries were last copied from.
    copied: Option<(NodeId, Vec<Option<u16>>)>,
    /// The attributes last pushed: entries written together mostly share them.
    pushed: Option<(Arc<Attributes>, u16)>,
}

impl Dictionary {
    fn place(&mut self, encoded: Bytes) -> u16 {
        let next = self.all.len() as u16;
        let all = &mut self.all;
        *self.places.entry(encoded).or_insert_with_key(|encoded| {
            all.push(encoded.clone());
            next
        })
    }
    fn push(&mut self, attributes: &Arc<Attributes>) -> u16 {
        if let Some((last, place)) = &self.pushed
            && Arc::ptr_eq(last, attributes)
        {
            return *place;
        }
        let place = self.place(attributes.encode().into());
        self.pushed = Some((attributes.clone(), place));
        place
    }
    /// The place of what another leaf's dictionary has at `at`.
    fn copy(&mut self, from: &Node, at: usize) -> u16 {
        let leaf = from.leaf();
        if self.copied.as_ref().is_none_or(|(id, _)| *id != from.id()) {
            self.copied = Some((from.id(), vec![None; leaf.dictionary.count]));
        }
        if let Some((_, places)) = &self.copied
            && let Some(place) = places[at]
        {
            return place;
        }
        let (start, end) = leaf.dictionary.range(from.bytes(), at);
        let place = self.place(from.bytes().slice(start..end));
        if let Some((_, places)) = &mut self.copied {
            places[at] = Some(place);
        }
        place
    }
    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl LeafBuilder {
    pub(crate) fn new(puts: Puts) -> Self {
        Self {
            puts,
            keys: KeyArena::default(),
            hashes: Vec::new(),
            md5s: Vec::new(),
            kinds: Vec::new(),
            sizes: Vec::new(),
            mtimes: Vec::new(),
            attributes: Vec::new(),
            dictionary: Dictionary::default(),
            variable: Vec::new(),
            variable_ends: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.hashes.clear();
        self.md5s.clear();
        self.kinds.clear();
        self.sizes.clear();
        self.mtimes.clear();
        self.attributes.clear();
        self.dictionary.clear();
        self.variable.clear();
        self.variable_ends.clear();
    }
}

impl NodeBuilder for LeafBuilder {
    type Value = Entry;
    const ROWS_MAX: u64 = LEAF_ENTRIES_MAX;

    fn level(&self) -> u8 {
        0
    }
    fn len(&self) -> usize {
        self.kinds.len()
    }

    fn keys(&mut self) -> &mut KeyArena {
        &mut self.keys
    }

    fn add(&mut self, entry: &Entry) {
        self.kinds.push(kind_of(entry));
        self.hashes.extend_from_slice(&entry.hash().0);
        let (md5, record) = md5_and_record(entry);
        self.md5s.extend_from_slice(&md5);
        self.sizes.push(entry.size);
        self.mtimes.push(entry.mtime.millis());
        self.attributes.push(self.dictionary.push(&entry.attributes));
        self.variable.extend_from_slice(&record);
        self.variable_ends.push(self.variable.len());
    }

    fn add_rows(&mut self, from: &Node, rows: Range<usize>) {
        let (leaf, bytes) = (from.leaf(), from.bytes());
        if rows.is_empty() {
            return;
        }
        let len = self.kinds.len() + rows.len();
        leaf.kinds.each(bytes, rows.clone(), |kind| self.kinds.push(leaf.kind_constant | kind as u8));
        let wide = |to: &mut Vec<u8>, column: Option<usize>, width: usize| match column {
            Some(at) => to.extend_from_slice(&bytes[at + rows.start * width..at + rows.end * width]),
            None => to.resize(len * width, 0),
        };
        wide(&mut self.hashes, leaf.hashes, 32);
        wide(&mut self.md5s, leaf.md5s, 16);
        leaf.sizes.each(bytes, rows.clone(), |size| self.sizes.push(leaf.size_base.wrapping_add(size)));
        leaf.mtimes.each(bytes, rows.clone(), |mtime| {
            self.mtimes.push(leaf.mtime_base.wrapping_add(mtime as i64));
        });
        if leaf.dictionary.count == 1 {
            let place = self.dictionary.copy(from, 0);
            self.attributes.resize(len, place);
        } else {
            leaf.attributes.each(bytes, rows.clone(), |at| {
                self.attributes.push(self.dictionary.copy(from, at as usize));
            });
        }
        match &leaf.variable {
            None => self.variable_ends.resize(len, self.variable.len()),
            Some(strings) => {
                let (start, end) = (strings.range(bytes, rows.start).0, strings.range(bytes, rows.end - 1).1);
                let shift = self.variable.len().wrapping_sub(start - strings.data);
                self.variable.extend_from_slice(&bytes[start..end]);
                strings.ends.each(bytes, rows, |end| {
                    self.variable_ends.push((end as usize).wrapping_add(shift));
                });
            }
        }
    }

    fn already(&self, from: &Node, index: usize, value: &Entry) -> Result<bool, TreeError> {
        let old = from.entry(index)?;
        Ok(match self.puts {
            Puts::KeepSameObject => old.same_object(value),
            Puts::Exact => old == *value,
        })
    }

    fn encode(&mut self) -> Vec<u8> {
        let len = self.kinds.len();
        let min_max = |values: &[u64]| {
            (values.iter().copied().min().unwrap_or(0), values.iter().copied().max().unwrap_or(0))
        };
        let one_kind = self.kinds.iter().all(|kind| *kind == self.kinds[0]);
        let (kind_width, kind_constant) = if one_kind { (0, self.kinds[0]) } else { (1, 0) };
        let (size_base, size_max) = min_max(&self.sizes);
        let size_width = width_of(size_max - size_base);
        let mtime_base = self.mtimes.iter().copied().min().unwrap_or(0);
        let mtime_max = self.mtimes.iter().copied().max().unwrap_or(0);
        let mtime_width = width_of(mtime_max.wrapping_sub(mtime_base) as u64);
        let attribute_width = width_of(self.dictionary.all.len() as u64 - 1);
        let dictionary_data: usize = self.dictionary.all.iter().map(Bytes::len).sum();
        let variable_width = if self.variable.is_empty() { 0 } else { width_of(self.variable.len() as u64) };
        assert!(
            self.variable.len().max(dictionary_data) <= u32::MAX as usize,
            "limits on attributes and extra facts keep a leaf's sections below 4 GiB"
        );
        let total_bytes = self.sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
        let hash_column = self.kinds.iter().any(|k| k & CONTENT != CONTENT_DECLARED);
        let md5_column = self.kinds.iter().any(|k| k & CHECKSUM != CHECKSUM_DECLARED);
        let columns = if hash_column { HASH_COLUMN } else { 0 } | if md5_column { MD5_COLUMN } else { 0 };

        let mut out = Vec::with_capacity(len * 72 + dictionary_data + self.variable.len() + 4096);
        out.extend_from_slice(&[FORMAT, 0, columns, kind_width, kind_constant]);
        out.extend_from_slice(&[size_width, mtime_width, attribute_width]);
        put_uint(&mut out, len as u64, 4);
        put_uint(&mut out, self.dictionary.all.len() as u64, 4);
        put_uint(&mut out, total_bytes, 8);
        put_uint(&mut out, size_base, 8);
        put_uint(&mut out, mtime_base as u64, 8);
        put_uint(&mut out, dictionary_data as u64, 4);
        put_uint(&mut out, self.variable.len() as u64, 4);
        out.extend_from_slice(&[variable_width, 0, 0, 0]);
        if hash_column {
            out.extend_from_slice(&self.hashes);
        }
        if md5_column {
            out.extend_from_slice(&self.md5s);
        }
        if kind_width > 0 {
            out.extend_from_slice(&self.kinds);
        }
        put_column(&mut out, self.sizes.iter().map(|size| size - size_base), size_width);
        let mtimes = self.mtimes.iter().map(|mtime| mtime.wrapping_sub(mtime_base) as u64);
        put_column(&mut out, mtimes, mtime_width);
        put_column(&mut out, self.attributes.iter().map(|place| u64::from(*place)), attribute_width);
        let mut end = 0;
        for encoded in &self.dictionary.all {
            end += encoded.len();
            put_uint(&mut out, end as u64, 4);
        }
        self.dictionary.all.iter().for_each(|encoded| out.extend_from_slice(encoded));
        if variable_width > 0 {
            put_column(&mut out, self.variable_ends.iter().map(|end| *end as u64), variable_width);
            out.extend_from_slice(&self.variable);
        }
        self.clear();
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test a panic is the report
mod tests {
    use super::*;

    /// Comparing by column finds what comparing entry by entry finds, also where the columns of the two leaves
    /// differ in width, base, presence or dictionary.
    #[test]
    fn columns_and_entries_agree_on_the_first_difference() {
        let plain = |n: u8| Entry {
            content: Content::Whole(ContentHash([n; 32])),
            size: u64::from(n),
            mtime: Timestamp(i64::from(n)),
            checksum: Checksum::Md5([n; 16]),
            address: Address::Cas,
            attributes: Arc::default(),
            extra: BTreeMap::new(),
        };
        type Edit = fn(&mut Entry);
        let edits: [Edit; 10] = [
            |_| {},
            |e| e.content = Content::Whole(ContentHash([0xff; 32])),
            |e| e.content = Content::Declared,
            |e| e.checksum = Checksum::Declared("x".into()),
            |e| e.size += 1,
            |e| e.size += 1 << 40,
            |e| e.mtime = Timestamp(-1),
            |e| e.address = Address::Rule(0),
            |e| e.attributes = Arc::new(Attributes { content_type: "a".into(), ..Attributes::default() }),
            |e| drop(e.extra.insert("k".into(), Bytes::new())),
        ];
        let leaf = |edit: Edit, at: u8, all: bool| {
            let mut builder = LeafBuilder::new(Puts::Exact);
            for n in 0..100 {
                let mut entry = plain(n);
                if n == at || all {
                    edit(&mut entry);
                }
                builder.push(&[n], &entry);
            }
            builder.finish().node
        };
        let mut leaves = Vec::new();
        for edit in edits {
            leaves.push(leaf(edit, 0, true));
            leaves.extend([0, 15, 16, 57, 99].map(|at| leaf(edit, at, false)));
        }
        for a in &leaves {
            for b in &leaves {
                for from in [0, 1, 16, 58, 99, 100] {
                    let equal = |i: &usize| a.leaf().equal(a.bytes(), *i, b.leaf(), b.bytes(), *i);
                    let expected = (from..100).find(|i| !equal(i)).unwrap_or(100);
                    let found =
                        from + a.leaf().equal_rows(a.bytes(), from, b.leaf(), b.bytes(), from, 100 - from);
                    assert_eq!(found, expected);
                    let decoded = (from..100).find(|i| a.entry(*i).unwrap() != b.entry(*i).unwrap());
                    assert_eq!(found, decoded.unwrap_or(100));
                    // Shifted against each other, and cut short.
                    let len = (100 - from).min(42);
                    let equal = |n: &usize| a.leaf().equal(a.bytes(), from + n, b.leaf(), b.bytes(), *n);
                    let expected = (0..len).find(|n| !equal(n)).unwrap_or(len);
                    let found = a.leaf().equal_rows(a.bytes(), from, b.leaf(), b.bytes(), 0, len);
                    assert_eq!(found, expected);
                }
            }
        }
    }
}
