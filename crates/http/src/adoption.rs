//! Adoption: bytes, trees and commits of another server (ours; `docs/design/migrate.md`).

use crate::call::{self, Call};
use crate::commits::id;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    AdoptedChange, AdoptedCommit, AdoptedContent, AdoptedTree, AdoptedTreeCreation, Commit,
};
use futures::StreamExt;
use millpond_service as service;
use millpond_service::{AdoptedTreeRequest, Attributes, CommitId, CommitRecord, Timestamp, TreeId};

/// `POST /repositories/{repository}/adoption/contents`
pub async fn contents(mut call: Call) -> Handled {
    let mut body = call.take_body().into_data_stream();
    let repo = call.repository()?;
    let mut upload = call.service.adopt_content(&call.caller, &repo, call.force()).await?;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Refusal::invalid(format!("the body broke off: {error}")))?;
        upload.write(piece).await?;
    }
    let stored = service::to_the_end(upload.finish()).await?;
    let receipt = call.service.receipt(&call.caller, &repo, &stored)?;
    json::created(&AdoptedContent { receipt, checksum: stored.checksum(), size_bytes: stored.size() })
}

/// `POST /repositories/{repository}/adoption/trees`
pub async fn trees(mut call: Call) -> Handled {
    let body: AdoptedTreeCreation = call.message()?;
    let (repo, force) = (call.repository()?, call.force());
    let change = |change: AdoptedChange| {
        let object = match change.object {
            None => None,
            Some(object) => {
                let stored = object.receipt.filter(|receipt| !receipt.is_empty());
                let stored = stored.map(|receipt| call.service.stored_content(&call.caller, &repo, &receipt));
                Some(service::AdoptedObject {
                    stored: stored.transpose()?,
                    address: object.physical_address.unwrap_or_default(),
                    gone: object.gone.unwrap_or(false),
                    size: object.size_bytes,
                    checksum: object.checksum,
                    mtime: Timestamp::from_seconds(object.mtime),
                    attributes: Attributes {
                        content_type: object.content_type.unwrap_or_default(),
                        metadata: object.metadata.unwrap_or_default(),
                    },
                })
            }
        };
        Ok(service::AdoptedChange { path: call::path(&change.path)?, object })
    };
    let like = body.like.iter().flatten().map(|text| id(CommitId::from_hex, "like", text));
    let request = AdoptedTreeRequest {
        base: match &*body.base {
            "" => TreeId::EMPTY,
            text => id(TreeId::from_hex, "base", text)?,
        },
        like: like.collect::<Handled<_>>()?,
        storage: body.storage.unwrap_or_default(),
        force,
        changes: body.changes.into_iter().map(change).collect::<Handled<_>>()?,
    };
    let target = repo.clone();
    let made = call
        .change(|service, caller| async move { service.adopt_tree(&caller, &target, request).await })
        .await?;
    let missing = made.missing.iter().map(|path| path.to_text().into_owned()).collect();
    json::created(&AdoptedTree { tree: made.tree.to_hex(), linked: made.linked, missing })
}

/// `POST /repositories/{repository}/adoption/commits`
pub async fn commits(mut call: Call) -> Handled {
    let body: AdoptedCommit = call.message()?;
    let (repo, force) = (call.repository()?, call.force());
    let alias = id(CommitId::from_hex, "source_id", &body.source_id)?;
    let parents = body.parents.iter().map(|parent| id(CommitId::from_hex, "parents", parent));
    let record = CommitRecord {
        id: None,
        committer: body.committer,
        message: body.message,
        metadata: body.metadata.unwrap_or_default(),
        date: body.creation_date,
        tree: id(TreeId::from_hex, "tree", &body.tree)?,
        parents: parents.collect::<Handled<_>>()?,
    };
    let info = call
        .change(
            |service, caller| async move { service.adopt_commit(&caller, &repo, alias, record, force).await },
        )
        .await?;
    json::created(&Commit::from(&info))
}
