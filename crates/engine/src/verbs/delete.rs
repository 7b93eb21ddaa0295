//! Deleting one path or several.

use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::record::StagedOp;
use crate::{Actor, DeleteFailure, Error, Kind, Result, Thing, WriteCondition};
use bytes::Bytes;
use millpond_types::{BranchName, DecodeError, ObjectPath, Reader, RepositoryName, Writer};

impl Engine {
    /// Deletes a path. A missing object is no error unless a condition asks for it.
    pub async fn delete_object(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        path: &ObjectPath,
        condition: WriteCondition,
        force: bool,
    ) -> Result<()> {
        let failed =
            self.delete_objects(actor, repository, name, vec![(path.clone(), condition)], force).await?;
        failed.into_iter().next().map_or(Ok(()), |failure| Err(failure.error))
    }

    /// Deletes several paths at one point in time. Those whose condition fails are named and stay; any
    /// other failure deletes none.
    pub async fn delete_objects(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        paths: Vec<(ObjectPath, WriteCondition)>,
        force: bool,
    ) -> Result<Vec<DeleteFailure>> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).u8(u8::from(force)).uint(paths.len() as u64);
        for (path, condition) in &paths {
            request.bytes(path.as_bytes());
            condition.fingerprint(&mut request);
        }
        let mut keyed = match self.begin(actor, "delete-objects", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same(answer, take_failures).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let branch = self.branch(&repo, name)?;
        self.writable(&repo, force)?;
        let context = self.context(actor, "delete-object");
        if keyed.is_plain() && paths.iter().all(|(_, condition)| condition.is_empty()) {
            let ops = paths.into_iter().map(|(path, _)| (path, None)).collect();
            self.settle(self.stage(context, &repo, &branch, ops)).await?;
            return Ok(vec![]);
        }
        let keys: Vec<ObjectPath> = paths.iter().map(|(path, _)| path.clone()).collect();
        self.stage_judged(context, &repo, &branch, &keys, |context, _, current| {
            let mut ops: Vec<StagedOp> = Vec::new();
            let mut failures = Vec::new();
            for ((path, condition), entry) in paths.iter().zip(current) {
                match condition.judge(path, entry.as_deref()) {
                    Ok(()) => ops.push((path.clone(), None)),
                    // `If-Match` on a missing object of a delete: there is nothing left to do.
                    Err(Error { kind: Kind::NotFound(Thing::Object), .. }) => {}
                    Err(error) => failures.push(DeleteFailure { path: path.to_bytes(), error }),
                }
            }
            keyed.answer(context, || put_failures(&failures));
            Ok((ops, vec![], failures))
        })
        .await
    }
}

/// The answer to remember: what was not deleted. A condition that does not hold is the only reason.
fn put_failures(failures: &[DeleteFailure]) -> Bytes {
    let mut w = Writer::new();
    w.uint(failures.len() as u64);
    for failure in failures {
        w.bytes(&failure.path).text(&failure.error.message);
    }
    w.finish().into()
}

fn take_failures(r: &mut Reader) -> std::result::Result<Vec<DeleteFailure>, DecodeError> {
    let mut failures = Vec::new();
    for _ in 0..r.uint()? {
        let path = r.bytes()?;
        failures.push(DeleteFailure { path, error: Error::new(Kind::PreconditionFailed, r.text()?) });
    }
    Ok(failures)
}
