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
    adoption, audit, auth, branches, commits, config, dumps, imports, jobs, millpond, not_offered, objects,
    oidc, people, pulls, refs, repositories, rules, sign_in, staging, tags, upkeep,
};
use millpond_service::Action::*;
use millpond_service::Guard::{Login, Open, Optional, Rights, Somewhere};
use millpond_service::guard::*;
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
const UNTIL: Parameter = parameter("until", Place::Query, false, Takes::Instant);
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
    Operation::new(Get, "/healthcheck", "healthCheck", "healthCheck", Open, run!(config::health)),
    Operation::new(Get, "/setup_lakefs", "internal", "getSetupState", Open, run!(config::setup_state)).gives(200, of::<SetupState>()),
    Operation::new(Post, "/setup_lakefs", "internal", "setup", Open, run!(config::setup)).json(of::<Setup>()).gives(200, of::<CredentialsWithSecret>()),
    Operation::new(Post, "/setup_comm_prefs", "internal", "setupCommPrefs", Open, run!(config::setup_comm_prefs)).json(of::<CommPrefsInput>()).status(200),
    Operation::new(Get, "/config", "config", "getConfig", Login, run!(config::config)).gives(200, of::<Config>()),
    Operation::new(Get, "/config/version", "internal", "getLakeFSVersion", Login, run!(config::version)).gives(200, of::<VersionConfig>()),
    Operation::new(Get, "/config/storage", "internal", "getStorageConfig", Rights(&[(ReadConfig, EVERYTHING)]), run!(config::storage)).gives(200, of::<StorageConfig>()),
    Operation::new(Get, "/config/garbage-collection", "internal", "getGarbageCollectionConfig", Login, run!(config::garbage_collection)).gives(200, of::<GarbageCollectionConfig>()),
    Operation::new(Post, "/statistics", "internal", "postStatsEvents", Login, run!(config::statistics)).json(of::<StatsEventsList>()),
    Operation::new(Get, "/usage-report/summary", "internal", "getUsageReportSummary", Login, run!(config::usage_report)).gives(200, of::<InstallationUsageReport>()),

    // --- people ---
    Operation::new(Get, "/user", "auth", "getCurrentUser", Optional, run!(auth::current_user)).gives(200, of::<CurrentUser>()),
    Operation::new(Post, "/auth/login", "auth", "login", Open, run!(sign_in::login)).optional_json(of::<LoginInformation>()).gives(200, of::<AuthenticationToken>()),
    Operation::new(Post, "/auth/external/principal/login", "auth", "externalPrincipalLogin", Open, run!(unsupported)).optional_json(of::<ExternalLoginInformation>()).gives(200, of::<AuthenticationToken>()),
    Operation::new(Post, "/sts/login", "experimental", "stsLogin", Open, run!(unsupported)).json(of::<StsAuthRequest>()).gives(200, of::<AuthenticationToken>()),
    Operation::new(Get, "/oidc/callback", "auth", "oauthCallback", Open, run!(oidc::callback)).with(&[text("state"), text("code"), text("error"), text("iss")]).status(200),
    Operation::new(Get, "/auth/capabilities", "internal", "getAuthCapabilities", Open, run!(auth::capabilities)).gives(200, of::<AuthCapabilities>()),
    Operation::new(Get, "/auth/users", "auth", "listUsers", Rights(&[(ListUsers, EVERYTHING)]), run!(people::list_users)).with(PAGE).gives(200, of::<UserList>()),
    Operation::new(Post, "/auth/users", "auth", "createUser", Rights(&[(CreateUser, "arn:lakefs:auth:::user/{id}")]), run!(people::create_user)).optional_json(of::<UserCreation>()).gives(201, of::<User>()),
    Operation::new(Get, "/auth/users/{userId}", "auth", "getUser", Rights(&[(ReadUser, USER)]), run!(people::get_user)).gives(200, of::<User>()),
    Operation::new(Delete, "/auth/users/{userId}", "auth", "deleteUser", Rights(&[(DeleteUser, USER)]), run!(people::delete_user)),
    Operation::new(Get, "/auth/users/{userId}/credentials", "auth", "listUserCredentials", Rights(&[(ListCredentials, USER)]), run!(people::list_credentials)).with(PAGE).gives(200, of::<CredentialsList>()),
    Operation::new(Post, "/auth/users/{userId}/credentials", "auth", "createCredentials", Rights(&[(CreateCredentials, USER)]), run!(people::create_credentials)).gives(201, of::<CredentialsWithSecret>()),
    Operation::new(Get, "/auth/users/{userId}/credentials/{accessKeyId}", "auth", "getCredentials", Rights(&[(ReadCredentials, USER)]), run!(people::get_credentials)).gives(200, of::<Credentials>()),
    Operation::new(Delete, "/auth/users/{userId}/credentials/{accessKeyId}", "auth", "deleteCredentials", Rights(&[(DeleteCredentials, USER)]), run!(people::delete_credentials)),
    Operation::new(Get, "/auth/users/{userId}/groups", "auth", "listUserGroups", Rights(&[(ReadUser, USER)]), run!(people::list_user_groups)).with(PAGE).gives(200, of::<GroupList>()),
    Operation::new(Get, "/auth/users/{userId}/policies", "auth", "listUserPolicies", Rights(&[(ReadUser, USER)]), run!(people::list_user_policies)).with(&[PREFIX, AFTER, AMOUNT, flag("effective")]).gives(200, of::<PolicyList>()),
    Operation::new(Put, "/auth/users/{userId}/policies/{policyId}", "auth", "attachPolicyToUser", Rights(&[(AttachPolicy, USER)]), run!(people::attach_to_user)).status(201),
    Operation::new(Delete, "/auth/users/{userId}/policies/{policyId}", "auth", "detachPolicyFromUser", Rights(&[(DetachPolicy, USER)]), run!(people::detach_from_user)),
    Operation::new(Post, "/auth/users/{userId}/external/principals", "external", "createUserExternalPrincipal", Rights(&[(CreateUserExternalPrincipal, USER)]), run!(people::link_principal)).with(&[PRINCIPAL]).optional_json(of::<ExternalPrincipalCreation>()).status(201),
    Operation::new(Delete, "/auth/users/{userId}/external/principals", "external", "deleteUserExternalPrincipal", Rights(&[(DeleteUserExternalPrincipal, USER)]), run!(people::unlink_principal)).with(&[PRINCIPAL]),
    Operation::new(Get, "/auth/users/{userId}/external/principals/ls", "external", "listUserExternalPrincipals", Rights(&[(ReadUser, USER)]), run!(people::list_principals)).with(PAGE).gives(200, of::<ExternalPrincipalList>()),
    Operation::new(Get, "/auth/external/principals", "external", "getExternalPrincipal", Rights(&[(ReadExternalPrincipal, "arn:lakefs:auth:::externalPrincipal/{principalId}")]), run!(people::get_principal)).with(&[PRINCIPAL]).gives(200, of::<ExternalPrincipal>()),
    Operation::new(Get, "/auth/groups", "auth", "listGroups", Rights(&[(ListGroups, EVERYTHING)]), run!(people::list_groups)).with(PAGE).gives(200, of::<GroupList>()),
    Operation::new(Post, "/auth/groups", "auth", "createGroup", Rights(&[(CreateGroup, "arn:lakefs:auth:::group/{id}")]), run!(people::create_group)).optional_json(of::<GroupCreation>()).gives(201, of::<Group>()),
    Operation::new(Get, "/auth/groups/{groupId}", "auth", "getGroup", Rights(&[(ReadGroup, GROUP)]), run!(people::get_group)).gives(200, of::<Group>()),
    Operation::new(Delete, "/auth/groups/{groupId}", "auth", "deleteGroup", Rights(&[(DeleteGroup, GROUP)]), run!(people::delete_group)),
    Operation::new(Get, "/auth/groups/{groupId}/acl", "auth", "getGroupACL", Rights(&[(ReadGroup, GROUP), (ReadPolicy, ACL_POLICY)]), run!(people::get_acl)).gives(200, of::<ACL>()),
    Operation::new(Post, "/auth/groups/{groupId}/acl", "auth", "setGroupACL", Rights(&[(ReadGroup, GROUP), (AttachPolicy, ACL_POLICY), (UpdatePolicy, ACL_POLICY)]), run!(people::set_acl)).json(of::<ACL>()).status(201),
    Operation::new(Get, "/auth/groups/{groupId}/members", "auth", "listGroupMembers", Rights(&[(ReadGroup, GROUP)]), run!(people::list_members)).with(PAGE).gives(200, of::<UserList>()),
    Operation::new(Put, "/auth/groups/{groupId}/members/{userId}", "auth", "addGroupMembership", Rights(&[(AddGroupMember, GROUP)]), run!(people::add_member)).status(201),
    Operation::new(Delete, "/auth/groups/{groupId}/members/{userId}", "auth", "deleteGroupMembership", Rights(&[(RemoveGroupMember, GROUP)]), run!(people::remove_member)),
    Operation::new(Get, "/auth/groups/{groupId}/policies", "auth", "listGroupPolicies", Rights(&[(ReadGroup, GROUP)]), run!(people::list_group_policies)).with(PAGE).gives(200, of::<PolicyList>()),
    Operation::new(Put, "/auth/groups/{groupId}/policies/{policyId}", "auth", "attachPolicyToGroup", Rights(&[(AttachPolicy, GROUP)]), run!(people::attach_to_group)).status(201),
    Operation::new(Delete, "/auth/groups/{groupId}/policies/{policyId}", "auth", "detachPolicyFromGroup", Rights(&[(DetachPolicy, GROUP)]), run!(people::detach_from_group)),
    Operation::new(Get, "/auth/policies", "auth", "listPolicies", Rights(&[(ListPolicies, EVERYTHING)]), run!(people::list_policies)).with(PAGE).gives(200, of::<PolicyList>()),
    Operation::new(Post, "/auth/policies", "auth", "createPolicy", Rights(&[(CreatePolicy, "arn:lakefs:auth:::policy/{id}")]), run!(people::create_policy)).json(of::<Policy>()).gives(201, of::<Policy>()),
    Operation::new(Get, "/auth/policies/{policyId}", "auth", "getPolicy", Rights(&[(ReadPolicy, POLICY)]), run!(people::get_policy)).gives(200, of::<Policy>()),
    Operation::new(Put, "/auth/policies/{policyId}", "auth", "updatePolicy", Rights(&[(UpdatePolicy, POLICY)]), run!(people::update_policy)).json(of::<Policy>()).gives(200, of::<Policy>()),
    Operation::new(Delete, "/auth/policies/{policyId}", "auth", "deletePolicy", Rights(&[(DeletePolicy, POLICY)]), run!(people::delete_policy)),

    // --- repositories ---
    Operation::new(Get, "/repositories", "repositories", "listRepositories", Somewhere(ListRepositories), run!(repositories::list)).with(&[PREFIX, AFTER, AMOUNT, text("search")]).gives(200, of::<RepositoryList>()),
    Operation::new(Post, "/repositories", "repositories", "createRepository", Rights(&[(CreateRepository, "arn:lakefs:fs:::repository/{name}"), (AttachStorageNamespace, "arn:lakefs:fs:::namespace/{storage_namespace}")]), run!(repositories::create)).with(&[flag("bare")]).json(of::<RepositoryCreation>()).gives(201, of::<Repository>()),
    Operation::new(Get, "/repositories/{repository}", "repositories", "getRepository", Rights(&[(ReadRepository, REPOSITORY)]), run!(repositories::get)).gives(200, of::<Repository>()),
    Operation::new(Delete, "/repositories/{repository}", "repositories", "deleteRepository", Rights(&[(DeleteRepository, REPOSITORY)]), run!(repositories::delete)).with(&[FORCE]),
    Operation::new(Get, "/repositories/{repository}/metadata", "repositories", "getRepositoryMetadata", Rights(&[(ReadRepository, REPOSITORY)]), run!(repositories::get_metadata)).gives(200, Type::Map(&Type::Text)),
    Operation::new(Post, "/repositories/{repository}/metadata", "internal", "setRepositoryMetadata", Rights(&[(UpdateRepository, REPOSITORY)]), run!(repositories::set_metadata)).json(of::<RepositoryMetadataSet>()),
    Operation::new(Delete, "/repositories/{repository}/metadata", "internal", "deleteRepositoryMetadata", Rights(&[(UpdateRepository, REPOSITORY)]), run!(repositories::delete_metadata)).json(of::<RepositoryMetadataKeys>()),
    Operation::new(Post, "/repositories/{repository}/dump", "repositories", "dumpSubmit", Rights(&[(ListTags, REPOSITORY), (ListBranches, REPOSITORY), (ListCommits, REPOSITORY)]), run!(dumps::submit_dump)).gives(202, of::<TaskInfo>()),
    Operation::new(Get, "/repositories/{repository}/dump", "repositories", "dumpStatus", Rights(&[(ListTags, REPOSITORY), (ListBranches, REPOSITORY), (ListCommits, REPOSITORY)]), run!(dumps::dump_status)).with(&[must("task_id")]).gives(200, of::<RepositoryDumpStatus>()),
    Operation::new(Post, "/repositories/{repository}/restore", "repositories", "restoreSubmit", Rights(&[(CreateTag, REPOSITORY), (CreateBranch, REPOSITORY), (CreateCommit, REPOSITORY)]), run!(dumps::submit_restore)).json(of::<RefsRestore>()).gives(202, of::<TaskInfo>()),
    Operation::new(Get, "/repositories/{repository}/restore", "repositories", "restoreStatus", Rights(&[(CreateTag, REPOSITORY), (CreateBranch, REPOSITORY), (CreateCommit, REPOSITORY)]), run!(dumps::restore_status)).with(&[must("task_id")]).gives(200, of::<RepositoryRestoreStatus>()),
    Operation::new(Put, "/repositories/{repository}/refs/dump", "internal", "dumpRefs", Rights(&[(ListTags, REPOSITORY), (ListBranches, REPOSITORY), (ListCommits, REPOSITORY)]), run!(dumps::dump)).gives(201, of::<RefsDump>()),
    Operation::new(Put, "/repositories/{repository}/refs/restore", "internal", "restoreRefs", Rights(&[(CreateTag, REPOSITORY), (CreateBranch, REPOSITORY), (CreateCommit, REPOSITORY)]), run!(dumps::restore)).json(of::<RefsRestore>()).status(200),

    // --- rules ---
    Operation::new(Get, "/repositories/{repository}/settings/branch_protection", "repositories", "getBranchProtectionRules", Rights(&[(GetBranchProtectionRules, REPOSITORY)]), run!(rules::branch_protection)).gives(200, of::<Vec<BranchProtectionRule>>()),
    Operation::new(Put, "/repositories/{repository}/settings/branch_protection", "repositories", "setBranchProtectionRules", Rights(&[(SetBranchProtectionRules, REPOSITORY)]), run!(rules::set_branch_protection)).with(&[IF_MATCH]).json(of::<Vec<BranchProtectionRule>>()),
    Operation::new(Get, "/repositories/{repository}/branch_protection", "internal", "internalGetBranchProtectionRules", Rights(&[(GetBranchProtectionRules, REPOSITORY)]), run!(rules::branch_protection)).gives(200, of::<Vec<BranchProtectionRule>>()),
    Operation::new(Post, "/repositories/{repository}/branch_protection", "internal", "internalCreateBranchProtectionRule", Rights(&[(SetBranchProtectionRules, REPOSITORY)]), run!(rules::add_branch_protection)).json(of::<BranchProtectionRule>()),
    Operation::new(Delete, "/repositories/{repository}/branch_protection", "internal", "internalDeleteBranchProtectionRule", Rights(&[(SetBranchProtectionRules, REPOSITORY)]), run!(rules::remove_branch_protection)).json(of::<InternalDeleteBranchProtectionRuleRequest>()),
    Operation::new(Get, "/repositories/{repository}/branch_protection/set_allowed", "internal", "createBranchProtectionRulePreflight", Rights(&[(SetBranchProtectionRules, REPOSITORY)]), run!(rules::may_change_branch_protection)),
    Operation::new(Get, "/repositories/{repository}/settings/gc_rules", "repositories", "getGCRules", Rights(&[(GetGarbageCollectionRules, REPOSITORY)]), run!(rules::gc_rules)).gives(200, of::<GarbageCollectionRules>()),
    Operation::new(Put, "/repositories/{repository}/settings/gc_rules", "repositories", "setGCRules", Rights(&[(SetGarbageCollectionRules, REPOSITORY)]), run!(rules::set_gc_rules)).json(of::<GarbageCollectionRules>()),
    Operation::new(Delete, "/repositories/{repository}/settings/gc_rules", "repositories", "deleteGCRules", Rights(&[(SetGarbageCollectionRules, REPOSITORY)]), run!(rules::delete_gc_rules)),
    Operation::new(Get, "/repositories/{repository}/gc/rules", "internal", "internalGetGarbageCollectionRules", Rights(&[(GetGarbageCollectionRules, REPOSITORY)]), run!(rules::gc_rules)).gives(200, of::<GarbageCollectionRules>()),
    Operation::new(Post, "/repositories/{repository}/gc/rules", "internal", "internalSetGarbageCollectionRules", Rights(&[(SetGarbageCollectionRules, REPOSITORY)]), run!(rules::set_gc_rules)).json(of::<GarbageCollectionRules>()),
    Operation::new(Delete, "/repositories/{repository}/gc/rules", "internal", "internalDeleteGarbageCollectionRules", Rights(&[(SetGarbageCollectionRules, REPOSITORY)]), run!(rules::delete_gc_rules)),
    Operation::new(Get, "/repositories/{repository}/gc/rules/set_allowed", "internal", "setGarbageCollectionRulesPreflight", Rights(&[(SetGarbageCollectionRules, REPOSITORY)]), run!(rules::may_set_gc_rules)),
    Operation::new(Post, "/repositories/{repository}/gc/prepare_commits", "internal", "prepareGarbageCollectionCommits", Rights(&[(PrepareGarbageCollectionCommits, REPOSITORY)]), run!(rules::prepare)).gives(201, of::<GarbageCollectionPrepareResponse>()),
    Operation::new(Post, "/repositories/{repository}/gc/prepare_commits/async", "internal", "prepareGarbageCollectionCommitsAsync", Rights(&[(PrepareGarbageCollectionCommits, REPOSITORY)]), run!(rules::prepare)).gives(202, of::<TaskCreation>()),
    Operation::new(Get, "/repositories/{repository}/gc/prepare_commits/status", "internal", "prepareGarbageCollectionCommitsStatus", Rights(&[(PrepareGarbageCollectionCommits, REPOSITORY)]), run!(not_offered::no_task)).with(&[must("id")]).gives(200, of::<PrepareGarbageCollectionCommitsStatus>()),
    Operation::new(Post, "/repositories/{repository}/gc/prepare_uncommited", "internal", "prepareGarbageCollectionUncommitted", Rights(&[(PrepareGarbageCollectionUncommitted, REPOSITORY)]), run!(unsupported)).optional_json(of::<PrepareGCUncommittedRequest>()).gives(201, of::<PrepareGCUncommittedResponse>()),

    // --- runs and pull requests ---
    Operation::new(Get, "/repositories/{repository}/actions/runs", "actions", "listRepositoryRuns", Rights(&[(ReadAction, REPOSITORY)]), run!(not_offered::runs)).with(&[AFTER, AMOUNT, text("branch"), text("commit")]).gives(200, of::<ActionRunList>()),
    Operation::new(Get, "/repositories/{repository}/actions/runs/{run_id}", "actions", "getRun", Rights(&[(ReadAction, REPOSITORY)]), run!(not_offered::run)).gives(200, of::<ActionRun>()),
    Operation::new(Get, "/repositories/{repository}/actions/runs/{run_id}/hooks", "actions", "listRunHooks", Rights(&[(ReadAction, REPOSITORY)]), run!(not_offered::hooks)).with(&[AFTER, AMOUNT]).gives(200, of::<HookRunList>()),
    Operation::new(Get, "/repositories/{repository}/actions/runs/{run_id}/hooks/{hook_run_id}/output", "actions", "getRunHookOutput", Rights(&[(ReadAction, REPOSITORY)]), run!(not_offered::run)).gives(200, Type::Bytes),
    Operation::new(Get, "/repositories/{repository}/pulls", "pulls", "listPullRequests", Rights(&[(ListPullRequests, REPOSITORY)]), run!(pulls::list)).with(&[PREFIX, AFTER, AMOUNT, choice("status", &["open", "closed", "all"])]).gives(200, of::<PullRequestsList>()),
    Operation::new(Post, "/repositories/{repository}/pulls", "pulls", "createPullRequest", Rights(&[(WritePullRequest, REPOSITORY)]), run!(pulls::create)).json(of::<PullRequestCreation>()).gives(201, of::<PullRequestCreationResponse>()),
    Operation::new(Get, "/repositories/{repository}/pulls/{pull_request}", "pulls", "getPullRequest", Rights(&[(ReadPullRequest, REPOSITORY)]), run!(pulls::get)).gives(200, of::<PullRequest>()),
    Operation::new(Patch, "/repositories/{repository}/pulls/{pull_request}", "pulls", "updatePullRequest", Rights(&[(WritePullRequest, REPOSITORY)]), run!(pulls::update)).json(of::<PullRequestBasic>()),
    Operation::new(Put, "/repositories/{repository}/pulls/{pull_request}/merge", "pulls", "mergePullRequest", Rights(&[(WritePullRequest, REPOSITORY), (CreateCommit, "arn:lakefs:fs:::repository/{repository}/branch/{destination_branch}")]), run!(pulls::merge)).gives(200, of::<MergeResult>()),

    // --- branches ---
    Operation::new(Get, "/repositories/{repository}/branches", "branches", "listBranches", Rights(&[(ListBranches, REPOSITORY)]), run!(branches::list)).with(&[PREFIX, AFTER, AMOUNT, flag("show_hidden")]).gives(200, of::<RefList>()),
    Operation::new(Post, "/repositories/{repository}/branches", "branches", "createBranch", Rights(&[(CreateBranch, "arn:lakefs:fs:::repository/{repository}/branch/{name}")]), run!(branches::create)).json(of::<BranchCreation>()).gives(201, Type::PlainText),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}", "branches", "getBranch", Rights(&[(ReadBranch, BRANCH)]), run!(branches::get)).gives(200, of::<Ref>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}", "branches", "deleteBranch", Rights(&[(DeleteBranch, BRANCH)]), run!(branches::delete)).with(&[FORCE]),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}", "branches", "resetBranch", Rights(&[(RevertBranch, BRANCH)]), run!(branches::reset)).json(of::<ResetCreation>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/hard_reset", "experimental", "hardResetBranch", Rights(&[(RevertBranch, BRANCH)]), run!(branches::hard_reset)).with(&[must("ref"), FORCE]),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/diff", "branches", "diffBranch", Rights(&[(ListObjects, REPOSITORY)]), run!(refs::diff_branch)).with(&[PREFIX, AFTER, AMOUNT, DELIMITER]).gives(200, of::<DiffList>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/revert", "branches", "revertBranch", Rights(&[(RevertBranch, BRANCH)]), run!(branches::revert)).json(of::<RevertCreation>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/cherry-pick", "branches", "cherryPick", Rights(&[(CreateCommit, BRANCH), (ReadCommit, REPOSITORY)]), run!(branches::cherry_pick)).json(of::<CherryPickCreation>()).gives(201, of::<Commit>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/import", "import", "importStart", Rights(&[(WriteObject, BRANCH), (CreateCommit, BRANCH), (ImportFromStorage, "arn:lakefs:fs:::namespace/{paths.path}"), (WriteObject, "arn:lakefs:fs:::repository/{repository}/object/{paths.destination}")]), run!(imports::start)).json(of::<ImportCreation>()).gives(202, of::<ImportCreationResponse>()),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/import", "import", "importStatus", Rights(&[(ReadBranch, BRANCH)]), run!(imports::status)).with(&[must("id")]).gives(200, of::<ImportStatus>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}/import", "import", "importCancel", Rights(&[(ImportCancel, BRANCH)]), run!(imports::cancel)).with(&[must("id")]),

    // --- tags ---
    Operation::new(Get, "/repositories/{repository}/tags", "tags", "listTags", Rights(&[(ListTags, REPOSITORY)]), run!(tags::list)).with(PAGE).gives(200, of::<RefList>()),
    Operation::new(Post, "/repositories/{repository}/tags", "tags", "createTag", Rights(&[(CreateTag, "arn:lakefs:fs:::repository/{repository}/tag/{id}")]), run!(tags::create)).json(of::<TagCreation>()).gives(201, of::<Ref>()),
    Operation::new(Get, "/repositories/{repository}/tags/{tag}", "tags", "getTag", Rights(&[(ReadTag, TAG)]), run!(tags::get)).gives(200, of::<Ref>()),
    Operation::new(Delete, "/repositories/{repository}/tags/{tag}", "tags", "deleteTag", Rights(&[(DeleteTag, TAG)]), run!(tags::delete)).with(&[FORCE]),

    // --- commits ---
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/commits", "commits", "commit", Rights(&[(CreateCommit, BRANCH)]), run!(commits::commit)).with(&[text("source_metarange")]).json(of::<CommitCreation>()).gives(201, of::<Commit>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/commits/async", "commits", "commitAsync", Rights(&[(CreateCommit, BRANCH)]), run!(jobs::commit)).with(&[text("source_metarange")]).json(of::<CommitCreation>()).gives(202, of::<TaskCreation>()),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/commits/async/{id}/status", "commits", "commitAsyncStatus", Rights(&[(CreateCommit, BRANCH)]), run!(jobs::commit_status)).gives(200, of::<CommitAsyncStatus>()),
    Operation::new(Post, "/repositories/{repository}/commits", "internal", "CreateCommitRecord", Rights(&[(CreateCommit, REPOSITORY)]), run!(commits::create_record)).json(of::<CommitRecordCreation>()),
    Operation::new(Get, "/repositories/{repository}/commits/{commitId}", "commits", "getCommit", Rights(&[(ReadCommit, REPOSITORY)]), run!(commits::get)).gives(200, of::<Commit>()),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/commits", "refs", "logCommits", Rights(&[(ReadBranch, "arn:lakefs:fs:::repository/{repository}/branch/{ref}")]), run!(refs::log)).with(&[AFTER, AMOUNT, texts("objects"), texts("prefixes"), flag("limit"), flag("first_parent"), SINCE, text("stop_at")]).gives(200, of::<CommitList>()),

    // --- diff and merge ---
    Operation::new(Get, "/repositories/{repository}/refs/{leftRef}/diff/{rightRef}", "refs", "diffRefs", Rights(&[(ListObjects, REPOSITORY)]), run!(refs::diff)).with(&[PREFIX, AFTER, AMOUNT, DELIMITER, choice("type", &["two_dot", "three_dot"]), flag("include_right_stats")]).gives(200, of::<DiffList>()),
    Operation::new(Get, "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}", "refs", "findMergeBase", Rights(&[(ListCommits, REPOSITORY)]), run!(refs::merge_base)).gives(200, of::<FindMergeBaseResult>()),
    Operation::new(Post, "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}", "refs", "mergeIntoBranch", Rights(&[(CreateCommit, "arn:lakefs:fs:::repository/{repository}/branch/{destinationBranch}")]), run!(refs::merge)).optional_json(of::<Merge>()).gives(200, of::<MergeResult>()),
    Operation::new(Post, "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}/async", "refs", "mergeIntoBranchAsync", Rights(&[(CreateCommit, "arn:lakefs:fs:::repository/{repository}/branch/{destinationBranch}")]), run!(jobs::merge)).optional_json(of::<Merge>()).gives(202, of::<TaskCreation>()),
    Operation::new(Get, "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}/async/{id}/status", "refs", "mergeIntoBranchAsyncStatus", Rights(&[(CreateCommit, "arn:lakefs:fs:::repository/{repository}/branch/{destinationBranch}")]), run!(jobs::merge_status)).gives(200, of::<MergeAsyncStatus>()),

    // --- objects ---
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects", "objects", "getObject", Rights(&[(ReadObject, OBJECT)]), run!(objects::get)).with(&[PATH, PRESIGN, RANGE, IF_NONE_MATCH]).gives(200, Type::Bytes),
    Operation::new(Head, "/repositories/{repository}/refs/{ref}/objects", "objects", "headObject", Rights(&[(ReadObject, OBJECT)]), run!(objects::head)).with(&[PATH, RANGE]).status(200),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects/stat", "objects", "statObject", Rights(&[(ReadObject, OBJECT)]), run!(objects::stat)).with(&[PATH, flag("user_metadata"), PRESIGN]).gives(200, of::<ObjectStats>()),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects/ls", "objects", "listObjects", Rights(&[(ListObjects, REPOSITORY)]), run!(objects::list)).with(&[flag("user_metadata"), flag("verified"), PRESIGN, AFTER, AMOUNT, DELIMITER, PREFIX]).gives(200, of::<ObjectStatsList>()),
    Operation::new(Get, "/repositories/{repository}/refs/{ref}/objects/underlyingProperties", "objects", "getUnderlyingProperties", Rights(&[(ReadObject, OBJECT)]), run!(objects::underlying_properties)).with(&[PATH]).gives(200, of::<UnderlyingObjectProperties>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/objects", "objects", "uploadObject", Rights(&[(WriteObject, OBJECT)]), run!(objects::upload)).with(&[PATH, text("storageClass"), FORCE, IF_NONE_MATCH, IF_MATCH]).object().gives(201, of::<ObjectStats>()),
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/objects/stage_allowed", "internal", "uploadObjectPreflight", Rights(&[(WriteObject, OBJECT)]), run!(staging::allowed)).with(&[PATH]),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/objects", "internal", "stageObject", Rights(&[(WriteObject, OBJECT)]), run!(staging::stage)).with(&[PATH]).json(of::<ObjectStageCreation>()).gives(201, of::<ObjectStats>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}/objects", "objects", "deleteObject", Rights(&[(DeleteObject, OBJECT)]), run!(objects::delete)).with(&[PATH, FORCE, flag("no_tombstone")]),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/objects/delete", "objects", "deleteObjects", Rights(&[(DeleteObject, "arn:lakefs:fs:::repository/{repository}/object/{paths}")]), run!(objects::delete_many)).with(&[FORCE, flag("no_tombstone")]).json(of::<PathList>()).gives(200, of::<ObjectErrorList>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/objects/copy", "objects", "copyObject", Rights(&[(ReadObject, "arn:lakefs:fs:::repository/{repository}/object/{src_path}"), (WriteObject, "arn:lakefs:fs:::repository/{repository}/object/{dest_path}")]), run!(objects::copy)).with(&[must("dest_path")]).json(of::<ObjectCopyCreation>()).gives(201, of::<ObjectStats>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/objects/stat/user_metadata", "experimental", "updateObjectUserMetadata", Rights(&[(WriteObject, OBJECT)]), run!(objects::set_metadata)).with(&[PATH]).json(of::<UpdateObjectUserMetadata>()),
    Operation::new(Post, "/repositories/{repository}/refs/{branch}/symlink", "internal", "createSymlinkFile", Rights(&[(WriteObject, "arn:lakefs:fs:::repository/{repository}/object/{branch}")]), run!(unsupported)).with(&[text("location")]).gives(201, of::<StorageURI>()),

    // --- staging ---
    Operation::new(Get, "/repositories/{repository}/branches/{branch}/staging/backing", "staging", "getPhysicalAddress", Rights(&[(WriteObject, OBJECT)]), run!(staging::new_address)).with(&[PATH, PRESIGN]).gives(200, of::<StagingLocation>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/backing", "staging", "linkPhysicalAddress", Rights(&[(WriteObject, OBJECT)]), run!(staging::link)).with(&[PATH, IF_NONE_MATCH, IF_MATCH]).json(of::<StagingMetadata>()).gives(200, of::<ObjectStats>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/staging/pmpu", "experimental", "createPresignMultipartUpload", Rights(&[(WriteObject, OBJECT)]), run!(unsupported)).with(&[PATH, PARTS]).gives(201, of::<PresignMultipartUpload>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}", "experimental", "completePresignMultipartUpload", Rights(&[(WriteObject, OBJECT)]), run!(unsupported)).with(&[PATH]).optional_json(of::<CompletePresignMultipartUpload>()).gives(200, of::<ObjectStats>()),
    Operation::new(Delete, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}", "experimental", "abortPresignMultipartUpload", Rights(&[(WriteObject, OBJECT)]), run!(unsupported)).with(&[PATH]).optional_json(of::<AbortPresignMultipartUpload>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}/parts/{partNumber}", "experimental", "uploadPart", Rights(&[(WriteObject, OBJECT)]), run!(staging::presigned_part)).with(&[PATH, PART_NUMBER]).json(of::<UploadPartFrom>()).gives(200, of::<UploadTo>()),
    Operation::new(Put, "/repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}/parts/{partNumber}/copy", "experimental", "uploadPartCopy", Rights(&[(WriteObject, OBJECT), (ReadObject, "arn:lakefs:fs:::repository/{repository}/object/{copy_source.path}")]), run!(staging::presigned_part)).with(&[PATH, PART_NUMBER]).json(of::<UploadPartCopyFrom>()),

    // --- metadata files ---
    Operation::new(Get, "/repositories/{repository}/metadata/meta_range/{meta_range}", "metadata", "getMetaRange", Rights(&[(ListObjects, REPOSITORY), (ReadRepository, REPOSITORY)]), run!(not_offered::meta_range)).gives(200, of::<StorageURI>()),
    Operation::new(Get, "/repositories/{repository}/metadata/range/{range}", "metadata", "getRange", Rights(&[(ListObjects, REPOSITORY), (ReadRepository, REPOSITORY)]), run!(not_offered::range)).gives(200, of::<StorageURI>()),
    Operation::new(Get, "/repositories/{repository}/metadata/object/{type}/{object_id}", "internal", "getMetadataObject", Rights(&[(ListObjects, REPOSITORY), (ReadRepository, REPOSITORY)]), run!(objects::metadata_object)).with(&[PRESIGN]).gives(200, Type::Bytes),
];

/// `/api/millpond/v1`.
#[rustfmt::skip]
pub static MILLPOND: &[Operation] = &[
    Operation::new(Get, "/version", "millpond", "millpondVersion", Open, run!(millpond::version)).ours().gives(200, of::<Version>()),
    Operation::new(Get, "/repositories/{repository}/oplog", "millpond", "listOplog", Rights(&[(ListCommits, REPOSITORY)]), run!(millpond::oplog)).ours().with(&[text("ref"), AFTER, AMOUNT]).gives(200, of::<OplogList>()),
    Operation::new(Post, "/repositories/{repository}/branches/{branch}/undo", "millpond", "undo", Rights(&[(RevertBranch, BRANCH)]), run!(millpond::undo)).ours().with(&[FORCE]).optional_json(of::<Nothing>()).gives(200, of::<Undone>()),
    Operation::new(Post, "/repositories/{repository}/adoption/contents", "millpond", "adoptContent", Rights(&[(CreateCommit, REPOSITORY)]), run!(adoption::contents)).ours().with(&[FORCE]).object().gives(201, of::<AdoptedContent>()),
    Operation::new(Post, "/repositories/{repository}/adoption/trees", "millpond", "adoptTree", Rights(&[(CreateCommit, REPOSITORY), (WriteObject, "arn:lakefs:fs:::repository/{repository}/object/{changes.path}")]), run!(adoption::trees)).ours().with(&[FORCE]).json(of::<AdoptedTreeCreation>()).gives(201, of::<AdoptedTree>()),
    Operation::new(Post, "/repositories/{repository}/adoption/commits", "millpond", "adoptCommit", Rights(&[(CreateCommit, REPOSITORY)]), run!(adoption::commits)).ours().with(&[FORCE]).json(of::<AdoptedCommit>()).gives(201, of::<Commit>()),
    Operation::new(Get, "/auth/explain", "millpond", "explain", Rights(&[(ReadUser, "arn:lakefs:auth:::user/{user}")]), run!(people::explain)).ours().with(&[must("user"), must("action"), must("resource"), text("from")]).gives(200, of::<Explanation>()),
    Operation::new(Post, "/auth/rotate-master-key", "millpond", "rotateMasterKey", Rights(&[(RotateMasterKey, EVERYTHING)]), run!(upkeep::rotate_master_key)).ours().optional_json(of::<Nothing>()).gives(200, of::<MasterKey>()),
    Operation::new(Post, "/auth/keys", "millpond", "createShortLivedKey", Rights(&[(CreateCredentials, "arn:lakefs:auth:::user/{caller}")]), run!(sign_in::create_key)).ours().json(of::<KeyOrder>()).gives(201, of::<ShortLivedKey>()),
    Operation::new(Post, "/auth/link", "millpond", "createSignInLink", Rights(&[(CreateCredentials, "arn:lakefs:auth:::user/{user_id}")]), run!(sign_in::create_link)).ours().optional_json(of::<LinkOrder>()).gives(201, of::<SignInLink>()),
    Operation::new(Post, "/auth/password", "millpond", "setPassword", Rights(&[(CreateCredentials, "arn:lakefs:auth:::user/{user_id}")]), run!(sign_in::set_password)).ours().json(of::<PasswordOrder>()),
    Operation::new(Post, "/auth/logout", "millpond", "logout", Login, run!(sign_in::sign_out)).ours(),
    Operation::new(Post, "/fsck", "millpond", "fsck", Rights(&[(CheckStores, EVERYTHING)]), run!(upkeep::fsck)).ours().with(&[text("repository"), flag("quick")]).optional_json(of::<Nothing>()).gives(200, Type::Bytes),
    Operation::new(Post, "/backup", "millpond", "backup", Rights(&[(BackUp, EVERYTHING)]), run!(upkeep::backup)).ours().json(of::<BackupOrder>()).gives(200, Type::Bytes),
    Operation::new(Get, "/audit", "millpond", "listAudit", Rights(&[(ReadAudit, EVERYTHING)]), run!(audit::list)).ours().with(&[text("actor"), text("verb"), text("repository"), text("ref"), text("path"), SINCE, UNTIL, choice("result", &["done", "refused"]), AFTER, AMOUNT]).gives(200, of::<AuditList>()),
    Operation::new(Post, "/audit/verify", "millpond", "verifyAudit", Rights(&[(ReadAudit, EVERYTHING)]), run!(audit::verify)).ours().with(&[text("row"), text("head")]).optional_json(of::<Nothing>()).gives(200, Type::Bytes),
];
