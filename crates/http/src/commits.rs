//! Making and reading commits (area 12).

use crate::call::{Call, path};
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{Commit, CommitCreation};
use bytes::Bytes;
use millpond_service::{CommitRequest, TreeId};

/// `POST /repositories/{repository}/branches/{branch}/commits`. The members `paths` and `prefixes` are
/// ours: they commit only what is staged there.
pub async fn commit(mut call: Call) -> Handled {
    let body: CommitCreation = call.message()?;
    let (repo, name) = (call.repository()?, call.branch()?);
    let source_tree = match call.text("source_metarange") {
        "" => None,
        text => Some(
            TreeId::from_hex(text).map_err(|error| Refusal::invalid(format!("source_metarange: {error}")))?,
        ),
    };
    let request = CommitRequest {
        message: body.message,
        metadata: body.metadata.unwrap_or_default(),
        date: body.date,
        allow_empty: body.allow_empty.unwrap_or(false),
        paths: body.paths.iter().flatten().map(|text| path(text)).collect::<Handled<_>>()?,
        prefixes: body.prefixes.unwrap_or_default().into_iter().map(Bytes::from).collect(),
        force: body.force.unwrap_or(false),
        source_tree,
    };
    let info = call
        .change(|service, caller| async move { service.commit(&caller, &repo, &name, request).await })
        .await?;
    json::created(&Commit::from(&info))
}

/// `GET /repositories/{repository}/commits/{commitId}`: any ref expression is taken (API-7.12).
pub async fn get(call: Call) -> Handled {
    let at = call.reference("commitId")?;
    let info = call.service.get_commit(&call.caller, &call.repository()?, &at).await?;
    json::ok(&Commit::from(&info))
}
