"""A real `millpond serve` process on a directory of its own, and every client pointed at it."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from pathlib import Path

import boto3
import botocore.config
import lakefs
import lakefs.client
import lakefs_sdk.client
import lakefs_spec
import pyarrow.fs
import s3fs

REPOSITORY_ROOT = Path(__file__).resolve().parents[3]
ACCESS_KEY_ID = "AKIAJMILLPONDTESTSAQ"
SECRET_ACCESS_KEY = "millpond/tests+only/0123456789abcdefghij"
REGION = "us-east-1"
START_SECONDS_MAX = 60


def binary():
    """The binary under test: `MILLPOND_BIN`, else the dev build."""
    path = Path(os.environ.get("MILLPOND_BIN", REPOSITORY_ROOT / "target/debug/millpond"))
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run 'cargo build -p millpond', or set MILLPOND_BIN")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One server. `kill` and `start` keep its data and its port."""

    def __init__(self, directory, certificates=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.certificates = certificates
        self.scheme = "https" if certificates else "http"
        self.port = free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.log = self.directory / "server.log"
        self.process = None
        # Nothing of the caller's environment may leak in: neither a profile nor a MILLPOND_ or AWS_ variable.
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        self.base_environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_DATA_HOME": str(home / ".local/share"),
        }

    def start(self, verb="serve", **settings):
        """`settings`: more of the environment, as `MILLPOND_LOG_LEVEL="trace"`."""
        environment = {
            **self.base_environment,
            "MILLPOND_LISTEN": f"127.0.0.1:{self.port}",
            "MILLPOND_DATA": str(self.directory / "data"),
            "MILLPOND_MASTER_KEY_FILE": str(self.directory / "master.key"),
            "MILLPOND_ADMIN_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "MILLPOND_ADMIN_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "MILLPOND_LOCAL_IMPORT": str(self.directory / "import"),
            "RUST_BACKTRACE": "1",
            **settings,
        }
        (self.directory / "import").mkdir(exist_ok=True)
        if self.certificates:
            environment["MILLPOND_TLS_CERT"] = str(self.certificates.certificate)
            environment["MILLPOND_TLS_KEY"] = str(self.certificates.key)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), verb],
                env=environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.healthy():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"no healthy answer in {START_SECONDS_MAX} s:\n{self.log_tail()}")
            time.sleep(0.02)
        return self

    def kill(self):
        """SIGKILL: no chance to flush anything."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode if self.process else None

    def healthy(self):
        try:
            connection = self.connection(timeout=5)
            connection.request("GET", "/_health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def alive(self):
        return self.process is not None and self.process.poll() is None and self.healthy()

    def log_tail(self, bytes_max=8000):
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[-bytes_max:].decode(errors="replace")

    # Bare connections -------------------------------------------------------------------------------------

    def ssl_context(self):
        return ssl.create_default_context(cafile=str(self.certificates.ca))

    def connection(self, timeout=60):
        """An `http.client` connection, not opened yet."""
        if self.certificates:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.ssl_context())
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def socket(self, timeout=30):
        """An open socket, for requests that no HTTP library would send."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        if self.certificates:
            return self.ssl_context().wrap_socket(plain, server_hostname="127.0.0.1")
        return plain

    @property
    def basic(self):
        """Value of an `Authorization` header for the API."""
        return "Basic " + b64encode(f"{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}".encode()).decode()

    def api(self, method, path, body=None, headers=None):
        """One API call without any client library: (status, headers, body)."""
        return self.raw(method, "/api/v1" + path, body, {"Authorization": self.basic, **(headers or {})})

    def raw(self, method, path, body=None, headers=None):
        """One call as it is."""
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    # Clients ----------------------------------------------------------------------------------------------

    @property
    def verify(self):
        return str(self.certificates.ca) if self.certificates else True

    def s3(self, access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY, session_token=None, **config):
        """boto3's client, with its defaults but for retries: what fails once must be seen."""
        config = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **config}
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
            verify=self.verify,
            config=botocore.config.Config(**config),
        )

    def _sdk_arguments(self, access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY):
        arguments = {"host": self.url, "username": access_key_id, "password": secret_access_key}
        if self.certificates:
            arguments["ssl_ca_cert"] = str(self.certificates.ca)
        return arguments

    def lakefs(self, **keys):
        return lakefs.client.Client(**self._sdk_arguments(**keys))

    def sdk(self, **keys):
        return lakefs_sdk.client.LakeFSClient(lakefs_sdk.Configuration(**self._sdk_arguments(**keys)))

    def lakefs_spec(self):
        return lakefs_spec.LakeFSFileSystem(**self._sdk_arguments(), skip_instance_cache=True)

    def s3fs(self):
        return s3fs.S3FileSystem(
            key=ACCESS_KEY_ID,
            secret=SECRET_ACCESS_KEY,
            endpoint_url=self.url,
            client_kwargs={"region_name": REGION, "verify": self.verify},
            config_kwargs={"retries": {"total_max_attempts": 1}},
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def pyarrow(self, **options):
        return pyarrow.fs.S3FileSystem(
            access_key=ACCESS_KEY_ID,
            secret_key=SECRET_ACCESS_KEY,
            endpoint_override=f"127.0.0.1:{self.port}",
            scheme=self.scheme,
            region=REGION,
            **options,
        )

    @property
    def cli_environment(self):
        """What `millpond ARGUMENTS` needs to find this server."""
        environment = {
            **self.base_environment,
            "MILLPOND_SERVER": self.url,
            "MILLPOND_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "MILLPOND_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }
        if self.certificates:
            environment["MILLPOND_CA_CERT"] = str(self.certificates.ca)
        return environment

    def cli(self, *arguments, stdin=b"", check=True):
        """Runs `millpond ARGUMENTS`; a completed process with bytes in stdout and stderr."""
        command = [binary(), *map(str, arguments)]
        done = subprocess.run(command, env=self.cli_environment, input=stdin, capture_output=True, timeout=120)
        if check and done.returncode != 0:
            line, told = " ".join(map(str, arguments)), done.stderr.decode(errors="replace")
            raise AssertionError(f"millpond {line}: exit {done.returncode}\n{told}")
        return done

    def new_repository(self, name, default_branch="main"):
        """Makes a repository; returns the `lakefs` package's object for it."""
        repository = lakefs.Repository(name, client=self.lakefs())
        return repository.create(storage_namespace=f"local://{name}", default_branch=default_branch)
