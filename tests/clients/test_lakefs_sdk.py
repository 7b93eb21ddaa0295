"""The generated `lakefs-sdk`, unchanged: what the `lakefs` package does not reach, with exact status codes."""

import contextlib
import datetime
import json

import lakefs_sdk
import pytest
from lakefs_sdk import models
from lakefs_sdk.exceptions import ApiException

from harness.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY


@pytest.fixture
def sdk(server):
    return server.sdk()


@pytest.fixture
def repo(repository):
    return repository.id


@pytest.fixture
def put(sdk, repo):
    def upload(path, content=b"x", branch="main"):
        return sdk.objects_api.upload_object(repo, branch, path, content=content)

    return upload


@pytest.fixture
def commit(sdk, repo, put):
    def upload_and_commit(message, branch="main", **files):
        for path, content in files.items():
            put(path, content, branch)
        return sdk.commits_api.commit(repo, branch, models.CommitCreation(message=message))

    return upload_and_commit


@contextlib.contextmanager
def refused(status, message=""):
    """Expects this status, and a body whose message holds this text."""
    with pytest.raises(ApiException) as caught:
        yield
    assert caught.value.status == status, (caught.value.status, caught.value.body)
    assert not message or message in json.loads(caught.value.body)["message"]


# Server ---------------------------------------------------------------------------------------------------


def test_server(server, sdk):
    assert sdk.health_check_api.health_check() is None
    config = sdk.config_api.get_config()
    assert config.version_config.version_context in ("lakeFS", "", None)
    assert config.storage_config.blockstore_type
    assert config.storage_config.blockstore_namespace_validity_regex
    assert sdk.auth_api.get_current_user().user.id
    status, headers, body = server.api("GET", "/config")
    assert status == 200 and headers["Content-Type"] == "application/json" and headers["X-Request-ID"]
    assert "blockstore_namespace_ValidityRegex" in json.loads(body)["storage_config"]


def bearer(server, token):
    """An SDK client that shows this token."""
    ca = str(server.certificates.ca) if server.certificates else None
    return lakefs_sdk.client.LakeFSClient(lakefs_sdk.Configuration(host=server.url, access_token=token, ssl_ca_cert=ca))


def test_login(server, sdk):
    token = sdk.auth_api.login(
        models.LoginInformation(access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY)
    )
    week = datetime.timedelta(days=7).total_seconds()
    remaining = token.token_expiration - datetime.datetime.now().timestamp()
    assert 0 < remaining <= week + 60
    assert bearer(server, token.token).auth_api.get_current_user().user.id
    with refused(401):
        sdk.auth_api.login(models.LoginInformation(access_key_id=ACCESS_KEY_ID, secret_access_key="wrong"))
    with refused(401):
        bearer(server, token.token[:-6] + "abcdef").repositories_api.list_repositories()


# Repositories ---------------------------------------------------------------------------------------------


def test_repository_errors(sdk, repo):
    api = sdk.repositories_api
    with refused(404, "not found"):
        api.get_repository("no-such-repository")
    with refused(409, "not unique"):
        api.create_repository(models.RepositoryCreation(name=repo, storage_namespace=f"local://{repo}-2"))
    with refused(400):
        api.create_repository(models.RepositoryCreation(name="wrong-store", storage_namespace="s3://bucket/x"))
    with refused(404):
        api.delete_repository("no-such-repository")
    page = api.list_repositories(search=repo[3:])
    assert repo in [r.id for r in page.results] and page.pagination.max_per_page == 1000


def test_read_only_repository(server, sdk):
    name = f"read-only-{server.scheme}"
    made = sdk.repositories_api.create_repository(
        models.RepositoryCreation(name=name, storage_namespace=f"local://{name}", read_only=True)
    )
    assert made.read_only
    with refused(403):
        sdk.objects_api.upload_object(name, "main", "a", content=b"1")
    with refused(403):
        sdk.branches_api.create_branch(name, models.BranchCreation(name="x", source="main"))
    sdk.branches_api.create_branch(name, models.BranchCreation(name="x", source="main", force=True))
    with refused(403):
        sdk.repositories_api.delete_repository(name)
    sdk.repositories_api.delete_repository(name, force=True)
    with refused(404):
        sdk.repositories_api.get_repository(name)


# Refs -----------------------------------------------------------------------------------------------------


def test_branch_calls(sdk, repo, commit):
    made = commit("one", a=b"1")
    api = sdk.branches_api
    assert api.create_branch(repo, models.BranchCreation(name="work", source="main")) == made.id
    got = api.get_branch(repo, "work")
    assert (got.id, got.commit_id) == ("work", made.id)
    page = api.list_branches(repo, amount=1)
    assert [b.id for b in page.results] == ["main"]
    assert (page.pagination.has_more, page.pagination.next_offset, page.pagination.results) == (True, "main", 1)
    rest = api.list_branches(repo, after=page.pagination.next_offset)
    assert [b.id for b in rest.results] == ["work"]
    assert (rest.pagination.has_more, rest.pagination.next_offset) == (False, "")
    with refused(400):
        api.get_branch(repo, "main~1")
    with refused(404):
        api.get_branch(repo, "none")
    with refused(403):
        api.delete_branch(repo, "main")
    with refused(404):
        api.create_branch("no-such-repository", models.BranchCreation(name="x", source="main"))


def test_tag_calls(sdk, repo, commit):
    made = commit("one", a=b"1")
    tag = sdk.tags_api.create_tag(repo, models.TagCreation(id="v1", ref="main"))
    assert (tag.id, tag.commit_id) == ("v1", made.id)
    assert sdk.tags_api.get_tag(repo, "v1").commit_id == made.id
    with refused(409):
        sdk.tags_api.create_tag(repo, models.TagCreation(id="v1", ref="main"))
    with refused(404):
        sdk.tags_api.get_tag(repo, "none")
    with refused(404):
        sdk.tags_api.create_tag(repo, models.TagCreation(id="v2", ref="none"))
    sdk.tags_api.delete_tag(repo, "v1")
    with refused(404):
        sdk.tags_api.delete_tag(repo, "v1")


def test_merge_base_and_commit_lookup(sdk, repo, commit):
    base = commit("base", a=b"1")
    sdk.branches_api.create_branch(repo, models.BranchCreation(name="work", source="main"))
    commit("work", "work", b=b"1")
    commit("main", "main", c=b"1")
    assert sdk.refs_api.find_merge_base(repo, "work", "main").base_commit_id == base.id
    assert sdk.commits_api.get_commit(repo, "main~1").id == base.id
    with refused(404):
        sdk.commits_api.get_commit(repo, "f" * 64)


def test_commit_parts(sdk, repo, put):
    put("a")
    creation = models.CommitCreation(message="m", metadata={"k": "v"}, date=1_700_000_000)
    made = sdk.commits_api.commit(repo, "main", creation)
    assert (made.creation_date, made.metadata, made.generation, made.version) == (1_700_000_000, {"k": "v"}, 2, 1)
    with refused(400):
        sdk.commits_api.commit(repo, "main", models.CommitCreation(message="nothing"))
    with refused(404):
        sdk.commits_api.commit(repo, "none", models.CommitCreation(message="x"))


def test_hard_reset(sdk, repo, commit, put):
    first = commit("one", a=b"1")
    second = commit("two", a=b"2")
    api = sdk.experimental_api
    api.hard_reset_branch(repo, "main", "main~1")
    assert sdk.branches_api.get_branch(repo, "main").commit_id == first.id
    assert sdk.objects_api.get_object(repo, "main", "a") == b"1"
    api.hard_reset_branch(repo, "main", second.id)  # any commit of the repository
    assert sdk.branches_api.get_branch(repo, "main").commit_id == second.id
    with refused(404):
        api.hard_reset_branch(repo, "main", "none")
    with refused(404):
        api.hard_reset_branch(repo, "none", second.id)


def test_log_pages(sdk, repo, commit):
    ids = [commit(f"c{n}", a=b"%d" % n).id for n in range(5)]
    found, after = [], None
    while True:
        page = sdk.refs_api.log_commits(repo, "main", amount=2, **({"after": after} if after else {}))
        found += [c.id for c in page.results]
        if not page.pagination.has_more:
            break
        after = page.pagination.next_offset
        assert after == found[-1]
    assert found[:5] == ids[::-1] and len(found) == 6
    limited = sdk.refs_api.log_commits(repo, "main", amount=2, limit=True)
    assert len(limited.results) == 2 and not limited.pagination.has_more


def test_diff_with_right_stats(sdk, repo, commit):
    left = commit("one", a=b"1", b=b"1")
    sdk.objects_api.delete_object(repo, "main", "b")
    right = commit("two", a=b"22", c=b"3")
    found = sdk.refs_api.diff_refs(repo, left.id, right.id, type="two_dot", include_right_stats=True)
    assert [(d.type, d.path, d.size_bytes) for d in found.results] == [
        ("changed", "a", 2),
        ("removed", "b", 1),
        ("added", "c", 1),
    ]
    assert found.results[0].right.checksum == "b6d767d2f8ed5d21a44b0e5886680cb9"  # MD5 of "22"


def test_revert_and_cherry_pick_codes(sdk, repo, commit):
    commit("one", a=b"1")
    second = commit("two", a=b"2")
    api = sdk.branches_api
    api.revert_branch(repo, "main", models.RevertCreation(ref=second.id, parent_number=0))
    with refused(400):
        api.revert_branch(repo, "main", models.RevertCreation(ref=second.id, parent_number=0))
    api.revert_branch(repo, "main", models.RevertCreation(ref=second.id, parent_number=0, allow_empty=True))
    with refused(404):
        api.revert_branch(repo, "main", models.RevertCreation(ref="none", parent_number=0))
    with refused(404):
        api.cherry_pick(repo, "main", models.CherryPickCreation(ref="none"))
    api.create_branch(repo, models.BranchCreation(name="work", source="main"))
    picked = commit("pick", "work", b=b"1")
    made = api.cherry_pick(
        repo,
        "main",
        models.CherryPickCreation(
            ref=picked.id, commit_overrides=models.CommitOverrides(message="other", metadata={"x": "y"})
        ),
    )
    assert made.message == "other" and made.metadata["x"] == "y"
    assert made.metadata["cherry-pick-origin"] == picked.id


# Objects --------------------------------------------------------------------------------------------------


def test_object_calls(sdk, repo, put):
    stats = put("d/a b+c%/ü", b"12345")
    assert (stats.path, stats.size_bytes, stats.path_type) == ("d/a b+c%/ü", 5, "object")
    namespace = sdk.repositories_api.get_repository(repo).storage_namespace
    assert stats.physical_address.startswith(namespace.rstrip("/") + "/data/")
    api = sdk.objects_api
    path = "d/a b+c%/ü"
    assert api.get_object(repo, "main", path) == b"12345"
    assert api.get_object(repo, "main", path, range="bytes=1-2") == b"23"
    head = api.head_object_with_http_info(repo, "main", path)
    assert head.headers["Content-Length"] == "5" and head.headers["ETag"] == f'"{stats.checksum}"'
    with refused(304):
        api.get_object(repo, "main", path, if_none_match=f'"{stats.checksum}"')
    with refused(416):
        api.get_object(repo, "main", path, range="bytes=5-")
    with refused(404):
        api.get_object(repo, "main", "none")
    with refused(404):
        api.head_object(repo, "none", path)
    with refused(412):
        api.upload_object(repo, "main", path, content=b"other", if_none_match="*")
    assert api.get_object(repo, "main", path) == b"12345"
    assert api.get_underlying_properties(repo, "main", path) is not None
    with refused(400):
        put("x" * 1025)
    assert [o.path for o in api.list_objects(repo, "main").results] == [path]


def test_metadata_of_objects(sdk, repo, put):
    put("a", b"1")
    update = models.UpdateObjectUserMetadata(set={"k": "v", "n": "1"})
    sdk.objects_api.update_object_user_metadata(repo, "main", "a", update)
    assert sdk.objects_api.stat_object(repo, "main", "a").metadata == {"k": "v", "n": "1"}
    assert sdk.objects_api.stat_object(repo, "main", "a", user_metadata=False).metadata == {}
    with refused(404):
        sdk.objects_api.update_object_user_metadata(repo, "main", "none", update)
    sdk.objects_api.upload_object(repo, "main", "a", content=b"1")
    assert sdk.objects_api.stat_object(repo, "main", "a").metadata == {}


def test_copy_codes(sdk, repo, put, commit):
    first = commit("one", a=b"1")
    api = sdk.objects_api
    copied = api.copy_object(repo, "main", "b", models.ObjectCopyCreation(src_path="a"))
    assert (copied.path, copied.size_bytes) == ("b", 1)
    api.copy_object(repo, "main", "c", models.ObjectCopyCreation(src_path="a", src_ref=first.id))
    with refused(404):
        api.copy_object(repo, "main", "x", models.ObjectCopyCreation(src_path="none"))
    with refused(404):
        api.copy_object(repo, "none", "x", models.ObjectCopyCreation(src_path="a", src_ref="main"))
    assert [o.path for o in api.list_objects(repo, "main").results] == ["a", "b", "c"]


def test_delete_objects(sdk, repo, put):
    for n in range(5):
        put(f"d/{n}")
    done = sdk.objects_api.delete_objects(repo, "main", models.PathList(paths=["d/0", "d/1", "never/was"]))
    assert not done.errors
    assert [o.path for o in sdk.objects_api.list_objects(repo, "main").results] == ["d/2", "d/3", "d/4"]
    with refused(400):
        sdk.objects_api.delete_objects(repo, "main", models.PathList(paths=[f"p{n}" for n in range(1001)]))
    sdk.objects_api.delete_object(repo, "main", "d/2")
    sdk.objects_api.delete_object(repo, "main", "d/2")
    assert [o.path for o in sdk.objects_api.list_objects(repo, "main").results] == ["d/3", "d/4"]


def test_listing_pages(sdk, repo, put):
    paths = [f"{a}/{b}" for a in "abc" for b in range(3)]
    for path in paths:
        put(path)
    api = sdk.objects_api
    page = api.list_objects(repo, "main", amount=4)
    assert [o.path for o in page.results] == paths[:4]
    assert (page.pagination.has_more, page.pagination.next_offset) == (True, paths[3])
    assert len(api.list_objects(repo, "main", amount=0).results) == 9
    folded = api.list_objects(repo, "main", delimiter="/", amount=2)
    assert [(o.path, o.path_type) for o in folded.results] == [("a/", "common_prefix"), ("b/", "common_prefix")]
    rest = api.list_objects(repo, "main", delimiter="/", after="b/")
    assert [o.path for o in rest.results] == ["c/"]
    inside = api.list_objects(repo, "main", delimiter="/", after="b/1")
    assert [o.path for o in inside.results] == ["b/", "c/"]
    assert api.list_objects(repo, "main", prefix="none").results == []
    with refused(404):
        api.list_objects(repo, "none")


def test_openapi_document(server):
    connection = server.connection()
    connection.request("GET", "/openapi.json")
    document = json.loads(connection.getresponse().read())
    assert document["openapi"].startswith("3.")
    assert "/repositories/{repository}/branches/{branch}/commits" in document["paths"] or (
        "/api/v1/repositories/{repository}/branches/{branch}/commits" in document["paths"]
    )
