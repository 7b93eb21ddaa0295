//! A large blob as a file: data, then the CRC-32 of each 64 KiB block, then a footer (docs/formats/blob-file.md).
//! The checks come last so that a stream of unknown length is written once, front to back.

use super::disk::{Disk, TempFile, io_error, read_at};
use crate::{BlobError, BlobKey};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::ops::Range;
use std::path::Path;

/// Bytes that one CRC covers; the last block may be shorter.
pub const BLOCK_BYTES: usize = 64 * 1024;
const FOOTER_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"MPBLOB\r\n";
const VERSION: u8 = 1;
/// Reserved: the bytes were removed on request and only the name remains.
const FLAG_PURGED: u8 = 1;

/// A blob file being written, one block after the other.
pub struct FileSink {
    temp: TempFile,
    size: u64,
    table: Vec<u8>,
    block: crc32fast::Hasher,
    block_bytes: usize,
}

impl FileSink {
    /// Starts an empty one.
    pub fn new(temp: TempFile) -> Self {
        Self { temp, size: 0, table: Vec::new(), block: crc32fast::Hasher::new(), block_bytes: 0 }
    }

    /// Appends the pieces. After an error the sink is of no use but to be dropped.
    pub fn append(&mut self, pieces: &[Bytes]) -> Result<(), BlobError> {
        for piece in pieces {
            self.check_sum(piece);
        }
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        write_all(&self.temp.file, &mut slices).map_err(|e| io_error("writing a blob", &e))
    }

    /// Writes the checks and makes the blob durable and visible. Returns its size in bytes.
    pub fn publish(mut self, disk: &Disk, target: &Path, key: &BlobKey) -> Result<u64, BlobError> {
        if self.block_bytes > 0 {
            self.end_block();
        }
        let footer = footer(self.size);
        let mut slices = [IoSlice::new(&self.table), IoSlice::new(&footer)];
        write_all(&self.temp.file, &mut slices).map_err(|e| io_error("writing a blob", &e))?;
        disk.publish(self.temp, target, Some(key))?;
        Ok(self.size)
    }

    fn check_sum(&mut self, mut piece: &[u8]) {
        self.size += piece.len() as u64;
        while !piece.is_empty() {
            let take = piece.len().min(BLOCK_BYTES - self.block_bytes);
            self.block.update(&piece[..take]);
            self.block_bytes += take;
            piece = &piece[take..];
            if self.block_bytes == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::replace(&mut self.block, crc32fast::Hasher::new());
        self.table.extend_from_slice(&block.finalize().to_le_bytes());
        self.block_bytes = 0;
    }
}

fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn footer(size: u64) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    footer[..8].copy_from_slice(MAGIC);
    footer[8] = VERSION;
    // 9: flags; 10..12: zero; 12..16: encryption key id, 0 is none
    footer[16..24].copy_from_slice(&size.to_le_bytes());
    footer[24..28].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
    let crc = crc32fast::hash(&footer[..28]);
    footer[28..].copy_from_slice(&crc.to_le_bytes());
    footer
}

/// A blob file open for reading.
pub struct BlobFile {
    file: File,
    size: u64,
    name: String,
}

impl BlobFile {
    /// Opens the file and checks its footer. `None` if there is no such file.
    pub fn open(path: &Path, key: &BlobKey) -> Result<Option<Self>, BlobError> {
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| io_error("opening a blob", &e))?,
        };
        let name = key.as_str().to_owned();
        let len = file.metadata().map_err(|e| io_error("opening a blob", &e))?.len();
        let at = len.saturating_sub(FOOTER_BYTES as u64);
        let footer = read_at(&file, at, FOOTER_BYTES).map_err(|e| io_error("reading a blob", &e))?;
        match parse_footer(&footer, len) {
            Ok(size) => Ok(Some(Self { file, size, name })),
            Err(why) => Err(BlobError::Damaged(name, why.into())),
        }
    }

    /// Size of the data in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the range, which must lie inside. Every block it touches is checked whole before a byte is returned.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        assert!(range.start <= range.end && range.end <= self.size, "the range was checked against the size");
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let block = BLOCK_BYTES as u64;
        let first = range.start / block;
        let from = first * block;
        let to = range.end.div_ceil(block).saturating_mul(block).min(self.size);
        let read = |offset, len| {
            let bytes = read_at(&self.file, offset, len).map_err(|e| io_error("reading a blob", &e))?;
            match bytes.len() == len {
                true => Ok(bytes),
                false => Err(self.damaged("the file became shorter")),
            }
        };
        let data = read(from, (to - from) as usize)?;
        let sums = read(self.size + first * 4, data.len().div_ceil(BLOCK_BYTES) * 4)?;
        for (n, (bytes, sum)) in data.chunks(BLOCK_BYTES).zip(sums.chunks_exact(4)).enumerate() {
            if crc32fast::hash(bytes).to_le_bytes() != sum {
                return Err(self.damaged(&format!("CRC of block {}", first + n as u64)));
            }
        }
        Ok(Bytes::from(data).slice((range.start - from) as usize..(range.end - from) as usize))
    }

    fn damaged(&self, why: &str) -> BlobError {
        BlobError::Damaged(self.name.clone(), why.to_owned())
    }
}

/// The size of the data, if the footer is sound and fits the file.
fn parse_footer(footer: &[u8], file_len: u64) -> Result<u64, &'static str> {
    if footer.len() != FOOTER_BYTES || &footer[..8] != MAGIC {
        return Err("no footer");
    }
    let u32_at = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().expect("four bytes"));
    if u32_at(28) != crc32fast::hash(&footer[..28]) {
        return Err("CRC of the footer");
    }
    if footer[8] != VERSION {
        return Err("a newer version of the format");
    }
    if footer[9] & FLAG_PURGED != 0 {
        return Err("the bytes were purged");
    }
    if footer[9] != 0 || u32_at(12) != 0 || u32_at(24) as usize != BLOCK_BYTES {
        return Err("a flag, key or block size that this version does not know");
    }
    let size = u64::from_le_bytes(footer[16..24].try_into().expect("eight bytes"));
    let whole = size
        .checked_add(size.div_ceil(BLOCK_BYTES as u64) * 4)
        .and_then(|n| n.checked_add(FOOTER_BYTES as u64));
    match whole == Some(file_len) {
        true => Ok(size),
        false => Err("the size in the footer does not fit the file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &Disk, target: &Path, pieces: &[Bytes]) {
        let mut sink = FileSink::new(disk.temp().expect("temp"));
        for piece in pieces.chunks(3) {
            sink.append(piece).expect("append");
        }
        sink.publish(disk, target, &BlobKey::new("k")).expect("publish");
    }

    fn open(path: &Path) -> Result<BlobFile, BlobError> {
        BlobFile::open(path, &BlobKey::new("k")).map(|file| file.expect("exists"))
    }

    fn pattern(len: usize) -> Bytes {
        (0..len).map(|n| (n * 31 + n / 253) as u8).collect()
    }

    fn setup() -> (tempfile::TempDir, Disk, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(directory.path().join("tmp")).expect("tmp");
        let disk = Disk::new(directory.path().join("tmp")).expect("disk");
        let target = directory.path().join("blob");
        (directory, disk, target)
    }

    #[test]
    fn any_range_of_any_size_reads_back_whatever_the_pieces() {
        let (_directory, disk, target) = setup();
        for size in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 777] {
            let data = pattern(size);
            for piece in [1000, BLOCK_BYTES, BLOCK_BYTES + 1, 1 << 20] {
                let pieces: Vec<Bytes> = data.chunks(piece).map(Bytes::copy_from_slice).collect();
                write(&disk, &target, &pieces);
                let file = open(&target).expect("open");
                assert_eq!(file.size(), size as u64);
                let edges =
                    [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, size.saturating_sub(1), size];
                for from in edges {
                    for to in edges {
                        if from <= to && to <= size {
                            assert_eq!(
                                file.read(from as u64..to as u64).expect("read"),
                                data.slice(from..to)
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_flipped_byte_is_found_and_blocks_beside_it_stay_readable() {
        let (_directory, disk, target) = setup();
        let data = pattern(2 * BLOCK_BYTES + 100);
        write(&disk, &target, std::slice::from_ref(&data));
        let good = std::fs::read(&target).expect("read");
        let last = good.len() - 1;
        let ends = [0, 1, 4095, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES, data.len() - 1];
        for at in ends.into_iter().chain(data.len()..=last).chain((0..data.len()).step_by(9973)) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&target, &bad).expect("write");
            let result = open(&target).and_then(|file| file.read(0..file.size()));
            assert!(matches!(result, Err(BlobError::Damaged(..))), "byte {at} flipped: {result:?}");
            if at < BLOCK_BYTES {
                let from = BLOCK_BYTES as u64;
                let sound =
                    open(&target).expect("open").read(from..from + 10).expect("the next block is sound");
                assert_eq!(sound, data.slice(BLOCK_BYTES..BLOCK_BYTES + 10));
            }
        }
        for len in [0, 1, 31, 32, good.len() - 1, data.len()] {
            std::fs::write(&target, &good[..len]).expect("write");
            assert!(matches!(open(&target), Err(BlobError::Damaged(..))), "cut to {len} bytes");
        }
    }

    #[test]
    fn a_full_disk_is_busy_not_failed() {
        let full = File::options().write(true).open("/dev/full").expect("the full device");
        let result = FileSink::new(TempFile::over(full)).append(&[pattern(10)]);
        assert!(matches!(result, Err(BlobError::Busy(_))), "{result:?}");
    }

    #[test]
    fn version_1_is_frozen() {
        let (_directory, disk, target) = setup();
        write(&disk, &target, &[pattern(BLOCK_BYTES + 5)]);
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/blob-file-v1.bin");
        let expected = std::fs::read(golden).expect("golden file");
        assert!(std::fs::read(&target).expect("read") == expected, "what is written differs from {golden}");
        let file = open(Path::new(golden)).expect("version 1 opens");
        assert_eq!(file.read(0..file.size()).expect("version 1 reads"), pattern(BLOCK_BYTES + 5));
    }
}
