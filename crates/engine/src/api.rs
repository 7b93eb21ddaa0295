//! What callers of the engine say and get: requests, answers, errors.

pub use crate::jobs::{JobInfo, JobKind, JobOutcome, JobResult};
pub use crate::pulls::PullRequestId;
use bytes::Bytes;
pub use millpond_origin::{SourceKind, canonical};
use millpond_types::{
    Attributes, BranchName, Commit, CommitId, ContentHash, Entry, Metadata, ObjectPath, RefExpr,
    RepositoryName, TagName, Timestamp, TreeId,
};

/// What a caller must do next is the kind; the message says what was attempted and on what.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Decides status codes at the doors.
    pub kind: Kind,
    /// For people. Holds no secret.
    pub message: String,
}

/// Failure kinds, each with its one remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The named thing does not exist.
    NotFound(Thing),
    /// The input breaks a rule; fix it.
    Invalid,
    /// A name is taken.
    AlreadyExists,
    /// A branch, tag or commit of the same name stands in the way of a new name.
    NameClash,
    /// Both sides changed the same paths; choose a strategy or resolve.
    Conflict,
    /// Reverting or picking a merge commit needs the number of a parent.
    ParentNumberNeeded,
    /// The branch has uncommitted changes; commit or reset them.
    Dirty,
    /// The repository holds something; delete it by the verb that means it.
    NotEmpty,
    /// There is nothing to do.
    NoChanges,
    /// A condition of the request does not hold.
    PreconditionFailed,
    /// The branch is protected against this.
    Protected,
    /// The repository is read-only.
    ReadOnly,
    /// The thing existed; its data is gone for good (or its source changed).
    Gone,
    /// The server does not offer this.
    NotImplemented,
    /// The same call may succeed later.
    Busy,
    /// The same idempotency key was used with another request.
    IdempotencyMismatch,
    /// The same idempotency key is being worked on.
    IdempotencyRunning,
    /// An upload's part list is wrong: a part is missing or its ETag differs.
    InvalidPart,
    /// An upload's part list is not ascending.
    InvalidPartOrder,
    /// A part other than the last is below 5 MiB.
    PartTooSmall,
    /// The object or part is larger than allowed.
    TooLarge,
    /// The server that worked on it has ended; whether it had an effect is to be looked at.
    Interrupted,
    /// Stored bytes failed their check; nothing of the damaged block was sent.
    Damaged,
    /// A bug or a failed disk; the server's log says more.
    Internal,
    /// Nobody is logged in, or the credentials are wrong (service only).
    Unauthenticated,
    /// The principal may not do this (service only).
    Denied,
}

/// Failure kinds as they are stored with a job that has failed. A number is never given to another kind.
const STORED: &[(u8, Kind)] = &[
    (1, Kind::Invalid),
    (2, Kind::AlreadyExists),
    (3, Kind::NameClash),
    (4, Kind::Conflict),
    (5, Kind::ParentNumberNeeded),
    (6, Kind::Dirty),
    (7, Kind::NotEmpty),
    (8, Kind::NoChanges),
    (9, Kind::PreconditionFailed),
    (10, Kind::Protected),
    (11, Kind::ReadOnly),
    (12, Kind::Gone),
    (13, Kind::NotImplemented),
    (14, Kind::Busy),
    (15, Kind::TooLarge),
    (16, Kind::Damaged),
    (17, Kind::NotFound(Thing::Repository)),
    (18, Kind::NotFound(Thing::Branch)),
    (19, Kind::NotFound(Thing::Tag)),
    (20, Kind::NotFound(Thing::Ref)),
    (21, Kind::NotFound(Thing::Commit)),
    (22, Kind::NotFound(Thing::Object)),
    (23, Kind::NotFound(Thing::Other)),
    (24, Kind::Interrupted),
];

impl Kind {
    /// What is not in the table is a bug of ours to whoever reads of it.
    pub(crate) fn code(self) -> u8 {
        STORED.iter().find(|(_, kind)| *kind == self).map_or(0, |(code, _)| *code)
    }
    pub(crate) fn of_code(code: u8) -> Self {
        STORED.iter().find(|(stored, _)| *stored == code).map_or(Self::Internal, |(_, kind)| *kind)
    }
}

/// What was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Thing {
    Repository,
    Branch,
    Tag,
    /// A ref expression that leads nowhere.
    Ref,
    Commit,
    Object,
    Upload,
    Other,
}

impl Error {
    /// An error of a kind with its message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Who does something, and under which request: written to the log, never judged.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// Name of the principal; becomes the committer.
    pub name: String,
    /// The request id that the caller sees.
    pub request_id: String,
    /// `Idempotency-Key`, if the caller sent one.
    pub idempotency_key: Option<String>,
    /// Where the request came from, as far as the caller knows.
    pub address: Option<std::net::IpAddr>,
}

/// A page of a listing that is ordered by `T`'s key.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Whether more follow the last item.
    pub has_more: bool,
}

/// Which part of an ordered list of names is wanted.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// Only names beginning with this.
    pub prefix: String,
    /// Only names greater than this.
    pub after: String,
    /// Most items; the caller has applied defaults and limits.
    pub amount: usize,
}

/// A repository as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryInfo {
    /// Its name.
    pub name: RepositoryName,
    /// As given at creation.
    pub storage_namespace: String,
    /// The branch that cannot be deleted.
    pub default_branch: BranchName,
    /// When it was created.
    pub created: Timestamp,
    /// Refuses changes without `force`.
    pub read_only: bool,
    /// String pairs set by users.
    pub metadata: Metadata,
}

/// Which branches of a repository are protected: staging, commits and whatever else moves their heads are
/// refused there, but for merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchProtection {
    /// Globs over branch names (API-21.2), in order.
    pub patterns: Vec<String>,
    /// Names these rules; the same rules have the same.
    pub etag: String,
}

/// A change of a repository's branch protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtectionChange {
    /// These patterns and no others.
    Replace {
        /// The new ones.
        patterns: Vec<String>,
        /// The ETag that the present ones must have.
        if_match: Option<String>,
    },
    /// One more. That it is there already is no error.
    Add(String),
    /// One less. [`Thing::Other`] not found if it is not there.
    Remove(String),
}

/// For how long what nothing refers to any more is to be kept. Kept for whoever collects; the server itself
/// collects nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionRules {
    /// Days, for branches without a rule of their own. Any number is kept as given (API-22.1).
    pub default_days: i64,
    /// Days by branch. That there is such a branch is not demanded.
    pub branches: std::collections::BTreeMap<String, i64>,
}

/// The wish to merge one branch into another, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Names it.
    pub id: PullRequestId,
    /// In a line.
    pub title: String,
    /// At length.
    pub description: String,
    /// Who opened it.
    pub author: String,
    /// When.
    pub created: Timestamp,
    /// What is to be merged. The branch may be gone by now.
    pub source: BranchName,
    /// Into what.
    pub destination: BranchName,
    /// What became of it.
    pub status: PullRequestStatus,
    /// When it was last closed or merged.
    pub closed: Option<Timestamp>,
    /// The merge, if [`Engine::merge_pull_request`](crate::Engine::merge_pull_request) made one.
    pub merged: Option<CommitId>,
}

/// What became of a pull request. Nothing changes it but callers: neither that a branch goes nor that it is merged
/// otherwise (API-24.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequestStatus {
    /// It waits.
    Open,
    /// Nothing was merged.
    Closed,
    /// It was merged, or somebody said so.
    Merged,
}

/// Which pull requests to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullRequestFilter {
    /// All of them.
    #[default]
    All,
    /// Those that wait.
    Open,
    /// Closed and merged ones.
    NotOpen,
}

/// A pull request to be opened.
#[derive(Clone, Debug)]
pub struct NewPullRequest {
    /// In a line.
    pub title: String,
    /// At length.
    pub description: String,
    /// What is to be merged.
    pub source: BranchName,
    /// Into what; another branch.
    pub destination: BranchName,
}

/// What to change of a pull request.
#[derive(Clone, Debug, Default)]
pub struct PullRequestChange {
    /// Instead of the present one.
    pub title: Option<String>,
    /// Instead of the present one.
    pub description: Option<String>,
    /// Instead of the present one.
    pub status: Option<PullRequestStatus>,
}

/// A new repository.
#[derive(Clone, Debug)]
pub struct NewRepository {
    /// Unique on the server.
    pub name: RepositoryName,
    /// Shown and returned as given; must be free (no other repository has it).
    pub storage_namespace: String,
    /// First branch.
    pub default_branch: BranchName,
    /// Refuse changes without `force`.
    pub read_only: bool,
}

/// A branch and its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// Its name.
    pub name: BranchName,
    /// Head commit, staging not included.
    pub commit: CommitId,
    /// Left out of listings unless asked for.
    pub hidden: bool,
}

/// A tag and its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagInfo {
    /// Its name.
    pub name: TagName,
    /// What it points at for ever.
    pub commit: CommitId,
}

/// A commit with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// Derived from the content.
    pub id: CommitId,
    /// The content.
    pub commit: Commit,
}

/// What to commit, and how to describe it.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// Free text, may be empty.
    pub message: String,
    /// String pairs; keys beginning with `.millpond.` are refused.
    pub metadata: Metadata,
    /// Unix seconds instead of now.
    pub date: Option<i64>,
    /// Commit even if nothing changed.
    pub allow_empty: bool,
    /// Take only staged changes at these paths or under these prefixes; everything when both are empty.
    pub paths: Vec<ObjectPath>,
    /// See `paths`.
    pub prefixes: Vec<Bytes>,
    /// Pass over the read-only flag.
    pub force: bool,
    /// Commit this tree instead of the staged changes (API-12.6); the branch must be clean.
    pub source_tree: Option<TreeId>,
}

/// A commit as it was made elsewhere.
#[derive(Clone, Debug)]
pub struct CommitRecord {
    /// The id that the other fields must give, if the caller knows it.
    pub id: Option<CommitId>,
    /// Who committed.
    pub committer: String,
    /// Free text, may be empty.
    pub message: String,
    /// String pairs; keys beginning with `.millpond.` are refused.
    pub metadata: Metadata,
    /// Unix seconds.
    pub date: i64,
    /// A tree of this repository.
    pub tree: TreeId,
    /// Commits of this repository, in order.
    pub parents: Vec<CommitId>,
}

/// A tree to be made from another one, for a commit that is taken over from another server.
#[derive(Clone, Debug, Default)]
pub struct AdoptedTreeRequest {
    /// Stored in the repository, or empty.
    pub base: TreeId,
    /// Of several for one path, the last counts.
    pub changes: Vec<AdoptedChange>,
    /// Commits of the repository that may have the same objects at the same paths: the other parents of a merge.
    pub like: Vec<CommitId>,
    /// The folder that the other server keeps its own objects in, as it spells it; empty for none.
    pub storage: String,
    /// Pass over the read-only flag.
    pub force: bool,
}

/// What becomes of one path.
#[derive(Clone, Debug)]
pub struct AdoptedChange {
    /// Where.
    pub path: ObjectPath,
    /// None removes it.
    pub object: Option<AdoptedObject>,
}

/// An object as another server describes it.
#[derive(Clone, Debug)]
pub struct AdoptedObject {
    /// Its bytes, if they were sent.
    pub stored: Option<StoredContent>,
    /// Where it is; it may stay there if this server sees the same bytes. Empty: it may not.
    pub address: String,
    /// The other server cannot read it any more: it is known here as it was, and as gone.
    pub gone: bool,
    /// Bytes.
    pub size: u64,
    /// The ETag there.
    pub checksum: String,
    /// The time there.
    pub mtime: Timestamp,
    /// Content type and metadata.
    pub attributes: Attributes,
}

/// What became of the changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedTree {
    /// The base with every change but those that are missing. Stored.
    pub tree: TreeId,
    /// Objects that stay where they are.
    pub linked: u64,
    /// Paths whose objects have to be sent.
    pub missing: Vec<ObjectPath>,
}

/// Bytes that are stored in a repository without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContent(pub(crate) Entry);

impl StoredContent {
    /// For whoever shows it to a client and knows it again.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = millpond_types::Writer::new();
        self.0.encode(&mut writer);
        writer.finish()
    }
    /// The inverse of [`StoredContent::encode`].
    pub fn decode(bytes: Bytes) -> std::result::Result<Self, millpond_types::DecodeError> {
        let mut reader = millpond_types::Reader::new(bytes);
        let entry = Entry::decode(&mut reader)?;
        reader.end()?;
        Ok(Self(entry))
    }
    /// MD5 of the bytes, as an ETag.
    pub fn checksum(&self) -> String {
        self.0.checksum.to_text()
    }
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }
}

/// Names a dump of refs: the SHA-256 of each of its three files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpIds {
    /// All commits.
    pub commits: ContentHash,
    /// Branches.
    pub branches: ContentHash,
    /// Tags.
    pub tags: ContentHash,
}

/// Which commits to list.
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    /// Start after this commit.
    pub after: Option<RefExpr>,
    /// Most items.
    pub amount: usize,
    /// Only commits that changed one of these paths or prefixes (API-12.19).
    pub paths: Vec<ObjectPath>,
    /// See `paths`.
    pub prefixes: Vec<Bytes>,
    /// Stop looking after `amount` hits, and say that there is no more (API-12.18).
    pub limit: bool,
    /// Follow first parents only.
    pub first_parent: bool,
    /// Leave out commits older than this.
    pub since: Option<Timestamp>,
    /// End with this commit.
    pub stop_at: Option<RefExpr>,
}

/// How a merge treats paths that both sides changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MergeStrategy {
    /// Refuse with [`Kind::Conflict`].
    #[default]
    Refuse,
    /// The source's version wins.
    SourceWins,
    /// The destination's version wins.
    DestWins,
}

/// How to merge.
#[derive(Clone, Debug, Default)]
pub struct MergeRequest {
    /// Empty: a default text.
    pub message: String,
    /// String pairs.
    pub metadata: Metadata,
    /// For conflicting paths.
    pub strategy: MergeStrategy,
    /// One parent instead of two.
    pub squash: bool,
    /// Merge even if the source brings nothing.
    pub allow_empty: bool,
    /// Pass over the read-only flag; also acts as `allow_empty` (API-9.21).
    pub force: bool,
}

/// What to import (API area 20), and how to describe the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportRequest {
    /// Where from and where to. Where two give the same key, the later one counts.
    pub paths: Vec<ImportPath>,
    /// Empty: a default text.
    pub message: String,
    /// String pairs.
    pub metadata: Metadata,
    /// Pass over the read-only flag.
    pub force: bool,
}

/// One source of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportPath {
    /// Everything below the source, or just it.
    pub kind: SourceKind,
    /// As the user wrote it.
    pub source: String,
    /// Everything that begins with this goes; what is imported takes its place.
    pub destination: Bytes,
}

/// How an import is doing.
#[derive(Clone, Debug)]
pub struct ImportInfo {
    /// Names it.
    pub id: String,
    /// Where its commit goes.
    pub branch: BranchName,
    /// When the rest of this was true.
    pub updated: Timestamp,
    /// Objects taken in so far.
    pub ingested: u64,
    /// What was found and is no object: links, sockets, devices.
    pub skipped: u64,
    /// Whether and how it ended.
    pub outcome: ImportOutcome,
}

/// Whether and how an import ended.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum ImportOutcome {
    /// Not yet. It goes on after a restart.
    Running,
    /// Made this commit.
    Completed(CommitInfo),
    /// Made nothing, for this reason.
    Failed(String),
}

/// Replaces message and metadata of a revert or cherry-pick.
#[derive(Clone, Debug, Default)]
pub struct CommitOverrides {
    /// Used when not empty.
    pub message: Option<String>,
    /// Used when present.
    pub metadata: Option<Metadata>,
}

/// What a reset drops.
#[derive(Clone, Debug)]
pub enum ResetScope {
    /// All staged changes.
    All,
    /// Staged changes of paths beginning with this.
    Prefix(Bytes),
    /// The staged change of one path.
    Path(ObjectPath),
}

/// Which differences to list.
#[derive(Clone, Debug, Default)]
pub struct DiffRequest {
    /// Only paths beginning with this.
    pub prefix: Bytes,
    /// Only paths (or folded prefixes) greater than this; empty for the start.
    pub after: Bytes,
    /// Fold paths at this.
    pub delimiter: Bytes,
    /// Most items.
    pub amount: usize,
}

/// Two-dot or three-dot (API-15.3 to 15.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffKind {
    /// From the left tree to the right tree.
    TwoDot,
    /// What merging right into left would bring, conflicts marked.
    ThreeDot,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DiffType {
    Added,
    Removed,
    Changed,
    Conflict,
}

/// One line of a diff.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "pages hold mostly objects")]
pub enum DiffItem {
    /// One path.
    Object {
        /// Where.
        path: ObjectPath,
        /// What happened.
        kind: DiffType,
        /// The value on the left, if any.
        left: Option<Entry>,
        /// The value on the right, if any.
        right: Option<Entry>,
    },
    /// Paths folded at the delimiter, which ends this text.
    CommonPrefix(Bytes),
}

/// One object as callers see it.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    /// Its path.
    pub path: ObjectPath,
    /// What is stored.
    pub entry: Entry,
    /// Full store address: namespace + `data/` + 20 + `/` + 20 characters, or the source's URI.
    pub physical_address: String,
}

/// Which objects to list.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Only paths beginning with this.
    pub prefix: Bytes,
    /// Only paths (or folded prefixes) greater than this; empty for the start.
    pub after: Bytes,
    /// Fold at this; empty for none.
    pub delimiter: Bytes,
    /// Most items.
    pub amount: usize,
}

/// One line of a listing.
#[derive(Clone, Debug)]
pub enum ListItem {
    /// An object.
    Object(ObjectInfo),
    /// Paths folded at the delimiter, which ends this text.
    CommonPrefix(Bytes),
}

/// ETags a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`: whatever exists.
    Any,
    /// ETags without quotes.
    OneOf(Vec<String>),
}

impl EtagMatch {
    /// Whether the ETag (without quotes) is one of them.
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(list) => list.iter().any(|e| e == etag),
        }
    }
}

/// Conditions of a write, judged by the branch's writer against the visible entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteCondition {
    /// The entry must exist with one of these. On a missing path: [`Thing::Object`] not found.
    pub if_match: Option<EtagMatch>,
    /// The entry must not exist with one of these.
    pub if_none_match: Option<EtagMatch>,
}

/// Where an object is to be written.
#[derive(Clone, Debug)]
pub struct PutRequest {
    /// Content type, headers, user metadata.
    pub attributes: Attributes,
    /// Judged when the upload finishes (and once before the body, to refuse early).
    pub condition: WriteCondition,
    /// Pass over the read-only flag.
    pub force: bool,
    /// The content's SHA-256 if the caller verifies it against the bytes itself and will drop the
    /// upload when it differs (a signed payload hash): it is then not computed again.
    pub verified_sha256: Option<ContentHash>,
    /// Size in bytes if known beforehand; only used to choose buffers.
    pub size_hint: Option<u64>,
}

/// Digests of the bytes written so far.
#[derive(Clone, Copy, Debug)]
pub struct Digests {
    /// SHA-256 of the bytes (or the verified one that was given).
    pub sha256: ContentHash,
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// Bytes written.
    pub size: u64,
}

/// A path that a batch delete could not delete.
#[derive(Clone, Debug)]
pub struct DeleteFailure {
    /// Which.
    pub path: Bytes,
    /// Why.
    pub error: Error,
}

/// An upload in progress.
#[derive(Clone, Debug)]
pub struct UploadInfo {
    /// Opaque.
    pub id: String,
    /// Branch named at creation.
    pub branch: BranchName,
    /// Path named at creation.
    pub path: ObjectPath,
    /// When it was created.
    pub created: Timestamp,
    /// Content type, headers, user metadata of the object to be.
    pub attributes: Attributes,
    /// Checksum algorithm and type named at creation, for instance `CRC32` and `COMPOSITE`; empty if none.
    pub checksum_algorithm: String,
    /// See `checksum_algorithm`.
    pub checksum_type: String,
}

/// One uploaded part.
#[derive(Clone, Debug)]
pub struct PartInfo {
    /// 1 to 10,000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// MD5 of the part: its ETag.
    pub md5: [u8; 16],
    /// SHA-256 of the part.
    pub sha256: ContentHash,
    /// When it was written.
    pub modified: Timestamp,
    /// Checksums that the client sent and the door verified, as in [`Entry::extra`].
    pub checksums: std::collections::BTreeMap<String, Bytes>,
}

/// One part as the completing client names it.
#[derive(Clone, Debug)]
pub struct CompletedPart {
    /// 1 to 10,000, ascending.
    pub number: u32,
    /// ETag without quotes.
    pub etag: String,
    /// Checksums the client repeats, to be compared with the stored ones.
    pub checksums: std::collections::BTreeMap<String, Bytes>,
}

/// How to finish an upload.
#[derive(Clone, Debug, Default)]
pub struct CompleteRequest {
    /// In order.
    pub parts: Vec<CompletedPart>,
    /// Judged by the branch's writer.
    pub condition: WriteCondition,
    /// Checksums of the whole object to store with it (already verified or composed by the door).
    pub extra: std::collections::BTreeMap<String, Bytes>,
    /// Size in bytes that the client expects the object to have.
    pub expected_size: Option<u64>,
}

/// An address registered without sending bytes (API-16.19, 18.6).
#[derive(Clone, Debug)]
pub struct LinkRequest {
    /// As issued by the server, or a URI elsewhere that the service has allowed.
    pub physical_address: String,
    /// ETag as declared.
    pub checksum: String,
    /// Bytes as declared.
    pub size: u64,
    /// Instead of now.
    pub mtime: Option<Timestamp>,
    /// Content type and metadata.
    pub attributes: Attributes,
    /// Judged by the branch's writer.
    pub condition: WriteCondition,
    /// Pass over the read-only flag.
    pub force: bool,
}

/// One move of a ref.
#[derive(Clone, Debug)]
pub struct RefMove {
    /// Position in the repository's ref log: larger is newer.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: String,
    /// `commit`, `merge`, `revert`, `cherry-pick`, `hard-reset`, `undo`, `create`, `delete`.
    pub cause: String,
    /// `branch` or `tag`.
    pub is_tag: bool,
    /// Name of the branch or tag.
    pub name: String,
    /// Where it pointed; none for a creation.
    pub old: Option<CommitId>,
    /// Where it points; none for a deletion.
    pub new: Option<CommitId>,
}
