"""The audit trail through the command line: what was answered is in it after a kill, and what is changed is named."""

import http.client
import json
import re
import threading
from base64 import b64encode

import pytest

from harness.server import ACCESS_KEY_ID


@pytest.fixture
def run(own_server):
    """`millpond ARGUMENTS -o json`, decoded, with the exit code that is expected."""

    def run(*arguments, code=0):
        done = own_server.cli(*arguments, "-o", "json", check=False)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout)

    return run


def write(server, name, path):
    status, headers, _ = server.api("POST", f"/repositories/{name}/branches/main/objects?path={path}", b"x")
    assert status == 201
    return headers["X-Request-Id"]


def test_what_was_answered_is_in_the_trail_after_a_kill(own_server, run):
    """Writers run, the server is killed, three times: the chain holds, and no answered change is without its event."""
    own_server.new_repository("trail")
    answered = {}
    seen = []
    for round in range(3):

        def writer(number, round=round):
            try:
                for n in range(10_000):
                    answered[f"{round}/{number}/{n}"] = write(own_server, "trail", f"{round}/{number}/{n}")
            except (OSError, http.client.HTTPException):
                pass  # killed

        before = len(answered)
        writers = [threading.Thread(target=writer, args=(number,)) for number in range(4)]
        for thread in writers:
            thread.start()
        while len(answered) < before + 60:
            assert own_server.process.poll() is None
        own_server.kill()
        for thread in writers:
            thread.join()
        own_server.start()
        report = run("audit", "verify", *seen)
        assert (report["defects"], report["begins_because"]) == (0, "complete")
        seen = ["--seen", f"{report['row']}:{report['head']}"]
    events = run("audit", "log", "--verb", "put-object", "--repository", "trail", "--all")
    told = {event["changes"][0]["on"]: event for event in events}
    for path, request_id in answered.items():
        assert (told[path]["request_id"], told[path]["actor"]) == (request_id, "admin"), path
        assert told[path]["address"] == "127.0.0.1"
    own_server.stop()
    own_server.start()
    report = run("audit", "verify", *seen)
    assert (report["defects"], report["segments"] > 0) == (0, True)
    assert report["events"] >= len(answered)


def test_a_flipped_byte_in_a_segment_is_named(own_server, run):
    own_server.new_repository("trail")
    for n in range(20):
        write(own_server, "trail", f"a/{n}")
    own_server.stop()
    found = []
    for file in (own_server.directory / "data").rglob("*"):
        if file.is_file() and (at := file.read_bytes().find(b"MPAT\x01")) >= 0:
            found.append((file, at))
    assert found, "a stop leaves the trail in a segment"
    for file, at in found:
        data = bytearray(file.read_bytes())
        data[at + 40] ^= 1
        file.write_bytes(data)
    own_server.start()
    report = run("audit", "verify", code=1)
    assert report["defects"] >= 1
    assert report["faults"][0]["row"] == 1
    assert re.search(r"the rows up to \d+ cannot be read", report["faults"][0]["what"])
    check = run("fsck", code=1)
    assert any("audit" in json.dumps(defect) for defect in check["defects"]), check
    # What is not damaged goes on.
    write(own_server, "trail", "b")


def test_filters_people_and_who_may_look(own_server, run):
    own_server.new_repository("trail")
    write(own_server, "trail", "a/1")
    write(own_server, "trail", "b/1")
    assert [e["changes"][0]["on"] for e in run("audit", "log", "--path", "a/")] == ["a/1"]
    own_server.cli("auth", "users", "create", "eve")
    [event] = run("audit", "log", "--verb", "auth:CreateUser")
    assert (event["actor"], event["changes"]) == ("admin", [{"kind": "set", "on": "user/eve", "old": "", "new": ""}])
    wrong = "Basic " + b64encode(f"{ACCESS_KEY_ID}:not the secret".encode()).decode()
    status, _, _ = own_server.raw("GET", "/api/v1/repositories", headers={"Authorization": wrong})
    assert status == 401
    status, _, body = own_server.raw("GET", "/api/millpond/v1/audit")
    assert (status, b"trail" in body) == (401, False)
    own_server.stop()
    own_server.start()
    [refused] = [e for e in run("audit", "log", "--result", "refused") if e["resource"] == ACCESS_KEY_ID]
    assert (refused["verb"], refused["actor"], refused["address"]) == ("authenticate", "", "127.0.0.1")
    table = own_server.cli("audit", "log", "--actor", "admin").stdout.decode()
    assert "put-object" in table and "auth:CreateUser" in table


def test_a_backup_takes_the_trail_along(own_server, run, tmp_path):
    own_server.new_repository("trail")
    write(own_server, "trail", "a")
    own_server.cli("auth", "users", "create", "eve")
    report = run("audit", "verify")
    own_server.stop()
    data = own_server.directory / "data"
    own_server.cli("backup", tmp_path / "backup", "--data", data)
    data.rename(tmp_path / "lost")
    own_server.cli("restore", tmp_path / "backup", data)
    own_server.start()
    restored = run("audit", "verify", "--seen", f"{report['row']}:{report['head']}")
    assert (restored["defects"], restored["begins_because"]) == (0, "complete")
    assert run("audit", "log", "--verb", "auth:CreateUser")[0]["changes"][0]["on"] == "user/eve"
