"""Every public verb of every class of the `lakefs` package, unchanged: the test watches what runs, and fails if the
package has a verb that it did not call. What each verb must do is mostly in `test_lakefs_package.py`."""

import datetime
import inspect
import io
import sys
from datetime import timedelta

import lakefs
import lakefs.branch
import lakefs.client
import lakefs.import_manager
import lakefs.object
import lakefs.reference
import lakefs.repository
import lakefs.tag
import pytest
from lakefs.exceptions import BadRequestException, ObjectExistsException

MODULES = [
    lakefs.branch,
    lakefs.client,
    lakefs.import_manager,
    lakefs.object,
    lakefs.reference,
    lakefs.repository,
    lakefs.tag,
]
# Only what its subclasses all write anew, and sign-in by systems that this server does not trust.
LEFT_OUT = {
    "LakeFSIOBase.close",
    "LakeFSIOBase.flush",
    "LakeFSIOBase.read",
    "LakeFSIOBase.readable",
    "LakeFSIOBase.seek",
    "LakeFSIOBase.seekable",
    "LakeFSIOBase.writable",
    "LakeFSIOBase.write",
    "from_aws_role",
    "from_web_identity",
}


def verbs():
    """Code of every public function, method and property of the package: {code: name}."""
    found = {}
    for module in MODULES:
        for item in vars(module).values():
            if getattr(item, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(item) and not item.__name__.startswith("_"):
                found[inspect.unwrap(item).__code__] = item.__name__
            if not inspect.isclass(item) or item.__name__ == "ServerConfiguration":
                continue
            for name, attribute in vars(item).items():
                if name.startswith("_"):
                    continue
                parts = [attribute.fget, attribute.fset] if isinstance(attribute, property) else [attribute]
                for part in filter(inspect.isroutine, parts):
                    setter = " =" if len(parts) == 2 and part is parts[1] else ""
                    found[inspect.unwrap(part).__code__] = f"{item.__name__}.{name}{setter}"
    return found


@pytest.fixture
def called():
    """The code that runs during the test."""
    seen = set()
    sys.setprofile(lambda frame, event, _: seen.add(frame.f_code) if event == "call" else None)
    yield seen
    sys.setprofile(None)


def test_every_verb(http_server, http_repository, called):
    client = http_server.lakefs()
    name = http_repository.id
    server(client, name)
    repository = lakefs.repository(name, client=client)
    main = references(repository, client)
    readers(main)
    writers(main)
    objects(main)
    transactions(repository, main)
    imports(http_server, repository, main)
    repositories(http_server, client)
    sys.setprofile(None)
    missed = {name for code, name in verbs().items() if code not in called} - LEFT_OUT
    assert not missed, sorted(missed)


def server(client, name):
    assert client.version and client.config.host and client.sdk_client
    assert client.storage_config.blockstore_type == client.storage_config_by_id().blockstore_type
    assert client.reset_time is None
    client.reset_time = datetime.datetime.now(datetime.UTC)
    assert name in [r.id for r in lakefs.repositories(client=client)]


def references(repository, client):
    main = repository.branch("main")
    first = main.object("a").upload(b"1") and main.commit("one")
    dev = repository.branch("dev").create(main)
    assert (dev.id, dev.repo_id, dev.head.id) == ("dev", repository.id, first.id)
    dev.object("b").upload(b"2")
    assert [c.path for c in dev.uncommitted()] == ["b"]
    dev.reset_changes("object", "b")
    dev.object("b").upload(b"2")
    second = dev.commit("two", metadata={"k": "v"})
    assert second.get_commit().metadata == {"k": "v"} and dev.get_commit().id == second.id
    for left in (repository.ref("main"), repository.commit(first.id), repository.branch("main")):
        assert [c.path for c in left.diff("dev")] == ["b"]
    tag = repository.tag("t1").create("dev")
    assert (tag.id, tag.repo_id, tag.get_commit().id) == ("t1", repository.id, second.id)
    assert [c.id for c in tag.log(max_amount=1)] == [second.id]
    assert [o.path for o in tag.objects()] == ["a", "b"] and tag.object("b").reader().read() == b"2"
    assert [c.path for c in tag.diff("main", type="two_dot")] == ["b"]
    merged = tag.merge_into(main)
    assert main.head.id == merged
    picked = repository.branch("picked").create(first)
    assert picked.cherry_pick(second).message == "two"
    picked.revert("picked")
    assert [o.path for o in picked.objects()] == ["a"]
    picked.delete_objects(["a"])
    assert [b.id for b in repository.branches()] == ["dev", "main", "picked"]
    assert [t.id for t in repository.tags()] == ["t1"]
    picked.delete()
    tag.delete()
    assert repository.properties.id == repository.id and repository.metadata == {}
    return main


def readers(main):
    text = "eins\nzwei\näöü\n"
    stored = main.object("text").upload(text)
    assert (stored.repo, stored.ref, stored.path, stored.storage_id()) == (main.repo_id, "main", "text", "")
    for mode, whole in (("r", text), ("rb", text.encode())):
        with stored.reader(mode=mode) as reader:
            assert (reader.mode, reader.name, reader.closed, reader.pre_sign) == (mode, "text", False, False)
            assert reader.readable() and reader.seekable() and not reader.writable() and not reader.isatty()
            assert reader.read() == whole
            reader.seek(5)
            assert reader.tell() == 5 and reader.read(5) == whole[5:10]
            reader.seek(-6, io.SEEK_CUR)
            assert reader.tell() == 4
            reader.seek(-1, io.SEEK_END)
            assert reader.read() == whole[-1:]
            reader.flush()
            for unsupported in (
                reader.fileno,
                reader.truncate,
                reader.readlines,
                lambda reader=reader: reader.write("x"),
                lambda reader=reader: reader.writelines(["x"]),
            ):
                with pytest.raises((io.UnsupportedOperation, TypeError)):
                    unsupported()
        assert reader.closed
        with pytest.raises(ValueError):
            reader.read()
        with stored.reader(mode=mode) as reader:
            assert reader.readline() == whole[:5] and reader.readline(2) == whole[5:7]
        with stored.reader(mode=mode) as reader:
            assert list(reader) == whole.splitlines(keepends=True)
    # This store cannot presign: it says so, it does not hand over something else.
    reader = stored.reader(mode="rb")
    reader.pre_sign = True
    with pytest.raises(BadRequestException):
        reader.read()
    with pytest.raises(ValueError):
        stored.reader(mode="w")


def writers(main):
    for mode in ("w", "wb", "x", "xb"):
        content = b"one\ntwo\n" if "b" in mode else "one\nzwö\n"
        path = f"written-{mode}"
        stored = main.object(path)
        with stored.writer(mode=mode, content_type="text/plain", metadata={"k": mode}) as writer:
            assert (writer.mode, writer.name, writer.closed, writer.pre_sign) == (mode, path, False, False)
            assert writer.writable() and not writer.readable() and not writer.seekable()
            assert writer.write(content[:4]) == 4
            writer.write(content[4:])
            assert writer.tell() == 8 + ("b" not in mode)
            writer.flush()
            for unsupported in (
                writer.read,
                writer.readline,
                writer.readlines,
                lambda writer=writer: writer.seek(0),
                lambda writer=writer: writer.writelines([b"x"]),
            ):
                with pytest.raises(io.UnsupportedOperation):
                    unsupported()
            assert not stored.exists()  # before it is closed there is nothing
        assert writer.closed
        assert stored.reader(mode="rb" if "b" in mode else "r").read() == content
        assert (stored.stat().content_type, stored.stat().metadata) == ("text/plain", {"k": mode})
        # Two at once: of the exclusive ones the second is refused by the server.
        late, path = main.object(f"late-{mode}").writer(mode=mode), f"late-{mode}"
        main.object(path).upload("first")
        late.write(content)
        if "x" in mode:
            with pytest.raises(ObjectExistsException):
                late.close()
        else:
            late.close()
        assert main.object(path).reader().read() == (b"first" if "x" in mode else stored.reader().read())
    dropped = main.object("dropped").writer("wb")
    dropped.write(b"x")
    dropped.discard()
    dropped.close()
    with pytest.raises(RuntimeError):
        with main.object("dropped").writer("wb") as writer:
            writer.write(b"x")
            raise RuntimeError
    assert not main.object("dropped").exists()
    big = bytes(range(256)) * 160_000  # beyond what the writer keeps in memory
    with main.object("big").writer("wb") as writer:
        writer.write(big)
        writer.flush()
    assert main.object("big").stat().size_bytes == len(big)
    assert main.object("big").reader().read() == big
    writer = main.object("presigned").writer("wb")
    writer.pre_sign = True
    writer.write(b"x")
    with pytest.raises(Exception) as refused:
        writer.close()
    assert "presign" in str(refused.value) and not main.object("presigned").exists()


def objects(main):
    main.object("o").upload(b"1", mode="xb")
    assert main.object("o").copy("main", "p").exists()
    main.object("o").delete()
    assert not main.object("o").exists()
    main.commit("objects")


def transactions(repository, main):
    with main.transact(commit_message="first") as tx:
        assert (tx.source_id, tx.commit_message, tx.commit_metadata, tx.tag) == ("main", "first", None, None)
        tx.commit_message, tx.commit_metadata, tx.tag = "changed", {"k": "v"}, "of-tx"
        tx.object("in-tx").upload(b"1")
    made = next(c for c in main.log() if c.message == "changed")
    assert made.metadata == {"k": "v"} and repository.tag("of-tx").get_commit().id == main.head.id


def imports(http_server, repository, main):
    source = http_server.directory / "import" / repository.id
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a").write_bytes(b"a")
    (source / "b").write_bytes(b"b")
    manager = main.import_data("imported", metadata={"k": "v"})
    assert manager.import_id is None
    manager.prefix(f"local://{source}/sub/", "in/").object(f"local://{source}/b", "in/single")
    assert manager.start() == manager.import_id
    done = manager.wait(timedelta(milliseconds=10))
    assert done.completed and manager.status().commit.metadata["k"] == "v"
    assert [o.path for o in main.objects(prefix="in/")] == ["in/a", "in/single"]
    ended = main.import_data("again").prefix(f"local://{source}/sub/", "again/").run(timedelta(milliseconds=10))
    assert ended.ingested_objects == 1
    manager = main.import_data("cancelled").prefix(f"local://{source}/sub/", "cancelled/")
    manager.start()
    try:
        manager.cancel()
    except lakefs.exceptions.ConflictException:
        pass  # it had ended


def repositories(http_server, client):
    made = http_server.new_repository("verbs-to-delete")
    assert lakefs.Repository(made.id, client=client).properties.storage_namespace == "local://verbs-to-delete"
    made.delete()
    assert made.id not in [r.id for r in lakefs.repositories(client=client, prefix="verbs-")]
