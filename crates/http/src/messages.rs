//! Every JSON message of the API, with the member names that clients depend on.
//!
//! Messages say nothing about when they are sent: that is in [`crate::table`].

use crate::schema::{Described, Instant, NonEmpty, NonEmptyList, Nullable, Type, choice, message, shape};
use millpond_service::{Attributes, CommitInfo, Metadata, RepositoryInfo};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Free members.
pub type Anything = serde_json::Map<String, serde_json::Value>;

// --- pages ---------------------------------------------------------------------------------------

message! {
    #[derive(Serialize)]
    Pagination<'a> { has_more: bool, next_offset: &'a str, results: usize, max_per_page: usize }
}

/// A page of anything; its schema is one of the `...List` shapes below.
#[derive(Serialize)]
pub struct List<'a, T> {
    /// Where the page stands.
    pub pagination: Pagination<'a>,
    /// Its items.
    pub results: Vec<T>,
}

impl<'a, T> List<'a, T> {
    /// A page of items of which `last` is the name of the last one (API-8.2).
    pub fn new(results: Vec<T>, has_more: bool, last: &'a str) -> Self {
        let pagination = Pagination {
            has_more,
            next_offset: if has_more { last } else { "" },
            results: results.len(),
            max_per_page: millpond_service::limits::PAGE_ITEMS_MAX,
        };
        Self { pagination, results }
    }
    /// The page of a list in which there is nothing.
    pub fn nothing() -> Self {
        Self::new(Vec::new(), false, "")
    }
}

macro_rules! lists {
    ($($name:ident of $item:ty),* $(,)?) => {
        $(shape! { $name { pagination: Pagination<'static>, results: Vec<$item> } })*
    };
}

lists! {
    RepositoryList of Repository<'static>,
    RefList of Ref<'static>,
    CommitList of Commit<'static>,
    DiffList of Diff<'static>,
    ObjectStatsList of ObjectStats<'static>,
    UserList of User<'static>,
    GroupList of Group<'static>,
    PolicyList of Policy<'static>,
    CredentialsList of Credentials<'static>,
    ExternalPrincipalList of ExternalPrincipal<'static>,
    ActionRunList of ActionRun,
    HookRunList of HookRun,
    PullRequestsList of PullRequest<'static>,
    OplogList of OplogEntry<'static>,
    AuditList of AuditEvent<'static>,
}

// --- repositories --------------------------------------------------------------------------------

/// A repository name in a request body.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct RepositoryId(pub String);
impl Described for RepositoryId {
    const TYPE: Type = Type::Pattern("^[a-z0-9][a-z0-9-]{2,62}$", |text| {
        millpond_service::RepositoryName::parse(text).is_ok()
    });
}

/// A storage namespace in a request body: a URI of a known scheme on one line.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Namespace(pub String);
impl Described for Namespace {
    const TYPE: Type = Type::Pattern(r"^(s3|gs|https?|mem|local|transient):\/\/.*$", |text| {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        matches!(scheme, Some("s3" | "gs" | "http" | "https" | "mem" | "local" | "transient"))
            && !text.contains(['\n', '\r'])
    });
}

message! {
    #[derive(Deserialize)]
    RepositoryCreation {
        name: RepositoryId, storage_namespace: Namespace;
        storage_id: String, default_branch: String, sample_data: bool, read_only: bool
    }
}
message! {
    #[derive(Serialize)]
    Repository<'a> {
        id: &'a str, creation_date: i64, default_branch: &'a str, storage_namespace: &'a str;
        storage_id: &'a str, read_only: bool
    }
}
impl<'a> From<&'a RepositoryInfo> for Repository<'a> {
    fn from(info: &'a RepositoryInfo) -> Self {
        Self {
            id: info.name.as_str(),
            creation_date: info.created.seconds(),
            default_branch: info.default_branch.as_str(),
            storage_namespace: &info.storage_namespace,
            storage_id: Some(""),
            read_only: Some(info.read_only),
        }
    }
}
message! { #[derive(Deserialize)] RepositoryMetadataSet { metadata: Metadata } }
message! { #[derive(Deserialize)] RepositoryMetadataKeys { keys: Vec<String> } }

// --- branches and tags ---------------------------------------------------------------------------

message! { #[derive(Serialize)] Ref<'a> { id: &'a str, commit_id: String } }
message! { #[derive(Deserialize)] BranchCreation { name: String, source: String; hidden: bool, force: bool } }
message! { #[derive(Deserialize)] TagCreation { id: String, r#ref: String; force: bool } }

choice! {
    /// What a reset drops.
    ResetType { Object = "object", CommonPrefix = "common_prefix", Reset = "reset" }
}
message! { #[derive(Deserialize)] ResetCreation { r#type: ResetType; path: String, force: bool } }
message! { #[derive(Deserialize, Default)] CommitOverrides { ; message: String, metadata: Metadata } }
impl From<CommitOverrides> for millpond_service::CommitOverrides {
    fn from(overrides: CommitOverrides) -> Self {
        Self { message: overrides.message, metadata: overrides.metadata }
    }
}
message! {
    #[derive(Deserialize)]
    RevertCreation {
        r#ref: String, parent_number: i64; commit_overrides: CommitOverrides, force: bool, allow_empty: bool
    }
}
message! {
    #[derive(Deserialize)]
    CherryPickCreation {
        r#ref: String; parent_number: i64, commit_overrides: CommitOverrides, force: bool
    }
}

// --- commits -------------------------------------------------------------------------------------

message! {
    // `paths` and `prefixes` are ours: commit only what is staged there (design.md 3.2).
    #[derive(Deserialize)]
    CommitCreation {
        message: String;
        metadata: Metadata, date: i64, allow_empty: bool, force: bool, paths: Vec<String>, prefixes: Vec<String>
    }
}
message! {
    #[derive(Serialize)]
    Commit<'a> {
        id: String, parents: Vec<String>, committer: &'a str, message: &'a str, creation_date: i64,
        meta_range_id: String;
        metadata: &'a Metadata, generation: u64, version: u64
    }
}
impl<'a> From<&'a CommitInfo> for Commit<'a> {
    fn from(info: &'a CommitInfo) -> Self {
        let commit = &info.commit;
        Self {
            id: info.id.to_hex(),
            parents: commit.parents.iter().map(|parent| parent.to_hex()).collect(),
            committer: &commit.committer,
            message: &commit.message,
            creation_date: commit.creation_date,
            meta_range_id: commit.tree.to_hex(),
            metadata: Some(&commit.metadata),
            generation: Some(commit.generation),
            version: Some(1),
        }
    }
}
message! {
    #[derive(Deserialize)]
    CommitRecordCreation {
        commit_id: String, version: i64, committer: String, message: String, metarange_id: String,
        creation_date: i64, parents: Vec<String>, generation: i64;
        metadata: Metadata, force: bool
    }
}

// --- merge and diff ------------------------------------------------------------------------------

message! {
    #[derive(Deserialize, Default)]
    Merge {
        ; message: String, metadata: Metadata, strategy: String, force: bool, allow_empty: bool,
        squash_merge: bool
    }
}
message! { #[derive(Serialize)] MergeResult { reference: String } }
message! {
    #[derive(Serialize)]
    FindMergeBaseResult { source_commit_id: String, destination_commit_id: String, base_commit_id: String }
}

choice! {
    /// What happened to a path.
    DifferenceType {
        Added = "added", Removed = "removed", Changed = "changed", Conflict = "conflict",
        PrefixChanged = "prefix_changed",
    }
}
choice! {
    /// Whether a line stands for an object or for what is below a prefix.
    PathType { Object = "object", CommonPrefix = "common_prefix" }
}
message! {
    #[derive(Serialize)]
    DiffObjectStat<'a> {
        checksum: String, mtime: i64, content_type: &'a str; metadata: UserMetadata<'a>
    }
}
message! {
    #[derive(Serialize)]
    Diff<'a> {
        r#type: DifferenceType, path: Cow<'a, str>, path_type: PathType;
        size_bytes: u64, right: DiffObjectStat<'a>
    }
}

// --- objects -------------------------------------------------------------------------------------

/// The metadata that users see of an object, written straight from its attributes; without them, `{}`.
pub struct UserMetadata<'a>(pub Option<&'a Attributes>);
impl Described for UserMetadata<'_> {
    const TYPE: Type = Type::Map(&Type::Text);
}
impl Serialize for UserMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.iter().flat_map(|attributes| attributes.user_metadata()) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

message! {
    #[derive(Serialize)]
    // `verified` is ours, and there only when it was asked for: whether this server took the checksum from the bytes.
    ObjectStats<'a> {
        path: Cow<'a, str>, path_type: PathType, physical_address: &'a str, checksum: String, mtime: i64;
        size_bytes: u64, physical_address_expiry: i64, metadata: UserMetadata<'a>, content_type: &'a str,
        verified: bool
    }
}
message! { #[derive(Deserialize)] PathList { paths: Vec<String> } }
message! { #[derive(Serialize)] ObjectError<'a> { status_code: u64, message: &'a str; path: Cow<'a, str> } }
message! { #[derive(Serialize)] ObjectErrorList<'a> { errors: Vec<ObjectError<'a>> } }
message! {
    #[derive(Deserialize)]
    ObjectCopyCreation { src_path: String; src_ref: String, shallow: bool, force: bool }
}
message! { #[derive(Deserialize)] UpdateObjectUserMetadata { set: Metadata } }
message! { #[derive(Serialize)] UnderlyingObjectProperties { ; storage_class: Nullable<String> } }
message! { #[derive(Serialize)] StorageURI { location: String } }

// --- staging -------------------------------------------------------------------------------------

message! {
    #[derive(Serialize, Deserialize)]
    StagingLocation { ; physical_address: String, presigned_url: Nullable<String>, presigned_url_expiry: i64 }
}
message! {
    #[derive(Deserialize)]
    StagingMetadata {
        staging: StagingLocation, checksum: String, size_bytes: i64;
        user_metadata: Metadata, content_type: String, mtime: i64, force: bool
    }
}
message! {
    #[derive(Deserialize)]
    ObjectStageCreation {
        physical_address: String, checksum: String, size_bytes: i64;
        mtime: i64, metadata: Metadata, content_type: String, force: bool
    }
}
shape! { PresignMultipartUpload { upload_id: String, physical_address: String; presigned_urls: Vec<String> } }
shape! { UploadPartFrom { physical_address: String } }
shape! { UploadTo { presigned_url: String } }
shape! { CopyPartSource { repository: String, r#ref: String, path: String; range: RangeText } }
shape! { UploadPartCopyFrom { physical_address: String, copy_source: CopyPartSource } }
shape! { UploadPart { part_number: i64, etag: String } }
shape! {
    CompletePresignMultipartUpload {
        physical_address: String, parts: Vec<UploadPart>; user_metadata: Metadata, content_type: String
    }
}
shape! { AbortPresignMultipartUpload { physical_address: String } }

/// The rule of a `Range` header, also where it stands in a body.
pub enum RangeText {}
impl Described for RangeText {
    const TYPE: Type = Type::Pattern(crate::range::PATTERN, crate::range::fits_pattern);
}

// --- import, collection, dump --------------------------------------------------------------------

message! { #[derive(Deserialize)] ImportLocation { r#type: PathType, path: String, destination: String } }
message! {
    #[derive(Deserialize)]
    ImportCreation { paths: Vec<ImportLocation>, commit: CommitCreation; force: bool }
}
message! { #[derive(Serialize)] ImportCreationResponse { id: String } }
message! {
    // `skipped_objects` is ours: links, sockets and devices that were passed over.
    #[derive(Serialize)]
    ImportStatus<'a> {
        completed: bool, update_time: Instant;
        ingested_objects: u64, metarange_id: String, commit: Commit<'a>, error: Error<'a>, skipped_objects: u64
    }
}
message! {
    #[derive(Serialize, Deserialize)]
    GarbageCollectionRule { branch_id: String, retention_days: i64 }
}
message! {
    #[derive(Serialize, Deserialize)]
    GarbageCollectionRules { default_retention_days: i64, branches: Vec<GarbageCollectionRule> }
}
shape! {
    GarbageCollectionPrepareResponse {
        run_id: String, gc_commits_location: String, gc_addresses_location: String;
        gc_commits_presigned_url: String
    }
}
shape! {
    PrepareGarbageCollectionCommitsStatus {
        task_id: String, completed: bool, update_time: Instant;
        result: GarbageCollectionPrepareResponse, error: Error
    }
}
shape! { PrepareGCUncommittedRequest { ; continuation_token: String } }
shape! {
    PrepareGCUncommittedResponse { run_id: String, gc_uncommitted_location: String; continuation_token: String }
}
message! { #[derive(Serialize)] TaskCreation { id: String } }
message! {
    #[derive(Serialize)]
    CommitAsyncStatus<'a> {
        task_id: &'a str, completed: bool, update_time: Instant;
        result: Commit<'a>, error: Error<'a>, status_code: u64
    }
}
message! {
    #[derive(Serialize)]
    MergeAsyncStatus<'a> {
        task_id: &'a str, completed: bool, update_time: Instant;
        result: MergeResult, error: Error<'a>, status_code: u64
    }
}
message! { #[derive(Serialize)] TaskInfo { id: String } }
message! {
    #[derive(Serialize)]
    RefsDump { commits_meta_range_id: String, tags_meta_range_id: String, branches_meta_range_id: String }
}
message! {
    #[derive(Deserialize)]
    RefsRestore {
        commits_meta_range_id: String, tags_meta_range_id: String, branches_meta_range_id: String; force: bool
    }
}
message! {
    #[derive(Serialize)]
    RepositoryDumpStatus<'a> { id: &'a str, done: bool, update_time: Instant; error: &'a str, refs: RefsDump }
}
message! {
    #[derive(Serialize)]
    RepositoryRestoreStatus<'a> { id: &'a str, done: bool, update_time: Instant; error: &'a str }
}

// --- rules, runs, pull requests ------------------------------------------------------------------

/// A glob over branch names, of at least one character.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(pub String);
impl Described for Pattern {
    const TYPE: Type = Type::NonEmptyText;
}
message! {
    #[derive(Serialize, Deserialize)]
    BranchProtectionRule { pattern: Pattern }
}
message! {
    #[derive(Deserialize)]
    InternalDeleteBranchProtectionRuleRequest { pattern: String }
}
choice! {
    /// How a run or hook run ended.
    RunStatus { Failed = "failed", Completed = "completed" }
}
shape! {
    ActionRun {
        run_id: String, branch: String, start_time: Instant, event_type: String, status: RunStatus,
        commit_id: String; end_time: Instant
    }
}
shape! {
    HookRun {
        hook_run_id: String, action: String, hook_id: String, start_time: Instant, status: RunStatus;
        end_time: Instant
    }
}
choice! {
    /// The state of a pull request.
    PullRequestStatus { Open = "open", Closed = "closed", Merged = "merged" }
}
message! {
    #[derive(Serialize)]
    PullRequest<'a> {
        id: &'a str, status: PullRequestStatus, title: &'a str, description: &'a str, author: &'a str,
        creation_date: Instant, source_branch: &'a str, destination_branch: &'a str;
        merged_commit_id: String, closed_date: Instant
    }
}
message! {
    #[derive(Deserialize)]
    PullRequestBasic { ; title: String, description: String, status: PullRequestStatus }
}
message! {
    #[derive(Deserialize)]
    PullRequestCreation {
        title: String, source_branch: String, destination_branch: String; description: String
    }
}
message! {
    #[derive(Serialize)]
    PullRequestCreationResponse<'a> { id: &'a str }
}

// --- people --------------------------------------------------------------------------------------

message! {
    #[derive(Serialize)]
    User<'a> { id: &'a str, creation_date: i64; friendly_name: &'a str, email: &'a str }
}
message! { #[derive(Serialize)] CurrentUser<'a> { user: User<'a> } }
message! { #[derive(Deserialize, Default)] UserCreation { id: String; invite_user: bool } }
message! { #[derive(Serialize)] Credentials<'a> { access_key_id: &'a str, creation_date: i64 } }
message! {
    #[derive(Serialize)]
    CredentialsWithSecret<'a> { access_key_id: &'a str, secret_access_key: &'a str, creation_date: i64 }
}
message! {
    #[derive(Deserialize, Default)]
    LoginInformation { access_key_id: String, secret_access_key: String }
}
message! { #[derive(Serialize)] AuthenticationToken { token: String; token_expiration: i64 } }
shape! { StsAuthRequest { code: String, state: String, redirect_uri: String; ttl_seconds: i64 } }
shape! { ExternalLoginInformation { identityRequest: Anything; token_expiration_duration: i64 } }
shape! { ExternalPrincipalCreation { ; settings: Vec<Metadata> } }
message! { #[derive(Serialize)] ExternalPrincipal<'a> { id: &'a str, user_id: &'a str } }
message! {
    #[derive(Serialize)]
    Group<'a> { id: &'a str, creation_date: i64; name: &'a str, description: &'a str }
}
message! { #[derive(Deserialize, Default)] GroupCreation { id: String; description: String } }
message! { #[derive(Serialize, Deserialize)] #[allow(clippy::upper_case_acronyms)] ACL { permission: String } }
message! { #[derive(Serialize)] ErrorNoACL<'a> { message: &'a str; no_acl: bool } }
choice! {
    /// What a statement does.
    Effect { Allow = "allow", Deny = "deny" }
}
shape! {
    Statement {
        effect: Effect, resource: String, action: NonEmptyList<String>;
        condition: BTreeMap<String, BTreeMap<String, Vec<String>>>
    }
}
/// The statements of a policy, as they were saved.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Statements<'a>(pub &'a [millpond_service::Statement]);
impl Described for Statements<'_> {
    const TYPE: Type = NonEmptyList::<Statement>::TYPE;
}
message! {
    #[derive(Serialize)]
    Policy<'a> { id: &'a str, statement: Statements<'a>; creation_date: i64, acl: &'a str }
}
message! { #[derive(Serialize)] AuthCapabilities { ; invite_user: bool, forgot_password: bool } }

// --- server --------------------------------------------------------------------------------------

message! {
    #[derive(Serialize)]
    LoginConfig<'a> {
        ; RBAC: &'a str, login_url: &'a str, login_url_method: &'a str, login_failed_message: &'a str,
        fallback_login_url: &'a str, fallback_login_label: &'a str, login_cookie_names: Vec<&'a str>,
        logout_url: &'a str
    }
}
message! {
    #[derive(Serialize)]
    SetupState<'a> { ; state: &'a str, comm_prefs_missing: bool, login_config: LoginConfig<'a> }
}
shape! { AccessKeyCredentials { access_key_id: NonEmpty, secret_access_key: NonEmpty } }
message! { #[derive(Deserialize)] SetupUser { username: String } }
shape! {
    Setup {
        username: String;
        key: AccessKeyCredentials, firstName: String, lastName: String, email: String, companyName: String,
        country: String, featureUpdates: bool, securityUpdates: bool
    }
}
shape! {
    CommPrefsInput {
        featureUpdates: bool, securityUpdates: bool;
        firstName: String, lastName: String, email: String, companyName: String, country: String
    }
}
message! {
    #[derive(Serialize)]
    VersionConfig<'a> {
        ; version: &'a str, version_context: &'a str, latest_version: &'a str, upgrade_recommended: bool,
        upgrade_url: &'a str
    }
}
message! {
    #[derive(Serialize)]
    StorageConfig<'a> {
        blockstore_type: &'a str, blockstore_namespace_example: &'a str,
        blockstore_namespace_ValidityRegex: &'a str, pre_sign_support: bool, pre_sign_support_ui: bool,
        import_support: bool, import_validity_regex: &'a str;
        default_namespace_prefix: &'a str, pre_sign_multipart_upload: bool, blockstore_id: &'a str,
        blockstore_description: &'a str
    }
}
message! { #[derive(Serialize)] UIConfig { ; custom_viewers: Vec<Anything> } }
message! {
    #[derive(Serialize)]
    Config<'a> {
        ; version_config: VersionConfig<'a>, storage_config: StorageConfig<'a>,
        storage_config_list: Vec<StorageConfig<'a>>, ui_config: UIConfig, capabilities_config: Anything
    }
}
message! { #[derive(Serialize)] GarbageCollectionConfig { ; grace_period: u64 } }
message! { #[derive(Deserialize)] StatsEvent { class: String, name: String, count: i64 } }
message! { #[derive(Deserialize)] StatsEventsList { events: Vec<StatsEvent> } }
shape! { UsageReport { year: i64, month: i64, count: i64 } }
shape! { InstallationUsageReport { installation_id: String, reports: Vec<UsageReport> } }
message! { #[derive(Serialize)] Error<'a> { message: &'a str } }

// --- our own API ---------------------------------------------------------------------------------

message! { #[derive(Serialize)] Version<'a> { version: &'a str, api: &'a str } }
message! {
    #[derive(Serialize)]
    OplogEntry<'a> {
        id: String, time: String, actor: &'a str, verb: &'a str, r#ref: &'a str, kind: &'a str, old: String,
        new: String, message: String
    }
}
message! {
    #[derive(Serialize)]
    Undone<'a> { r#ref: &'a str, old: String, new: String, undone: OplogEntry<'a> }
}
message! { #[derive(Serialize)] AdoptedContent { receipt: String, checksum: String, size_bytes: u64 } }
message! {
    // An object as the other server shows it. With a receipt its bytes are here; with an address they may stay there.
    #[derive(Deserialize)]
    AdoptedObject {
        size_bytes: u64, checksum: String, mtime: i64;
        receipt: String, physical_address: String, gone: bool, content_type: String, metadata: Metadata
    }
}
message! {
    // Without an object, nothing is to be at the path.
    #[derive(Deserialize)]
    AdoptedChange { path: String; object: AdoptedObject }
}
message! {
    // `base` is a tree, or empty; `like` are commits that may have the same objects; `storage` is where the other
    // server keeps its own.
    #[derive(Deserialize)]
    AdoptedTreeCreation { base: String, changes: Vec<AdoptedChange>; like: Vec<String>, storage: String }
}
message! { #[derive(Serialize)] AdoptedTree { tree: String, linked: u64, missing: Vec<String> } }
message! {
    #[derive(Deserialize)]
    AdoptedCommit {
        source_id: String, tree: String, parents: Vec<String>, committer: String, message: String,
        creation_date: i64;
        metadata: Metadata
    }
}
message! { #[derive(Serialize)] Near<'a> { policy: &'a str, statement: usize, misses: &'a str } }
message! {
    // `because` is `administrator`, `allowed`, `denied`, `no-statement`, `limited` or `unreadable`; a statement counts
    // from 1.
    #[derive(Serialize)]
    Explanation<'a> {
        user: &'a str, action: &'a str, resource: &'a str, allowed: bool, because: &'a str, text: String,
        through: Vec<&'a str>, near: Vec<Near<'a>>;
        policy: &'a str, statement: usize
    }
}
message! { #[derive(Serialize)] MasterKey<'a> { master_key_id: &'a str } }
message! {
    #[derive(Serialize)]
    AuditChange<'a> { kind: &'a str, on: Cow<'a, str>, old: &'a str, new: &'a str }
}
message! {
    #[derive(Serialize)]
    AuditEvent<'a> {
        id: String, time: String, actor: &'a str, address: String, request_id: &'a str, verb: &'a str,
        result: &'a str, resource: &'a str, count: i64, repository: &'a str, r#ref: &'a str,
        changes: Vec<AuditChange<'a>>
    }
}
message! { #[derive(Deserialize)] BackupOrder { directory: String } }
message! { #[derive(Deserialize)] KeyOrder { lifetime_seconds: u64; policy: Anything, user_id: String } }
message! {
    #[derive(Serialize)]
    ShortLivedKey<'a> { access_key_id: &'a str, secret_access_key: &'a str, user_id: &'a str, expires: String }
}
message! { #[derive(Deserialize, Default)] LinkOrder { ; user_id: String, lifetime_seconds: u64 } }
message! { #[derive(Serialize)] SignInLink<'a> { user_id: &'a str, path: String, expires: String } }
message! { #[derive(Deserialize)] PasswordOrder { password: String; user_id: String } }
shape! { Nothing { ; } }
shape! { Problem {
    r#type: String, title: String, status: i64, detail: String, code: String; hint: String
} }
