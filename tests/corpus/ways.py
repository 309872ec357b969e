"""The ways in which a regression database is brought back; each yields what differs from ``pg_dump | pg_restore``."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from glacier_provider.core.checks import Fingerprint
from glacier_provider.postgres import (
    DumpFormat,
    Keep,
    OnError,
    PgDumpOptions,
    PgRestoreOptions,
    Selection,
    Server,
    create_roles,
    dump_to_path,
    find_tools,
    read_roles,
    restore_by_swap,
    restore_in_transaction,
)
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from glacier_provider.postgres.checks.restored import DatabaseChecks, check_restored
from glacier_provider.postgres.tools.run import child_environment
from tests.corpus.comparison import Holding, holding
from tests.corpus.database import CHANGES, NAME, fill, installed
from tests.support.postgres import EmbeddedPostgres

OWNER, PASSWORD = "corpus_owner", "of-the-owner"
#: A thousand tables with all that belongs to them, restored in one transaction.
SETTINGS = {"max_locks_per_transaction": "1024"}
_FORCED = "SELECT oid::regclass::text FROM pg_class WHERE relforcerowsecurity"
_numbers = count()


class Corpus:
    """A server with the regression database, another without anything, and a place for dumps; a context manager."""

    def __init__(self, package: str, tests: Path) -> None:
        self._package, self._tests = package, tests
        self._undo = ExitStack()
        self.log: list[str] = []

    def __enter__(self) -> Corpus:
        enter = self._undo.enter_context
        self._place = Path(enter(tempfile.TemporaryDirectory(prefix="corpus-")))
        libraries = enter(installed(self._tests))
        self.postgres = enter(EmbeddedPostgres(package=self._package, settings=SETTINGS))
        self.elsewhere = enter(EmbeddedPostgres(package=self._package, settings=SETTINGS))
        self.tools = find_tools(self.postgres.bin_directory)
        self.otherwise = fill(self.postgres, libraries)
        self.source = self.postgres.server(NAME)
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def __str__(self) -> str:
        counted = self.postgres.execute("SELECT count(*) FROM pg_class WHERE oid >= 16384", NAME)
        return (
            f"{self.tools.version}, {counted[0][0]} relations; tests that went otherwise: {', '.join(self.otherwise)}"
        )

    @cached_property
    def dump(self) -> Path:
        return self.dumped(self.source)

    def dumped(self, server: Server, **options: Any) -> Path:
        path = self._place / f"{server.dbname}-{next(_numbers)}.dump"
        return dump_to_path(server, self.tools, PgDumpOptions(**options), path, progress=self.log.append).path or path

    @cached_property
    def reference(self) -> Holding:
        """What ``pg_dump | pg_restore`` gives on the same server."""
        self.postgres.create_database("reference", template="template0")
        return self.held(self.pg_restored(self.dump, self.postgres.server("reference")))

    def pg_restored(self, dump: Path, into: Server, *options: str) -> Server:
        argv = [self.tools.path("pg_restore"), "--no-password", "-d", into.dbname, *options, str(dump)]
        done = subprocess.run(argv, env=child_environment(into), capture_output=True, text=True, check=False)
        self.refused = [line for line in done.stderr.splitlines() if "error: could not execute" in line]
        return into

    def fingerprint(self, server: Server) -> Fingerprint:
        with server.connect() as connection:
            connection.execute("SET search_path = ''")
            return take_fingerprint(over(connection), hashes=True)

    def unlike(self, server: Server, expected: Fingerprint) -> Iterator[str]:
        """Yield what the checks of a restore say of a database that is as it was dumped: nothing."""
        for one in check_restored(server, DatabaseChecks(expected)):
            if not one.passed:
                yield f"check {one}"

    def held(self, server: Server) -> Holding:
        return holding(server, self.tools)

    def copy(self) -> Server:
        """Return a copy of the regression database."""
        return self.postgres.create_database(f"copy_{next(_numbers)}", template=NAME)

    def changed(self, server: Server) -> Server:
        with server.connect(autocommit=True) as connection:
            connection.execute(CHANGES.encode())
        return server

    def swapped(
        self, dump: Path, into: Server, options: PgRestoreOptions | None = None, on_error: OnError = OnError.STOP
    ) -> list[Mapping[str, str]]:
        """Restore beside and swap; return the statements that failed."""
        done = restore_by_swap(
            into,
            self.tools,
            dump,
            options or PgRestoreOptions(),
            mark=f"restore_{next(_numbers)}_20260101000000",
            jobs=2,
            on_error=on_error,
            progress=self.log.append,
        )
        return list(done.failed)

    def in_place(self, dump: Path, into: Server, options: PgRestoreOptions | None = None) -> list[Mapping[str, str]]:
        """Restore in one transaction; return the statements that failed."""
        done = restore_in_transaction(into, self.tools, dump, Selection(), options, progress=self.log.append)
        return list(done.failed)


def pg_restore_itself(corpus: Corpus) -> Iterator[str]:
    """Not ours: statements that PostgreSQL's own tools cannot bring back, and what is otherwise afterwards."""
    expected = corpus.held(corpus.source)
    yield from corpus.reference.differences(expected, 60)
    yield from corpus.refused


def into_a_new_database(corpus: Corpus) -> Iterator[str]:
    new = corpus.postgres.create_database(f"new_{next(_numbers)}", template="template0")
    yield from _failed(corpus.in_place(corpus.dump, new))
    yield from corpus.reference.differences(corpus.held(new))


def over_itself(corpus: Corpus) -> Iterator[str]:
    """In place, after much was changed, twice."""
    changed = corpus.copy()
    for _ in range(2):
        corpus.changed(changed)
        yield from _failed(corpus.in_place(corpus.dump, changed))
        yield from corpus.reference.differences(corpus.held(changed))


def by_swap(corpus: Corpus) -> Iterator[str]:
    changed = corpus.changed(corpus.copy())
    yield from _failed(corpus.swapped(corpus.dump, changed))
    yield from corpus.reference.differences(corpus.held(changed))


def by_swap_of_a_directory(corpus: Corpus) -> Iterator[str]:
    changed = corpus.changed(corpus.copy())
    dump = corpus.dumped(corpus.source, format=DumpFormat.DIRECTORY, jobs=2)
    yield from _failed(corpus.swapped(dump, changed))
    yield from corpus.reference.differences(corpus.held(changed))


def into_an_empty_server(corpus: Corpus) -> Iterator[str]:
    """Roles first, as `restore.roles: create` makes them."""
    target = corpus.elsewhere.create_database(NAME, template="template0")
    for sentence in create_roles(target, read_roles(corpus.source)):
        if not sentence.startswith("To be run by hand"):
            yield sentence
    yield from _failed(corpus.in_place(corpus.dump, target))
    yield from corpus.reference.differences(corpus.held(target))


def as_an_owner(corpus: Corpus) -> Iterator[str]:
    """Who is no superuser owns what such a user can make; it is dumped, changed and restored by that user."""
    corpus.postgres.create_role(OWNER, password=PASSWORD, attributes="CREATEDB NOSUPERUSER")
    for name in ("owned", "owned_reference"):
        corpus.postgres.create_database(name, owner=OWNER)
    of_the_owner = corpus.postgres.server("owned", user=OWNER, password=PASSWORD)
    corpus.swapped(corpus.dump, of_the_owner, PgRestoreOptions(Keep.DROP, Keep.DROP), OnError.ACCEPT)
    for (name,) in corpus.postgres.execute(_FORCED, "owned"):  # a dump by who policies bind is refused
        corpus.postgres.execute(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY", "owned")
    dump = corpus.dumped(of_the_owner)
    beside = corpus.postgres.server("owned_reference", user=OWNER, password=PASSWORD)
    expected = corpus.held(corpus.pg_restored(dump, beside))
    yield from corpus.refused
    for way in (corpus.in_place, corpus.swapped):
        corpus.changed(of_the_owner)
        yield from _failed(way(dump, of_the_owner))
        yield from expected.differences(corpus.held(of_the_owner))


def as_checked(corpus: Corpus) -> Iterator[str]:
    """What a restore checks by itself finds nothing where nothing is wrong, in whatever way it was restored."""
    expected = corpus.fingerprint(corpus.source)
    new = corpus.postgres.create_database(f"new_{next(_numbers)}", template="template0")
    yield from _failed(corpus.in_place(corpus.dump, new))
    yield from corpus.unlike(new, expected)
    for way in (corpus.in_place, corpus.swapped):
        changed = corpus.changed(corpus.copy())
        way(corpus.dump, changed)
        yield from corpus.unlike(changed, expected)


def _failed(statements: Iterable[Mapping[str, str]]) -> Iterator[str]:
    for one in statements:
        yield f"failed: {one['object']}: {one['said']}"


WAYS: dict[str, Callable[[Corpus], Iterable[str]]] = {
    "new": into_a_new_database,
    "itself": over_itself,
    "swap": by_swap,
    "directory": by_swap_of_a_directory,
    "server": into_an_empty_server,
    "owner": as_an_owner,
    "checks": as_checked,
}
