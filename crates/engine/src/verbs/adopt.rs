//! Adoption: what another server has is made again here, tree by tree and commit by commit (`docs/design/migrate.md`).
//!
//! The accident this prevents: a migration that breaks off leaves a repository that looks whole, or ids that were
//! written down everywhere name nothing any more. So nothing of this moves a branch: bytes, trees and commits are
//! stored until somebody makes a ref to the last of them, and each commit is known by its old id as well.

use super::put::{DataWriter, check_attributes, check_size};
use crate::address::{acquire, explicit, foreign, imported};
use crate::engine::Engine;
use crate::journal::Submission;
use crate::record::{ImportRule, Record};
use crate::state::Repo;
use crate::tasks::{Places, wait_for};
use crate::{
    Actor, AdoptedChange, AdoptedObject, AdoptedTree, AdoptedTreeRequest, CommitInfo, CommitRecord, Error,
    Kind, Result, StoredContent, Thing,
};
use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use millpond_origin::{Location, Mark, Origin, Seen, SourceKind};
use millpond_tree::{NewNodes, TreeError};
use millpond_types::limits::{
    DECLARED_CHECKSUM_BYTES_MAX, OBJECT_PATH_BYTES_MAX, STORAGE_NAMESPACE_BYTES_MAX,
};
use millpond_types::{Address, Checksum, CommitId, Content, Entry, ObjectPath, RepositoryName, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects that are looked at, and perhaps read, where they are, at a time.
const LOOKS: usize = 4;
/// Longest address: a namespace and a path; it may sit in a leaf.
const ADDRESS_BYTES_MAX: usize = STORAGE_NAMESPACE_BYTES_MAX + OBJECT_PATH_BYTES_MAX;
/// Bytes of one such read.
const READ_BYTES: u64 = 1024 * 1024;

/// Bytes being stored without a path. Dropping it discards them.
pub struct ContentWriter(DataWriter);

impl ContentWriter {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.write(bytes).await
    }

    /// Makes the bytes durable.
    pub async fn finish(self) -> Result<StoredContent> {
        let stored = self.0.store(false).await?;
        Ok(StoredContent(Entry {
            content: Content::Whole(stored.digests.sha256),
            size: stored.digests.size,
            mtime: Timestamp(0),
            checksum: Checksum::Md5(stored.digests.md5),
            address: if stored.cas { Address::Cas } else { explicit(&stored.name) },
            attributes: Arc::default(),
            extra: BTreeMap::new(),
        }))
    }
}

impl Engine {
    /// Starts storing bytes that a tree is to refer to.
    pub async fn adopt_content(&self, repository: &RepositoryName, force: bool) -> Result<ContentWriter> {
        self.journal.admit()?;
        let repo = self.repo(repository)?;
        self.writable(&repo, force)?;
        Ok(ContentWriter(DataWriter::new(self.owned(), repo, None)))
    }

    /// Makes a tree from another one and stores it. Objects that are neither sent nor found are named in the answer.
    ///
    /// # Errors
    /// `Invalid`: the base or a commit is not stored, or sent bytes are not those that were described.
    pub async fn adopt_tree(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        request: AdoptedTreeRequest,
    ) -> Result<AdoptedTree> {
        self.journal.admit()?;
        let repo = self.repo(repository)?;
        self.writable(&repo, request.force)?;
        self.check_tree(&repo, request.base).await?;
        let AdoptedTreeRequest { base, changes, like, storage, .. } = request;
        let mut entries: BTreeMap<ObjectPath, Option<Entry>> = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for AdoptedChange { path, object } in changes {
            wanted.remove(&path);
            match object {
                None => drop(entries.insert(path, None)),
                Some(object) => {
                    check(&path, &object)?;
                    match &object.stored {
                        None if object.gone => drop(entries.insert(path, Some(gone(&object)))),
                        Some(stored) => {
                            let entry = Entry {
                                mtime: object.mtime,
                                attributes: Arc::new(object.attributes),
                                address: acquire(stored.0.address.clone()).address(),
                                ..stored.0.clone()
                            };
                            entries.insert(path, Some(entry));
                        }
                        None => {
                            entries.remove(&path);
                            wanted.insert(path, object);
                        }
                    }
                }
            }
        }
        let found = self.find_like(&repo, &like, &wanted).await?;
        wanted.retain(|path, _| !found.contains_key(path));
        entries.extend(found.into_iter().map(|(path, entry)| (path, Some(entry))));
        let links = self.link_where_they_are(&repo, actor, &storage, &wanted).await?;
        wanted.retain(|path, _| !links.contains_key(path));
        let linked = links.len() as u64;
        entries.extend(links.into_iter().map(|(path, entry)| (path, Some(entry))));
        let (tree, new) = repo
            .nodes
            .work(move |source| {
                let mut new = NewNodes::default();
                let changes = entries.into_iter().map(Ok::<_, TreeError>);
                let tree = millpond_tree::replace(source, base, changes, &mut new)?;
                Ok((tree, new))
            })
            .await?;
        repo.nodes.store(&[new]).await?;
        Ok(AdoptedTree { tree, linked, missing: wanted.into_keys().collect() })
    }

    /// Stores a commit that another server knows as `alias`, and makes that its alias here. Doing it again does nothing.
    ///
    /// # Errors
    /// `Invalid`: tree or a parent is not there. `AlreadyExists`: the alias stands for another commit.
    pub async fn adopt_commit(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        alias: CommitId,
        record: CommitRecord,
        force: bool,
    ) -> Result<CommitInfo> {
        self.journal.admit()?;
        super::commit::check_words(&record.message, &record.metadata)?;
        let repo = self.repo(repository)?;
        self.writable(&repo, force)?;
        let commit = Arc::new(self.brought_in(&repo, record).await?);
        let id = commit.id();
        let known = self.commit_by_id(&repo, &id).await?.is_some();
        let meant = match alias == id {
            true => Some(id),
            false => match self.commit_by_id(&repo, &alias).await? {
                Some(_) => Some(alias),
                None => self.by_alias(&repo, &alias).await?,
            },
        };
        if let Some(meant) = meant.filter(|meant| *meant != id) {
            self.journal.barrier().await?;
            let message = format!("commit id {alias} stands for {meant} already, which is not {id}");
            return Err(Error::new(Kind::AlreadyExists, message));
        }
        if known && meant.is_some() {
            // What says so may not be durable yet.
            self.journal.barrier().await?;
            return Ok(CommitInfo { id, commit: (*commit).clone() });
        }
        let decided = repo.decide().map(|_held| {
            let mut records = Vec::new();
            if !known {
                repo.unsaved.write().commits.insert(id, commit.clone());
                records.push(Record::CommitsStored { uid: repo.uid, commits: vec![commit.clone()] });
            }
            if meant.is_none() {
                records.push(Record::AliasAdded { uid: repo.uid, alias, commit: id });
            }
            let context = self.context(actor, "adopt-commit");
            self.submit(Submission { context, records, nodes: None, created: None })
        });
        self.settle(decided).await?;
        Ok(CommitInfo { id, commit: (*commit).clone() })
    }

    /// Objects that one of the commits has, the same, at the same path. Only an MD5 or a mark says that they are the
    /// same.
    async fn find_like(
        &self,
        repo: &Arc<Repo>,
        like: &[CommitId],
        wanted: &BTreeMap<ObjectPath, AdoptedObject>,
    ) -> Result<BTreeMap<ObjectPath, Entry>> {
        let mut trees = Vec::new();
        for id in like {
            let commit = self.commit_by_id(repo, id).await?.ok_or_else(|| {
                Error::new(Kind::NotFound(Thing::Commit), format!("commit {id} is not in this repository"))
            })?;
            trees.push(commit.tree);
        }
        if trees.is_empty() || wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted = wanted.clone();
        repo.nodes
            .work(move |source| {
                let mut found = BTreeMap::new();
                for (path, object) in wanted {
                    for tree in &trees {
                        if let Some(entry) = millpond_tree::get(source, *tree, path.as_bytes())?
                            && is_it(&entry, &object)
                        {
                            found.insert(path, entry);
                            break;
                        }
                    }
                }
                Ok(found)
            })
            .await
    }

    /// Objects whose bytes this server sees where they are.
    async fn link_where_they_are(
        &self,
        repo: &Arc<Repo>,
        actor: &Actor,
        storage: &str,
        wanted: &BTreeMap<ObjectPath, AdoptedObject>,
    ) -> Result<BTreeMap<ObjectPath, Entry>> {
        let origin = &self.options.origin;
        let storage = Some(storage).filter(|storage| !storage.is_empty());
        let storage = storage.and_then(|folder| origin.locate(folder, SourceKind::Prefix).ok());
        let looks = wanted.iter().filter(|(_, object)| !object.address.is_empty()).map(|(path, object)| {
            let (origin, storage, object) = (origin.clone(), storage.clone(), object.clone());
            let look = move |wait: &dyn crate::tasks::Wait| look(&*origin, storage.as_ref(), &object, wait);
            async move { (path, self.options.tasks.run_in(Places::Origins, look).await) }
        });
        // A boxed stream: the compiler cannot see otherwise that the future may change threads.
        let mut looks = futures::stream::iter(looks).buffer_unordered(LOOKS).boxed();
        let mut seen = BTreeMap::new();
        while let Some((path, found)) = looks.next().await {
            if let Some(found) = found? {
                seen.insert(path.clone(), found);
            }
        }
        drop(looks);
        if seen.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rules = seen.values().map(|there| &there.rule);
        let numbers = self.rule_numbers(repo, actor, rules).await?;
        let links = seen.into_iter().zip(numbers).filter_map(|((path, there), number)| {
            let object = wanted.get(&path)?;
            let entry = Entry {
                content: Content::Declared,
                size: there.seen.size,
                mtime: object.mtime,
                checksum: checksum(&object.checksum),
                address: acquire(imported(number, there.seen.mark, &there.name)).address(),
                attributes: Arc::new(object.attributes.clone()),
                extra: BTreeMap::new(),
            };
            Some((path, entry))
        });
        Ok(links.collect())
    }
}

/// Refuses what no entry may hold, and bytes that are not those of the description.
fn check(path: &ObjectPath, object: &AdoptedObject) -> Result<()> {
    check_attributes(&object.attributes)?;
    check_size(object.size)?;
    if object.checksum.len() > DECLARED_CHECKSUM_BYTES_MAX {
        let message = format!("the checksum has more than {DECLARED_CHECKSUM_BYTES_MAX} bytes");
        return Err(Error::new(Kind::TooLarge, message));
    }
    if object.address.len() > ADDRESS_BYTES_MAX {
        let message = format!("the address has more than {ADDRESS_BYTES_MAX} bytes");
        return Err(Error::new(Kind::TooLarge, message));
    }
    let Some(stored) = &object.stored else { return Ok(()) };
    let differs = match checksum(&object.checksum) {
        md5 @ Checksum::Md5(_) => md5 != stored.0.checksum,
        Checksum::Md5Parts(..) | Checksum::Declared(_) => false,
    };
    if stored.0.size != object.size || differs {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "'{}' is said to have {} bytes with checksum {}, but {} bytes with {} were sent",
                path.to_text(),
                object.size,
                object.checksum,
                stored.0.size,
                stored.0.checksum.to_text()
            ),
        ));
    }
    Ok(())
}

/// An object whose bytes are nowhere: reading it tells so, with the place where it was.
fn gone(object: &AdoptedObject) -> Entry {
    Entry {
        content: Content::Declared,
        size: object.size,
        mtime: object.mtime,
        checksum: checksum(&object.checksum),
        address: acquire(foreign(&object.address)).address(),
        attributes: Arc::new(object.attributes.clone()),
        extra: BTreeMap::new(),
    }
}

/// Whether an entry here is the object there.
fn is_it(entry: &Entry, object: &AdoptedObject) -> bool {
    let proves = match &entry.checksum {
        Checksum::Md5(_) => true,
        Checksum::Md5Parts(..) => false,
        Checksum::Declared(text) => Mark::parse(text).is_some(),
    };
    proves
        && entry.checksum.to_text() == object.checksum
        && entry.size == object.size
        && entry.mtime == object.mtime
        && *entry.attributes == object.attributes
}

/// An ETag as we keep it.
fn checksum(text: &str) -> Checksum {
    let md5 = |text: &str| <[u8; 16]>::try_from(hex::decode(text).ok()?).ok();
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let parts = |text: &str| {
        let (sum, parts) = text.split_once('-')?;
        let count: u32 = parts.parse().ok().filter(|count: &u32| count.to_string() == parts)?;
        Some(Checksum::Md5Parts(md5(sum)?, count))
    };
    let known = md5(text).map(Checksum::Md5).or_else(|| parts(text)).filter(|_| lower);
    known.unwrap_or_else(|| Checksum::Declared(text.to_owned()))
}

/// An object that lies where its address says.
struct There {
    rule: ImportRule,
    name: Bytes,
    seen: Seen,
}

/// Looks whether what lies at an object's address is the object. What cannot be read is not.
fn look(
    origin: &dyn Origin,
    storage: Option<&Location>,
    object: &AdoptedObject,
    wait: &dyn crate::tasks::Wait,
) -> Option<There> {
    let location = origin.locate(&object.address, SourceKind::Object).ok()?;
    let seen = origin.look(&location).ok()?;
    if seen.size != object.size {
        return None;
    }
    let own = storage.and_then(|storage| Some((storage, location.0.strip_prefix(&*storage.0)?)));
    let is_it = match checksum(&object.checksum) {
        Checksum::Md5(md5) => read_md5(origin, &location, &seen, wait)? == md5,
        Checksum::Declared(text) => Mark::parse(&text) == Some(seen.mark),
        Checksum::Md5Parts(..) => own.is_some(),
    };
    if !is_it {
        return None;
    }
    let (source, name) = match own {
        Some((storage, name)) => (storage.clone(), Bytes::copy_from_slice(name)),
        None => {
            let cut = location.0.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            (Location(location.0.slice(..cut)), location.0.slice(cut..))
        }
    };
    Some(There { rule: ImportRule { source, destination: Bytes::new() }, name, seen })
}

fn read_md5(
    origin: &dyn Origin,
    location: &Location,
    seen: &Seen,
    wait: &dyn crate::tasks::Wait,
) -> Option<[u8; 16]> {
    let reader = origin.open(location, seen.mark).ok()?;
    let mut md5 = Md5::new();
    let mut at = 0;
    while at < seen.size {
        let next = (at + READ_BYTES).min(seen.size);
        md5.update(wait_for(wait, reader.read(at..next)).ok()?);
        at = next;
    }
    Some(md5.finalize().into())
}
