//! DeleteBucket: only a repository in which nothing ever was. History is never deleted by a bucket call.

use crate::call::{Call, owned};
use crate::error::{S3Error, S3Result};
use crate::response::{Response, empty};
use http::StatusCode;
use millpond_service::{ListRequest, LogRequest, PageRequest, RefExpr};

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    let repo = call.repository()?;
    let (service, caller) = (&call.service, &call.caller);
    let info = service.get_repository(caller, &repo).await?;
    let two = || PageRequest { amount: 2, ..PageRequest::default() };
    let branches = service.list_branches(caller, &repo, two(), true).await?.items.len();
    let tags = service.list_tags(caller, &repo, two()).await?.items.len();
    let default =
        RefExpr::parse(info.default_branch.as_str()).map_err(|error| S3Error::internal(error.to_string()))?;
    let log = LogRequest { amount: 2, ..LogRequest::default() };
    let commits = service.log(caller, &repo, &default, log).await?.items.len();
    let first = ListRequest { amount: 1, ..ListRequest::default() };
    let objects = service
        .list_objects(caller, &repo, &default, first, millpond_service::Pin::Unpinned)
        .await?
        .items
        .len();
    if branches > 1 || tags > 0 || commits > 1 || objects > 0 {
        return Err(S3Error::new(
            409,
            "BucketNotEmpty",
            "the repository holds objects, branches, tags or commits; delete it with `millpond repo delete`",
        ));
    }
    let (service, caller) = (call.service.clone(), call.caller.clone());
    owned(async move { service.delete_repository(&caller, &repo, false).await }).await??;
    Ok(empty(StatusCode::NO_CONTENT))
}
