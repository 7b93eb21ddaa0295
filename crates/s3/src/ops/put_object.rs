//! PutObject.

use super::receive::{announced_size, checksum_headers, etag_header, receive};
use crate::attributes;
use crate::call::Call;
use crate::checksum::Verifier;
use crate::conditions::write_condition;
use crate::error::{S3Error, S3Result};
use crate::payload::Payload;
use crate::response::{Response, empty};
use http::StatusCode;
use millpond_service::{PutRequest, to_the_end};

/// MD5 of nothing.
const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

pub(crate) async fn run(call: &Call, payload: &mut Payload) -> S3Result<Response> {
    let size = announced_size(payload)?;
    attributes::refuse_unsupported(call.headers())?;
    if call.key().path == Some("") {
        return directory_marker(call, payload, size).await;
    }
    let attributes = attributes::from_headers(call.headers())?;
    let verifier = Verifier::new(call.headers())?;
    let target = call.target().await?;
    let request = PutRequest {
        attributes,
        condition: write_condition(call.headers())?,
        force: false,
        verified_sha256: payload.verified_sha256(),
        size_hint: Some(size),
    };
    let started =
        call.service.put_object(&call.caller, &target.repo, &target.branch, &target.path, request).await;
    let mut upload = match started {
        Ok(upload) => upload,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let extra = receive(&mut upload, payload, verifier).await?;
    let info = match to_the_end(upload.finish(extra)).await {
        Ok(info) => info,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let mut response = empty(StatusCode::OK);
    etag_header(&info.entry.checksum.to_text(), response.headers_mut());
    checksum_headers(&info.entry.extra, response.headers_mut());
    Ok(response)
}

/// `PUT repo/branch/`: Arrow makes a "directory" out of the branch before it writes. There is nothing to
/// make, and nothing is dropped silently: a body is refused.
async fn directory_marker(call: &Call, payload: &mut Payload, size: u64) -> S3Result<Response> {
    if size > 0 {
        return Err(S3Error::invalid_argument("an object needs a path: <branch>/<path>"));
    }
    let repo = call.repository()?;
    let branch = call.branch(&repo, call.key()).await?;
    if let Err(error) = call.service.get_branch(&call.caller, &repo, &branch).await {
        return Err(
            crate::call::write_error(&call.service, &call.caller, &repo, branch.as_str(), error).await
        );
    }
    payload.all(0).await?;
    let mut response = empty(StatusCode::OK);
    etag_header(EMPTY_MD5, response.headers_mut());
    Ok(response)
}
