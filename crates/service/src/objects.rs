//! Object verbs.

use crate::gate::{Caller, Service, Standing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use millpond_auth::{Action, Resource};
use millpond_engine::{
    CopyRequest, DeleteFailure, Digests, Error, Kind, LinkRequest, ObjectInfo, PutRequest, Result,
    WriteCondition,
};
use millpond_types::{Attributes, BranchName, Metadata, ObjectPath, RefExpr, RepositoryName};
use std::collections::BTreeMap;
use std::ops::Range;

/// How long an issued physical address may be linked, in milliseconds (24 h, API-18.4).
const ADDRESS_MILLIS: i64 = 24 * 3600 * 1000;

/// Purpose of the marks on physical addresses.
const ADDRESS: &str = "physical-address";

/// What the mark on a physical address covers.
fn address_bytes(
    repo: &RepositoryName,
    branch: &BranchName,
    path: &ObjectPath,
    address: &str,
    issued: i64,
) -> Vec<u8> {
    let mut w = millpond_types::Writer::new();
    w.text(repo.as_str()).text(branch.as_str()).bytes(path.as_bytes()).text(address).int(issued);
    w.finish()
}

/// An object being written; dropping it discards what was written.
pub struct Upload(millpond_engine::ObjectWriter, Standing);

impl Upload {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.1.check()?;
        self.0.write(bytes).await
    }
    /// Digests of what was written so far.
    pub fn digests(&mut self) -> Digests {
        self.0.digests()
    }
    /// Makes the object durable and visible. `extra` goes into [`millpond_types::Entry::extra`] (verified S3 checksums).
    pub async fn finish(self, extra: BTreeMap<String, Bytes>) -> Result<ObjectInfo> {
        self.1.check()?;
        self.0.finish(extra).await
    }
}

/// An object opened for reading: one state of it, whatever happens to the path meanwhile.
pub struct OpenObject {
    /// What it is.
    pub info: ObjectInfo,
    /// For multipart objects the sizes of the parts, in order (for `partNumber` reads); else empty.
    pub part_sizes: Vec<u64>,
    open: millpond_engine::OpenObject,
    standing: Standing,
}

impl OpenObject {
    /// The bytes of the range (within the object), in pieces; every block is checked before it is given.
    pub fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let standing = self.standing.clone();
        self.open.read(range).map(move |piece| standing.check().and(piece)).boxed()
    }
}

fn object<'a>(repo: &'a RepositoryName, path: &'a ObjectPath) -> Resource<'a> {
    Resource::Object(repo, path)
}

impl Service {
    /// Authorizes and starts an upload. Refuses early what would be refused at the end.
    pub async fn put_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        request: PutRequest,
    ) -> Result<Upload> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        p.engine
            .put_object(&p.actor, repo, branch, path, request)
            .await
            .map(|writer| Upload(writer, self.standing(caller)))
    }

    /// Whether the caller may write the path at all (API-16.15).
    pub async fn may_put_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        path: &ObjectPath,
    ) -> Result<()> {
        self.permit(caller, &[(Action::WriteObject, object(repo, path))]).map(|_| ())
    }

    /// What is at a path.
    pub async fn stat_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
        path: &ObjectPath,
    ) -> Result<ObjectInfo> {
        let p = self.permit(caller, &[(Action::ReadObject, object(repo, path))])?;
        p.engine.stat_object(repo, at, path).await
    }

    /// Opens what is at a path.
    pub async fn open_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
        path: &ObjectPath,
    ) -> Result<OpenObject> {
        let p = self.permit(caller, &[(Action::ReadObject, object(repo, path))])?;
        let open = p.engine.open_object(repo, at, path).await?;
        Ok(OpenObject {
            info: open.info.clone(),
            part_sizes: open.part_sizes(),
            open,
            standing: self.standing(caller),
        })
    }

    /// Copies an entry without moving bytes. Within one repository only: an entry never refers to bytes that
    /// another repository owns, so across repositories the doors read and write. `attributes`: replace
    /// instead of copy.
    #[allow(clippy::too_many_arguments)]
    pub async fn copy_object(
        &self,
        caller: &Caller,
        source_repo: &RepositoryName,
        source: &RefExpr,
        source_path: &ObjectPath,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        attributes: Option<Attributes>,
        source_condition: WriteCondition,
        condition: WriteCondition,
        force: bool,
    ) -> Result<ObjectInfo> {
        let needs = [
            (Action::ReadObject, object(source_repo, source_path)),
            (Action::WriteObject, object(repo, path)),
        ];
        let p = self.permit(caller, &needs)?;
        if source_repo != repo {
            return Err(Error::new(
                Kind::NotImplemented,
                "copying between repositories needs the bytes to be sent",
            ));
        }
        let request = CopyRequest { source, source_path, attributes, source_condition, condition, force };
        p.engine.copy_object(&p.actor, repo, branch, path, request).await
    }

    /// Deletes a path; a missing object is no error (conditions aside).
    pub async fn delete_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        condition: WriteCondition,
        force: bool,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::DeleteObject, object(repo, path))])?;
        p.engine.delete_object(&p.actor, repo, branch, path, condition, force).await
    }

    /// Deletes several paths at one point in time. Paths that the caller may not delete and those whose
    /// condition fails are named in the answer and stay.
    pub async fn delete_objects(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        paths: Vec<(ObjectPath, WriteCondition)>,
        force: bool,
    ) -> Result<Vec<DeleteFailure>> {
        let mut failures = Vec::new();
        let mut allowed = Vec::new();
        let mut permitted = None;
        for (path, condition) in paths {
            match self.permit(caller, &[(Action::DeleteObject, object(repo, &path))]) {
                Ok(p) => {
                    permitted = Some(p);
                    allowed.push((path, condition));
                }
                Err(error) if error.kind == Kind::Denied => {
                    failures.push(DeleteFailure { path: path.to_bytes(), error });
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(p) = permitted {
            failures.extend(p.engine.delete_objects(&p.actor, repo, branch, allowed, force).await?);
        }
        Ok(failures)
    }

    /// Replaces the user metadata of an object (standard headers stay).
    pub async fn set_object_metadata(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        metadata: Metadata,
        force: bool,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        p.engine.set_object_metadata(&p.actor, repo, branch, path, metadata, force).await
    }

    /// Issues a physical address for a path (API-18.1): the address, a comma, the time and a signature that
    /// binds it to repository, branch and path. Nothing is stored.
    pub async fn new_physical_address(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
    ) -> Result<String> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        let (address, _) = p.engine.new_physical_address(repo)?;
        let issued = self.clock.now().millis();
        let mark = self.auth.mark(ADDRESS, &address_bytes(repo, branch, path, &address, issued));
        Ok(format!("{address},{issued:x}.{}", URL_SAFE_NO_PAD.encode(mark)))
    }

    /// Registers an issued address at a path. Addresses that this server did not issue for this repository,
    /// branch and path are refused (API-18.6; unlike API-18.7 foreign ones too, which only an import may name).
    pub async fn link_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        request: LinkRequest,
    ) -> Result<ObjectInfo> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        let invalid = || {
            Error::new(
                Kind::Invalid,
                "link address invalid: it was not issued for this repository, branch and path",
            )
        };
        let (address, token) = request.physical_address.rsplit_once(',').ok_or_else(|| {
            // An unknown repository is told first.
            p.engine.get_repository(repo).err().unwrap_or_else(invalid)
        })?;
        let own = p.engine.own_address(repo, address)?.ok_or_else(invalid)?;
        let (issued, signature) = token.split_once('.').ok_or_else(invalid)?;
        let issued = i64::from_str_radix(issued, 16).map_err(|_| invalid())?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid())?;
        if !self.auth.is_marked(ADDRESS, &address_bytes(repo, branch, path, address, issued), &signature) {
            return Err(invalid());
        }
        if self.clock.now().millis() > issued.saturating_add(ADDRESS_MILLIS) {
            return Err(Error::new(Kind::Invalid, "link address expired: ask for a new one"));
        }
        let shown = request.physical_address.clone();
        let mut info = p.engine.link_object(&p.actor, repo, branch, path, Some(own), request).await?;
        info.physical_address = shown;
        Ok(info)
    }
}
