//! Addresses in place of bytes: allocate, link, stage (areas 16, 18).

use crate::call::Call;
use crate::config;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{ObjectStageCreation, ObjectStats, StagingLocation, StagingMetadata};
use crate::objects::{stats, unsupported_condition, write_condition};
use crate::schema::Nullable;
use millpond_service::{Attributes, LinkRequest, Metadata, ObjectInfo, Timestamp, WriteCondition};

/// `GET /repositories/{repository}/branches/{branch}/staging/backing`
pub async fn new_address(call: Call) -> Handled {
    let (repo, branch, path) = (call.repository()?, call.branch()?, call.path("path")?);
    if call.flag("presign") {
        // The one presign refusal that is 500 for clients (API-18.2).
        return Err(Refusal::internal("this server's store cannot presign links"));
    }
    let address = call
        .change(|service, caller| async move {
            service.new_physical_address(&caller, &repo, &branch, &path).await
        })
        .await?;
    json::ok(&StagingLocation {
        physical_address: Some(address),
        presigned_url: Some(Nullable(None)),
        presigned_url_expiry: None,
    })
}

/// `PUT /repositories/{repository}/branches/{branch}/staging/backing`
pub async fn link(mut call: Call) -> Handled {
    let body: StagingMetadata = call.message()?;
    let (condition, supported) = write_condition(&call);
    let checksum: String = body.checksum.chars().filter(|c| !matches!(c, ' ' | '"')).collect();
    if checksum.is_empty() {
        return Err(Refusal::invalid("checksum is required"));
    }
    if !supported {
        call.require_repository()?;
        return Err(unsupported_condition());
    }
    let address = body.staging.physical_address.unwrap_or_default();
    let request = LinkRequest {
        physical_address: address.clone(),
        checksum,
        size: size(body.size_bytes)?,
        mtime: body.mtime.map(Timestamp::from_seconds),
        attributes: attributes(body.content_type, body.user_metadata),
        condition,
        force: body.force.unwrap_or(false),
    };
    let info = register(&call, request).await?;
    // The address is echoed as it was sent, signature included (API-18.10).
    json::ok(&ObjectStats { physical_address: &address, ..stats(&info) })
}

/// `PUT /repositories/{repository}/branches/{branch}/objects`
pub async fn stage(mut call: Call) -> Handled {
    let body: ObjectStageCreation = call.message()?;
    if !body.physical_address.starts_with(config::NAMESPACE_SCHEME) {
        return Err(Refusal::invalid(format!(
            "the physical address must begin with {}",
            config::NAMESPACE_SCHEME
        )));
    }
    let request = LinkRequest {
        physical_address: body.physical_address,
        checksum: body.checksum,
        size: size(body.size_bytes)?,
        mtime: body.mtime.map(Timestamp::from_seconds),
        attributes: attributes(body.content_type, body.metadata),
        condition: WriteCondition::default(),
        force: body.force.unwrap_or(false),
    };
    let info = register(&call, request).await?;
    json::created(&ObjectStats { metadata: None, ..stats(&info) })
}

async fn register(call: &Call, request: LinkRequest) -> Handled<ObjectInfo> {
    let (repo, branch, path) = (call.repository()?, call.branch()?, call.path("path")?);
    call.change(|service, caller| async move {
        service.link_object(&caller, &repo, &branch, &path, request).await
    })
    .await
}

fn size(bytes: i64) -> Handled<u64> {
    u64::try_from(bytes).map_err(|_| Refusal::invalid("size_bytes cannot be negative"))
}

fn attributes(content_type: Option<String>, metadata: Option<Metadata>) -> Attributes {
    Attributes { content_type: content_type.unwrap_or_default(), metadata: metadata.unwrap_or_default() }
}

/// `GET /repositories/{repository}/branches/{branch}/objects/stage_allowed`: whether the caller may, not
/// whether it would work (API-16.15).
pub async fn allowed(call: Call) -> Handled {
    call.service.may_put_object(&call.caller, &call.repository()?, &call.path("path")?).await?;
    json::done()
}

/// `PUT .../staging/pmpu/{uploadId}/parts/{partNumber}` and its copy: no address can be valid on a store
/// that gives none out (API-18.13).
pub async fn presigned_part(call: Call) -> Handled {
    call.require_repository()?;
    Err(Refusal::invalid("physical address must be relative to the storage namespace"))
}
