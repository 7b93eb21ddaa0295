//! The state that the journal describes, and the one function that changes each part of it.
//!
//! Every part exists twice ([`Versioned`]): *tentative*, what the writers have decided, behind a short
//! lock; and *published*, what is durable, which is all that readers see. Both change by applying the
//! same records, so they cannot drift apart.

use crate::jobs::Job;
use crate::keys::RepoUid;
use crate::nodes::Nodes;
use crate::pulls::{PullRequestId, Pulls};
use crate::record::{
    CompletedUpload, Context, ImportEnd, ImportOrder, ImportProgress, ImportRule, Record, StagedOp,
    StoredPart,
};
use crate::settings::Settings;
use crate::{Error, Kind, RefMove, RepositoryInfo, Result, Thing, UploadInfo};
use millpond_types::{
    BranchName, Commit, CommitId, Entry, Metadata, ObjectPath, RepositoryName, TagName, Timestamp, TreeId,
};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One part of the state, as decided and as durable.
pub struct Versioned<S> {
    tentative: Mutex<S>,
    published: RwLock<Arc<S>>,
}

/// A part of the state that may put durable changes aside until somebody reads it.
pub trait Settle {
    /// Whether nothing is put aside.
    fn is_settled(&self) -> bool {
        true
    }
    /// Applies what is put aside.
    fn settle(&mut self) {}
}

impl<S: Clone + Settle> Versioned<S> {
    /// Both the same.
    pub fn new(state: S) -> Self {
        Self { tentative: Mutex::new(state.clone()), published: RwLock::new(Arc::new(state)) }
    }
    /// For deciding. Hold it until the decision is submitted to the journal, so that the journal has the
    /// order of decisions; never across a wait.
    pub fn decide(&self) -> parking_lot::MutexGuard<'_, S> {
        self.tentative.lock()
    }
    /// What is durable now.
    pub fn read(&self) -> Arc<S> {
        let published = self.published.read();
        if published.is_settled() {
            return published.clone();
        }
        drop(published);
        let mut published = self.published.write();
        Arc::make_mut(&mut published).settle();
        published.clone()
    }
    /// Asks what is durable now something that does not depend on what is put aside.
    pub fn look<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.published.read())
    }
    /// Applies a durable change. Only the journal's committer and recovery call this.
    pub fn publish(&self, change: impl FnOnce(&mut S)) {
        change(Arc::make_mut(&mut self.published.write()));
    }
    /// Makes the tentative state equal to the published one, after recovery.
    pub fn settle(&self) {
        *self.tentative.lock() = (*self.read()).clone();
    }
}

/// A staged change that is not yet in the working tree.
#[derive(Clone, Debug)]
pub struct Staged {
    /// Branch sequence.
    pub seq: u64,
    /// `None`: deleted.
    pub value: Option<Arc<Entry>>,
}

/// Staged changes by path. Cloning is cheap and gives a snapshot.
pub type Memtable = imbl::OrdMap<ObjectPath, Staged>;

/// A branch: its head, the tree of head plus folded staging, and the staging above that.
#[derive(Clone)]
pub struct BranchState {
    /// Head commit.
    pub head: CommitId,
    /// Its tree.
    pub head_tree: TreeId,
    /// Head plus every staged change up to `folded_seq`. Equal to `head_tree` when nothing is staged.
    pub working: TreeId,
    /// Staged changes after `folded_seq`.
    pub memtable: Memtable,
    /// Durable changes that are to go into `memtable` when it is next read. While a branch is only written to, a
    /// fold comes first, and they need never be put in order.
    late: Vec<(u64, StagedOp)>,
    /// Branch sequence of the next staged change; starts at 1.
    pub next_seq: u64,
    /// See `working`.
    pub folded_seq: u64,
    /// No longer a branch: refuse everything.
    pub deleted: bool,
}

impl BranchState {
    /// A clean branch.
    pub fn new(head: CommitId, tree: TreeId) -> Self {
        Self {
            head,
            head_tree: tree,
            working: tree,
            memtable: Memtable::new(),
            late: Vec::new(),
            next_seq: 1,
            folded_seq: 0,
            deleted: false,
        }
    }

    /// Nothing staged at all, not even a change without effect.
    pub fn is_clean(&self) -> bool {
        self.memtable.is_empty() && self.working == self.head_tree
    }

    /// Whether a change is staged that is not in `working`; may be asked of a state that is not settled.
    pub fn has_unfolded(&self) -> bool {
        !self.memtable.is_empty() || !self.late.is_empty()
    }

    /// Puts staged changes aside for the next reader.
    pub fn stage_late(&mut self, first_seq: u64, ops: &[StagedOp]) {
        self.late.extend((first_seq..).zip(ops.iter().cloned()).filter(|(seq, _)| *seq > self.folded_seq));
        self.next_seq = self.next_seq.max(first_seq + ops.len() as u64);
    }

    /// Applies a record about this branch.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Staged { first_seq, ops, .. } => self.stage(*first_seq, ops),
            Record::HeadMoved { new, tree, upto_seq, working, .. } => {
                self.head = *new;
                self.head_tree = *tree;
                self.fold(*upto_seq, *working);
            }
            Record::Folded { upto_seq, working, .. } => self.fold(*upto_seq, *working),
            Record::BranchDeleted { .. } => self.deleted = true,
            other => unreachable!("{other:?} is not about a branch's state"),
        }
    }

    fn stage(&mut self, first_seq: u64, ops: &[StagedOp]) {
        for (seq, (path, value)) in (first_seq..).zip(ops) {
            // At a restart, changes that a later fold has taken in are met again.
            if seq > self.folded_seq {
                self.memtable.insert(path.clone(), Staged { seq, value: value.clone() });
            }
        }
        self.next_seq = self.next_seq.max(first_seq + ops.len() as u64);
    }

    fn fold(&mut self, upto_seq: u64, working: TreeId) {
        if upto_seq < self.folded_seq {
            return;
        }
        self.working = working;
        self.folded_seq = upto_seq;
        self.next_seq = self.next_seq.max(upto_seq + 1);
        self.late.retain(|(seq, _)| *seq > upto_seq);
        if upto_seq + 1 >= self.next_seq {
            self.memtable = Memtable::new();
        } else {
            self.memtable = self
                .memtable
                .iter()
                .filter(|(_, s)| s.seq > upto_seq)
                .map(|(p, s)| (p.clone(), s.clone()))
                .collect();
        }
    }
}

impl Settle for BranchState {
    fn is_settled(&self) -> bool {
        self.late.is_empty()
    }
    fn settle(&mut self) {
        for (seq, (path, value)) in std::mem::take(&mut self.late) {
            self.memtable.insert(path, Staged { seq, value });
        }
    }
}

/// A branch of a repository.
pub struct Branch {
    /// Its name.
    pub name: BranchName,
    /// Left out of listings.
    pub hidden: bool,
    /// Head-moving verbs take turns here; object writes do not wait for it. A verb that judges its
    /// candidate outside (hooks) holds it while it waits.
    pub train: tokio::sync::Mutex<()>,
    /// Head and staging.
    pub state: Versioned<BranchState>,
}

impl Branch {
    /// A branch in this state.
    pub fn new(name: BranchName, hidden: bool, state: BranchState) -> Arc<Self> {
        Arc::new(Self { name, hidden, train: tokio::sync::Mutex::new(()), state: Versioned::new(state) })
    }
}

/// An open upload.
#[derive(Clone)]
pub struct UploadState {
    /// As callers see it.
    pub info: Arc<UploadInfo>,
    /// Parts by number; the last one stored of each number. Cloning is cheap: every part's request does it.
    pub parts: imbl::OrdMap<u32, Arc<StoredPart>>,
    /// Set when it was completed; kept so that a repeated Complete gets the same answer.
    pub completed: Option<Arc<CompletedUpload>>,
}

/// An import, running or ended.
#[derive(Clone)]
pub struct ImportState {
    /// What was asked for.
    pub order: Arc<ImportOrder>,
    /// Where it goes on after a restart; none as long as it has to begin anew.
    pub progress: Option<Arc<ImportProgress>>,
    /// Set when it ended; kept for a day.
    pub end: Option<Arc<ImportEnd>>,
}

/// The refs and settings of a repository.
#[derive(Clone)]
pub struct RepoState {
    /// As callers see it.
    pub info: Arc<RepositoryInfo>,
    /// By name.
    pub branches: imbl::OrdMap<BranchName, Arc<Branch>>,
    /// By name.
    pub tags: imbl::OrdMap<TagName, CommitId>,
    /// By id.
    pub uploads: imbl::OrdMap<String, UploadState>,
    /// By number, for ever: entries have them as addresses.
    pub rules: imbl::OrdMap<u32, Arc<ImportRule>>,
    /// By id.
    pub imports: imbl::OrdMap<String, ImportState>,
    /// By id, newest first.
    pub jobs: imbl::OrdMap<String, Arc<Job>>,
    /// What users set.
    pub settings: Settings,
    /// Asked for, merged and closed ones.
    pub pulls: Pulls,
    /// Unpublished: refuse everything.
    pub deleted: bool,
}

impl Settle for RepoState {}

impl RepoState {
    /// Gives a bare repository its refs.
    pub fn restore(&mut self, branches: &[Arc<Branch>], tags: &[(TagName, CommitId)]) {
        self.branches.extend(branches.iter().map(|branch| (branch.name.clone(), branch.clone())));
        self.tags.extend(tags.iter().cloned());
    }

    /// Applies a record about refs, settings or uploads. `branch` is the new branch of `BranchCreated`.
    pub fn apply(&mut self, record: &Record, branch: Option<&Arc<Branch>>) {
        match record {
            Record::RepositoryMetadata { metadata, .. } => {
                let mut info = (*self.info).clone();
                info.metadata = metadata.clone();
                self.info = Arc::new(info);
            }
            Record::RepositoryDeleted { .. } => self.deleted = true,
            Record::BranchCreated { branch: name, .. } => {
                let branch = branch.expect("the caller brings the branch that is created");
                self.branches.insert(name.clone(), branch.clone());
            }
            Record::BranchDeleted { branch, .. } => {
                self.branches.remove(branch);
            }
            Record::TagCreated { tag, commit, .. } => {
                self.tags.insert(tag.clone(), *commit);
            }
            Record::TagDeleted { tag, .. } => {
                self.tags.remove(tag);
            }
            Record::UploadCreated { upload, .. } => {
                let state = UploadState { info: upload.clone(), parts: Default::default(), completed: None };
                self.uploads.insert(upload.id.clone(), state);
            }
            Record::PartStored { upload, part, .. } => {
                if let Some(state) = self.uploads.get_mut(upload) {
                    state.parts.insert(part.info.number, part.clone());
                }
            }
            Record::UploadEnded { upload, result, .. } => match result {
                None => {
                    self.uploads.remove(upload);
                }
                Some(done) => {
                    if let Some(state) = self.uploads.get_mut(upload) {
                        state.completed = Some(done.clone());
                        state.parts = Default::default();
                    }
                }
            },
            Record::RuleAdded { number, rule, .. } => {
                self.rules.insert(*number, rule.clone());
            }
            Record::ImportStarted { order, .. } => {
                let state = ImportState { order: order.clone(), progress: None, end: None };
                self.imports.insert(order.id.clone(), state);
            }
            Record::ImportProgressed { import, progress, .. } => {
                if let Some(state) = self.imports.get_mut(import) {
                    state.progress = Some(progress.clone());
                }
            }
            Record::ImportEnded { import, end: None, .. } => {
                self.imports.remove(import);
            }
            Record::ImportEnded { import, end: Some(end), .. } => {
                if let Some(state) = self.imports.get_mut(import) {
                    state.end = Some(end.clone());
                }
            }
            Record::SettingsChanged { settings, .. } => self.settings = settings.clone(),
            Record::PullRequestChanged { pull, .. } => self.pulls.keep(pull.clone()),
            Record::JobChanged { id, job: None, .. } => {
                self.jobs.remove(id);
            }
            Record::JobChanged { id, job: Some(job), .. } => {
                self.jobs.insert(id.clone(), job.clone());
            }
            other => unreachable!("{other:?} is not about a repository's refs"),
        }
    }
}

/// What changed since the last checkpoint and is not yet in the tables.
#[derive(Default)]
pub struct Unsaved {
    /// Commits, readable from here until they are in their table.
    pub commits: HashMap<CommitId, Arc<Commit>>,
    /// Commits that readers may see but whose row is not durable are in `commits` too; these are durable.
    pub durable_commits: Vec<CommitId>,
    /// Aliases with their commits, readable from here until they are in their table. All are durable.
    pub aliases: BTreeMap<CommitId, CommitId>,
    /// Ref moves, oldest first.
    pub moves: Vec<Arc<RefMove>>,
    /// Branches whose row must be written or removed.
    pub branches: BTreeSet<BranchName>,
    /// Tags likewise.
    pub tags: BTreeSet<TagName>,
    /// Uploads likewise.
    pub uploads: BTreeSet<String>,
    /// Imports likewise.
    pub imports: BTreeSet<String>,
    /// Jobs likewise.
    pub jobs: BTreeSet<String>,
    /// Import rules likewise.
    pub rules: BTreeSet<u32>,
    /// The repository row itself.
    pub repository: bool,
    /// Its settings.
    pub settings: bool,
    /// Pull requests whose row must be written.
    pub pulls: BTreeSet<PullRequestId>,
}

/// A repository.
pub struct Repo {
    /// Its number for ever.
    pub uid: RepoUid,
    /// Refs, settings, uploads.
    pub state: Versioned<RepoState>,
    /// Tree nodes.
    pub nodes: Arc<Nodes>,
    /// Not yet in the tables.
    pub unsaved: RwLock<Unsaved>,
}

impl Repo {
    /// The state for deciding, refusing a repository that is gone.
    pub fn decide(&self) -> Result<parking_lot::MutexGuard<'_, RepoState>> {
        let state = self.state.decide();
        if state.deleted {
            let name = &state.info.name;
            return Err(Error::new(
                Kind::NotFound(Thing::Repository),
                format!("repository '{name}' not found"),
            ));
        }
        Ok(state)
    }

    /// The state for deciding a change of a branch, where protection allows it: the one place that judges this.
    /// Hold it until the change is submitted, so that the journal has the change before a rule that forbids it.
    pub fn decide_on(
        &self,
        branch: &BranchName,
        verb: &str,
    ) -> Result<parking_lot::MutexGuard<'_, RepoState>> {
        let state = self.decide()?;
        state.settings.protection.judge(branch, verb)?;
        Ok(state)
    }

    /// Name, namespace and so on.
    pub fn info(&self) -> Arc<RepositoryInfo> {
        self.state.read().info.clone()
    }
}

impl Settle for RootState {}

/// All repositories.
#[derive(Clone, Default)]
pub struct RootState {
    /// By name.
    pub by_name: imbl::OrdMap<RepositoryName, Arc<Repo>>,
    /// By number.
    pub by_uid: BTreeMap<RepoUid, Arc<Repo>>,
    /// Number of the next repository.
    pub next_uid: RepoUid,
}

impl RootState {
    /// Adds a repository.
    pub fn insert(&mut self, name: &RepositoryName, repo: &Arc<Repo>) {
        self.by_name.insert(name.clone(), repo.clone());
        self.by_uid.insert(repo.uid, repo.clone());
        self.next_uid = self.next_uid.max(repo.uid + 1);
    }
    /// Removes a repository.
    pub fn remove(&mut self, uid: RepoUid) -> Option<Arc<Repo>> {
        let repo = self.by_uid.remove(&uid)?;
        let name = repo.info().name.clone();
        if self.by_name.get(&name).is_some_and(|r| r.uid == uid) {
            self.by_name.remove(&name);
        }
        Some(repo)
    }
}

/// How a record moves refs. One that restores many comes first of all moves of its repository, so their numbers may
/// count up to that of the record.
pub fn ref_moves(context: &Context, record: &Record, sequence: u64) -> Vec<RefMove> {
    let moved = |sequence, is_tag, name: String, old, new| RefMove {
        sequence,
        time: context.time,
        actor: context.actor.clone(),
        cause: context.verb.clone(),
        is_tag,
        name,
        old,
        new,
    };
    let (is_tag, name, old, new) = match record {
        Record::BranchCreated { branch, head, .. } => (false, branch.to_string(), None, Some(*head)),
        Record::RepositoryCreated { default_branch, commit: Some(commit), .. } => {
            (false, default_branch.to_string(), None, Some(commit.id()))
        }
        Record::BranchDeleted { branch, head, .. } => (false, branch.to_string(), Some(*head), None),
        Record::HeadMoved { branch, old, new, .. } => (false, branch.to_string(), Some(*old), Some(*new)),
        Record::TagCreated { tag, commit, .. } => (true, tag.to_string(), None, Some(*commit)),
        Record::TagDeleted { tag, commit, .. } => (true, tag.to_string(), Some(*commit), None),
        Record::RefsRestored { branches, tags, .. } => {
            let branches = branches.iter().map(|branch| (false, branch.name.to_string(), branch.head));
            let tags = tags.iter().map(|(tag, commit)| (true, tag.to_string(), *commit));
            let all: Vec<_> = branches.chain(tags).collect();
            let first = sequence.saturating_sub(all.len() as u64);
            let moves = (first..).zip(all);
            return moves.map(|(at, (is_tag, name, to))| moved(at, is_tag, name, None, Some(to))).collect();
        }
        _ => return Vec::new(),
    };
    vec![moved(sequence, is_tag, name, old, new)]
}

/// The parts of a repository that a record needs to exist before it can be applied.
pub fn new_repo_state(
    name: &RepositoryName,
    namespace: &str,
    default_branch: &BranchName,
    read_only: bool,
    created: Timestamp,
) -> RepoState {
    RepoState {
        info: Arc::new(RepositoryInfo {
            name: name.clone(),
            storage_namespace: namespace.to_owned(),
            default_branch: default_branch.clone(),
            created,
            read_only,
            metadata: Metadata::new(),
        }),
        branches: Default::default(),
        tags: Default::default(),
        uploads: Default::default(),
        rules: Default::default(),
        imports: Default::default(),
        jobs: Default::default(),
        settings: Settings::default(),
        pulls: Pulls::default(),
        deleted: false,
    }
}
