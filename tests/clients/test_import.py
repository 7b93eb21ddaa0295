"""Imports of directories: the `lakefs` package's import manager, and what it cannot send; both doors read the result."""

import json
import os
import signal
import socket
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import lakefs
import pytest
import requests
from botocore.exceptions import ClientError
from lakefs.exceptions import BadRequestException, ConflictException, ImportManagerException, NotFoundException

from harness.server import binary

FAST = timedelta(milliseconds=20)


@pytest.fixture
def source(server, repository):
    """A directory of this test that may be imported from."""
    directory = server.directory / "import" / repository.id
    (directory / "sub").mkdir(parents=True)
    (directory / "a.txt").write_bytes(b"alpha")
    (directory / "sub" / "b.bin").write_bytes(bytes(range(256)) * 1000)
    return directory


def paths(repository, ref="main"):
    return [item.path for item in repository.ref(ref).objects()]


def start(server, repository, body, branch="main"):
    path = f"/repositories/{repository.id}/branches/{branch}/import"
    body = body if isinstance(body, str) else json.dumps(body)
    status, _, answer = server.api("POST", path, body, {"Content-Type": "application/json"})
    return status, json.loads(answer) if answer.startswith(b"{") else answer.decode()


def creation(*sources, **more):
    named = [{"type": "common_prefix", "path": path, "destination": to} for path, to in sources]
    return {"paths": named, "commit": {"message": "m"}, **more}


def ended(server, repository, import_id):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        query = f"/repositories/{repository.id}/branches/main/import?id={import_id}"
        status, _, answer = server.api("GET", query)
        assert status == 200, answer
        state = json.loads(answer)
        if state["completed"] or "error" in state:
            return state
        time.sleep(0.01)
    raise AssertionError("the import does not end")


def test_import_manager(server, repository, source):
    main = repository.branch("main")
    main.object("d/old").upload(b"old")
    main.object("e").upload(b"stays")
    main.commit("before")
    manager = main.import_data("taken in", metadata={"k": "v"}).prefix(f"local://{source}", "d")
    manager.object(f"file://{source}/a.txt", "single")
    done = manager.run(FAST)
    assert done.completed and done.ingested_objects == 3 and done.error is None
    assert done.commit.message == "taken in" and done.commit.metadata["k"] == "v"
    assert done.commit.id == main.head.id and done.metarange_id
    assert paths(repository) == ["d/a.txt", "d/sub/b.bin", "e", "single"]
    stat = main.object("d/a.txt").stat()
    assert stat.physical_address == f"local://{source}/a.txt" and stat.size_bytes == 5
    assert stat.mtime == int((source / "a.txt").stat().st_mtime)
    assert len(stat.checksum) == 16 and "-" not in stat.checksum
    with main.object("single").reader("rb") as reader:
        assert reader.read() == b"alpha"
    with pytest.raises(ConflictException):
        manager.cancel()
    with pytest.raises(NotFoundException):
        repository.branch("none").import_data("m").prefix(f"local://{source}", "d").start()


def test_both_doors_read_what_was_imported(server, repository, source):
    repository.branch("main").import_data("m").prefix(f"local://{source}/", "").run(FAST)
    s3, big = server.s3(), (source / "sub" / "b.bin").read_bytes()
    got = s3.get_object(Bucket=repository.id, Key="main/sub/b.bin")
    assert got["Body"].read() == big
    head = s3.head_object(Bucket=repository.id, Key="main/sub/b.bin")
    assert head["ContentLength"] == len(big) and head["ETag"] == got["ETag"]
    part = s3.get_object(Bucket=repository.id, Key="main/sub/b.bin", Range="bytes=1000-1299", IfMatch=got["ETag"])
    assert part["Body"].read() == big[1000:1300]
    status, _, body = server.api(
        "GET", f"/repositories/{repository.id}/refs/main/objects?path=sub/b.bin", headers={"Range": "bytes=-10"}
    )
    assert (status, body) == (206, big[-10:])
    signer = server.s3(signature_version="s3v4")
    link = signer.generate_presigned_url("get_object", Params={"Bucket": repository.id, "Key": "main/a.txt"})
    assert requests.get(link, verify=server.verify, timeout=30).content == b"alpha"
    s3.copy_object(Bucket=repository.id, Key="main/copied", CopySource=f"{repository.id}/main/sub/b.bin")
    upload = s3.create_multipart_upload(Bucket=repository.id, Key="main/parts")["UploadId"]
    copied = s3.upload_part_copy(
        Bucket=repository.id,
        Key="main/parts",
        UploadId=upload,
        PartNumber=1,
        CopySource=f"{repository.id}/main/sub/b.bin",
    )
    part = {"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}
    s3.complete_multipart_upload(
        Bucket=repository.id, Key="main/parts", UploadId=upload, MultipartUpload={"Parts": [part]}
    )
    repository.branch("main").commit("copies")
    assert s3.get_object(Bucket=repository.id, Key="main/copied")["Body"].read() == big

    (source / "sub" / "b.bin").write_bytes(b"another")
    for key in ("sub/b.bin", "copied"):
        with pytest.raises(ClientError) as gone:
            s3.get_object(Bucket=repository.id, Key=f"main/{key}")
        assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410
        status, _, body = server.api("GET", f"/repositories/{repository.id}/refs/main/objects?path={key}")
        assert status == 410 and str(source / "sub" / "b.bin") in json.loads(body)["message"]
    # What was taken in by copying its bytes does not depend on the source any more.
    assert s3.get_object(Bucket=repository.id, Key="main/parts")["Body"].read() == big
    # Branches, merges and listings go on.
    repository.branch("side").create("main")
    assert len(list(repository.ref("side").objects())) == 4


def test_links_and_odd_names(server, repository, source):
    outside = server.directory / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_text("secret")
    (source / "leak").symlink_to(outside / "secret")
    (source / "out").symlink_to(outside)
    (source / "up").symlink_to("..")
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        here = Path.cwd()
        os.chdir(source)  # the path of a socket must be short
        try:
            unix.bind("sock")
        finally:
            os.chdir(here)
    odd = ["sp ace", "ü", "new\nline", "%2e%2e", "\\", "q?#&"]
    for name in odd:
        (source / name).write_text(name)
    status, answer = start(server, repository, creation((f"local://{source}", "d")))
    assert status == 202
    state = ended(server, repository, answer["id"])
    assert state["completed"] and state["skipped_objects"] == 5
    assert state["ingested_objects"] == 2 + len(odd)
    for name in odd:
        with repository.ref("main").object(f"d/{name}").reader("rb") as reader:
            assert reader.read() == name.encode()
    for name in ("d/leak", "d/out/secret", "d/pipe"):
        with pytest.raises(NotFoundException):
            repository.ref("main").object(name).stat()
    # Both APIs say paths as text: what they could not name fails the import, and is named.
    Path(os.fsdecode(os.fsencode(source) + b"/\xff\xfe")).write_text("bytes")
    head = repository.branch("main").head.id
    status, answer = start(server, repository, creation((f"local://{source}", "d")))
    assert status == 202
    assert "not UTF-8" in ended(server, repository, answer["id"])["error"]["message"]
    assert repository.branch("main").head.id == head


def test_places_that_may_not_be_read(server, repository, source):
    data = server.directory / "data"
    for place in ("/etc", "/", str(data), f"{source}/../../data", f"{source.parent}-2", str(source / "none")):
        status, answer = start(server, repository, creation((f"local://{place}", "d")))
        assert status == 202, place
        state = ended(server, repository, answer["id"])
        assert not state["completed"] and state["error"]["message"].startswith("import error: "), place
    assert "'local_import'" in ended(
        server, repository, start(server, repository, creation(("file:///etc", "d")))[1]["id"]
    )["error"]["message"]
    with pytest.raises(ImportManagerException):
        repository.branch("main").import_data("m").prefix("s3://bucket/x", "d").run(FAST)
    with pytest.raises(BadRequestException):
        repository.branch("main").import_data("m").prefix(repository.properties.storage_namespace, "d").start()
    assert paths(repository) == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '{"paths":[]}',
        '{"commit":{"message":"m"}}',
        '{"paths":[],"commit":{}}',
        '{"paths":[{"type":"folder","path":"local:///x","destination":""}],"commit":{"message":"m"}}',
        '{"paths":[{"type":"object","path":"local:///x"}],"commit":{"message":"m"}}',
        '{"paths":[{"type":"object","path":7,"destination":""}],"commit":{"message":"m"}}',
        '{"paths":[],"commit":{"message":"m","metadata":{".millpond.x":"y"}}}',
        json.dumps(creation(("local:///x", "k" * 1025))),
    ],
)
def test_bad_requests(http_server, http_repository, body):
    status, answer = start(http_server, http_repository, body)
    assert status == 400, answer
    assert http_server.alive()


def test_unknown_names(http_server, http_repository):
    server, repo = http_server, http_repository
    assert start(server, repo, creation(), branch="none")[0] == 404
    assert start(server, repo, creation(), branch="no..ne")[0] == 404
    for method in ("GET", "DELETE"):
        base = f"/repositories/{repo.id}/branches/main/import"
        assert server.api(method, f"{base}?id=none")[0] == 404
        assert server.api(method, base)[0] == 400
        assert server.api(method, "/repositories/no-such-repo/branches/main/import?id=x")[0] == 404


def test_an_import_belongs_to_its_branch(http_server, http_repository):
    server, repo = http_server, http_repository
    repo.branch("other").create("main")
    status, answer = start(server, repo, creation())
    assert status == 202
    for method in ("GET", "DELETE"):
        path = f"/repositories/{repo.id}/branches/other/import?id={answer['id']}"
        assert server.api(method, path)[0] == 404
    assert ended(server, repo, answer["id"])["completed"]


def test_a_dirty_branch_fails_and_an_empty_import_commits(http_server, http_repository):
    server, repo = http_server, http_repository
    status, answer = start(server, repo, creation())
    assert status == 202 and ended(server, repo, answer["id"])["completed"]
    repo.branch("main").object("staged").upload(b"x")
    state = ended(server, repo, start(server, repo, creation())[1]["id"])
    assert "uncommitted changes" in state["error"]["message"]


def test_cancel(server, repository, source):
    for n in range(2000):
        (source / f"{n}").touch()
    head = repository.branch("main").head.id
    outcomes = set()
    for _ in range(10):
        manager = repository.branch("main").import_data("m").prefix(f"local://{source}", "d")
        manager.start()
        try:
            manager.cancel()
        except ConflictException:
            outcomes.add("completed")
            head = repository.branch("main").head.id
            continue
        outcomes.add("cancelled")
        status = manager.status()
        assert not status.completed and status.error.message == "Canceled"
        assert repository.branch("main").head.id == head
    assert "cancelled" in outcomes


def test_kill_in_the_middle(own_server):
    """Whatever a kill interrupts, the import is there after the restart, and ends."""
    source = own_server.directory / "import" / "many"
    for folder in range(20):
        (source / str(folder)).mkdir(parents=True)
        for n in range(250):
            (source / str(folder) / str(n)).touch()
    repository = own_server.new_repository("killed")
    for round_number in range(4):
        status, answer = start(own_server, repository, creation((f"local://{source}", f"d{round_number}")))
        assert status == 202
        time.sleep(0.01 * round_number)
        own_server.kill()
        own_server.start()
        state = ended(own_server, repository, answer["id"])
        assert state["completed"] and state["ingested_objects"] == 5000, state
        log = list(repository.ref("main").log(max_amount=100))
        assert [commit.id for commit in log].count(state["commit"]["id"]) == 1
    assert len({p.split("/")[0] for p in paths(repository)}) == 4
    lakefs.Repository("killed", own_server.lakefs()).ref("main").object("d3/19/249").stat()


def test_command_line(own_server):
    source = own_server.directory / "import" / "cli"
    source.mkdir(parents=True)
    for n in range(5):
        (source / str(n)).write_text("x")
    (source / "link").symlink_to("0")
    repository = own_server.new_repository("commandline")
    done = own_server.cli("import", str(source), "commandline/main/d/", "-m", "taken in")
    assert b"imported 5 objects" in done.stderr and b"passed over 1" in done.stderr
    assert repository.branch("main").head.id in done.stdout.decode()
    assert len(paths(repository)) == 5
    failed = own_server.cli("import", "/etc", "commandline/main/e/", check=False)
    assert failed.returncode == 1 and b"'local_import'" in failed.stderr
    # Ctrl-C cancels on the server.
    for n in range(40_000):
        (source / f"more{n}").touch()
    head = repository.branch("main").head.id
    command = [binary(), "import", str(source), "commandline/main/many/"]
    running = subprocess.Popen(command, env=own_server.cli_environment)
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) in (0, 130)
    assert running.returncode == 0 or repository.branch("main").head.id == head
