"""The client verbs of the binary against a real server, and `millpond up` from nothing to the sample repository."""

import json

import pytest

from harness.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server


@pytest.fixture
def run(server):
    """`millpond ARGUMENTS -o json`, decoded."""

    def run(*arguments):
        return json.loads(server.cli(*arguments, "-o", "json").stdout)

    return run


def exit_code(server, *arguments):
    """The code of a verb that fails; it must say why, on stderr only."""
    done = server.cli(*arguments, check=False)
    assert done.returncode != 0 and done.stderr, arguments
    return done.returncode


def test_a_day_of_work(server, repository, run, tmp_path):
    name = repository.id
    folder = tmp_path / "data"
    files = {"a.txt": b"one", "d/b c+ü.bin": bytes(range(256)) * 300, "d/empty": b""}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    server.cli("cp", "-r", folder, f"mp://{name}/main/")
    server.cli("cp", "-", f"mp://{name}/main/from stdin", stdin=b"piped")
    files["from stdin"] = b"piped"
    assert sorted(o["path"] for o in run("ls", "-r", f"{name}/main")) == sorted(files)
    assert [o["path"] for o in run("ls", f"{name}/main")] == ["a.txt", "d/", "from stdin"]
    first = server.cli("commit", f"{name}/main", "-m", "First", "--meta", "k=v").stdout.decode().strip()
    assert len(first) == 64
    for path, data in files.items():
        assert server.cli("cat", f"{name}/main/{path}").stdout == data, path
    assert server.cli("cat", "--range", "1-2", f"{name}/main/a.txt").stdout == b"ne"
    stat = run("stat", f"{name}/main/a.txt")
    assert (stat["path"], stat["size_bytes"]) == ("a.txt", 3)
    server.cli("cp", "-r", f"mp://{name}/{first}/", tmp_path / "down")
    assert {p: (tmp_path / "down" / p).read_bytes() for p in files} == files

    server.cli("branch", "create", f"{name}/work")
    (tmp_path / "a.txt").write_bytes(b"two")
    server.cli("cp", tmp_path / "a.txt", f"mp://{name}/work/a.txt")
    assert exit_code(server, "rm", "-r", f"{name}/work/d/") == 2  # asks first, and nobody can answer
    server.cli("rm", "--yes", "-r", f"{name}/work/d/")
    diff = {(d["type"], d["path"]) for d in run("diff", f"{name}/work")}
    assert diff == {("changed", "a.txt"), ("removed", "d/b c+ü.bin"), ("removed", "d/empty")}
    server.cli("reset", "--yes", f"{name}/work", "--path", "d/empty")
    server.cli("commit", f"{name}/work", "-m", "Work")
    assert {d["path"] for d in run("diff", f"{name}/main...work")} == {"a.txt", "d/b c+ü.bin"}
    merged = server.cli("merge", f"{name}/work", "main", "-m", "Bring in").stdout.decode().strip()
    server.cli("tag", "create", f"{name}/v1", "main")
    assert [t["id"] for t in run("tag", "list", name)] == ["v1"]
    assert run("show", f"{name}/v1")["id"] == merged
    assert [c["message"] for c in run("log", f"{name}/main", "--first-parent")][:2] == ["Bring in", "First"]
    assert server.cli("cat", f"{name}/main/a.txt").stdout == b"two"

    server.cli("revert", f"{name}/main", merged, "--parent", "1")
    assert server.cli("cat", f"{name}/main/a.txt").stdout == b"one"
    server.cli("undo", f"{name}/main")
    assert server.cli("cat", f"{name}/main/a.txt").stdout == b"two"
    operations = [o["verb"] for o in run("op", "log", f"{name}/main")]
    assert len(operations) >= 4 and "merge" in operations
    server.cli("cp", "-", f"mp://{name}/work/picked", stdin=b"1")
    server.cli("commit", f"{name}/work", "-m", "Pick me")
    server.cli("cherry-pick", f"{name}/main", "work")
    assert server.cli("cat", f"{name}/main/picked").stdout == b"1"
    server.cli("branch", "delete", "--yes", f"{name}/work")
    assert [b["id"] for b in run("branch", "list", name)] == ["main"]


def test_exit_codes(server, repository):
    name = repository.id
    server.cli("cp", "-", f"mp://{name}/main/a", stdin=b"1")
    server.cli("commit", f"{name}/main", "-m", "one")
    assert server.cli("diff", f"{name}/main", "--exit-code").returncode == 0
    server.cli("cp", "-", f"mp://{name}/main/a", stdin=b"2")
    done = server.cli("diff", f"{name}/main", "--exit-code", check=False)
    assert done.returncode == 9 and b"a" in done.stdout
    assert exit_code(server, "no-such-verb") == 2
    assert exit_code(server, "cat", f"{name}/main/none") == 5
    assert exit_code(server, "ls", "no-such-repository/main") == 5
    assert exit_code(server, "show", f"{name}/none") == 5
    assert exit_code(server, "branch", "create", f"{name}/main") == 6
    assert exit_code(server, "repo", "create", name) == 6
    assert exit_code(server, "cp", "--no-clobber", "-", f"mp://{name}/main/a") == 7
    assert exit_code(server, "branch", "delete", "--yes", f"{name}/main") == 7
    assert exit_code(server, "reset", f"{name}/main", "--all") == 2  # asks first, and nobody can answer
    assert exit_code(server, "--secret-access-key", "wrong", "ls", f"{name}/main") == 4


def test_login_writes_a_profile_that_works(server, repository):
    done = server.cli("login", server.url)
    assert SECRET_ACCESS_KEY.encode() not in done.stdout + done.stderr
    profile = server.directory / "home/.config/millpond/config.toml"
    assert profile.stat().st_mode & 0o777 == 0o600
    assert ACCESS_KEY_ID in profile.read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(http_server, shell):
    script = http_server.cli("completion", shell).stdout
    assert b"cherry-pick" in script


def test_up_makes_the_sample_repository_once(tmp_path):
    server = Server(tmp_path / "up")
    try:
        server.start("up")
        sample = server.cli("log", "quickstart/experiment", "-o", "json")
        # The repository's own first commit, then three of the sample.
        assert len(json.loads(sample.stdout)) == 4
        branches = json.loads(server.cli("branch", "list", "quickstart", "-o", "json").stdout)
        assert [b["id"] for b in branches] == ["experiment", "main"]
        tags = json.loads(server.cli("tag", "list", "quickstart", "-o", "json").stdout)
        assert [t["id"] for t in tags] == ["v1.0"]
        paths = [o["path"] for o in json.loads(server.cli("ls", "-r", "quickstart/main", "-o", "json").stdout)]
        for kind in (".csv", ".parquet", ".png", ".jpg", ".jsonl"):
            assert any(p.endswith(kind) for p in paths), kind
        model = server.cli("cat", "quickstart/experiment/models/penguins.safetensors").stdout
        assert b"feature_mean" in model
        profile = server.directory / "home/.config/millpond/config.toml"
        assert profile.stat().st_mode & 0o777 == 0o600
        head = server.cli("show", "quickstart/main").stdout
        assert server.stop() == 0
        server.start("up")
        assert server.cli("show", "quickstart/main").stdout == head
        assert SECRET_ACCESS_KEY not in server.log_tail()
    finally:
        server.kill()
