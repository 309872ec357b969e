"""Where a bench works: its scale, its directory, the servers that it started, the data that it made once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from bench.processes import BenchFailed
from bench.servers import Running

GIB = 1024**3

Thing = TypeVar("Thing")
Started = TypeVar("Started", bound=Running)

#: Files in memory, which no disk and no page cache has a part in.
MEMORY = Path("/dev/shm")


class Workshop:
    """Shared by all cases of a run. `scale` (1.0 is the full size) shortens what `scaled` gives.

    Data that several cases read lies in `data` below names of its own, made when first asked for. Everything is removed
    when the workshop closes, unless the directory was given.
    """

    def __init__(self, directory: Path | None = None, *, scale: float = 1.0) -> None:
        self.scale = scale
        self._stack = ExitStack()
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="glacier-bench-"))
            self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)  # an embedded PostgreSQL of another user lies below it
        self.directory = directory
        self._servers: list[Running] = []
        self._made: dict[str, object] = {}
        self.notes: list[str] = []

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def scaled(self, number: int, *, least: int = 1) -> int:
        return max(least, int(number * self.scale))

    def made(self, name: str, make: Callable[[Path], Thing]) -> Thing:
        """Return what `make` returned for the directory of this name; it is called once, in an absent directory.

        A directory that an earlier run finished in a workshop of a given directory is taken as it is, through the same
        `make`: it has to be quick when the files are there.
        """
        if name not in self._made:
            self._made[name] = make(self.directory / name)
        return self._made[name]  # type: ignore[return-value]

    def in_memory(self, name: str, size: int, make: Callable[[Path], Path]) -> Path:
        """Return as `made` what is read from memory, whatever the page cache keeps: files of `size` bytes in all.

        Where there is no room in memory for twice as much, they lie with the rest.
        """
        try:
            room = shutil.disk_usage(MEMORY).free
        except OSError:
            room = 0
        if room < 2 * size:
            self.note(f"{MEMORY} has no room for {name}: it was read from the page cache, or from the disk.")
            return self.made(name, make)

        def make_there(_: Path) -> Path:
            place = Path(tempfile.mkdtemp(prefix="glacier-bench-", dir=MEMORY))
            place.chmod(0o755)
            self._stack.callback(shutil.rmtree, place, ignore_errors=True)
            return make(place / name)

        return self.made(name, make_there)

    def scratch(self, prefix: str) -> Path:
        """Return a new empty directory that is removed at the end."""
        path = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.directory))
        path.chmod(0o755)
        self._stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    @contextmanager
    def serving(self, server: Started) -> Iterator[Started]:
        """Start a server for a case; its CPU seconds are counted with each sample, and it ends with the case."""
        with server, self.counted(server):
            yield server

    @contextmanager
    def counted(self, server: Started) -> Iterator[Started]:
        """Count the CPU seconds of a server that runs already."""
        self._servers.append(server)
        try:
            yield server
        finally:
            self._servers.remove(server)

    def opened(self, name: str, make: Callable[[Path], AbstractContextManager[Thing]]) -> Thing:
        """Return what is opened once for all cases and closed with the workshop, as a filled database."""
        return self.made(name, lambda path: self._stack.enter_context(make(path)))

    def server_ids(self) -> list[int]:
        return [server.pid for server in self._servers]

    def need(self, bytes_free: int) -> None:
        """Raise BenchFailed when the directory's disk has less room."""
        free = shutil.disk_usage(self.directory).free
        if free < bytes_free:
            raise BenchFailed(
                f"{self.directory} has {free / GIB:.1f} GiB free, {bytes_free / GIB:.1f} are needed; "
                "DATA=directory names another place, SCALE=0.1 needs a tenth."
            )

    def note(self, text: str) -> None:
        """Keep a remark for the results, once."""
        if text not in self.notes:
            self.notes.append(text)
