"""Servers on 127.0.0.1 that contenders talk to; each is known by its process id and ends by it.

`Sink` is S3-shaped and does nothing with what it gets: it shows the client's own limit. `RcloneServer` and `SeaweedFS`
keep what they get on disk. `VaultServer` is the tests' emulator of the vault API.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol, Self

from bench.certificates import make_certificate, trusted, trusting
from bench.processes import CHECKOUT, BenchFailed, clean_environment

KEY_ID, SECRET, REGION = "bench", "bench-secret-key", "us-east-1"
BUCKET = "bench"
PR_SET_PDEATHSIG = 1
SINK_SOURCE = Path(__file__).with_name("sink.c")


class Running(Protocol):
    """A server as the workshop sees it."""

    @property
    def pid(self) -> int: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *exc: object) -> object: ...


def program(name: str) -> str:
    """Return the path of a program of this interpreter's environment, or of the PATH; raise BenchFailed for none."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise BenchFailed(f"The program {name} is missing; `make bench` installs it, or bench/README.md says how.")
    return found


class LocalServer(ABC):
    """A process that listens on a free port; use it in a `with`. `url` is its address."""

    name: str
    seconds_to_start = 60.0
    secure = False  #: speaks TLS; clients trust its certificate as long as it runs

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch = Path()
        self._certificate: tuple[Path, Path] | None = None
        self._trust = ExitStack()

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> tuple[str, str]:
        """The paths of the server's certificate and of its key."""
        assert self._certificate is not None, "only a secure server has one"
        return str(self._certificate[0]), str(self._certificate[1])

    @property
    def kept(self) -> Path:
        """The directory with all that the server keeps on disk."""
        return self._scratch

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BenchFailed(f"{self.name} does not run")
        return self._process.pid

    @abstractmethod
    def command(self, scratch: Path) -> Sequence[str]:
        """Return what starts the server on `self.port`; `scratch` is a directory of its own."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def answers(self) -> bool:
        """Return whether the server is ready."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @abstractmethod
    def prepare(self) -> None:
        """Make what clients need, once the server answers."""

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-", dir=scratch_parent()))
        try:
            if self.secure:
                self._certificate = make_certificate(self._scratch)
                self._trust.enter_context(trusting(self._certificate[0]))
            self._start()
            self.prepare()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        for _attempt in range(3):  # another process may take the port first
            self.port = free_port()
            log = (self._scratch / "log").open("ab")
            with log:
                self._process = subprocess.Popen(
                    list(self.command(self._scratch)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=CHECKOUT,
                    env=clean_environment() | dict(self.environment()),
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
            deadline = time.monotonic() + self.seconds_to_start
            while time.monotonic() < deadline and self._process.poll() is None:
                if self.answers():
                    return
                time.sleep(0.05)  # the same of a server's port
            self._end()
        raise BenchFailed(f"{self.name} did not start:\n{(self._scratch / 'log').read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End the server and all that it started, and remove what it kept."""
        self._end()
        self._trust.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 20.0)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            try:
                process.wait(timeout=seconds)
                return
            except subprocess.TimeoutExpired:
                continue


class S3Server(LocalServer):
    """What all S3-shaped servers share: keys, and a bucket."""

    key_id, secret = KEY_ID, SECRET

    def client(self, **config: Any) -> Any:
        """Return a boto3 client of this server."""
        import boto3
        from botocore.config import Config

        session = boto3.session.Session(
            aws_access_key_id=self.key_id, aws_secret_access_key=self.secret, region_name=REGION
        )
        options = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 5}, **config}
        return session.client("s3", endpoint_url=self.url, config=Config(**options), verify=trusted())

    def prepare(self) -> None:
        self.new_bucket(BUCKET)

    def new_bucket(self, name: str | None = None) -> str:
        """Create a bucket, of a new name unless one is given; return its name."""
        name = name or f"bench-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=name)
        return name

    def connection(self) -> str:
        """Return Airflow's connection to this server, for AIRFLOW_CONN_AWS_DEFAULT."""
        extra = {"endpoint_url": self.url, "region_name": REGION, "config_kwargs": {"s3": {"addressing_style": "path"}}}
        return json.dumps({"conn_type": "aws", "login": self.key_id, "password": self.secret, "extra": extra})


class Sink(S3Server):
    """S3-shaped: takes everything, keeps sizes, checksums and metadata in memory, and drops the bytes.

    `latency` (seconds) passes before each answer. Objects below `directory` can be read as `/bucket/name`.
    """

    name = "sink"

    def __init__(self, *, latency: float = 0.0, directory: Path | None = None) -> None:
        super().__init__()
        self.latency = latency
        self.directory = directory

    @property
    def compiled(self) -> bool:
        """Whether the sink is the compiled one; else results say that it was not."""
        return _compiler() is not None

    def command(self, scratch: Path) -> Sequence[str]:
        arguments = [str(self.port), str(round(self.latency * 1e6)), str(self.directory or scratch)]
        compiler = _compiler()
        if self.secure:
            arguments += self.certificate
            if compiler is None or not Path("/usr/include/openssl/ssl.h").exists():
                raise BenchFailed(
                    "A sink that speaks TLS is compiled: cc and OpenSSL's headers (libssl-dev) are needed."
                )
        if compiler is None:
            return [sys.executable, "-m", "bench.sink", *arguments]
        binary = scratch / "sink"
        if not binary.exists():
            with_tls = ["-DTLS"] if self.secure else []
            libraries = ["-lssl", "-lcrypto"] if self.secure else []
            argv = [compiler, "-O2", "-pthread", *with_tls, "-o", str(binary), str(SINK_SOURCE), *libraries]
            subprocess.run(argv, check=True, capture_output=True)
        return [str(binary), *arguments]

    def new_bucket(self, name: str | None = None) -> str:
        """Every bucket exists."""
        return name or f"bench-{secrets.token_hex(4)}"

    def forget(self) -> None:
        """Forget all objects: the next upload is a first one."""
        self._ask("/-/forget")

    def cool(self) -> None:
        """Forget that any object was asked back."""
        self._ask("/-/cold")

    def stored(self) -> tuple[int, int]:
        """Return the number of objects and of their bytes."""
        objects, size = self._ask("/-/stored").split()
        return int(objects), int(size)

    def _ask(self, path: str) -> str:
        context = ssl.create_default_context(cafile=trusted()) if self.secure else None
        with urllib.request.urlopen(self.url + path, timeout=10, context=context) as answer:
            return str(answer.read().decode())


class SecureSink(Sink):
    """The same over TLS 1.3."""

    name = "secure-sink"
    secure = True


class RcloneServer(S3Server):
    """`rclone serve s3` on a directory: buckets are its directories. Read its contents below `directory`."""

    name = "rclone-serve-s3"

    @property
    def directory(self) -> Path:
        return self._scratch / "buckets"

    def command(self, scratch: Path) -> Sequence[str]:
        buckets = scratch / "buckets"
        buckets.mkdir(exist_ok=True)
        return [
            program("rclone"), "serve", "s3", str(buckets), "--addr", f"127.0.0.1:{self.port}",
            "--auth-key", f"{KEY_ID},{SECRET}", "--config", os.devnull, "--log-level", "ERROR",
        ]  # fmt: skip

    def new_bucket(self, name: str | None = None) -> str:
        name = name or f"bench-{secrets.token_hex(4)}"
        (self.directory / name).mkdir(exist_ok=True)
        return name


class SeaweedFS(S3Server):
    """SeaweedFS: checks signatures, checksums and If-None-Match, as S3 does."""

    name = "seaweedfs"
    seconds_to_start = 90.0

    def command(self, scratch: Path) -> Sequence[str]:
        data = scratch / "data"
        data.mkdir(exist_ok=True)
        identity = {"name": "bench", "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
                    "actions": ["Admin", "Read", "List", "Tagging", "Write"]}  # fmt: skip
        keys = scratch / "s3.json"
        keys.write_text(json.dumps({"identities": [identity]}))
        # each of them listens 10,000 higher, too
        master, volume, filer = (free_port(below=50_000) for _ in range(3))
        self.port = free_port(below=50_000)
        return [
            program("weed"), "-logtostderr=true", "-v=0", "server", f"-dir={data}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-filer", "-s3",
            f"-s3.port={self.port}", f"-s3.config={keys}", "-master.volumeSizeLimitMB=1024", "-volume.max=0",
            "-master.volumePreallocate=false", "-master.telemetry=false", *self._tls(),
        ]  # fmt: skip

    def _tls(self) -> Sequence[str]:
        if not self.secure:
            return []
        certificate, key = self.certificate
        return [f"-s3.cert.file={certificate}", f"-s3.key.file={key}"]

    def prepare(self) -> None:
        """The gate answers before the parts behind it have met."""
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + 60
        while True:
            try:
                client = self.client()
                client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="first", Body=b"first")
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)  # it tells nobody when it is ready: asked again


class SecureSeaweedFS(SeaweedFS):
    """The same over TLS: 1.3 is what it agrees on with all clients here."""

    name = "secure-seaweedfs"
    secure = True


class VaultServer(LocalServer):
    """The emulator of the vault API that the tests use, in a process of its own; `VAULT` is there."""

    name = "vault-emulator"
    vault = BUCKET

    def command(self, scratch: Path) -> Sequence[str]:
        directory = str(scratch / "vault")
        return [sys.executable, "-m", "tests.emulator.vault", "--directory", directory, "--port", str(self.port)]

    def client(self) -> Any:
        from tests.emulator.vault import make_client

        return make_client("glacier", self.url)

    def prepare(self) -> None:
        self.client().create_vault(accountId="-", vaultName=self.vault)


def _end_with_parent() -> None:
    """In the child: end when the bench does, however it does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port(*, below: int = 65_536) -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago; with `below`, also free 10,000 higher."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if below > 65_000:
            return port
        port = port % (below - 20_000) + 20_000
        if all(_is_free(each) for each in (port, port + 10_000)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def scratch_parent() -> str | None:
    """Return where servers keep their data: GLACIER_BENCH_DIRECTORY, else the place of temporary files."""
    return os.environ.get("GLACIER_BENCH_DIRECTORY")


def _compiler() -> str | None:
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
