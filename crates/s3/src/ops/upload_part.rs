//! UploadPart.

use super::receive::{announced_size, checksum_headers, etag_header, receive};
use crate::attributes;
use crate::call::Call;
use crate::checksum::{Algorithm, Verifier};
use crate::error::{S3Error, S3Result};
use crate::payload::Payload;
use crate::response::{Response, empty};
use http::StatusCode;
use millpond_service::limits::PART_NUMBER_MAX;
use millpond_service::{UploadInfo, to_the_end};

pub(crate) async fn run(call: &Call, payload: &mut Payload) -> S3Result<Response> {
    announced_size(payload)?;
    attributes::refuse_unsupported(call.headers())?;
    let verifier = Verifier::new(call.headers())?;
    let number = number(call)?;
    let target = call.target().await?;
    let id = upload_id(call);
    let upload = call.service.get_upload(&call.caller, &target.repo, &target.branch, &target.path, id).await;
    let upload = match upload {
        Ok(upload) => upload,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let verifier = of_upload(verifier, &upload)?;
    let sha256 = payload.verified_sha256();
    let started = call
        .service
        .put_part(&call.caller, &target.repo, &target.branch, &target.path, id, number, sha256)
        .await;
    let mut part = match started {
        Ok(part) => part,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let checksums = receive(&mut part, payload, verifier).await?;
    let info = match to_the_end(part.finish(checksums)).await {
        Ok(info) => info,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let mut response = empty(StatusCode::OK);
    etag_header(&hex::encode(info.md5), response.headers_mut());
    checksum_headers(&info.checksums, response.headers_mut());
    // The type belongs to objects, not to parts.
    response.headers_mut().remove("x-amz-checksum-type");
    Ok(response)
}

/// `uploadId` of the request.
pub(crate) fn upload_id(call: &Call) -> &str {
    call.query.get("uploadId").unwrap_or_default()
}

/// `partNumber` of the request.
pub(crate) fn number(call: &Call) -> S3Result<u32> {
    match call.query.number("partNumber", u64::from(PART_NUMBER_MAX))? {
        Some(number @ 1..) => Ok(number as u32),
        _ => Err(S3Error::invalid_argument(format!("partNumber must be 1 to {PART_NUMBER_MAX}"))),
    }
}

/// Parts carry the checksum that their upload was created with; where the client sends none, we compute it.
pub(crate) fn of_upload(verifier: Verifier, upload: &UploadInfo) -> S3Result<Verifier> {
    if upload.checksum_algorithm.is_empty() {
        return Ok(verifier);
    }
    let algorithm = Algorithm::parse(&upload.checksum_algorithm)?;
    match verifier.algorithm() {
        Some(sent) if sent != algorithm => Err(S3Error::invalid_request(format!(
            "the upload was created with {}, this part carries {}",
            algorithm.name(),
            sent.name()
        ))),
        _ => Ok(verifier.or_compute(algorithm)),
    }
}
