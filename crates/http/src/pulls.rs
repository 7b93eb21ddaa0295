//! Pull requests (area 24).

use crate::call::{Call, branch};
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    List, MergeResult, PullRequest, PullRequestBasic, PullRequestCreation, PullRequestCreationResponse,
    PullRequestStatus,
};
use crate::millpond::rfc3339;
use crate::schema::Instant;
use millpond_service::{
    NewPullRequest, PullRequestChange, PullRequestFilter, PullRequestId, PullRequestStatus as Status,
};

/// `GET .../pulls`. Items have their description, which the SDK's own model demands (unlike API-24.3), and of
/// one second too the newest comes first.
pub async fn list(call: Call) -> Handled {
    let filter = match call.text("status") {
        "open" => PullRequestFilter::Open,
        "closed" => PullRequestFilter::NotOpen,
        _ => PullRequestFilter::All,
    };
    let page =
        call.service.list_pull_requests(&call.caller, &call.repository()?, call.page(), filter).await?;
    let last = page.items.last().map_or("", |pull| pull.id.as_str());
    json::ok(&List::new(page.items.iter().map(render).collect(), page.has_more, last))
}

/// `POST .../pulls`
pub async fn create(mut call: Call) -> Handled {
    let body: PullRequestCreation = call.message()?;
    let new = NewPullRequest {
        title: body.title,
        description: body.description.unwrap_or_default(),
        source: branch(&body.source_branch)?,
        destination: branch(&body.destination_branch)?,
    };
    let repo = call.repository()?;
    let id = call
        .change(|service, caller| async move { service.create_pull_request(&caller, &repo, new).await })
        .await?;
    json::created(&PullRequestCreationResponse { id: id.as_str() })
}

/// `GET .../pulls/{pull_request}`
pub async fn get(call: Call) -> Handled {
    let (repo, id) = (call.repository()?, id(&call)?);
    json::ok(&render(&call.service.get_pull_request(&call.caller, &repo, &id).await?))
}

/// `PATCH .../pulls/{pull_request}`
pub async fn update(mut call: Call) -> Handled {
    let body: PullRequestBasic = call.message()?;
    let (repo, id) = (call.repository()?, id(&call)?);
    let change = PullRequestChange {
        title: body.title,
        description: body.description,
        status: body.status.map(|status| match status {
            PullRequestStatus::Open => Status::Open,
            PullRequestStatus::Closed => Status::Closed,
            PullRequestStatus::Merged => Status::Merged,
        }),
    };
    call.change(
        |service, caller| async move { service.update_pull_request(&caller, &repo, &id, change).await },
    )
    .await?;
    json::done()
}

/// `PUT .../pulls/{pull_request}/merge`. A conflict has a message here, unlike API-14.10.
pub async fn merge(call: Call) -> Handled {
    let (repo, id) = (call.repository()?, id(&call)?);
    let commit = call
        .change(|service, caller| async move { service.merge_pull_request(&caller, &repo, &id).await })
        .await?;
    json::ok(&MergeResult { reference: commit.to_hex() })
}

fn id(call: &Call) -> Handled<PullRequestId> {
    PullRequestId::parse(call.text("pull_request"))
        .ok_or_else(|| Refusal::invalid("no pull request id has that form"))
}

fn render(pull: &millpond_service::PullRequest) -> PullRequest<'_> {
    PullRequest {
        id: pull.id.as_str(),
        status: match pull.status {
            Status::Open => PullRequestStatus::Open,
            Status::Closed => PullRequestStatus::Closed,
            Status::Merged => PullRequestStatus::Merged,
        },
        title: &pull.title,
        description: &pull.description,
        author: &pull.author,
        creation_date: Instant(rfc3339(pull.created)),
        source_branch: pull.source.as_str(),
        destination_branch: pull.destination.as_str(),
        merged_commit_id: pull.merged.map(|commit| commit.to_hex()),
        closed_date: pull.closed.map(|time| Instant(rfc3339(time))),
    }
}
