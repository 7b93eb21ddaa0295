//! Objects: upload, read, list, copy, delete (areas 16 and 17).

use crate::call::{Call, path, reference};
use crate::error::{Handled, Refusal, status_of};
use crate::form::{Form, parameter};
use crate::json;
use crate::messages::{
    List, ObjectCopyCreation, ObjectError, ObjectErrorList, ObjectStats, PathList, PathType,
    UnderlyingObjectProperties, UpdateObjectUserMetadata, UserMetadata,
};
use crate::range::{self, Asked};
use crate::schema::Nullable;
use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use millpond_service::{
    Attributes, Content, ContentHash, Entry, EtagMatch, Kind, ListItem, ListRequest, ObjectInfo, ObjectPath,
    OpenObject, Pin, PutRequest, Timestamp, Upload, WriteCondition, limits,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// The type that reads show of an object without one.
const OCTET_STREAM: &str = "application/octet-stream";
/// Types that a browser may show in place (API-17.5).
const INLINE_TYPES: &[&str] = &[
    "image/jpeg",
    "image/jpg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/svg+xml",
    "application/pdf",
    "text/plain",
    "text/markdown",
    "text/x-markdown",
    "text/html",
    "text/css",
    "text/javascript",
    "application/javascript",
    "application/json",
    "application/xml",
    "text/xml",
    "video/mp4",
    "video/webm",
    "audio/mpeg",
    "audio/wav",
    "audio/webm",
];

// --- reading -------------------------------------------------------------------------------------

/// `GET /repositories/{repository}/refs/{ref}/objects`
pub async fn get(call: Call) -> Handled {
    let at = call.reference("ref")?;
    let open = call.service.open_object(&call.caller, &call.repository()?, &at, &call.path("path")?).await?;
    let entry = &open.info.entry;
    let etag = etag(entry);
    if call.values.get("If-None-Match") == Some(etag.as_str()) {
        return Ok(json::empty(StatusCode::NOT_MODIFIED));
    }
    refuse_presign(call.flag("presign"))?;
    let content_type = content_type(&entry.attributes);
    let (status, range) = match call.values.get("Range").map(|text| range::parse(text, entry.size)) {
        None => (StatusCode::OK, 0..entry.size),
        Some(Asked::Bytes(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(refused) => {
            let refusal = Refusal::invalid("the range does not fit the object");
            let mut response = refusal.with_status(StatusCode::RANGE_NOT_SATISFIABLE).into_response();
            let headers = response.headers_mut();
            json::set(headers, header::ETAG, &etag);
            headers.insert(header::CONTENT_DISPOSITION, disposition(content_type));
            if refused == Asked::Beyond {
                json::set(headers, header::CONTENT_RANGE, &format!("bytes */{}", entry.size));
            }
            return Ok(response);
        }
    };
    let mut response = Response::new(body(&open, range.clone()).await?);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    object_headers(headers, entry, &etag, status, &range);
    headers.insert(header::CONTENT_DISPOSITION, disposition(content_type));
    strangers_bytes(headers);
    Ok(response)
}

/// What is sent is a stranger's bytes on the origin of the API: a browser may neither run nor frame it, and
/// `default-src` does not stop a form from posting to the API.
fn strangers_bytes(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    let policy = HeaderValue::from_static("default-src 'none'; form-action 'none'; base-uri 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
}

/// `GET /repositories/{repository}/metadata/object/{type}/{object_id}`: a node of a tree as it is stored, or a file of
/// a dump (API-23.2).
pub async fn metadata_object(call: Call) -> Handled {
    call.require_repository()?;
    if !matches!(call.text("type"), "range" | "meta_range") {
        return Err(Refusal::invalid("the type of a metadata object is 'range' or 'meta_range'"));
    }
    refuse_presign(call.flag("presign"))?;
    let text = call.text("object_id");
    // A text that can be no id of ours becomes one that nothing has.
    let id = ContentHash::from_hex(text).unwrap_or_else(|_| ContentHash::of(text.as_bytes()));
    let bytes = call.service.metadata_object(&call.caller, &call.repository()?, &id).await?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM));
    headers.insert(header::CONTENT_DISPOSITION, disposition(OCTET_STREAM));
    strangers_bytes(headers);
    Ok(response)
}

/// `HEAD /repositories/{repository}/refs/{ref}/objects`
pub async fn head(call: Call) -> Handled {
    let at = call.reference("ref")?;
    let info = call.service.stat_object(&call.caller, &call.repository()?, &at, &call.path("path")?).await?;
    let entry = &info.entry;
    let etag = etag(entry);
    let (status, range) = match call.values.get("Range").map(|text| range::parse(text, entry.size)) {
        None => (StatusCode::OK, 0..entry.size),
        Some(Asked::Bytes(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Asked::Beyond | Asked::NoRange) => {
            let mut response = json::empty(StatusCode::RANGE_NOT_SATISFIABLE);
            json::set(response.headers_mut(), header::ETAG, &etag);
            set_content_type(response.headers_mut(), entry);
            return Ok(response);
        }
    };
    let mut response = json::empty(status);
    object_headers(response.headers_mut(), entry, &etag, status, &range);
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// `GET /repositories/{repository}/refs/{ref}/objects/stat`
pub async fn stat(call: Call) -> Handled {
    let at = call.reference("ref")?;
    let info = call.service.stat_object(&call.caller, &call.repository()?, &at, &call.path("path")?).await?;
    refuse_presign(call.flag("presign"))?;
    let mut stats = stats(&info);
    if !call.flag_or("user_metadata", true) {
        stats.metadata = Some(UserMetadata(None));
    }
    json::ok(&stats)
}

/// `GET /repositories/{repository}/refs/{ref}/objects/ls`
pub async fn list(call: Call) -> Handled {
    let at = call.reference("ref")?;
    let request = ListRequest {
        prefix: call.bytes("prefix"),
        after: call.bytes("after"),
        delimiter: call.bytes("delimiter"),
        amount: call.amount(),
    };
    let listing =
        call.service.list_objects(&call.caller, &call.repository()?, &at, request, Pin::Unpinned).await?;
    let any_object = listing.items.iter().any(|item| matches!(item, ListItem::Object(_)));
    refuse_presign(call.flag("presign") && any_object)?;
    let with_metadata = call.flag_or("user_metadata", true);
    let with_verified = call.flag("verified");
    let lines: Vec<ObjectStats<'_>> = listing
        .items
        .iter()
        .map(|item| match item {
            ListItem::Object(info) => {
                let stats = stats(info);
                let verified = with_verified.then_some(info.entry.content != Content::Declared);
                ObjectStats { metadata: stats.metadata.filter(|_| with_metadata), verified, ..stats }
            }
            ListItem::CommonPrefix(prefix) => ObjectStats {
                path: String::from_utf8_lossy(prefix),
                path_type: PathType::CommonPrefix,
                physical_address: "",
                checksum: String::new(),
                mtime: 0,
                size_bytes: None,
                physical_address_expiry: None,
                metadata: None,
                content_type: None,
                verified: None,
            },
        })
        .collect();
    let last = lines.last().map_or(Cow::Borrowed(""), |line| line.path.clone());
    json::ok(&List::new(lines, listing.has_more, &last))
}

/// `GET /repositories/{repository}/refs/{ref}/objects/underlyingProperties`: this store has no storage
/// classes.
pub async fn underlying_properties(call: Call) -> Handled {
    let at = call.reference("ref")?;
    call.service.stat_object(&call.caller, &call.repository()?, &at, &call.path("path")?).await?;
    json::ok(&UnderlyingObjectProperties { storage_class: Some(Nullable(None)) })
}

/// An object as the API shows it.
pub fn stats(info: &ObjectInfo) -> ObjectStats<'_> {
    let entry = &info.entry;
    ObjectStats {
        path: info.path.to_text(),
        path_type: PathType::Object,
        physical_address: &info.physical_address,
        checksum: entry.checksum.to_text(),
        mtime: entry.mtime.seconds(),
        size_bytes: Some(entry.size),
        physical_address_expiry: None,
        metadata: Some(UserMetadata(Some(&entry.attributes))),
        content_type: Some(content_type(&entry.attributes)),
        verified: None,
    }
}

/// The content type that reads show.
pub fn content_type(attributes: &Attributes) -> &str {
    if attributes.content_type.is_empty() { OCTET_STREAM } else { &attributes.content_type }
}

/// No link can be signed for a store on this machine's disk (API-17.9).
fn refuse_presign(asked: bool) -> Handled<()> {
    if asked { Err(Refusal::invalid("this server's store cannot presign links")) } else { Ok(()) }
}

fn etag(entry: &Entry) -> String {
    format!("\"{}\"", entry.checksum.to_text())
}

fn disposition(content_type: &str) -> HeaderValue {
    let inline = INLINE_TYPES.contains(&content_type);
    HeaderValue::from_static(if inline { "inline" } else { "attachment" })
}

/// A content type that is no header value (it may come from JSON) is shown as bytes.
fn set_content_type(headers: &mut HeaderMap, entry: &Entry) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM));
    json::set(headers, header::CONTENT_TYPE, content_type(&entry.attributes));
}

fn object_headers(
    headers: &mut HeaderMap,
    entry: &Entry,
    etag: &str,
    status: StatusCode,
    range: &Range<u64>,
) {
    json::set(headers, header::ETAG, etag);
    json::set(headers, header::LAST_MODIFIED, &http_date(entry.mtime));
    set_content_type(headers, entry);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, must-revalidate"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), entry.size);
        json::set(headers, header::CONTENT_RANGE, &text);
    }
}

/// The date form of RFC 9110; empty for dates that it cannot say.
fn http_date(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds())
        .ok()
        .and_then(|time| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok())
        .unwrap_or_default()
}

/// The bytes as a response body. The first piece is read before the answer starts, so that data that is
/// gone or damaged gets a status of its own; later failures break the connection off.
async fn body(open: &OpenObject, range: Range<u64>) -> Handled<Body> {
    let length = range.end - range.start;
    if length == 0 {
        return Ok(Body::empty());
    }
    let mut pieces = open.read(range);
    let first = pieces.next().await.transpose()?.unwrap_or_default();
    if first.len() as u64 == length {
        return Ok(Body::from(first));
    }
    let rest = pieces.inspect_err(|error| tracing::error!(%error, "an object could not be read to its end"));
    Ok(Body::from_stream(futures::stream::once(std::future::ready(Ok(first))).chain(rest)))
}

// --- writing -------------------------------------------------------------------------------------

/// `POST /repositories/{repository}/branches/{branch}/objects`
pub async fn upload(mut call: Call) -> Handled {
    let mut body = call.take_body().into_data_stream();
    // What a refused client still sends is read and dropped by the server around this door.
    let upload = receive(&call, &mut body).await?;
    let info = millpond_service::to_the_end(upload.finish(BTreeMap::new())).await?;
    let mut stats = stats(&info);
    stats.content_type = Some(&info.entry.attributes.content_type);
    json::created(&stats)
}

/// Streams the body into an upload that is ready to be finished. Whatever fails on the way, the client
/// going away included, drops the upload and with it what was written.
async fn receive(call: &Call, body: &mut BodyDataStream) -> Handled<Upload> {
    let sent_type = match call.headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) {
        None => "",
        Some(Ok(text)) => text,
        Some(Err(_)) => return Err(Refusal::invalid("the Content-Type is not plain text")),
    };
    let media_type = sent_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("multipart/form-data") {
        let content_type = if sent_type.is_empty() { OCTET_STREAM } else { sent_type };
        let mut upload = begin(call, content_type, content_length(&call.headers)).await?;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Refusal::invalid(format!("the body broke off: {error}")))?;
            upload.write(piece).await?;
        }
        return Ok(upload);
    }
    let boundary = parameter(sent_type, "boundary").filter(|boundary| !boundary.is_empty());
    let Some(boundary) = boundary else {
        return Err(Refusal::invalid("the multipart Content-Type names no boundary"));
    };
    let mut form = Form::new(body, &boundary);
    loop {
        match form.next_part().await.map_err(|error| Refusal::invalid(error.0))? {
            None => return Err(Refusal::invalid("the multipart body has no part called 'content'")),
            Some(part) if part.name != "content" => continue,
            Some(part) => {
                let mut upload = begin(call, &part.content_type, None).await?;
                while let Some(piece) = form.piece().await.map_err(|error| Refusal::invalid(error.0))? {
                    upload.write(piece).await?;
                }
                // What follows is not wanted, but a cut-off form is not trusted (API-16.6).
                while form.next_part().await.map_err(|error| Refusal::invalid(error.0))?.is_some() {}
                return Ok(upload);
            }
        }
    }
}

async fn begin(call: &Call, content_type: &str, size_hint: Option<u64>) -> Handled<Upload> {
    let (condition, supported) = write_condition(call);
    let request = PutRequest {
        attributes: Attributes {
            content_type: content_type.to_owned(),
            metadata: metadata_of_headers(&call.headers)?,
        },
        condition,
        force: call.force(),
        verified_sha256: None,
        size_hint,
    };
    let (repo, branch, path) = (call.repository()?, call.branch()?, call.path("path")?);
    let upload = call.service.put_object(&call.caller, &repo, &branch, &path, request).await?;
    // Only after what the service refuses, as in API-16.1.
    if supported { Ok(upload) } else { Err(unsupported_condition()) }
}

/// The condition of a write, and whether it is all that the request asks: only `If-None-Match: *` is
/// offered through this API (API-16.10).
pub fn write_condition(call: &Call) -> (WriteCondition, bool) {
    let must_not_exist = call.values.get("If-None-Match");
    let condition = WriteCondition {
        if_match: None,
        if_none_match: (must_not_exist == Some("*")).then_some(EtagMatch::Any),
    };
    let supported = call.values.get("If-Match").is_none() && matches!(must_not_exist, None | Some("*"));
    (condition, supported)
}

/// The answer to other conditions.
pub fn unsupported_condition() -> Refusal {
    Refusal::not_implemented("the only condition offered here is If-None-Match: *")
}

/// User metadata in headers: `x-lakefs-meta-<key>`, and `x-lakefs-internal-<key>` for keys of clients
/// (API-16.8). The first value of a repeated header counts.
fn metadata_of_headers(headers: &HeaderMap) -> Handled<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("x-lakefs-") else { continue };
        let key = match (name.strip_prefix("meta-"), name.strip_prefix("internal-")) {
            (Some(key), _) => key.to_owned(),
            (_, Some(key)) => format!("::lakefs::{key}"),
            _ => continue,
        };
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Refusal::invalid(format!("the metadata value of {key} is not UTF-8")))?;
        metadata.entry(key).or_insert_with(|| text.to_owned());
    }
    Ok(metadata)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `POST /repositories/{repository}/branches/{branch}/objects/copy`
pub async fn copy(mut call: Call) -> Handled {
    let body: ObjectCopyCreation = call.message()?;
    let (repo, branch, to) = (call.repository()?, call.branch()?, call.path("dest_path")?);
    if body.shallow == Some(true) {
        call.service.get_branch(&call.caller, &repo, &branch).await?;
        return Err(Refusal::not_implemented("shallow copies are not offered; no copy moves bytes here"));
    }
    let from = path(&body.src_path)?;
    let source = match body.src_ref.as_deref() {
        None | Some("") => reference(branch.as_str())?,
        Some(text) => reference(text)?,
    };
    let force = body.force.unwrap_or(false);
    let info = call
        .change(|service, caller| async move {
            let any = WriteCondition::default;
            service
                .copy_object(&caller, &repo, &source, &from, &repo, &branch, &to, None, any(), any(), force)
                .await
        })
        .await?;
    json::created(&stats(&info))
}

/// `PUT /repositories/{repository}/branches/{branch}/objects/stat/user_metadata`
pub async fn set_metadata(mut call: Call) -> Handled {
    let body: UpdateObjectUserMetadata = call.message()?;
    let (repo, branch, path) = (call.repository()?, call.branch()?, call.path("path")?);
    call.change(|service, caller| async move {
        service.set_object_metadata(&caller, &repo, &branch, &path, body.set, false).await
    })
    .await?;
    json::done()
}

// --- deleting ------------------------------------------------------------------------------------

/// `DELETE /repositories/{repository}/branches/{branch}/objects`
pub async fn delete(call: Call) -> Handled {
    let (repo, branch, path) = (call.repository()?, call.branch()?, call.path("path")?);
    let force = call.force();
    call.change(|service, caller| async move {
        service.delete_object(&caller, &repo, &branch, &path, WriteCondition::default(), force).await
    })
    .await?;
    json::done()
}

/// `POST /repositories/{repository}/branches/{branch}/objects/delete`. All or nothing: where a path
/// breaks the rules or the branch refuses writes, every path carries that error and nothing is deleted.
pub async fn delete_many(mut call: Call) -> Handled {
    let body: PathList = call.message()?;
    if body.paths.len() > limits::DELETE_BATCH_MAX {
        return Err(Refusal::invalid(format!(
            "request size exceeded, max paths is set to {}",
            limits::DELETE_BATCH_MAX
        )));
    }
    let (repo, branch, force) = (call.repository()?, call.branch()?, call.force());
    let parsed: Handled<Vec<ObjectPath>> = body.paths.iter().map(|text| path(text)).collect();
    let paths = match parsed {
        Ok(paths) => paths.into_iter().map(|path| (path, WriteCondition::default())).collect(),
        Err(refusal) => return every_path_fails(&body.paths, refusal),
    };
    let outcome = call
        .change(|service, caller| async move {
            match service.delete_objects(&caller, &repo, &branch, paths, force).await {
                Ok(failures) => Ok(Ok(failures)),
                Err(error) if matches!(error.kind, Kind::Protected | Kind::ReadOnly) => Ok(Err(error)),
                Err(error) => Err(error),
            }
        })
        .await?;
    let failures = match outcome {
        Ok(failures) => failures,
        Err(error) => return every_path_fails(&body.paths, error.into()),
    };
    let errors = failures
        .iter()
        .map(|failure| ObjectError {
            status_code: u64::from(status_of(failure.error.kind).0.as_u16()),
            message: &failure.error.message,
            path: Some(String::from_utf8_lossy(&failure.path)),
        })
        .collect();
    json::ok(&ObjectErrorList { errors })
}

fn every_path_fails(paths: &[String], refusal: Refusal) -> Handled {
    let error = |path| ObjectError {
        status_code: u64::from(refusal.status.as_u16()),
        message: &refusal.message,
        path: Some(Cow::Borrowed(path)),
    };
    json::ok(&ObjectErrorList { errors: paths.iter().map(|path| error(path.as_str())).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_known_types_are_shown_in_place() {
        assert_eq!(disposition("text/plain"), "inline");
        assert_eq!(disposition("image/png"), "inline");
        assert_eq!(disposition("text/plain; charset=utf-8"), "attachment");
        assert_eq!(disposition("application/octet-stream"), "attachment");
        assert_eq!(disposition(""), "attachment");
    }

    #[test]
    fn dates_as_http_says_them() {
        assert_eq!(http_date(Timestamp(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(Timestamp(i64::MAX)), "");
    }

    #[test]
    fn metadata_headers_become_lower_case_keys() {
        let mut headers = HeaderMap::new();
        headers.append("X-LakeFS-Meta-Owner", "ann".parse().unwrap());
        headers.append("x-lakefs-meta-owner", "bob".parse().unwrap());
        headers.append("x-lakefs-internal-client-mtime", "1".parse().unwrap());
        headers.append("x-lakefs-client", "sdk".parse().unwrap());
        let metadata = metadata_of_headers(&headers).unwrap();
        let pairs: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("::lakefs::client-mtime", "1"), ("owner", "ann")]);
        headers.append("x-lakefs-meta-raw", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(metadata_of_headers(&headers).unwrap_err().status, 400);
    }
}
