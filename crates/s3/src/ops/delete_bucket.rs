//! DeleteBucket: only a repository in which nothing ever was. History is never deleted by a bucket call.

use crate::call::Call;
use crate::error::S3Result;
use crate::response::{Response, empty};
use http::StatusCode;
use millpond_service::to_the_end;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    let repo = call.repository()?;
    let (service, caller) = (call.service.clone(), call.caller.clone());
    to_the_end(async move { service.delete_empty_repository(&caller, &repo).await }).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
