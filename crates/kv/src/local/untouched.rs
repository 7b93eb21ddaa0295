//! A file that is looked at and never written: what redb writes to it stays in memory.
//!
//! Why: redb has to write even for a look (opening recovers from a crash, checking its pages repairs), and
//! whoever looks for damage must not change what is left.
#![allow(clippy::disallowed_methods, reason = "this adapter is where the metadata store meets the disk")]

use parking_lot::RwLock;
use redb::StorageBackend;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a block of the copy in memory.
const BLOCK: u64 = 4096;

/// The file below, and the blocks that were written.
#[derive(Debug)]
pub struct Untouched {
    file: File,
    written: RwLock<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    /// Bytes of the file that still count; beyond them, what is not in `blocks` is zero.
    below: u64,
    blocks: HashMap<u64, Box<[u8]>>,
}

impl Untouched {
    /// Over an existing file.
    pub fn over(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let written = Written { len, below: len, blocks: HashMap::new() };
        Ok(Self { file, written: RwLock::new(written) })
    }

    /// One block as it is now.
    fn block(&self, written: &Written, number: u64) -> io::Result<Box<[u8]>> {
        if let Some(block) = written.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK as usize].into_boxed_slice();
        let start = number * BLOCK;
        let there = written.below.saturating_sub(start).min(BLOCK) as usize;
        self.file.read_exact_at(&mut block[..there], start)?;
        Ok(block)
    }
}

/// The parts of a range, block by block: number, where in the block, how many bytes.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let (number, within) = (at / BLOCK, at % BLOCK);
        let take = (BLOCK - within).min(end - at);
        at += take;
        (take > 0).then_some((number, within as usize, take as usize))
    })
}

impl StorageBackend for Untouched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.read().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.read();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > written.len) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        for (number, within, take) in parts(offset, out.len()) {
            let block = self.block(&written, number)?;
            out[done..done + take].copy_from_slice(&block[within..within + take]);
            done += take;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.write();
        let shorter = len < written.len;
        if shorter && !len.is_multiple_of(BLOCK) {
            let mut last = self.block(&written, len / BLOCK)?;
            last[(len % BLOCK) as usize..].fill(0);
            written.blocks.insert(len / BLOCK, last);
        }
        if shorter {
            written.blocks.retain(|number, _| number * BLOCK < len);
        }
        written.len = len;
        written.below = written.below.min(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.write();
        let mut done = 0;
        for (number, within, take) in parts(offset, data.len()) {
            let mut block = self.block(&written, number)?;
            block[within..within + take].copy_from_slice(&data[done..done + take]);
            written.blocks.insert(number, block);
            done += take;
        }
        written.len = written.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_was_written_and_the_file_stays_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).expect("written");
        let file = Untouched::over(&path).expect("opened");
        let mut model = bytes.clone();
        let check = |model: &[u8]| {
            let mut read = vec![0; model.len()];
            assert_eq!(file.len().expect("length"), model.len() as u64);
            file.read(0, &mut read).expect("read");
            assert!(read == model);
            assert!(file.read(1, &mut read).is_err(), "beyond the end");
        };
        check(&model);
        file.write(4_000, &[7; 5_000]).expect("write");
        model[4_000..9_000].fill(7);
        check(&model);
        for len in [9_500, 4_200, 20_000, 100, 8_192] {
            file.set_len(len).expect("length");
            model.resize(len as usize, 0);
            check(&model);
        }
        assert!(std::fs::read(&path).expect("read") == bytes);
    }
}
