//! Physical addresses: issued for bytes to come, and registered at a path (API area 18).

use crate::address::{self, DataName};
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::{Actor, Error, Kind, LinkRequest, ObjectInfo, Result};
use millpond_types::limits::DECLARED_CHECKSUM_BYTES_MAX;
use millpond_types::{BranchName, Checksum, Content, Entry, ObjectPath, RepositoryName, Timestamp, Writer};
use std::sync::Arc;

impl Engine {
    /// A fresh address in a repository, and its name for the signature that the service puts on it.
    pub fn new_physical_address(&self, repository: &RepositoryName) -> Result<(String, DataName)> {
        let repo = self.repo(repository)?;
        let name = DataName::random(&*self.random);
        Ok((address::data_text(&repo.info().storage_namespace, &name), name))
    }

    /// The name in an address of this repository; `None` for an address elsewhere.
    pub fn own_address(&self, repository: &RepositoryName, text: &str) -> Result<Option<DataName>> {
        Ok(address::from_text(&self.repo(repository)?.info().storage_namespace, text))
    }

    /// Registers an address at a path. Whether it may be is the service's judgement: it has issued the
    /// address or allowed a foreign one.
    pub async fn link_object(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        path: &ObjectPath,
        own: Option<DataName>,
        request: LinkRequest,
    ) -> Result<ObjectInfo> {
        self.journal.admit()?;
        let fingerprint = || {
            let mut w = Writer::new();
            w.text(name.as_str()).bytes(path.as_bytes()).text(&request.physical_address);
            w.text(&request.checksum).uint(request.size);
            w.text(&format!("{:?}", request.mtime.map(Timestamp::millis)));
            w.bytes(&request.attributes.encode()).u8(u8::from(request.force));
            request.condition.fingerprint(&mut w);
            w.finish()
        };
        let keyed = match self.begin(actor, "link-object", repository, fingerprint).await? {
            Begin::Again(answer) => {
                return self.same_entry(answer, &*self.repo(repository)?, path.clone()).await;
            }
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let branch = self.branch(&repo, name)?;
        self.writable(&repo, request.force)?;
        super::put::check_attributes(&request.attributes)?;
        super::put::check_size(request.size)?;
        if request.checksum.len() > DECLARED_CHECKSUM_BYTES_MAX {
            let message = format!("the checksum has more than {DECLARED_CHECKSUM_BYTES_MAX} bytes");
            return Err(Error::new(Kind::TooLarge, message));
        }
        let context = self.context(actor, "link-object");
        let address = match own {
            Some(name) => address::explicit(&name),
            None => address::foreign(&request.physical_address),
        };
        let entry = Arc::new(Entry {
            content: Content::Declared,
            size: request.size,
            mtime: request.mtime.unwrap_or(context.time),
            checksum: Checksum::Declared(request.checksum),
            address: address::acquire(address).address(),
            attributes: Arc::new(request.attributes),
            extra: Default::default(),
        });
        self.stage_entry(keyed, context, &repo, &branch, path.clone(), entry, &request.condition).await
    }
}
