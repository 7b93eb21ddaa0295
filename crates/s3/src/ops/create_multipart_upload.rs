//! CreateMultipartUpload.

use crate::attributes;
use crate::call::Call;
use crate::checksum::{Algorithm, Type};
use crate::error::{S3Error, S3Result};
use crate::response::{Response, xml};
use crate::xml::Writer;
use http::{HeaderName, HeaderValue};
use millpond_service::to_the_end;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    attributes::refuse_unsupported(call.headers())?;
    let attributes = attributes::from_headers(call.headers())?;
    let (algorithm, kind) = match call.header("x-amz-checksum-algorithm") {
        Some(name) => {
            let algorithm = Algorithm::parse(name)?;
            (algorithm.name(), Type::of_upload(algorithm, call.header("x-amz-checksum-type"))?.name())
        }
        None if call.headers().contains_key("x-amz-checksum-type") => {
            return Err(S3Error::invalid_request("x-amz-checksum-type needs x-amz-checksum-algorithm"));
        }
        None => ("", ""),
    };
    let target = call.target().await?;
    let (service, caller, there) = (call.service.clone(), call.caller.clone(), target.clone());
    let done = to_the_end(async move {
        service
            .create_upload(&caller, &there.repo, &there.branch, &there.path, attributes, algorithm, kind)
            .await
    });
    let upload = match done.await {
        Ok(upload) => upload,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let mut document = Writer::new("InitiateMultipartUploadResult");
    document.leaf("Bucket", call.bucket()).leaf("Key", call.raw_key()).leaf("UploadId", &upload.id);
    let mut response = xml(document.finish());
    if !algorithm.is_empty() {
        let headers = response.headers_mut();
        headers
            .insert(HeaderName::from_static("x-amz-checksum-algorithm"), HeaderValue::from_static(algorithm));
        headers.insert(HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static(kind));
    }
    Ok(response)
}
