//! UploadPartCopy: a part from a range of an object.

use super::copy_object::{Source, result_document};
use super::receive::transfer;
use super::upload_part::{number, of_upload, upload_id};
use crate::attributes;
use crate::call::Call;
use crate::checksum::Verifier;
use crate::conditions::{Conditions, RangeSpec, parse_range, unsatisfiable};
use crate::error::{S3Error, S3Result};
use crate::response::{Response, xml};
use http::HeaderMap;
use millpond_service::limits::PUT_BYTES_MAX;
use millpond_service::to_the_end;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    attributes::refuse_unsupported(call.headers())?;
    let (source, _) = Source::of(call)?;
    let number = number(call)?;
    let conditions = Conditions::of_copy_source(call.headers())?;
    let range = match call.header("x-amz-copy-source-range") {
        None => None,
        Some(text) => match parse_range(text) {
            Some(range @ RangeSpec::FromTo(..)) => Some(range),
            _ => {
                return Err(S3Error::invalid_argument(
                    "x-amz-copy-source-range must have the form bytes=first-last",
                ));
            }
        },
    };
    let target = call.target().await?;
    let id = upload_id(call);
    let upload = call.service.get_upload(&call.caller, &target.repo, &target.branch, &target.path, id).await;
    let upload = match upload {
        Ok(upload) => upload,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let object = call.service.open_object(&call.caller, &source.repo, &source.at, &source.path).await?;
    let entry = &object.info.entry;
    conditions.require(&entry.checksum.to_text(), entry.mtime)?;
    let range = match range {
        None => 0..entry.size,
        // Unlike a read, a copy does not shorten a range that reaches beyond the end.
        Some(RangeSpec::FromTo(_, last)) if last >= entry.size => return Err(unsatisfiable(entry.size)),
        Some(range) => range.within(entry.size).ok_or_else(|| unsatisfiable(entry.size))?,
    };
    if range.end - range.start > PUT_BYTES_MAX {
        return Err(S3Error::invalid_request(format!("one part takes at most {PUT_BYTES_MAX} bytes")));
    }
    let verifier = of_upload(Verifier::new(&HeaderMap::new())?, &upload)?;
    let verifier = (!verifier.is_idle()).then_some(verifier);
    let started = call
        .service
        .put_part(&call.caller, &target.repo, &target.branch, &target.path, id, number, None)
        .await;
    let mut part = match started {
        Ok(part) => part,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let checksums = if range.is_empty() {
        Default::default()
    } else {
        transfer(&mut part, object.read(range), verifier).await?
    };
    let info = match to_the_end(part.finish(checksums)).await {
        Ok(info) => info,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    Ok(xml(result_document("CopyPartResult", &hex::encode(info.md5), info.modified, &info.checksums)))
}
