//! Making and reading commits (area 12).

use crate::call::{Call, path};
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{Commit, CommitCreation, CommitRecordCreation};
use bytes::Bytes;
use millpond_service::{CommitId, CommitRecord, CommitRequest, InvalidId, TreeId};

/// `POST /repositories/{repository}/branches/{branch}/commits`. The members `paths` and `prefixes` are
/// ours: they commit only what is staged there.
pub async fn commit(mut call: Call) -> Handled {
    let request = request(&mut call)?;
    let (repo, name) = (call.repository()?, call.branch()?);
    let info = call
        .change(|service, caller| async move { service.commit(&caller, &repo, &name, request).await })
        .await?;
    json::created(&Commit::from(&info))
}

/// What is to be committed.
pub fn request(call: &mut Call) -> Handled<CommitRequest> {
    let body: CommitCreation = call.message()?;
    let source_tree = match call.text("source_metarange") {
        "" => None,
        text => Some(id(TreeId::from_hex, "source_metarange", text)?),
    };
    Ok(CommitRequest {
        message: body.message,
        metadata: body.metadata.unwrap_or_default(),
        date: body.date,
        allow_empty: body.allow_empty.unwrap_or(false),
        paths: body.paths.iter().flatten().map(|text| path(text)).collect::<Handled<_>>()?,
        prefixes: body.prefixes.unwrap_or_default().into_iter().map(Bytes::from).collect(),
        force: body.force.unwrap_or(false),
        source_tree,
    })
}

/// `GET /repositories/{repository}/commits/{commitId}`: any ref expression is taken (API-7.12).
pub async fn get(call: Call) -> Handled {
    let at = call.reference("commitId")?;
    let info = call.service.get_commit(&call.caller, &call.repository()?, &at).await?;
    json::ok(&Commit::from(&info))
}

/// `POST /repositories/{repository}/commits`. Version 0 has the parents of merges in the opposite order (API-12.9);
/// since the id binds their order, such a merge cannot be taken in.
pub async fn create_record(mut call: Call) -> Handled {
    let body: CommitRecordCreation = call.message()?;
    let repo = call.repository()?;
    if body.version != 1 && (body.version != 0 || body.parents.len() > 1) {
        return Err(Refusal::invalid(format!("commits of version {} are not taken in", body.version)));
    }
    if body.generation < 1 {
        return Err(Refusal::invalid("the generation of a commit is at least 1"));
    }
    let parents = body.parents.iter().map(|parent| id(CommitId::from_hex, "parents", parent));
    let record = CommitRecord {
        id: Some(id(CommitId::from_hex, "commit_id", &body.commit_id)?),
        committer: body.committer,
        message: body.message,
        metadata: body.metadata.unwrap_or_default(),
        date: body.creation_date,
        tree: id(TreeId::from_hex, "metarange_id", &body.metarange_id)?,
        parents: parents.collect::<Handled<_>>()?,
    };
    let force = body.force.unwrap_or(false);
    call.change(|service, caller| async move {
        service.create_commit_record(&caller, &repo, record, force).await
    })
    .await?;
    json::done()
}

/// An id in a member of the body.
pub fn id<T>(parse: impl Fn(&str) -> Result<T, InvalidId>, member: &str, text: &str) -> Handled<T> {
    parse(text).map_err(|error| Refusal::invalid(format!("{member}: {error}")))
}
