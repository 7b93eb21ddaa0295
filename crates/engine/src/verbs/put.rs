//! Writing an object: bytes stream in, are hashed in one pass, stored, and only then staged.

use crate::address::{self, DataName};
use crate::engine::Engine;
use crate::idempotency::{Begin, Keyed};
use crate::nodes::store_error;
use crate::state::{Branch, Repo};
use crate::{Actor, Digests, Error, Kind, ObjectInfo, PutRequest, Result};
use bytes::{Bytes, BytesMut};
use md5::Md5;
use millpond_blob::BlobWriter;
use millpond_types::limits::{ATTRIBUTES_BYTES_MAX, OBJECT_BYTES_MAX, SMALL_OBJECT_BYTES_MAX};
use millpond_types::{
    Address, BranchName, Checksum, Content, ContentHash, Entry, ObjectPath, RepositoryName, Writer,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects up to this size are held in memory until their hash is known, so that they can be stored once
/// per repository under it; larger ones stream to a name of their own.
pub(crate) const CAS_BYTES_MAX: usize = 1024 * 1024;

/// What the ref log and idempotency keys know it by.
const VERB: &str = "put-object";

/// Bytes being hashed and stored. Dropping it discards them.
pub(crate) struct DataWriter {
    engine: Arc<Engine>,
    repo: Arc<Repo>,
    md5: Md5,
    sha256: Option<Sha256>,
    verified: Option<ContentHash>,
    size: u64,
    buffer: BytesMut,
    first: Option<Bytes>,
    stream: Option<(DataName, Box<dyn BlobWriter>)>,
}

/// Bytes that are durable.
pub(crate) struct Stored {
    pub digests: Digests,
    pub name: DataName,
    pub cas: bool,
}

impl DataWriter {
    pub fn new(engine: Arc<Engine>, repo: Arc<Repo>, verified: Option<ContentHash>) -> Self {
        Self {
            engine,
            repo,
            md5: Md5::new(),
            sha256: verified.is_none().then(Sha256::new),
            verified,
            size: 0,
            buffer: BytesMut::new(),
            first: None,
            stream: None,
        }
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.size += bytes.len() as u64;
        check_size(self.size)?;
        self.md5.update(&bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(&bytes);
        }
        if let Some((_, writer)) = &mut self.stream {
            return writer.write(bytes).await.map_err(store_error);
        }
        // One piece needs no copy; more are joined.
        match self.first.take() {
            None if self.buffer.is_empty() => self.first = Some(bytes),
            first => {
                if let Some(first) = first {
                    self.buffer.extend_from_slice(&first);
                }
                self.buffer.extend_from_slice(&bytes);
            }
        }
        if self.size as usize > CAS_BYTES_MAX {
            let name = DataName::random(&*self.engine.random);
            let key = crate::keys::data(self.repo.uid, &name);
            let mut writer = self.engine.blobs.create(&key).await.map_err(store_error)?;
            writer.write(self.take_buffer()).await.map_err(store_error)?;
            self.stream = Some((name, writer));
        }
        Ok(())
    }

    fn take_buffer(&mut self) -> Bytes {
        self.first.take().unwrap_or_else(|| std::mem::take(&mut self.buffer).freeze())
    }

    pub fn digests(&self) -> Digests {
        let sha256 = match (&self.sha256, self.verified) {
            (Some(hasher), _) => ContentHash(hasher.clone().finalize().into()),
            (None, verified) => verified.expect("without a hasher the hash was given"),
        };
        Digests { sha256, md5: self.md5.clone().finalize().into(), size: self.size }
    }

    /// Makes the bytes durable. `apart` keeps them under a name of their own even if they are small.
    pub async fn store(mut self, apart: bool) -> Result<Stored> {
        let digests = self.digests();
        if let Some((name, writer)) = self.stream.take() {
            writer.publish().await.map_err(store_error)?;
            return Ok(Stored { digests, name, cas: false });
        }
        let bytes = self.take_buffer();
        let name = if apart { DataName::random(&*self.engine.random) } else { DataName::of(&digests.sha256) };
        let key = crate::keys::data(self.repo.uid, &name);
        // The same bytes are there already: nothing to write. They are read, not just looked up: writing an
        // object again must heal a damaged copy, or say so. Small ones the store compares by itself.
        let known =
            !apart && bytes.len() > SMALL_OBJECT_BYTES_MAX && is_stored(&self.engine, &key, &bytes).await;
        if !known {
            self.engine.blobs.put(&key, bytes).await.map_err(store_error)?;
        }
        Ok(Stored { digests, name, cas: !apart })
    }
}

/// Whether exactly these bytes are readable under the name.
async fn is_stored(engine: &Engine, key: &millpond_blob::BlobKey, bytes: &Bytes) -> bool {
    match engine.blobs.open(key).await {
        Ok(reader) if reader.size() == bytes.len() as u64 => {
            reader.read(0..reader.size()).await.is_ok_and(|stored| stored == *bytes)
        }
        _ => false,
    }
}

/// An object being written. Dropping it discards it.
pub struct ObjectWriter {
    engine: Arc<Engine>,
    actor: Actor,
    repo: Arc<Repo>,
    name: BranchName,
    branch: Result<Arc<Branch>>,
    path: ObjectPath,
    request: PutRequest,
    data: DataWriter,
}

impl Engine {
    /// Starts writing an object. What would be refused at the end is refused here, before any byte.
    pub async fn put_object(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        path: &ObjectPath,
        request: PutRequest,
    ) -> Result<ObjectWriter> {
        self.journal.admit()?;
        let repo = self.repo(repository)?;
        let branch = self.branch(&repo, name);
        self.changeable(&repo, name, VERB, request.force)?;
        check_attributes(&request.attributes)?;
        // With an idempotency key it may be a repetition, whose answer does not depend on what is there now.
        if actor.idempotency_key.is_none() {
            let state = branch.clone()?.state.read();
            if !request.condition.is_empty() {
                let view = crate::resolve::View::of_branch(&state);
                request.condition.judge(path, view.get(&repo, path).await?.as_deref())?;
            }
        }
        let data = DataWriter::new(self.owned(), repo.clone(), request.verified_sha256);
        let (engine, actor, name, path) = (self.owned(), actor.clone(), name.clone(), path.clone());
        Ok(ObjectWriter { engine, actor, repo, name, branch, path, request, data })
    }
}

/// Refuses objects beyond the limit of S3.
pub(crate) fn check_size(bytes: u64) -> Result<()> {
    if bytes > OBJECT_BYTES_MAX {
        return Err(Error::new(Kind::TooLarge, "the object would be larger than 5 TiB"));
    }
    Ok(())
}

/// Refuses attributes that are too large to sit in tree leaves.
pub(crate) fn check_attributes(attributes: &millpond_types::Attributes) -> Result<()> {
    if attributes.encode().len() > ATTRIBUTES_BYTES_MAX {
        return Err(Error::new(Kind::TooLarge, "content type, headers and metadata together exceed 16 KiB"));
    }
    Ok(())
}

impl ObjectWriter {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.data.write(bytes).await
    }

    /// Digests of the bytes so far.
    pub fn digests(&self) -> Digests {
        self.data.digests()
    }

    /// Makes the object durable and visible.
    pub async fn finish(self, extra: BTreeMap<String, Bytes>) -> Result<ObjectInfo> {
        let Self { engine, actor, repo, name, branch, path, request, data } = self;
        let stored = data.store(false).await?;
        let address =
            address::acquire(if stored.cas { Address::Cas } else { address::explicit(&stored.name) });
        let context = engine.context(&actor, VERB);
        let entry = Arc::new(Entry {
            content: Content::Whole(stored.digests.sha256),
            size: stored.digests.size,
            mtime: context.time,
            checksum: Checksum::Md5(stored.digests.md5),
            address: address.address(),
            attributes: Arc::new(request.attributes),
            extra,
        });
        let fingerprint = || fingerprint(&name, &path, &entry, &request.condition);
        let keyed = match engine.begin(&actor, VERB, &repo.info().name, fingerprint).await? {
            Begin::Again(answer) => return engine.same_entry(answer, &repo, path).await,
            Begin::Go(keyed) => keyed,
        };
        engine.stage_entry(keyed, context, &repo, &branch?, path, entry, &request.condition).await
    }
}

impl Engine {
    /// Stages one entry under a condition, waits until it is durable, and describes it.
    #[allow(clippy::too_many_arguments)]
    pub(crate) async fn stage_entry(
        &self,
        mut keyed: Keyed,
        context: crate::record::Context,
        repo: &Arc<Repo>,
        branch: &Arc<Branch>,
        path: ObjectPath,
        entry: Arc<Entry>,
        condition: &crate::WriteCondition,
    ) -> Result<ObjectInfo> {
        if condition.is_empty() && keyed.is_plain() {
            let op = (path.clone(), Some(entry.clone()));
            self.settle(self.stage(context, repo, branch, vec![op])).await?;
        } else {
            self.stage_judged(context, repo, branch, std::slice::from_ref(&path), |context, _, current| {
                condition.judge(&path, current[0].as_deref())?;
                keyed.answer(context, || entry_answer(&entry));
                Ok((vec![(path.clone(), Some(entry.clone()))], vec![], ()))
            })
            .await?;
        }
        Ok(describe(repo, path, &entry))
    }

    /// What a repeated write is told.
    pub(crate) async fn same_entry(
        &self,
        answer: Bytes,
        repo: &Repo,
        path: ObjectPath,
    ) -> Result<ObjectInfo> {
        Ok(describe(repo, path, &self.same(answer, Entry::decode).await?))
    }
}

/// What makes two writes the same request: all but the time and where the bytes went.
fn fingerprint(
    branch: &BranchName,
    path: &ObjectPath,
    entry: &Entry,
    condition: &crate::WriteCondition,
) -> Vec<u8> {
    let mut w = Writer::new();
    w.text(branch.as_str()).bytes(path.as_bytes()).raw(&entry.hash().0).uint(entry.size);
    w.text(&entry.checksum.to_text()).bytes(&entry.attributes.encode());
    condition.fingerprint(&mut w);
    w.finish()
}

/// The answer to remember of a write.
pub(crate) fn entry_answer(entry: &Entry) -> Bytes {
    let mut w = Writer::new();
    entry.encode(&mut w);
    w.finish().into()
}

/// An entry as callers see it.
pub(crate) fn describe(repo: &Repo, path: ObjectPath, entry: &Entry) -> ObjectInfo {
    let physical_address = address::to_text(&repo.state.read(), &path, entry);
    ObjectInfo { path, entry: entry.clone(), physical_address }
}
