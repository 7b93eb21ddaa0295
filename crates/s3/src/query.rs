//! Query strings and percent-encoding, as signatures and listings need them.

use crate::error::{S3Error, S3Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What a signature's canonical form leaves alone (RFC 3986 unreserved).
pub(crate) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same for paths.
pub(crate) const UNRESERVED_PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Decoded pairs in the order sent.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the part behind `?`. A name without `=` has an empty value; `+` is a space.
    pub fn parse(raw: Option<&str>) -> S3Result<Self> {
        let mut pairs = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }
    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
    /// Whether the name occurs.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
    /// How often the name occurs.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(n, _)| n == name).count()
    }
    /// All pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
    /// A number; `None` when absent, an error when it is none or out of range.
    pub fn number(&self, name: &str, max: u64) -> S3Result<Option<u64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if number <= max && !text.starts_with('+') => Ok(Some(number)),
            _ => Err(S3Error::invalid_argument(format!("{name} is not a number from 0 to {max}"))),
        }
    }
}

/// Decodes percent escapes; what is no escape or not UTF-8 is refused.
pub(crate) fn percent_decode(text: &str) -> S3Result<String> {
    let escaped = text.split('%').skip(1);
    let valid = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if escaped.clone().all(valid) => Ok(decoded.into_owned()),
        _ => Err(S3Error::new(
            400,
            "InvalidURI",
            "the path or query holds a bad percent escape or is not UTF-8",
        )),
    }
}

fn decode(text: &str) -> S3Result<String> {
    let text = if text.contains('+') { text.replace('+', "%20") } else { text.to_owned() };
    percent_decode(&text)
}

/// `encoding-type=url` of listings, exact for keys that are not UTF-8 too.
pub(crate) fn encode_key(key: &[u8]) -> String {
    percent_encode(key, UNRESERVED_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let query = Query::parse(Some("list-type=2&prefix=a%2Fb+c%2B&delete&x=1&x=2&=v")).expect("parses");
        assert_eq!(query.get("prefix"), Some("a/b c+"));
        assert!(query.has("delete"));
        assert_eq!((query.count("x"), query.get("x")), (2, Some("1")));
        assert_eq!(query.number("list-type", 2).expect("a number"), Some(2));
        assert!(query.number("prefix", 2).is_err());
        for bad in ["a=%ff", "a=%ZZ", "a=%4", "%=a"] {
            assert_eq!(Query::parse(Some(bad)).expect_err(bad).code, "InvalidURI");
        }
    }

    #[test]
    fn keys_are_encoded_byte_by_byte() {
        assert_eq!(encode_key(b"main/a b+\xff~"), "main/a%20b%2B%FF~");
    }
}
