"""Sign-in through a real OIDC provider, over a browser's redirects and cookies."""

import json
import time
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest
from conftest import CERTIFICATES
from harness.oidc import Browser, Provider, install
from harness.server import Server


@pytest.fixture(scope="module", autouse=True)
def node():
    why_not = install()
    if why_not:
        pytest.skip(f"{why_not}; sign-in through a provider is not tested")


@pytest.fixture
def made(tmp_path):
    """`made(scheme, ...)`: a provider and a server that trusts it, started. `settings` are the server's."""
    running = []

    def make(scheme="http", settings=None, start_provider=True, **provider):
        server = Server(tmp_path / "server", CERTIFICATES if scheme == "https" else None)
        provider = Provider(tmp_path, server, **provider)
        server.environment = {"MILLPOND_EXTERNAL_URL": server.url, **provider.server_settings(**(settings or {}))}
        running.extend([provider, server])
        if start_provider:
            provider.start()
        return provider, server.start(**server.environment)

    yield make
    for each in running:
        each.kill()


def groups(server, user):
    status, _, body = server.api("GET", f"/auth/users/{user}/groups")
    assert status == 200, body
    return [group["id"] for group in json.loads(body)["results"]]


def refused(answer, status, *parts):
    found, _, page = answer
    assert found == status, (found, page)
    assert "You are not signed in" in page
    for part in parts:
        assert part in page, page


def changed(url, **parameters):
    """The same address with these parameters in place of its own; None takes one away."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | parameters
    query = urlencode({name: value for name, value in query.items() if value is not None})
    return urlunsplit(parts._replace(query=query))


GROUPS = {"groups_claim": "groups", "groups": "ops=Admins,data=Developers"}


@pytest.mark.parametrize(
    "scheme, algorithm, method, claims_in_token",
    [
        ("http", "RS256", "client_secret_basic", False),
        ("https", "ES256", "client_secret_post", True),
        ("http", "PS256", "client_secret_basic", True),
        ("https", "EdDSA", "none", False),
    ],
)
def test_the_first_sign_in_makes_a_user_and_each_sets_the_groups(made, scheme, algorithm, method, claims_in_token):
    secret = None if method == "none" else "odd+secret/with = signs%"
    provider, server = made(
        scheme, GROUPS, algorithm=algorithm, method=method, claims_in_token=claims_in_token, secret=secret
    )
    state = json.loads(server.api("GET", "/setup_lakefs")[2])["login_config"]
    assert (state["login_url"], state["login_url_method"]) == ("/oidc/login", "select")

    provider.people({"eve": {"name": "Eve", "email": "eve@example.org", "groups": ["ops", "unknown", "Viewers"]}})
    eve = Browser(server)
    assert eve.user() is None
    status, url, _ = eve.sign_in("eve")
    assert (status, url) == (200, server.url + "/")
    assert eve.user() == "eve"
    assert groups(server, "eve") == ["Admins"]
    user = json.loads(server.api("GET", "/auth/users/eve")[2])
    assert (user["friendly_name"], user["email"]) == ("Eve", "eve@example.org")
    session = eve.cookie("internal_auth_session")
    assert session.secure == (scheme == "https") and session.has_nonstandard_attr("HttpOnly")
    assert eve.cookie("oidc_attempt") is None and eve.cookie("__Host-oidc_attempt") is None, "used up"

    # What was given is replaced, what somebody set by hand stays.
    assert server.api("PUT", "/auth/groups/SuperUsers/members/eve")[0] == 201
    provider.people({"eve": {"groups": ["data"]}})
    again = Browser(server)
    assert again.sign_in("eve")[0] == 200
    assert groups(server, "eve") == ["Developers", "SuperUsers"]
    server.kill()
    server.start(**server.environment)
    provider.people({"eve": {}})
    assert Browser(server).sign_in("eve")[0] == 200
    assert groups(server, "eve") == ["SuperUsers"]
    assert eve.user() == "eve", "sessions outlive a restart"


def test_rights_come_and_go_with_groups(made):
    provider, server = made(settings=GROUPS)
    new = json.dumps({"name": "of-eve", "storage_namespace": "local://of-eve"}).encode()

    def create(browser):
        headers = {"Cookie": f"internal_auth_session={browser.session()}", "Content-Type": "application/json"}
        connection = server.connection()
        connection.request("POST", "/api/v1/repositories", new, headers)
        return connection.getresponse().status

    provider.people({"eve": {"groups": []}})
    eve = Browser(server)
    assert eve.sign_in("eve")[0] == 200
    assert (eve.user(), groups(server, "eve")) == ("eve", []), "known, and may do nothing"
    assert create(eve) == 401
    provider.people({"eve": {"groups": ["ops"]}})
    later = Browser(server)
    assert later.sign_in("eve")[0] == 200
    assert create(eve) == 201, "the earlier session is the same user's"

    status, _, _ = later.open(server.url + "/logout")
    assert (status, later.user(), eve.user()) == (200, None, "eve")
    assert server.api("DELETE", "/auth/users/eve")[0] == 204
    assert eve.user() is None
    assert Browser(server).sign_in("eve")[0] == 200, "made again, as new people are"


def test_answers_that_belong_to_no_attempt_of_this_browser_sign_nobody_in(made):
    provider, server = made()
    mallory, victim = Browser(server), Browser(server)
    back = mallory.at_provider("mallory")
    # Somebody else's code in my browser: with no attempt of mine, and with one.
    refused(victim.open(back), 401, "has begun none")
    own = victim.at_provider("victim")
    refused(victim.open(back), 401, "another attempt")
    assert victim.user() is None
    code = parse_qs(urlsplit(back).query)["code"][0]
    own = victim.at_provider("victim")
    refused(victim.open(changed(own, code=code)), 401, "does not accept its code")
    own = victim.at_provider("victim")
    refused(victim.open(changed(own, state=None)), 401, "another attempt")
    own = victim.at_provider("victim")
    refused(victim.open(changed(own, code=None)), 401, "no code")
    own = victim.at_provider("victim")
    refused(victim.open(changed(own, iss="https://evil.example")), 401, "another provider")
    own = victim.at_provider("victim")
    refused(victim.open(changed(own, iss=None)), 401, "does not say whose it is")
    own = victim.at_provider("victim")
    script = "<script>alert(1)</script>"
    refused(victim.open(changed(own, code=None, error=script)), 401, "&lt;script&gt;")
    own = victim.at_provider("victim")
    attempt = victim.cookie("oidc_attempt")
    attempt.value = attempt.value[:10] + ("A" if attempt.value[10] != "A" else "B") + attempt.value[11:]
    refused(victim.open(own), 401, "has begun none")
    assert victim.user() is None and victim.session() is None
    assert victim.sign_in("victim")[0] == 200
    assert victim.user() == "victim"


def test_a_code_is_good_once(made):
    provider, server = made()
    eve = Browser(server)
    back = eve.at_provider("eve")
    attempt = eve.cookie("oidc_attempt")
    assert eve.open(back)[0] == 200
    thief = Browser(server)
    thief.cookies.set_cookie(attempt)
    refused(thief.open(back), 401, "used before")
    assert thief.user() is None and eve.user() == "eve"


def test_new_keys_of_the_provider_are_found(made):
    provider, server = made()
    assert Browser(server).sign_in("eve")[0] == 200
    provider.kill()
    provider.start()
    # The server asks again for keys that it does not know, but not within 5 s of the last time.
    deadline = time.monotonic() + 60
    while True:
        eve = Browser(server)
        status, _, page = eve.sign_in("eve")
        if status == 200:
            break
        assert "does not publish" in page and time.monotonic() < deadline, page
        time.sleep(0.2)
    assert eve.user() == "eve"


def test_a_provider_that_is_down_stops_nobody_else(made):
    provider, server = made(start_provider=False)
    browser = Browser(server)
    refused(browser.open(server.url + "/oidc/login"), 503, "cannot be reached")
    assert server.api("GET", "/repositories")[0] == 200
    assert server.healthy()


def test_a_provider_that_goes_down_on_the_way(made):
    provider, server = made()
    eve = Browser(server)
    back = eve.at_provider("eve")
    provider.kill()
    refused(eve.open(back), 503, "cannot be reached")
    assert eve.user() is None
    assert server.api("GET", "/repositories")[0] == 200


def test_a_server_that_the_provider_does_not_know(made):
    provider, server = made()
    eve = Browser(server)
    server.kill()
    server.environment["MILLPOND_AUTH_OIDC_CLIENT_SECRET"] = "another"
    server.start(**server.environment)
    refused(eve.sign_in("eve"), 502, "invalid_client")


def test_strangers_become_nobody(made):
    provider, server = made(settings={"create_users": "false"})
    eve = Browser(server)
    principal = f"{provider.issuer}#eve"
    refused(eve.sign_in("eve"), 401, "no user here is linked", principal)
    assert server.api("GET", "/auth/users/eve")[0] == 404
    # An administrator says whose it is.
    body, json_type = json.dumps({"id": "eva"}).encode(), {"Content-Type": "application/json"}
    assert server.api("POST", "/auth/users", body, json_type)[0] == 201
    server.cli("auth", "principals", "link", "eva", principal)
    assert json.loads(server.cli("auth", "principals", "list", "eva", "-o", "json").stdout)[0]["id"] == principal
    assert eve.sign_in("eve")[0] == 200
    assert eve.user() == "eva"
    server.cli("auth", "principals", "unlink", "eva", principal)
    refused(Browser(server).sign_in("eve"), 401, "no user here is linked")
    server.cli("auth", "principals", "link", "eva", principal)
    assert server.cli("auth", "principals", "link", "admin", principal, check=False).returncode != 0, "it is eva"
    assert server.api("DELETE", "/auth/users/eva")[0] == 204
    refused(eve.sign_in("eve"), 401, "no user here is linked")


def test_a_taken_name_is_not_joined(made):
    """Somebody at the provider calls himself as the administrator is called, and has his address."""
    provider, server = made(settings={"username_claim": "preferred_username", **GROUPS})
    provider.people({"7": {"preferred_username": "admin", "groups": ["ops"]}, "8": {"preferred_username": "a/b"}})
    mallory = Browser(server)
    refused(mallory.sign_in("7"), 401, "that of another user")
    assert mallory.user() is None
    refused(Browser(server).sign_in("8"), 401, "cannot be a user here")
    refused(Browser(server).sign_in("9"), 401, "preferred_username")


def test_people_without_a_required_claim_stay_out(made):
    provider, server = made(settings={"required_claims": "email=eve@example.org", "default_groups": "Viewers,nowhere"})
    provider.people({"eve": {"email": "eve@example.org"}, "bob": {"email": "bob@example.org"}})
    refused(Browser(server).sign_in("bob"), 401, "may sign in here")
    assert Browser(server).sign_in("eve")[0] == 200
    assert groups(server, "eve") == ["Viewers"]


def test_whoever_declines_at_the_provider_is_told_so(made):
    provider, server = made()
    eve = Browser(server)
    back = eve.at_provider("eve")
    denied = changed(back, code=None, error="access_denied")
    refused(eve.open(denied), 401, "access_denied")


def test_nothing_secret_is_logged(made):
    provider, server = made(settings=GROUPS, secret="canary-of-the-client")
    server.kill()
    server.environment |= {"MILLPOND_LOG_LEVEL": "trace", "MILLPOND_LOG_REQUESTS": "all"}
    server.start(**server.environment)
    eve = Browser(server)
    back = eve.at_provider("eve")
    attempt = eve.cookie("oidc_attempt").value
    assert eve.open(back)[0] == 200
    stale = Browser(server)
    refused(stale.open(back), 401)
    query = parse_qs(urlsplit(back).query)
    log = server.log.read_text()
    assert "oauthCallback" in log and "signed in through the provider" in log
    for canary in [query["code"][0], query["state"][0], attempt, eve.session(), "canary-of-the-client"]:
        assert canary not in log


def test_without_a_provider_there_is_no_such_sign_in(http_server):
    browser = Browser(http_server)
    assert browser.open(http_server.url + "/oidc/login")[0] == 404
    assert browser.open(http_server.url + "/api/v1/oidc/callback?code=x&state=y") == (
        200,
        http_server.url + "/api/v1/oidc/callback?code=x&state=y",
        "",
    )
    state = json.loads(http_server.api("GET", "/setup_lakefs")[2])["login_config"]
    assert (state["login_url"], state["login_url_method"]) == ("", "none")
