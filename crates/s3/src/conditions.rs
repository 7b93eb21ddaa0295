//! Conditions and ranges: RFC 9110 as S3 applies it.

use crate::date;
use crate::error::{S3Error, S3Result};
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use millpond_service::{EtagMatch, Timestamp, WriteCondition};
use std::ops::Range;

/// The four conditions of a request, or of the source of a copy.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub if_match: Option<EtagMatch>,
    pub if_none_match: Option<EtagMatch>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
}

/// How conditions of a read turn out when they do not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    /// 304: the client has this version.
    NotModified,
    /// 412, with the condition that failed.
    Failed(&'static str),
}

impl Conditions {
    /// `If-Match` and the others. Dates that are none are not conditions (RFC 9110, 13.1.3).
    pub fn of_request(headers: &HeaderMap) -> S3Result<Self> {
        Self::named(headers, [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE])
    }
    /// `x-amz-copy-source-if-match` and the others.
    pub fn of_copy_source(headers: &HeaderMap) -> S3Result<Self> {
        Self::named(
            headers,
            [
                HeaderName::from_static("x-amz-copy-source-if-match"),
                HeaderName::from_static("x-amz-copy-source-if-none-match"),
                HeaderName::from_static("x-amz-copy-source-if-modified-since"),
                HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
            ],
        )
    }
    fn named(headers: &HeaderMap, names: [HeaderName; 4]) -> S3Result<Self> {
        let [if_match, if_none_match, modified, unmodified] = names;
        let date = |name: &HeaderName| {
            let text = headers.get(name)?.to_str().ok()?.trim();
            date::parse_http(text).or_else(|| date::parse_basic(text))
        };
        Ok(Self {
            if_match: etags(headers, &if_match)?,
            if_none_match: etags(headers, &if_none_match)?,
            modified_since: date(&modified),
            unmodified_since: date(&unmodified),
        })
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none()
            && self.if_none_match.is_none()
            && self.modified_since.is_none()
            && self.unmodified_since.is_none()
    }

    /// Judges an object. ETags win over dates; dates are compared by the second.
    pub fn judge(&self, etag: &str, modified: Timestamp) -> Verdict {
        match (&self.if_match, self.unmodified_since) {
            (Some(wanted), _) if !wanted.matches(etag) => return Verdict::Failed("If-Match"),
            (None, Some(date)) if modified.seconds() > date.seconds() => {
                return Verdict::Failed("If-Unmodified-Since");
            }
            _ => {}
        }
        match (&self.if_none_match, self.modified_since) {
            (Some(wanted), _) if wanted.matches(etag) => Verdict::NotModified,
            (None, Some(date)) if modified.seconds() <= date.seconds() => Verdict::NotModified,
            _ => Verdict::Holds,
        }
    }

    /// Judges the source of a copy, where every failure is 412.
    pub fn require(&self, etag: &str, modified: Timestamp) -> S3Result<()> {
        match self.judge(etag, modified) {
            Verdict::Holds => Ok(()),
            Verdict::NotModified => Err(S3Error::precondition_failed("on the source of the copy")),
            Verdict::Failed(condition) => Err(S3Error::precondition_failed(condition)),
        }
    }
}

/// Conditions of a write; dates are not among those that S3 knows.
pub(crate) fn write_condition(headers: &HeaderMap) -> S3Result<WriteCondition> {
    Ok(WriteCondition {
        if_match: etags(headers, &IF_MATCH)?,
        if_none_match: etags(headers, &IF_NONE_MATCH)?,
    })
}

fn etags(headers: &HeaderMap, name: &HeaderName) -> S3Result<Option<EtagMatch>> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        let text = value
            .to_str()
            .map_err(|_| S3Error::invalid_argument(format!("the value of {name} is not ASCII")))?;
        for etag in text.split(',').map(str::trim).filter(|etag| !etag.is_empty()) {
            if etag == "*" {
                return Ok(Some(EtagMatch::Any));
            }
            list.push(unquote(etag).to_owned());
        }
    }
    match (list.is_empty(), headers.contains_key(name)) {
        (false, _) => Ok(Some(EtagMatch::OneOf(list))),
        (true, false) => Ok(None),
        (true, true) => Err(S3Error::invalid_argument(format!("the value of {name} is empty"))),
    }
}

/// An ETag without quotes and weakness mark.
pub(crate) fn unquote(etag: &str) -> &str {
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

/// The part of an object that a request wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
}

/// Reads `Range` (one range; anything else is as if it were not there, API-28.2) and `If-Range`.
pub(crate) fn wanted_range(
    headers: &HeaderMap,
    size: u64,
    etag: &str,
    modified: Timestamp,
) -> S3Result<Wanted> {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()).and_then(parse_range) else {
        return Ok(Wanted::Whole);
    };
    if let Some(value) = headers.get(IF_RANGE).and_then(|value| value.to_str().ok()) {
        let same = match date::parse_http(value.trim()) {
            Some(date) => date.seconds() == modified.seconds(),
            None => unquote(value.trim()) == etag,
        };
        if !same {
            return Ok(Wanted::Whole);
        }
    }
    range.within(size).map(Wanted::Part).ok_or_else(|| unsatisfiable(size))
}

/// 416 with the size of the object.
pub(crate) fn unsatisfiable(size: u64) -> S3Error {
    let error =
        S3Error::new(416, "InvalidRange", format!("the range is outside the object, which has {size} bytes"));
    match HeaderValue::from_str(&format!("bytes */{size}")) {
        Ok(value) => error.with_header(http::header::CONTENT_RANGE, value),
        Err(_) => error,
    }
}

/// One range as written, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeSpec {
    FromTo(u64, u64),
    From(u64),
    Last(u64),
}

impl RangeSpec {
    /// The bytes that it means in an object of that size; `None`: none.
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo(first, last) => first..size.min(last.saturating_add(1)),
            Self::From(first) => first..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n`; `None` for everything else.
pub(crate) fn parse_range(text: &str) -> Option<RangeSpec> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| -> Option<Option<u64>> {
        if text.is_empty() {
            return Some(None);
        }
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        // Numbers beyond u64 are beyond every object.
        digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
    };
    match (number(first)?, number(last)?) {
        (Some(first), Some(last)) if first <= last => Some(RangeSpec::FromTo(first, last)),
        (Some(first), None) => Some(RangeSpec::From(first)),
        (None, Some(count)) => Some(RangeSpec::Last(count)),
        _ => None,
    }
}

/// 304 with the headers that it must have.
pub(crate) fn not_modified(etag: &str, modified: Timestamp) -> crate::response::Response {
    let mut response = crate::response::empty(StatusCode::NOT_MODIFIED);
    version_headers(etag, modified, response.headers_mut());
    response
}

/// `ETag` and `Last-Modified`.
pub(crate) fn version_headers(etag: &str, modified: Timestamp, out: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        out.insert(http::header::ETAG, value);
    }
    if let Ok(value) = HeaderValue::from_str(&date::format_http(modified)) {
        out.insert(http::header::LAST_MODIFIED, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "abc";
    /// 2026-11-22 20:00:00.5 UTC.
    const MODIFIED: Timestamp = Timestamp(1_795_377_600_500);
    const BEFORE: &str = "Sun, 22 Nov 2026 19:59:59 GMT";
    const SAME: &str = "Sun, 22 Nov 2026 20:00:00 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().expect("a value"))).collect()
    }

    #[test]
    fn conditions_of_reads() {
        use Verdict::{Failed, Holds, NotModified};
        let cases: [(&[(&'static str, &str)], Verdict); 14] = [
            (&[], Holds),
            (&[("if-match", "\"abc\"")], Holds),
            (&[("if-match", "abc")], Holds),
            (&[("if-match", "*")], Holds),
            (&[("if-match", "\"x\", \"abc\"")], Holds),
            (&[("if-match", "\"x\"")], Failed("If-Match")),
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "\"x\"")], Holds),
            (&[("if-modified-since", SAME)], NotModified),
            (&[("if-modified-since", BEFORE)], Holds),
            (&[("if-unmodified-since", BEFORE)], Failed("If-Unmodified-Since")),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Holds),
            (&[("if-none-match", "\"x\""), ("if-modified-since", SAME)], Holds),
        ];
        for (pairs, expected) in cases {
            let conditions = Conditions::of_request(&headers(pairs)).expect("valid");
            assert_eq!(conditions.judge(ETAG, MODIFIED), expected, "{pairs:?}");
        }
        assert_eq!(
            Conditions::of_request(&headers(&[("if-modified-since", "soon")]))
                .expect("valid")
                .judge(ETAG, MODIFIED),
            Verdict::Holds
        );
        assert!(Conditions::of_request(&headers(&[("if-match", " ")])).is_err());
    }

    #[test]
    fn conditions_of_copies_fail_with_412() {
        let conditions =
            Conditions::of_copy_source(&headers(&[("x-amz-copy-source-if-none-match", "\"abc\"")]));
        assert_eq!(
            conditions.expect("valid").require(ETAG, MODIFIED).expect_err("fails").status.as_u16(),
            412
        );
    }

    #[test]
    fn ranges() {
        let cases = [
            ("bytes=0-4", Some((0, 5))),
            ("bytes=5-", Some((5, 10))),
            ("bytes=0-99", Some((0, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=-262144", Some((0, 10))),
            ("bytes=9-9", Some((9, 10))),
            ("bytes=0-99999999999999999999999", Some((0, 10))),
        ];
        for (text, expected) in cases {
            let range = parse_range(text).and_then(|range| range.within(10)).map(|r| (r.start, r.end));
            assert_eq!(range, expected, "{text}");
        }
        for text in ["bytes=10-", "bytes=-0", "bytes=99999999999999999999999-"] {
            let error = wanted_range(&headers(&[("range", text)]), 10, ETAG, MODIFIED).expect_err(text);
            assert_eq!((error.status.as_u16(), error.headers[0].1.as_bytes()), (416, &b"bytes */10"[..]));
        }
        for text in ["bytes=4-2", "bytes=0-1,3-4", "bytes=a-b", "items=0-1", "bytes=-", "bytes", "bytes=+1-2"]
        {
            let wanted = wanted_range(&headers(&[("range", text)]), 10, ETAG, MODIFIED).expect(text);
            assert_eq!(wanted, Wanted::Whole, "{text}");
        }
    }

    #[test]
    fn an_empty_object_has_no_range() {
        let error = wanted_range(&headers(&[("range", "bytes=-5")]), 0, ETAG, MODIFIED).expect_err("empty");
        assert_eq!(error.code, "InvalidRange");
    }

    #[test]
    fn if_range_decides_whether_the_range_counts() {
        for (value, part) in [("\"abc\"", true), ("\"old\"", false), (SAME, true), (BEFORE, false)] {
            let map = headers(&[("range", "bytes=0-1"), ("if-range", value)]);
            let wanted = wanted_range(&map, 10, ETAG, MODIFIED).expect("valid");
            assert_eq!(wanted == Wanted::Part(0..2), part, "{value}");
        }
    }
}
