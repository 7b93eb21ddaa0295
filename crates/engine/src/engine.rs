//! The engine: opening, recovery, and how durable records reach the published state.

use crate::journal::{Journal, Place, Submission, Ticket};
use crate::keys::{self, RepoUid};
use crate::nodes::{NodeCache, Nodes};
use crate::record::{Context, Record, RestoredBranch, Row};
use crate::state::{Branch, BranchState, Repo, RootState, Unsaved, Versioned, new_repo_state, ref_moves};
use crate::tasks::{Tasks, TokioTasks};
use crate::{Actor, Error, Kind, Result, Thing};
use bytes::Bytes;
use millpond_blob::Blobs;
use millpond_kv::{Batch, Expect, Kv, KvError, Write};
use millpond_origin::{Nowhere, Origin};
use millpond_types::limits;
use millpond_types::{BranchName, Clock, Commit, CommitId, ContentHash, Random, RepositoryName, TreeId};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// A journal without a new row for this long is at rest.
const IDLE: std::time::Duration = std::time::Duration::from_secs(2);

/// What may be set from outside.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for decoded tree nodes, in bytes.
    pub node_cache_bytes: u64,
    /// Staged changes of one branch that are folded into its working tree, in entries.
    pub memtable_entries_max: usize,
    /// Journal rows after which the tables are brought up to date.
    pub checkpoint_rows: u64,
    /// Bytes of journal rows likewise.
    pub checkpoint_bytes: u64,
    /// Changes of one step of an import, after which it is noted how far it is. Their nodes are in memory until
    /// then, about 40 bytes for each.
    pub import_step_changes: usize,
    /// Where the engine's own work runs.
    pub tasks: Arc<dyn Tasks>,
    /// Open multipart uploads of one repository.
    pub uploads_open_max: usize,
    /// Where objects may be imported from.
    pub origin: Arc<dyn Origin>,
    /// For how long the audit trail is kept; `None`: for ever.
    pub audit_retention: Option<std::time::Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_cache_bytes: 128 << 20,
            memtable_entries_max: 50_000,
            checkpoint_rows: 20_000,
            checkpoint_bytes: 16 << 20,
            import_step_changes: 500_000,
            tasks: Arc::new(TokioTasks::default()),
            uploads_open_max: limits::UPLOADS_OPEN_MAX,
            origin: Arc::new(Nowhere),
            audit_retention: None,
        }
    }
}

/// The engine over its ports.
pub struct Engine {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) options: Options,
    /// Which opening of the store this is; every write to the metadata store demands it.
    pub(crate) epoch: u64,
    pub(crate) root: Versioned<RootState>,
    pub(crate) journal: Journal,
    pub(crate) idempotency: crate::idempotency::Remembered,
    pub(crate) commit_cache: quick_cache::sync::Cache<(RepoUid, CommitId), Arc<Commit>>,
    pub(crate) since_checkpoint: Mutex<Backlog>,
    /// Imports that run here.
    pub(crate) imports: crate::verbs::Imports,
    pub(crate) checkpointing: tokio::sync::Mutex<()>,
    /// Repositories whose deletion became durable since the last checkpoint: their table rows must go.
    pub(crate) deleted: Mutex<Vec<Arc<Repo>>>,
    /// Where the backlog stood when a checkpoint failed: the next one waits until as much has come again.
    put_off: Mutex<Backlog>,
    checkpoint_queued: AtomicBool,
    /// Branches that the last checkpoint, or a fold since, passed over.
    pub(crate) unfoldable: Mutex<BTreeSet<(RepoUid, BranchName)>>,
    /// A task waits for the journal to come to rest.
    idle_watched: AtomicBool,
    pub(crate) reads: crate::verbs::Reads,
    pub(crate) deletions: crate::deletions::Deletions,
    /// What was refused and is not noted yet.
    pub(crate) refusals: crate::audit::Refusals,
    /// Held by whoever takes in notes of changes beside the engine's.
    pub(crate) notes: tokio::sync::Mutex<()>,
    cache: Arc<NodeCache>,
    this: Weak<Engine>,
}

/// Journal rows that the tables do not cover.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What a creating submission made, to be published as the same thing that deciders already hold.
pub enum Created {
    /// A repository.
    Repo(Arc<Repo>),
    /// A branch.
    Branch(Arc<Branch>),
    /// All branches of a restored repository.
    Branches(Vec<Arc<Branch>>),
}

impl Engine {
    /// Opens the stores, recovers, and is ready. Call within the runtime that `options.tasks` stands for.
    pub async fn open(
        kv: Arc<dyn Kv>,
        blobs: Arc<dyn Blobs>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: Options,
    ) -> Result<Arc<Self>> {
        crate::format::bring_up(&*kv, &*blobs).await?;
        let epoch = take_epoch(&*kv).await?;
        let cache = NodeCache::new(options.node_cache_bytes);
        let stores = Stores { blobs: &blobs, tasks: &options.tasks, cache: &cache, epoch };
        let loader = Loader { kv: &*kv, stores };
        let root = Versioned::new(loader.load_tables().await?);
        let idempotency = crate::idempotency::Remembered::default();
        let (first, mut previous) = crate::checkpoint::read(&*kv).await?;
        let mut deleted = Vec::new();
        let mut backlog = Backlog::default();
        let mut next = first;
        let mut from = keys::journal(first);
        let end = millpond_kv::prefix_end(keys::JOURNAL).expect("the journal prefix is not all 0xff");
        loop {
            let page = kv.scan(&from, &end, 256).await.map_err(kv_error)?;
            let Some((last, _)) = page.last() else { break };
            from = millpond_kv::key_after(last);
            for (key, value) in page {
                let hash = ContentHash::of(&value).0;
                backlog.rows += 1;
                backlog.bytes += value.len() as u64;
                let row = Row::decode(value).map_err(|e| damaged_journal(next, &e.to_string()))?;
                if key != keys::journal(next) || row.previous != previous {
                    return Err(damaged_journal(next, "a row is missing or was changed"));
                }
                for (position, (context, records)) in row.mutations.iter().enumerate() {
                    for record in records {
                        if let Record::RepositoryDeleted { uid } = record {
                            deleted.extend(root.read().by_uid.get(uid).cloned());
                        }
                    }
                    idempotency.restore(context);
                    publish(&root, stores, context, records, sequence(next, position), None);
                }
                previous = hash;
                next += 1;
            }
        }
        settle(&root);
        let engine = Arc::new_cyclic(|this: &Weak<Engine>| {
            let target = this.clone();
            let journal = Journal::start(
                kv.clone(),
                blobs.clone(),
                options.tasks.clone(),
                epoch,
                next,
                previous,
                Box::new(move |submission, place| {
                    if let Some(engine) = target.upgrade() {
                        engine.publish(submission, place);
                    }
                }),
            );
            Self {
                kv,
                blobs,
                clock,
                random,
                commit_cache: quick_cache::sync::Cache::new(20_000),
                since_checkpoint: Mutex::new(backlog),
                imports: Default::default(),
                checkpointing: tokio::sync::Mutex::new(()),
                deleted: Mutex::new(deleted),
                put_off: Mutex::default(),
                checkpoint_queued: AtomicBool::new(false),
                unfoldable: Mutex::default(),
                idle_watched: AtomicBool::new(false),
                options,
                epoch,
                root,
                journal,
                reads: crate::verbs::Reads::default(),
                deletions: crate::deletions::Deletions::default(),
                refusals: Default::default(),
                notes: Default::default(),
                idempotency,
                cache,
                this: this.clone(),
            }
        });
        engine.take_in_notes().await;
        Ok(engine)
    }

    /// Brings the tables up to date, so that the next start is quick. Writes that are still running may
    /// end up in the journal only; nothing is lost either way.
    pub async fn close(&self) -> Result<()> {
        // First, so that an import whose step waits for a full disk is told that nobody waits any more.
        self.journal.close();
        self.write_refusals();
        self.take_in_notes().await;
        self.rest_imports().await;
        self.checkpoint().await
    }

    /// Whether changes are accepted.
    ///
    /// # Errors
    /// `Busy` while a store is full or busy: writing goes on by itself when that ends. `Internal` once a store
    /// has failed: a restart has to find out what is on the disk.
    pub fn health(&self) -> Result<()> {
        self.journal.admit()
    }

    /// An owned handle, for work that outlives the caller.
    pub(crate) fn owned(&self) -> Arc<Self> {
        self.this.upgrade().expect("a method is running, so the engine is alive")
    }

    pub(crate) fn submit(&self, submission: Submission) -> Ticket {
        self.journal.submit(submission)
    }

    pub(crate) fn context(&self, actor: &Actor, verb: &str) -> Context {
        Context {
            time: self.clock.now(),
            actor: actor.name.clone(),
            request_id: actor.request_id.clone(),
            verb: verb.to_owned(),
            address: actor.address,
            ..Context::default()
        }
    }

    fn publish(&self, submission: &Submission, place: Place) {
        let Submission { context, records, created, .. } = submission;
        for record in records {
            if let Record::RepositoryDeleted { uid } = record {
                self.deleted.lock().extend(self.root.read().by_uid.get(uid).cloned());
            }
        }
        self.idempotency.restore(context);
        let first = sequence(place.row, place.position);
        publish(&self.root, self.stores(), context, records, first, created.as_ref());
        if place.position > 0 {
            return;
        }
        let due = {
            let mut backlog = self.since_checkpoint.lock();
            backlog.rows += 1;
            backlog.bytes += place.row_bytes as u64;
            let put_off = *self.put_off.lock();
            backlog.rows >= put_off.rows + self.options.checkpoint_rows
                || backlog.bytes >= put_off.bytes + self.options.checkpoint_bytes
        };
        if due {
            self.checkpoint_soon();
        } else if !self.idle_watched.swap(true, Ordering::AcqRel) {
            self.checkpoint_when_idle();
        }
    }

    fn checkpoint_soon(&self) {
        if self.checkpoint_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let engine = self.owned();
        self.options.tasks.spawn(Box::pin(async move {
            let mut put_off = Backlog::default();
            if let Err(error) = engine.checkpoint().await {
                tracing::error!(error = %error, "checkpoint failed; it is tried again after as many rows");
                put_off = *engine.since_checkpoint.lock();
            }
            *engine.put_off.lock() = put_off;
            engine.checkpoint_queued.store(false, Ordering::Release);
        }));
    }

    /// A journal that nobody writes to is not left for the next start to read, nor its bytes on the disk.
    fn checkpoint_when_idle(&self) {
        let (this, tasks) = (self.this.clone(), self.options.tasks.clone());
        self.options.tasks.spawn(Box::pin(async move {
            let mut seen = Backlog::default();
            loop {
                tasks.pause(IDLE).await;
                let Some(engine) = this.upgrade() else { return };
                let now = *engine.since_checkpoint.lock();
                if now == seen {
                    engine.idle_watched.store(false, Ordering::Release);
                    if now.rows > 0 && *engine.put_off.lock() == Backlog::default() {
                        engine.checkpoint_soon();
                    }
                    return;
                }
                seen = now;
            }
        }));
    }

    pub(crate) fn new_repo(&self, uid: RepoUid, state: crate::state::RepoState) -> Arc<Repo> {
        new_repo(self.stores(), uid, state)
    }

    fn stores(&self) -> Stores<'_> {
        Stores { blobs: &self.blobs, tasks: &self.options.tasks, cache: &self.cache, epoch: self.epoch }
    }

    /// The repository of this name.
    pub fn repo(&self, name: &RepositoryName) -> Result<Arc<Repo>> {
        self.root.read().by_name.get(name).cloned().ok_or_else(|| {
            Error::new(Kind::NotFound(Thing::Repository), format!("repository '{name}' not found"))
        })
    }

    /// The branch of this name.
    pub fn branch(&self, repo: &Repo, name: &BranchName) -> Result<Arc<Branch>> {
        repo.state
            .read()
            .branches
            .get(name)
            .cloned()
            .ok_or_else(|| Error::new(Kind::NotFound(Thing::Branch), format!("branch '{name}' not found")))
    }

    /// Refuses changes on a read-only repository unless forced.
    pub(crate) fn writable(&self, repo: &Repo, force: bool) -> Result<()> {
        if repo.info().read_only && !force {
            return Err(Error::new(Kind::ReadOnly, "read-only repository"));
        }
        Ok(())
    }

    /// Refuses early what a branch's protection or a read-only repository will refuse in the end.
    pub(crate) fn changeable(&self, repo: &Repo, branch: &BranchName, verb: &str, force: bool) -> Result<()> {
        repo.state.read().settings.protection.judge(branch, verb)?;
        self.writable(repo, force)
    }

    /// A commit by id.
    pub(crate) async fn commit_by_id(&self, repo: &Repo, id: &CommitId) -> Result<Option<Arc<Commit>>> {
        if let Some(commit) = self.commit_cache.get(&(repo.uid, *id)) {
            return Ok(Some(commit));
        }
        if let Some(commit) = repo.unsaved.read().commits.get(id) {
            return Ok(Some(commit.clone()));
        }
        let Some(bytes) = self.kv.get(&keys::commit(repo.uid, id)).await.map_err(kv_error)? else {
            return Ok(None);
        };
        let commit = Commit::from_bytes(bytes)
            .map_err(|e| Error::new(Kind::Damaged, format!("commit {id} cannot be read: {e}")))?;
        let commit = Arc::new(commit);
        self.commit_cache.insert((repo.uid, *id), commit.clone());
        Ok(Some(commit))
    }

    /// A commit that must exist, because something stored refers to it.
    pub(crate) async fn stored_commit(&self, repo: &Repo, id: &CommitId) -> Result<Arc<Commit>> {
        self.commit_by_id(repo, id)
            .await?
            .ok_or_else(|| Error::new(Kind::Damaged, format!("commit {id} is referred to but not stored")))
    }

    /// 20 characters of `[0-9a-v]`, for ids that clients see.
    pub(crate) fn random_id(&self) -> String {
        crate::address::DataName::random(&*self.random).to_text()[..20].to_owned()
    }
}

/// Counts this opening, so that a writer that was thought dead cannot write any more.
async fn take_epoch(kv: &dyn Kv) -> Result<u64> {
    let old = kv.get(keys::EPOCH).await.map_err(kv_error)?;
    let number = match &old {
        None => 0,
        Some(bytes) => u64::from_be_bytes(
            bytes
                .as_ref()
                .try_into()
                .map_err(|_| Error::new(Kind::Damaged, "the writer epoch cannot be read"))?,
        ),
    };
    let epoch = number + 1;
    let key = Bytes::from_static(keys::EPOCH);
    let batch = Batch {
        preconditions: vec![(key.clone(), old.map_or(Expect::Absent, Expect::Value))],
        writes: vec![
            Write::Put(key, epoch.to_be_bytes().to_vec().into()),
            Write::Put(Bytes::from_static(keys::FORMAT), Bytes::from(crate::format::FORMAT.to_string())),
        ],
    };
    kv.commit(batch).await.map_err(kv_error)?;
    Ok(epoch)
}

fn damaged_journal(row: u64, what: &str) -> Error {
    Error::new(Kind::Damaged, format!("journal row {row}: {what}; restore the data directory from a backup"))
}

/// A metadata store's failure as the engine's.
pub fn kv_error(error: KvError) -> Error {
    let kind = match &error {
        KvError::Busy(_) => Kind::Busy,
        KvError::Damaged(..) => Kind::Damaged,
        KvError::PreconditionFailed(_) | KvError::Failed(_) => Kind::Internal,
    };
    Error::new(kind, error.to_string())
}

/// What the nodes of a repository live on.
#[derive(Clone, Copy)]
pub(crate) struct Stores<'a> {
    pub(crate) blobs: &'a Arc<dyn Blobs>,
    pub(crate) tasks: &'a Arc<dyn Tasks>,
    pub(crate) cache: &'a Arc<NodeCache>,
    pub(crate) epoch: u64,
}

pub(crate) fn new_repo(stores: Stores<'_>, uid: RepoUid, state: crate::state::RepoState) -> Arc<Repo> {
    Arc::new(Repo {
        uid,
        state: Versioned::new(state),
        nodes: Nodes::new(
            uid,
            stores.epoch,
            stores.blobs.clone(),
            stores.tasks.clone(),
            stores.cache.clone(),
        ),
        unsaved: RwLock::new(Unsaved::default()),
    })
}

fn settle(root: &Versioned<RootState>) {
    for repo in root.read().by_uid.values() {
        for branch in repo.state.read().branches.values() {
            branch.state.settle();
        }
        repo.state.settle();
    }
    root.settle();
}

/// Applies one durable mutation to the published state, live or at recovery. At recovery the tables may
/// already hold later states than the record: applying every record from the checkpoint on, in order,
/// ends in the same state whatever the tables held, and records about things that the tables no longer
/// have are passed over.
pub(crate) fn publish(
    root: &Versioned<RootState>,
    stores: Stores<'_>,
    context: &Context,
    records: &[Record],
    first: u64,
    created: Option<&Created>,
) {
    for (index, record) in records.iter().enumerate() {
        if let Record::RepositoryCreated { uid, name, namespace, default_branch, read_only, commit } = record
        {
            let repo = match created {
                Some(Created::Repo(repo)) => repo.clone(),
                _ => match root.read().by_uid.get(uid) {
                    Some(repo) => repo.clone(),
                    None => {
                        let state = new_repo_state(name, namespace, default_branch, *read_only, context.time);
                        new_repo(stores, *uid, state)
                    }
                },
            };
            if let Some(commit) = commit
                && !repo.state.read().branches.contains_key(default_branch)
            {
                let branch = first_branch(default_branch, commit);
                repo.state.publish(|s| {
                    s.branches.insert(default_branch.clone(), branch);
                });
            }
            root.publish(|r| r.insert(name, &repo));
        }
        let Some(repo) = root.read().by_uid.get(&record.uid()).cloned() else { continue };
        publish_in(&repo, context, record, first + index as u64, created);
        if let Record::RepositoryDeleted { uid } = record {
            root.publish(|r| {
                r.remove(*uid);
            });
        }
    }
}

/// Position in the journal of a mutation's first record, which orders ref moves: the row, the mutation
/// within it, and room for 16 records of each.
pub(crate) fn sequence(row: u64, position: usize) -> u64 {
    row << 20 | (position as u64) << 4
}

pub(crate) fn first_branch(name: &BranchName, commit: &Commit) -> Arc<Branch> {
    Branch::new(name.clone(), false, BranchState::new(commit.id(), TreeId::EMPTY))
}

/// A branch as it was dumped, with nothing staged.
pub(crate) fn restored_branch(branch: &RestoredBranch) -> Arc<Branch> {
    Branch::new(branch.name.clone(), branch.hidden, BranchState::new(branch.head, branch.tree))
}

fn publish_in(
    repo: &Arc<Repo>,
    context: &Context,
    record: &Record,
    sequence: u64,
    created: Option<&Created>,
) {
    let find = |name: &BranchName| repo.state.read().branches.get(name).cloned();
    let mut unsaved = repo.unsaved.write();
    match record {
        Record::Staged { branch, first_seq, ops, .. } => {
            drop(unsaved);
            if let Some(branch) = find(branch) {
                branch.state.publish(|s| s.stage_late(*first_seq, ops));
            }
            return;
        }
        Record::HeadMoved { branch, commit, new, .. } => {
            if let Some(commit) = commit {
                unsaved.commits.insert(*new, commit.clone());
                unsaved.durable_commits.push(*new);
            }
            unsaved.branches.insert(branch.clone());
            if let Some(branch) = find(branch) {
                branch.state.publish(|s| s.apply(record));
            }
        }
        Record::Folded { branch, .. } => {
            unsaved.branches.insert(branch.clone());
            if let Some(branch) = find(branch) {
                branch.state.publish(|s| s.apply(record));
            }
        }
        Record::BranchCreated { branch, head, tree, hidden, .. } => {
            let made = match created {
                Some(Created::Branch(made)) => made.clone(),
                _ => Branch::new(branch.clone(), *hidden, BranchState::new(*head, *tree)),
            };
            unsaved.branches.insert(branch.clone());
            repo.state.publish(|s| s.apply(record, Some(&made)));
        }
        Record::BranchDeleted { branch, .. } => {
            unsaved.branches.insert(branch.clone());
            if let Some(branch) = find(branch) {
                branch.state.publish(|s| s.apply(record));
            }
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::TagCreated { tag, .. } | Record::TagDeleted { tag, .. } => {
            unsaved.tags.insert(tag.clone());
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::UploadCreated { upload, .. } => {
            unsaved.uploads.insert(upload.id.clone());
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::PartStored { upload, .. } | Record::UploadEnded { upload, .. } => {
            unsaved.uploads.insert(upload.clone());
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::RuleAdded { number, .. } => {
            unsaved.rules.insert(*number);
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::ImportStarted { order, .. } => {
            unsaved.imports.insert(order.id.clone());
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::ImportProgressed { import, .. } | Record::ImportEnded { import, .. } => {
            unsaved.imports.insert(import.clone());
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::JobChanged { id, .. } => {
            unsaved.jobs.insert(id.clone());
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::RepositoryCreated { default_branch, commit, .. } => {
            unsaved.repository = true;
            if let Some(commit) = commit {
                unsaved.branches.insert(default_branch.clone());
                let id = commit.id();
                unsaved.commits.insert(id, commit.clone());
                unsaved.durable_commits.push(id);
            }
        }
        Record::RefsRestored { branches, tags, .. } => {
            let made = match created {
                Some(Created::Branches(made)) => made.clone(),
                _ => branches.iter().map(restored_branch).collect(),
            };
            unsaved.branches.extend(branches.iter().map(|branch| branch.name.clone()));
            unsaved.tags.extend(tags.iter().map(|(tag, _)| tag.clone()));
            repo.state.publish(|s| s.restore(&made, tags));
        }
        Record::PullRequestChanged { pull, .. } => {
            unsaved.pulls.insert(pull.id.clone());
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::CommitsStored { commits, .. } => {
            for commit in commits {
                let id = commit.id();
                unsaved.commits.insert(id, commit.clone());
                unsaved.durable_commits.push(id);
            }
        }
        Record::AliasAdded { alias, commit, .. } => {
            unsaved.aliases.insert(*alias, *commit);
        }
        Record::SettingsChanged { .. } => {
            unsaved.settings = true;
            repo.state.publish(|s| s.apply(record, None));
        }
        Record::RepositoryMetadata { .. } | Record::RepositoryDeleted { .. } => {
            unsaved.repository = true;
            repo.state.publish(|s| s.apply(record, None));
        }
    }
    unsaved.moves.extend(ref_moves(context, record, sequence).into_iter().map(Arc::new));
}

struct Loader<'a> {
    kv: &'a dyn Kv,
    stores: Stores<'a>,
}

impl Loader<'_> {
    async fn load_tables(&self) -> Result<RootState> {
        let mut root = RootState { next_uid: 1, ..Default::default() };
        for (_, value) in crate::checkpoint::scan_all(self.kv, keys::REPOSITORIES).await? {
            let (uid, mut state) = crate::tables::decode_repository(value)?;
            for (key, value) in crate::checkpoint::scan_all(self.kv, &keys::branches(uid)).await? {
                let branch = crate::tables::decode_branch(&key[keys::branches(uid).len()..], value)?;
                state.branches.insert(branch.name.clone(), branch);
            }
            for (key, value) in crate::checkpoint::scan_all(self.kv, &keys::tags(uid)).await? {
                let (tag, commit) = crate::tables::decode_tag(&key[keys::tags(uid).len()..], &value)?;
                state.tags.insert(tag, commit);
            }
            for (_, value) in crate::checkpoint::scan_all(self.kv, &keys::uploads(uid)).await? {
                let upload = crate::tables::decode_upload(value)?;
                state.uploads.insert(upload.info.id.clone(), upload);
            }
            for (key, value) in crate::checkpoint::scan_all(self.kv, &keys::rules(uid)).await? {
                let (number, rule) = crate::tables::decode_rule(&key[keys::rules(uid).len()..], value)?;
                state.rules.insert(number, rule);
            }
            for (_, value) in crate::checkpoint::scan_all(self.kv, &keys::imports(uid)).await? {
                let import = crate::tables::decode_import(value)?;
                state.imports.insert(import.order.id.clone(), import);
            }
            for (_, value) in crate::checkpoint::scan_all(self.kv, &keys::jobs(uid)).await? {
                let job = crate::tables::decode_job(value)?;
                state.jobs.insert(job.id.clone(), job);
            }
            for (_, value) in crate::checkpoint::scan_all(self.kv, &keys::pulls(uid)).await? {
                state.pulls.keep(crate::tables::decode_pull(value)?);
            }
            if let Some(value) = self.kv.get(&keys::settings(uid)).await.map_err(kv_error)? {
                state.settings = crate::tables::decode_settings(value)?;
            }
            let name = state.info.name.clone();
            root.insert(&name, &new_repo(self.stores, uid, state));
        }
        let next = crate::checkpoint::next_uid(self.kv).await?;
        root.next_uid = root.next_uid.max(next);
        Ok(root)
    }
}
