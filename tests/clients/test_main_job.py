"""The main job of issue 3, with real clients on real input: thousands of files through branch, change, diff, merge,
tag, conflict, revert and roll back, every file at every commit compared with what was written, before and after
`kill -9`, over http and over https.

`MILLPOND_TEST_FILES` sets how many files (default 5,200).
"""

import io
import os
import random

import boto3.s3.transfer
import lakefs
import pytest

from harness.dataset import hashes, in_threads, list_all, read_all, real_files, sha256

FILES = int(os.environ.get("MILLPOND_TEST_FILES", "5200"))
CHANGED, ADDED, DELETED = 200, 50, 30


@pytest.fixture(scope="module")
def tree():
    files = real_files(FILES)
    assert len(files) >= FILES, "the Python environment holds too few files"
    return files


class Job:
    """The repository and what each commit of it must hold: {commit id: {path: SHA-256}}."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.repository = server.new_repository(name)
        self.at = {}

    def branch(self, name):
        return self.repository.branch(name)

    def record(self, commit, expected):
        self.at[commit] = dict(expected)
        return commit

    def verify(self):
        """Every file at every commit is what was written, and nothing else is there."""
        for commit in self.at:
            self.verify_commit(commit)

    def verify_commit(self, commit):
        expected = self.at[commit]
        assert list_all(self.server, self.name, commit).keys() == expected.keys(), commit
        got = read_all(self.server, self.name, commit, expected)
        wrong = [p for p in expected if got[p] != expected[p]]
        assert not wrong, (commit, wrong[:5])


def changes(items):
    """{(type, path)} of a diff, which must hold no path twice."""
    pairs = [(c.type, c.path) for c in items]
    assert len({p for _, p in pairs}) == len(pairs)
    return set(pairs)


def test_main_job(own_server, tree, tmp_path):
    server = own_server
    job = Job(server, "lake")
    chance = random.Random(3)

    # Upload by boto3, commit by the lakefs package.
    s3 = server.s3(max_pool_connections=16)
    transfer = boto3.s3.transfer.TransferConfig(multipart_threshold=8 * 2**20, multipart_chunksize=5 * 2**20)
    manager = boto3.s3.transfer.create_transfer_manager(s3, transfer)

    def upload(path):
        data = tree[path]
        if len(data) > transfer.multipart_threshold:
            manager.upload(io.BytesIO(data), job.name, f"main/{path}").result()
        else:
            s3.put_object(Bucket=job.name, Key=f"main/{path}", Body=data)

    in_threads(12, upload, tree)
    manager.shutdown()
    state = hashes(tree)
    assert changes(job.branch("main").uncommitted()) == {("added", p) for p in state}
    first = job.record(job.branch("main").commit("Import", metadata={"source": "site-packages"}).id, state)

    # Read it back by boto3, from the commit.
    def download(path):
        return sha256(s3.get_object(Bucket=job.name, Key=f"{first}/{path}")["Body"].read())

    paths = sorted(tree)
    assert dict(zip(paths, in_threads(12, download, paths))) == state

    # Branch; change, add and delete through s3fs, PyArrow and the command line.
    work = job.branch("work").create("main")
    small = [p for p in paths if len(tree[p]) < 100_000]
    picked = chance.sample(small, CHANGED + DELETED)
    changed, deleted = picked[:CHANGED], picked[CHANGED:]
    added = [f"added/{n:03}/file {n}.bin" for n in range(ADDED)]
    content = {p: tree[p] + f"\nchanged {n}\n".encode() for n, p in enumerate(changed)}
    content |= {p: chance.randbytes(chance.randrange(0, 20_000)) for p in added}
    thirds = [list(content)[i::3] for i in range(3)]

    fs = server.s3fs()
    fs.pipe({f"{job.name}/work/{p}": content[p] for p in thirds[0]})
    arrow = server.pyarrow()
    for path in thirds[1]:
        with arrow.open_output_stream(f"{job.name}/work/{path}", compression=None) as stream:
            stream.write(content[path])
    folder = tmp_path / "by-cli"
    for path in thirds[2]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content[path])
    server.cli("cp", "-r", folder, f"mp://{job.name}/work/")
    fs.rm([f"{job.name}/work/{p}" for p in deleted[:10]])
    for path in deleted[10:20]:
        arrow.delete_file(f"{job.name}/work/{path}")
    server.cli("rm", *(f"{job.name}/work/{p}" for p in deleted[20:]))

    expected_diff = (
        {("changed", p) for p in changed} | {("added", p) for p in added} | {("removed", p) for p in deleted}
    )
    # PyArrow keeps the folder of a deleted file alive with an empty object; s3fs and the CLI do not.
    markers = {p for t, p in changes(work.uncommitted()) if t == "added" and p.endswith("/")}
    if markers:
        work.delete_objects(markers)
    assert changes(work.uncommitted()) == expected_diff
    worked = dict(state) | hashes(content)
    for path in deleted:
        del worked[path]
    second = job.record(work.commit("Change, add, delete").id, worked)
    assert changes(job.repository.ref("main").diff("work")) == expected_diff
    assert changes(job.repository.ref(first).diff(second, type="two_dot")) == expected_diff
    shown = server.cli("diff", f"{job.name}/main...work", "-o", "ndjson").stdout.splitlines()
    assert len(shown) == len(expected_diff)

    # A second branch from the same start, in conflict with the first.
    rival = job.branch("rival").create(first)
    clash, own = changed[0], "rival/own.txt"
    rival.object(clash).upload(b"the rival's version")
    rival.object(own).upload(b"no conflict here")
    rivalled = dict(state) | {clash: sha256(b"the rival's version"), own: sha256(b"no conflict here")}
    job.record(rival.commit("Rival").id, rivalled)

    # Merge and tag.
    merged = job.record(work.merge_into("main"), worked)
    tag = job.repository.tag("v1.0").create(merged)
    assert tag.get_commit().id == merged
    assert list_all(server, job.name, "v1.0").keys() == worked.keys()

    # Conflict first, then a strategy.
    before = job.branch("main").head.id
    with pytest.raises(lakefs.exceptions.ConflictException):
        rival.merge_into("main")
    assert job.branch("main").head.id == before
    assert ("conflict", clash) in changes(job.repository.ref("main").diff("rival"))
    done = server.cli("merge", f"{job.name}/rival", "main", check=False)
    assert done.returncode == 6 and clash in (done.stdout + done.stderr).decode()
    resolved = dict(worked) | {p: rivalled[p] for p in (clash, own)}
    conflict_merge = job.record(rival.merge_into("main", strategy="source-wins"), resolved)

    # Revert the merge: its first parent's tree comes back.
    main = job.branch("main")
    reverted = main.revert(conflict_merge, parent_number=1)
    job.record(reverted.id, worked)

    # Roll back: a hard reset by the CLI, taken back by undo, then done again to the first commit.
    server.cli("reset", "--yes", f"{job.name}/main", "--hard", first)
    assert main.head.id == first
    server.cli("undo", f"{job.name}/main")
    assert main.head.id == reverted.id
    server.cli("reset", "--yes", f"{job.name}/main", "--hard", "main~1")
    assert main.head.id == conflict_merge
    staged = {"staged/only.txt": b"acknowledged, not committed"}
    main.object("staged/only.txt").upload(staged["staged/only.txt"])

    job.verify()
    log = [c.id for c in main.log()]

    # kill -9, start again: the same history, the same bytes, the staged write still there; then work goes on.
    server.kill()
    server.start()
    job.verify()
    assert [c.id for c in main.log()] == log
    assert tag.get_commit().id == merged
    assert changes(main.uncommitted()) == {("added", "staged/only.txt")}
    assert main.object("staged/only.txt").reader().read() == staged["staged/only.txt"]
    committed = main.commit("After the restart").id
    job.record(committed, resolved | hashes(staged))
    more = job.branch("more").create("main")
    fs = server.s3fs()
    fs.pipe({f"{job.name}/more/after/{n}.txt": b"%d" % n for n in range(20)})
    fs.rm(f"{job.name}/more/{own}")
    grown = job.at[committed] | {f"after/{n}.txt": sha256(b"%d" % n) for n in range(20)}
    del grown[own]
    job.record(more.commit("More").id, grown)
    job.record(more.merge_into("main"), grown)
    job.verify_commit(committed)
    job.verify_commit(main.head.id)
