//! ListObjects and ListObjectsV2. A prefix without a slash lists branches (API-29.6), any other the objects of
//! the ref before its first slash.
//!
//! V2 tokens pin the state that the first page saw; V1's `marker` reads the branch as it is now.

use crate::call::Call;
use crate::checksum::stored;
use crate::date;
use crate::error::{S3Error, S3Result};
use crate::query::encode_key;
use crate::response::{Response, xml};
use crate::xml::Writer;
use bytes::Bytes;
use millpond_service::limits::{PAGE_ITEMS_MAX, PREFIX_BYTES_MAX, S3_PREFIX_BYTES_MAX};
use millpond_service::{Kind, ListItem, ListRequest, ObjectInfo, PageRequest, Pin, RefExpr};

pub(crate) async fn run_v1(call: &Call) -> S3Result<Response> {
    let request = Request::of(call)?;
    let marker = call.query.get("marker").unwrap_or_default();
    let found = request.list(call, Start::After { key: marker, pin: Pin::Unpinned }).await?;
    let mut document = request.head(call);
    document.leaf("Marker", &request.show(marker.as_bytes()));
    // As S3 does: without a delimiter the last key is the next marker.
    if let Some(last) = found.lines.last().filter(|_| found.truncated && !request.delimiter.is_empty()) {
        document.leaf("NextMarker", &request.show(last.name()));
    }
    request.tail(call, document, &found, true)
}

pub(crate) async fn run_v2(call: &Call) -> S3Result<Response> {
    let request = Request::of(call)?;
    let token = call.query.get("continuation-token");
    let start_after = call.query.get("start-after");
    let start = match token {
        Some(token) => Start::Token(token),
        None => Start::After { key: start_after.unwrap_or_default(), pin: Pin::Start },
    };
    let found = request.list(call, start).await?;
    let mut document = request.head(call);
    document.value("KeyCount", found.lines.len());
    if let Some(token) = token {
        document.leaf("ContinuationToken", token);
    }
    if let Some(next) = &found.next {
        document.leaf("NextContinuationToken", next);
    }
    if let Some(start_after) = start_after.filter(|text| !text.is_empty()) {
        document.leaf("StartAfter", &request.show(start_after.as_bytes()));
    }
    let owner = call.query.get("fetch-owner").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    request.tail(call, document, &found, owner)
}

/// What both versions ask for.
#[derive(Debug)]
struct Request<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    max: usize,
    encoded: bool,
}

/// Where the page begins.
#[derive(Debug, Clone, Copy)]
enum Start<'a> {
    /// Only keys and prefixes greater than this key; empty for the start. Version 2 pins what it shows.
    After { key: &'a str, pin: Pin<'a> },
    /// Where the page with this token ended.
    Token(&'a str),
}

/// One line of the answer; names include the ref.
enum Line {
    Object { key: Vec<u8>, info: Box<ObjectInfo> },
    Prefix(Vec<u8>),
}

impl Line {
    fn name(&self) -> &[u8] {
        match self {
            Self::Object { key, .. } => key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

struct Found {
    lines: Vec<Line>,
    truncated: bool,
    next: Option<String>,
}

impl<'a> Request<'a> {
    fn of(call: &'a Call) -> S3Result<Self> {
        let text = |name: &str| call.query.get(name).unwrap_or_default();
        let (prefix, delimiter) = (text("prefix"), text("delimiter"));
        if prefix.len() > S3_PREFIX_BYTES_MAX || delimiter.len() > PREFIX_BYTES_MAX {
            return Err(S3Error::invalid_argument("prefix or delimiter is too long"));
        }
        let encoded = match call.query.get("encoding-type") {
            None => false,
            Some("url") => true,
            Some(_) => return Err(S3Error::invalid_argument("encoding-type must be url")),
        };
        let max = call.query.number("max-keys", i32::MAX as u64)?.unwrap_or(PAGE_ITEMS_MAX as u64);
        Ok(Self { prefix, delimiter, max: max.min(PAGE_ITEMS_MAX as u64) as usize, encoded })
    }

    fn show(&self, name: &[u8]) -> String {
        if self.encoded { encode_key(name) } else { String::from_utf8_lossy(name).into_owned() }
    }

    async fn list(&self, call: &Call, start: Start<'_>) -> S3Result<Found> {
        let none = || Found { lines: Vec::new(), truncated: false, next: None };
        if self.max == 0 {
            call.service.get_repository(&call.caller, &call.repository()?).await?;
            return Ok(none());
        }
        // A leading slash is tolerated (API-29.7), but it has to name a ref.
        let prefix = self.prefix.strip_prefix('/').unwrap_or(self.prefix);
        match prefix.split_once('/') {
            None if prefix.is_empty() && !self.prefix.is_empty() => {
                Err(S3Error::invalid_argument("the prefix '/' names no branch, tag or commit"))
            }
            None => self.branches(call, prefix, start).await,
            Some((at, rest)) => match Position::of(at, start)? {
                Position::BeyondTheEnd => {
                    call.service.get_repository(&call.caller, &call.repository()?).await?;
                    Ok(none())
                }
                Position::After(after) => {
                    let pin = match start {
                        Start::After { pin, .. } => pin,
                        Start::Token(_) => Pin::Start,
                    };
                    self.objects(call, at, rest, after, pin).await
                }
                Position::Pinned(token) => self.objects(call, at, rest, "", Pin::Continue(token)).await,
            },
        }
    }

    async fn branches(&self, call: &Call, prefix: &str, start: Start<'_>) -> S3Result<Found> {
        let after = match start {
            // The line of branch `b` is `b/`: a marker at or in it leaves it out.
            Start::After { key, .. } => key.split('/').next().unwrap_or_default(),
            Start::Token(token) => token.strip_prefix(BRANCH_TOKEN).ok_or_else(bad_token)?,
        };
        let request = PageRequest { prefix: prefix.to_owned(), after: after.to_owned(), amount: self.max };
        let page = call.service.list_branches(&call.caller, &call.repository()?, request, false).await?;
        let last = page.items.last().map(|branch| branch.name.as_str());
        let next = last.filter(|_| page.has_more).map(|name| format!("{BRANCH_TOKEN}{name}"));
        let lines =
            page.items.iter().map(|branch| Line::Prefix(format!("{}/", branch.name).into_bytes())).collect();
        Ok(Found { lines, truncated: page.has_more, next })
    }

    async fn objects(&self, call: &Call, at: &str, rest: &str, after: &str, pin: Pin<'_>) -> S3Result<Found> {
        let repo = call.repository()?;
        let expression =
            RefExpr::parse(at).map_err(|error| S3Error::new(404, "NoSuchBucket", error.to_string()))?;
        let request = ListRequest {
            prefix: Bytes::copy_from_slice(rest.as_bytes()),
            after: Bytes::copy_from_slice(after.as_bytes()),
            delimiter: Bytes::copy_from_slice(self.delimiter.as_bytes()),
            amount: self.max,
        };
        let page = call.service.list_objects(&call.caller, &repo, &expression, request, pin).await;
        let page = page.map_err(|error| match error.kind {
            Kind::Invalid if matches!(pin, Pin::Continue(_)) => S3Error::invalid_argument(error.message),
            _ => call.listing_error(error),
        })?;
        let name = |path: &[u8]| [at.as_bytes(), b"/", path].concat();
        let lines = page.items.into_iter().map(|item| match item {
            ListItem::Object(info) => Line::Object { key: name(info.path.as_bytes()), info: Box::new(info) },
            ListItem::CommonPrefix(prefix) => Line::Prefix(name(&prefix)),
        });
        let next = page.pin.filter(|_| page.has_more).map(|pin| format!("{OBJECT_TOKEN}{pin}"));
        Ok(Found { lines: lines.collect(), truncated: page.has_more, next })
    }

    fn head(&self, call: &Call) -> Writer {
        let mut document = Writer::new("ListBucketResult");
        document.leaf("Name", call.bucket()).leaf("Prefix", &self.show(self.prefix.as_bytes()));
        document
    }

    fn tail(&self, call: &Call, mut document: Writer, found: &Found, owner: bool) -> S3Result<Response> {
        document.value("MaxKeys", self.max);
        if !self.delimiter.is_empty() {
            document.leaf("Delimiter", &self.show(self.delimiter.as_bytes()));
        }
        if self.encoded {
            document.leaf("EncodingType", "url");
        }
        document.value("IsTruncated", found.truncated);
        for line in &found.lines {
            let Line::Object { key, info } = line else { continue };
            let entry = &info.entry;
            document
                .open("Contents")
                .leaf("Key", &self.show(key))
                .leaf("LastModified", &date::format_iso(entry.mtime))
                .leaf("ETag", &format!("\"{}\"", entry.checksum.to_text()));
            if let Some((algorithm, _, kind)) = stored(&entry.extra) {
                document.leaf("ChecksumAlgorithm", algorithm.name()).leaf("ChecksumType", kind.name());
            }
            document.value("Size", entry.size);
            if owner {
                document
                    .open("Owner")
                    .leaf("ID", call.owner())
                    .leaf("DisplayName", call.owner())
                    .close("Owner");
            }
            document.leaf("StorageClass", "STANDARD").close("Contents");
        }
        for line in &found.lines {
            if let Line::Prefix(prefix) = line {
                document.open("CommonPrefixes").leaf("Prefix", &self.show(prefix)).close("CommonPrefixes");
            }
        }
        Ok(xml(document.finish()))
    }
}

/// Tokens begin with what they continue.
const BRANCH_TOKEN: &str = "b.";
const OBJECT_TOKEN: &str = "o.";

fn bad_token() -> S3Error {
    S3Error::invalid_argument("the continuation token is not one of this listing; start again without it")
}

/// Where in a ref's objects a page begins.
#[derive(Debug, PartialEq, Eq)]
enum Position<'a> {
    /// After this path.
    After(&'a str),
    /// As the pin of the page before says.
    Pinned(&'a str),
    /// After everything that the prefix can match.
    BeyondTheEnd,
}

impl<'a> Position<'a> {
    fn of(at: &str, start: Start<'a>) -> S3Result<Self> {
        match start {
            Start::Token(token) => token.strip_prefix(OBJECT_TOKEN).map(Self::Pinned).ok_or_else(bad_token),
            Start::After { key: marker, .. } => {
                let marker = marker.strip_prefix('/').unwrap_or(marker);
                match marker.strip_prefix(at).and_then(|rest| rest.strip_prefix('/')) {
                    Some(path) => Ok(Self::After(path)),
                    None if marker < format!("{at}/").as_str() => Ok(Self::After("")),
                    None => Ok(Self::BeyondTheEnd),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_keys() {
        let position =
            |marker| Position::of("main", Start::After { key: marker, pin: Pin::Start }).expect("valid");
        assert_eq!(position(""), Position::After(""));
        assert_eq!(position("main/"), Position::After(""));
        assert_eq!(position("main/a/b"), Position::After("a/b"));
        assert_eq!(position("/main/a"), Position::After("a"));
        assert_eq!(position("alpha/z"), Position::After(""));
        assert_eq!(position("main"), Position::After(""));
        assert_eq!(position("main0"), Position::BeyondTheEnd);
        assert_eq!(position("zeta/a"), Position::BeyondTheEnd);
    }

    #[test]
    fn tokens_belong_to_their_listing() {
        assert_eq!(Position::of("main", Start::Token("o.xyz")).expect("valid"), Position::Pinned("xyz"));
        for token in ["b.main", "main/a", ""] {
            assert_eq!(Position::of("main", Start::Token(token)).expect_err(token).code, "InvalidArgument");
        }
    }
}
