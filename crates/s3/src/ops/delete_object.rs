//! DeleteObject.

use crate::call::Call;
use crate::conditions::write_condition;
use crate::error::{S3Error, S3Result};
use crate::response::{Response, empty};
use http::StatusCode;
use millpond_service::to_the_end;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    call.check_version()?;
    refuse_unknown_conditions(call)?;
    let condition = write_condition(call.headers())?;
    if call.key().path == Some("") {
        // The counterpart of the directory marker: there is no object to delete, but the branch must exist.
        let repo = call.repository()?;
        let branch = call.branch(&repo, call.key()).await?;
        return match call.service.get_branch(&call.caller, &repo, &branch).await {
            Ok(_) => Ok(empty(StatusCode::NO_CONTENT)),
            Err(error) => {
                Err(crate::call::write_error(&call.service, &call.caller, &repo, branch.as_str(), error)
                    .await)
            }
        };
    }
    let target = call.target().await?;
    let (service, caller, there) = (call.service.clone(), call.caller.clone(), target.clone());
    let done = to_the_end(async move {
        service.delete_object(&caller, &there.repo, &there.branch, &there.path, condition, false).await
    });
    match done.await {
        Ok(()) => Ok(empty(StatusCode::NO_CONTENT)),
        Err(error) => Err(call.write_error(&target, error).await),
    }
}

/// A condition that is not judged must not look as if it held.
fn refuse_unknown_conditions(call: &Call) -> S3Result<()> {
    for name in ["x-amz-if-match-last-modified-time", "x-amz-if-match-size"] {
        if call.headers().contains_key(name) {
            return Err(S3Error::not_implemented(format!(
                "the condition {name} is not supported; use If-Match"
            )));
        }
    }
    Ok(())
}
