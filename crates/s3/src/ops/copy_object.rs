//! CopyObject: within a repository without moving bytes, across repositories by reading and writing.

use super::receive::transfer;
use crate::address::{Key, copy_source};
use crate::attributes;
use crate::call::Call;
use crate::checksum::{Extra, Type, Verifier, stored};
use crate::conditions::{Conditions, write_condition};
use crate::date;
use crate::error::{S3Error, S3Result};
use crate::response::{Response, xml};
use crate::xml::Writer;
use millpond_service::limits::PUT_BYTES_MAX;
use millpond_service::{
    Attributes, Entry, EtagMatch, ObjectInfo, ObjectPath, PutRequest, RefExpr, RepositoryName,
    WriteCondition, to_the_end,
};

/// Where the bytes come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub repo: RepositoryName,
    pub at: RefExpr,
    pub path: ObjectPath,
}

impl Source {
    /// From `x-amz-copy-source`.
    pub fn of(call: &Call) -> S3Result<(Self, String)> {
        let value = call
            .headers()
            .get("x-amz-copy-source")
            .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
            .ok_or_else(|| S3Error::invalid_argument("x-amz-copy-source is not UTF-8"))?;
        let (repo, key) = copy_source(value)?;
        let (at, path) = Key::of(&key).to_read()?;
        Ok((Self { repo, at, path }, key))
    }
}

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    attributes::refuse_unsupported(call.headers())?;
    let (source, source_key) = Source::of(call)?;
    let replacement = match call.header("x-amz-metadata-directive") {
        None | Some("COPY") => None,
        Some("REPLACE") => Some(attributes::from_headers(call.headers())?),
        Some(_) => return Err(S3Error::invalid_argument("x-amz-metadata-directive must be COPY or REPLACE")),
    };
    let target = call.target().await?;
    if source.repo == target.repo && source_key == call.raw_key() && replacement.is_none() {
        return Err(S3Error::invalid_request(
            "copying an object onto itself changes nothing; send x-amz-metadata-directive: REPLACE",
        ));
    }
    let conditions = Conditions::of_copy_source(call.headers())?;
    let condition = write_condition(call.headers())?;
    let outcome = if source.repo == target.repo {
        within(call, &source, &target, replacement, conditions, condition).await
    } else {
        // Boxed: nearly all copies are of the other kind, and would carry its room.
        Box::pin(across(call, &source, &target, replacement, conditions, condition)).await
    };
    Ok(xml(document("CopyObjectResult", &outcome?.entry)))
}

async fn within(
    call: &Call,
    source: &Source,
    target: &crate::call::Target,
    replacement: Option<Attributes>,
    conditions: Conditions,
    condition: WriteCondition,
) -> S3Result<ObjectInfo> {
    let mut source_condition = WriteCondition::default();
    if !conditions.is_empty() {
        let info = call.service.stat_object(&call.caller, &source.repo, &source.at, &source.path).await?;
        let etag = info.entry.checksum.to_text();
        conditions.require(&etag, info.entry.mtime)?;
        // What was judged is what is copied.
        source_condition.if_match = Some(EtagMatch::OneOf(vec![etag]));
    }
    let (service, caller) = (call.service.clone(), call.caller.clone());
    let (from, to) = (source.clone(), target.clone());
    let done = to_the_end(async move {
        service
            .copy_object(
                &caller,
                &from.repo,
                &from.at,
                &from.path,
                &to.repo,
                &to.branch,
                &to.path,
                replacement,
                source_condition,
                condition,
                false,
            )
            .await
    });
    match done.await {
        Ok(info) => Ok(info),
        Err(error) => Err(call.write_error(target, error).await),
    }
}

async fn across(
    call: &Call,
    source: &Source,
    target: &crate::call::Target,
    replacement: Option<Attributes>,
    conditions: Conditions,
    condition: WriteCondition,
) -> S3Result<ObjectInfo> {
    let object = call.service.open_object(&call.caller, &source.repo, &source.at, &source.path).await?;
    let entry = &object.info.entry;
    conditions.require(&entry.checksum.to_text(), entry.mtime)?;
    if entry.size > PUT_BYTES_MAX {
        let message = format!("one copy takes at most {PUT_BYTES_MAX} bytes; copy by parts");
        return Err(S3Error::invalid_request(message));
    }
    let request = PutRequest {
        attributes: replacement.unwrap_or_else(|| (*entry.attributes).clone()),
        condition,
        force: false,
        verified_sha256: None,
        size_hint: Some(entry.size),
    };
    let started =
        call.service.put_object(&call.caller, &target.repo, &target.branch, &target.path, request).await;
    let mut upload = match started {
        Ok(upload) => upload,
        Err(error) => return Err(call.write_error(target, error).await),
    };
    // The same algorithm, now over the whole object.
    let verifier = match stored(&entry.extra) {
        Some((algorithm, _, Type::Composite)) => {
            Some(Verifier::new(&http::HeaderMap::new())?.or_compute(algorithm))
        }
        _ => None,
    };
    let kept = match stored(&entry.extra) {
        Some((algorithm, text, Type::FullObject)) => {
            Extra::from([(algorithm.key().to_owned(), bytes::Bytes::copy_from_slice(text.as_bytes()))])
        }
        _ => Extra::new(),
    };
    let mut extra = transfer(&mut upload, object.read(0..entry.size), verifier).await?;
    extra.extend(kept);
    match to_the_end(upload.finish(extra)).await {
        Ok(info) => Ok(info),
        Err(error) => Err(call.write_error(target, error).await),
    }
}

/// `CopyObjectResult` or `CopyPartResult`.
fn document(root: &'static str, entry: &Entry) -> bytes::Bytes {
    result_document(root, &entry.checksum.to_text(), entry.mtime, &entry.extra)
}

/// The same from its facts.
pub(crate) fn result_document(
    root: &'static str,
    etag: &str,
    modified: millpond_service::Timestamp,
    extra: &Extra,
) -> bytes::Bytes {
    let mut document = Writer::new(root);
    document.leaf("LastModified", &date::format_iso(modified)).leaf("ETag", &format!("\"{etag}\""));
    if let Some((algorithm, text, kind)) = stored(extra) {
        document.leaf(algorithm.element(), text).leaf("ChecksumType", kind.name());
    }
    document.finish()
}
