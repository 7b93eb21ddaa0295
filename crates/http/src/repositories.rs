//! Repositories (area 9).

use crate::call::{Call, branch};
use crate::error::{Handled, Refusal};
use crate::messages::{List, Repository, RepositoryCreation, RepositoryMetadataKeys, RepositoryMetadataSet};
use crate::{config, json};
use millpond_service::{NewRepository, RepositoryName};

/// `GET /repositories`
pub async fn list(call: Call) -> Handled {
    let page = call.service.list_repositories(&call.caller, call.page(), call.text("search")).await?;
    let last = page.items.last().map_or("", |info| info.name.as_str());
    json::ok(&List::new(page.items.iter().map(Repository::from).collect(), page.has_more, last))
}

/// `POST /repositories`
pub async fn create(mut call: Call) -> Handled {
    let body: RepositoryCreation = call.message()?;
    if body.sample_data == Some(true) {
        return Err(Refusal::not_implemented("sample data is not offered"));
    }
    if body.storage_id.is_some_and(|id| !id.is_empty()) {
        return Err(Refusal::invalid("unknown storage id: this server has one store, without an id"));
    }
    let scheme = config::NAMESPACE_SCHEME;
    if !body.storage_namespace.0.starts_with(scheme) {
        return Err(Refusal::invalid(format!("the storage namespace must begin with {scheme}")));
    }
    let default_branch = body.default_branch.filter(|name| !name.is_empty());
    let new = NewRepository {
        name: RepositoryName::parse(&body.name.0).map_err(|error| Refusal::invalid(error.to_string()))?,
        storage_namespace: body.storage_namespace.0,
        default_branch: branch(default_branch.as_deref().unwrap_or("main"))?,
        read_only: body.read_only.unwrap_or(false),
    };
    let bare = call.flag("bare");
    let info = call
        .change(|service, caller| async move {
            match bare {
                true => service.create_bare_repository(&caller, new).await,
                false => service.create_repository(&caller, new).await,
            }
        })
        .await?;
    json::created(&Repository::from(&info))
}

/// `GET /repositories/{repository}`
pub async fn get(call: Call) -> Handled {
    let info = call.service.get_repository(&call.caller, &call.repository()?).await?;
    json::ok(&Repository::from(&info))
}

/// `DELETE /repositories/{repository}`
pub async fn delete(call: Call) -> Handled {
    let (name, force) = (call.repository()?, call.force());
    call.change(|service, caller| async move { service.delete_repository(&caller, &name, force).await })
        .await?;
    json::done()
}

/// `GET /repositories/{repository}/metadata`
pub async fn get_metadata(call: Call) -> Handled {
    let info = call.service.get_repository(&call.caller, &call.repository()?).await?;
    json::ok(&info.metadata)
}

/// `POST /repositories/{repository}/metadata`
pub async fn set_metadata(mut call: Call) -> Handled {
    let body: RepositoryMetadataSet = call.message()?;
    let name = call.repository()?;
    call.change(|service, caller| async move {
        service.set_repository_metadata(&caller, &name, body.metadata).await
    })
    .await?;
    json::done()
}

/// `DELETE /repositories/{repository}/metadata`
pub async fn delete_metadata(mut call: Call) -> Handled {
    let body: RepositoryMetadataKeys = call.message()?;
    let name = call.repository()?;
    call.change(|service, caller| async move {
        service.delete_repository_metadata(&caller, &name, body.keys).await
    })
    .await?;
    json::done()
}
