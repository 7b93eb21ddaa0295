"""No secret is told to anybody it is not for: not by logs at trace level, errors, metrics or the command line; and it lies
neither in the data directory nor in a backup or a dump."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.exceptions import ClientError
from harness.browser import Browser
from harness.server import SECRET_ACCESS_KEY

TRACE = {"MILLPOND_LOG_LEVEL": "trace", "MILLPOND_LOG_REQUESTS": "all", "MILLPOND_LOG_FORMAT": "json"}


class Canaries:
    """Secrets by what they are, and where they must not be."""

    def __init__(self):
        self.secrets = {}

    def add(self, what, secret):
        assert len(secret) >= 16, what
        self.secrets[what] = secret
        return secret

    def forms(self, secret):
        raw = secret.encode()
        yield raw
        yield json.dumps(secret)[1:-1].encode()
        yield urllib.parse.quote(secret, safe="").encode()
        yield secret.replace("/", "\\/").encode()
        # Whatever stands before and after it, this much of its base64 is the same.
        for shift in range(3):
            encoded = base64.b64encode(b"x" * shift + raw)
            yield encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]

    def found(self, data):
        return [what for what, secret in self.secrets.items() if any(form in data for form in self.forms(secret))]


class Talk:
    """Requests to one server; every answer that is no success is kept."""

    def __init__(self, server, admin):
        self.server, self.admin, self.refusals = server, admin, []

    def send(self, method, path, body=None, expect=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection = self.server.connection()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            self.refusals.append(str(response.headers).encode() + text)
        assert expect is None or response.status == expect, (method, path, response.status, text)
        return response.status, text

    def login(self, name, secret, expect):
        body = {"access_key_id": name, "secret_access_key": secret}
        return self.send("POST", "/api/v1/auth/login", body, expect)[1]

    def own(self, what, body, expect=201):
        text = self.send("POST", f"/api/millpond/v1/auth/{what}", body, expect, Authorization=self.admin)[1]
        return json.loads(text) if text else None


def basic(key, secret):
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()


@pytest.fixture
def sent(own_server):
    """A server that had every kind of secret in its hands, and what it had."""
    server, canaries = own_server, Canaries()
    server.stop()
    backups = server.directory / "backups"
    backups.mkdir()
    server.log.write_bytes(b"")
    server.start(**TRACE, MILLPOND_BACKUP=str(backups))
    canaries.add("secret of the administrator's key", SECRET_ACCESS_KEY)
    key_file = server.directory / "master.key"
    canaries.add("master key", key_file.read_text().strip())
    talk = Talk(server, server.basic)
    repository = server.new_repository("canaries")
    repository.branch("main").object("a").upload(b"1")

    # A user with a key, and wrong and garbled ways to use it.
    api = "/api/v1"
    talk.send("POST", f"{api}/auth/users", {"id": "canary"}, 201, Authorization=server.basic)
    made = talk.send("POST", f"{api}/auth/users/canary/credentials", expect=201, Authorization=server.basic)[1]
    key = json.loads(made)
    canaries.add("secret of a key", key["secret_access_key"])
    wrong = canaries.add("wrong secret", key["secret_access_key"][:-8] + "Typed+it")
    talk.send("GET", f"{api}/user", None, 401, Authorization=basic(key["access_key_id"], wrong))
    right = basic(key["access_key_id"], key["secret_access_key"])
    talk.send("GET", f"{api}/repositories", None, 401, Authorization=right)
    talk.login(key["access_key_id"], wrong, 401)
    # The secret in the place of the name, as people do.
    talk.login(key["secret_access_key"], key["access_key_id"], 401)
    talk.send("GET", f"{api}/user", None, 401, Authorization=basic(key["secret_access_key"], "x"))
    with pytest.raises(ClientError) as unknown:
        server.s3(key["secret_access_key"], "x" * 20).list_buckets()
    talk.refusals.append(repr(unknown.value.response).encode())
    for garbled in (
        f'{{"access_key_id": "x", "secret_access_key": "{wrong}"',
        f'{{"access_key_id": "x", "secret_access_key": ["{wrong}"]}}',
        f'{{"access_key_id": "x", "{wrong}": "secret_access_key"}}',
        f"secret_access_key={wrong}",
    ):
        assert talk.send("POST", f"{api}/auth/login", garbled)[0] in (400, 401)
    for scheme in ("Bearer", "Basic", "Token", "AWS"):
        talk.send("GET", f"{api}/repositories", None, Authorization=f"{scheme} {wrong}")
    imported = {"credentials": {"access_key_id": "x", "secret_access_key": wrong}}
    talk.send("POST", f"{api}/auth/users/canary/credentials", imported, Authorization=server.basic)
    talk.send("POST", f"{api}/setup_lakefs", {"username": "x", "key": imported["credentials"]})

    # Passwords.
    password = canaries.add("password", "the quick brown canary")
    talk.own("password", {"user_id": "canary", "password": password}, 204)
    talk.login("canary", canaries.add("wrong password", "a typo of the quick canary"), 401)
    talk.own("password", {"user_id": "canary", "password": canaries.add("long password", "canary " * 200)}, 400)
    talk.own("password", {"user_id": "nobody", "password": canaries.add("nobody's password", "canary of nobody")}, 404)
    talk.own("password", {"user_id": "canary", "password": [canaries.add("no text", "a canary in a list")]}, 400)

    # Tokens, sessions, links.
    token = canaries.add("token", json.loads(talk.login("canary", password, 200))["token"])
    canaries.add("signature of the token", token.split(".")[2])
    talk.send("GET", f"{api}/user", None, 200, Authorization=f"Bearer {token}")
    talk.send("GET", f"{api}/user", None, 401, Authorization=f"Bearer {token[:-4]}AAAA")
    link = talk.own("link", {"user_id": "canary"})["path"]
    canaries.add("link", link.partition("token=")[2])
    browser = Browser(server)
    assert browser.press(browser.open(link)).status == 200 and browser.user() == "canary"
    [session] = browser.cookies.values()
    canaries.add("session", session)
    assert browser.press(browser.open(talk.own("link", {})["path"])).status == 200
    unused = talk.own("link", {})["path"]
    canaries.add("unused link", unused.partition("token=")[2])
    talk.send("GET", unused + "&more=1")
    talk.send("GET", "/no/such/place?token=" + canaries.secrets["unused link"])
    talk.send("GET", f"{api}/repositories?after=" + canaries.secrets["unused link"], None, 401)
    cookie = f"internal_auth_session={session}"
    talk.send("POST", "/api/millpond/v1/auth/link", {}, 403, Cookie=cookie, Origin="http://evil")

    # Keys that end; S3, with a session token of somewhere else; presigned requests, which let in whoever has them.
    short = talk.own("keys", {"lifetime_seconds": 3600})
    canaries.add("secret of a short-lived key", short["secret_access_key"])
    other = canaries.add("session token", "a+session/token=of+somewhere/else==")
    ids = {name: short[name] for name in ("access_key_id", "secret_access_key")}
    s3 = server.s3(**ids, session_token=other, signature_version="s3v4")
    assert s3.get_object(Bucket="canaries", Key="main/a")["Body"].read() == b"1"
    context = server.ssl_context() if server.certificates else None
    url = s3.generate_presigned_url("get_object", {"Bucket": "canaries", "Key": "main/a"})
    canaries.add("presigned signature", url.partition("X-Amz-Signature=")[2].partition("&")[0])
    assert urllib.request.urlopen(url, context=context).read() == b"1"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url + "&x=1", context=context)
    talk.refusals.append(refused.value.read())

    with pytest.raises(ClientError):
        server.s3(short["access_key_id"], wrong, session_token=other).get_object(Bucket="canaries", Key="main/a")

    # The same over HTTP/2, whose library would tell much at this level if it were let.
    if curl := shutil.which("curl"):
        command = [curl, "--silent", "--show-error", "--max-time", "20", "--output", "/dev/null"]
        command += ["--cacert", str(server.certificates.ca)] if server.certificates else ["--http2-prior-knowledge"]
        for path, header in (
            (unused, f"Authorization: {server.basic}"),
            (f"{api}/user", f"Authorization: Bearer {token}"),
            (f"{api}/user", f"Cookie: {cookie}"),
            (url.removeprefix(server.url), f"X-Amz-Security-Token: {other}"),
        ):
            subprocess.run([*command, "--header", header, server.url + path], check=True)

    # The command line, told wrongly and loudly.
    for arguments in (
        ("auth", "password", "nobody", "--password-stdin"),
        ("repo", "list", "--secret-access-key", wrong),
    ):
        done = server.cli(*arguments, stdin=(password + "\n").encode(), check=False)
        assert done.returncode != 0
        talk.refusals.append(done.stdout + done.stderr)
    server.cli("auth", "rotate-master-key", "-y")
    canaries.add("second master key", key_file.read_text().strip())

    # The trail is a moment behind with refusals.
    for _ in range(200):
        talk.trail = talk.send("GET", "/api/millpond/v1/audit?amount=1000", None, 200, Authorization=server.basic)[1]
        if b"(unknown)" in talk.trail:
            break
        time.sleep(0.05)
    talk.metrics = talk.send("GET", "/metrics", None, 200)[1]
    dump = talk.send("PUT", f"{api}/repositories/canaries/refs/dump", None, 201, Authorization=server.basic)[1]
    assert canaries.found(dump) == []
    place = backups / "one"
    talk.send("POST", "/api/millpond/v1/backup", {"directory": str(place)}, 200, Authorization=server.basic)
    assert any(place.rglob("*"))
    return server, talk, canaries, backups


def test_no_secret_is_told(sent):
    server, talk, canaries, backups = sent
    encoded = base64.b64encode(b"id:" + canaries.secrets["password"].encode())
    assert canaries.found(b".." + encoded + b"..") == ["password"], "the search finds what there is"
    log = server.log.read_bytes()
    assert b'"DEBUG"' in log and log.count(b"/api/v1/auth/login") > 3
    assert canaries.found(log) == []
    assert len(talk.refusals) > 20
    for refusal in talk.refusals:
        assert canaries.found(refusal) == [], refusal
    assert b"millpond_" in talk.metrics and canaries.found(talk.metrics) == []
    assert b"(unknown)" in talk.trail and canaries.found(talk.trail) == []
    server.stop()
    assert canaries.found(server.log.read_bytes()) == []
    for folder in (server.directory / "data", backups):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert canaries.found(path.read_bytes()) == [], path
