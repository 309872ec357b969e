"""Restoring a database from a dump: all of it or nothing.

One transaction drops what the dump replaces and runs the script that pg_restore prints of the kept entries. It is
committed only when pg_restore has ended well and psql met no error; whatever else happens, from a broken row to the
death of this process, the server rolls it back. Large databases need as many locks as they have objects: see
max_locks_per_transaction.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import IO

from glacier_provider.core.text import readable_size
from glacier_provider.errors import DatabaseBusy, DatabaseUnreachable, GlacierProviderError, RestoreFailed, ToolKilled
from glacier_provider.postgres.restore import script, target
from glacier_provider.postgres.restore.plan import DatabasePlan, plan_database_restore
from glacier_provider.postgres.restore.selection import Selection
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.options import PgRestoreOptions
from glacier_provider.postgres.tools.run import CHUNK, Ended, Reporter, TaskLog, Tool
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import quoted

OUTCOME_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """A committed restore: counts of entries, the transaction's id, whether statistics are fresh, and warnings.

    `failed` are pieces of the dump that a person agreed to do without (their object, what the server said, the SQL).
    """

    restored: int
    removed: int
    transaction_id: int
    dump_version: str
    server_version: str
    analyzed: bool
    warnings: tuple[str, ...] = ()
    failed: tuple[Mapping[str, str], ...] = ()


def restore_in_transaction(
    server: Server,
    tools: Tools,
    dump: Path,
    selection: Selection,
    options: PgRestoreOptions | None = None,
    *,
    progress: TaskLog,
) -> RestoredDatabase:
    """Replace the database's contents by those of `dump`, as far as `selection` tells; all or nothing.

    Raise what `plan_database_restore` raises, or RestoreFailed; in each case the database is as it was.
    """
    options = options or PgRestoreOptions()
    plan = plan_database_restore(server, tools, dump, selection, options)
    progress(f"Restoring {len(plan.kept)} entries of {dump.name} into {server}; {len(plan.removed)} stay as they are.")
    committed = _apply(plan, server, tools, options, progress)
    warning = _analyze(plan, server, tools, progress)
    progress(warning or "The database is restored and its statistics are fresh.")
    return RestoredDatabase(
        restored=len(plan.kept),
        removed=len(plan.removed),
        transaction_id=committed.transaction_id,
        dump_version=plan.header.server_version,
        server_version=str(plan.server_version),
        analyzed=not warning,
        warnings=(*committed.warnings, *([warning] if warning else [])),
    )


@dataclass(frozen=True, slots=True)
class _Committed:
    transaction_id: int
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Run:
    """How far the two tools came: psql's transaction id, and whether COMMIT was sent."""

    transaction_id: int | None = None
    asked_to_commit: bool = False
    reading: Ended | None = None
    writing: Ended | None = None


def _apply(
    plan: DatabasePlan, server: Server, tools: Tools, options: PgRestoreOptions, progress: TaskLog
) -> _Committed:
    run, report = _Run(), Reporter(progress)
    with tempfile.TemporaryDirectory(prefix="glacier-") as work:
        entries = Path(work) / "entries.list"
        entries.write_text(commands.use_list(entry.dump_id for entry in plan.kept), encoding="ascii")
        reading = commands.pg_restore_script(tools, options, dump=plan.dump, entries=entries)
        with Tool(commands.psql(tools), server.for_tools(), stdin=PIPE, stdout=PIPE) as psql:
            _send_all(plan, options, reading, psql, run, report)
            run.writing = psql.watch(report, lambda: "waiting for the server to finish")
            run.transaction_id = _transaction_id(psql.process.stdout)
    return _committed(plan, server, run)


def _send_all(
    plan: DatabasePlan, options: PgRestoreOptions, reading: tuple[str, ...], psql: Tool, run: _Run, report: Reporter
) -> None:
    """Send the whole transaction to psql; ask for the commit only when pg_restore has ended well."""
    begin = script.preamble(
        selection=target.selection_setting(plan.selection),
        lock_timeout_seconds=options.lock_timeout_seconds,
        schemas=plan.create_schemas,
        rows=plan.replace_rows,
    )
    # psql ends at its first error; writing to it then breaks, and its own message tells why
    with suppress(BrokenPipeError):
        psql.send(begin.encode("utf-8"), lambda: report.tell(lambda: "dropping what the dump replaces"))
        if _send_script(reading, psql, plan, run, report):
            # Who slept meanwhile finds out here that the lease is another's, before anything is replaced.
            report.progress("All of it is sent; it is committed now.")
            run.asked_to_commit = True
            psql.send(script.COMMIT.encode("ascii"), lambda: report.tell(lambda: "waiting to commit"))
        else:
            psql.kill()
    psql.end_input()


def _send_script(reading: tuple[str, ...], psql: Tool, plan: DatabasePlan, run: _Run, report: Reporter) -> bool:
    """Copy pg_restore's script to psql; tell whether it is whole."""
    with Tool(reading, None, stdout=PIPE) as pg_restore:
        sent = 0

        def tell() -> None:
            report.tell(lambda: f"{pg_restore.messages.latest} ({readable_size(sent)} of SQL)")

        whole = False
        with suppress(script.ScriptCut):
            source = _chunks(pg_restore.process.stdout)
            for chunk in script.without_transaction(source, server_major=plan.server_version.major):
                psql.send(chunk, tell)
                sent += len(chunk)
                tell()
            whole = True
        run.reading = pg_restore.ended()
        return whole and not run.reading.failed


def _chunks(stream: IO[bytes] | None) -> Iterator[bytes]:
    while stream is not None and (chunk := stream.read(CHUNK)):
        yield chunk


def _transaction_id(stream: IO[bytes] | None) -> int | None:
    found = re.search(rb"^\d+$", stream.read() if stream else b"", re.MULTILINE)
    return int(found.group()) if found else None


def _committed(plan: DatabasePlan, server: Server, run: _Run) -> _Committed:
    """Return the committed restore, or raise what went wrong once it is sure that nothing changed."""
    writing, reading = run.writing, run.reading
    assert writing is not None  # set before
    if run.asked_to_commit and not writing.failed and run.transaction_id is not None:
        return _Committed(run.transaction_id, writing.warnings + (reading.warnings if reading else ()))
    failure = _failure(plan, server, run)
    outcome = _outcome(server, run.transaction_id)
    if outcome == "committed" and run.transaction_id is not None:
        return _Committed(run.transaction_id, (f"psql lost its connection after the commit: {failure.message}",))
    if outcome == "aborted" or not run.asked_to_commit or run.transaction_id is None:
        failure.message += " The transaction was rolled back; the database is as it was."
        raise failure
    raise RestoreFailed(
        f"{failure.message} Whether the transaction {run.transaction_id} was committed is not known.",
        hint="Ask the server: SELECT txid_status(...) with this id; when it says aborted, nothing was changed.",
    )


def _failure(plan: DatabasePlan, server: Server, run: _Run) -> GlacierProviderError:
    writing, reading = run.writing, run.reading
    assert writing is not None  # set before
    if writing.status > 0:  # it stopped at an error, rather than being stopped
        return _psql_failure(server, writing)
    if reading is not None and reading.killed:
        return ToolKilled("pg_restore was ended from outside.")
    if reading is not None and reading.failed:
        return RestoreFailed(
            f"pg_restore could not read the dump {plan.dump}: {reading.reason}.",
            hint="Bring the dump again from the store; then clear this task.",
        )
    if reading is not None and not run.asked_to_commit:
        return RestoreFailed(f"pg_restore ended before the end of its script: {reading.reason}.")
    return ToolKilled("psql was ended from outside.") if writing.killed else _psql_failure(server, writing)


_SAID = re.compile(r"psql:.*?: [^\s:]+: {2}(?P<state>[0-9A-Z]{5}): (?P<text>.*)")


def _psql_failure(server: Server, writing: Ended) -> GlacierProviderError:
    found = _SAID.search(writing.reason)
    if found is None:
        lost = any("connection" in line for line in writing.errors + writing.tail)
        return (DatabaseUnreachable if lost else RestoreFailed)(f"psql failed: {writing.reason.rstrip('.')}.")
    state, text = found["state"], found["text"]
    if state.startswith(("57P", "08")):
        return DatabaseUnreachable(f"The server ended the connection during the restore: {text}.")
    if state in ("55P03", "40P01"):
        return DatabaseBusy(f"A lock could not be had: {text}. {_holders(server)}".strip(), hint=_STOP_IT)
    detail = next((line.partition("DETAIL:")[2].strip() for line in writing.tail if "DETAIL:" in line), "")
    shown = f"{text} ({detail.rstrip('.')})" if detail else text
    return RestoreFailed(f"PostgreSQL refused a statement: {shown} [SQLSTATE {state}].", hint=_hint(state))


_STOP_IT = "Stop the application while it is restored, or raise lock_timeout_seconds."


def _hint(state: str) -> str | None:
    if state == "53200":
        return (
            "Raise max_locks_per_transaction on the server: a restore in one transaction takes about 25 locks a table; "
            "max_locks_per_transaction times max_connections is what the server surely has."
        )
    if state == "53100":
        return "The server's disk is full: old and new contents are both there until the commit."
    if state == "42501":
        return "Restore as the owner of the database's objects or as a superuser, or with owner set to drop."
    return None


def _holders(server: Server) -> str:
    with suppress(GlacierProviderError), server.connect() as connection, database_errors(server, "asking for sessions"):
        found = target.other_sessions(connection)
        return f"Other sessions now: {'; '.join(found)}." if found else ""
    return ""


def _outcome(server: Server, transaction_id: int | None) -> str:
    """Return what the server says became of the transaction: committed, aborted, or empty when it cannot be asked.

    A server process that lost its psql may still work on its statement; it is ended and waited for.
    """
    if transaction_id is None:
        return ""
    deadline = time.monotonic() + OUTCOME_SECONDS
    while time.monotonic() < deadline:
        with suppress(GlacierProviderError):
            status = _status(server, transaction_id)
            if status != "in progress":
                return status
        time.sleep(0.2)  # a server does not tell when its process has ended: asked again
    return ""


def _status(server: Server, transaction_id: int) -> str:
    with server.connect(autocommit=True) as connection, database_errors(server, "asking for the transaction's outcome"):
        row = connection.execute("SELECT txid_status(%s)", (transaction_id,)).fetchone()
        status = str(row[0]) if row and row[0] else ""
        if status == "in progress":
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                "WHERE datname = current_database() AND backend_xid::text = %s",
                (str(transaction_id % 2**32),),
            )
        return status


def _analyze(plan: DatabasePlan, server: Server, tools: Tools, progress: TaskLog) -> str:
    """Refresh the planner's statistics; return a warning when that fails, since the restore itself stands."""
    statements = ["ANALYZE;"]
    if plan.selection.tables is not None:
        kinds = ("TABLE", "MATERIALIZED VIEW")
        tables = [(entry.schema or "", entry.name) for entry in plan.kept if entry.desc in kinds]
        statements = [f"ANALYZE {quoted(schema)}.{quoted(name)};" for schema, name in tables]
    report = Reporter(progress)
    with Tool(commands.psql(tools), server.for_tools(), stdin=PIPE) as psql:
        with suppress(BrokenPipeError):
            psql.send("\n".join(statements).encode("utf-8"), lambda: None)
        psql.end_input()
        ended = psql.watch(report, lambda: "refreshing statistics")
    return f"The database is restored, but ANALYZE failed: {ended.reason}. Run it by hand." if ended.failed else ""
