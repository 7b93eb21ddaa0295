//! Copy within a repository: a new entry on the same bytes.

use crate::address;
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::{Actor, Error, Kind, ObjectInfo, Result, Thing, WriteCondition};
use bytes::Bytes;
use millpond_types::{Attributes, BranchName, ObjectPath, RefExpr, RepositoryName, Writer};
use std::sync::Arc;

/// What to copy, and under which conditions.
pub struct CopyRequest<'a> {
    /// State to copy from.
    pub source: &'a RefExpr,
    /// Path to copy from.
    pub source_path: &'a ObjectPath,
    /// Instead of the source's.
    pub attributes: Option<Attributes>,
    /// Judged on the source.
    pub source_condition: WriteCondition,
    /// Judged on the destination, by its writer.
    pub condition: WriteCondition,
    /// Pass over the read-only flag.
    pub force: bool,
}

impl Engine {
    /// Copies an entry to a path of a branch without moving bytes.
    pub async fn copy_object(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        path: &ObjectPath,
        request: CopyRequest<'_>,
    ) -> Result<ObjectInfo> {
        self.journal.admit()?;
        // Of the request, not of what it finds: the source may have changed when the request is repeated.
        let fingerprint = || {
            let mut w = Writer::new();
            w.text(name.as_str()).bytes(path.as_bytes());
            w.text(&request.source.text).bytes(request.source_path.as_bytes());
            match &request.attributes {
                None => w.u8(0),
                Some(attributes) => w.u8(1).bytes(&attributes.encode()),
            };
            request.source_condition.fingerprint(&mut w);
            request.condition.fingerprint(&mut w);
            w.u8(u8::from(request.force));
            w.finish()
        };
        let keyed = match self.begin(actor, "copy-object", repository, fingerprint).await? {
            Begin::Again(answer) => {
                return self.same_entry(answer, &*self.repo(repository)?, path.clone()).await;
            }
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let branch = self.branch(&repo, name)?;
        let view = self.resolve_view(&repo, request.source).await?;
        let found = view.get(&repo, request.source_path).await?;
        request.source_condition.judge(request.source_path, found.as_deref())?;
        let found = found.ok_or_else(|| {
            let text = request.source_path.to_text();
            Error::new(Kind::NotFound(Thing::Object), format!("object '{text}' not found"))
        })?;
        self.writable(&repo, request.force)?;
        let context = self.context(actor, "copy-object");
        let mut entry = (*found).clone();
        entry.mtime = context.time;
        let address = address::portable(&repo.state.read(), request.source_path, &entry)?;
        entry.address = address::acquire(address).address();
        if let Some(attributes) = request.attributes {
            super::put::check_attributes(&attributes)?;
            entry.attributes = Arc::new(attributes);
        }
        self.stage_entry(keyed, context, &repo, &branch, path.clone(), Arc::new(entry), &request.condition)
            .await
    }

    /// Replaces the user metadata of an object; standard headers, bytes and mtime stay (API-16.22).
    pub async fn set_object_metadata(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        path: &ObjectPath,
        metadata: millpond_types::Metadata,
        force: bool,
    ) -> Result<()> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).bytes(path.as_bytes()).u8(u8::from(force)).map(metadata.iter());
        let mut keyed =
            match self.begin(actor, "set-object-metadata", repository, || request.finish()).await? {
                Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
                Begin::Go(keyed) => keyed,
            };
        let repo = self.repo(repository)?;
        let branch = self.branch(&repo, name)?;
        self.writable(&repo, force)?;
        let context = self.context(actor, "set-object-metadata");
        self.stage_judged(context, &repo, &branch, std::slice::from_ref(path), |context, _, current| {
            let current = current[0].as_ref().ok_or_else(|| {
                Error::new(Kind::NotFound(Thing::Object), format!("object '{}' not found", path.to_text()))
            })?;
            let mut entry = (**current).clone();
            let mut attributes = (*entry.attributes).clone();
            attributes.metadata.retain(|key, _| key.starts_with(millpond_types::entry::HEADER_PREFIX));
            attributes.metadata.extend(metadata.clone());
            super::put::check_attributes(&attributes)?;
            entry.attributes = Arc::new(attributes);
            keyed.answer(context, Bytes::new);
            Ok((vec![(path.clone(), Some(Arc::new(entry)))], vec![], ()))
        })
        .await
    }
}
