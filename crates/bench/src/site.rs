//! Where a server is and how to address it: builds signed S3 requests and requests of the JSON API.

use crate::sigv4::{Keys, Signable, Signer, moment};
use crate::wire::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::Md5;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// The size of a chunk that SDKs send in signed streams.
const CHUNK_BYTES: usize = 64 * 1024;

/// How the body of an S3 request is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Not at all: the signature covers the headers only.
    Unsigned,
    /// By the SHA-256 of the whole body.
    Signed,
    /// By a chain of chunk signatures (`aws-chunked`).
    SignedChunks,
    /// By a CRC-32 in a trailer (`aws-chunked`, chunks unsigned).
    Trailer,
}

/// A server and the keys to talk to it.
#[derive(Debug)]
pub struct Site {
    /// Where it listens.
    pub address: SocketAddr,
    host: String,
    basic: String,
    signer: RefCell<Signer>,
}

impl Site {
    /// Requests for this server, signed with these keys.
    pub fn new(address: SocketAddr, keys: Keys) -> Self {
        let basic = STANDARD.encode(format!("{}:{}", keys.id, keys.secret));
        Self { address, host: address.to_string(), basic, signer: RefCell::new(Signer::new(keys)) }
    }

    /// A request of the JSON API; `target` starts after `/api/v1` and is already percent-encoded.
    pub fn api(&self, method: &str, target: &str, body: Option<&Value>) -> Request {
        let body = body.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
        self.api_with(method, target, "application/json", body)
    }

    /// The same with any body.
    pub fn api_with(&self, method: &str, target: &str, content_type: &str, body: Bytes) -> Request {
        self.http(method, &format!("/api/v1{target}"), content_type, body)
    }

    /// A request to any path of the server, with basic credentials.
    pub fn http(&self, method: &str, path: &str, content_type: &str, body: Bytes) -> Request {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}\r\n",
            self.host, self.basic
        );
        if !body.is_empty() {
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        if method != "GET" && method != "HEAD" {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        Request { head: head.into_bytes(), body }
    }

    /// An S3 request without a body. `path` starts at the bucket and is plain text; `query` is in order of
    /// its names; `headers` are extra ones to be signed, in lower case.
    pub fn s3(&self, method: &str, path: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Request {
        self.s3_with(method, path, query, headers, Payload::Unsigned, Bytes::new())
    }

    /// An S3 request with a body, protected as `payload` says.
    pub fn s3_with(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        extra: &[(&str, &str)],
        payload: Payload,
        body: Bytes,
    ) -> Request {
        let moment = now();
        let path = format!("/{}", encode(path, true));
        let query = query
            .iter()
            .map(|(k, v)| format!("{}={}", encode(k, false), encode(v, false)))
            .collect::<Vec<_>>()
            .join("&");
        let decoded = body.len().to_string();
        let hash = match payload {
            Payload::Unsigned => UNSIGNED.to_owned(),
            Payload::Signed => hex::encode(Sha256::digest(&body)),
            Payload::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Payload::Trailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        };
        let mut headers: Vec<(&str, &str)> =
            vec![("host", &self.host), ("x-amz-content-sha256", &hash), ("x-amz-date", &moment)];
        headers.extend_from_slice(extra);
        if matches!(payload, Payload::SignedChunks | Payload::Trailer) {
            headers
                .extend([("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", &*decoded)]);
        }
        if payload == Payload::Trailer {
            headers.push(("x-amz-trailer", "x-amz-checksum-crc32"));
        }
        headers.sort_unstable();
        let mut signer = self.signer.borrow_mut();
        let signable = Signable {
            method,
            path: &path,
            query: &query,
            headers: &headers,
            payload: &hash,
            moment: &moment,
        };
        let (authorization, signature) = signer.authorize(signable);
        let body = match payload {
            Payload::Unsigned | Payload::Signed => body,
            Payload::SignedChunks => signed_chunks(&mut signer, &moment, signature, &body),
            Payload::Trailer => unsigned_chunks(&body),
        };
        let mark = if query.is_empty() { "" } else { "?" };
        let mut head = format!("{method} {path}{mark}{query} HTTP/1.1\r\n");
        for (name, value) in &headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "authorization: {authorization}\r\n");
        if method != "GET" && method != "HEAD" {
            let _ = write!(head, "content-length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        Request { head: head.into_bytes(), body }
    }
}

fn now() -> String {
    moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn signed_chunks(signer: &mut Signer, moment: &str, seed: String, body: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(body.len() + body.len() / 512 + 256);
    let mut signature = seed;
    for chunk in body.chunks(CHUNK_BYTES).chain([&[][..]]) {
        signature = signer.chunk(moment, &signature, chunk);
        framed.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.into()
}

fn unsigned_chunks(body: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(body.len() + body.len() / 512 + 256);
    for chunk in body.chunks(CHUNK_BYTES) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    let checksum = STANDARD.encode(crc32(body).to_be_bytes());
    framed.extend_from_slice(format!("0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n").as_bytes());
    framed.into()
}

/// CRC-32 (ISO-HDLC), one table: the client computes it outside the time measured.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

/// Percent-encodes all but unreserved characters (RFC 3986), and slashes if they are to be kept.
pub fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            encoded.push(byte as char);
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The MD5 of the bytes, as an ETag and as `Content-MD5` want it.
pub fn md5_of(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// `Content-MD5` of the bytes.
pub fn content_md5(bytes: &[u8]) -> String {
    STANDARD.encode(md5_of(bytes))
}

/// The text between the first `<name>` and the `</name>` after it.
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + xml[start..].find(&format!("</{name}>"))?;
    Some(&xml[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn names_are_encoded_as_signatures_want_them() {
        assert_eq!(encode("a b/ü~", true), "a%20b/%C3%BC~");
        assert_eq!(encode("a/b", false), "a%2Fb");
    }

    #[test]
    fn elements_of_xml() {
        assert_eq!(element("<A><UploadId>x1</UploadId></A>", "UploadId"), Some("x1"));
        assert_eq!(element("<A/>", "UploadId"), None);
    }
}
