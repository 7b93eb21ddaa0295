//! GetObject: conditions, ranges, parts, response overrides, checksums.

use super::receive::checksum_headers;
use crate::attributes;
use crate::call::Call;
use crate::conditions::{
    Conditions, Verdict, Wanted, not_modified, unsatisfiable, version_headers, wanted_range,
};
use crate::error::{S3Error, S3Result};
use crate::response::{BoxBody, Response, empty, full, streamed};
use bytes::Bytes;
use futures::stream::StreamExt;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use millpond_service::limits::PART_NUMBER_MAX;
use millpond_service::{ObjectInfo, OpenObject};
use std::ops::Range;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    call.check_version()?;
    let repo = call.repository()?;
    let (at, path) = call.key().to_read()?;
    let object = call.service.open_object(&call.caller, &repo, &at, &path).await?;
    match plan(call, &object.info, &object.part_sizes)? {
        Plan::Answer(response) => Ok(response),
        Plan::Send(mut response, range) => {
            *response.body_mut() = body(&object, range).await?;
            Ok(response)
        }
    }
}

/// The first piece is read before the answer begins, so that damage there is an error and not a cut answer.
async fn body(object: &OpenObject, range: Range<u64>) -> S3Result<BoxBody> {
    let length = range.end - range.start;
    if length == 0 {
        return Ok(full(Bytes::new()));
    }
    let mut pieces = object.read(range);
    let first = match pieces.next().await {
        Some(first) => first?,
        None => return Err(S3Error::internal("the stored object is shorter than its entry says")),
    };
    if first.len() as u64 == length {
        return Ok(full(first));
    }
    Ok(streamed(futures::stream::iter([Ok(first)]).chain(pieces).boxed(), length))
}

/// What a read answers with.
pub(crate) enum Plan {
    /// Complete already (304).
    Answer(Response),
    /// Headers are set; these bytes are to be sent.
    Send(Response, Range<u64>),
}

/// Judges the conditions and sets the headers of GET and HEAD.
pub(crate) fn plan(call: &Call, info: &ObjectInfo, part_sizes: &[u64]) -> S3Result<Plan> {
    let entry = &info.entry;
    let etag = entry.checksum.to_text();
    match Conditions::of_request(call.headers())?.judge(&etag, entry.mtime) {
        Verdict::Holds => {}
        Verdict::NotModified => return Ok(Plan::Answer(not_modified(&etag, entry.mtime))),
        Verdict::Failed(condition) => return Err(S3Error::precondition_failed(condition)),
    }
    let wanted = match part_number(call)? {
        Some(number) => part_range(number, part_sizes, entry.size)?,
        None => wanted_range(call.headers(), entry.size, &etag, entry.mtime)?,
    };
    let (status, range) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..entry.size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.reserve(16);
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), entry.size);
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(CONTENT_RANGE, value);
        }
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    version_headers(&etag, entry.mtime, headers);
    attributes::to_headers(&entry.attributes, |name| call.query.get(name), headers);
    // Objects are strangers' bytes on the origin of the API and the UI: no sniffing, no scripts.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if call.query.has("partNumber") && !part_sizes.is_empty() {
        let count = HeaderValue::from(part_sizes.len() as u64);
        headers.insert(HeaderName::from_static("x-amz-mp-parts-count"), count);
    }
    // A checksum is of the whole object; clients would compare it with the part they get.
    let whole = range == (0..entry.size);
    if whole && call.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled")) {
        checksum_headers(&entry.extra, headers);
    }
    Ok(Plan::Send(response, range))
}

/// The `partNumber` of a read, which excludes `Range`.
pub(crate) fn part_number(call: &Call) -> S3Result<Option<u32>> {
    let Some(number) = call.query.number("partNumber", u64::from(PART_NUMBER_MAX))? else { return Ok(None) };
    if number == 0 {
        return Err(S3Error::invalid_argument("part numbers start at 1"));
    }
    if call.headers().contains_key(RANGE) {
        return Err(S3Error::invalid_request("Range and partNumber cannot be used together"));
    }
    Ok(Some(number as u32))
}

fn part_range(number: u32, part_sizes: &[u64], size: u64) -> S3Result<Wanted> {
    let whole = [size];
    let sizes = if part_sizes.is_empty() { &whole[..] } else { part_sizes };
    let index = number as usize - 1;
    let Some(length) = sizes.get(index) else {
        let mut error = unsatisfiable(size);
        error.code = "InvalidPartNumber";
        error.message = format!("the object has {} parts", sizes.len());
        return Err(error);
    };
    let start: u64 = sizes[..index].iter().sum();
    Ok(if *length == 0 { Wanted::Whole } else { Wanted::Part(start..start + length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_ranges() {
        let range = |number, sizes: &[u64], size| part_range(number, sizes, size);
        assert_eq!(range(2, &[5, 3, 2], 10).expect("there"), Wanted::Part(5..8));
        assert_eq!(range(1, &[], 10).expect("there"), Wanted::Part(0..10));
        assert_eq!(range(1, &[], 0).expect("there"), Wanted::Whole);
        for (number, sizes) in [(4, &[5u64, 3, 2][..]), (2, &[])] {
            let error = range(number, sizes, 10).expect_err("beyond");
            assert_eq!((error.status.as_u16(), error.code), (416, "InvalidPartNumber"));
        }
    }
}
