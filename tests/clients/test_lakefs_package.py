"""The `lakefs` package, unchanged, through every operation it has for repositories, refs, commits and objects."""

import hashlib
import io
import time

import lakefs
import pytest
from lakefs.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotAuthorizedException,
    NotFoundException,
    ObjectExistsException,
    ObjectNotFoundException,
    TransactionException,
)


@pytest.fixture
def main(repository):
    return repository.branch("main")


def write(branch, **files):
    """Uploads {path: text}; `__` in a name stands for a slash."""
    for name, text in files.items():
        branch.object(name.replace("__", "/")).upload(text)


def commit(branch, message, **files):
    write(branch, **files)
    return branch.commit(message)


def tree(ref):
    """{path: content} of a ref."""
    return {o.path: ref.object(o.path).reader().read() for o in ref.objects()}


def changes(items):
    return [(c.type, c.path) for c in items]


# Server ---------------------------------------------------------------------------------------------------


def test_configuration(server):
    client = server.lakefs()
    assert client.version and all(part.isdigit() for part in client.version.split("."))
    assert client.storage_config.pre_sign_support in (True, False)
    assert client.storage_config.default_namespace_prefix


def test_wrong_keys(server):
    wrong = server.lakefs(secret_access_key="not the secret")
    with pytest.raises(NotAuthorizedException):
        list(lakefs.repositories(client=wrong))
    unknown = server.lakefs(access_key_id="AKIAJNOBODYNOBODYNQ")
    with pytest.raises(NotAuthorizedException):
        list(lakefs.repositories(client=unknown))
    assert list(lakefs.repositories(client=server.lakefs())) is not None


# Repositories ---------------------------------------------------------------------------------------------


def test_repositories(server):
    client = server.lakefs()
    names = [f"many-{server.scheme}-{n}" for n in range(4)]
    for name in names:
        server.new_repository(name)
    assert [r.id for r in lakefs.repositories(client=client, prefix=f"many-{server.scheme}-")] == names
    assert [r.id for r in lakefs.repositories(client=client, prefix="many-", after=names[1], amount=1)][:2] == names[
        2:4
    ]
    repository = lakefs.Repository(names[0], client=client)
    properties = repository.properties
    assert (properties.id, properties.default_branch) == (names[0], "main")
    assert properties.storage_namespace == f"local://{names[0]}"
    assert abs(properties.creation_date - time.time()) < 600
    with pytest.raises(ConflictException):
        repository.create(storage_namespace=f"local://{names[0]}-again")
    assert repository.create(storage_namespace="local://x", exist_ok=True).properties.id == names[0]
    assert repository.metadata == {}
    repository.delete()
    with pytest.raises(NotFoundException):
        lakefs.Repository(names[0], client=client).properties
    with pytest.raises(NotFoundException):
        repository.delete()
    assert [r.id for r in lakefs.repositories(client=client, prefix=f"many-{server.scheme}-")] == names[1:]


def test_a_deleted_repository_leaves_nothing_to_its_name(server):
    first = server.new_repository(f"again-{server.scheme}")
    commit(first.branch("main"), "one", a="1")
    first.tag("v1").create("main")
    first.delete()
    second = lakefs.Repository(first.id, client=server.lakefs()).create(storage_namespace=f"local://{first.id}-2")
    assert tree(second.branch("main")) == {}
    assert list(second.tags()) == []
    assert len(list(second.branch("main").log())) == 1


def test_another_default_branch(server):
    repository = server.new_repository(f"trunk-{server.scheme}", default_branch="trunk")
    assert repository.properties.default_branch == "trunk"
    assert [b.id for b in repository.branches()] == ["trunk"]
    with pytest.raises(ForbiddenException):
        repository.branch("trunk").delete()


# Branches and tags ----------------------------------------------------------------------------------------


def test_branches(repository, main):
    first = commit(main, "one", a="1").id
    write(main, staged="not committed")
    work = repository.branch("work").create("main")
    assert work.head.id == first
    assert tree(work) == {"a": b"1"}  # what is staged on the source does not come along
    with pytest.raises(ConflictException):
        repository.branch("work").create("main")
    assert repository.branch("work").create("main", exist_ok=True).id == "work"
    for name in ("b1", "b2", "b3"):
        repository.branch(name).create(first)
    assert [b.id for b in repository.branches()] == ["b1", "b2", "b3", "main", "work"]
    assert [b.id for b in repository.branches(prefix="b", amount=2)] == ["b1", "b2", "b3"]
    assert [b.id for b in repository.branches(after="b2")] == ["b3", "main", "work"]
    assert [b.id for b in repository.branches(max_amount=2)] == ["b1", "b2"]
    repository.branch("ghost").create("main", hidden=True)
    assert "ghost" not in [b.id for b in repository.branches()]
    assert "ghost" in [b.id for b in repository.branches(show_hidden=True)]
    assert repository.branch("ghost").head.id == first
    work.delete()
    with pytest.raises(NotFoundException):
        work.head
    with pytest.raises(NotFoundException):
        work.delete()
    with pytest.raises(ForbiddenException):
        main.delete()
    with pytest.raises(NotFoundException):
        repository.branch("x").create("no-such-ref")
    for bad in ("a/b", "a b", "dot.dot", "til~de", "ä", "-x"):
        with pytest.raises(BadRequestException):
            repository.branch(bad).create("main")


def test_tags(repository, main):
    first = commit(main, "one", a="1").id
    second = commit(main, "two", a="2").id
    v1 = repository.tag("v1.0").create(first)
    assert v1.get_commit().id == first
    repository.tag("v2.0").create("main")
    commit(main, "three", a="3")
    assert repository.tag("v2.0").get_commit().id == second  # a tag does not move
    repository.tag("20261122").create("main~1")
    assert [t.id for t in repository.tags()] == ["20261122", "v1.0", "v2.0"]
    assert [t.id for t in repository.tags(prefix="v")] == ["v1.0", "v2.0"]
    assert [t.id for t in repository.tags(after="v1.0")] == ["v2.0"]
    with pytest.raises(ConflictException):
        repository.tag("v1.0").create("main")
    assert repository.tag("v1.0").create("main", exist_ok=True).get_commit().id == first
    with pytest.raises(ConflictException):
        repository.tag("main").create("main")  # a branch has this name
    with pytest.raises(ConflictException):
        repository.branch("20261122").create("main")
    with pytest.raises(NotFoundException):
        repository.tag("x").create("no-such-ref")
    for bad in ("a b", "a..b", "x.lock", "end.", "a/b", "ca^ret", "col:on"):
        with pytest.raises(BadRequestException):
            repository.tag(bad).create("main")
    v1.delete()
    with pytest.raises(NotFoundException):
        v1.get_commit()
    with pytest.raises(NotFoundException):
        v1.delete()


def test_ref_expressions(repository, main):
    ids = [commit(main, f"c{n}", a=str(n)).id for n in range(4)]
    work = repository.branch("work").create(ids[1])
    side = commit(work, "side", b="1").id
    merged = work.merge_into("main")
    write(main, a="staged")

    def resolve(expression):
        return repository.ref(expression).get_commit().id

    expected = {
        "main": merged,
        "main@": merged,
        "main~0": merged,
        "main^": ids[3],
        "main^1": ids[3],
        "main^2": side,
        "main~1": ids[3],
        "main~2": ids[2],
        "main^2~1": ids[1],
        "main^^": ids[2],
        merged: merged,
        merged[:10]: merged,
        f"{merged}~1": ids[3],
    }
    assert {e: resolve(e) for e in expected} == expected
    assert repository.ref("main").object("a").reader().read() == b"staged"
    assert repository.ref("main$").object("a").reader().read() == b"staged"
    assert repository.ref("main@").object("a").reader().read() == b"3"
    assert repository.ref("main~2").object("a").reader().read() == b"2"
    for missing in ("main~99", "nothing", "deadbeef"):
        with pytest.raises(NotFoundException):
            resolve(missing)
    for bad in ("main^3", "main~x", "main@1"):
        with pytest.raises((BadRequestException, NotFoundException)):
            list(repository.ref(bad).objects())


# Commits and log ------------------------------------------------------------------------------------------


def test_commit(repository, main):
    root = main.get_commit()
    assert (root.message, root.parents or []) == ("Repository created", [])
    write(main, a="1")
    ref = main.commit("Überschrift\nsecond line", metadata={"k": "v", "ü": "ö"})
    made = ref.get_commit()
    assert (made.message, made.metadata) == ("Überschrift\nsecond line", {"k": "v", "ü": "ö"})
    assert made.parents == [root.id] and len(made.id) == 64 and made.committer and made.meta_range_id
    assert abs(made.creation_date - time.time()) < 600
    assert list(main.uncommitted()) == []
    with pytest.raises(BadRequestException):
        main.commit("nothing to commit")
    write(main, a="1")  # equal bytes are no change
    assert list(main.uncommitted()) == []
    with pytest.raises(BadRequestException):
        main.commit("still nothing")
    empty = main.commit("on purpose", allow_empty=True).get_commit()
    assert empty.parents == [made.id] and empty.meta_range_id == made.meta_range_id
    dated = main.commit("dated", allow_empty=True, date=1_600_000_000).get_commit()
    assert dated.creation_date == 1_600_000_000
    with pytest.raises(NotFoundException):
        repository.branch("none").commit("x")


def test_log(repository, main):
    root = main.head.id
    a = commit(main, "a", a__1="1").id
    b = commit(main, "b", b__1="1").id
    work = repository.branch("work").create(a)
    w = commit(work, "w", a__2="1").id
    m = work.merge_into("main")
    c = commit(main, "c", a__1="2").id

    def log(**more):
        return [x.id for x in main.log(**more)]

    everything = log()
    assert set(everything) == {c, m, w, b, a, root} and len(everything) == 6
    assert everything.index(c) < everything.index(m) < everything.index(a) < everything.index(root)
    assert log(amount=2) == everything
    assert log(max_amount=3) == everything[:3]
    assert log(first_parent=True) == [c, m, b, a, root]
    assert log(objects=["a/1"]) == [c, a]
    assert set(log(prefixes=["a/"])) == {c, w, a}
    assert log(objects=["b/1"], prefixes=["none/"]) == [b]
    assert log(after=everything[1]) == everything[2:]
    assert log(stop_at=a, first_parent=True) == [c, m, b, a]
    assert log(since="2001-01-01T00:00:00Z") == everything
    assert log(since="2099-01-01T00:00:00Z") == []
    assert [x.id for x in repository.ref(a).log()] == [a, root]
    with pytest.raises(NotFoundException):
        list(repository.ref("none").log())


# Diff -----------------------------------------------------------------------------------------------------


def test_diff_kinds(repository, main):
    base = commit(main, "base", keep="1", change="1", remove="1", d__1="1", d__2="1", both="0").id
    work = repository.branch("work").create("main")
    work.object("remove").delete()
    write(work, change="2", add="1", d__3="1", both="work")
    uncommitted = [
        ("added", "add"),
        ("changed", "both"),
        ("changed", "change"),
        ("added", "d/3"),
        ("removed", "remove"),
    ]
    assert changes(work.uncommitted()) == uncommitted
    assert changes(work.uncommitted(prefix="d/")) == [("added", "d/3")]
    assert changes(work.uncommitted(after="change", max_amount=1)) == [("added", "d/3")]
    assert ("prefix_changed", "d/") in changes(work.uncommitted(delimiter="/"))
    head = work.commit("work").id
    assert changes(repository.ref(base).diff(head, type="two_dot")) == uncommitted
    assert changes(repository.ref(head).diff(base, type="two_dot"))[0] == ("removed", "add")
    assert changes(main.diff("work")) == uncommitted  # three-dot by default
    assert changes(main.diff("work", amount=2)) == uncommitted  # pages of two
    assert changes(main.diff("work", prefix="d/")) == [("added", "d/3")]
    assert [(c.type, c.path, c.path_type) for c in main.diff("work", delimiter="/")][3] == (
        "prefix_changed",
        "d/",
        "common_prefix",
    )
    commit(main, "main goes on", both="main", only_main="1")
    three = changes(main.diff("work"))
    assert ("conflict", "both") in three and ("removed", "only_main") not in three
    two = changes(main.diff("work", type="two_dot"))
    assert ("removed", "only_main") in two and ("changed", "both") in two
    assert changes(main.diff("main")) == []
    write(work, staged="1")
    assert ("added", "staged") in changes(repository.ref("main").diff("work$", type="two_dot"))
    for left, right in (("main", "none"), ("none", "main")):
        with pytest.raises(NotFoundException):
            list(repository.ref(left).diff(right))


# Merge ----------------------------------------------------------------------------------------------------


@pytest.fixture
def conflict(repository, main):
    """`work` and `main` both changed `clash`; `work` removed `gone`, which `main` changed; each added a file."""
    commit(main, "base", clash="base", gone="base", calm="base")
    work = repository.branch("work").create("main")
    work.object("gone").delete()
    commit(work, "work", clash="work", of_work="1")
    commit(main, "main", clash="main", gone="main", of_main="1")
    return work


def test_merge(repository, main):
    base = commit(main, "base", a="1").id
    work = repository.branch("work").create("main")
    source = commit(work, "work", b="2").id
    made = repository.ref(work.merge_into(main)).get_commit()
    assert made.parents == [base, source]  # never a fast forward
    assert made.message == "Merge 'work' into 'main'"
    assert made.metadata[".lakefs.merge.strategy"] == "default"
    assert tree(main) == {"a": b"1", "b": b"2"}
    with pytest.raises(BadRequestException):
        work.merge_into("main")  # no changes
    again = work.merge_into("main", allow_empty=True, message="told so", metadata={"k": "v"})
    told = repository.ref(again).get_commit()
    assert told.message == "told so" and told.metadata["k"] == "v"
    write(main, dirty="1")
    commit(work, "more", c="3")
    with pytest.raises(BadRequestException):
        work.merge_into("main")  # uncommitted changes on the destination
    main.reset_changes()
    write(work, staged="ignored by merge")
    work.merge_into("main")
    assert tree(main) == {"a": b"1", "b": b"2", "c": b"3"}
    with pytest.raises(NotFoundException):
        work.merge_into("none")
    with pytest.raises(NotFoundException):
        repository.ref("none").merge_into("main")


def test_merge_conflict_changes_nothing(repository, main, conflict):
    before, kept = main.head.id, tree(main)
    with pytest.raises(ConflictException) as caught:
        conflict.merge_into("main")
    assert caught.value.body.get("reference", "") == ""
    assert (main.head.id, tree(main)) == (before, kept)
    assert {p for t, p in changes(main.diff("work")) if t == "conflict"} == {"clash", "gone"}
    with pytest.raises(BadRequestException):
        conflict.merge_into("main", strategy="coin-toss")


@pytest.mark.parametrize("strategy, clash, gone", [("source-wins", b"work", None), ("dest-wins", b"main", b"main")])
def test_merge_strategies(repository, main, conflict, strategy, clash, gone):
    made = conflict.merge_into("main", strategy=strategy)
    expected = {"calm": b"base", "of_work": b"1", "of_main": b"1", "clash": clash}
    if gone:
        expected["gone"] = gone
    assert tree(main) == expected
    assert repository.ref(made).get_commit().metadata[".lakefs.merge.strategy"] == strategy


def test_squash_merge(repository, main):
    base = commit(main, "base", a="1").id
    work = repository.branch("work").create("main")
    commit(work, "one", b="1")
    commit(work, "two", b="2")
    made = work.merge_into("main", squash_merge=True)
    assert repository.ref(made).get_commit().parents == [base]
    assert tree(main) == {"a": b"1", "b": b"2"}


# Revert, cherry-pick, reset -------------------------------------------------------------------------------


def test_revert(repository, main):
    commit(main, "one", a="1", b="1")
    bad = commit(main, "bad", a="2", c="2").id
    commit(main, "three", d="3")
    made = main.revert(bad)
    assert made.message == f"Revert {bad}" and main.head.id == made.id
    assert tree(main) == {"a": b"1", "b": b"1", "d": b"3"}
    with pytest.raises(BadRequestException):
        main.revert(bad)  # its effect is gone already
    late = commit(main, "late", a="4").id
    commit(main, "later", a="5")
    with pytest.raises(ConflictException):
        main.revert(late)
    write(main, dirty="1")
    with pytest.raises(BadRequestException):
        main.revert("main~1")
    main.reset_changes()
    with pytest.raises(NotFoundException):
        main.revert("none")


def test_revert_of_a_merge_needs_a_parent(repository, main):
    commit(main, "base", a="1")
    work = repository.branch("work").create("main")
    commit(work, "work", b="1")
    commit(main, "main", c="1")
    merged = work.merge_into("main")
    with pytest.raises(ConflictException):
        main.revert(merged)
    with pytest.raises(BadRequestException):
        main.revert(merged, parent_number=3)
    main.revert(merged, parent_number=1)
    assert tree(main) == {"a": b"1", "c": b"1"}


def test_cherry_pick(repository, main):
    commit(main, "base", a="1")
    work = repository.branch("work").create("main")
    write(work, b="1")
    picked = work.commit("pick me", metadata={"k": "v"}).id
    commit(work, "not me", c="1")
    made = main.cherry_pick(picked)
    assert made.message == "pick me" and made.metadata["k"] == "v"
    assert made.metadata["cherry-pick-origin"] == picked and made.metadata["cherry-pick-committer"]
    assert len(made.parents) == 1
    assert tree(main) == {"a": b"1", "b": b"1"}
    assert repository.ref(picked).get_commit().metadata == {"k": "v"}  # the picked one is as it was
    merged = work.merge_into("main")
    other = repository.branch("other").create("main~1")
    with pytest.raises(BadRequestException):
        other.cherry_pick(merged)
    other.cherry_pick(merged, parent_number=1)
    assert "c" in tree(other)
    commit(work, "clash", a="work")
    commit(main, "clash", a="main")
    with pytest.raises(ConflictException):
        main.cherry_pick("work")
    with pytest.raises(NotFoundException):
        main.cherry_pick("none")


def test_reset(main):
    commit(main, "one", a="1", d__1="1", d__2="1")
    write(main, a="2", d__1="2", e="2")
    main.object("d/2").delete()
    main.reset_changes("object", "a")
    assert changes(main.uncommitted()) == [("changed", "d/1"), ("removed", "d/2"), ("added", "e")]
    main.reset_changes("common_prefix", "d/")
    assert changes(main.uncommitted()) == [("added", "e")]
    main.reset_changes()
    assert changes(main.uncommitted()) == []
    assert tree(main) == {"a": b"1", "d/1": b"1", "d/2": b"1"}
    main.reset_changes()  # nothing to reset is no error


# Objects --------------------------------------------------------------------------------------------------


def test_upload_stat_read(main):
    data = bytes(range(256)) * 400
    obj = main.object("d/a.bin").upload(data, mode="wb", content_type="image/png", metadata={"k": "v"})
    stat = obj.stat()
    assert (stat.path, stat.size_bytes, stat.content_type) == ("d/a.bin", len(data), "image/png")
    assert stat.checksum == hashlib.md5(data).hexdigest()
    assert stat.metadata == {"k": "v"} and abs(stat.mtime - time.time()) < 600
    assert obj.exists() and not main.object("d").exists() and not main.object("d/a").exists()
    with obj.reader(mode="rb") as reader:
        assert reader.read(10) == data[:10] and reader.tell() == 10
        assert reader.read(10) == data[10:20]
        reader.seek(-5, io.SEEK_END)
        assert reader.read() == data[-5:]
        assert reader.read() == b""
        reader.seek(1000)
        assert reader.read(1) == data[1000:1001]
        reader.seek(len(data) + 10)
        assert reader.read() == b""
    text = main.object("t.txt").upload("eins\nzwei\ndrei äöü\n")
    assert text.reader(mode="r").read() == "eins\nzwei\ndrei äöü\n"
    assert list(text.reader(mode="r")) == ["eins\n", "zwei\n", "drei äöü\n"]
    empty = main.object("empty").upload(b"")
    assert empty.reader().read() == b"" and empty.stat().size_bytes == 0
    with main.object("written").writer("wb", content_type="text/csv") as writer:
        writer.write(b"a,")
        writer.write(b"b\n")
    assert main.object("written").reader().read() == b"a,b\n"
    assert main.object("written").stat().content_type == "text/csv"


def test_exclusive_upload(main):
    main.object("a").upload(b"1", mode="xb")
    with pytest.raises(ObjectExistsException):
        main.object("a").upload(b"2", mode="xb")
    assert main.object("a").reader().read() == b"1"


def test_missing_objects(repository, main):
    for obj in (main.object("none"), repository.branch("none").object("a")):
        assert not obj.exists()
        with pytest.raises(ObjectNotFoundException):
            obj.reader().read()
        with pytest.raises(ObjectNotFoundException):
            obj.stat()
    main.object("none").delete()  # deleting what is not there succeeds
    with pytest.raises(NotFoundException):
        repository.branch("none").object("a").upload(b"1")


def test_copy_and_delete(repository, main):
    main.object("a").upload(b"1", content_type="text/plain", metadata={"k": "v"})
    copied = main.object("a").copy("main", "d/b")
    assert copied.reader().read() == b"1"
    assert (copied.stat().metadata, copied.stat().content_type) == ({"k": "v"}, "text/plain")
    first = main.commit("one").id
    main.object("a").upload(b"2")
    assert repository.ref(first).object("a").copy("main", "old").reader().read() == b"1"
    with pytest.raises(NotFoundException):
        main.object("none").copy("main", "x")
    main.object("a").delete()
    assert not main.object("a").exists()
    assert repository.ref(first).object("a").exists()
    for n in range(12):
        main.object(f"many/{n:02}").upload(b"x")
    main.delete_objects(o.path for o in main.objects(prefix="many/") if not o.path.endswith("5"))
    assert [o.path for o in main.objects(prefix="many/")] == ["many/05"]
    main.delete_objects("many/05")
    assert list(main.objects(prefix="many/")) == []


def test_listing(main):
    for path in ("a", "a/1", "a/2", "b/x/1", "b/y", "c", "c d+e%/ü", "x//y"):
        main.object(path).upload(path.encode())
    everything = ["a", "a/1", "a/2", "b/x/1", "b/y", "c", "c d+e%/ü", "x//y"]
    assert [o.path for o in main.objects()] == everything
    assert [o.path for o in main.objects(amount=3)] == everything
    assert [o.path for o in main.objects(prefix="a")] == ["a", "a/1", "a/2"]
    assert [o.path for o in main.objects(after="b/x/1", max_amount=2)] == ["b/y", "c"]
    folded = list(main.objects(delimiter="/"))
    assert [o.path for o in folded] == ["a", "a/", "b/", "c", "c d+e%/", "x/"]
    assert [type(o).__name__ for o in folded[:2]] == ["ObjectInfo", "CommonPrefix"]
    assert [o.path for o in main.objects(delimiter="/", amount=1)] == [o.path for o in folded]
    assert [o.path for o in main.objects(prefix="x/", delimiter="/")] == ["x//"]
    for path in everything:
        assert main.object(path).reader().read() == path.encode()


# Transactions ---------------------------------------------------------------------------------------------


def test_transaction(repository, main):
    commit(main, "base", a="1")
    with main.transact(commit_message="in one go", commit_metadata={"k": "v"}, tag="done") as tx:
        tx.object("b").upload(b"2")
        tx.object("a").delete()
        assert tree(main) == {"a": b"1"}
    assert tree(main) == {"b": b"2"}
    log = list(main.log())
    assert log[0].message.startswith("Merge transaction") and "in one go" in [c.message for c in log]
    assert repository.tag("done").get_commit().id == log[0].id
    assert [b.id for b in repository.branches(show_hidden=True)] == ["main"]


def test_failed_transactions(repository, main):
    commit(main, "base", a="1")
    with pytest.raises(RuntimeError):
        with main.transact(commit_message="broken") as tx:
            tx.object("b").upload(b"2")
            raise RuntimeError
    assert tree(main) == {"a": b"1"}
    with pytest.raises(TransactionException):
        with main.transact(commit_message="overtaken") as tx:
            tx.object("a").upload(b"mine")
            commit(main, "faster", a="theirs")
    assert tree(main) == {"a": b"theirs"}
    assert [b.id for b in repository.branches(show_hidden=True)] == ["main"]
