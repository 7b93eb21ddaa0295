"""Users, groups, policies and keys through unchanged clients, and what people with the default policies may do at both
doors."""

import contextlib
import itertools
import json

import lakefs
import pytest
from botocore.exceptions import ClientError
from harness.expect import refused
from lakefs_sdk import models

_numbers = itertools.count(1)


@contextlib.contextmanager
def s3_denied(code="AccessDenied"):
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) in [(403, code), (403, "403")]


@pytest.fixture
def api(server):
    return server.sdk().auth_api


@pytest.fixture
def name():
    return f"user-{next(_numbers)}"


def statement(effect, action, resource):
    return models.Statement(effect=effect, action=action, resource=resource)


def ids(page):
    return [item.id for item in page.results]


class Person:
    """A user and every client with the user's key."""

    def __init__(self, server, name, *groups):
        self.server, self.name = server, name
        auth = server.sdk().auth_api
        auth.create_user(user_creation=models.UserCreation(id=name))
        for group in groups:
            auth.add_group_membership(group, name)
        made = auth.create_credentials(name)
        self.key = {"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key}
        self.sdk, self.s3 = server.sdk(**self.key), server.s3(**self.key)

    def repository(self, name):
        return lakefs.Repository(name, client=self.server.lakefs(**self.key))

    def cli(self, *arguments, **more):
        return self.server.cli(
            *arguments,
            "--access-key-id",
            self.key["access_key_id"],
            "--secret-access-key",
            self.key["secret_access_key"],
            **more,
        )


def test_users_and_keys(api, name):
    made = api.create_user(user_creation=models.UserCreation(id=name))
    assert made.id == name and made.creation_date > 0
    assert api.get_user(name) == made
    with refused(409, "Already exists"):
        api.create_user(user_creation=models.UserCreation(id=name))
    for bad in ("", "a%b", "a/b"):
        with refused(400):
            api.create_user(user_creation=models.UserCreation(id=bad))
    with refused(400):
        api.create_user()
    assert name in ids(api.list_users(prefix=name))
    first, second = api.create_credentials(name), api.create_credentials(name)
    listed = [key.access_key_id for key in api.list_user_credentials(name).results]
    assert sorted(listed) == sorted([first.access_key_id, second.access_key_id])
    assert len(api.list_user_credentials(name, amount=1).results) == 1
    assert api.get_credentials(name, first.access_key_id).access_key_id == first.access_key_id
    for wrong in ("admin", "nobody"):
        with refused(404):
            api.get_credentials(wrong, first.access_key_id)
        with refused(404):
            api.delete_credentials(wrong, first.access_key_id)
    api.delete_credentials(name, first.access_key_id)
    with refused(404):
        api.delete_credentials(name, first.access_key_id)
    with refused(404):
        api.create_credentials("nobody")
    with refused(404):
        api.list_user_credentials("nobody")
    api.delete_user(name)
    for call in (api.delete_user, api.get_user):
        with refused(404, "user not found"):
            call(name)


def test_groups(api, name):
    group = f"group-of-{name}"
    made = api.create_group(group_creation=models.GroupCreation(id=group))
    assert made.id == group and api.get_group(group).id == group
    with refused(409, "Already exists"):
        api.create_group(group_creation=models.GroupCreation(id=group))
    with refused(400):
        api.create_group(group_creation=models.GroupCreation(id="a%b"))
    assert {"Admins", "Developers", "SuperUsers", "Viewers", group} <= set(ids(api.list_groups()))
    api.create_user(user_creation=models.UserCreation(id=name))
    api.add_group_membership(group, name)
    with refused(409):
        api.add_group_membership(group, name)
    with refused(404):
        api.add_group_membership(group, "nobody")
    with refused(404):
        api.add_group_membership("none", name)
    assert ids(api.list_group_members(group)) == [name]
    assert ids(api.list_user_groups(name)) == [group]
    api.attach_policy_to_group(group, "FSReadAll")
    with refused(409):
        api.attach_policy_to_group(group, "FSReadAll")
    with refused(404):
        api.attach_policy_to_group(group, "none")
    assert ids(api.list_group_policies(group)) == ["FSReadAll"]
    assert ids(api.list_user_policies(name)) == []
    assert ids(api.list_user_policies(name, effective=True)) == ["FSReadAll"]
    api.detach_policy_from_group(group, "FSReadAll")
    api.detach_policy_from_group(group, "FSReadAll")
    with refused(404):
        api.detach_policy_from_group(group, "none")
    api.delete_group_membership(group, name)
    with refused(404):
        api.delete_group_membership(group, "nobody")
    api.delete_group(group)
    for call in (api.get_group, api.delete_group, api.list_group_members, api.list_group_policies):
        with refused(404):
            call(group)


def test_policies(api, name):
    policy = models.Policy(id=f"policy-of-{name}", statement=[statement("allow", ["fs:Read*"], "*")])
    made = api.create_policy(policy)
    assert (made.id, made.statement) == (policy.id, policy.statement) and made.creation_date
    with refused(409):
        api.create_policy(policy)
    changed = models.Policy(id=policy.id, statement=[statement("deny", ["fs:Write*"], "arn:lakefs:fs:::repository/x")])
    api.update_policy(policy.id, changed)
    assert api.get_policy(policy.id).statement == changed.statement
    with refused(400, "can't update policy id"):
        api.update_policy("another", policy)
    with refused(404):
        api.update_policy("none", models.Policy(id="none", statement=policy.statement))
    for bad in (
        statement("allow", ["*"], "*"),
        statement("allow", ["fs:Raed"], "*"),
        statement("allow", ["fs:Read*"], "repository/x"),
    ):
        with refused(400, "statement 1"):
            api.create_policy(models.Policy(id="bad", statement=[bad]))
    assert "FSFullAccess" in ids(api.list_policies(prefix="FS"))
    api.create_user(user_creation=models.UserCreation(id=name))
    api.attach_policy_to_user(name, policy.id)
    with refused(409):
        api.attach_policy_to_user(name, policy.id)
    with refused(404):
        api.attach_policy_to_user("nobody", policy.id)
    assert ids(api.list_user_policies(name)) == [policy.id]
    api.detach_policy_from_user(name, policy.id)
    with refused(404):
        api.detach_policy_from_user("nobody", policy.id)
    api.delete_policy(policy.id)
    for call in (api.get_policy, api.delete_policy):
        with refused(404):
            call(policy.id)


def test_external_principals(server, api, name):
    external = server.sdk().external_api
    api.create_user(user_creation=models.UserCreation(id=name))
    principal = f"arn:aws:iam::1:role/{name}"
    external.create_user_external_principal(name, principal)
    with refused(409):
        external.create_user_external_principal(name, principal)
    assert external.get_external_principal(principal).user_id == name
    assert ids(external.list_user_external_principals(name)) == [principal]
    external.delete_user_external_principal(name, principal)
    with refused(404):
        external.get_external_principal(principal)


def test_a_viewer_reads_and_a_developer_writes(server, repository, name):
    """What is allowed works, and what is denied is denied, through lakefs, boto3 and the command line."""
    id = repository.id
    repository.branch("main").object("a").upload(b"1")
    repository.branch("main").commit("first")
    viewer, developer = Person(server, f"{name}-v", "Viewers"), Person(server, f"{name}-d", "Developers")

    for person in (viewer, developer):
        main = person.repository(id).branch("main")
        assert main.object("a").reader().read() == b"1"
        assert [o.path for o in main.objects()] == ["a"]
        assert person.s3.get_object(Bucket=id, Key="main/a")["Body"].read() == b"1"
        assert person.s3.list_objects_v2(Bucket=id, Prefix="main/")["KeyCount"] == 1
        assert id in [bucket["Name"] for bucket in person.s3.list_buckets()["Buckets"]]
        assert person.cli("cat", f"{id}/main/a").stdout == b"1"
        # Their own keys and nobody else's.
        assert person.sdk.auth_api.create_credentials(person.name).secret_access_key
        for call in (person.sdk.auth_api.list_users, person.sdk.auth_api.list_policies):
            with refused(401, "insufficient permissions"):
                call()
        with refused(401):
            person.sdk.auth_api.create_credentials("admin")
        with refused(401):
            person.sdk.auth_api.add_group_membership("Admins", person.name)
        with refused(401):
            person.sdk.repositories_api.delete_repository(id)
        with refused(401):
            person.sdk.repositories_api.set_branch_protection_rules(id, [])
        assert person.cli("auth", "users", "list", check=False).returncode == 4

    main = viewer.repository(id).branch("main")
    with pytest.raises(lakefs.exceptions.NotAuthorizedException):
        main.object("b").upload(b"2")
    with pytest.raises(lakefs.exceptions.NotAuthorizedException):
        main.object("a").delete()
    with pytest.raises(lakefs.exceptions.NotAuthorizedException):
        viewer.repository(id).branch("dev").create("main")
    with s3_denied():
        viewer.s3.put_object(Bucket=id, Key="main/b", Body=b"2")
    with s3_denied():
        viewer.s3.delete_object(Bucket=id, Key="main/a")
    with s3_denied():
        viewer.s3.copy_object(Bucket=id, Key="main/b", CopySource=f"{id}/main/a")
    with s3_denied():
        viewer.s3.create_multipart_upload(Bucket=id, Key="main/b")
    deleted = viewer.s3.delete_objects(Bucket=id, Delete={"Objects": [{"Key": "main/a"}]})
    assert [error["Code"] for error in deleted["Errors"]] == ["AccessDenied"]
    assert viewer.cli("rm", f"{id}/main/a", "-y", check=False).returncode == 4
    assert [o.path for o in repository.branch("main").objects()] == ["a"]

    main = developer.repository(id).branch("main")
    main.object("b").upload(b"2")
    developer.s3.put_object(Bucket=id, Key="main/c", Body=b"3")
    developer.s3.copy_object(Bucket=id, Key="main/d", CopySource=f"{id}/main/a")
    developer.cli("cp", "-", f"mp://{id}/main/e", stdin=b"5")
    assert main.commit("by a developer").get_commit().committer == developer.name
    developer.repository(id).branch("dev").create("main")
    developer.s3.delete_object(Bucket=id, Key="main/b")
    assert [o.path for o in main.objects()] == ["a", "c", "d", "e"]


def test_a_denial_covers_both_doors_and_one_prefix(server, repository, api, name):
    id = repository.id
    for path in ("open/a", "closed/a"):
        repository.branch("main").object(path).upload(b"1")
    person = Person(server, name, "Developers")
    object_of = f"arn:lakefs:fs:::repository/{id}/object/"
    deny = statement("deny", ["fs:ReadObject", "fs:WriteObject"], f"{object_of}closed/*")
    api.create_policy(models.Policy(id=f"closed-to-{name}", statement=[deny]))
    api.attach_policy_to_user(name, f"closed-to-{name}")
    main = person.repository(id).branch("main")
    assert main.object("open/a").reader().read() == b"1"
    for path in ("closed/a", "closed/none"):
        with s3_denied():
            person.s3.get_object(Bucket=id, Key=f"main/{path}")
        with pytest.raises(lakefs.exceptions.NotAuthorizedException):
            main.object(path).reader().read()
    # Neither side of a copy goes round it.
    for source, target in (("closed/a", "open/b"), ("open/a", "closed/b")):
        with s3_denied():
            person.s3.copy_object(Bucket=id, Key=f"main/{target}", CopySource=f"{id}/main/{source}")
        with pytest.raises(lakefs.exceptions.NotAuthorizedException):
            main.object(source).copy("main", target)
    explained = server.cli("auth", "explain", name, "fs:ReadObject", f"{object_of}closed/a", check=False)
    assert explained.returncode == 4 and f"statement 1 of policy closed-to-{name} denies".encode() in explained.stdout
    api.detach_policy_from_user(name, f"closed-to-{name}")
    assert person.s3.get_object(Bucket=id, Key="main/closed/a")["Body"].read() == b"1"


def test_repositories_are_shown_to_who_may_see_them(server, repository, api, name):
    person = Person(server, name)
    with refused(401, "fs:ListRepositories"):
        person.sdk.repositories_api.list_repositories()
    own = statement("allow", ["fs:ListRepositories", "fs:ReadRepository"], f"arn:lakefs:fs:::repository/{repository.id}")
    api.create_policy(models.Policy(id=f"sees-{name}", statement=[own]))
    api.attach_policy_to_user(name, f"sees-{name}")
    assert ids(person.sdk.repositories_api.list_repositories()) == [repository.id]
    assert [bucket["Name"] for bucket in person.s3.list_buckets()["Buckets"]] == [repository.id]
    for other in ("no-such-repository", "repository-0"):
        with refused(401):
            person.sdk.repositories_api.get_repository(other)


def test_a_deleted_user_is_out_everywhere(server, repository, api, name):
    person = Person(server, name, "Viewers")
    login = models.LoginInformation(**person.key)
    token = api.login(login).token
    bearer = {"Authorization": f"Bearer {token}"}
    assert server.api("GET", "/repositories", headers=bearer)[0] == 200
    assert person.s3.list_buckets()["Buckets"]
    api.delete_user(name)
    assert server.api("GET", "/repositories", headers=bearer)[0] == 401
    with s3_denied("InvalidAccessKeyId"):
        person.s3.list_buckets()
    with refused(401):
        person.sdk.repositories_api.list_repositories()
    # The next of that name has none of it.
    Person(server, name, "Viewers")
    assert server.api("GET", "/repositories", headers=bearer)[0] == 401
    with s3_denied("InvalidAccessKeyId"):
        person.s3.list_buckets()


def test_auth_verbs(server, name):
    run = lambda *arguments, **more: server.cli("auth", *arguments, **more)  # noqa: E731
    assert run("users", "create", name, "--group", "Viewers").stdout == f"{name}\n".encode()
    assert run("users", "create", name, check=False).returncode == 6
    assert run("users", "create", "other", "--group", "none", check=False).returncode == 5
    shown = json.loads(run("users", "show", name, "-o", "json").stdout)
    assert shown["groups"] == ["Viewers"] and "FSReadAll" in shown["policies"]
    assert f"{name}\t".encode() in run("users", "list", "--prefix", name).stdout
    key = json.loads(run("keys", "create", name, "-o", "json").stdout)
    assert key["access_key_id"].encode() in run("keys", "list", name).stdout
    run("keys", "delete", key["access_key_id"], "--user", name, "-y")
    assert run("keys", "list", name).stdout == b""
    assert run("keys", "list").stdout

    policy, group = f"policy-{name}", f"group-{name}"
    document = {"statement": [{"effect": "allow", "action": ["fs:Read*"], "resource": "*"}]}
    words = json.dumps(document).encode()
    assert run("policies", "create", policy, "-", stdin=words).stdout == f"{policy}\n".encode()
    document["statement"][0]["action"] = ["fs:Raed*"]
    failed = run("policies", "update", policy, "-", stdin=json.dumps(document).encode(), check=False)
    assert failed.returncode == 1 and b"statement 1" in failed.stderr
    assert run("policies", "update", policy, "-", stdin=b"{}", check=False).returncode == 2
    assert json.loads(run("policies", "show", policy).stdout)["statement"][0]["action"] == ["fs:Read*"]
    run("groups", "create", group, "--description", "of a test")
    run("policies", "attach", policy, "--group", group)
    assert policy.encode() in run("policies", "list", "--group", group).stdout
    run("groups", "add-member", group, name)
    assert f"{name}\t".encode() in run("groups", "members", group).stdout
    assert policy.encode() in run("policies", "list", "--user", name).stdout
    explained = run("explain", name, "fs:ReadRepository", "demo")
    assert b"allows it (through group" in explained.stdout
    explained = json.loads(run("explain", name, "fs:CreateBranch", "demo", "-o", "json", check=False).stdout)
    assert (explained["allowed"], explained["because"]) == (False, "no-statement")
    run("groups", "remove-member", group, name)
    run("policies", "detach", policy, "--group", group)
    run("policies", "delete", policy, "-y")
    run("groups", "delete", group, "-y")
    run("users", "delete", name, "-y")
    assert run("users", "show", name, check=False).returncode == 5


def test_the_master_key_is_exchanged(own_server, name):
    server = own_server
    person = Person(server, name, "Viewers")
    file = server.directory / "master.key"
    before = file.read_bytes()
    assert person.cli("auth", "rotate-master-key", "-y", check=False).returncode == 4
    assert file.read_bytes() == before
    server.cli("auth", "rotate-master-key", "-y")
    assert file.read_bytes() != before and not file.with_name("master.key.new").exists()
    person.s3.list_buckets()
    server.kill()
    server.start()
    person.s3.list_buckets()
    # The earlier key opens nothing any more.
    server.kill()
    after = file.read_bytes()
    file.write_bytes(before)
    with pytest.raises(RuntimeError, match="master key"):
        server.start()
    file.write_bytes(after)
    server.start()
