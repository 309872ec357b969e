"""A PostgreSQL server of this process alone, for a while, from the programs of a Python wheel.

It listens on a Unix socket in a temporary directory of its own, asks for a password, and goes with its directory when
it is not needed any more; when this process is killed, the server ends, and the next one removes the directory.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from glacier_provider.errors import ToolFailed
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.run import Ordinary, Tool
from glacier_provider.postgres.tools.server import Server

#: What its directory is called begins so.
PRIVATE_DIRECTORY = "glacier_postgres_"
_PORT = 5432  # of its socket's name; nothing listens on a network
_STARTS_WITHIN = 120  # seconds
_LONGEST_PLACE = 70  # characters: a socket's path has 107 at most
_YOUNG = 3600  # seconds in which a directory may be just about to be filled

#: It holds nothing that matters, serves one session or two, and says nothing that its client is not told.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "32MB",
    "max_connections": "20",
    "max_locks_per_transaction": "1024",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "fatal",
}


@contextmanager
def private_server(programs: Tools, tell: Callable[[], None]) -> Iterator[Server]:
    """Run a new, empty server of these programs for the block; give how to reach it as its superuser.

    `tell` is called every now and then. Raise ToolFailed when it cannot be made, or does not start.
    """
    remove_left_over()
    with ExitStack() as undo:
        place = _Place()
        undo.callback(place.remove)
        user, secret = f"superuser_{secrets.token_hex(6)}", secrets.token_urlsafe(16)
        place.initialise(programs, user, secret, tell)
        server = Tool(_command(programs, place), None, as_user=place.user, orphaned=signal.SIGINT)
        undo.push(server)
        undo.callback(lambda: _end(server))
        place.wait_until_ready(server, tell)
        yield Server(str(place.socket), _PORT, user, secret, "postgres")


def remove_left_over() -> None:
    """Remove the directories of this user's servers whose process was killed; end a server that still runs there."""
    for parent in {tempfile.gettempdir(), "/tmp"}:
        for directory in Path(parent).glob(f"{PRIVATE_DIRECTORY}*"):
            with suppress(OSError):
                _remove_if_left_over(directory)


def _remove_if_left_over(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its process lives
            return
        if not (directory / "data").exists() and time.time() - found.st_mtime < _YOUNG:
            return  # made a moment ago, and not yet locked
        _end_by_id(directory / "data")
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(fd)


def _end_by_id(data: Path) -> None:
    """End the server of a data directory, and no other process that has its number by now."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        if str(data).encode() not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return
        ended = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGQUIT)
            _wait_for(lambda: not Path(f"/proc/{pid}/cmdline").read_bytes(), 10)
        finally:
            os.close(ended)


class _Place:
    """A temporary directory of one server, locked as long as this process has it."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        self.root = Path(
            tempfile.mkdtemp(prefix=PRIVATE_DIRECTORY, dir=parent if len(parent) < _LONGEST_PLACE else "/tmp")
        )
        self._fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.user = _somebody_ordinary() if os.geteuid() == 0 else None
        self.data, self.socket = self.root / "data", self.root / "socket"
        for each in (self.data, self.socket):
            each.mkdir(mode=0o700)
            self._give(each)
        if self.user is not None:
            self.root.chmod(0o711)

    def _give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.user, self.user.group)

    def initialise(self, programs: Tools, user: str, secret: str, tell: Callable[[], None]) -> None:
        file = self.socket / "password"
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            written.write(secret)
        self._give(file)
        argv = [programs.path("initdb"), "--pgdata", str(self.data), "--username", user, "--pwfile", str(file)]
        argv += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        with Tool([*argv, "--wal-segsize", "1"], None, as_user=self.user) as tool:
            while not tool.ends_within(1):
                tell()
            ended = tool.ended()
        file.unlink()
        if ended.status:
            hint = _HINT
            if self.user is not None and "Permission denied" in ended.reason:
                hint = f"Root may run no server, and others not this one: let every user enter {programs.directory}."
            raise ToolFailed(f"A private server of {programs} could not be made: {ended.reason}.", hint=hint)

    def wait_until_ready(self, server: Tool, tell: Callable[[], None]) -> None:
        """Wait until the server accepts connections, which it notes in its data directory."""
        deadline = time.monotonic() + _STARTS_WITHIN
        while not self._is_ready():
            if server.ends_within(0.05) or time.monotonic() > deadline:
                server.kill()
                raise ToolFailed(f"A private server did not start: {server.ended().reason}.", hint=_HINT)
            tell()

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return [line.strip() for line in (self.data / "postmaster.pid").read_text().splitlines()[7:8]] == ["ready"]
        return False

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._fd)


_HINT = "See the messages in the task log, and whether the temporary directory has room for some 40 MB."


def _command(programs: Tools, place: _Place) -> list[str]:
    settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    return [programs.path("postgres"), "-D", str(place.data), "-k", str(place.socket), "-p", str(_PORT), *settings]


def _end(server: Tool) -> None:
    """End a server at once; what it holds is thrown away."""
    server.process.send_signal(signal.SIGQUIT)
    if not server.ends_within(30):
        server.process.kill()


def _somebody_ordinary() -> Ordinary:
    """Return as whom root runs a server: PostgreSQL refuses to be run by root."""
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Ordinary(65534, 65534)
    return Ordinary(nobody.pw_uid, nobody.pw_gid)


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
