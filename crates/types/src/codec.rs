//! The byte codec of every stored record: LEB128 integers and length-prefixed byte strings.
//! It is canonical (one encoding per value), so encodings may be hashed and compared.

use bytes::Bytes;

/// Stored bytes that cannot be what this program wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored record is damaged: {0}")]
pub struct DecodeError(pub &'static str);

/// Appends values to a buffer.
#[derive(Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }
    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.push(value);
        self
    }
    /// Unsigned integer, LEB128.
    pub fn uint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
        self
    }
    /// Signed integer, zigzag LEB128.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.uint(((value << 1) ^ (value >> 63)) as u64)
    }
    /// Bytes without a length; the reader must know it.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }
    /// Length, then bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.uint(bytes.len() as u64).raw(bytes)
    }
    /// Length, then UTF-8.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }
    /// Count, then pairs in the order given; give them sorted.
    pub fn map<'a>(&mut self, pairs: impl ExactSizeIterator<Item = (&'a String, &'a String)>) -> &mut Self {
        self.uint(pairs.len() as u64);
        for (key, value) in pairs {
            self.text(key).text(value);
        }
        self
    }
    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
    /// The finished record.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

/// Takes values off a buffer. Byte strings share the buffer's allocation.
#[derive(Clone)]
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// Reads from the start of the bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.raw(1)?[0])
    }
    /// Unsigned integer; over-long encodings are refused so that the codec stays canonical.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 || (i > 0 && byte == 0) {
                return Err(DecodeError("integer is over-long"));
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                let _ = self.rest.split_to(i + 1);
                return Ok(value);
            }
        }
        Err(DecodeError("integer is cut off"))
    }
    /// Signed integer.
    pub fn int(&mut self) -> Result<i64, DecodeError> {
        let raw = self.uint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }
    /// A known number of bytes.
    pub fn raw(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.rest.len() {
            return Err(DecodeError("record is cut off"));
        }
        Ok(self.rest.split_to(len))
    }
    /// A 32-byte hash.
    pub fn digest(&mut self) -> Result<[u8; 32], DecodeError> {
        Ok(self.raw(32)?.as_ref().try_into().expect("raw(32) gives 32 bytes"))
    }
    /// Length, then bytes.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.uint()?;
        self.raw(usize::try_from(len).map_err(|_| DecodeError("length does not fit"))?)
    }
    /// Length, then UTF-8.
    pub fn text(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| DecodeError("text is not UTF-8"))
    }
    /// Count, then pairs.
    pub fn map(&mut self) -> Result<std::collections::BTreeMap<String, String>, DecodeError> {
        let count = self.uint()?;
        let mut map = std::collections::BTreeMap::new();
        for _ in 0..count {
            let key = self.text()?;
            map.insert(key, self.text()?);
        }
        Ok(map)
    }
    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
    /// Refuses trailing bytes.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError("trailing bytes")) }
    }
}
