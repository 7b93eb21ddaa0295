//! Content type, standard headers and user metadata: from request headers to stored attributes and back.

use crate::error::{S3Error, S3Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use millpond_service::Attributes;
use millpond_service::entry::HEADER_PREFIX;
use millpond_service::limits::S3_USER_METADATA_BYTES_MAX;

const USER_PREFIX: &str = "x-amz-meta-";
/// How the entry spells the prefix (API-28.7); other metadata is not for S3 clients.
const STORED_PREFIX: &str = "X-Amz-Meta-";
const STANDARD: [&str; 5] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "expires"];

/// Attributes of an object to be written, from the headers of its request.
pub(crate) fn from_headers(headers: &HeaderMap) -> S3Result<Attributes> {
    let mut attributes = Attributes::default();
    if let Some(value) = headers.get(CONTENT_TYPE) {
        attributes.content_type = text(&CONTENT_TYPE, value)?;
    }
    for name in STANDARD {
        let Some(value) = headers.get(name) else { continue };
        let mut value = text(&HeaderName::from_static(name), value)?;
        if name == "content-encoding" {
            // aws-chunked is how the body travels, not what it is.
            let kept: Vec<&str> = value
                .split(',')
                .map(str::trim)
                .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
                .collect();
            value = kept.join(",");
        }
        if !value.is_empty() {
            attributes.metadata.insert(format!("{HEADER_PREFIX}{name}"), value);
        }
    }
    let mut bytes = 0;
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix(USER_PREFIX).filter(|short| !short.is_empty()) else {
            continue;
        };
        let values: Vec<String> =
            headers.get_all(name).iter().map(|value| text(name, value)).collect::<S3Result<_>>()?;
        let value = decode_words(&values.join(",")).ok_or_else(|| {
            S3Error::invalid_argument(format!("the value of {name} is not valid RFC 2047 encoded text"))
        })?;
        bytes += short.len() + value.len();
        attributes.metadata.insert(format!("{STORED_PREFIX}{short}"), value);
    }
    if bytes > S3_USER_METADATA_BYTES_MAX {
        let message =
            format!("the user metadata has {bytes} bytes; the limit is {S3_USER_METADATA_BYTES_MAX}");
        return Err(S3Error::new(400, "MetadataTooLarge", message));
    }
    Ok(attributes)
}

/// Adds the headers of a stored object. `overrides` are the `response-*` parameters of the request.
pub(crate) fn to_headers<'a>(
    attributes: &Attributes,
    overrides: impl Fn(&str) -> Option<&'a str>,
    out: &mut HeaderMap,
) {
    let kind = match attributes.content_type.as_str() {
        "" => "application/octet-stream",
        kind => kind,
    };
    let kind = overrides("response-content-type").unwrap_or(kind);
    out.insert(
        CONTENT_TYPE,
        header_value(kind).unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    for name in STANDARD {
        let stored = attributes.metadata.get(&format!("{HEADER_PREFIX}{name}")).map(String::as_str);
        let value = overrides(&format!("response-{name}")).or(stored);
        if let Some(value) = value.and_then(header_value) {
            out.insert(HeaderName::from_static(name), value);
        }
    }
    let mut missing = 0u64;
    for (key, value) in attributes.user_metadata() {
        let Some(short) = key.strip_prefix(STORED_PREFIX) else { continue };
        let name = HeaderName::from_bytes(format!("{USER_PREFIX}{short}").as_bytes());
        match (name, HeaderValue::from_str(&encode_words(value))) {
            (Ok(name), Ok(value)) => {
                out.insert(name, value);
            }
            _ => missing += 1,
        }
    }
    if missing > 0 {
        out.insert(HeaderName::from_static("x-amz-missing-meta"), HeaderValue::from(missing));
    }
}

/// Refuses what would be silently ignored although the client relies on it.
pub(crate) fn refuse_unsupported(headers: &HeaderMap) -> S3Result<()> {
    for name in headers.keys() {
        let name = name.as_str();
        let refused = name.starts_with("x-amz-object-lock-")
            || name.starts_with("x-amz-server-side-encryption-customer-")
            || name.starts_with("x-amz-copy-source-server-side-encryption-customer-")
            || matches!(
                name,
                "x-amz-tagging" | "x-amz-website-redirect-location" | "x-amz-write-offset-bytes"
            );
        if refused && headers.get(name).is_some_and(|value| !value.is_empty()) {
            return Err(S3Error::not_implemented(format!("the header {name} is not supported")));
        }
    }
    match headers.get("x-amz-server-side-encryption").map(HeaderValue::as_bytes) {
        None | Some(b"" | b"AES256") => Ok(()),
        Some(_) => Err(S3Error::not_implemented("only the server's own encryption is offered, no KMS keys")),
    }
}

/// Latin-1 or UTF-8 text of a header.
fn text(name: &HeaderName, value: &HeaderValue) -> S3Result<String> {
    String::from_utf8(value.as_bytes().trim_ascii().to_vec())
        .map_err(|_| S3Error::invalid_argument(format!("the value of {name} is not UTF-8")))
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

/// Decodes RFC 2047 encoded words; `None` when one is broken.
fn decode_words(value: &str) -> Option<String> {
    let Some(first) = value.find("=?") else { return Some(value.to_owned()) };
    let mut out = value[..first].to_owned();
    let mut rest = &value[first..];
    loop {
        let mut fields = rest.strip_prefix("=?")?.splitn(3, '?');
        let (charset, encoding, tail) = (fields.next()?, fields.next()?, fields.next()?);
        let end = tail.find("?=")?;
        let raw = match encoding {
            "B" | "b" => BASE64.decode(&tail[..end]).ok()?,
            "Q" | "q" => decode_q(&tail[..end])?,
            _ => return None,
        };
        match charset.to_ascii_lowercase().as_str() {
            "utf-8" | "us-ascii" => out.push_str(std::str::from_utf8(&raw).ok()?),
            "iso-8859-1" => out.extend(raw.iter().map(|&byte| char::from(byte))),
            _ => return None,
        }
        rest = &tail[end + 2..];
        let Some(next) = rest.find("=?") else {
            out.push_str(rest);
            return Some(out);
        };
        // White space between two encoded words is only folding.
        if !rest[..next].trim().is_empty() || next == 0 {
            out.push_str(&rest[..next]);
        }
        rest = &rest[next..];
    }
}

fn decode_q(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'_' => out.push(b' '),
            b'=' => {
                let digits = [bytes.next()?, bytes.next()?];
                let mut one = [0u8];
                hex::decode_to_slice(digits, &mut one).ok()?;
                out.push(one[0]);
            }
            byte => out.push(byte),
        }
    }
    Some(out)
}

/// Plain ASCII as it is, everything else as Q-encoded words of UTF-8 (API-28.8).
fn encode_words(value: &str) -> String {
    let plain = value.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\t') && !value.contains("=?");
    if plain {
        return value.to_owned();
    }
    const OPEN: &str = "=?utf-8?q?";
    let mut out = String::from(OPEN);
    let mut length = OPEN.len();
    for c in value.chars() {
        let mut buffer = [0u8; 4];
        let mut piece = String::new();
        for &byte in c.encode_utf8(&mut buffer).as_bytes() {
            match byte {
                b' ' => piece.push('_'),
                byte if byte.is_ascii_alphanumeric() || b"!*+-/.,:;@()[]{}".contains(&byte) => {
                    piece.push(char::from(byte));
                }
                byte => piece.push_str(&format!("={byte:02X}")),
            }
        }
        if length + piece.len() + 2 > 75 {
            out.push_str("?= ");
            out.push_str(OPEN);
            length = OPEN.len();
        }
        length += piece.len();
        out.push_str(&piece);
    }
    out.push_str("?=");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        map
    }

    fn round_trip(attributes: &Attributes) -> HeaderMap {
        let mut out = HeaderMap::new();
        to_headers(attributes, |_| None, &mut out);
        out
    }

    #[test]
    fn what_is_written_is_given_back() {
        let sent = headers(&[
            ("content-type", "text/csv"),
            ("cache-control", "no-cache"),
            ("content-encoding", "aws-chunked, gzip"),
            ("expires", "whenever"),
            ("x-amz-meta-colour", "blue"),
            ("x-amz-meta-many", "a"),
            ("x-amz-meta-many", "b"),
            ("x-amz-meta-umlaut", "=?UTF-8?B?w6Q=?= =?utf-8?q?=C3=B6_?="),
            ("x-amz-meta-raw", "ä"),
        ]);
        let attributes = from_headers(&sent).expect("valid");
        assert_eq!(attributes.content_type, "text/csv");
        assert_eq!(attributes.metadata["X-Amz-Meta-colour"], "blue");
        assert_eq!(attributes.metadata["X-Amz-Meta-umlaut"], "äö ");
        let back = round_trip(&attributes);
        assert_eq!(back["content-encoding"], "gzip");
        assert_eq!(back["cache-control"], "no-cache");
        assert_eq!(back["expires"], "whenever");
        assert_eq!(back["x-amz-meta-many"], "a,b");
        assert_eq!(back["x-amz-meta-umlaut"], "=?utf-8?q?=C3=A4=C3=B6_?=");
        assert_eq!(back["x-amz-meta-raw"], "=?utf-8?q?=C3=A4?=");
    }

    #[test]
    fn aws_chunked_alone_is_no_encoding() {
        let attributes = from_headers(&headers(&[("content-encoding", "aws-chunked")])).expect("valid");
        assert!(attributes.metadata.is_empty());
        assert_eq!(round_trip(&attributes)["content-type"], "application/octet-stream");
    }

    #[test]
    fn too_much_metadata_is_refused_at_the_edge() {
        let fits = "x".repeat(2048 - 1);
        assert!(from_headers(&headers(&[("x-amz-meta-k", &fits)])).is_ok());
        let over = "x".repeat(2048);
        assert_eq!(
            from_headers(&headers(&[("x-amz-meta-k", &over)])).expect_err("over").code,
            "MetadataTooLarge"
        );
    }

    #[test]
    fn broken_words_are_refused() {
        for value in ["=?utf-8?q?=4?=", "=?utf-8?x?a?=", "=?utf-8?q?a", "=?koi?q?a?=", "=?utf-8?b?*?="] {
            let error = from_headers(&headers(&[("x-amz-meta-k", value)])).expect_err(value);
            assert_eq!(error.code, "InvalidArgument");
        }
    }

    #[test]
    fn long_words_are_split_and_read_back() {
        let value = "späte Grüße, Wörter ".repeat(20);
        let encoded = encode_words(&value);
        assert!(encoded.split(' ').all(|word| word.len() <= 75));
        assert_eq!(decode_words(&encoded).as_deref(), Some(value.as_str()));
    }

    #[test]
    fn keys_of_other_doors_and_bad_names_stay_away() {
        let mut attributes = Attributes::default();
        attributes.metadata.insert("plain".into(), "1".into());
        attributes.metadata.insert("X-Amz-Meta-a b".into(), "1".into());
        let back = round_trip(&attributes);
        assert_eq!(back["x-amz-missing-meta"], "1");
        assert_eq!(back.len(), 2);
    }

    #[test]
    fn overrides_win() {
        let attributes = from_headers(&headers(&[("content-type", "a/b"), ("expires", "e")])).expect("valid");
        let mut out = HeaderMap::new();
        to_headers(&attributes, |name| (name == "response-content-type").then_some("x/y"), &mut out);
        assert_eq!((out["content-type"].as_bytes(), out["expires"].as_bytes()), (&b"x/y"[..], &b"e"[..]));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (name, value) in [("x-amz-tagging", "a=b"), ("x-amz-server-side-encryption", "aws:kms")] {
            assert_eq!(refuse_unsupported(&headers(&[(name, value)])).expect_err(name).status.as_u16(), 501);
        }
        assert!(
            refuse_unsupported(&headers(&[
                ("x-amz-server-side-encryption", "AES256"),
                ("x-amz-acl", "private")
            ]))
            .is_ok()
        );
    }
}
