//! Multipart upload verbs.

use crate::gate::{Caller, Service, Standing};
use bytes::Bytes;
use millpond_auth::{Action, Resource};
use millpond_engine::{CompleteRequest, Digests, ObjectInfo, Page, PartInfo, Result, UploadInfo};
use millpond_types::{Attributes, BranchName, ContentHash, ObjectPath, RepositoryName};
use std::collections::BTreeMap;

/// A part being written; dropping it discards what was written.
pub struct PartUpload(millpond_engine::PartWriter, Standing);

impl PartUpload {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.1.check()?;
        self.0.write(bytes).await
    }
    /// Digests of what was written so far.
    pub fn digests(&mut self) -> Digests {
        self.0.digests()
    }
    /// Makes the part durable. `checksums` are those that the door has verified.
    pub async fn finish(self, checksums: BTreeMap<String, Bytes>) -> Result<PartInfo> {
        self.1.check()?;
        self.0.finish(checksums).await
    }
}

fn object<'a>(repo: &'a RepositoryName, path: &'a ObjectPath) -> Resource<'a> {
    Resource::Object(repo, path)
}

impl Service {
    /// Starts a multipart upload; algorithm and type of checksum as named by the client, or empty.
    #[allow(clippy::too_many_arguments)]
    pub async fn create_upload(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        attributes: Attributes,
        checksum_algorithm: &str,
        checksum_type: &str,
    ) -> Result<UploadInfo> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        let engine = p.engine;
        engine
            .create_upload(&p.actor, repo, branch, path, attributes, checksum_algorithm, checksum_type)
            .await
    }

    /// The upload, if it is of this path and branch.
    pub async fn get_upload(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
    ) -> Result<UploadInfo> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        p.engine.get_upload(repo, branch, path, upload)
    }

    /// Starts writing a part.
    #[allow(clippy::too_many_arguments)]
    pub async fn put_part(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        number: u32,
        verified_sha256: Option<ContentHash>,
    ) -> Result<PartUpload> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        let part = p.engine.put_part(&p.actor, repo, branch, path, upload, number, verified_sha256).await?;
        Ok(PartUpload(part, self.standing(caller)))
    }

    /// The upload and its parts by number, greater than `after`.
    #[allow(clippy::too_many_arguments)]
    pub async fn list_parts(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        after: u32,
        amount: usize,
    ) -> Result<(UploadInfo, Page<PartInfo>)> {
        let p = self.permit(caller, &[(Action::ReadObject, object(repo, path))])?;
        let info = p.engine.get_upload(repo, branch, path, upload)?;
        Ok((info, p.engine.list_parts(repo, branch, path, upload, after, amount)?))
    }

    /// The same parts for whoever is about to join them, which takes no right to read.
    #[allow(clippy::too_many_arguments)]
    pub async fn parts_to_join(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        after: u32,
        amount: usize,
    ) -> Result<Page<PartInfo>> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        p.engine.list_parts(repo, branch, path, upload, after, amount)
    }

    /// Uploads of a repository by (branch/path, id), greater than the marker.
    #[allow(clippy::too_many_arguments)]
    pub async fn list_uploads(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        prefix: &str,
        after_key: &str,
        after_id: &str,
        amount: usize,
    ) -> Result<Page<UploadInfo>> {
        let p = self.permit(caller, &[(Action::ListObjects, Resource::Repository(repo))])?;
        p.engine.list_uploads(repo, prefix, after_key, after_id, amount)
    }

    /// Joins the parts into the object. Repeating the same call gives the same answer.
    #[allow(clippy::too_many_arguments)]
    pub async fn complete_upload(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        request: CompleteRequest,
    ) -> Result<ObjectInfo> {
        let p = self.permit(caller, &[(Action::WriteObject, object(repo, path))])?;
        p.engine.complete_upload(&p.actor, repo, branch, path, upload, request).await
    }

    /// Drops an upload and its parts.
    pub async fn abort_upload(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
    ) -> Result<()> {
        let p = self.permit(caller, &[(Action::DeleteObject, object(repo, path))])?;
        p.engine.abort_upload(&p.actor, repo, branch, path, upload).await
    }
}
