"""Databases of a role that is no superuser, as the guide asks for: it may log in and create databases, and owns its."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

from glacier_provider.postgres import (
    DumpFormat,
    OnError,
    PgDumpOptions,
    PgRestoreOptions,
    RestoredDatabase,
    Server,
    dump_to_path,
    find_tools,
    restore_by_swap,
)
from tests.support.postgres import EmbeddedPostgres, quoted

MARK = "restore_7_20260101000000"
PASSWORD = "plain"
_numbers = count()


class OwnedDatabase:
    """A database with its owner, dumped and swapped as that owner (or as `user`)."""

    def __init__(
        self, postgres: EmbeddedPostgres, *statements: str, superuser: bool = False, clauses: str = ""
    ) -> None:
        self.postgres = postgres
        number = next(_numbers)
        self.owner, self.name = f"owner_{number}", f"owned_{number}"
        postgres.create_role(self.owner, password=PASSWORD, attributes="CREATEDB")
        postgres.execute(f"CREATE DATABASE {self.name} OWNER {self.owner} {clauses}")
        self.server = postgres.server(self.name, user=self.owner, password=PASSWORD)
        self.superuser = postgres.server(self.name)
        self.tools = find_tools(postgres.bin_directory)
        for statement in statements:
            self.run(statement)
        if superuser:
            self.server = self.superuser

    def run(self, statement: str, dbname: str | None = None) -> list[tuple[object, ...]]:
        """Run statements as the owner."""
        server = self.postgres.server(dbname or self.name, user=self.owner, password=PASSWORD)
        with server.connect(autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def as_superuser(self, statement: str) -> list[tuple[object, ...]]:
        return self.postgres.execute(statement, self.name)

    def another_role(self, attributes: str = "") -> Server:
        """Return this database as another role sees it."""
        name = f"web_{next(_numbers)}"
        self.postgres.create_role(name, password=PASSWORD, attributes=attributes)
        return replace(self.server, user=name, password=PASSWORD)

    def dump(self, directory: Path, dump_format: DumpFormat = DumpFormat.CUSTOM) -> Path:
        options = PgDumpOptions(format=dump_format)
        path = directory / f"{self.name}-1.dump"
        return dump_to_path(self.server, self.tools, options, path, progress=lambda _line: None).path

    def swap(
        self,
        dump: Path,
        options: PgRestoreOptions | None = None,
        *,
        mark: str = MARK,
        jobs: int = 2,
        on_error: OnError = OnError.STOP,
        log: list[str] | None = None,
    ) -> RestoredDatabase:
        lines: list[str] = [] if log is None else log
        chosen = options or PgRestoreOptions()
        return restore_by_swap(
            self.server, self.tools, dump, chosen, mark=mark, jobs=jobs, on_error=on_error, progress=lines.append
        )

    def names(self) -> list[str]:
        """Return the databases of this one: itself, and what was made beside or kept."""
        rows = self.postgres.execute("SELECT datname FROM pg_database ORDER BY datname")
        return [str(name) for (name,) in rows if str(name) == self.name or str(name).startswith(f"{self.name}_")]

    def close(self) -> None:
        for name in self.names():
            self.postgres.execute(f"DROP DATABASE {quoted(name)} WITH (FORCE)")
