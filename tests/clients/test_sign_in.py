"""Signing in: one-time links in a browser, passwords, keys that end, and users who are deleted meanwhile."""

import contextlib
import itertools
import json
import re
import threading
import time
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from harness.browser import Browser
from harness.sigv4 import Signer
from harness.wire import request_bytes
from lakefs_sdk import models
from lakefs_sdk.exceptions import ApiException

_numbers = itertools.count(1)


@pytest.fixture
def name():
    return f"guest-{next(_numbers)}"


@contextlib.contextmanager
def s3_refused(code):
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["Error"]["Code"] in (code, "403"), caught.value.response


def login(server, name, password):
    """The token of the answer, or its status."""
    try:
        body = models.LoginInformation(access_key_id=name, secret_access_key=password)
        return server.sdk().auth_api.login(body).token
    except ApiException as refusal:
        return refusal.status


def link_that_up_printed(server):
    return re.search(r"sign in +(http\S+/auth/link\?token=\S+)", server.log.read_text()).group(1)


def test_up_prints_a_link_that_signs_a_browser_in_once(own_server):
    own_server.stop()
    own_server.start(verb="up")
    url = link_that_up_printed(own_server)
    browser, thief = Browser(own_server), Browser(own_server)
    assert browser.user() is None
    # A chat that looks at the link uses nothing up.
    assert thief.open(url).status == 200 and thief.user() is None
    page = browser.open(url)
    stale = thief.open(url)
    home = browser.press(page)
    assert (home.status, home.url) == (200, f"{own_server.url}/")
    assert browser.user() == "admin"
    over = thief.press(stale)
    assert over.status == 403 and "This link is over" in over.text and thief.user() is None
    # The session lives on over a restart, where another link is printed.
    own_server.stop()
    own_server.start(verb="serve")
    assert browser.user() == "admin"
    kept = dict(browser.cookies)
    assert browser.open("/logout").status == 200 and not browser.cookies
    browser.cookies = kept
    assert browser.user() is None


def test_login_link_verb(server, name):
    api = server.sdk().auth_api
    api.create_user(user_creation=models.UserCreation(id=name))
    link = json.loads(server.cli("auth", "login-link", name, "--expires", "1h", "-o", "json").stdout)
    assert link["user_id"] == name and link["url"].startswith(server.url)
    browser = Browser(server)
    assert browser.press(browser.open(link["url"])).status == 200
    assert browser.user() == name
    assert server.cli("auth", "login-link", "--expires", "25h", check=False).returncode == 1
    assert server.cli("auth", "login-link", "--expires", "soon", check=False).returncode == 2
    assert server.cli("auth", "login-link", "nobody", check=False).returncode == 5
    api.delete_user(name)
    assert browser.user() is None


def test_password_verb(server, name):
    api = server.sdk().auth_api
    api.create_user(user_creation=models.UserCreation(id=name))
    assert login(server, name, "a good password") == 401
    server.cli("auth", "password", name, "--password-stdin", stdin=b"a good password\n")
    token = login(server, name, "a good password")
    headers = {"Authorization": f"Bearer {token}"}
    assert json.loads(server.api("GET", "/user", headers=headers)[2])["user"]["id"] == name
    server.cli("auth", "password", name, "--password-stdin", stdin=b"another password\n")
    assert login(server, name, "a good password") == 401
    assert isinstance(login(server, name, "another password"), str)
    assert server.cli("auth", "password", name, "--password-stdin", stdin=b"short\n", check=False).returncode == 1
    assert server.cli("auth", "password", name, check=False).returncode == 2
    nobody = server.cli("auth", "password", "nobody", "--password-stdin", stdin=b"whatever it is", check=False)
    assert nobody.returncode == 5


def test_a_short_lived_key_at_both_doors(server, repository):
    id = repository.id
    repository.branch("main").object("a").upload(b"1")
    policy = {"statement": [{"effect": "allow", "action": ["fs:Read*", "fs:List*"], "resource": "*"}]}
    verb = ("auth", "keys", "create", "-o", "json")
    made = json.loads(server.cli(*verb, "--expires", "1h", "--policy", "-", stdin=json.dumps(policy).encode()).stdout)
    assert made["user_id"] == "admin" and made["expires"].endswith("Z")
    key = {name: made[name] for name in ("access_key_id", "secret_access_key")}
    assert server.sdk(**key).objects_api.stat_object(id, "main", "a").size_bytes == 1
    with pytest.raises(ApiException) as caught:
        server.sdk(**key).objects_api.delete_object(id, "main", "a")
    assert caught.value.status == 401
    # Programs made for other short-lived keys send a session token: signed, it decides nothing.
    for token in (None, "a token of somewhere else"):
        s3 = server.s3(**key, session_token=token, signature_version="s3v4")
        assert s3.get_object(Bucket=id, Key="main/a")["Body"].read() == b"1"
        with s3_refused("AccessDenied"):
            s3.put_object(Bucket=id, Key="main/a", Body=b"2")
        url = s3.generate_presigned_url("get_object", {"Bucket": id, "Key": "main/a"})
        assert ("X-Amz-Security-Token" in url) == (token is not None)
        context = server.ssl_context() if server.certificates else None
        assert urllib.request.urlopen(url, context=context).read() == b"1"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url + "&X-Amz-Security-Token=more", context=context)
        assert refused.value.code == 403
    server.cli("auth", "keys", "delete", key["access_key_id"], "-y")
    with s3_refused("InvalidAccessKeyId"):
        s3.get_object(Bucket=id, Key="main/a")
    assert server.cli(*verb, "--expires", "37h", check=False).returncode == 1
    assert server.cli(*verb, "--policy", "-", check=False).returncode == 2


class Busy(threading.Thread):
    """Somebody who sends one request after the other, and remembers when each began and how it ended."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.seen, self.enough, self.warm = work, [], threading.Event(), threading.Event()

    def run(self):
        while not self.enough.is_set():
            began = time.monotonic()
            try:
                self.work()
                self.seen.append((began, "served"))
            except Exception as refusal:
                self.seen.append((began, _how(refusal)))
            if len(self.seen) == 3:
                self.warm.set()

    def until_began_after(self, moment):
        deadline = time.monotonic() + 60
        while self.seen[-1][0] < moment:
            assert time.monotonic() < deadline, self.seen[-3:]
            time.sleep(0.01)


def goes_on_until_answered(upload):
    """Sends piece after piece until the server answers or closes the connection."""
    for _ in range(1000):
        try:
            upload.sendall(b"x" * 1000)
            return upload.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return b""
    raise AssertionError("the upload went on")


def _how(refusal):
    if isinstance(refusal, ClientError):
        return refusal.response["Error"]["Code"]
    return getattr(refusal, "status", None) or f"{type(refusal).__name__}: {refusal}"


def test_a_user_is_deleted_while_requests_run(server, repository, name):
    """From the answer to the deletion on nothing more is served to the user, with the key at either door, a token or a
    session; and an upload that was let in before breaks off."""
    id, api = repository.id, server.sdk().auth_api
    repository.branch("main").object("a").upload(b"1")
    api.create_user(user_creation=models.UserCreation(id=name))
    api.add_group_membership("Developers", name)
    made = api.create_credentials(name)
    key = {"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key}
    link = server.cli("auth", "login-link", name, "-o", "json").stdout
    browser = Browser(server)
    assert browser.press(browser.open(json.loads(link)["url"])).status == 200
    bearer = {"Authorization": f"Bearer {login(server, *key.values())}"}
    sdk, s3 = server.sdk(**key).objects_api, server.s3(**key)
    numbers = itertools.count()

    def with_token():
        status = server.api("GET", f"/repositories/{id}", headers=bearer)[0]
        if status != 200:
            raise ApiException(status=status)

    def with_session():
        page = browser.open(f"/api/v1/repositories/{id}")
        if page.status != 200:
            raise ApiException(status=page.status)

    busy = [
        Busy(lambda: sdk.stat_object(id, "main", "a")),
        Busy(lambda: s3.get_object(Bucket=id, Key="main/a")["Body"].read()),
        Busy(lambda: s3.put_object(Bucket=id, Key=f"main/put/{next(numbers)}", Body=b"2")),
        Busy(with_token),
        Busy(with_session),
    ]
    # An upload that goes on and on: what ends it is the deletion.
    signer = Signer(f"127.0.0.1:{server.port}", *key.values())
    upload = server.socket(timeout=0.02)
    target = f"/{id}/main/half"
    upload.sendall(request_bytes("PUT", target, signer.headers("PUT", target, headers={"content-length": "100000000"})))
    upload.sendall(b"x" * 500_000)
    for one in busy:
        one.start()
    for one in busy:
        assert one.warm.wait(60)
    api.delete_user(name)
    deleted = time.monotonic()
    answer = goes_on_until_answered(upload)
    broken_off = time.monotonic() - deleted
    for one in busy:
        one.until_began_after(deleted)
    for one in busy:
        one.enough.set()
        one.join(60)
    expected = [401, "InvalidAccessKeyId", "InvalidAccessKeyId", 401, 401]
    for one, refused in zip(busy, expected):
        before = [how for began, how in one.seen if began < deleted]
        after = [how for began, how in one.seen if began >= deleted]
        assert before.count("served") >= 3, before
        assert after and set(after) == {refused}, after
    assert b" 403 " in answer.split(b"\r\n")[0] or answer == b"", answer
    assert broken_off < 1, broken_off
    assert "half" not in [o.path for o in repository.branch("main").objects()]
