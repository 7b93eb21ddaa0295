//! The bytes of a segment: a header, then records one after the other (docs/formats/segment.md); and how a scan
//! tells a torn tail from damage.
//!
//! Every record says how much of its segment was durable when it was written (`synced_to`). After a crash the bytes
//! past the last fsync may hold anything, so a bad record there is a write that nobody was told about: it is cut off.
//! A bad record before some later record's `synced_to` was durable once: that is damage, reported and stepped over.
//!
//! Every record also carries its segment's `mark`, drawn at random. A scan that looks for the next record after a bad
//! one can thus not be led astray by an object whose bytes look like a record.

use super::disk::read_at;
use crate::BlobKey;
use std::fs::File;
use std::io;

/// Bytes before the first record.
pub const SEGMENT_HEADER_BYTES: usize = 32;
/// Bytes of a record before its key.
pub const RECORD_HEADER_BYTES: usize = 32;
/// Longest record in bytes.
pub const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + 255 + DATA_BYTES_MAX;
/// Longest data of a record in bytes: one checked block.
pub const DATA_BYTES_MAX: usize = millpond_types::limits::SMALL_OBJECT_BYTES_MAX;

const MAGIC: &[u8; 8] = b"MPSEGMNT";
const VERSION: u32 = 1;
const FLAG_TOMBSTONE: u8 = 1;
/// Reserved: the bytes were removed on request and only the name remains.
const FLAG_PURGED: u8 = 2;

/// Drawn at random for each segment; the first eight bytes of each of its records.
pub type Mark = [u8; 8];

/// The first bytes of a segment.
pub fn segment_header(number: u32, mark: Mark) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&mark);
    let crc = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What the first bytes of a segment say.
pub enum SegmentHeader {
    /// Version 1, with this mark.
    Known(Mark),
    /// Written by a newer version of this program.
    Newer(u32),
    /// Not the header of this segment.
    Bad,
}

/// Reads the first bytes of a segment.
pub fn parse_segment_header(bytes: &[u8], number: u32) -> SegmentHeader {
    let Some(bytes) = bytes.get(..SEGMENT_HEADER_BYTES) else { return SegmentHeader::Bad };
    let crc_holds = u32_at(bytes, 28) == crc32fast::hash(&bytes[..28]);
    if &bytes[..8] != MAGIC || !crc_holds || u32_at(bytes, 12) != number {
        return SegmentHeader::Bad;
    }
    match u32_at(bytes, 8) {
        VERSION => SegmentHeader::Known(bytes[16..24].try_into().expect("eight bytes")),
        version => SegmentHeader::Newer(version),
    }
}

/// What a record says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key has these bytes from here on.
    Data,
    /// The key is deleted from here on.
    Tombstone,
}

/// Appends one record. `data` is at most [`DATA_BYTES_MAX`], and empty for a tombstone.
pub fn encode_record(
    out: &mut Vec<u8>,
    mark: Mark,
    kind: Kind,
    key: &BlobKey,
    data: &[u8],
    data_crc: u32,
    synced_to: u32,
) {
    assert!(data.len() <= DATA_BYTES_MAX, "a small blob fits one block");
    let key = key.as_str().as_bytes();
    let start = out.len();
    out.extend_from_slice(&mark);
    out.push(VERSION as u8);
    out.push(if kind == Kind::Tombstone { FLAG_TOMBSTONE } else { 0 });
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes()); // encryption key id, 0 is none
    out.extend_from_slice(&synced_to.to_le_bytes());
    out.extend_from_slice(&data_crc.to_le_bytes());
    let crc = header_crc(&out[start..], key);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(data);
}

fn header_crc(header: &[u8], key: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..28]);
    crc.update(key);
    crc.finalize()
}

/// A record's header whose CRC, with the key, holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// See [`Kind`].
    pub kind: Kind,
    /// Whose bytes these are.
    pub key: BlobKey,
    /// Length of the data in bytes.
    pub data_len: u32,
    /// CRC-32 of the data.
    pub data_crc: u32,
    /// Bytes of the segment known to be durable when the record was written.
    pub synced_to: u32,
}

impl Header {
    /// Length of the whole record in bytes.
    pub fn record_len(&self) -> usize {
        self.data_at() + self.data_len as usize
    }
    /// Where the data begins in the record.
    pub fn data_at(&self) -> usize {
        RECORD_HEADER_BYTES + self.key.as_str().len()
    }
}

/// The header at the start of `bytes`, with its key; the error says what is wrong with it.
pub fn parse_header(bytes: &[u8]) -> Result<Header, &'static str> {
    let fixed = bytes.get(..RECORD_HEADER_BYTES).ok_or("the segment ends inside a record")?;
    let key_len = usize::from(u16::from_le_bytes([fixed[10], fixed[11]]));
    let key = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + key_len).ok_or("the key is cut off")?;
    if u32_at(fixed, 28) != header_crc(fixed, key) {
        return Err("CRC of the record header");
    }
    let (flags, data_len) = (fixed[9], u32_at(fixed, 12));
    if flags & FLAG_PURGED != 0 {
        return Err("the bytes were purged");
    }
    if u32::from(fixed[8]) != VERSION || flags & !FLAG_TOMBSTONE != 0 || u32_at(fixed, 16) != 0 {
        return Err("a version, flag or key that this version does not know");
    }
    if data_len as usize > DATA_BYTES_MAX {
        return Err("the data is longer than a block");
    }
    Ok(Header {
        kind: if flags & FLAG_TOMBSTONE != 0 { Kind::Tombstone } else { Kind::Data },
        key: std::str::from_utf8(key)
            .ok()
            .and_then(BlobKey::parse)
            .ok_or("the key breaks the rule for keys")?,
        data_len,
        data_crc: u32_at(fixed, 24),
        synced_to: u32_at(fixed, 20),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// What a scan tells about one stretch of a segment, in order of offset.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A record; `sound` is false when its data does not match its CRC.
    Record {
        /// Where the record begins.
        offset: u32,
        /// What it says.
        header: Header,
        /// Whether the data matches its CRC.
        sound: bool,
    },
    /// Bytes that were durable once and are no record now.
    Damage {
        /// Where they begin.
        offset: u32,
        /// Where the next record, or the end of the segment, is.
        end: u32,
    },
}

/// Walks the records in `from..len`, and returns where the good part ends: less than `len` if the tail is torn.
/// `durable` is what the caller knows to have been durable; the whole length for a segment that is not the last.
pub fn scan(
    file: &File,
    mark: Option<Mark>,
    from: u32,
    len: u32,
    durable: u32,
    mut see: impl FnMut(Seen),
) -> io::Result<u32> {
    let mut window = Window { file, len, start: 0, bytes: Vec::new() };
    let mut mark = mark;
    let mut durable = durable;
    let mut offset = from;
    while offset < len {
        match window.record(offset, mark)? {
            Some((header, sound)) => {
                // A torn write can leave a header without its data; a durable one cannot.
                if !sound && !window.is_durable(offset, mark, &mut durable)? {
                    return Ok(offset);
                }
                if mark.is_none() {
                    mark = window.bytes(offset, 8)?.try_into().ok();
                }
                durable = durable.max(header.synced_to.min(offset));
                let record_len = header.record_len() as u32;
                see(Seen::Record { offset, header, sound });
                offset += record_len;
            }
            None => {
                if !window.is_durable(offset, mark, &mut durable)? {
                    return Ok(offset);
                }
                let end = window.next_record(offset + 1, mark)?.unwrap_or(len);
                see(Seen::Damage { offset, end });
                offset = end;
            }
        }
    }
    Ok(len)
}

/// Reads a segment front to back through one buffer.
struct Window<'a> {
    file: &'a File,
    len: u32,
    start: u32,
    bytes: Vec<u8>,
}

impl Window<'_> {
    const BYTES: usize = 1 << 20;

    /// `want` bytes at `offset`; fewer only at the end of the segment.
    fn bytes(&mut self, offset: u32, want: usize) -> io::Result<&[u8]> {
        let want = want.min((self.len - offset) as usize);
        let inside = offset >= self.start && (offset - self.start) as usize + want <= self.bytes.len();
        if !inside {
            let take = Self::BYTES.max(want).min((self.len - offset) as usize);
            self.bytes = read_at(self.file, u64::from(offset), take)?;
            self.start = offset;
        }
        let at = (offset - self.start) as usize;
        Ok(&self.bytes[at..self.bytes.len().min(at + want)])
    }

    /// The record at `offset`, and whether its data is sound; `None` if there is none.
    fn record(&mut self, offset: u32, mark: Option<Mark>) -> io::Result<Option<(Header, bool)>> {
        let bytes = self.bytes(offset, RECORD_BYTES_MAX)?;
        if mark.is_some_and(|mark| !bytes.starts_with(&mark)) {
            return Ok(None);
        }
        let Ok(header) = parse_header(bytes) else { return Ok(None) };
        let Some(data) = bytes.get(header.data_at()..header.record_len()) else { return Ok(None) };
        let sound = crc32fast::hash(data) == header.data_crc;
        Ok(Some((header, sound)))
    }

    /// The first offset from here on with a record. Without a mark nothing is looked for: it could be found in data.
    fn next_record(&mut self, from: u32, mark: Option<Mark>) -> io::Result<Option<u32>> {
        let Some(mark) = mark else { return Ok(None) };
        let mut offset = from;
        while offset < self.len {
            let bytes = self.bytes(offset, Self::BYTES)?;
            let Some(skip) = bytes.windows(mark.len()).position(|window| window == mark) else {
                // The mark may lie across the edge of what was read.
                let step = bytes.len().saturating_sub(mark.len() - 1).max(1);
                offset += step as u32;
                continue;
            };
            offset += skip as u32;
            if self.record(offset, Some(mark))?.is_some() {
                return Ok(Some(offset));
            }
            offset += 1;
        }
        Ok(None)
    }

    /// Whether the byte at `offset` was durable once, as far as the caller or any later record knows.
    fn is_durable(&mut self, offset: u32, mark: Option<Mark>, durable: &mut u32) -> io::Result<bool> {
        let mut from = offset + 1;
        while *durable <= offset {
            let Some(at) = self.next_record(from, mark)? else { return Ok(false) };
            if let Some((header, _)) = self.record(at, mark)? {
                // A record cannot vouch for more than what lies before it.
                *durable = (*durable).max(header.synced_to.min(at));
                from = at + header.record_len() as u32;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const MARK: Mark = *b"\xf0markedX";

    fn key(n: usize) -> BlobKey {
        BlobKey::new(&format!("r1/data/{n}"))
    }

    /// A segment of groups; each record of a group knows that the groups before it are durable.
    fn segment(groups: &[&[usize]]) -> (Vec<u8>, Vec<u32>) {
        let mut bytes = segment_header(7, MARK).to_vec();
        let mut offsets = Vec::new();
        let mut n = 0;
        for group in groups {
            let synced_to = bytes.len() as u32;
            for &len in *group {
                offsets.push(bytes.len() as u32);
                let data = vec![n as u8; len];
                encode_record(
                    &mut bytes,
                    MARK,
                    Kind::Data,
                    &key(n),
                    &data,
                    crc32fast::hash(&data),
                    synced_to,
                );
                n += 1;
            }
        }
        (bytes, offsets)
    }

    /// What a scan sees as text, one line an event, and where the good part ends.
    fn picture(bytes: &[u8], durable: u32) -> String {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(bytes).expect("write");
        let mut lines = Vec::new();
        let see = |seen| {
            lines.push(match seen {
                Seen::Record { header, sound: true, .. } => header.key.as_str().replace("r1/data/", ""),
                Seen::Record { header, .. } => header.key.as_str().replace("r1/data/", "") + "!",
                Seen::Damage { .. } => "damage".into(),
            });
        };
        let len = bytes.len() as u32;
        let end = scan(&file, Some(MARK), 32, len, durable, see).expect("scan");
        if end < len {
            lines.push("cut".into());
        }
        lines.join(" ")
    }

    #[test]
    fn a_record_reads_back() {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, MARK, Kind::Data, &key(1), b"data", crc32fast::hash(b"data"), 99);
        let header = parse_header(&bytes).expect("parses");
        let expected = Header {
            kind: Kind::Data,
            key: key(1),
            data_len: 4,
            data_crc: crc32fast::hash(b"data"),
            synced_to: 99,
        };
        assert_eq!(header, expected);
        assert_eq!(&bytes[header.data_at()..header.record_len()], b"data");
        bytes.clear();
        encode_record(&mut bytes, MARK, Kind::Tombstone, &key(1), b"", 0, 0);
        assert_eq!(parse_header(&bytes).expect("parses").kind, Kind::Tombstone);
    }

    #[test]
    fn every_flipped_byte_of_a_header_or_key_is_found() {
        let mut good = Vec::new();
        encode_record(&mut good, MARK, Kind::Data, &key(1), b"data", crc32fast::hash(b"data"), 99);
        for at in 0..good.len() - 4 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(parse_header(&bad).is_err(), "byte {at} flipped");
        }
        for len in 0..good.len() - 4 {
            assert!(parse_header(&good[..len]).is_err(), "cut to {len} bytes");
        }
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_back_to_the_last_whole_record() {
        let (bytes, offsets) = segment(&[&[10, 0, 300], &[20]]);
        assert_eq!(picture(&bytes, 0), "0 1 2 3");
        let ends: Vec<usize> = offsets[1..].iter().map(|&o| o as usize).chain([bytes.len()]).collect();
        for len in 33..bytes.len() {
            let whole = ends.iter().filter(|&&end| end <= len).count();
            let mut expected: Vec<String> = (0..whole).map(|n| n.to_string()).collect();
            if !ends.contains(&len) {
                expected.push("cut".into());
            }
            assert_eq!(picture(&bytes[..len], 0), expected.join(" "), "torn after {len} bytes");
        }
    }

    #[test]
    fn an_unsynced_group_may_be_torn_in_its_middle() {
        // Pages of one group reach the disk in any order: its last record may be whole while its first is not.
        let (mut bytes, offsets) = segment(&[&[10], &[300, 300, 300]]);
        bytes[offsets[2] as usize + 50..][..100].fill(0);
        assert_eq!(picture(&bytes, 0), "0 1 cut");
        let (mut bytes, offsets) = segment(&[&[10], &[300, 300, 300]]);
        bytes[offsets[1] as usize..][..20].fill(0);
        assert_eq!(picture(&bytes, 0), "0 cut");
    }

    #[test]
    fn damage_before_a_later_group_is_reported_not_cut() {
        let (mut bytes, offsets) = segment(&[&[10], &[300, 300], &[5]]);
        bytes[offsets[1] as usize + 40] ^= 1; // in the key
        assert_eq!(picture(&bytes, 0), "0 damage 2 3");
        bytes[offsets[1] as usize + 40] ^= 1;
        bytes[offsets[2] as usize + 100] ^= 1; // in the data
        assert_eq!(picture(&bytes, 0), "0 1 2! 3");
    }

    #[test]
    fn damage_in_the_last_group_is_reported_when_the_caller_knows_it_was_durable() {
        let (mut bytes, offsets) = segment(&[&[10], &[300]]);
        bytes[offsets[1] as usize + 5] ^= 1;
        assert_eq!(picture(&bytes, 0), "0 cut");
        assert_eq!(picture(&bytes, bytes.len() as u32), "0 damage");
    }

    #[test]
    fn data_that_looks_like_a_record_is_never_taken_for_one() {
        // An object that holds a whole record, with the mark of some other segment, inside a damaged record.
        let mut forged = Vec::new();
        encode_record(
            &mut forged,
            *b"othermrk",
            Kind::Data,
            &key(666),
            b"evil",
            crc32fast::hash(b"evil"),
            u32::MAX,
        );
        let mut bytes = segment_header(7, MARK).to_vec();
        encode_record(&mut bytes, MARK, Kind::Data, &key(0), &forged, crc32fast::hash(&forged), 32);
        let end = bytes.len() as u32;
        encode_record(&mut bytes, MARK, Kind::Data, &key(1), b"", 0, end);
        assert_eq!(picture(&bytes, 0), "0 1");
        bytes[33] ^= 1;
        assert_eq!(picture(&bytes, 0), "damage 1");
    }

    #[test]
    fn version_1_is_frozen() {
        let mut bytes = segment_header(1, MARK).to_vec();
        let data = b"the bytes of an object";
        encode_record(&mut bytes, MARK, Kind::Data, &key(0), data, crc32fast::hash(data), 32);
        let end = bytes.len() as u32;
        encode_record(&mut bytes, MARK, Kind::Data, &BlobKey::new("r1/pack/0000000000000001"), b"", 0, end);
        encode_record(&mut bytes, MARK, Kind::Tombstone, &key(0), b"", 0, end);
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/segment-v1.bin");
        let expected = std::fs::read(golden).expect("golden file");
        assert!(bytes == expected, "what is written differs from {golden}");
        assert!(matches!(parse_segment_header(&expected, 1), SegmentHeader::Known(MARK)));
    }

    #[test]
    fn fuzz_segments() {
        let (good, _) = segment(&[&[1, 2], &[3], &[4, 5, 6]]);
        let seeds = vec![good[SEGMENT_HEADER_BYTES..].to_vec(), good];
        millpond_testkit::fuzz::Fuzz { name: "segments", seeds, words: &[] }.run(|input| match parse_header(
            input,
        ) {
            Ok(header) => {
                assert!(header.record_len() <= RECORD_BYTES_MAX && header.data_at() <= header.record_len());
                format!("{:?} {}", header.kind, header.data_len)
            }
            Err(why) => why.to_owned(),
        });
    }
}
