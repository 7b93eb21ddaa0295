//! Branches, and the verbs that change one (areas 10 and 13).

use crate::call::{self, Call};
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    BranchCreation, CherryPickCreation, Commit, List, Ref, ResetCreation, ResetType, RevertCreation,
};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use millpond_service::{Kind, ResetScope};

/// `GET /repositories/{repository}/branches`
pub async fn list(call: Call) -> Handled {
    let (repo, hidden) = (call.repository()?, call.flag("show_hidden"));
    let page = call.service.list_branches(&call.caller, &repo, call.page(), hidden).await?;
    let refs = page.items.iter().map(|b| Ref { id: b.name.as_str(), commit_id: b.commit.to_hex() }).collect();
    let last = page.items.last().map_or("", |info| info.name.as_str());
    json::ok(&List::new(refs, page.has_more, last))
}

/// `POST /repositories/{repository}/branches`: the answer is the commit id as plain text (API-10.1).
pub async fn create(mut call: Call) -> Handled {
    let body: BranchCreation = call.message()?;
    let (name, source) = (call::branch(&body.name)?, call::reference(&body.source)?);
    let (hidden, force) = (body.hidden.unwrap_or(false), body.force.unwrap_or(false));
    let repo = call.repository()?;
    let commit = call
        .change(|service, caller| async move {
            service.create_branch(&caller, &repo, &name, &source, hidden, force).await
        })
        .await?;
    let mut response = Response::new(Body::from(commit.to_hex()));
    *response.status_mut() = StatusCode::CREATED;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// `GET /repositories/{repository}/branches/{branch}`
pub async fn get(call: Call) -> Handled {
    let info = call.service.get_branch(&call.caller, &call.repository()?, &call.branch()?).await?;
    json::ok(&Ref { id: info.name.as_str(), commit_id: info.commit.to_hex() })
}

/// `DELETE /repositories/{repository}/branches/{branch}`
pub async fn delete(call: Call) -> Handled {
    let (repo, name, force) = (call.repository()?, call.branch()?, call.force());
    call.change(|service, caller| async move { service.delete_branch(&caller, &repo, &name, force).await })
        .await?;
    json::done()
}

/// `PUT /repositories/{repository}/branches/{branch}`
pub async fn reset(mut call: Call) -> Handled {
    let body: ResetCreation = call.message()?;
    let (repo, name) = (call.repository()?, call.branch()?);
    let path = body.path.unwrap_or_default();
    let scope = match body.r#type {
        ResetType::Reset => ResetScope::All,
        ResetType::CommonPrefix => ResetScope::Prefix(Bytes::from(path)),
        ResetType::Object => ResetScope::Path(call::path(&path)?),
    };
    let force = body.force.unwrap_or(false);
    call.change(|service, caller| async move { service.reset(&caller, &repo, &name, scope, force).await })
        .await?;
    json::done()
}

/// `PUT /repositories/{repository}/branches/{branch}/hard_reset`
pub async fn hard_reset(call: Call) -> Handled {
    let (repo, name, target) = (call.repository()?, call.branch()?, call.reference("ref")?);
    let force = call.force();
    call.change(
        |service, caller| async move { service.hard_reset(&caller, &repo, &name, &target, force).await },
    )
    .await?;
    json::done()
}

/// `POST /repositories/{repository}/branches/{branch}/revert`
pub async fn revert(mut call: Call) -> Handled {
    let body: RevertCreation = call.message()?;
    let (repo, name, target) = (call.repository()?, call.branch()?, call::reference(&body.r#ref)?);
    let parent = u64::try_from(body.parent_number)
        .map_err(|_| Refusal::invalid("the number of a parent cannot be negative"))?;
    let overrides = body.commit_overrides.unwrap_or_default().into();
    let (allow_empty, force) = (body.allow_empty.unwrap_or(false), body.force.unwrap_or(false));
    call.change(|service, caller| async move {
        service.revert(&caller, &repo, &name, &target, parent, overrides, allow_empty, force).await
    })
    .await?;
    json::done()
}

/// `POST /repositories/{repository}/branches/{branch}/cherry-pick`
pub async fn cherry_pick(mut call: Call) -> Handled {
    let body: CherryPickCreation = call.message()?;
    let (repo, name, target) = (call.repository()?, call.branch()?, call::reference(&body.r#ref)?);
    let parent = match body.parent_number {
        None => None,
        Some(number) => Some(
            u64::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| Refusal::invalid("the number of a parent is at least 1"))?,
        ),
    };
    let overrides = body.commit_overrides.unwrap_or_default().into();
    let force = body.force.unwrap_or(false);
    let info = call
        .change(|service, caller| async move {
            let picked = service.cherry_pick(&caller, &repo, &name, &target, parent, overrides, force).await;
            // A merge commit without a parent number is 400 here, 409 in revert (API-13.15).
            picked.map_err(|mut error| {
                if error.kind == Kind::ParentNumberNeeded {
                    error.kind = Kind::Invalid;
                }
                error
            })
        })
        .await?;
    json::created(&Commit::from(&info))
}
