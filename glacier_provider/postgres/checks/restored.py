"""The checks of a database that was restored: compared with the dump's snapshot, and asked what its user asserts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glacier_provider.core.checks import CHECKS, GRANTS, REFERENCES, CheckResult, Fingerprint, compare
from glacier_provider.core.text import NAMED
from glacier_provider.errors import ChecksFailed
from glacier_provider.postgres.checks.fingerprint import Ask, RunOne, one_over, over, take_fingerprint
from glacier_provider.postgres.dump.snapshot import REFERENCE_BATCH, read_references
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore.session import Refused, RestoringSession
from glacier_provider.postgres.tools.server import Server, database_errors


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """The query that gives the names of files which a database knows, and what tells which of these are missing."""

    query: str
    missing: Callable[[list[str]], list[str]]


@dataclass(frozen=True, slots=True)
class DatabaseChecks:
    """What is to be checked. `expected` None: nothing was noted when the dump was made, and only `assertions` (SQL that
    returns true, by name) and `references` are asked. `catalog_schema` is never looked at.
    """

    expected: Fingerprint | None = None
    assertions: Mapping[str, str] = field(default_factory=dict)
    checks: Sequence[str] = CHECKS
    catalog_schema: str = "glacier_catalog"
    references: ReferenceCheck | None = None

    @property
    def any(self) -> bool:
        return bool(self.assertions or self.references) or (self.expected is not None and bool(self.checks))


@dataclass(frozen=True, slots=True)
class NotRestored:
    """An entry of a dump that was not restored, and that is known."""

    desc: str
    schema: str
    name: str

    @classmethod
    def of(cls, entry: TocEntry) -> NotRestored:
        return cls(entry.desc, str(entry.schema), entry.name)

    @property
    def known_as(self) -> str:
        """As a fingerprint names it: neither an extension nor a schema belongs to a schema."""
        if self.desc in ("EXTENSION", "SCHEMA"):
            return f"{self.desc.lower()} {self.name}"
        return f"{self.schema}.{self.name}"

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> NotRestored:
        return cls(str(kept["desc"]), str(kept["schema"]), str(kept["name"]))


def check_restored(
    server: Server, checks: DatabaseChecks, exempt: Sequence[NotRestored] = ()
) -> tuple[CheckResult, ...]:
    """Return the results of all checks of a database, in one snapshot; changes nothing. Raise as `Server.connect`."""
    import psycopg

    with server.connect() as connection, database_errors(server, "checking the database"):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return run_checks(over(connection), one_over(connection), checks, exempt)


def run_checks(
    ask: Ask, one: RunOne, checks: DatabaseChecks, exempt: Sequence[NotRestored] = ()
) -> tuple[CheckResult, ...]:
    """Return the results of all checks, within the caller's transaction. `exempt`: what is known not to be restored."""
    results: list[CheckResult] = []
    ask("SELECT set_config('search_path', '', true)")
    if checks.expected is not None and checks.checks:
        found = take_fingerprint(ask, hashes=checks.expected.hashes, schemas=[checks.catalog_schema])
        left_out = frozenset(entry.known_as for entry in exempt)
        # Which of the grants a role could not make is told by the restore; they are not told apart here.
        grants_lack = any(entry.desc in ("ACL", "DEFAULT ACL") for entry in exempt)
        chosen = [name for name in checks.checks if not (name == GRANTS and grants_lack)]
        comments_lack = any(entry.desc == "COMMENT" for entry in exempt)
        expected = checks.expected.without("comment") if comments_lack else checks.expected
        results += compare(expected, found, exempt=left_out, checks=chosen)
    if checks.references is not None:
        results.append(_resolved(ask, one, checks.references))
    for name, sql in checks.assertions.items():
        results.append(_asserted(ask, one, name, sql))
    return tuple(results)


_PATH = """
SELECT set_config('search_path', (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'), true)"""


def _asserted(ask: Ask, one: RunOne, name: str, sql: str) -> CheckResult:
    """Return whether a query's first value is true; it finds the application's tables as the application does.

    It is asked within a restore that is not committed yet: as a cursor it can be nothing but one query, which may
    change nothing, and of which one row is read.
    """
    import psycopg

    ask(_PATH)
    ask("SAVEPOINT glacier_assertion")
    try:
        ask("SET LOCAL transaction_read_only = on")
        one(f"DECLARE glacier_assertion NO SCROLL CURSOR FOR {sql}")
        rows = ask("FETCH glacier_assertion")
    except (Refused, psycopg.Error) as error:
        return CheckResult(f"assertion {name}", 1, 1, (f"it fails: {str(error).strip().splitlines()[0]}",))
    finally:
        ask("ROLLBACK TO SAVEPOINT glacier_assertion")
    said = rows[0][0] if rows and rows[0] else None
    if str(said).lower() in ("t", "true"):
        return CheckResult(f"assertion {name}", 1)
    return CheckResult(f"assertion {name}", 1, 1, (f"it returns {said!r}, not true",))


def _resolved(ask: Ask, one: RunOne, references: ReferenceCheck) -> CheckResult:
    """Return whether each file that the database knows is there; it is asked as an assertion is."""
    import psycopg

    count, missing = 0, set[str]()
    ask(_PATH)
    ask("SAVEPOINT glacier_references")
    try:
        ask("SET LOCAL transaction_read_only = on")
        ask("SET LOCAL TimeZone TO DEFAULT")
        one(f"DECLARE glacier_references NO SCROLL CURSOR FOR {references.query}")
        while rows := ask(f"FETCH FORWARD {REFERENCE_BATCH} FROM glacier_references"):
            names = [str(row[0]) for row in rows if row[0] is not None]
            count += len(names)
            missing.update(references.missing(names))
    except (Refused, psycopg.Error) as error:
        return CheckResult(REFERENCES, 1, 1, (f"references_query fails: {str(error).strip().splitlines()[0]}",))
    finally:
        ask("ROLLBACK TO SAVEPOINT glacier_references")
    return CheckResult(REFERENCES, count, len(missing), tuple(sorted(missing)[:NAMED]))


class RestoreChecking:
    """Checks what a restore made before it takes the place of anything, wherever it is; `results` are the last.

    `exempt` is what it is known not to have made; `refused` are the grants among it, None while nobody knows: an
    earlier try made them, and did not come to note them.
    """

    def __init__(
        self, checks: DatabaseChecks, tell: Callable[[str], None], refused: Iterable[str] | None = None
    ) -> None:
        self._checks, self._tell = checks, tell
        self.results: tuple[CheckResult, ...] = ()
        self.exempt: tuple[NotRestored, ...] = ()
        self.refused: tuple[str, ...] | None = None
        if refused is not None:
            self.without(refused)

    def in_session(self, session: RestoringSession, exempt: Sequence[TocEntry]) -> None:
        """Check within a restore's transaction, before it is committed; raise ChecksFailed."""
        self.exempt = tuple(map(NotRestored.of, exempt))
        self._take(run_checks(session.text, session.one, self._checks, self.exempt) if self._checks.any else ())

    def without(self, refused: Iterable[str]) -> None:
        """Note grants that the restore could not make, by the entries' names: it tells of them, and they are exempt."""
        self.refused = tuple(refused)
        self.exempt = tuple(NotRestored("ACL", "", name) for name in self.refused)

    def of(self, server: Server, *, in_part: bool = False) -> None:
        """Check a database that nobody uses yet; raise ChecksFailed, unless a person took it as it is, `in_part`.

        Grants are told and stop nothing where some could not be made: the restore lists those.
        """
        found = check_restored(server, self._checks) if self._checks.any else ()
        required = [one for one in found if one.name != GRANTS or self.refused == ()]
        self._take(found, () if in_part else required)

    def _take(self, results: tuple[CheckResult, ...], required: Sequence[CheckResult] | None = None) -> None:
        self.results = results
        for one in results:
            self._tell(f"Check {one}.")
        require_passed(results if required is None else required)


def require_passed(results: Sequence[CheckResult]) -> None:
    """Raise ChecksFailed, naming each check that did not pass with its figures."""
    failed = [one for one in results if not one.passed]
    if failed:
        error = ChecksFailed(f"What was restored is not what was dumped: {'; '.join(map(str, failed))}.")
        error.results = tuple(one.as_dict() for one in results)
        raise error


def measure_restored(server: Server, catalog_schema: str) -> dict[str, Any]:
    """Return `bytes`, `tables` and `server_version` of a database; raise as `Server.connect`."""
    with server.connect(autocommit=True) as connection, database_errors(server, "measuring the database"):
        row = connection.execute(_MEASURE, (catalog_schema,)).fetchone()
    assert row is not None  # it has no table to be empty
    return {"bytes": row[0], "tables": row[1], "server_version": row[2]}


_MEASURE = """
SELECT pg_database_size(current_database()),
       (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %s)),
       current_setting('server_version')"""


def each_reference(server: Server, query: str, take: Callable[[list[str]], None]) -> None:
    """Hand the file names that a `references_query` gives in a database to `take`, in batches.

    Raise ConfigurationError when the query fails, and as `Server.connect`.
    """
    with server.connect() as connection:
        connection.read_only = True
        read_references(server, connection, query, lambda batch: take([one.partition("\0")[0] for one in batch]))
