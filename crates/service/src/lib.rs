//! One function per user-visible verb: authorize, act, record. Both doors call these and nothing else.
//!
//! It does not know about HTTP, S3 or JSON: doors parse requests into types and render answers.

use bytes::Bytes;
use futures::stream::BoxStream;
pub use millpond_engine::api::*;
pub use millpond_types::*;
use std::ops::Range;

/// Who calls: an authenticated principal. Only this crate makes one.
#[derive(Clone, Debug)]
pub struct Principal {
    name: String,
}

impl Principal {
    /// The user name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A request's caller. `principal` is `None` for anonymous requests, which every verb refuses.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Authenticated, or nobody.
    pub principal: Option<Principal>,
    /// The server's id of this request.
    pub request_id: String,
    /// `Idempotency-Key` header.
    pub idempotency_key: Option<String>,
}

/// A signed session token.
#[derive(Clone, Debug)]
pub struct LoginToken {
    /// JWT.
    pub token: String,
    /// End of life.
    pub expires: Timestamp,
}

/// A secret access key, for computing signatures. Never printed.
#[derive(Clone)]
pub struct SecretKey(String);

impl SecretKey {
    /// The text of the secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The verbs.
pub struct Service {}

/// An object or part being written; dropping it discards what was written.
pub struct Upload {}

impl Upload {
    /// Appends bytes.
    pub async fn write(&mut self, _bytes: Bytes) -> Result<()> {
        unimplemented!()
    }
    /// Digests of what was written so far.
    pub fn digests(&mut self) -> Digests {
        unimplemented!()
    }
    /// Makes the object durable and visible. `extra` goes into [`Entry::extra`] (verified S3 checksums).
    pub async fn finish(self, _extra: std::collections::BTreeMap<String, Bytes>) -> Result<ObjectInfo> {
        unimplemented!()
    }
}

/// A part being written; dropping it discards what was written.
pub struct PartUpload {}

impl PartUpload {
    /// Appends bytes.
    pub async fn write(&mut self, _bytes: Bytes) -> Result<()> {
        unimplemented!()
    }
    /// Digests of what was written so far.
    pub fn digests(&mut self) -> Digests {
        unimplemented!()
    }
    /// Makes the part durable. `checksums` are those that the door has verified.
    pub async fn finish(self, _checksums: std::collections::BTreeMap<String, Bytes>) -> Result<PartInfo> {
        unimplemented!()
    }
}

/// An object opened for reading: one state of it, whatever happens to the path meanwhile.
pub struct OpenObject {
    /// What it is.
    pub info: ObjectInfo,
    /// For multipart objects the sizes of the parts, in order (for `partNumber` reads); else empty.
    pub part_sizes: Vec<u64>,
}

impl OpenObject {
    /// The bytes of the range (within the object), in pieces; every block is checked before it is given.
    pub fn read(&self, _range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        unimplemented!()
    }
}

/// A page of objects with a token that pins the state listed (valid 1 h, then [`Kind::Invalid`]).
pub struct Listing {
    /// In order.
    pub items: Vec<ListItem>,
    /// Whether more follow.
    pub has_more: bool,
    /// Continue with this and the same prefix and delimiter; opaque, URL-safe; present when `has_more`.
    pub pin: Option<String>,
}

#[allow(unused_variables)]
impl Service {
    // --- who -----------------------------------------------------------------------------------
    /// Checks an access key and its secret in constant time.
    pub async fn authenticate_key(&self, access_key_id: &str, secret: &str) -> Result<Principal> {
        unimplemented!()
    }
    /// Checks a session token.
    pub async fn authenticate_token(&self, token: &str) -> Result<Principal> {
        unimplemented!()
    }
    /// Trades an access key for a session token (API-2.13).
    pub async fn login(&self, access_key_id: &str, secret: &str) -> Result<LoginToken> {
        unimplemented!()
    }
    /// The secret behind an access key id and its owner, for signature checks. `None`: unknown key.
    pub async fn signing_key(&self, access_key_id: &str) -> Result<Option<(SecretKey, Principal)>> {
        unimplemented!()
    }
    /// Random id of this installation.
    pub fn installation_id(&self) -> String {
        unimplemented!()
    }
    /// A fresh request id.
    pub fn new_request_id(&self) -> String {
        unimplemented!()
    }
    /// Server time.
    pub fn now(&self) -> Timestamp {
        unimplemented!()
    }

    // --- repositories --------------------------------------------------------------------------
    /// Creates a repository with its first commit (API-9.1, 9.7).
    pub async fn create_repository(&self, caller: &Caller, new: NewRepository) -> Result<RepositoryInfo> {
        unimplemented!()
    }
    /// Unpublishes a repository.
    pub async fn delete_repository(&self, caller: &Caller, name: &RepositoryName, force: bool) -> Result<()> {
        unimplemented!()
    }
    /// One repository.
    pub async fn get_repository(&self, caller: &Caller, name: &RepositoryName) -> Result<RepositoryInfo> {
        unimplemented!()
    }
    /// Repositories by name; `search` is a substring of the name.
    pub async fn list_repositories(
        &self,
        caller: &Caller,
        page: PageRequest,
        search: &str,
    ) -> Result<Page<RepositoryInfo>> {
        unimplemented!()
    }
    /// Merges keys into the repository's metadata.
    pub async fn set_repository_metadata(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        set: Metadata,
    ) -> Result<()> {
        unimplemented!()
    }
    /// Removes keys from the repository's metadata.
    pub async fn delete_repository_metadata(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        keys: Vec<String>,
    ) -> Result<()> {
        unimplemented!()
    }

    // --- branches and tags ---------------------------------------------------------------------
    /// Creates a branch at the commit that `source` names; returns that commit.
    pub async fn create_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
        source: &RefExpr,
        hidden: bool,
        force: bool,
    ) -> Result<CommitId> {
        unimplemented!()
    }
    /// Deletes a branch with its staged changes.
    pub async fn delete_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
        force: bool,
    ) -> Result<()> {
        unimplemented!()
    }
    /// One branch.
    pub async fn get_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &BranchName,
    ) -> Result<BranchInfo> {
        unimplemented!()
    }
    /// Branches by name.
    pub async fn list_branches(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        page: PageRequest,
        show_hidden: bool,
    ) -> Result<Page<BranchInfo>> {
        unimplemented!()
    }
    /// Creates a tag.
    pub async fn create_tag(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &TagName,
        target: &RefExpr,
        force: bool,
    ) -> Result<CommitId> {
        unimplemented!()
    }
    /// Deletes a tag.
    pub async fn delete_tag(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: &TagName,
        force: bool,
    ) -> Result<()> {
        unimplemented!()
    }
    /// One tag.
    pub async fn get_tag(&self, caller: &Caller, repo: &RepositoryName, name: &TagName) -> Result<TagInfo> {
        unimplemented!()
    }
    /// Tags by name.
    pub async fn list_tags(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        page: PageRequest,
    ) -> Result<Page<TagInfo>> {
        unimplemented!()
    }

    // --- history -------------------------------------------------------------------------------
    /// Commits staged changes as of one point in time.
    pub async fn commit(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        request: CommitRequest,
    ) -> Result<CommitInfo> {
        unimplemented!()
    }
    /// The commit that a ref leads to.
    pub async fn get_commit(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
    ) -> Result<CommitInfo> {
        unimplemented!()
    }
    /// Commits reachable from a ref, newest first.
    pub async fn log(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        from: &RefExpr,
        request: LogRequest,
    ) -> Result<Page<CommitInfo>> {
        unimplemented!()
    }
    /// Differences between two refs.
    pub async fn diff_refs(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        left: &RefExpr,
        right: &RefExpr,
        kind: DiffKind,
        request: DiffRequest,
    ) -> Result<Page<DiffItem>> {
        unimplemented!()
    }
    /// Uncommitted changes of a branch.
    pub async fn diff_branch(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        request: DiffRequest,
    ) -> Result<Page<DiffItem>> {
        unimplemented!()
    }
    /// Merges a ref into a branch; returns the new commit.
    pub async fn merge(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        source: &RefExpr,
        destination: &BranchName,
        request: MergeRequest,
    ) -> Result<CommitId> {
        unimplemented!()
    }
    /// (base, source, destination) commits of a merge.
    pub async fn merge_base(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        source: &RefExpr,
        destination: &RefExpr,
    ) -> Result<(CommitId, CommitId, CommitId)> {
        unimplemented!()
    }
    /// Undoes one commit with a new one.
    pub async fn revert(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        target: &RefExpr,
        parent_number: u64,
        overrides: CommitOverrides,
        allow_empty: bool,
        force: bool,
    ) -> Result<CommitInfo> {
        unimplemented!()
    }
    /// Repeats one commit's change on a branch.
    pub async fn cherry_pick(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        target: &RefExpr,
        parent_number: Option<u64>,
        overrides: CommitOverrides,
        force: bool,
    ) -> Result<CommitInfo> {
        unimplemented!()
    }
    /// Drops staged changes.
    pub async fn reset(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        scope: ResetScope,
        force: bool,
    ) -> Result<()> {
        unimplemented!()
    }
    /// Moves a branch's head to any commit.
    pub async fn hard_reset(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        target: &RefExpr,
        force: bool,
    ) -> Result<()> {
        unimplemented!()
    }
    /// Moves of refs, newest first. `name`: only of that branch or tag. `before`: only older than this sequence.
    pub async fn ref_log(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        name: Option<&str>,
        before: Option<u64>,
        amount: usize,
    ) -> Result<Page<RefMove>> {
        unimplemented!()
    }
    /// Undoes the last move of a branch; returns the move that did so and the one undone.
    pub async fn undo(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        force: bool,
    ) -> Result<(RefMove, RefMove)> {
        unimplemented!()
    }

    // --- objects -------------------------------------------------------------------------------
    /// Authorizes and starts an upload. Refuses early what would be refused at the end.
    pub async fn put_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        request: PutRequest,
    ) -> Result<Upload> {
        unimplemented!()
    }
    /// What is at a path.
    pub async fn stat_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
        path: &ObjectPath,
    ) -> Result<ObjectInfo> {
        unimplemented!()
    }
    /// Opens what is at a path.
    pub async fn open_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
        path: &ObjectPath,
    ) -> Result<OpenObject> {
        unimplemented!()
    }
    /// Lists objects as they are now (or at a commit). With `pin` from an earlier page, of the state pinned then.
    pub async fn list_objects(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
        request: ListRequest,
        pin: Option<&str>,
    ) -> Result<Listing> {
        unimplemented!()
    }
    /// Copies an entry without moving bytes (within a repository). `attributes`: replace instead of copy.
    #[allow(clippy::too_many_arguments)]
    pub async fn copy_object(
        &self,
        caller: &Caller,
        source_repo: &RepositoryName,
        source: &RefExpr,
        source_path: &ObjectPath,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        attributes: Option<Attributes>,
        source_condition: WriteCondition,
        condition: WriteCondition,
        force: bool,
    ) -> Result<ObjectInfo> {
        unimplemented!()
    }
    /// Deletes a path; a missing object is no error (conditions aside).
    pub async fn delete_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        condition: WriteCondition,
        force: bool,
    ) -> Result<()> {
        unimplemented!()
    }
    /// Deletes several paths at one point in time, all or (on an error other than a failed condition) none.
    pub async fn delete_objects(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        paths: Vec<(ObjectPath, WriteCondition)>,
        force: bool,
    ) -> Result<Vec<DeleteFailure>> {
        unimplemented!()
    }
    /// Replaces the user metadata of an object (standard headers stay).
    pub async fn set_object_metadata(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        metadata: Metadata,
        force: bool,
    ) -> Result<()> {
        unimplemented!()
    }
    /// Issues a physical address for a path (API-18.1).
    pub async fn new_physical_address(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
    ) -> Result<String> {
        unimplemented!()
    }
    /// Registers an issued (or allowed foreign) address at a path.
    pub async fn link_object(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        request: LinkRequest,
    ) -> Result<ObjectInfo> {
        unimplemented!()
    }

    // --- multipart uploads ---------------------------------------------------------------------
    /// Starts a multipart upload; algorithm and type of checksum as named by the client, or empty.
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
        unimplemented!()
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
        unimplemented!()
    }
    /// Starts writing a part.
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
        unimplemented!()
    }
    /// Parts by number, greater than `after`.
    pub async fn list_parts(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        after: u32,
        amount: usize,
    ) -> Result<Page<PartInfo>> {
        unimplemented!()
    }
    /// Uploads of a repository by (branch/path, id), greater than the marker.
    pub async fn list_uploads(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        prefix: &str,
        after_key: &str,
        after_id: &str,
        amount: usize,
    ) -> Result<Page<UploadInfo>> {
        unimplemented!()
    }
    /// Joins the parts into the object. Repeating the same call gives the same answer.
    pub async fn complete_upload(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        request: CompleteRequest,
    ) -> Result<ObjectInfo> {
        unimplemented!()
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
        unimplemented!()
    }
}
