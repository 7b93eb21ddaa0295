//! Imports: start, status, cancel (area 20).

use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{Commit, Error, ImportCreation, ImportCreationResponse, ImportStatus, PathType};
use crate::millpond::rfc3339;
use crate::schema::Instant;
use bytes::Bytes;
use http::StatusCode;
use millpond_service::{ImportOutcome, ImportPath, ImportRequest, SourceKind};

/// `POST /repositories/{repository}/branches/{branch}/import`
pub async fn start(mut call: Call) -> Handled {
    let repo = call.require_repository()?;
    let body: ImportCreation = call.message()?;
    if !call.options.local_import_enabled {
        let refusal = Refusal::invalid(
            "import is not supported for this storage: no directory may be imported from. \
             Name them in the setting 'local_import' and restart the server",
        );
        return Err(refusal.with_status(StatusCode::FORBIDDEN));
    }
    let branch = branch(&call)?;
    let path = |location: crate::messages::ImportLocation| ImportPath {
        kind: match location.r#type {
            PathType::Object => SourceKind::Object,
            PathType::CommonPrefix => SourceKind::Prefix,
        },
        source: location.path,
        destination: Bytes::from(location.destination),
    };
    let request = ImportRequest {
        paths: body.paths.into_iter().map(path).collect(),
        message: body.commit.message,
        metadata: body.commit.metadata.unwrap_or_default(),
        force: body.force.unwrap_or(false),
    };
    let id = call
        .change(|service, caller| async move { service.import_start(&caller, &repo, &branch, request).await })
        .await?;
    Ok(json::reply(StatusCode::ACCEPTED, &ImportCreationResponse { id }))
}

/// `GET /repositories/{repository}/branches/{branch}/import`: of an import of that branch. lakeFS does not
/// compare the branch (API-20.3); here it is what the caller is authorized for.
pub async fn status(call: Call) -> Handled {
    let (repo, branch) = (call.repository()?, branch(&call)?);
    let info = call.service.import_status(&call.caller, &repo, &branch, call.text("id")).await?;
    let mut status = ImportStatus {
        completed: false,
        update_time: Instant(rfc3339(info.updated)),
        ingested_objects: Some(info.ingested),
        metarange_id: None,
        commit: None,
        error: None,
        skipped_objects: Some(info.skipped),
    };
    match &info.outcome {
        ImportOutcome::Running => {}
        ImportOutcome::Failed(why) => status.error = Some(Error { message: why }),
        ImportOutcome::Completed(commit) => {
            status.completed = true;
            status.metarange_id = Some(commit.commit.tree.to_hex());
            status.commit = Some(Commit::from(commit));
        }
    }
    json::ok(&status)
}

/// `DELETE /repositories/{repository}/branches/{branch}/import`
pub async fn cancel(call: Call) -> Handled {
    let (repo, branch, id) = (call.repository()?, branch(&call)?, call.text("id").to_owned());
    call.change(|service, caller| async move { service.import_cancel(&caller, &repo, &branch, &id).await })
        .await?;
    json::done()
}

/// A name that no branch can have names none: 404 here, unlike elsewhere (API-1.7).
fn branch(call: &Call) -> Handled<millpond_service::BranchName> {
    call.branch().map_err(|refusal| refusal.with_status(StatusCode::NOT_FOUND))
}
