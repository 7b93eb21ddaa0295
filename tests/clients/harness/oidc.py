"""A real OIDC provider (npm's `oidc-provider`) and a browser that is sent to and fro between it and the server."""

import html
import json
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

from harness.server import REPOSITORY_ROOT, START_SECONDS_MAX, free_port

HOME = REPOSITORY_ROOT / "tests/clients/oidc"
CALLBACK = "/api/v1/oidc/callback"


def install():
    """Installs the provider. Gives the reason why that cannot be, if Node is missing."""
    done = subprocess.run([REPOSITORY_ROOT / "scripts/node-env"], capture_output=True, text=True)
    if done.returncode == 3:
        return done.stderr.strip()
    assert done.returncode == 0, done.stderr
    return None


class Provider:
    """One provider. `kill` and `start` keep its port; its keys are new at each start, and it has forgotten everybody."""

    def __init__(self, directory, server, secret="the client's secret", method="client_secret_basic", algorithm="RS256", claims_in_token=False):
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.people_file = directory / "people.json"
        self.log = directory / "provider.log"
        self.settings = {"redirectUri": server.url + CALLBACK, "method": method, "algorithm": algorithm}
        self.settings["claimsInToken"] = claims_in_token
        if secret:
            self.settings["secret"] = secret
        self.process = None
        self.people({})

    def people(self, people):
        """What it says about whom, from now on."""
        self.people_file.write_text(json.dumps(people))

    def server_settings(self, **more):
        """Variables for the server that trusts it."""
        settings = {"issuer": self.issuer, "client_id": "millpond", "scopes": "openid,profile,email,groups", **more}
        if "secret" in self.settings:
            settings["client_secret"] = self.settings["secret"]
        return {f"MILLPOND_AUTH_OIDC_{name.upper()}": value for name, value in settings.items()}

    def start(self):
        with self.log.open("ab") as log:
            arguments = ["node", "provider.mjs", str(self.port), json.dumps(self.settings), str(self.people_file)]
            self.process = subprocess.Popen(arguments, cwd=HOME, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Stops where the provider sends the browser back to the server: the test decides what becomes of that."""

    def redirect_request(self, request, file, code, message, headers, url):
        if urllib.parse.urlsplit(url).path == CALLBACK:
            raise _Back(url)
        return super().redirect_request(request, file, code, message, headers, url)


class _Back(Exception):
    def __init__(self, url):
        self.url = url


class Browser:
    """Cookies, redirects and forms. Nobody else's."""

    def __init__(self, server):
        self.server = server
        self.cookies = CookieJar()
        context = server.ssl_context() if server.certificates else ssl.create_default_context()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(self.cookies),
            _Redirects(),
        )

    def open(self, url, form=None, method=None, headers=None):
        """(status, final address, text)."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(url, data, headers or {}, method=method)
        try:
            with self.opener.open(request, timeout=60) as response:
                return response.status, response.url, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.url, error.read().decode()

    def at_provider(self, login):
        """Begins a sign-in and does what the provider wants of this person. Gives the address that leads back."""
        try:
            status, url, page = self.open(self.server.url + "/oidc/login")
            while True:
                assert status == 200, (status, url, page)
                action = html.unescape(re.search(r'<form[^>]* action="([^"]+)"', page)[1])
                prompt = re.search(r'name="prompt" value="(\w+)"', page)[1]
                form = {"prompt": prompt, "login": login, "password": "x"}
                status, url, page = self.open(urllib.parse.urljoin(url, action), form)
        except _Back as back:
            return back.url

    def sign_in(self, login):
        """The whole way: (status, final address, text)."""
        return self.open(self.at_provider(login))

    def cookie(self, name):
        return next((cookie for cookie in self.cookies if cookie.name == name), None)

    def session(self):
        cookie = self.cookie("internal_auth_session")
        return cookie.value if cookie else None

    def user(self):
        """Who the server says it is; None if it says nobody or refuses the session."""
        status, _, text = self.open(self.server.url + "/api/v1/user")
        return json.loads(text)["user"]["id"] or None if status == 200 else None
