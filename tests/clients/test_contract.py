"""The contract: every operation of the published `lakefs-sdk` is called for success and for each failure that it
documents, and each answer is read with the SDK's own models.

What was found stands in docs/compatibility.md, as a table that this file makes:
`MILLPOND_UPDATE_DOCS=1 .venv/bin/python -m pytest tests/clients/test_contract.py` writes it anew.
"""

import itertools
import json
import os
import re

import lakefs_sdk
import pytest
from lakefs_sdk import models as m
from lakefs_sdk.exceptions import ApiException

from harness.contract import operations
from harness.server import ACCESS_KEY_ID, REPOSITORY_ROOT, SECRET_ACCESS_KEY
from harness.wire import send

OPERATIONS = operations()
MISSING = "no-such-repository"
PROTECTED = "guarded"
ALLOW = {"effect": "allow", "action": ["fs:ReadObject"], "resource": "*"}

# Where success cannot be had from this server: what it answers, and why.
NOT_OFFERED = {
    "setup": (409, "is set up from its start"),
    "setup_comm_prefs": (409, "is set up from its start"),
    "get_usage_report_summary": (404, "keeps none"),
    "external_principal_login": (501, "not offered"),
    "sts_login": (501, "not offered"),
    "get_run": (404, "no actions yet"),
    "get_run_hook_output": (404, "no actions yet"),
    "prepare_garbage_collection_commits": (501, "not offered"),
    "prepare_garbage_collection_commits_async": (501, "not offered"),
    "prepare_garbage_collection_commits_status": (404, "no such tasks"),
    "prepare_garbage_collection_uncommitted": (501, "not offered"),
    "create_presign_multipart_upload": (501, "needs an object store"),
    "complete_presign_multipart_upload": (501, "needs an object store"),
    "abort_presign_multipart_upload": (501, "needs an object store"),
    "upload_part": (400, "needs an object store"),
    "upload_part_copy": (400, "needs an object store"),
    "create_symlink_file": (501, "needs an object store"),
}

# Documented answers that this server never gives.
NEVER = {302: "presigned reads need an object store", 429: "writes take their turn"}
NEVER_OF = {
    ("commit", 409): "writes take their turn",
    ("commit", 412): "no hooks yet",
    ("merge_into_branch", 412): "no hooks yet",
    ("merge_pull_request", 412): "no hooks yet",
    ("link_physical_address", 409): "the address is 400",
    ("create_group", 404): "names nothing that could be missing",
    ("create_pull_request", 403): "a read-only repository takes them",
    ("create_pull_request", 409): "several for the same branches are allowed",
    ("delete_objects", 403): "stands in the answer, for each object",
    ("create_branch_protection_rule_preflight", 404): "asks for the right only",
    ("set_garbage_collection_rules_preflight", 404): "asks for the right only",
    ("upload_object_preflight", 404): "asks for the right only",
    ("stat_object", 410): "the bytes are not looked at",
    ("prepare_garbage_collection_commits_status", 403): "changes nothing",
}
# These ask for a login and nothing else.
LOGIN_ENOUGH = {
    "get_config",
    "get_lake_fs_version",
    "get_garbage_collection_config",
    "get_usage_report_summary",
    "post_stats_events",
}

_numbers = itertools.count(1)


class Stage:
    """A repository and people of one operation, made when it asks for them."""

    def __init__(self, server, operation):
        self.server, self.operation, self.n = server, operation, next(_numbers)
        self.sdk = server.sdk()
        self.repo, self.copy = f"contract-{self.n}", None
        self.user, self.group = f"{self.repo}-user", f"{self.repo}-group"
        self.policy, self.principal = f"{self.repo}-policy", f"{self.repo}-principal"
        if "repository" in operation.parameters:
            self._repository()
        if "/auth/" in operation.path:
            self._people()

    def put(self, branch, path, content):
        return self.sdk.objects_api.upload_object(self.repo, branch, path, content=content)

    def commit(self, branch, message="m"):
        return self.sdk.commits_api.commit(self.repo, branch, m.CommitCreation(message=message))

    def branch(self, name, source="main"):
        self.sdk.branches_api.create_branch(self.repo, m.BranchCreation(name=name, source=source))
        return name

    def _repository(self):
        sdk, repo = self.sdk, self.repo
        sdk.repositories_api.create_repository(m.RepositoryCreation(name=repo, storage_namespace=f"local://{repo}"))
        self.put("main", "a/one", b"one")
        self.put("main", "a/two", b"two")
        self.first = self.commit("main")
        for name, content in [("dev", b"dev"), ("clash", b"clash")]:
            self.branch(name)
            self.put(name, "a/one", content)
            self.commit(name)
        self.branch("clean")
        self.branch("dirty")
        self.put("dirty", "staged", b"s")
        self.branch(PROTECTED)
        self.put(PROTECTED, "staged", b"s")
        sdk.tags_api.create_tag(repo, m.TagCreation(id="t1", ref="main"))
        rules = [m.BranchProtectionRule(pattern=PROTECTED)]
        sdk.repositories_api.set_branch_protection_rules(repo, rules)

    def _people(self):
        auth = self.sdk.auth_api
        auth.create_user(user_creation=m.UserCreation(id=self.user))
        auth.create_group(group_creation=m.GroupCreation(id=self.group))
        auth.create_policy(self.document(self.policy))
        self.key = auth.create_credentials(self.user).access_key_id
        self.sdk.external_api.create_user_external_principal(self.user, self.principal)

    def document(self, name, **changed):
        return m.Policy(id=name, statement=[m.Statement(**{**ALLOW, **changed})])

    def pull(self, source="dev", destination="main", repo=None):
        body = m.PullRequestCreation(title="t", source_branch=source, destination_branch=destination)
        return self.sdk.pulls_api.create_pull_request(repo or self.repo, body).id

    def address(self, branch="dev", path="a/linked"):
        return self.sdk.staging_api.get_physical_address(self.repo, branch, path)

    def linked(self, branch="dev", path="a/linked"):
        return m.StagingMetadata(staging=self.address(branch, path), checksum="c", size_bytes=1)

    def staged(self, branch="dev"):
        address = self.address(branch).physical_address
        return m.ObjectStageCreation(physical_address=address, checksum="c", size_bytes=1)

    def source(self, name="in"):
        """Files of the server's import directory."""
        directory = self.server.directory / "import" / self.repo / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "file").write_bytes(b"imported")
        return directory

    def importing(self, branch="clean", files=0):
        source = self.source()
        for n in range(files):
            (source / str(n)).touch()
        return self.sdk.import_api.import_start(self.repo, branch, self.import_body()).id

    def import_body(self):
        location = m.ImportLocation(type="common_prefix", path=f"local://{self.source()}/", destination="in/")
        return m.ImportCreation(paths=[location], commit=m.CommitCreation(message="import"))

    def gone(self):
        """A path on `clean` whose imported bytes are gone."""
        task = self.importing()
        while not self.sdk.import_api.import_status(self.repo, "clean", task).completed:
            pass
        for path in self.source().iterdir():
            path.unlink()
        return "in/file"

    def record(self, **changed):
        commit = self.sdk.commits_api.get_commit(self.repo, "dev")
        fields = {
            "commit_id": commit.id,
            "version": commit.version,
            "committer": commit.committer,
            "message": commit.message,
            "metarange_id": commit.meta_range_id,
            "creation_date": commit.creation_date,
            "parents": commit.parents,
            "metadata": commit.metadata,
            "generation": commit.generation,
        }
        return m.CommitRecordCreation(**{**fields, **changed})

    def unknown_record(self):
        """A commit that was never made here. The refusal of a wrong id names the right one."""
        record = self.record(message="made elsewhere")
        with pytest.raises(ApiException) as refused:
            self.sdk.internal_api.create_commit_record(self.repo, record)
        told = set(re.findall(r"\b[0-9a-f]{64}\b", refused.value.body)) - {record.commit_id}
        return self.record(message="made elsewhere", commit_id=told.pop())

    def bare(self):
        """A bare repository over the same namespace."""
        if not self.copy:
            self.copy = f"{self.repo}-copy"
            body = m.RepositoryCreation(name=self.copy, storage_namespace=f"local://{self.repo}")
            self.sdk.repositories_api.create_repository(body, bare=True)
        return self.copy

    def dumped(self):
        return m.RefsRestore(**self.sdk.internal_api.dump_refs(self.repo).to_dict())

    def etag(self, ref, path):
        return f'"{self.sdk.objects_api.stat_object(self.repo, ref, path).checksum}"'

    def rules(self):
        rules = m.GarbageCollectionRules(default_retention_days=7, branches=[])
        self.sdk.repositories_api.set_gc_rules(self.repo, rules)


# Of each operation: arguments of a call that succeeds, and by status arguments that make it fail (merged into those).
# Made when they are needed, failures first.
REPO = lambda s: {"repository": s.repo}  # noqa: E731
ON = lambda branch: lambda s: {"repository": s.repo, "branch": branch}  # noqa: E731


def given(**fixed):
    return lambda s: {"repository": s.repo, **{k: v(s) if callable(v) else v for k, v in fixed.items()}}


def people(**fixed):
    return lambda s: {k: v(s) if callable(v) else v for k, v in fixed.items()}


user, group, policy = (lambda s: s.user), (lambda s: s.group), (lambda s: s.policy)
LONG = "p" * 1025
BAD_REF = "bad ref~~x"
BAD_BRANCH = "bad..name"

CASES = {
    # server
    "health_check": (people(), {}),
    "get_setup_state": (people(), {}),
    "setup": (people(setup=m.Setup(username="x")), {400: {"setup": m.Setup(username="")}, 409: {}}),
    "setup_comm_prefs": (
        people(comm_prefs_input=m.CommPrefsInput(email="a@b.c", featureUpdates=False, securityUpdates=False)),
        {},
    ),
    "get_config": (people(), {}),
    "get_lake_fs_version": (people(), {}),
    "get_storage_config": (people(), {}),
    "get_garbage_collection_config": (people(), {}),
    "get_usage_report_summary": (people(), {404: {}}),
    "post_stats_events": (
        people(stats_events_list=m.StatsEventsList(events=[m.StatsEvent(var_class="c", name="n", count=1)])),
        {400: {"stats_events_list": m.StatsEventsList(events=[m.StatsEvent(var_class="", name="n", count=1)])}},
    ),
    # people
    "get_current_user": (people(), {}),
    "login": (
        people(
            login_information=m.LoginInformation(access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY)
        ),
        {401: {"login_information": m.LoginInformation(access_key_id="AKIAJNOBODYNOBODYQ", secret_access_key="x")}},
    ),
    "external_principal_login": (
        people(external_login_information=m.ExternalLoginInformation(identityRequest={})),
        {},
    ),
    "sts_login": (people(sts_auth_request=m.StsAuthRequest(code="c", state="s", redirect_uri="r")), {}),
    "list_users": (people(), {400: {"prefix": LONG}}),
    "list_groups": (people(), {400: {"prefix": LONG}}),
    "list_policies": (people(), {400: {"prefix": LONG}}),
    "create_user": (
        people(user_creation=lambda s: m.UserCreation(id=f"{s.repo}-new")),
        {
            400: {"user_creation": m.UserCreation(id="a%b")},
            409: {"user_creation": lambda s: m.UserCreation(id=s.user)},
        },
    ),
    "get_user": (people(user_id=user), {}),
    "delete_user": (people(user_id=user), {}),
    "list_user_credentials": (people(user_id=user), {400: {"prefix": LONG}}),
    "create_credentials": (people(user_id=user), {}),
    "get_credentials": (people(user_id=user, access_key_id=lambda s: s.key), {}),
    "delete_credentials": (people(user_id=user, access_key_id=lambda s: s.key), {}),
    "list_user_groups": (people(user_id=user), {400: {"prefix": LONG}}),
    "list_user_policies": (people(user_id=user), {400: {"prefix": LONG}}),
    "attach_policy_to_user": (people(user_id=user, policy_id=policy), {}),
    "detach_policy_from_user": (people(user_id=user, policy_id=policy), {}),
    "create_user_external_principal": (people(user_id=user, principal_id="another"), {}),
    "delete_user_external_principal": (people(user_id=user, principal_id=lambda s: s.principal), {}),
    "list_user_external_principals": (people(user_id=user), {400: {"prefix": LONG}}),
    "get_external_principal": (people(principal_id=lambda s: s.principal), {404: {"principal_id": "missing"}}),
    "create_group": (
        people(group_creation=lambda s: m.GroupCreation(id=f"{s.repo}-new")),
        {400: {"group_creation": m.GroupCreation(id="a%b")}},
    ),
    "get_group": (people(group_id=group), {}),
    "delete_group": (people(group_id=group), {}),
    "list_group_members": (people(group_id=group), {400: {"prefix": LONG}}),
    "add_group_membership": (people(group_id=group, user_id=user), {}),
    "delete_group_membership": (people(group_id=group, user_id=user), {}),
    "list_group_policies": (people(group_id=group), {400: {"prefix": LONG}}),
    "attach_policy_to_group": (people(group_id=group, policy_id=policy), {}),
    "detach_policy_from_group": (people(group_id=group, policy_id=policy), {}),
    "create_policy": (
        people(policy=lambda s: s.document(f"{s.repo}-new")),
        {
            400: {"policy": lambda s: s.document("bad", action=["fs:WriteObjekt"])},
            409: {"policy": lambda s: s.document(s.policy)},
        },
    ),
    "get_policy": (people(policy_id=policy), {}),
    "update_policy": (
        people(policy_id=policy, policy=lambda s: s.document(s.policy)),
        {
            400: {"policy": lambda s: s.document("another")},
            404: {"policy_id": "missing", "policy": lambda s: s.document("missing")},
        },
    ),
    "delete_policy": (people(policy_id=policy), {}),
    # repositories
    "list_repositories": (people(), {400: {"prefix": LONG}}),
    "create_repository": (
        people(
            repository_creation=lambda s: m.RepositoryCreation(
                name=f"{s.repo}-made", storage_namespace=f"local://{s.repo}-made"
            )
        ),
        {
            400: {"repository_creation": m.RepositoryCreation(name="wrong-store", storage_namespace="s3://b/x")},
            409: {
                "repository_creation": m.RepositoryCreation(
                    name="contract-read-only", storage_namespace="local://another"
                )
            },
        },
    ),
    "get_repository": (REPO, {}),
    "delete_repository": (REPO, {}),
    "get_repository_metadata": (REPO, {}),
    "set_repository_metadata": (given(repository_metadata_set=m.RepositoryMetadataSet(metadata={"a": "b"})), {}),
    "delete_repository_metadata": (given(repository_metadata_keys=m.RepositoryMetadataKeys(keys=["a"])), {}),
    "dump_refs": (REPO, {}),
    "dump_submit": (REPO, {}),
    "dump_status": (given(task_id=lambda s: s.sdk.repositories_api.dump_submit(s.repo).id), {404: {"task_id": "none"}}),
    "restore_refs": (
        given(repository=lambda s: s.bare(), refs_restore=lambda s: s.dumped()),
        {400: {"repository": lambda s: s.repo}},
    ),
    "restore_submit": (
        given(repository=lambda s: s.bare(), refs_restore=lambda s: s.dumped()),
        {400: {"repository": lambda s: s.repo}},
    ),
    "restore_status": (
        given(
            repository=lambda s: s.bare(),
            task_id=lambda s: s.sdk.repositories_api.restore_submit(s.bare(), s.dumped()).id,
        ),
        {404: {"task_id": "none"}},
    ),
    # rules
    "get_branch_protection_rules": (REPO, {}),
    "set_branch_protection_rules": (
        given(branch_protection_rule=[m.BranchProtectionRule(pattern="x*")]),
        {400: {"branch_protection_rule": [m.BranchProtectionRule(pattern="[")]}, 412: {"if_match": "another"}},
    ),
    "internal_get_branch_protection_rules": (REPO, {}),
    "internal_create_branch_protection_rule": (
        given(branch_protection_rule=m.BranchProtectionRule(pattern="x*")),
        {400: {"branch_protection_rule": m.BranchProtectionRule(pattern="[")}},
    ),
    "internal_delete_branch_protection_rule": (
        given(
            internal_delete_branch_protection_rule_request=m.InternalDeleteBranchProtectionRuleRequest(
                pattern=PROTECTED
            )
        ),
        {},
    ),
    "create_branch_protection_rule_preflight": (REPO, {}),
    "get_gc_rules": (lambda s: (s.rules(), REPO(s))[1], {}),
    "set_gc_rules": (
        given(garbage_collection_rules=m.GarbageCollectionRules(default_retention_days=1, branches=[])),
        {},
    ),
    "delete_gc_rules": (REPO, {}),
    "internal_get_garbage_collection_rules": (lambda s: (s.rules(), REPO(s))[1], {}),
    "internal_set_garbage_collection_rules": (
        given(garbage_collection_rules=m.GarbageCollectionRules(default_retention_days=1, branches=[])),
        {},
    ),
    "internal_delete_garbage_collection_rules": (REPO, {}),
    "set_garbage_collection_rules_preflight": (REPO, {}),
    "prepare_garbage_collection_commits": (lambda s: (s.rules(), REPO(s))[1], {}),
    "prepare_garbage_collection_commits_async": (lambda s: (s.rules(), REPO(s))[1], {}),
    "prepare_garbage_collection_commits_status": (given(id="T"), {}),
    "prepare_garbage_collection_uncommitted": (REPO, {}),
    # runs and pull requests
    "list_repository_runs": (REPO, {400: {"branch": "main", "commit": "main"}}),
    "get_run": (given(run_id="R"), {404: {}}),
    "list_run_hooks": (given(run_id="R"), {}),
    "get_run_hook_output": (given(run_id="R", hook_run_id="H"), {404: {}}),
    "list_pull_requests": (REPO, {400: {"status": "elsewhere"}}),
    "create_pull_request": (
        given(
            pull_request_creation=m.PullRequestCreation(title="t", source_branch="dev", destination_branch="clean")
        ),
        {
            400: {
                "pull_request_creation": m.PullRequestCreation(
                    title="t", source_branch="dev", destination_branch="dev"
                )
            },
            404: {
                "pull_request_creation": m.PullRequestCreation(
                    title="t", source_branch="none", destination_branch="main"
                )
            },
        },
    ),
    "get_pull_request": (given(pull_request=lambda s: s.pull()), {400: {"pull_request": "x"}}),
    "update_pull_request": (
        given(pull_request=lambda s: s.pull(), pull_request_basic=m.PullRequestBasic(title="new")),
        {400: {"pull_request": "x"}},
    ),
    "merge_pull_request": (
        given(pull_request=lambda s: s.pull()),
        {
            400: {"pull_request": "x"},
            403: {
                "repository": "contract-read-only",
                "pull_request": lambda s: s.pull("dev", "clean", "contract-read-only"),
            },
            409: {"pull_request": lambda s: s.pull("dev", "clash")},
        },
    ),
    # branches
    "list_branches": (REPO, {400: {"prefix": LONG}}),
    "create_branch": (
        given(branch_creation=m.BranchCreation(name="new", source="main")),
        {
            400: {"branch_creation": m.BranchCreation(name=BAD_BRANCH, source="main")},
            409: {"branch_creation": m.BranchCreation(name="dev", source="main")},
        },
    ),
    "get_branch": (ON("dev"), {400: {"branch": BAD_BRANCH}}),
    "delete_branch": (ON("dev"), {400: {"branch": BAD_BRANCH}, 403: {"branch": "main"}}),
    "reset_branch": (
        given(branch="dirty", reset_creation=m.ResetCreation(type="reset")),
        {400: {"branch": BAD_BRANCH}, 403: {"branch": PROTECTED}},
    ),
    "hard_reset_branch": (
        given(branch="dev", ref="main"),
        {400: {"branch": "dirty"}, 403: {"branch": PROTECTED}},
    ),
    "diff_branch": (ON("dirty"), {400: {"branch": BAD_BRANCH}}),
    "revert_branch": (
        given(branch="dev", revert_creation=m.RevertCreation(ref="dev", parent_number=0)),
        {
            400: {"branch": "dirty"},
            403: {"branch": PROTECTED},
            409: {"branch": "clash", "revert_creation": m.RevertCreation(ref="main", parent_number=0)},
        },
    ),
    "cherry_pick": (
        given(branch="clean", cherry_pick_creation=m.CherryPickCreation(ref="dev")),
        {
            400: {"branch": "dirty"},
            403: {"branch": PROTECTED},
            404: {"branch": "none"},
            409: {"branch": "clash"},
        },
    ),
    "import_start": (
        given(branch="clean", import_creation=lambda s: s.import_body()),
        {403: {"branch": PROTECTED}, 404: {"branch": "none"}},
    ),
    "import_status": (
        given(branch="clean", id=lambda s: s.importing()),
        {404: {"id": "none"}},
    ),
    "import_cancel": (given(branch="clean", id=lambda s: s.importing(files=2000)), {404: {"id": "none"}}),
    # tags
    "list_tags": (REPO, {400: {"prefix": LONG}}),
    "create_tag": (
        given(tag_creation=m.TagCreation(id="t2", ref="main")),
        {
            400: {"tag_creation": m.TagCreation(id="bad tag", ref="main")},
            409: {"tag_creation": m.TagCreation(id="t1", ref="main")},
        },
    ),
    "get_tag": (given(tag="t1"), {400: {"tag": "bad..tag"}, 404: {"tag": "none"}}),
    "delete_tag": (given(tag="t1"), {400: {"tag": "bad..tag"}, 404: {"tag": "none"}}),
    # commits
    "commit": (
        given(branch="dirty", commit_creation=m.CommitCreation(message="m")),
        {400: {"branch": "clean"}, 403: {"branch": PROTECTED}, 404: {"branch": "none"}},
    ),
    "create_commit_record": (
        given(commit_record_creation=lambda s: s.unknown_record()),
        {
            400: {"commit_record_creation": lambda s: s.record(message="another")},
            409: {"commit_record_creation": lambda s: s.record()},
        },
    ),
    "get_commit": (given(commit_id="main"), {400: {"commit_id": BAD_REF}, 404: {"commit_id": "none"}}),
    "log_commits": (given(ref="main"), {400: {"ref": BAD_REF}, 404: {"ref": "none"}}),
    # diff and merge
    "diff_refs": (
        given(left_ref="main", right_ref="dev"),
        {400: {"right_ref": BAD_REF}, 404: {"right_ref": "none"}},
    ),
    "find_merge_base": (
        given(source_ref="dev", destination_branch="main"),
        {400: {"source_ref": BAD_REF}, 404: {"source_ref": "none"}},
    ),
    "merge_into_branch": (
        given(source_ref="dev", destination_branch="main"),
        {
            400: {"merge": m.Merge(strategy="neither")},
            404: {"source_ref": "none"},
            409: {"destination_branch": "clash"},
        },
    ),
    # objects
    "get_object": (
        given(ref="main", path="a/one"),
        {
            206: {"range": "bytes=0-1"},
            304: {"if_none_match": lambda s: s.etag("main", "a/one")},
            400: {"ref": BAD_REF},
            404: {"path": "none"},
            410: {"ref": "clean", "path": lambda s: s.gone()},
            416: {"range": "bytes=100-200"},
        },
    ),
    "head_object": (given(ref="main", path="a/one"), {400: {"ref": BAD_REF}, 404: {"path": "none"}}),
    "stat_object": (
        given(ref="main", path="a/one"),
        {400: {"ref": BAD_REF}, 404: {"path": "none"}},
    ),
    "list_objects": (given(ref="main"), {400: {"ref": BAD_REF}, 404: {"ref": "none"}}),
    "get_underlying_properties": (given(ref="main", path="a/one"), {400: {"ref": BAD_REF}, 404: {"path": "none"}}),
    "upload_object": (
        given(branch="dev", path="new", content=b"x"),
        {
            400: {"branch": BAD_BRANCH},
            403: {"branch": PROTECTED},
            404: {"branch": "none"},
            412: {"path": "a/one", "if_none_match": "*"},
            501: {"if_match": "etag"},
        },
    ),
    "upload_object_preflight": (given(branch="dev", path="new"), {}),
    "stage_object": (
        given(branch="dev", path="a/linked", object_stage_creation=lambda s: s.staged()),
        {
            400: {
                "object_stage_creation": m.ObjectStageCreation(
                    physical_address="s3://bucket/x", checksum="c", size_bytes=1
                )
            },
            403: {"branch": PROTECTED, "object_stage_creation": lambda s: s.staged(PROTECTED)},
        },
    ),
    "delete_object": (
        given(branch="dev", path="a/one"),
        {400: {"branch": BAD_BRANCH}, 403: {"branch": PROTECTED}, 404: {"branch": "none"}},
    ),
    "delete_objects": (
        given(branch="dev", path_list=m.PathList(paths=["a/one"])),
        {400: {"branch": BAD_BRANCH}, 403: {"branch": PROTECTED}, 404: {"branch": "none"}},
    ),
    "copy_object": (
        given(branch="dev", dest_path="copy", object_copy_creation=m.ObjectCopyCreation(src_path="a/one")),
        {400: {"branch": BAD_BRANCH}, 403: {"branch": PROTECTED}, 404: {"branch": "none"}},
    ),
    "update_object_user_metadata": (
        given(branch="dev", path="a/one", update_object_user_metadata=m.UpdateObjectUserMetadata(set={"a": "b"})),
        {400: {"branch": BAD_BRANCH}, 403: {"branch": PROTECTED}, 404: {"path": "none"}},
    ),
    "create_symlink_file": (ON("main"), {}),
    # staging
    "get_physical_address": (given(branch="dev", path="new"), {400: {"branch": BAD_BRANCH}}),
    "link_physical_address": (
        given(branch="dev", path="a/linked", staging_metadata=lambda s: s.linked()),
        {
            400: {
                "staging_metadata": m.StagingMetadata(
                    staging=m.StagingLocation(physical_address="local://elsewhere/x"), checksum="c", size_bytes=1
                )
            },
            403: {"branch": PROTECTED, "staging_metadata": lambda s: s.linked(PROTECTED)},
            412: {
                "if_none_match": "*",
                "path": "a/one",
                "staging_metadata": lambda s: s.linked(path="a/one"),
            },
            501: {"if_match": "etag"},
        },
    ),
    "create_presign_multipart_upload": (given(branch="dev", path="new"), {}),
    "complete_presign_multipart_upload": (given(branch="dev", path="new", upload_id="U"), {}),
    "abort_presign_multipart_upload": (given(branch="dev", path="new", upload_id="U"), {}),
    "upload_part": (
        given(
            branch="dev",
            path="new",
            upload_id="U",
            part_number=1,
            upload_part_from=m.UploadPartFrom(physical_address="x"),
        ),
        {400: {}},
    ),
    "upload_part_copy": (
        given(
            branch="dev",
            path="new",
            upload_id="U",
            part_number=1,
            upload_part_copy_from=lambda s: m.UploadPartCopyFrom(
                physical_address="x", copy_source=m.CopyPartSource(repository=s.repo, ref="main", path="a/one")
            ),
        ),
        {400: {}},
    ),
    # metadata files
    "get_meta_range": (given(meta_range=lambda s: s.first.meta_range_id), {}),
    "get_range": (given(range=lambda s: s.first.meta_range_id), {}),
    "get_metadata_object": (
        given(type="range", object_id=lambda s: s.first.meta_range_id),
        {400: {"type": "tree"}, 410: {"object_id": "abc"}},
    ),
}

FOUND = {}


@pytest.fixture(scope="module")
def nobody(http_server):
    """A key whose user has no policy at all, and the right key with a wrong secret."""
    sdk = http_server.sdk()
    sdk.auth_api.create_user(user_creation=m.UserCreation(id="contract-nobody"))
    keys = sdk.auth_api.create_credentials("contract-nobody")
    body = m.RepositoryCreation(
        name="contract-read-only", storage_namespace="local://contract-read-only", read_only=True
    )
    sdk.repositories_api.create_repository(body)
    for name in ["dev", "clean"]:
        branch = m.BranchCreation(name=name, source="main", force=True)
        sdk.branches_api.create_branch("contract-read-only", branch)
    return http_server.sdk(access_key_id=keys.access_key_id, secret_access_key=keys.secret_access_key)


def call(sdk, operation, arguments):
    """(status, data, body, headers); the SDK reads success with its models, a failure with `Error` here."""
    function = getattr(getattr(sdk, operation.api), f"{operation.name}_with_http_info")
    try:
        answer = function(**arguments)
    except ApiException as failure:
        return failure.status, None, failure.body or "", failure.headers
    return answer.status_code, answer.data, answer.raw_data, answer.headers


def arguments(stage, success, changed):
    made = {name: value(stage) if callable(value) else value for name, value in changed.items()}
    return {**success, **made}


def generic(operation, status, success):
    """Arguments for the failures that most operations have in common; None if there are none."""
    if status == 404:
        if "repository" in operation.parameters:
            return {**success, "repository": MISSING}
        named = [name for name in ("user_id", "group_id", "policy_id") if name in success]
        return {**success, named[0]: "no-such"} if named else None
    if status == 403 and "repository" in operation.parameters:
        return {**success, "repository": "contract-read-only"}
    if status == 400:
        named = [name for name in ("user_id", "group_id", "policy_id") if name in success]
        if named:
            return {**success, named[0]: "a%b"}
        # What no handler sees: a body of another kind, a header that breaks its rule.
        if any(hasattr(value, "to_json") or isinstance(value, list) for value in success.values()):
            return {**success, "_content_type": "application/JSON"}
        return {**success, "_headers": {"Idempotency-Key": "k" * 256}}
    return None


def check_failure(operation, status, answer):
    got, _, body, headers = answer
    assert got == status, f"{operation.name}: {status} is due, answered {got} {body}"
    if status in (206, 304) or operation.method == "HEAD":
        return
    if operation.name == "merge_into_branch" and status == 409:
        assert lakefs_sdk.MergeResult.from_json(body).reference == ""
        return
    if (operation.name, status) == ("internal_delete_branch_protection_rule", 404) and not body:
        return  # API-1.4
    assert headers["Content-Type"] == "application/json", (operation.name, status, headers)
    assert lakefs_sdk.Error.from_json(body).message, (operation.name, status, body)


def test_every_operation_has_its_case():
    assert sorted(CASES) == sorted(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(http_server, nobody, name):
    operation = OPERATIONS[name]
    make, failures = CASES[name]
    stage = Stage(http_server, operation)
    success = make(stage)
    expected, reason = NOT_OFFERED.get(name, (operation.success, ""))
    tested, never = [], {}
    for status in sorted({*operation.failures, *failures}):
        if status in NEVER or (name, status) in NEVER_OF:
            never[status] = NEVER_OF.get((name, status)) or NEVER[status]
            continue
        if expected == 501 and status not in (400, 401) and (status != 404 or "repository" not in success):
            never[status] = reason
            continue
        if status == 401 and name in ("external_principal_login", "sts_login"):
            never[status] = reason
            continue
        refusals = []
        if status == 401 and status not in failures:
            stranger = http_server.sdk(access_key_id=f"AKIAJSTRANGER{stage.n}Q")
            refusals += [call(stranger, operation, success)]
            # A batch answers for each of its items.
            if name not in LOGIN_ENOUGH and name != "delete_objects":
                refusals += [call(nobody, operation, success)]
        if status in failures:
            refusals += [call(stage.sdk, operation, arguments(stage, success, failures[status]))]
        if status not in failures and status != 401 or status == 404 and "repository" in operation.parameters:
            asked = generic(operation, status, success)
            assert asked is not None, f"{name}: no case for {status}"
            refusals += [call(stage.sdk, operation, asked)]
        for answer in refusals:
            check_failure(operation, status, answer)
        tested.append(status)
    got, data, body, headers = call(stage.sdk, operation, success)
    for _ in range(10):
        if (name, got) != ("import_cancel", 409):
            break
        # It had ended already.
        got, data, body, headers = call(stage.sdk, operation, make(stage))
    assert got == expected, f"{name}: {expected} is due, answered {got} {body}"
    if expected < 300:
        model = operation.answers.get(expected)
        assert (data is None) == (not model), (name, data, body)
        if not model and operation.method != "HEAD":
            assert not body, (name, body)
    FOUND[name] = (expected, reason, tested, never)


# The table -------------------------------------------------------------------------------------------------

PAGE = REPOSITORY_ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- contract: made by tests/clients/test_contract.py -->", "<!-- contract: end -->"


def table():
    def line(name):
        expected, reason, tested, never = FOUND[name]
        success = f"{expected}" if expected < 300 else f"{expected}: {reason}"
        left = {}
        for status, why in never.items():
            left.setdefault(why, []).append(str(status))
        left = "; ".join(f"{', '.join(statuses)} ({why})" for why, statuses in left.items() if why != NEVER[429])
        return f"| `{name}` | {success} | {', '.join(map(str, tested))} | {left} |"

    offered = sum(expected < 300 for expected, _, _, _ in FOUND.values())
    failures = sum(len(tested) for _, _, tested, _ in FOUND.values())
    return [
        f"{len(FOUND)} operations of lakefs-sdk {lakefs_sdk.__version__}: {offered} succeed, {failures} kinds of"
        " failure are provoked. 429 is never answered: writes take their turn.",
        "",
        "| operation | success | failures tested | documented and never answered |",
        "|---|---|---|---|",
        *map(line, sorted(FOUND)),
    ]


def test_the_table_of_the_page_is_current():
    if len(FOUND) != len(OPERATIONS):
        pytest.skip("only some operations were tried, or some failed")
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = before + "\n".join([BEGIN, "", *table(), "", END]) + after
    if os.environ.get("MILLPOND_UPDATE_DOCS"):
        PAGE.write_text(made)
    assert made == PAGE.read_text(), "docs/compatibility.md is old: see the top of this file"


# What is no operation --------------------------------------------------------------------------------------


def test_what_is_no_operation_is_404_everywhere(http_server):
    """API-0.4: on every path of the contract."""
    paths = {}
    for operation in OPERATIONS.values():
        paths.setdefault("/api/v1" + re.sub(r"{\w+}", "x", operation.path), set()).add(operation.method)
    headers = {"Authorization": http_server.basic}
    for path, methods in paths.items():
        wrong = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - methods
        asked = [(method, path) for method in sorted(wrong)] + [(method, path + "/") for method in sorted(methods)]
        for method, target in asked:
            answer = send(http_server, method, target, headers)
            # Our own: some paths of the document are not in the SDK.
            if (method, target) in {("GET", "/api/v1/auth/groups/x/acl"), ("POST", "/api/v1/auth/groups/x/acl")}:
                continue
            assert answer.status == 404, (method, target, str(answer))
            if method != "HEAD":
                assert json.loads(answer.body) == {"message": "invalid API endpoint"}, (method, target, answer.body)
        assert send(http_server, "BREW", path, headers).status == 405, path
