//! DeleteBucket: only a repository in which nothing ever was. History is never deleted by a bucket call.

use crate::call::{Call, owned};
use crate::error::S3Result;
use crate::response::{Response, empty};
use http::StatusCode;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    let repo = call.repository()?;
    let (service, caller) = (call.service.clone(), call.caller.clone());
    owned(async move { service.delete_empty_repository(&caller, &repo).await }).await??;
    Ok(empty(StatusCode::NO_CONTENT))
}
