"""Servers for the tests: one over http and one over https for the whole run, and fresh ones for tests that kill them.

Every test that takes `server` runs over both; `http_server` is for what does not depend on the transport.
"""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# PyArrow takes its certificate authorities from SSL_CERT_FILE when it is imported, so this comes before the clients.
_TLS = Path(tempfile.mkdtemp(prefix="millpond-tls-"))
os.environ["SSL_CERT_FILE"] = str(_TLS / "ca.pem")
# Keys, profiles and servers of whoever runs the tests must reach no client.
for _name in list(os.environ):
    if _name.startswith(("AWS_", "LAKECTL_")):
        del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

from harness.tls import Certificates  # noqa: E402

CERTIFICATES = Certificates(_TLS)

from harness.server import Server  # noqa: E402

_numbers = itertools.count(1)
_running = []


def pytest_sessionfinish():
    shutil.rmtree(_TLS, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of the log of each server that runs."""
    report = yield
    if report.failed:
        for server in _running:
            report.sections.append((f"log of {server.url}", server.log_tail()))
    return report


def _server(tmp_path_factory, scheme):
    """Starts a server, hands it over, and kills it."""
    server = Server(tmp_path_factory.mktemp(scheme), CERTIFICATES if scheme == "https" else None)
    _running.append(server)
    try:
        yield server.start()
    finally:
        server.kill()
        _running.remove(server)


@pytest.fixture(scope="session")
def http_server(tmp_path_factory):
    yield from _server(tmp_path_factory, "http")


@pytest.fixture(scope="session")
def https_server(tmp_path_factory):
    yield from _server(tmp_path_factory, "https")


@pytest.fixture(params=["http", "https"])
def server(request):
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture(params=["http", "https"])
def own_server(request, tmp_path_factory):
    """A server of this test's own: it may be killed and started again."""
    yield from _server(tmp_path_factory, request.param)


@pytest.fixture
def repository(server):
    """A new repository (the `lakefs` package's object) on `server`; its name is `repository.id`."""
    return server.new_repository(f"repository-{next(_numbers)}")


@pytest.fixture
def http_repository(http_server):
    """A new repository on `http_server`."""
    return http_server.new_repository(f"http-repository-{next(_numbers)}")
