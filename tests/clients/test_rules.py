"""Rules and pull requests of a repository through unchanged clients: branch protection at both doors, garbage
collection rules, pull requests."""

import json

import lakefs
import pytest
from botocore.exceptions import ClientError
from harness.expect import refused
from lakefs_sdk import models
from lakefs_sdk.exceptions import ForbiddenException


@pytest.fixture
def sdk(server):
    return server.sdk()


def forbidden():
    """The package has two classes for 403, and passes the SDK's own on in some places."""
    exceptions = lakefs.exceptions
    return pytest.raises((exceptions.ForbiddenException, exceptions.PermissionException, ForbiddenException))


def rules(*patterns):
    return [models.BranchProtectionRule(pattern=pattern) for pattern in patterns]


def test_protection_rules(sdk, repository):
    api, name = sdk.repositories_api, repository.id
    read = lambda: api.get_branch_protection_rules_with_http_info(name)  # noqa: E731
    assert read().data == []
    etag = read().headers["ETag"]
    api.set_branch_protection_rules(name, rules("main", "rel-*"), if_match=etag)
    assert [rule.pattern for rule in read().data] == ["main", "rel-*"]
    with refused(412):
        api.set_branch_protection_rules(name, [], if_match=etag)
    with refused(400, "not a pattern"):
        api.set_branch_protection_rules(name, rules("[a"))
    with refused(404):
        api.get_branch_protection_rules("no-such-repository")
    internal = sdk.internal_api
    internal.create_branch_protection_rule_preflight(name)
    internal.internal_create_branch_protection_rule(name, rules("x")[0])
    assert len(internal.internal_get_branch_protection_rules(name)) == 3
    one = models.InternalDeleteBranchProtectionRuleRequest(pattern="x")
    internal.internal_delete_branch_protection_rule(name, one)
    with refused(404):
        internal.internal_delete_branch_protection_rule(name, one)


def test_a_protected_branch_changes_by_merging_only(server, sdk, repository):
    name, main = repository.id, repository.branch("main")
    main.object("a").upload(b"1")
    main.commit("first")
    dev = repository.branch("dev").create("main")
    dev.object("b").upload(b"2")
    dev.commit("second")
    sdk.repositories_api.set_branch_protection_rules(name, rules("ma*"))
    with forbidden():
        main.object("b").upload(b"2")
    with forbidden():
        main.object("a").delete()
    with forbidden():
        main.commit("empty", allow_empty=True)
    with forbidden():
        main.reset_changes()
    with forbidden():
        main.revert("main")
    with forbidden():
        main.cherry_pick("dev")
    with forbidden():
        dev.object("b").copy("main", "copy")
    with forbidden():
        main.import_data("m").prefix("file:///nowhere", destination="d/").start()
    s3 = server.s3()
    for call, arguments in [
        (s3.put_object, {"Key": "main/b", "Body": b"2"}),
        (s3.delete_object, {"Key": "main/a"}),
        (s3.copy_object, {"Key": "main/b", "CopySource": f"{name}/dev/b"}),
        (s3.create_multipart_upload, {"Key": "main/big"}),
    ]:
        with pytest.raises(ClientError) as caught:
            call(Bucket=name, **arguments)
        assert caught.value.response["Error"]["Code"] == "ErrWriteToProtectedBranch"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert [o.path for o in main.objects()] == ["a"]
    dev.merge_into(main)
    assert [o.path for o in main.objects()] == ["a", "b"]
    # A transaction works on a branch of its own and merges.
    with main.transact(commit_message="by a transaction") as tx:
        tx.object("c").upload(b"3")
    assert main.object("c").reader().read() == b"3"


def test_collection_rules(sdk, repository):
    api, name = sdk.repositories_api, repository.id
    with refused(404):
        api.get_gc_rules(name)
    api.delete_gc_rules(name)
    of_main = models.GarbageCollectionRule(branch_id="main", retention_days=7)
    for given in [
        models.GarbageCollectionRules(default_retention_days=0, branches=[]),
        models.GarbageCollectionRules(default_retention_days=21, branches=[of_main]),
    ]:
        api.set_gc_rules(name, given)
        assert api.get_gc_rules(name) == given
        assert sdk.internal_api.internal_get_garbage_collection_rules(name) == given
    sdk.internal_api.set_garbage_collection_rules_preflight(name)
    api.delete_gc_rules(name)
    with refused(404):
        api.get_gc_rules(name)


def test_protect_verbs(server, repository):
    name = repository.id
    run = lambda *arguments, **more: server.cli("protect", *arguments, **more)  # noqa: E731
    assert json.loads(run("list", name, "-o", "json").stdout) == []
    assert run("add", name, "rel-*").stdout == b"rel-*\n"
    run("add", name, "main")
    assert run("list", name).stdout == b"main\nrel-*\n"
    failed = server.cli("commit", f"{name}/main", "-m", "no", check=False)
    assert failed.returncode == 7 and b"protected branch" in failed.stderr
    run("rm", name, "main")
    failed = run("rm", name, "main", check=False)
    assert failed.returncode == 5 and b"protect list" in failed.stderr
    assert run("add", name, "[", check=False).returncode != 0
    assert run("list", "no-such-repository", check=False).returncode == 5


def test_pull_requests(sdk, repository):
    api, name = sdk.pulls_api, repository.id
    dev = repository.branch("dev").create("main")
    dev.object("a").upload(b"1")
    dev.commit("one")
    creation = models.PullRequestCreation(title="labels", source_branch="dev", destination_branch="main")
    first = api.create_pull_request(name, creation).id
    second = api.create_pull_request(name, creation).id
    pull = api.get_pull_request(name, first)
    assert (pull.status, pull.title, pull.description, pull.author) == ("open", "labels", "", "admin")
    assert [p.id for p in api.list_pull_requests(name).results] == [second, first]
    api.update_pull_request(name, second, models.PullRequestBasic(status="closed", description="twice"))
    assert [p.id for p in api.list_pull_requests(name, status="open").results] == [first]
    page = api.list_pull_requests(name, amount=1)
    assert page.pagination.has_more
    assert [p.id for p in api.list_pull_requests(name, after=page.pagination.next_offset).results] == [first]
    sdk.repositories_api.set_branch_protection_rules(name, rules("main"))
    with refused(400, "bad pull request status"):
        api.merge_pull_request(name, second)
    merged = api.merge_pull_request(name, first).reference
    pull = api.get_pull_request(name, first)
    assert (pull.status, pull.merged_commit_id) == ("merged", merged) and pull.closed_date
    assert repository.branch("main").get_commit().id == merged
    with refused(404):
        api.get_pull_request(name, "00000000000000000000")
    with refused(400):
        api.get_pull_request(name, "00000000000000000001")
    with refused(400):
        api.create_pull_request(
            name, models.PullRequestCreation(title="t", source_branch="main", destination_branch="main")
        )
    # A conflict has a message here.
    dev.object("a").upload(b"2")
    dev.commit("two")
    other = repository.branch("other").create("main")
    other.object("a").upload(b"3")
    other.commit("three")
    other.merge_into("main")
    third = api.create_pull_request(name, creation).id
    with refused(409, "conflict found"):
        api.merge_pull_request(name, third)


def test_pr_verbs(server, repository):
    name = repository.id
    run = lambda *arguments, **more: server.cli("pr", *arguments, **more)  # noqa: E731
    dev = repository.branch("dev").create("main")
    dev.object("a").upload(b"1")
    dev.commit("one")
    first = run("create", f"{name}/dev", "main", "-t", "labels", "-d", "why").stdout.decode().strip()
    second = run("create", f"{name}/dev", "main", "-t", "again").stdout.decode().strip()
    listed = json.loads(run("list", name, "-o", "json").stdout)
    assert [(p["id"], p["title"]) for p in listed] == [(second, "again"), (first, "labels")]
    run("close", name, second)
    assert run("close", name, second, check=False).returncode == 7
    merged = run("merge", name, first).stdout.decode().strip()
    assert repository.branch("main").get_commit().id == merged
    shown = json.loads(run("show", name, first, "-o", "json").stdout)
    assert (shown["status"], shown["merged_commit_id"], shown["description"]) == ("merged", merged, "why")
    failed = run("merge", name, first, check=False)
    assert failed.returncode == 1 and b"pr show" in failed.stderr
    assert run("list", name).stdout == b""
    assert len(run("list", name, "--status", "closed").stdout.splitlines()) == 2
    assert run("show", name, "00000000000000000000", check=False).returncode == 5
