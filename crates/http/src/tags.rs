//! Tags (area 11).

use crate::call::{Call, reference};
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{List, Ref, TagCreation};
use millpond_service::TagName;

/// `GET /repositories/{repository}/tags`
pub async fn list(call: Call) -> Handled {
    let page = call.service.list_tags(&call.caller, &call.repository()?, call.page()).await?;
    let refs = page.items.iter().map(|t| Ref { id: t.name.as_str(), commit_id: t.commit.to_hex() }).collect();
    let last = page.items.last().map_or("", |info| info.name.as_str());
    json::ok(&List::new(refs, page.has_more, last))
}

/// `POST /repositories/{repository}/tags`
pub async fn create(mut call: Call) -> Handled {
    let body: TagCreation = call.message()?;
    let name = TagName::parse(&body.id).map_err(|error| Refusal::invalid(error.to_string()))?;
    let (repo, target, force) = (call.repository()?, reference(&body.r#ref)?, body.force.unwrap_or(false));
    let commit = call
        .change(
            |service, caller| async move { service.create_tag(&caller, &repo, &name, &target, force).await },
        )
        .await?;
    json::created(&Ref { id: &body.id, commit_id: commit.to_hex() })
}

/// `GET /repositories/{repository}/tags/{tag}`
pub async fn get(call: Call) -> Handled {
    let info = call.service.get_tag(&call.caller, &call.repository()?, &call.tag()?).await?;
    json::ok(&Ref { id: info.name.as_str(), commit_id: info.commit.to_hex() })
}

/// `DELETE /repositories/{repository}/tags/{tag}`
pub async fn delete(call: Call) -> Handled {
    let (repo, name, force) = (call.repository()?, call.tag()?, call.force());
    call.change(|service, caller| async move { service.delete_tag(&caller, &repo, &name, force).await })
        .await?;
    json::done()
}
