"""64 clients at once on one branch, through both doors: conditional writes have one winner, and a protection rule holds
for every write that begins after its answer."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from harness.sigv4 import Signer
from harness.wire import Answer

CLIENTS = 64


class Client:
    """One connection that stays open, for one thread."""

    def __init__(self, server, repo):
        self.server, self.repo, self.connection = server, repo, server.connection()
        self.signer = Signer(f"127.0.0.1:{server.port}")

    def _send(self, method, target, headers, body):
        self.connection.request(method, target, body, headers)
        response = self.connection.getresponse()
        return Answer(response.status, {n.lower(): v for n, v in response.headers.items()}, response.read())

    def api(self, method, path, body=b"", **headers):
        headers = {"Authorization": self.server.basic, **headers}
        return self._send(method, f"/api/v1/repositories/{self.repo}{path}", headers, body)

    def s3(self, method, key, body=b"", headers=None):
        path = f"/{self.repo}/main/{key}"
        return self._send(method, path, self.signer.headers(method, path, headers=headers), body)


def at_once(server, repo, work):
    """Runs `work(client, number)` in 64 threads that begin together; the first failure is raised."""
    begin = threading.Barrier(CLIENTS)

    def run(number):
        client = Client(server, repo)
        begin.wait()
        return work(client, number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(run, range(CLIENTS)))


def test_exclusive_creation_has_one_winner(http_server, http_repository):
    """Every client tries to create the same objects, half of them through either door."""
    names = [f"key-{n}" for n in range(10)]

    def create(client, number):
        won = []
        for name in names:
            text = b"%d" % number
            if number % 2:
                answer = client.s3("PUT", name, text, {"If-None-Match": "*"})
                created = 200
            else:
                path = f"/branches/main/objects?path={name}"
                answer = client.api("POST", path, text, **{"If-None-Match": "*"})
                created = 201
            assert answer.status in (created, 412), str(answer)
            if answer.status == created:
                won.append(name)
        return won

    winners = at_once(http_server, http_repository.id, create)
    assert sorted(name for won in winners for name in won) == sorted(names)
    for number, won in enumerate(winners):
        for name in won:
            assert http_repository.branch("main").object(name).reader().read() == b"%d" % number


def test_no_change_on_condition_is_lost(http_server, http_repository):
    """A counter that every client raises: read it, write one more if nobody else has. Meanwhile somebody commits."""
    repo = http_repository.id
    http_repository.branch("main").object("counter").upload(b"0")
    done = threading.Event()
    commits = []

    def commit():
        client = Client(http_server, repo)
        while not done.is_set():
            body = json.dumps({"message": "m", "allow_empty": True})
            answer = client.api("POST", "/branches/main/commits", body, **{"Content-Type": "application/json"})
            assert answer.status == 201, str(answer)
            commits.append(json.loads(answer.body)["id"])

    def raise_it(client, _):
        lost = 0
        while True:
            read = client.s3("GET", "counter")
            value = b"%d" % (int(read.body) + 1)
            answer = client.s3("PUT", "counter", value, {"If-Match": read.headers["etag"]})
            if answer.status == 200:
                return lost
            assert answer.status == 412, str(answer)
            lost += 1

    committer = ThreadPoolExecutor(1)
    committing = committer.submit(commit)
    try:
        lost = at_once(http_server, repo, raise_it)
    finally:
        done.set()
    committing.result(60)
    assert http_repository.branch("main").object("counter").reader().read() == b"%d" % CLIENTS
    # Every commit shows the counter as it was at one moment, never going back.
    seen = [int(http_repository.ref(commit).object("counter").reader().read()) for commit in commits[::10]]
    assert seen == sorted(seen), (seen, sum(lost))


def test_a_protection_rule_holds_from_its_answer_on(http_server, http_repository):
    """Writers on both doors go on while the branch is protected and opened again."""
    repo = http_repository.id
    done, answered = threading.Event(), threading.Semaphore(0)

    def write(client, number):
        written = []
        for n in range(100_000):
            if done.is_set():
                return written
            name = f"w{number}-{n}"
            began = time.monotonic()
            if number % 2:
                answer = client.s3("PUT", name, b"x")
            else:
                answer = client.api("POST", f"/branches/main/objects?path={name}", b"x")
            assert answer.status in (200, 201, 403), str(answer)
            written.append((began, time.monotonic(), answer.status != 403, name))
            answered.release()
        raise AssertionError("the rules were never done")

    def some_writes():
        for _ in range(4 * CLIENTS):
            assert answered.acquire(timeout=60), "the writers stand still"

    def rule(client, pattern):
        body = json.dumps([{"pattern": pattern}] if pattern else [])
        began = time.monotonic()
        path = "/settings/branch_protection"
        answer = client.api("PUT", path, body, **{"Content-Type": "application/json"})
        assert answer.status == 204, str(answer)
        return began, time.monotonic(), bool(pattern)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(at_once, http_server, repo, write)
        client = Client(http_server, repo)
        changes = [(0.0, 0.0, False)]
        try:
            for pattern in ("ma*", None) * 3:
                some_writes()
                changes.append(rule(client, pattern))
            some_writes()
        finally:
            done.set()
        written = [write for of_one in writing.result(60) for write in of_one]
    judged = {True: 0, False: 0}
    for began, ended, done_it, name in written:
        # What held from before it began until after it ended, if one thing did.
        before = [change for change in changes if change[1] <= began]
        between = [change for change in changes if change[0] < ended and change[1] > began]
        if not between:
            is_protected = before[-1][2]
            judged[is_protected] += 1
            assert done_it != is_protected, (name, began, ended)
    assert min(judged.values()) > CLIENTS, judged
    there = {o.path for o in http_repository.branch("main").objects()}
    assert there == {name for _, _, done_it, name in written if done_it}
