//! The tables of operations: one row says where an operation is, what it takes, what it gives and which
//! function does it. Routing, validation and `/openapi.json` all read these rows; nothing else lists them.
//!
//! Operations whose function is [`unsupported`] are known but not offered: they are validated, need a
//! login, and answer 501 (area 33).

use crate::call::unsupported;
use crate::messages::*;
use crate::operation::Verb::{Delete, Get, Head, Patch, Post, Put};
use crate::operation::{Operation, Parameter, Place, Takes};
use crate::schema::{Described, Type};
use crate::{
    adoption, auth, branches, commits, config, imports, millpond, not_offered, objects, people, pulls, refs,
    repositories, rules, sign_in, staging, tags, upkeep,
};
use millpond_service::limits::{PAGE_ITEMS_MAX, PART_NUMBER_MAX, PREFIX_BYTES_MAX};

const fn parameter(name: &'static str, place: Place, required: bool, takes: Takes) -> Parameter {
    Parameter { name, place, required, takes }
}
/// An optional text that may be empty.
const fn text(name: &'static str) -> Parameter {
    parameter(name, Place::Query, false, Takes::Text { empty: true, bytes_max: usize::MAX })
}
/// A text that must be there and not be empty.
const fn must(name: &'static str) -> Parameter {
    parameter(name, Place::Query, true, Takes::Text { empty: false, bytes_max: usize::MAX })
}
const fn texts(name: &'static str) -> Parameter {
    parameter(name, Place::Query, false, Takes::Texts)
}
const fn flag(name: &'static str) -> Parameter {
    parameter(name, Place::Query, false, Takes::Flag)
}
const fn choice(name: &'static str, words: &'static [&'static str]) -> Parameter {
    parameter(name, Place::Query, false, Takes::Choice(words))
}
/// A header that may not be empty where it is sent.
const fn header(name: &'static str) -> Parameter {
    parameter(name, Place::Header, false, Takes::Text { empty: false, bytes_max: usize::MAX })
}
const fn short(name: &'static str) -> Parameter {
    parameter(name, Place::Query, false, Takes::Text { empty: true, bytes_max: PREFIX_BYTES_MAX })
}

const PREFIX: Parameter = short("prefix");
const DELIMITER: Parameter = short("delimiter");
const AFTER: Parameter = text("after");
const AMOUNT: Parameter = parameter("amount", Place::Query, false, Takes::Integer(-1, PAGE_ITEMS_MAX as i64));
const FORCE: Parameter = flag("force");
const PATH: Parameter = must("path");
const PRESIGN: Parameter = flag("presign");
const IF_MATCH: Parameter = header("If-Match");
const IF_NONE_MATCH: Parameter = header("If-None-Match");
const RANGE: Parameter = parameter(
    "Range",
    Place::Header,
    false,
    Takes::Pattern(crate::range::PATTERN, crate::range::fits_pattern),
);
const SINCE: Parameter = parameter("since", Place::Query, false, Takes::Instant);
const PARTS: Parameter = parameter("parts", Place::Query, false, Takes::Integer(i64::MIN, i64::MAX));
const PART_NUMBER: Parameter =
    parameter("partNumber", Place::Path, true, Takes::Integer(1, PART_NUMBER_MAX as i64));
const PRINCIPAL: Parameter = must("principalId");
const PAGE: &[Parameter] = &[PREFIX, AFTER, AMOUNT];

/// A function as a row holds it.
macro_rules! run {
    ($function:path) => {
        |call| Box::pin($function(call))
    };
}

/// The type of a message.
const fn of<T: Described>() -> Type {
    T::TYPE
}

/// `/api/v1`.
#[rustfmt::skip]
pub static LAKEFS: &[Operation] = &[
    // --- server ---
    Operation::new(Get, "/healthcheck", "healthCheck", "healthCheck", run!(config::health)).anonymous(),
    Operation::new(Get, "/setup_lakefs", "internal", "getSetupState", run!(config::setup_state)).anonymous().gives(200, of::<SetupState>()),
    Operation::new(Post, "/setup_lakefs", "internal", "setup", run!(config::setup)).anonymous().json(of::<Setup>()).gives(200, of::<CredentialsWithSecret>()),
    Operation::new(Post, "/setup_comm_prefs", "internal", "setupCommPrefs", run!(config::setup_comm_prefs)).anonymous().json(of::<CommPrefsInput>()).status(200),
    Operation::new(Get, "/config", "config", "getConfig", run!(config::config)).gives(200, of::<Config>()),
    Operation::new(Get, "/config/version", "internal", "getLakeFSVersion", run!(config::version)).gives(200, of::<VersionConfig>()),
    Operation::new(Get, "/config/storage", "internal", "getStorageConfig", run!(config::storage)).gives(200, of::<StorageConfig>()),
    Operation::new(Get, "/config/garbage-collection", "internal", "getGarbageCollectionConfig", run!(config::garbage_collection)).gives(200, of::<GarbageCollectionConfig>()),
    Operation::new(Post, "/statistics", "internal", "postStatsEvents", run!(config::statistics)).json(of::<StatsEventsList>()),
    Operation::new(Get, "/usage-report/summary", "internal", "getUsageReportSummary", run!(config::usage_report)).gives(200, of::<InstallationUsageReport>()),

    // --- people ---
    Operation::new(Get, "/user", "auth", "getCurrentUser", run!(auth::current_user)).for_whom_it_is().gives(200, of::<CurrentUser>()),
    Operation::new(Post, "/auth/login", "auth", "login", run!(sign_in::login)).anonymous().optional_json(of::<LoginInformation>()).gives(200, of::<AuthenticationToken>()),
    Operation::new(Post, "/auth/external/principal/login", "auth", "externalPrincipalLogin", run!(unsupported)).anonymous().optional_json(of::<ExternalLoginInformation>()).gives(200, of::<AuthenticationToken>()),
    Operation::new(Post, "/sts/login", "experimental", "stsLogin", run!(unsupported)).anonymous().json(of::<StsAuthRequest>()).gives(200, of::<AuthenticationToken>()),
    Operation::new(Get, "/oidc/callback", "auth", "oauthCallback", run!(auth::oidc_callback)).anonymous().status(200),
    Operation::new(Get, "/auth/capabilities", "internal", "getAuthCapabilities", run!(auth::capabilities)).anonymous().gives(200, of::<AuthCapabilities>()),
    Operation::new(Get, "/auth/users", "auth", "listUsers", run!(people::list_users)).with(PAGE).gives(200, of::<UserList>()),
    Operation::new(Post, "/auth/users", "auth", "createUser", run!(people::create_user)).optional_json(of::<UserCreation>()).gives(201, of::<User>()),
    Operation::new(Get, "/auth/users/{userId}", "auth", "getUser", run!(people::get_user)).gives(200, of::<User>()),
    Operation::new(Delete, "/auth/users/{userId}", "auth", "deleteUser", run!(people::delete_user)),
    Operation::new(Get, "/auth/users/{userId}/credentials", "auth", "listUserCredentials", run!(people::list_credentials)).with(PAGE).gives(200, of::<CredentialsList>()),
    Operation::new(Post, "/auth/users/{userId}/credentials", "auth", "createCredentials", run!(people::create_credentials)).gives(201, of::<CredentialsWithSecret>()),
    Operation::new(Get, "/auth/users/{userId}/credentials/{accessKeyId}", "auth", "getCredentials", run!(people::get_credentials)).gives(200, of::<Credentials>()),
    Operation::new(Delete, "/auth/users/{userId}/credentials/{accessKeyId}", "auth", "deleteCredentials", run!(people::delete_credentials)),
    Operation::new(Get, "/auth/users/{userId}/groups", "auth", "listUserGroups", run!(people::list_user_groups)).with(PAGE).gives(200, of::<GroupList>()),
    Operation::new(Get, "/auth/users/{userId}/policies", "auth", "listUserPolicies", run!(people::list_user_policies)).with(&[PREFIX, AFTER, AMOUNT, flag("effective")]).gives(200, of::<PolicyList>()),
    Operation::new(Put, "/auth/users/{userId}/policies/{policyId}", "auth", "attachPolicyToUser", run!(people::attach_to_user)).status(201),
    Operation::new(Delete, "/auth/users/{userId}/policies/{policyId}", "auth", "detachPolicyFromUser", run!(people::detach_from_user)),
    Operation::new(Post, "/auth/users/{userId}/external/principals", "external", "createUserExternalPrincipal", run!(people::link_principal)).with(&[PRINCIPAL]).optional_json(of::<ExternalPrincipalCreation>()).status(201),
    Operation::new(Delete, "/auth/users/{userId}/external/principals", "external", "deleteUserExternalPrincipal", run!(people::unlink_principal)).with(&[PRINCIPAL]),
    Operation::new(Get, "/auth/users/{userId}/external/principals/ls", "external", "listUserExternalPrincipals", run!(people::list_principals)).with(PAGE).gives(200, of::<ExternalPrincipalList>()),
    Operation::new(Get, "/auth/external/principals", "external", "getExternalPrincipal", run!(people::get_principal)).with(&[PRINCIPAL]).gives(200, of::<ExternalPrincipal>()),
    Operation::new(Get, "/auth/groups", "auth", "listGroups", run!(people::list_groups)).with(PAGE).gives(200, of::<GroupList>()),
    Operation::new(Post, "/auth/groups", "auth", "createGroup", run!(people::create_group)).optional_json(of::<GroupCreation>()).gives(201, of::<Group>()),
    Operation::new(Get, "/auth/groups/{groupId}", "auth", "getGroup", run!(people::get_group)).gives(200, of::<Group>()),
    Operation::new(Delete, "/auth/groups/{groupId}", "auth", "deleteGroup", run!(people::delete_group)),
    Operation::new(Get, "/auth/groups/{groupId}/acl", "auth", "getGroupACL", run!(people::get_acl)).gives(200, of::<ACL>()),
    Operation::new(Post, "/auth/groups/{groupId}/acl", "auth", "setGroupACL", run!(people::set_acl)).json(of::<ACL>()).status(201),
    Operation::new(Get, "/auth/groups/{groupId}/members", "auth", "listGroupMembers", run!(people::list_members)).with(PAGE).gives(200, of::<UserList>()),
    Operation::new(Put, "/auth/groups/{groupId}/members/{userId}", "auth", "addGroupMembership", run!(people::add_member)).status(201),
    Operation::new(Delete, "/auth/groups/{groupId}/members/{userId}", "auth", "deleteGroupMembership", run!(people::remove_member)),
    Operation::new(Get, "/auth/groups/{groupId}/policies", "auth", "listGroupPolicies", run!(people::list_group_policies)).with(PAGE).gives(200, of::<PolicyList>()),
    Operation::new(Put, "/auth/groups/{groupId}/policies/{policyId}", "auth", "attachPolicyToGroup", run!(people::attach_to_group)).status(201),
    Operation::new(Delete, "/auth/groups/{groupId}/policies/{policyId}", "auth", "detachPolicyFromGroup", run!(people::detach_from_group)),
    Operation::new(Get, "/auth/policies", "auth", "listPolicies", run!(people::list_policies)).with(PAGE).gives(200, of::<PolicyList>()),
    Operation::new(Post, "/auth/policies", "auth", "createPolicy", run!(people::create_policy)).json(of::<Policy>()).gives(201, of::<Policy>()),
    Operation::new(Get, "/auth/policies/{policyId}", "auth", "getPolicy", run!(people::get_policy)).gives(200, of::<Policy>()),
    Operation::new(Put, "/auth/policies/{policyId}", "auth", "updatePolicy", run!(people::update_policy)).json(of::<Policy>()).gives(200, of::<Policy>()),
    Operation::new(Delete, "/auth/policies/{policyId}", "auth", "deletePolicy", run!(people::delete_policy)),

    // --- repositories ---
    Operation::new(Get, "/repositories", "repositories", "listRepositories", run!(repositories::list)).with(&[PREFIX, AFTER, AMOUNT, text("search")]).gives(200, of::<RepositoryList>()),
    Operation::new(Post, "/repositories", "repositories", "createRepository", run!(repositories::create)).with(&[flag("bare")]).json(of::<RepositoryCreation>()).gives(201, of::<Repository>()),
    Operation::new(Get, "/repositories/{repository}", "repositories", "getRepository", run!(repositories::get)).gives(200, of::<Repository>()),
    Operation::new(Delete, "/repositories/{repository}", "repositories", "deleteRepository", run!(repositories::delete)).with(&[FORCE]),
    Operation::new(Get, "/repositories/{repository}/metadata", "repositories", "getRepositoryMetadata", run!(repositories::get_metadata)).gives(200, Type::Map(&Type::Text)),
    Operation::new(Post, "/repositories/{repository}/metadata", "internal", "setRepositoryMetadata", run!(repositories::set_metadata)).json(of::<RepositoryMetadataSet>()),
    Operation::new(Delete, "/repositories/{repository}/metadata", "internal", "deleteRepositoryMetadata", run!(repositories::delete_metadata)).json(of::<RepositoryMetadataKeys>()),
    Operation::new(Post, "/repositories/{repository}/dump", "repositories", "dumpSubmit", run!(unsupported)).gives(202, of::<TaskInfo>()),
    Operation::new(Get, "/repositories/{repository}/dump", "repositories", "dumpStatus", run!(unsupported)).with(&[must("task_id")]).gives(200, of::<RepositoryDumpStatus>()),
    Operation::new(Post, "/repositories/{repository}/restore", "repositories", "restoreSubmit", run!(unsupported)).json(of::<RefsRestore>()).gives(202, of::<TaskInfo>()),
    Operation::new(Get, "/repositories/{repository}/restore", "repositories", "restoreStatus", run!(unsupported)).with(&[must("task_id")]).gives(200, of::<RepositoryRestoreStatus>()),
    Operation::new(Put, "/repositories/{repository}/refs/dump", "internal", "dumpRefs", run!(unsupported)).gives(201, of::<RefsDump>()),
    Operation::new(Put, "/repositories/{repository}/refs/restore", "internal", "restoreRefs", run!(unsupported)).json(of::<RefsRestore>()).status(200),

    // --- rules ---
    Operation::new(Get, "/repositories/{repository}/settings/branch_protection", "repositories", "getBranchProtectionRules", run!(rules::branch_protection)).gives(200, of::<Vec<BranchProtectionRule>>()),
    Operation::new(Put, "/repositories/{repository}/settings/branch_protection", "repositories", "setBranchProtectionRules", run!(rules::set_branch_protection)).with(&[IF_MATCH]).json(of::<Vec<BranchProtectionRule>>()),
    Operation::new(Get, "/repositories/{repository}/branch_protection", "internal", "internalGetBranchProtectionRules", run!(rules::branch_protection)).gives(200, of::<Vec<BranchProtectionRule>>()),
    Operation::new(Post, "/repositories/{repository}/branch_protection", "internal", "internalCreateBranchProtectionRule", run!(rules::add_branch_protection)).json(of::<BranchProtectionRule>()),
    Operation::new(Delete, "/repositories/{repository}/branch_protection", "internal", "internalDeleteBranchProtectionRule", run!(rules::remove_branch_protection)).json(of::<InternalDeleteBranchProtectionRuleRequest>()),
    Operation::new(Get, "/repositories/{repository}/branch_protection/set_allowed", "internal", "createBranchProtectionRulePreflight", run!(rules::may_change_branch_protection)),
    Operation::new(Get, "/repositories/{repository}/settings/gc_rules", "repositories", "getGCRules", run!(rules::gc_rules)).gives(200, of::<GarbageCollectionRules>()),
    Operation::new(Put, "/repositories/{repository}/settings/gc_rules", "repositories", "setGCRules", run!(rules::set_gc_rules)).json(of::<GarbageCollectionRules>()),
    Operation::new(Delete, "/repositories/{repository}/settings/gc_rules", "repositories", "deleteGCRules", run!(rules::delete_gc_rules)),
    Operation::new(Get, "/repositories/{repository}/gc/rules", "internal", "internalGetGarbageCollectionRules", run!(rules::gc_rules)).gives(200, of::<GarbageCollectionRules>()),
    Operation::new(Post, "/repositories/{repository}/gc/rules", "internal", "internalSetGarbageCollectionRules", run!(rules::set_gc_rules)).json(of::<GarbageCollectionRules>()),
    Operation::new(Delete, "/repositories/{repository}/gc/rules", "internal", "internalDeleteGarbageCollectionRules", run!(rules::delete_gc_rules)),
    Operation::new(Get, "/repositories/{repository}/gc/rules/set_allowed", "internal", "setGarbageCollectionRulesPreflight", run!(rules::may_set_gc_rules)),
    Operation::new(Post, "/repositories/{repository}/gc/prepare_commits", "internal", "prepareGarbageCollectionCommits", run!(rules::prepare)).gives(201, of::<GarbageCollectionPrepareResponse>()),
    Operation::new(Post, "/repositories/{repository}/gc/prepare_commits/async", "internal", "prepareGarbageCollectionCommitsAsync", run!(rules::prepare)).gives(202, of::<TaskCreation>()),
    Operation::new(Get, "/repositories/{repository}/gc/prepare_commits/status", "internal", "prepareGarbageCollectionCommitsStatus", run!(not_offered::no_task)).with(&[must("id")]).gives(200, of::<PrepareGarbageCollectionCommitsStatus>()),
    Operation::new(Post, "/repositories/{repository}/gc/prepare_uncommited", "internal", "prepareGarbageCollectionUncommitted", run!(unsupported)).optional_json(of::<PrepareGCUncommittedRequest>()).gives(201, of::<PrepareGCUncommittedResponse>()),

    // --- runs and pull requests ---
    Operation::new(Get, "/repositories/{repository}/actions/runs", "actions", "listRepositoryRuns", run!(not_offered::runs)).with(&[AFTER, AMOUNT, text("branch"), text("commit")]).gives(200, of::<ActionRunList>()),
    Operation::new(Get, "/repositories/{repository}/actions/runs/{run_id}", "actions", "getRun", run!(not_offered::run)).gives(200, of::<ActionRun>()),
    Operation::new(Get, "/repositories/{repository}/actions/runs/{run_id}/hooks", "actions", "listRunHooks", run!(not_offered::hooks)).with(&[AFTER, AMOUNT]).gives(200, of::<HookRunList>()),
    Operation::new(Get, "/repositories/{repository}/actions/runs/{run_id}/hooks/{hook_run_id}/output", "actions", "getRunHookOutput", run!(not_offered::run)).gives(200, Type::Bytes),
    Operation::new(Get, "/repositories/{repository}/pulls", "pulls", "listPullRequests", run!(pulls::list)).with(&[PREFIX, AFTER, AMOUNT, choice("status", &["open", "closed", "all"])]).gives(200, of::<PullRequestsList>()),
    Operation::new(Post, "/repositories/{repository}/pulls", "pulls", "createPullRequest", run!(pulls::create)).json(of::<PullRequestCreation>()).gives(201, of::<PullRequestCreationResponse>()),
    Operation::new(Get, "/repositories/{repository}/pulls/{pull_request}", "pulls", "getPullRequest", run!(pulls::get)).gives(200, of::<PullRequest>()),
    Operation::new(Patch, "/repositories/{repository}/pulls/{pull_request}", "pulls", "updatePullRequest", run!(pulls::update)).json(of::<PullRequestBasic>()),
    Operation::new(Put, "/repositories/{repository}/pulls/{pull_request}/merge", "pulls", "mergePullRequest", run!(pulls::merge)).gives(200, of::<MergeResult>()),

    // --- branches ---
    Operation::new(Get, "/repositories/{repository}/branches", "branches", "listBranches", run!(branches::list)).with(&[PREFIX, AFTER, AMOUNT, flag("show_hidden")]).gives(200, of::<RefList>()),
    Operation::new(Post, "/repositories/{repository}/branches", "branches", "createBranch", run!(branches::create)).json(of::<BranchCreation>()).gives(201, Type::PlainText),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}", "branches", "getBranch", run!(branches::get)).gives(200, of::<Ref>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}", "branches", "deleteBranch", run!(branches::delete)).with(&[FORCE]),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}", "branches", "resetBranch", run!(branches::reset)).json(of::<ResetCreation>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/hard_reset", "experimental", "hardResetBranch", run!(branches::hard_reset)).with(&[must("ref"), FORCE]),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/diff", "branches", "diffBranch", run!(refs::diff_branch)).with(&[PREFIX, AFTER, AMOUNT, DELIMITER]).gives(200, of::<DiffList>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/revert", "branches", "revertBranch", run!(branches::revert)).json(of::<RevertCreation>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/cherry-pick", "branches", "cherryPick", run!(branches::cherry_pick)).json(of::<CherryPickCreation>()).gives(201, of::<Commit>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/import", "import", "importStart", run!(imports::start)).json(of::<ImportCreation>()).gives(202, of::<ImportCreationResponse>()),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/import", "import", "importStatus", run!(imports::status)).with(&[must("id")]).gives(200, of::<ImportStatus>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}/import", "import", "importCancel", run!(imports::cancel)).with(&[must("id")]),

    // --- tags ---
    Operation::new(Get, "/repositories/{repository}/tags", "tags", "listTags", run!(tags::list)).with(PAGE).gives(200, of::<RefList>()),
    Operation::new(Post, "/repositories/{repository}/tags", "tags", "createTag", run!(tags::create)).json(of::<TagCreation>()).gives(201, of::<Ref>()),
    Operation::new(Get, "/repositories/{repository}/tags/{tag}", "tags", "getTag", run!(tags::get)).gives(200, of::<Ref>()),
    Operation::new(Delete, "/repositories/{repository}/tags/{tag}", "tags", "deleteTag", run!(tags::delete)).with(&[FORCE]),

    // --- commits ---
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/commits", "commits", "commit", run!(commits::commit)).with(&[text("source_metarange")]).json(of::<CommitCreation>()).gives(201, of::<Commit>()),
    Operation::new(Post, "/repositories/{repository}/commits", "internal", "CreateCommitRecord", run!(commits::create_record)).json(of::<CommitRecordCreation>()),
    Operation::new(Get, "/repositories/{repository}/commits/{commitId}", "commits", "getCommit", run!(commits::get)).gives(200, of::<Commit>()),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/commits", "refs", "logCommits", run!(refs::log)).with(&[AFTER, AMOUNT, texts("objects"), texts("prefixes"), flag("limit"), flag("first_parent"), SINCE, text("stop_at")]).gives(200, of::<CommitList>()),

    // --- diff and merge ---
    Operation::new(Get, "/repositories/{repository}/refs/{leftRef}/diff/{rightRef}", "refs", "diffRefs", run!(refs::diff)).with(&[PREFIX, AFTER, AMOUNT, DELIMITER, choice("type", &["two_dot", "three_dot"]), flag("include_right_stats")]).gives(200, of::<DiffList>()),
    Operation::new(Get, "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}", "refs", "findMergeBase", run!(refs::merge_base)).gives(200, of::<FindMergeBaseResult>()),
    Operation::new(Post, "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}", "refs", "mergeIntoBranch", run!(refs::merge)).optional_json(of::<Merge>()).gives(200, of::<MergeResult>()),

    // --- objects ---
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects", "objects", "getObject", run!(objects::get)).with(&[PATH, PRESIGN, RANGE, IF_NONE_MATCH]).gives(200, Type::Bytes),
    Operation::new(Head, "/repositories/{repository}/refs/{ref}/objects", "objects", "headObject", run!(objects::head)).with(&[PATH, RANGE]).status(200),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects/stat", "objects", "statObject", run!(objects::stat)).with(&[PATH, flag("user_metadata"), PRESIGN]).gives(200, of::<ObjectStats>()),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects/ls", "objects", "listObjects", run!(objects::list)).with(&[flag("user_metadata"), flag("verified"), PRESIGN, AFTER, AMOUNT, DELIMITER, PREFIX]).gives(200, of::<ObjectStatsList>()),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects/underlyingProperties", "objects", "getUnderlyingProperties", run!(objects::underlying_properties)).with(&[PATH]).gives(200, of::<UnderlyingObjectProperties>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/objects", "objects", "uploadObject", run!(objects::upload)).with(&[PATH, text("storageClass"), FORCE, IF_NONE_MATCH, IF_MATCH]).object().gives(201, of::<ObjectStats>()),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/objects/stage_allowed", "internal", "uploadObjectPreflight", run!(staging::allowed)).with(&[PATH]),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/objects", "internal", "stageObject", run!(staging::stage)).with(&[PATH]).json(of::<ObjectStageCreation>()).gives(201, of::<ObjectStats>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}/objects", "objects", "deleteObject", run!(objects::delete)).with(&[PATH, FORCE, flag("no_tombstone")]),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/objects/delete", "objects", "deleteObjects", run!(objects::delete_many)).with(&[FORCE, flag("no_tombstone")]).json(of::<PathList>()).gives(200, of::<ObjectErrorList>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/objects/copy", "objects", "copyObject", run!(objects::copy)).with(&[must("dest_path")]).json(of::<ObjectCopyCreation>()).gives(201, of::<ObjectStats>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/objects/stat/user_metadata", "experimental", "updateObjectUserMetadata", run!(objects::set_metadata)).with(&[PATH]).json(of::<UpdateObjectUserMetadata>()),
    Operation::new(Post, "/repositories/{repository}/refs/{branch}/symlink", "internal", "createSymlinkFile", run!(unsupported)).with(&[text("location")]).gives(201, of::<StorageURI>()),

    // --- staging ---
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/staging/backing", "staging", "getPhysicalAddress", run!(staging::new_address)).with(&[PATH, PRESIGN]).gives(200, of::<StagingLocation>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/backing", "staging", "linkPhysicalAddress", run!(staging::link)).with(&[PATH, IF_NONE_MATCH, IF_MATCH]).json(of::<StagingMetadata>()).gives(200, of::<ObjectStats>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/staging/pmpu", "experimental", "createPresignMultipartUpload", run!(unsupported)).with(&[PATH, PARTS]).gives(201, of::<PresignMultipartUpload>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}", "experimental", "completePresignMultipartUpload", run!(unsupported)).with(&[PATH]).optional_json(of::<CompletePresignMultipartUpload>()).gives(200, of::<ObjectStats>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}", "experimental", "abortPresignMultipartUpload", run!(unsupported)).with(&[PATH]).optional_json(of::<AbortPresignMultipartUpload>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}/parts/{partNumber}", "experimental", "uploadPart", run!(staging::presigned_part)).with(&[PATH, PART_NUMBER]).json(of::<UploadPartFrom>()).gives(200, of::<UploadTo>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}/parts/{partNumber}/copy", "experimental", "uploadPartCopy", run!(staging::presigned_part)).with(&[PATH, PART_NUMBER]).json(of::<UploadPartCopyFrom>()),

    // --- metadata files ---
    Operation::new(Get, "/repositories/{repository}/metadata/meta_range/{meta_range}", "metadata", "getMetaRange", run!(not_offered::meta_range)).gives(200, of::<StorageURI>()),
    Operation::new(Get, "/repositories/{repository}/metadata/range/{range}", "metadata", "getRange", run!(not_offered::range)).gives(200, of::<StorageURI>()),
    Operation::new(Get, "/repositories/{repository}/metadata/object/{type}/{object_id}", "internal", "getMetadataObject", run!(unsupported)).with(&[PRESIGN]).gives(200, Type::Bytes),
];

/// `/api/millpond/v1`.
#[rustfmt::skip]
pub static MILLPOND: &[Operation] = &[
    Operation::new(Get, "/version", "millpond", "millpondVersion", run!(millpond::version)).ours().anonymous().gives(200, of::<Version>()),
    Operation::new(Get, "/repositories/{repository}/oplog", "millpond", "listOplog", run!(millpond::oplog)).ours().with(&[text("ref"), AFTER, AMOUNT]).gives(200, of::<OplogList>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/undo", "millpond", "undo", run!(millpond::undo)).ours().with(&[FORCE]).optional_json(of::<Nothing>()).gives(200, of::<Undone>()),
    Operation::new(Post, "/repositories/{repository}/adoption/contents", "millpond", "adoptContent", run!(adoption::contents)).ours().with(&[FORCE]).object().gives(201, of::<AdoptedContent>()),
    Operation::new(Post, "/repositories/{repository}/adoption/trees", "millpond", "adoptTree", run!(adoption::trees)).ours().with(&[FORCE]).json(of::<AdoptedTreeCreation>()).gives(201, of::<AdoptedTree>()),
    Operation::new(Post, "/repositories/{repository}/adoption/commits", "millpond", "adoptCommit", run!(adoption::commits)).ours().with(&[FORCE]).json(of::<AdoptedCommit>()).gives(201, of::<Commit>()),
    Operation::new(Get, "/auth/explain", "millpond", "explain", run!(people::explain)).ours().with(&[must("user"), must("action"), must("resource"), text("from")]).gives(200, of::<Explanation>()),
    Operation::new(Post, "/auth/rotate-master-key", "millpond", "rotateMasterKey", run!(upkeep::rotate_master_key)).ours().optional_json(of::<Nothing>()).gives(200, of::<MasterKey>()),
    Operation::new(Post, "/auth/keys", "millpond", "createShortLivedKey", run!(sign_in::create_key)).ours().json(of::<KeyOrder>()).gives(201, of::<ShortLivedKey>()),
    Operation::new(Post, "/auth/link", "millpond", "createSignInLink", run!(sign_in::create_link)).ours().optional_json(of::<LinkOrder>()).gives(201, of::<SignInLink>()),
    Operation::new(Post, "/auth/password", "millpond", "setPassword", run!(sign_in::set_password)).ours().json(of::<PasswordOrder>()),
    Operation::new(Post, "/auth/logout", "millpond", "logout", run!(sign_in::sign_out)).ours(),
    Operation::new(Post, "/fsck", "millpond", "fsck", run!(upkeep::fsck)).ours().with(&[text("repository"), flag("quick")]).optional_json(of::<Nothing>()).gives(200, Type::Bytes),
    Operation::new(Post, "/backup", "millpond", "backup", run!(upkeep::backup)).ours().json(of::<BackupOrder>()).gives(200, Type::Bytes),
];
