//! Dump of refs, and their restoring into a bare repository (area 23).

use crate::call::Call;
use crate::error::Handled;
use crate::jobs::Seen;
use crate::json;
use crate::messages::{RefsDump, RefsRestore, RepositoryDumpStatus, RepositoryRestoreStatus, TaskInfo};
use crate::millpond::rfc3339;
use crate::schema::Instant;
use http::StatusCode;
use millpond_service::{ContentHash, DumpIds, JobOutcome, JobResult};

/// `PUT /repositories/{repository}/refs/dump`
pub async fn dump(call: Call) -> Handled {
    let repo = call.repository()?;
    let ids = call.change(|service, caller| async move { service.dump_refs(&caller, &repo).await }).await?;
    json::created(&RefsDump::from(&ids))
}

/// `PUT /repositories/{repository}/refs/restore`
pub async fn restore(mut call: Call) -> Handled {
    let (ids, force) = what(&call.message()?);
    let repo = call.repository()?;
    call.change(|service, caller| async move { service.restore_refs(&caller, &repo, ids, force).await })
        .await?;
    Ok(json::empty(StatusCode::OK))
}

/// `POST /repositories/{repository}/dump`
pub async fn submit_dump(call: Call) -> Handled {
    let repo = call.repository()?;
    let id = call.change(|service, caller| async move { service.dump_job(&caller, &repo).await }).await?;
    Ok(json::reply(StatusCode::ACCEPTED, &TaskInfo { id }))
}

/// `GET /repositories/{repository}/dump`
pub async fn dump_status(call: Call) -> Handled {
    let info = call.service.dump_status(&call.caller, &call.repository()?, call.text("task_id")).await?;
    let seen = Seen::of(&info, StatusCode::CREATED);
    json::ok(&RepositoryDumpStatus {
        id: &info.id,
        done: seen.completed,
        update_time: Instant(rfc3339(info.updated)),
        error: seen.error.map(|error| error.message),
        refs: match &info.outcome {
            JobOutcome::Completed(JobResult::Dump(ids)) => Some(RefsDump::from(ids)),
            _ => None,
        },
    })
}

/// `POST /repositories/{repository}/restore`
pub async fn submit_restore(mut call: Call) -> Handled {
    let (ids, force) = what(&call.message()?);
    let repo = call.repository()?;
    let id = call
        .change(|service, caller| async move { service.restore_job(&caller, &repo, ids, force).await })
        .await?;
    Ok(json::reply(StatusCode::ACCEPTED, &TaskInfo { id }))
}

/// `GET /repositories/{repository}/restore`
pub async fn restore_status(call: Call) -> Handled {
    let info = call.service.restore_status(&call.caller, &call.repository()?, call.text("task_id")).await?;
    let seen = Seen::of(&info, StatusCode::OK);
    json::ok(&RepositoryRestoreStatus {
        id: &info.id,
        done: seen.completed,
        update_time: Instant(rfc3339(info.updated)),
        error: seen.error.map(|error| error.message),
    })
}

/// Which dump. A text that can be no id of ours becomes one that nothing has: 410, in its turn (API-23.6).
fn what(request: &RefsRestore) -> (DumpIds, bool) {
    let id = |text: &str| ContentHash::from_hex(text).unwrap_or_else(|_| ContentHash::of(text.as_bytes()));
    let ids = DumpIds {
        commits: id(&request.commits_meta_range_id),
        branches: id(&request.branches_meta_range_id),
        tags: id(&request.tags_meta_range_id),
    };
    (ids, request.force.unwrap_or(false))
}

impl From<&DumpIds> for RefsDump {
    fn from(ids: &DumpIds) -> Self {
        Self {
            commits_meta_range_id: ids.commits.to_hex(),
            tags_meta_range_id: ids.tags.to_hex(),
            branches_meta_range_id: ids.branches.to_hex(),
        }
    }
}
