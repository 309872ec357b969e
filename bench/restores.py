"""What the cases of databases share: a server with a filled database, its dump, and the product's own way with both."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import data
from bench.child import measured, python
from bench.harness import Contender
from bench.peers import pg_dump
from bench.processes import BenchFailed
from bench.schemas import Statements
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

#: Room for every case in one transaction: what does not fit is another question, see `restore.mode: auto`. Autovacuum
#: would be busy after each sample, in the next one.
LOCKS = {"max_locks_per_transaction": "8192", "autovacuum": "off"}
#: What autovacuum would have looked at by then.
CATALOGS = ("class", "attribute", "depend", "type", "constraint", "index", "namespace", "proc", "rewrite", "trigger")
CATALOGS += ("attrdef", "shdepend", "description", "sequence", "inherits", "largeobject", "largeobject_metadata")
SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Filled:
    """A server with a filled database, which others are copied from."""

    postgres: EmbeddedPostgres

    @property
    def source(self) -> Server:
        return self.postgres.server(SOURCE)

    @property
    def tools(self) -> Path:
        return self.postgres.bin_directory

    def copied(self, name: str) -> Callable[[], None]:
        """Return what gives a database the contents of the filled one, and waits until that is written."""
        return lambda: self._new(name, f"TEMPLATE {SOURCE} STRATEGY file_copy")

    def empty(self, name: str) -> Callable[[], None]:
        """Return what makes a database anew, without contents."""
        return lambda: self._new(name, "TEMPLATE template0")

    def _new(self, name: str, clauses: str) -> None:
        for (known,) in self.postgres.execute("SELECT datname FROM pg_database"):
            if str(known) == name or str(known).startswith(f"{name}_"):  # what a swap made, or put aside
                self.postgres.drop_database(str(known))
        self.postgres.execute(f"CREATE DATABASE {name} {clauses}")
        self.postgres.execute("CHECKPOINT")

    def dumped(self, path: Path, *options: str) -> Path:
        """Make a dump with pg_dump; return where."""
        made = pg_dump("", self.tools / "pg_dump", self.source, *options, "-f", str(path))
        subprocess.run(made.argv, env={**os.environ, **made.env}, check=True)
        return path


@contextmanager
def filled(directory: Path, statements: Statements) -> Iterator[Filled]:
    """Start a server in `directory` with a database that these statements fill."""
    with EmbeddedPostgres(directory, settings={**data.SETTINGS, **LOCKS}) as postgres:
        postgres.create_database(SOURCE)
        for statement in statements:
            postgres.execute(statement, SOURCE)
        postgres.execute(f"VACUUM ANALYZE {', '.join(f'pg_{name}' for name in CATALOGS)}", SOURCE)
        yield Filled(postgres)


# --- the product's own way -----------------------------------------------------------------------------------------


def backs_up(name: str, filled: Filled, scratch: Path, **fields: Any) -> Contender:
    """Return a contender that dumps as a backup does: in the form that the database asks for, read through, hashed."""
    arguments = {"database": data.address(filled.source), "tools": str(filled.tools), "scratch": str(scratch)}
    return python(name, "bench.restores:back_up", arguments=arguments, **fields)


def restores(name: str, mode: str, filled: Filled, database: str, dump: Path, **fields: Any) -> Contender:
    """Return a contender that restores a dump: `mode` is transaction, swap, or plan, which restores nothing."""
    arguments = {
        "database": data.address(filled.postgres.server(database)),
        "tools": str(filled.tools),
        "dump": str(dump),
        "mode": mode,
    }
    return python(name, "bench.restores:restore", arguments=arguments, **fields)


def back_up(database: dict[str, Any], tools: str, scratch: str) -> Mapping[str, float]:
    """Dump as the task `dump_database` does, without a store."""
    import logging
    import shutil

    from glacier_provider.applications import Application
    from glacier_provider.pipelines.backup.forms import DumpCall
    from glacier_provider.pipelines.shared.progress import Progress

    place = Path(scratch) / "backup"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    application = Application(
        name="bench",
        postgres_conn_id="bench",
        files_directory=str(place),
        orphan_directory=str(place / "orphans"),
        staging_directory=str(place),
        store="s3://bench/bench",
        pg_bin_directory=tools,
    )
    path = place / "bench.dump"
    with measured():
        call = DumpCall(application, Server(**database), path, Progress(logging.getLogger("bench"), "pg_dump"))
        form = call.form()
        dump = form.write(None)
        size, _ = form.end(path)
        if form.stream is not None:
            form.stream.close()
    if dump.contents is None or not size:
        raise BenchFailed("nothing is dumped")
    return {"archived": size, "entries": len(dump.contents.entries)}


def restore(database: dict[str, Any], tools: str, dump: str, mode: str) -> Mapping[str, float]:
    """Plan, and restore in one transaction or beside."""
    from glacier_provider.postgres import (
        PgRestoreOptions,
        Selection,
        plan_database_restore,
        restore_by_swap,
        restore_in_transaction,
        tools_for,
    )

    server, options = Server(**database), PgRestoreOptions()
    with measured():
        found = tools_for(server, tools)
        every: dict[str, Any] = {"progress": lambda _line: None}
        if mode == "plan":
            plan = plan_database_restore(server, found, Path(dump), Selection(), options)
            return {"locks": plan.locks, "entries": len(plan.kept)}
        if mode == "swap":
            done = restore_by_swap(
                server, found, Path(dump), options, mark="bench", jobs=2, catalog_schema="glacier_catalog", **every
            )
        else:
            done = restore_in_transaction(server, found, Path(dump), Selection(), options, **every)
    if done.failed or not done.restored:
        raise BenchFailed(f"not everything is restored: {done.failed[:3]}")
    return {"entries": done.restored}
