//! Adoption: bytes, trees and commits of another server, as a migration brings them.

use crate::gate::{Caller, Service, Standing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use millpond_auth::{Action, Resource};
use millpond_engine::{
    AdoptedTree, AdoptedTreeRequest, CommitInfo, CommitRecord, Error, Kind, Result, StoredContent,
};
use millpond_types::{CommitId, RepositoryName};

/// How long a receipt for stored bytes may be used, in milliseconds (24 h, as an issued address).
const RECEIPT_MILLIS: i64 = 24 * 3600 * 1000;
/// Purpose of the marks on receipts.
const RECEIPT: &str = "stored-content";

/// Bytes being stored without a path; dropping it discards them.
pub struct ContentUpload(millpond_engine::ContentWriter, Standing);

impl ContentUpload {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.1.check()?;
        self.0.write(bytes).await
    }
    /// Makes the bytes durable.
    pub async fn finish(self) -> Result<StoredContent> {
        self.1.check()?;
        self.0.finish().await
    }
}

impl Service {
    /// Starts storing bytes that a tree is to refer to. A tree may need them at any path, so the right to make commits
    /// in the repository is asked for here, and the right to each path with the tree.
    pub async fn adopt_content(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        force: bool,
    ) -> Result<ContentUpload> {
        let p = self.permit(caller, &[(Action::CreateCommit, Resource::Repository(repo))])?;
        Ok(ContentUpload(p.engine.adopt_content(repo, force).await?, self.standing(caller)))
    }

    /// A text that [`Service::stored_content`] knows again, for this repository only and for a day.
    pub fn receipt(&self, caller: &Caller, repo: &RepositoryName, stored: &StoredContent) -> Result<String> {
        let encoded = stored.encode();
        let issued = self.clock.now().millis();
        let mark = self.auth.mark(RECEIPT, &self.receipt_bytes(caller, repo, &encoded, issued)?);
        Ok(format!("{}.{issued:x}.{}", URL_SAFE_NO_PAD.encode(encoded), URL_SAFE_NO_PAD.encode(mark)))
    }

    /// What a receipt stands for.
    ///
    /// # Errors
    /// `Invalid`: it is not one of this repository, or too old.
    pub fn stored_content(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        receipt: &str,
    ) -> Result<StoredContent> {
        let invalid = || Error::new(Kind::Invalid, "receipt invalid: it was not issued for this repository");
        let mut parts = receipt.split('.');
        let (Some(encoded), Some(issued), Some(mark), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        let encoded = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| invalid())?;
        let issued = i64::from_str_radix(issued, 16).map_err(|_| invalid())?;
        let mark = URL_SAFE_NO_PAD.decode(mark).map_err(|_| invalid())?;
        if !self.auth.is_marked(RECEIPT, &self.receipt_bytes(caller, repo, &encoded, issued)?, &mark) {
            return Err(invalid());
        }
        if self.clock.now().millis() > issued.saturating_add(RECEIPT_MILLIS) {
            return Err(Error::new(Kind::Invalid, "receipt expired: send the bytes again"));
        }
        StoredContent::decode(encoded.into()).map_err(|_| invalid())
    }

    /// What the mark on a receipt covers. A repository of the same name that is created later is another one.
    fn receipt_bytes(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        encoded: &[u8],
        issued: i64,
    ) -> Result<Vec<u8>> {
        let p = self.permit(caller, &[(Action::CreateCommit, Resource::Repository(repo))])?;
        let created = p.engine.get_repository(repo)?.created;
        let mut w = millpond_types::Writer::new();
        w.text(repo.as_str()).int(created.millis()).bytes(encoded).int(issued);
        Ok(w.finish())
    }

    /// Makes a tree from another one. Where the caller may not import from an object's place, it is not linked.
    pub async fn adopt_tree(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        mut request: AdoptedTreeRequest,
    ) -> Result<AdoptedTree> {
        let p = self.permit(caller, &[(Action::CreateCommit, Resource::Repository(repo))])?;
        for change in &mut request.changes {
            let path = Resource::Object(repo, &change.path);
            match &mut change.object {
                None => drop(self.permit(caller, &[(Action::DeleteObject, path)])?),
                Some(object) => {
                    self.permit(caller, &[(Action::WriteObject, path)])?;
                    object.address = millpond_engine::canonical(&object.address);
                    let place = [(Action::ImportFromStorage, Resource::Namespace(&object.address))];
                    let may_stay = !object.gone && !object.address.is_empty();
                    if may_stay && self.permit(caller, &place).is_err() {
                        object.address.clear();
                    }
                }
            }
        }
        p.engine.adopt_tree(&p.actor, repo, request).await
    }

    /// Stores a commit of another server under an id of ours; its old id becomes an alias.
    pub async fn adopt_commit(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        alias: CommitId,
        record: CommitRecord,
        force: bool,
    ) -> Result<CommitInfo> {
        let p = self.permit(caller, &[(Action::CreateCommit, Resource::Repository(repo))])?;
        p.engine.adopt_commit(&p.actor, repo, alias, record, force).await
    }
}
