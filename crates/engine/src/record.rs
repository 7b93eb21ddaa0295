//! What the journal says: one row per commit group, holding the records of every mutation in it
//! (`docs/formats/journal.md`, version 2).
//!
//! State is only ever changed by applying records (see `state`), in three places: when a verb decides,
//! when the row is durable, and at start-up. So a restart cannot see something else than readers did.

use crate::jobs::{self, Job};
use crate::keys::RepoUid;
use crate::pulls;
use crate::settings::Settings;
use bytes::Bytes;
use millpond_origin::{Location, SourceKind};
use millpond_types::{
    BranchName, Commit, CommitId, DecodeError, Entry, Metadata, NodeId, ObjectPath, Reader, RepositoryName,
    TagName, Timestamp, TreeId, Writer,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Version byte of a row. Version 1 had neither times in front nor anything behind a context's fields.
const ROW_VERSION: u8 = 2;

/// Who did something, when and why: one per mutation, shared by its records. This is the audit record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Server time at the decision.
    pub time: Timestamp,
    /// Name of the principal.
    pub actor: String,
    /// Request id.
    pub request_id: String,
    /// The verb, for instance `commit` or `put-object`.
    pub verb: String,
    /// Scope, request fingerprint and result, where the caller sent an idempotency key.
    pub idempotency: Option<Idempotency>,
    /// Where the request came from, if the caller knows.
    pub address: Option<IpAddr>,
    /// Nothing was done, since the principal may not. Then there are no records.
    pub refusal: Option<Refusal>,
    /// What was done is not the engine's. Then there are no records either.
    pub beside: Option<Beside>,
}

/// A change of what somebody else keeps in the metadata store (users, policies), as the trail tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Of all such changes; ascending, no two alike.
    pub number: u64,
    /// What it changed.
    pub changes: Vec<BesideChange>,
}

/// One thing of a change beside the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BesideChange {
    /// It is gone, rather than made or changed.
    pub is_deletion: bool,
    /// What: `user/ada`, `group-policy/readers/ReadAll`.
    pub on: String,
    /// What it says now, where that is for everybody to read; else empty.
    pub new: String,
}

/// What somebody wanted to act on who may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The resource as its permissions name it; empty when the caller is nobody.
    pub resource: String,
    /// The repository that it is or is in; else empty.
    pub repository: String,
    /// The branch or tag that it is; else empty.
    pub reference: String,
    /// The object that it is; else empty.
    pub path: Bytes,
    /// This many refusals, this one among them, are not told apart: too many came at once.
    pub count: u64,
}

/// The remembered answer to a request with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 over principal, verb, repository and key.
    pub scope: [u8; 32],
    /// SHA-256 over the request.
    pub fingerprint: [u8; 32],
    /// The answer, in the verb's own encoding.
    pub result: Bytes,
}

/// One staged change.
pub type StagedOp = (ObjectPath, Option<Arc<Entry>>);

/// One change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A repository appears, with its default branch at its first commit.
    RepositoryCreated {
        /// Its number for ever.
        uid: RepoUid,
        /// Its name.
        name: RepositoryName,
        /// As given.
        namespace: String,
        /// Its first branch.
        default_branch: BranchName,
        /// Refuses changes without force.
        read_only: bool,
        /// First commit; none: it is bare, without any branch.
        commit: Option<Arc<Commit>>,
    },
    /// A repository is unpublished.
    RepositoryDeleted {
        /// Which.
        uid: RepoUid,
    },
    /// A repository's metadata is now this.
    RepositoryMetadata {
        /// Which.
        uid: RepoUid,
        /// All of it.
        metadata: Metadata,
    },
    /// A branch appears.
    BranchCreated {
        /// Repository.
        uid: RepoUid,
        /// Its name.
        branch: BranchName,
        /// Where it starts.
        head: CommitId,
        /// That commit's tree.
        tree: TreeId,
        /// Left out of listings.
        hidden: bool,
    },
    /// A branch disappears with its staging.
    BranchDeleted {
        /// Repository.
        uid: RepoUid,
        /// Its name.
        branch: BranchName,
        /// Where it was.
        head: CommitId,
    },
    /// A tag appears.
    TagCreated {
        /// Repository.
        uid: RepoUid,
        /// Its name.
        tag: TagName,
        /// Its commit.
        commit: CommitId,
    },
    /// A tag disappears.
    TagDeleted {
        /// Repository.
        uid: RepoUid,
        /// Its name.
        tag: TagName,
        /// Its commit.
        commit: CommitId,
    },
    /// Changes are staged on a branch, numbered `first_seq`, `first_seq + 1`, ...
    Staged {
        /// Repository.
        uid: RepoUid,
        /// Branch.
        branch: BranchName,
        /// Branch sequence of the first.
        first_seq: u64,
        /// In order.
        ops: Vec<StagedOp>,
    },
    /// The head moves; staging up to `upto_seq` is now the tree `working`.
    HeadMoved {
        /// Repository.
        uid: RepoUid,
        /// Branch.
        branch: BranchName,
        /// From here.
        old: CommitId,
        /// To here.
        new: CommitId,
        /// The new head's tree.
        tree: TreeId,
        /// The commit, if the move made it.
        commit: Option<Arc<Commit>>,
        /// Staged changes up to this branch sequence are in `working`.
        upto_seq: u64,
        /// Head plus those staged changes that stay staged.
        working: TreeId,
    },
    /// Staged changes up to `upto_seq` are now the tree `working`.
    Folded {
        /// Repository.
        uid: RepoUid,
        /// Branch.
        branch: BranchName,
        /// Branch sequence.
        upto_seq: u64,
        /// Head plus staged changes.
        working: TreeId,
    },
    /// A multipart upload begins.
    UploadCreated {
        /// Repository.
        uid: RepoUid,
        /// The upload.
        upload: Arc<crate::UploadInfo>,
    },
    /// A part is stored.
    PartStored {
        /// Repository.
        uid: RepoUid,
        /// The upload.
        upload: String,
        /// The part and where its bytes are.
        part: Arc<StoredPart>,
    },
    /// An upload ends, completed (with the answer to give again) or dropped.
    UploadEnded {
        /// Repository.
        uid: RepoUid,
        /// The upload.
        upload: String,
        /// What was made of it, and from which part list.
        result: Option<Arc<CompletedUpload>>,
    },
    /// A place that objects are imported from gets a number for ever.
    RuleAdded {
        /// Repository.
        uid: RepoUid,
        /// Its number.
        number: u32,
        /// The place.
        rule: Arc<ImportRule>,
    },
    /// An import begins.
    ImportStarted {
        /// Repository.
        uid: RepoUid,
        /// The import.
        order: Arc<ImportOrder>,
    },
    /// An import has come this far.
    ImportProgressed {
        /// Repository.
        uid: RepoUid,
        /// The import.
        import: String,
        /// How far.
        progress: Arc<ImportProgress>,
    },
    /// An import ends, or its end is forgotten.
    ImportEnded {
        /// Repository.
        uid: RepoUid,
        /// The import.
        import: String,
        /// How.
        end: Option<Arc<ImportEnd>>,
    },
    /// A repository's settings are now these.
    SettingsChanged {
        /// Repository.
        uid: RepoUid,
        /// All of them.
        settings: Settings,
    },
    /// A pull request appears, or is now this.
    PullRequestChanged {
        /// Repository.
        uid: RepoUid,
        /// All of it.
        pull: Arc<crate::PullRequest>,
    },
    /// Commits that no ref moves to (yet).
    CommitsStored {
        /// Repository.
        uid: RepoUid,
        /// Parents before their children, where both are among them.
        commits: Vec<Arc<Commit>>,
    },
    /// A commit has another id beside its own: that of the server it was taken over from.
    AliasAdded {
        /// Repository.
        uid: RepoUid,
        /// The other id.
        alias: CommitId,
        /// What it means here.
        commit: CommitId,
    },
    /// A job appears, ends, or is forgotten.
    JobChanged {
        /// Repository.
        uid: RepoUid,
        /// The job.
        id: String,
        /// All of it.
        job: Option<Arc<Job>>,
    },
    /// A bare repository gets its branches and tags, all at once.
    RefsRestored {
        /// Repository.
        uid: RepoUid,
        /// In order.
        branches: Vec<RestoredBranch>,
        /// In order.
        tags: Vec<(TagName, CommitId)>,
    },
}

/// A branch as it was dumped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredBranch {
    /// Its name.
    pub name: BranchName,
    /// Its commit.
    pub head: CommitId,
    /// That commit's tree.
    pub tree: TreeId,
    /// Left out of listings.
    pub hidden: bool,
}

/// An import as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOrder {
    /// Names it.
    pub id: String,
    /// Where its commit goes.
    pub branch: BranchName,
    /// Who asked; becomes the committer.
    pub actor: String,
    /// When.
    pub started: Timestamp,
    /// What for.
    pub request: crate::ImportRequest,
}

/// How far an import has come: what is needed to go on from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// When.
    pub time: Timestamp,
    /// The tree that it changes: the branch's when the import began.
    pub base: TreeId,
    /// That tree with every change up to `upto`. Its nodes are stored.
    pub tree: TreeId,
    /// The last key that was dealt with.
    pub upto: Bytes,
    /// Objects in `tree` that were imported.
    pub ingested: u64,
    /// What was passed over.
    pub skipped: u64,
}

/// The end of an import, kept for a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportEnd {
    /// When.
    pub time: Timestamp,
    /// Objects taken in.
    pub ingested: u64,
    /// What was passed over.
    pub skipped: u64,
    /// The commit, or why there is none.
    pub outcome: std::result::Result<CommitId, String>,
}

/// Where the objects are that have a rule as their address: their key with `source` in the place of `destination`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImportRule {
    /// A folder.
    pub source: Location,
    /// What keys of such objects begin with.
    pub destination: Bytes,
}

/// A part and where its bytes are.
#[derive(Clone, Debug)]
pub struct StoredPart {
    /// As callers see it.
    pub info: crate::PartInfo,
    /// Data blob.
    pub name: crate::address::DataName,
}

impl PartialEq for StoredPart {
    fn eq(&self, other: &Self) -> bool {
        self.info.number == other.info.number && self.name == other.name
    }
}
impl Eq for StoredPart {}

impl PartialEq for crate::UploadInfo {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for crate::UploadInfo {}

/// The end of an upload, kept for repeated Complete calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedUpload {
    /// Branch that was written.
    pub branch: BranchName,
    /// Path that was written.
    pub path: ObjectPath,
    /// What was written.
    pub entry: Arc<Entry>,
    /// SHA-256 over the part list of the request.
    pub fingerprint: [u8; 32],
    /// When.
    pub time: Timestamp,
}

/// One journal row: a commit group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Epoch of the writer.
    pub epoch: u64,
    /// SHA-256 of the writer's previous row: the chain that shows tampering.
    pub previous: [u8; 32],
    /// The mutations in order.
    pub mutations: Vec<(Context, Vec<Record>)>,
}

impl Row {
    /// Stored bytes.
    pub fn encode(epoch: u64, previous: &[u8; 32], mutations: &[(&Context, &[Record])]) -> Vec<u8> {
        let mut w = Writer::new();
        let (earliest, latest) = span(mutations.iter().map(|(context, _)| context.time));
        w.u8(ROW_VERSION).uint(epoch).raw(previous);
        w.int(earliest.millis()).uint(latest.millis().wrapping_sub(earliest.millis()) as u64);
        w.uint(mutations.len() as u64);
        for (context, records) in mutations {
            context.encode(&mut w);
            w.uint(records.len() as u64);
            for record in *records {
                // Each record is length-prefixed so that a later version can add fields at its end.
                let mut inner = Writer::new();
                record.encode(&mut inner);
                w.bytes(&inner.finish());
            }
        }
        w.finish()
    }

    /// The inverse of [`Row::encode`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let head = Head::take(&mut r)?;
        let mut mutations = Vec::new();
        for _ in 0..head.mutations {
            let context = Context::decode(&mut r, head.version)?;
            let mut records = Vec::new();
            for _ in 0..r.uint()? {
                records.push(Record::decode(Reader::new(r.bytes()?))?);
            }
            mutations.push((context, records));
        }
        r.end()?;
        // Whoever looks for a time goes by the row's own word, so that has to be right.
        if head.span.is_some_and(|said| said != span(mutations.iter().map(|(context, _)| context.time))) {
            return Err(DecodeError("the times of a journal row are not those of its mutations"));
        }
        Ok(Self { epoch: head.epoch, previous: head.previous, mutations })
    }

    /// What an index says about a row: the hash before it, how many mutations it has, the earliest and latest time.
    pub(crate) fn summary(bytes: Bytes) -> Result<([u8; 32], u64, Timestamp, Timestamp), DecodeError> {
        let head = Head::take(&mut Reader::new(bytes.clone()))?;
        let (earliest, latest) = match head.span {
            Some(span) => span,
            None => span(Self::decode(bytes)?.mutations.iter().map(|(context, _)| context.time)),
        };
        Ok((head.previous, head.mutations, earliest, latest))
    }
}

fn span(times: impl Iterator<Item = Timestamp> + Clone) -> (Timestamp, Timestamp) {
    (times.clone().min().unwrap_or(Timestamp(0)), times.max().unwrap_or(Timestamp(0)))
}

/// What a row begins with.
struct Head {
    version: u8,
    epoch: u64,
    previous: [u8; 32],
    /// Earliest and latest time, from version 2 on.
    span: Option<(Timestamp, Timestamp)>,
    mutations: u64,
}

impl Head {
    fn take(r: &mut Reader) -> Result<Self, DecodeError> {
        let version = r.u8()?;
        if !(1..=ROW_VERSION).contains(&version) {
            return Err(DecodeError("journal row is of an unknown version; a newer Millpond wrote it"));
        }
        let (epoch, previous) = (r.uint()?, r.digest()?);
        let span = match version {
            1 => None,
            _ => {
                let earliest = r.int()?;
                Some((Timestamp(earliest), Timestamp(earliest.wrapping_add(r.uint()? as i64))))
            }
        };
        Ok(Self { version, epoch, previous, span, mutations: r.uint()? })
    }
}

impl Context {
    fn encode(&self, w: &mut Writer) {
        w.int(self.time.millis()).text(&self.actor).text(&self.request_id).text(&self.verb);
        match &self.idempotency {
            None => w.u8(0),
            Some(i) => w.u8(1).raw(&i.scope).raw(&i.fingerprint).bytes(&i.result),
        };
        // Length-prefixed, so that a later version can add fields at its end.
        match (self.address, &self.refusal, &self.beside) {
            (None, None, None) => w.bytes(&[]),
            (Some(IpAddr::V4(v4)), None, None) => w.uint(5).u8(4).raw(&v4.octets()),
            _ => w.bytes(&self.tail()),
        };
    }
    fn tail(&self) -> Vec<u8> {
        let mut tail = Writer::new();
        match self.address {
            None => tail.u8(0),
            Some(IpAddr::V4(v4)) => tail.u8(4).raw(&v4.octets()),
            Some(IpAddr::V6(v6)) => tail.u8(6).raw(&v6.octets()),
        };
        match &self.refusal {
            Some(refusal) => {
                tail.u8(1).text(&refusal.resource).text(&refusal.repository).text(&refusal.reference);
                tail.bytes(&refusal.path).uint(refusal.count);
            }
            None if self.beside.is_some() => {
                tail.u8(0);
            }
            None => {}
        }
        if let Some(beside) = &self.beside {
            tail.u8(1).uint(beside.number).uint(beside.changes.len() as u64);
            for change in &beside.changes {
                tail.u8(u8::from(change.is_deletion)).text(&change.on).text(&change.new);
            }
        }
        tail.finish()
    }
    fn decode(r: &mut Reader, version: u8) -> Result<Self, DecodeError> {
        let mut context = Self {
            time: Timestamp(r.int()?),
            actor: r.text()?,
            request_id: r.text()?,
            verb: r.text()?,
            idempotency: match r.u8()? {
                0 => None,
                1 => Some(Idempotency { scope: r.digest()?, fingerprint: r.digest()?, result: r.bytes()? }),
                _ => return Err(DecodeError("unknown idempotency form")),
            },
            address: None,
            refusal: None,
            beside: None,
        };
        let mut tail = Reader::new(if version > 1 { r.bytes()? } else { Bytes::new() });
        if !tail.is_empty() {
            context.address = match tail.u8()? {
                0 => None,
                4 => Some(IpAddr::V4(Ipv4Addr::from(octets::<4>(&mut tail)?))),
                6 => Some(IpAddr::V6(Ipv6Addr::from(octets::<16>(&mut tail)?))),
                _ => return Err(DecodeError("unknown form of an address")),
            };
        }
        if !tail.is_empty() && take_flag(&mut tail)? {
            context.refusal = Some(Refusal {
                resource: tail.text()?,
                repository: tail.text()?,
                reference: tail.text()?,
                path: tail.bytes()?,
                count: tail.uint()?,
            });
        }
        if !tail.is_empty() && take_flag(&mut tail)? {
            let mut beside = Beside { number: tail.uint()?, changes: Vec::new() };
            for _ in 0..tail.uint()? {
                let is_deletion = take_flag(&mut tail)?;
                beside.changes.push(BesideChange { is_deletion, on: tail.text()?, new: tail.text()? });
            }
            context.beside = Some(beside);
        }
        Ok(context)
    }
}

fn octets<const N: usize>(r: &mut Reader) -> Result<[u8; N], DecodeError> {
    Ok(r.raw(N)?.as_ref().try_into().expect("raw(N) gives N bytes"))
}

fn put_tree(w: &mut Writer, tree: &TreeId) {
    match tree.0 {
        None => w.u8(0),
        Some(id) => w.u8(1).raw(&id.0),
    };
}

fn take_tree(r: &mut Reader) -> Result<TreeId, DecodeError> {
    match r.u8()? {
        0 => Ok(TreeId::EMPTY),
        1 => Ok(TreeId(Some(NodeId(r.digest()?)))),
        _ => Err(DecodeError("unknown tree form")),
    }
}

pub(crate) fn take_branch(r: &mut Reader) -> Result<BranchName, DecodeError> {
    BranchName::parse(&r.text()?).map_err(|_| DecodeError("branch name is not valid"))
}

pub(crate) fn take_tag(r: &mut Reader) -> Result<TagName, DecodeError> {
    TagName::parse(&r.text()?).map_err(|_| DecodeError("tag name is not valid"))
}

fn take_path(r: &mut Reader) -> Result<ObjectPath, DecodeError> {
    ObjectPath::new(r.bytes()?).map_err(|_| DecodeError("object path is not valid"))
}

pub(crate) fn take_flag(r: &mut Reader) -> Result<bool, DecodeError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError("a flag is neither 0 nor 1")),
    }
}

impl Record {
    /// The repository that it is about.
    pub fn uid(&self) -> RepoUid {
        match self {
            Self::RepositoryCreated { uid, .. }
            | Self::RepositoryDeleted { uid }
            | Self::RepositoryMetadata { uid, .. }
            | Self::BranchCreated { uid, .. }
            | Self::BranchDeleted { uid, .. }
            | Self::TagCreated { uid, .. }
            | Self::TagDeleted { uid, .. }
            | Self::Staged { uid, .. }
            | Self::HeadMoved { uid, .. }
            | Self::Folded { uid, .. }
            | Self::UploadCreated { uid, .. }
            | Self::PartStored { uid, .. }
            | Self::UploadEnded { uid, .. }
            | Self::RuleAdded { uid, .. }
            | Self::ImportStarted { uid, .. }
            | Self::ImportProgressed { uid, .. }
            | Self::ImportEnded { uid, .. }
            | Self::SettingsChanged { uid, .. }
            | Self::PullRequestChanged { uid, .. }
            | Self::CommitsStored { uid, .. }
            | Self::AliasAdded { uid, .. }
            | Self::JobChanged { uid, .. }
            | Self::RefsRestored { uid, .. } => *uid,
        }
    }

    /// About how many bytes it takes, encoded or in memory: for bounds, so counting more than there is does no
    /// harm and counting less does.
    pub(crate) fn bytes(&self) -> usize {
        const FIXED: usize = 512;
        let texts =
            |map: &Metadata| map.iter().map(|(key, value)| key.len() + value.len() + 16).sum::<usize>();
        let of_commit = |commit: &Commit| commit.message.len() + texts(&commit.metadata);
        match self {
            Self::Staged { ops, .. } => {
                let of_entry = |entry: &Entry| {
                    let extra = entry.extra.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
                    entry.attributes.content_type.len() + texts(&entry.attributes.metadata) + extra
                };
                let of = |(path, entry): &StagedOp| {
                    path.as_bytes().len() + 200 + entry.as_deref().map_or(0, of_entry)
                };
                ops.iter().map(of).sum()
            }
            Self::RepositoryCreated { commit: Some(commit), .. } => FIXED + of_commit(commit),
            Self::HeadMoved { commit: Some(commit), .. } => FIXED + of_commit(commit),
            Self::RepositoryMetadata { metadata, .. } => FIXED + texts(metadata),
            Self::UploadCreated { upload, .. } => FIXED + texts(&upload.attributes.metadata),
            Self::SettingsChanged { settings, .. } => FIXED + settings.bytes(),
            Self::PullRequestChanged { pull, .. } => pulls::bytes(pull),
            Self::RefsRestored { branches, tags, .. } => {
                let branches: usize = branches.iter().map(|branch| branch.name.as_str().len() + 80).sum();
                FIXED + branches + tags.iter().map(|(tag, _)| tag.as_str().len() + 40).sum::<usize>()
            }
            Self::CommitsStored { commits, .. } => {
                commits.iter().map(|commit| FIXED + of_commit(commit)).sum()
            }
            _ => FIXED,
        }
    }

    fn encode(&self, w: &mut Writer) {
        match self {
            Self::RepositoryCreated { uid, name, namespace, default_branch, read_only, commit } => {
                w.u8(if commit.is_some() { 1 } else { 23 }).uint(*uid);
                w.text(name.as_str()).text(namespace).text(default_branch.as_str()).u8(u8::from(*read_only));
                if let Some(commit) = commit {
                    commit.encode(w);
                }
            }
            Self::RepositoryDeleted { uid } => {
                w.u8(2).uint(*uid);
            }
            Self::RepositoryMetadata { uid, metadata } => {
                w.u8(3).uint(*uid).map(metadata.iter());
            }
            Self::BranchCreated { uid, branch, head, tree, hidden } => {
                w.u8(4).uint(*uid).text(branch.as_str()).raw(&head.0);
                put_tree(w, tree);
                w.u8(u8::from(*hidden));
            }
            Self::BranchDeleted { uid, branch, head } => {
                w.u8(5).uint(*uid).text(branch.as_str()).raw(&head.0);
            }
            Self::TagCreated { uid, tag, commit } => {
                w.u8(6).uint(*uid).text(tag.as_str()).raw(&commit.0);
            }
            Self::TagDeleted { uid, tag, commit } => {
                w.u8(7).uint(*uid).text(tag.as_str()).raw(&commit.0);
            }
            Self::Staged { uid, branch, first_seq, ops } => {
                w.u8(8).uint(*uid).text(branch.as_str()).uint(*first_seq).uint(ops.len() as u64);
                for (path, entry) in ops {
                    w.bytes(path.as_bytes());
                    match entry {
                        None => {
                            w.u8(0);
                        }
                        Some(entry) => {
                            w.u8(1);
                            entry.encode(w);
                        }
                    }
                }
            }
            Self::HeadMoved { uid, branch, old, new, tree, commit, upto_seq, working } => {
                w.u8(9).uint(*uid).text(branch.as_str()).raw(&old.0).raw(&new.0);
                put_tree(w, tree);
                w.uint(*upto_seq);
                put_tree(w, working);
                match commit {
                    None => {
                        w.u8(0);
                    }
                    Some(commit) => {
                        w.u8(1);
                        commit.encode(w);
                    }
                }
            }
            Self::Folded { uid, branch, upto_seq, working } => {
                w.u8(10).uint(*uid).text(branch.as_str()).uint(*upto_seq);
                put_tree(w, working);
            }
            Self::UploadCreated { uid, upload } => {
                w.u8(11).uint(*uid);
                encode_upload(w, upload);
            }
            Self::PartStored { uid, upload, part } => {
                w.u8(12).uint(*uid).text(upload);
                encode_part(w, part);
            }
            Self::UploadEnded { uid, upload, result } => {
                w.u8(13).uint(*uid).text(upload);
                match result {
                    None => {
                        w.u8(0);
                    }
                    Some(done) => {
                        w.u8(1);
                        encode_completed(w, done);
                    }
                }
            }
            Self::RuleAdded { uid, number, rule } => {
                w.u8(14).uint(*uid).uint(u64::from(*number));
                encode_rule(w, rule);
            }
            Self::ImportStarted { uid, order } => {
                w.u8(15).uint(*uid);
                encode_import(w, order);
            }
            Self::ImportProgressed { uid, import, progress } => {
                w.u8(16).uint(*uid).text(import);
                encode_progress(w, progress);
            }
            Self::ImportEnded { uid, import, end } => {
                w.u8(17).uint(*uid).text(import);
                match end {
                    None => {
                        w.u8(0);
                    }
                    Some(end) => {
                        w.u8(1);
                        encode_import_end(w, end);
                    }
                }
            }
            Self::SettingsChanged { uid, settings } => {
                w.u8(18).uint(*uid);
                settings.encode(w);
            }
            Self::PullRequestChanged { uid, pull } => {
                w.u8(19).uint(*uid);
                pulls::encode(w, pull);
            }
            Self::CommitsStored { uid, commits } => {
                w.u8(20).uint(*uid).uint(commits.len() as u64);
                commits.iter().for_each(|commit| commit.encode(w));
            }
            Self::AliasAdded { uid, alias, commit } => {
                w.u8(21).uint(*uid).raw(&alias.0).raw(&commit.0);
            }
            Self::JobChanged { uid, id, job } => {
                w.u8(22).uint(*uid).text(id);
                match job {
                    None => {
                        w.u8(0);
                    }
                    Some(job) => {
                        w.u8(1);
                        jobs::encode(w, job);
                    }
                }
            }
            Self::RefsRestored { uid, branches, tags } => {
                w.u8(24).uint(*uid).uint(branches.len() as u64);
                for branch in branches {
                    w.text(branch.name.as_str()).raw(&branch.head.0);
                    put_tree(w, &branch.tree);
                    w.u8(u8::from(branch.hidden));
                }
                w.uint(tags.len() as u64);
                for (tag, commit) in tags {
                    w.text(tag.as_str()).raw(&commit.0);
                }
            }
        }
    }

    fn decode(mut r: Reader) -> Result<Self, DecodeError> {
        let r = &mut r;
        let kind = r.u8()?;
        let uid = r.uint()?;
        Ok(match kind {
            1 | 23 => Self::RepositoryCreated {
                uid,
                name: RepositoryName::parse(&r.text()?)
                    .map_err(|_| DecodeError("repository name is not valid"))?,
                namespace: r.text()?,
                default_branch: take_branch(r)?,
                read_only: take_flag(r)?,
                commit: if kind == 1 { Some(Arc::new(Commit::decode(r)?)) } else { None },
            },
            2 => Self::RepositoryDeleted { uid },
            3 => Self::RepositoryMetadata { uid, metadata: r.map()? },
            4 => Self::BranchCreated {
                uid,
                branch: take_branch(r)?,
                head: CommitId(r.digest()?),
                tree: take_tree(r)?,
                hidden: take_flag(r)?,
            },
            5 => Self::BranchDeleted { uid, branch: take_branch(r)?, head: CommitId(r.digest()?) },
            6 => Self::TagCreated { uid, tag: take_tag(r)?, commit: CommitId(r.digest()?) },
            7 => Self::TagDeleted { uid, tag: take_tag(r)?, commit: CommitId(r.digest()?) },
            8 => {
                let branch = take_branch(r)?;
                let first_seq = r.uint()?;
                let mut ops = Vec::new();
                for _ in 0..r.uint()? {
                    let path = take_path(r)?;
                    let entry = if take_flag(r)? { Some(Arc::new(Entry::decode(r)?)) } else { None };
                    ops.push((path, entry));
                }
                Self::Staged { uid, branch, first_seq, ops }
            }
            9 => Self::HeadMoved {
                uid,
                branch: take_branch(r)?,
                old: CommitId(r.digest()?),
                new: CommitId(r.digest()?),
                tree: take_tree(r)?,
                upto_seq: r.uint()?,
                working: take_tree(r)?,
                commit: if take_flag(r)? { Some(Arc::new(Commit::decode(r)?)) } else { None },
            },
            10 => Self::Folded { uid, branch: take_branch(r)?, upto_seq: r.uint()?, working: take_tree(r)? },
            11 => Self::UploadCreated { uid, upload: Arc::new(decode_upload(r)?) },
            12 => Self::PartStored { uid, upload: r.text()?, part: Arc::new(decode_part(r)?) },
            13 => Self::UploadEnded {
                uid,
                upload: r.text()?,
                result: if take_flag(r)? { Some(Arc::new(decode_completed(r)?)) } else { None },
            },
            14 => Self::RuleAdded { uid, number: take_rule_number(r)?, rule: Arc::new(decode_rule(r)?) },
            15 => Self::ImportStarted { uid, order: Arc::new(decode_import(r)?) },
            16 => Self::ImportProgressed { uid, import: r.text()?, progress: Arc::new(decode_progress(r)?) },
            17 => Self::ImportEnded {
                uid,
                import: r.text()?,
                end: if take_flag(r)? { Some(Arc::new(decode_import_end(r)?)) } else { None },
            },
            18 => Self::SettingsChanged { uid, settings: Settings::decode(r)? },
            19 => Self::PullRequestChanged { uid, pull: Arc::new(pulls::decode(r)?) },
            20 => {
                let commits = (0..r.uint()?).map(|_| Ok(Arc::new(Commit::decode(r)?)));
                Self::CommitsStored { uid, commits: commits.collect::<Result<_, DecodeError>>()? }
            }
            21 => Self::AliasAdded { uid, alias: CommitId(r.digest()?), commit: CommitId(r.digest()?) },
            22 => Self::JobChanged {
                uid,
                id: r.text()?,
                job: if take_flag(r)? { Some(Arc::new(jobs::decode(r)?)) } else { None },
            },
            24 => {
                let mut branches = Vec::new();
                for _ in 0..r.uint()? {
                    let (name, head) = (take_branch(r)?, CommitId(r.digest()?));
                    branches.push(RestoredBranch { name, head, tree: take_tree(r)?, hidden: take_flag(r)? });
                }
                let mut tags = Vec::new();
                for _ in 0..r.uint()? {
                    tags.push((take_tag(r)?, CommitId(r.digest()?)));
                }
                Self::RefsRestored { uid, branches, tags }
            }
            _ => return Err(DecodeError("journal record is of an unknown kind; a newer Millpond wrote it")),
        })
    }
}

/// Stored form of an upload.
pub fn encode_upload(w: &mut Writer, upload: &crate::UploadInfo) {
    w.text(&upload.id)
        .text(upload.branch.as_str())
        .bytes(upload.path.as_bytes())
        .int(upload.created.millis());
    w.bytes(&upload.attributes.encode()).text(&upload.checksum_algorithm).text(&upload.checksum_type);
}

/// The inverse of [`encode_upload`].
pub fn decode_upload(r: &mut Reader) -> Result<crate::UploadInfo, DecodeError> {
    Ok(crate::UploadInfo {
        id: r.text()?,
        branch: take_branch(r)?,
        path: take_path(r)?,
        created: Timestamp(r.int()?),
        attributes: millpond_types::Attributes::decode(r.bytes()?)?,
        checksum_algorithm: r.text()?,
        checksum_type: r.text()?,
    })
}

/// Stored form of a part.
pub fn encode_part(w: &mut Writer, part: &StoredPart) {
    let info = &part.info;
    w.uint(u64::from(info.number))
        .uint(info.size)
        .raw(&info.md5)
        .raw(&info.sha256.0)
        .int(info.modified.millis());
    w.raw(&part.name.0).bytes(&millpond_types::entry::encode_extra(&info.checksums));
}

/// The inverse of [`encode_part`].
pub fn decode_part(r: &mut Reader) -> Result<StoredPart, DecodeError> {
    Ok(StoredPart {
        info: crate::PartInfo {
            number: u32::try_from(r.uint()?).map_err(|_| DecodeError("part number does not fit"))?,
            size: r.uint()?,
            md5: r.raw(16)?.as_ref().try_into().expect("raw(16) gives 16 bytes"),
            sha256: millpond_types::ContentHash(r.digest()?),
            modified: Timestamp(r.int()?),
            checksums: Default::default(),
        },
        name: crate::address::DataName(r.raw(25)?.as_ref().try_into().expect("raw(25) gives 25 bytes")),
    })
    .and_then(|mut part: StoredPart| {
        part.info.checksums = millpond_types::entry::decode_extra(r.bytes()?)?;
        Ok(part)
    })
}

/// Stored form of a finished upload.
pub fn encode_completed(w: &mut Writer, done: &CompletedUpload) {
    w.text(done.branch.as_str()).bytes(done.path.as_bytes()).raw(&done.fingerprint).int(done.time.millis());
    done.entry.encode(w);
}

/// The inverse of [`encode_completed`].
pub fn decode_completed(r: &mut Reader) -> Result<CompletedUpload, DecodeError> {
    let branch = take_branch(r)?;
    let path = take_path(r)?;
    let fingerprint = r.digest()?;
    let time = Timestamp(r.int()?);
    Ok(CompletedUpload { branch, path, fingerprint, time, entry: Arc::new(Entry::decode(r)?) })
}

fn take_rule_number(r: &mut Reader) -> Result<u32, DecodeError> {
    u32::try_from(r.uint()?).map_err(|_| DecodeError("rule number does not fit"))
}

/// Stored form of an import rule.
pub fn encode_rule(w: &mut Writer, rule: &ImportRule) {
    w.bytes(&rule.source.0).bytes(&rule.destination);
}

/// The inverse of [`encode_rule`].
pub fn decode_rule(r: &mut Reader) -> Result<ImportRule, DecodeError> {
    Ok(ImportRule { source: Location(r.bytes()?), destination: r.bytes()? })
}

/// Stored form of an import as it was asked for.
pub fn encode_import(w: &mut Writer, order: &ImportOrder) {
    let request = &order.request;
    w.text(&order.id).text(order.branch.as_str()).text(&order.actor).int(order.started.millis());
    w.text(&request.message).map(request.metadata.iter()).u8(u8::from(request.force));
    w.uint(request.paths.len() as u64);
    for path in &request.paths {
        w.u8(u8::from(path.kind == SourceKind::Object)).text(&path.source).bytes(&path.destination);
    }
}

/// The inverse of [`encode_import`].
pub fn decode_import(r: &mut Reader) -> Result<ImportOrder, DecodeError> {
    let (id, branch, actor, started) = (r.text()?, take_branch(r)?, r.text()?, Timestamp(r.int()?));
    let (message, metadata, force) = (r.text()?, r.map()?, take_flag(r)?);
    let mut paths = Vec::new();
    for _ in 0..r.uint()? {
        let kind = if take_flag(r)? { SourceKind::Object } else { SourceKind::Prefix };
        paths.push(crate::ImportPath { kind, source: r.text()?, destination: r.bytes()? });
    }
    let request = crate::ImportRequest { paths, message, metadata, force };
    Ok(ImportOrder { id, branch, actor, started, request })
}

/// Stored form of how far an import has come.
pub fn encode_progress(w: &mut Writer, progress: &ImportProgress) {
    w.int(progress.time.millis());
    put_tree(w, &progress.base);
    put_tree(w, &progress.tree);
    w.bytes(&progress.upto).uint(progress.ingested).uint(progress.skipped);
}

/// The inverse of [`encode_progress`].
pub fn decode_progress(r: &mut Reader) -> Result<ImportProgress, DecodeError> {
    Ok(ImportProgress {
        time: Timestamp(r.int()?),
        base: take_tree(r)?,
        tree: take_tree(r)?,
        upto: r.bytes()?,
        ingested: r.uint()?,
        skipped: r.uint()?,
    })
}

/// Stored form of the end of an import.
pub fn encode_import_end(w: &mut Writer, end: &ImportEnd) {
    w.int(end.time.millis()).uint(end.ingested).uint(end.skipped);
    match &end.outcome {
        Ok(commit) => w.u8(1).raw(&commit.0),
        Err(why) => w.u8(0).text(why),
    };
}

/// The inverse of [`encode_import_end`].
pub fn decode_import_end(r: &mut Reader) -> Result<ImportEnd, DecodeError> {
    Ok(ImportEnd {
        time: Timestamp(r.int()?),
        ingested: r.uint()?,
        skipped: r.uint()?,
        outcome: if take_flag(r)? { Ok(CommitId(r.digest()?)) } else { Err(r.text()?) },
    })
}
