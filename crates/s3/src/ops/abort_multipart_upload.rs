//! AbortMultipartUpload.

use super::upload_part::upload_id;
use crate::call::Call;
use crate::error::S3Result;
use crate::response::{Response, empty};
use http::StatusCode;
use millpond_service::to_the_end;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    let target = call.target().await?;
    let id = upload_id(call).to_owned();
    let (service, caller, there) = (call.service.clone(), call.caller.clone(), target.clone());
    let done = to_the_end(async move {
        service.abort_upload(&caller, &there.repo, &there.branch, &there.path, &id).await
    });
    match done.await {
        Ok(()) => Ok(empty(StatusCode::NO_CONTENT)),
        Err(error) => Err(call.write_error(&target, error).await),
    }
}
