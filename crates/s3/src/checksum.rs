//! Checksums that clients send: verified in the one pass over the bytes, composed for multipart objects, kept
//! with the entry and given back.
//!
//! MD5 and SHA-256 are computed by the service for its own ends and only compared here.

use crate::error::{S3Error, S3Result};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use http::{HeaderMap, HeaderName};
use md5::Digest as _;
use millpond_service::{ContentHash, Digests};
use std::collections::BTreeMap;

/// Checksums by key, as [`millpond_service::Entry::extra`] holds them.
pub(crate) type Extra = BTreeMap<String, Bytes>;

/// The algorithms of `x-amz-checksum-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Key in [`Extra`].
    pub fn key(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
    /// Key in [`Extra`] of the type, where it is not `FULL_OBJECT`.
    pub fn type_key(self) -> String {
        format!("{}:type", self.key())
    }
    /// As S3 names it, for instance `CRC64NVME`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }
    /// Element of documents.
    pub fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }
    /// Header or trailer that carries the value.
    pub fn header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        })
    }
    /// From the S3 name, any case.
    pub fn parse(name: &str) -> S3Result<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            S3Error::invalid_request(format!(
                "checksum algorithm '{name}' is not supported; use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256"
            ))
        })
    }
    fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
    /// Raw bytes of a checksum as clients write it.
    pub fn decode(self, text: &str) -> S3Result<Vec<u8>> {
        match BASE64.decode(text) {
            Ok(raw) if raw.len() == self.bytes() => Ok(raw),
            _ => Err(S3Error::invalid_request(format!("the value of {} is not valid", self.header()))),
        }
    }
}

/// Whether a multipart checksum is over the object or over the checksums of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    FullObject,
    Composite,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
    /// The type of a multipart upload from what its creator named.
    pub fn of_upload(algorithm: Algorithm, named: Option<&str>) -> S3Result<Self> {
        let default = if algorithm == Algorithm::Crc64Nvme { Self::FullObject } else { Self::Composite };
        let chosen = match named {
            None | Some("") => default,
            Some("FULL_OBJECT") => Self::FullObject,
            Some("COMPOSITE") => Self::Composite,
            Some(_) => {
                return Err(S3Error::invalid_request("x-amz-checksum-type must be FULL_OBJECT or COMPOSITE"));
            }
        };
        let possible = match chosen {
            Self::FullObject => algorithm.crc().is_some(),
            Self::Composite => algorithm != Algorithm::Crc64Nvme,
        };
        if possible {
            Ok(chosen)
        } else {
            let message =
                format!("the checksum type {} cannot be used with {}", chosen.name(), algorithm.name());
            Err(S3Error::invalid_request(message))
        }
    }
}

/// The checksum stored with an object, if any: algorithm, text, type.
pub(crate) fn stored(extra: &Extra) -> Option<(Algorithm, &str, Type)> {
    let algorithm = Algorithm::ALL.into_iter().find(|a| extra.contains_key(a.key()))?;
    let text = std::str::from_utf8(extra.get(algorithm.key())?).ok()?;
    let kind = match extra.get(&algorithm.type_key()).map(Bytes::as_ref) {
        Some(b"COMPOSITE") => Type::Composite,
        _ => Type::FullObject,
    };
    Some((algorithm, text, kind))
}

/// Where the value to compare with comes from.
#[derive(Debug)]
enum Wanted {
    /// Sent before the body, raw.
    Before(Vec<u8>),
    /// Comes behind the body.
    Trailer,
    /// Not sent: compute and keep.
    Compute,
}

enum Hasher {
    Crc(Box<Digest>),
    Sha1(digest::Context),
    /// The service computes it.
    Sha256,
}

/// Checks one body against everything its sender said about it.
pub(crate) struct Verifier {
    md5: Option<[u8; 16]>,
    checksum: Option<(Algorithm, Wanted, Hasher)>,
}

impl Verifier {
    /// Reads `Content-MD5`, `x-amz-checksum-*`, `x-amz-trailer` and `x-amz-sdk-checksum-algorithm`.
    pub fn new(headers: &HeaderMap) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or_default().trim());
        let md5 = match text("content-md5") {
            None => None,
            Some(text) => {
                let raw = BASE64.decode(text).ok().and_then(|raw| <[u8; 16]>::try_from(raw).ok());
                Some(
                    raw.ok_or_else(|| S3Error::new(400, "InvalidDigest", "Content-MD5 is not a base64 MD5"))?,
                )
            }
        };
        let mut wanted: Option<(Algorithm, Wanted)> = None;
        let mut add = |algorithm, want| match wanted.replace((algorithm, want)) {
            None => Ok(()),
            Some(_) => {
                Err(S3Error::invalid_request("send one x-amz-checksum- header or trailer, not several"))
            }
        };
        for name in headers.keys() {
            let Some(suffix) = name.as_str().strip_prefix("x-amz-checksum-") else { continue };
            if matches!(suffix, "algorithm" | "type" | "mode") {
                continue;
            }
            let algorithm = Algorithm::parse(suffix)?;
            add(algorithm, Wanted::Before(algorithm.decode(text(name.as_str()).unwrap_or_default())?))?;
        }
        for name in trailer_names(headers) {
            if let Some(suffix) = name.strip_prefix("x-amz-checksum-") {
                add(Algorithm::parse(suffix)?, Wanted::Trailer)?;
            }
        }
        if let Some(name) = text("x-amz-sdk-checksum-algorithm").filter(|name| !name.is_empty()) {
            let algorithm = Algorithm::parse(name)?;
            match &wanted {
                None => wanted = Some((algorithm, Wanted::Compute)),
                Some((sent, _)) if *sent == algorithm => {}
                Some(_) => {
                    return Err(S3Error::invalid_request(
                        "x-amz-sdk-checksum-algorithm names another algorithm than the checksum sent",
                    ));
                }
            }
        }
        Ok(Self { md5, checksum: wanted.map(|(algorithm, want)| (algorithm, want, hasher(algorithm))) })
    }

    /// The algorithm of the checksum that is sent or asked for.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|(algorithm, ..)| *algorithm)
    }

    /// Whether the sender said nothing that could be checked.
    pub fn is_idle(&self) -> bool {
        self.md5.is_none() && self.checksum.is_none()
    }

    /// Has a checksum computed if the sender names none.
    pub fn or_compute(mut self, algorithm: Algorithm) -> Self {
        if self.checksum.is_none() {
            self.checksum = Some((algorithm, Wanted::Compute, hasher(algorithm)));
        }
        self
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.checksum {
            Some((_, _, Hasher::Crc(digest))) => digest.update(bytes),
            Some((_, _, Hasher::Sha1(context))) => context.update(bytes),
            _ => {}
        }
    }

    /// Compares; gives what is to be stored with the object.
    pub fn finish(self, trailers: &[(String, String)], digests: &Digests) -> S3Result<Extra> {
        if self.md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(S3Error::bad_digest("Content-MD5"));
        }
        let Some((algorithm, wanted, hasher)) = self.checksum else { return Ok(Extra::new()) };
        let actual = match hasher {
            Hasher::Crc(digest) => crc_bytes(algorithm, digest.finalize()),
            Hasher::Sha1(context) => context.finish().as_ref().to_vec(),
            Hasher::Sha256 => digests.sha256.0.to_vec(),
        };
        let expected = match wanted {
            Wanted::Before(raw) => Some(raw),
            Wanted::Compute => None,
            Wanted::Trailer => {
                let name = algorithm.header();
                let value = trailers.iter().find(|(n, _)| n == name.as_str());
                let value = value.ok_or_else(|| {
                    S3Error::new(400, "MalformedTrailerError", format!("the trailer {name} is missing"))
                })?;
                Some(algorithm.decode(&value.1)?)
            }
        };
        if expected.is_some_and(|expected| expected != actual) {
            return Err(S3Error::bad_digest(algorithm.name()));
        }
        Ok(Extra::from([(algorithm.key().to_owned(), BASE64.encode(actual).into())]))
    }

    /// The same for a small body that is in memory.
    pub fn check_all(mut self, bytes: &[u8], trailers: &[(String, String)]) -> S3Result<()> {
        self.update(bytes);
        let digests = Digests {
            sha256: ContentHash::of(bytes),
            md5: md5::Md5::digest(bytes).into(),
            size: bytes.len() as u64,
        };
        self.finish(trailers, &digests).map(|_| ())
    }
}

/// Lower-case names announced by `x-amz-trailer`.
pub(crate) fn trailer_names(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all("x-amz-trailer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}

fn hasher(algorithm: Algorithm) -> Hasher {
    match algorithm.crc() {
        Some(crc) => Hasher::Crc(Box::new(Digest::new(crc))),
        None if algorithm == Algorithm::Sha1 => {
            Hasher::Sha1(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY))
        }
        None => Hasher::Sha256,
    }
}

fn crc_bytes(algorithm: Algorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.bytes()..].to_vec()
}

/// The checksum of a multipart object from those of its parts: (raw checksum, size in bytes) in order.
pub(crate) fn compose(algorithm: Algorithm, kind: Type, parts: &[(Vec<u8>, u64)]) -> String {
    match (kind, algorithm.crc()) {
        (Type::FullObject, Some(crc)) => {
            let number = |raw: &[u8]| raw.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
            let mut parts = parts.iter();
            let mut whole = parts.next().map_or(0, |(raw, _)| number(raw));
            for (raw, size) in parts {
                whole = crc_fast::checksum_combine(crc, whole, number(raw), *size);
            }
            BASE64.encode(crc_bytes(algorithm, whole))
        }
        _ => {
            let joined: Vec<u8> = parts.iter().flat_map(|(raw, _)| raw.iter().copied()).collect();
            let raw = match algorithm.crc() {
                Some(crc) => {
                    let mut digest = Digest::new(crc);
                    digest.update(&joined);
                    crc_bytes(algorithm, digest.finalize())
                }
                None if algorithm == Algorithm::Sha1 => {
                    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &joined).as_ref().to_vec()
                }
                None => digest::digest(&digest::SHA256, &joined).as_ref().to_vec(),
            };
            format!("{}-{}", BASE64.encode(raw), parts.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checksums of `123456789`, from the catalogue of CRCs and FIPS 180.
    const KNOWN: [(Algorithm, &str); 5] = [
        (Algorithm::Crc32, "cbf43926"),
        (Algorithm::Crc32c, "e3069283"),
        (Algorithm::Crc64Nvme, "ae8b14860a799888"),
        (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ];

    fn digests(bytes: &[u8]) -> Digests {
        Digests {
            sha256: ContentHash::of(bytes),
            md5: md5::Md5::digest(bytes).into(),
            size: bytes.len() as u64,
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.insert(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                value.parse().expect("a value"),
            );
        }
        map
    }

    fn run(pairs: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> S3Result<Extra> {
        let mut verifier = Verifier::new(&headers(pairs))?;
        for piece in body.chunks(4) {
            verifier.update(piece);
        }
        let trailers: Vec<_> = trailers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        verifier.finish(&trailers, &digests(body))
    }

    #[test]
    fn known_vectors_pass_and_are_kept() {
        for (algorithm, hex_value) in KNOWN {
            let text = BASE64.encode(hex::decode(hex_value).expect("hex"));
            let name = algorithm.header();
            let extra = run(&[(name.as_str(), &text)], b"123456789", &[]).expect("right");
            assert_eq!(extra.get(algorithm.key()).map(Bytes::as_ref), Some(text.as_bytes()));
            assert_eq!(stored(&extra), Some((algorithm, text.as_str(), Type::FullObject)));
            let error = run(&[(name.as_str(), &text)], b"123456788", &[]).expect_err("wrong");
            assert_eq!((error.status.as_u16(), error.code), (400, "BadDigest"));
            let trailer = [("x-amz-trailer", name.as_str())];
            assert!(run(&trailer, b"123456789", &[(name.as_str(), &text)]).is_ok());
            assert_eq!(
                run(&trailer, b"123456780", &[(name.as_str(), &text)]).expect_err("wrong").code,
                "BadDigest"
            );
            assert_eq!(run(&trailer, b"123456789", &[]).expect_err("missing").code, "MalformedTrailerError");
            let asked = [("x-amz-sdk-checksum-algorithm", algorithm.name())];
            let extra = run(&asked, b"123456789", &[]).expect("computed");
            assert_eq!(extra.get(algorithm.key()).map(Bytes::as_ref), Some(text.as_bytes()));
        }
    }

    #[test]
    fn content_md5_is_compared() {
        let right = [("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")];
        assert!(run(&right, b"123456789", &[]).expect("right").is_empty());
        assert_eq!(run(&right, b"", &[]).expect_err("wrong").code, "BadDigest");
        assert_eq!(run(&[("content-md5", "abc")], b"", &[]).expect_err("no MD5").code, "InvalidDigest");
    }

    #[test]
    fn nonsense_is_refused_before_the_body() {
        let cases: [&[(&str, &str)]; 6] = [
            &[("x-amz-checksum-crc32", "AAAA")],
            &[("x-amz-checksum-crc32", "not base64!!")],
            &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE=")],
            &[("x-amz-checksum-xxhash64", "AAAAAAAAAAA=")],
            &[("x-amz-sdk-checksum-algorithm", "CRC32C"), ("x-amz-checksum-crc32", "y/Q5Jg==")],
            &[("x-amz-trailer", "x-amz-checksum-crc32"), ("x-amz-checksum-crc32", "y/Q5Jg==")],
        ];
        for case in cases {
            assert_eq!(
                Verifier::new(&headers(case)).err().expect("refused").status.as_u16(),
                400,
                "{case:?}"
            );
        }
    }

    #[test]
    fn full_object_crcs_combine() {
        let body: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let of = |bytes: &[u8]| {
                let asked = [("x-amz-sdk-checksum-algorithm", algorithm.name())];
                run(&asked, bytes, &[]).expect("computed")[algorithm.key()].clone()
            };
            let parts: Vec<(Vec<u8>, u64)> = [&body[..300], &body[300..301], &body[301..301], &body[301..]]
                .iter()
                .map(|part| (BASE64.decode(of(part)).expect("base64"), part.len() as u64))
                .collect();
            assert_eq!(compose(algorithm, Type::FullObject, &parts).as_bytes(), of(&body), "{algorithm:?}");
        }
    }

    #[test]
    fn composites_are_checksums_of_checksums() {
        let parts = vec![(ContentHash::of(b"a").0.to_vec(), 1), (ContentHash::of(b"b").0.to_vec(), 1)];
        let joined = [ContentHash::of(b"a").0, ContentHash::of(b"b").0].concat();
        let expected = format!("{}-2", BASE64.encode(ContentHash::of(&joined).0));
        assert_eq!(compose(Algorithm::Sha256, Type::Composite, &parts), expected);
    }

    #[test]
    fn types_follow_the_algorithm() {
        assert_eq!(Type::of_upload(Algorithm::Crc32, None).expect("ok"), Type::Composite);
        assert_eq!(Type::of_upload(Algorithm::Crc64Nvme, None).expect("ok"), Type::FullObject);
        assert_eq!(Type::of_upload(Algorithm::Crc32c, Some("FULL_OBJECT")).expect("ok"), Type::FullObject);
        assert!(Type::of_upload(Algorithm::Sha256, Some("FULL_OBJECT")).is_err());
        assert!(Type::of_upload(Algorithm::Crc64Nvme, Some("COMPOSITE")).is_err());
    }
}
