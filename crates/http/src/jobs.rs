//! Commit and merge in the background (API-30.1, API-30.2), and how jobs are doing.

use crate::call::{Call, branch};
use crate::error::{Handled, status_of};
use crate::messages::{Commit, CommitAsyncStatus, Error, MergeAsyncStatus, MergeResult, TaskCreation};
use crate::millpond::rfc3339;
use crate::schema::Instant;
use crate::{commits, json, refs};
use http::StatusCode;
use millpond_service::{JobInfo, JobKind, JobOutcome, JobResult};

/// `POST /repositories/{repository}/branches/{branch}/commits/async`
pub async fn commit(mut call: Call) -> Handled {
    let request = commits::request(&mut call)?;
    let (repo, name) = (call.repository()?, call.branch()?);
    let id = call
        .change(|service, caller| async move { service.commit_job(&caller, &repo, &name, request).await })
        .await?;
    Ok(json::reply(StatusCode::ACCEPTED, &TaskCreation { id }))
}

/// `POST /repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}/async`
pub async fn merge(mut call: Call) -> Handled {
    let request = refs::merge_request(&mut call)?;
    let (repo, source) = (call.repository()?, call.reference("sourceRef")?);
    let destination = branch(call.text("destinationBranch"))?;
    let id = call
        .change(|service, caller| async move {
            service.merge_job(&caller, &repo, &source, &destination, request).await
        })
        .await?;
    Ok(json::reply(StatusCode::ACCEPTED, &TaskCreation { id }))
}

/// `GET /repositories/{repository}/branches/{branch}/commits/async/{id}/status`
pub async fn commit_status(call: Call) -> Handled {
    let (repo, name) = (call.repository()?, call.branch()?);
    let info = call.service.branch_job(&call.caller, &repo, &name, JobKind::Commit, call.text("id")).await?;
    let seen = Seen::of(&info, StatusCode::CREATED);
    json::ok(&CommitAsyncStatus {
        task_id: &info.id,
        completed: seen.completed,
        update_time: Instant(rfc3339(info.updated)),
        result: match &info.outcome {
            JobOutcome::Completed(JobResult::Commit(made)) => Some(Commit::from(made)),
            _ => None,
        },
        error: seen.error,
        status_code: seen.status,
    })
}

/// `GET /repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}/async/{id}/status`
pub async fn merge_status(call: Call) -> Handled {
    let repo = call.repository()?;
    let destination = branch(call.text("destinationBranch"))?;
    let info =
        call.service.branch_job(&call.caller, &repo, &destination, JobKind::Merge, call.text("id")).await?;
    let seen = Seen::of(&info, StatusCode::OK);
    json::ok(&MergeAsyncStatus {
        task_id: &info.id,
        completed: seen.completed,
        update_time: Instant(rfc3339(info.updated)),
        result: match &info.outcome {
            JobOutcome::Completed(JobResult::Commit(made)) => {
                Some(MergeResult { reference: made.id.to_hex() })
            }
            _ => None,
        },
        error: seen.error,
        status_code: seen.status,
    })
}

/// What every status has.
pub(crate) struct Seen<'a> {
    pub completed: bool,
    pub error: Option<Error<'a>>,
    /// The status that the call in the foreground would have had (API-30.3).
    pub status: Option<u64>,
}

impl<'a> Seen<'a> {
    pub(crate) fn of(info: &'a JobInfo, success: StatusCode) -> Self {
        let (completed, error, status) = match &info.outcome {
            JobOutcome::Running => (false, None, None),
            JobOutcome::Completed(_) => (true, None, Some(success)),
            JobOutcome::Failed(error) => {
                (true, Some(Error { message: &error.message }), Some(status_of(error.kind).0))
            }
        };
        Self { completed, error, status: status.map(|status| u64::from(status.as_u16())) }
    }
}
