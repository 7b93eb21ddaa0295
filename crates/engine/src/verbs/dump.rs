//! Dump of refs, and their restoring into a bare repository (`docs/design/dump.md`, API area 23).
//!
//! The accident this prevents: a restore that breaks off leaves half of the branches, and somebody works on them. So
//! everything that commits refer to is brought first, then the commits, of which nobody knows yet; one row of the
//! journal makes all branches and tags. And: a repository's history refers to bytes that another one owns and may
//! delete. So packs and data blobs are copied, never shared.

use crate::backup::{LIST_PAGE, PARALLEL, copy_blob_as};
use crate::dump::{self, Branch, Commits, Origin, Tag};
use crate::engine::{Created, Engine, restored_branch};
use crate::idempotency::Begin;
use crate::jobs::Made;
use crate::journal::Submission;
use crate::keys;
use crate::nodes::store_error;
use crate::record::{Record, RestoredBranch};
use crate::state::{Repo, RepoState};
use crate::verbs::jobs::NewJob;
use crate::{Actor, DumpIds, Error, JobKind, Kind, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use millpond_blob::{BlobError, BlobKey};
use millpond_types::limits::REFS_RESTORED_MAX;
use millpond_types::{Commit, CommitId, ContentHash, DecodeError, NodeId, RepositoryName, TreeId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Commits or aliases of one row of the journal.
const CHUNK: usize = 1024;

/// A dump, read.
struct Dump {
    origin: Origin,
    commits: Commits,
    branches: Vec<RestoredBranch>,
    tags: Vec<Tag>,
}

impl Engine {
    /// Writes down all commits, branches and tags as of one moment. Nothing staged is in it.
    pub async fn dump_refs(&self, repository: &RepositoryName) -> Result<DumpIds> {
        self.journal.admit()?;
        let repo = self.repo(repository)?;
        let moment = repo.clone();
        let captured = self.journal.capture(move |_, _| {
            let state = moment.state.read();
            let branch = |branch: &Arc<crate::state::Branch>| {
                (branch.name.clone(), branch.state.look(|state| state.head), branch.hidden)
            };
            let branches: Vec<Branch> = state.branches.values().map(branch).collect();
            let tags: Vec<Tag> = state.tags.iter().map(|(tag, commit)| (tag.clone(), *commit)).collect();
            let unsaved = moment.unsaved.read();
            // Before the tables: a checkpoint takes them from here only when they are there.
            (state, branches, tags, unsaved.commits.clone(), unsaved.aliases.clone())
        });
        let (state, branches, tags, mut commits, mut aliases) = captured.await?;
        for (key, value) in crate::checkpoint::scan_all(&*self.kv, &keys::commits(repo.uid, &[])).await? {
            let commit = Commit::from_bytes(value).map_err(|error| {
                let row = millpond_kv::key_text(&key);
                Error::new(Kind::Damaged, format!("commit {row} cannot be read: {error}"))
            })?;
            commits.insert(commit.id(), Arc::new(commit));
        }
        let prefix = keys::aliases(repo.uid);
        for (key, value) in crate::checkpoint::scan_all(&*self.kv, &prefix).await? {
            let (alias, commit) = crate::tables::decode_alias(&key[prefix.len()..], &value)?;
            aliases.insert(alias, commit);
        }
        // Parents have smaller generations.
        let mut ordered: Vec<_> =
            commits.into_iter().map(|(id, commit)| (commit.generation, id, commit)).collect();
        ordered.sort_unstable_by_key(|(generation, id, _)| (*generation, *id));
        let content = Commits {
            rules: state.rules.iter().map(|(number, rule)| (*number, rule.clone())).collect(),
            aliases: aliases.into_iter().collect(),
            commits: ordered.into_iter().map(|(_, _, commit)| commit).collect(),
        };
        let origin = Origin { uid: repo.uid, namespace: state.info.storage_namespace.clone() };
        Ok(DumpIds {
            commits: self.write_dump(dump::encode_commits(&origin, &content)).await?,
            branches: self.write_dump(dump::encode_branches(&origin, &branches)).await?,
            tags: self.write_dump(dump::encode_tags(&origin, &tags)).await?,
        })
    }

    async fn write_dump(&self, bytes: Bytes) -> Result<ContentHash> {
        let id = ContentHash::of(&bytes);
        self.blobs.put(&keys::dump(&id), bytes).await.map_err(store_error)?;
        Ok(id)
    }

    /// Dumps in the background, and names the job.
    pub async fn dump_job(&self, actor: &Actor, repository: &RepositoryName) -> Result<String> {
        let new = NewJob { kind: JobKind::Dump, verb: "dump-job", branch: "", request: Vec::new() };
        let work = |engine: Arc<Self>, _: Actor| -> BoxFuture<'static, Result<Made>> {
            let repository = repository.clone();
            Box::pin(async move { Ok(Made::Dump(engine.dump_refs(&repository).await?)) })
        };
        self.start_job(actor, repository, new, |_| Ok(()), work).await
    }

    /// Restores in the background, and names the job.
    pub async fn restore_job(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        ids: DumpIds,
        force: bool,
    ) -> Result<String> {
        let request = format!("{ids:?}").into_bytes();
        let new = NewJob { kind: JobKind::Restore, verb: "restore-job", branch: "", request };
        let check = |repo: &Repo| {
            self.writable(repo, force)?;
            bare(&repo.state.read(), &[])
        };
        let work = |engine: Arc<Self>, actor: Actor| -> BoxFuture<'static, Result<Made>> {
            let repository = repository.clone();
            Box::pin(async move {
                engine.restore_refs(&actor, &repository, ids, force).await?;
                Ok(Made::Nothing)
            })
        };
        self.start_job(actor, repository, new, check, work).await
    }

    /// Gives a bare repository the commits, branches and tags of a dump of its namespace, with everything that they
    /// refer to. Breaking off and doing it again is safe.
    ///
    /// # Errors
    /// `Invalid`: it is not bare, or the dump is not whole. `Gone`: its namespace has no such dump.
    pub async fn restore_refs(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        ids: DumpIds,
        force: bool,
    ) -> Result<()> {
        self.journal.admit()?;
        let request = || format!("{ids:?}").into_bytes();
        let mut keyed = match self.begin(actor, "restore-refs", repository, request).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.writable(&repo, force)?;
        bare(&repo.state.read(), &[])?;
        if !self.moves_of(&repo, None, None, 1).await?.items.is_empty() {
            return Err(not_bare());
        }
        let namespace = repo.info().storage_namespace.clone();
        let dump = self.read_dump(&namespace, ids).await?;
        bare(&repo.state.read(), &dump.tags)?;
        self.without_deletions(self.bring_storage(&repo, &dump)).await?;
        self.bring_commits(actor, &repo, &dump.commits).await?;
        let decided = repo.decide().and_then(|mut state| {
            bare(&state, &dump.tags)?;
            let made: Vec<_> = dump.branches.iter().map(restored_branch).collect();
            state.restore(&made, &dump.tags);
            let mut context = self.context(actor, "restore-refs");
            keyed.answer(&mut context, Bytes::new);
            let record = Record::RefsRestored { uid: repo.uid, branches: dump.branches, tags: dump.tags };
            let created = Some(Created::Branches(made));
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created }))
        });
        self.settle(decided).await
    }

    /// The three files, found whole and fitting together.
    async fn read_dump(&self, namespace: &str, ids: DumpIds) -> Result<Dump> {
        let (origin, commits) = self.dump_file(namespace, &ids.commits, dump::decode_commits).await?;
        let (of_branches, branches) = self.dump_file(namespace, &ids.branches, dump::decode_branches).await?;
        let (of_tags, tags) = self.dump_file(namespace, &ids.tags, dump::decode_tags).await?;
        if of_branches != origin || of_tags != origin {
            return Err(broken("its files are of several repositories"));
        }
        admit(branches.len() + tags.len())?;
        let mut known: HashMap<CommitId, &Commit> = HashMap::new();
        for commit in &commits.commits {
            let mut generation = 1;
            for parent in &commit.parents {
                let parent = known.get(parent).ok_or_else(|| broken("the parent of a commit is missing"))?;
                generation = generation.max(parent.generation + 1);
            }
            if generation != commit.generation {
                return Err(broken("the generation of a commit does not follow from its parents"));
            }
            known.insert(commit.id(), commit);
        }
        let find = |id: &CommitId| {
            known.get(id).ok_or_else(|| broken(&format!("commit {id} is referred to and missing")))
        };
        let restored =
            |(name, head, hidden): Branch| Ok(RestoredBranch { name, head, tree: find(&head)?.tree, hidden });
        let branches = branches.into_iter().map(restored).collect::<Result<Vec<_>>>()?;
        let mut named = tags.iter().map(|(_, id)| id).chain(commits.aliases.iter().map(|(_, id)| id));
        named.try_for_each(|id| find(id).map(drop))?;
        drop(known);
        Ok(Dump { origin, commits, branches, tags })
    }

    /// A node of a tree as it is stored (`docs/formats/tree-node.md`), or a file of a dump of this repository's namespace.
    ///
    /// # Errors
    /// `Gone`: there is none of that id.
    pub async fn metadata_object(&self, repository: &RepositoryName, id: &ContentHash) -> Result<Bytes> {
        let repo = self.repo(repository)?;
        let node = NodeId(id.0);
        if repo.nodes.has(&node).await? {
            return repo.nodes.read(|source| Ok(source.node(&node)?.bytes().clone())).await;
        }
        let read = |bytes: Bytes| Ok((dump::origin(bytes.clone())?, bytes));
        Ok(self.dump_file(&repo.info().storage_namespace, id, read).await?.1)
    }

    async fn dump_file<T>(
        &self,
        namespace: &str,
        id: &ContentHash,
        decode: impl FnOnce(Bytes) -> std::result::Result<(Origin, T), DecodeError>,
    ) -> Result<(Origin, T)> {
        let gone = || {
            Error::new(
                Kind::Gone,
                format!("storage namespace '{namespace}' has no dump file {}", id.to_hex()),
            )
        };
        let bytes = match self.blobs.open(&keys::dump(id)).await {
            Err(BlobError::NotFound(_)) => return Err(gone()),
            Err(error) => return Err(store_error(error)),
            Ok(reader) => reader.read(0..reader.size()).await.map_err(store_error)?,
        };
        if ContentHash::of(&bytes) != *id {
            return Err(Error::new(
                Kind::Damaged,
                format!("dump file {} does not match its id", id.to_hex()),
            ));
        }
        let (origin, content) = decode(bytes).map_err(|error| broken(&error.to_string()))?;
        // It is in the other repository's namespace, and nothing of that may be learnt here.
        match origin.namespace.trim_end_matches('/') == namespace.trim_end_matches('/') {
            true => Ok((origin, content)),
            false => Err(gone()),
        }
    }

    /// Copies packs and data blobs, and makes sure that every tree has its root.
    async fn bring_storage(&self, repo: &Arc<Repo>, dump: &Dump) -> Result<()> {
        let from = dump.origin.uid;
        if from != repo.uid {
            for pack in self.blobs_of(&keys::packs(from)).await? {
                let reader = self.blobs.open(&pack).await.map_err(store_error)?;
                let bytes = reader.read(0..reader.size()).await.map_err(store_error)?;
                repo.nodes.take_in(bytes).await?;
            }
            let (old, new) = (keys::data_of_all(from), keys::data_of_all(repo.uid));
            let copies = self.blobs_of(&old).await?.into_iter().map(|blob| {
                let name = BlobKey::new(&blob.as_str().replacen(&old, &new, 1));
                async move {
                    if self.blobs.size(&name).await.map_err(store_error)?.is_some() {
                        return Ok(());
                    }
                    let copied = copy_blob_as(&*self.blobs, &blob, &*self.blobs, &name, None).await;
                    copied.map(drop).map_err(|failed| store_error(failed.into_error()))
                }
            });
            // A boxed stream: the compiler cannot see otherwise that the future may change threads.
            let copies = futures::stream::iter(copies).buffer_unordered(PARALLEL).boxed();
            copies.try_collect::<()>().await?;
        }
        let trees: HashSet<TreeId> = dump.commits.commits.iter().map(|commit| commit.tree).collect();
        for root in trees.into_iter().filter_map(|tree| tree.0) {
            if !repo.nodes.has(&root).await? {
                return Err(Error::new(
                    Kind::Gone,
                    format!("tree {root} of the dump is not stored any more"),
                ));
            }
        }
        Ok(())
    }

    async fn blobs_of(&self, prefix: &str) -> Result<Vec<BlobKey>> {
        let mut all: Vec<BlobKey> = Vec::new();
        loop {
            let after = all.last().map_or("", |last| last.as_str());
            let page = self.blobs.list(prefix, after, LIST_PAGE).await.map_err(store_error)?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().map(|(key, _)| key));
        }
    }

    /// Makes import rules, commits and aliases durable.
    async fn bring_commits(&self, actor: &Actor, repo: &Arc<Repo>, dumped: &Commits) -> Result<()> {
        let uid = repo.uid;
        let commits = dumped.commits.chunks(CHUNK);
        let commits = commits.map(|chunk| vec![Record::CommitsStored { uid, commits: chunk.to_vec() }]);
        let alias = |(alias, commit): &(CommitId, CommitId)| Record::AliasAdded {
            uid,
            alias: *alias,
            commit: *commit,
        };
        let aliases = dumped.aliases.chunks(CHUNK).map(|chunk| chunk.iter().map(alias).collect());
        let mut rules = Vec::new();
        {
            let mut state = repo.decide()?;
            for (number, rule) in &dumped.rules {
                match state.rules.get(number) {
                    Some(there) if there == rule => {}
                    Some(_) => return Err(not_bare()),
                    None => rules.push(Record::RuleAdded { uid, number: *number, rule: rule.clone() }),
                }
            }
            rules.iter().for_each(|record| state.apply(record, None));
            let context = self.context(actor, "restore-refs");
            // What follows is durable after it.
            drop(self.submit(Submission { context, records: rules, nodes: None, created: None }));
        }
        for records in commits.chain(aliases) {
            let ticket = {
                let _held = repo.decide()?;
                let context = self.context(actor, "restore-refs");
                self.submit(Submission { context, records, nodes: None, created: None })
            };
            ticket.durable().await?;
        }
        Ok(())
    }
}

fn not_bare() -> Error {
    Error::new(Kind::Invalid, "can only restore into a bare repository")
}

fn broken(what: &str) -> Error {
    Error::new(Kind::Invalid, format!("the dump cannot be restored: {what}"))
}

/// Refuses a repository that has refs.
fn bare(state: &RepoState, tags: &[Tag]) -> Result<()> {
    if !state.branches.is_empty() {
        return Err(not_bare());
    }
    if let Some((tag, _)) = tags.iter().find(|(tag, _)| state.tags.contains_key(tag)) {
        return Err(Error::new(Kind::AlreadyExists, format!("tag '{tag}' already exists: not unique")));
    }
    if state.tags.is_empty() { Ok(()) } else { Err(not_bare()) }
}

/// Refuses more refs than one row may have.
fn admit(refs: usize) -> Result<()> {
    match refs > REFS_RESTORED_MAX {
        true => Err(Error::new(
            Kind::TooLarge,
            format!("the dump has {refs} branches and tags; the limit is {REFS_RESTORED_MAX}"),
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_of_a_dump_are_bounded() {
        assert!(admit(REFS_RESTORED_MAX).is_ok());
        assert_eq!(admit(REFS_RESTORED_MAX + 1).map_err(|error| error.kind), Err(Kind::TooLarge));
    }
}
