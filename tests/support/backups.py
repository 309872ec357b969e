"""Rows of a catalog as backups leave them, without making backups: for what only looks at the catalog."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider.postgres import Server

SCHEMA = "glacier_catalog"


def ago(**age: float) -> datetime:
    """Return the moment so long ago, as in `ago(hours=5)`."""
    return datetime.now(UTC) - timedelta(**age)


def _run(server: Server, statement: str, **values: Any) -> Any:
    with server.connect(autocommit=True) as connection:
        connection.execute(f"SET search_path TO {SCHEMA}")
        cursor = connection.execute(statement, values)
        row: Any = cursor.fetchone() if cursor.description else None
    return None if row is None else next(iter(row.values())) if isinstance(row, dict) else row[0]


def an_application_row(server: Server, name: str) -> int:
    _run(server, "INSERT INTO applications (name) VALUES (%(name)s) ON CONFLICT DO NOTHING", name=name)
    return int(_run(server, "SELECT id FROM applications WHERE name = %(name)s", name=name))


def a_backup_row(
    server: Server,
    name: str,
    state: str,
    at: datetime,
    *,
    report: Any = None,
    error: str | None = None,
    **figures: Any,
) -> int:
    """Add a backup that began at a moment, and `ended` then or at another; return its id."""
    application = an_application_row(server, name)
    running = state == "running"
    number = _run(
        server,
        "INSERT INTO application_data_backups (application_id, dag_id, dag_run_id, opened_at, closed_at, state,"
        "  error, files_count, files_bytes, database_bytes, vanished_count, new_files_bytes, report)"
        "  VALUES (%(application)s, %(dag)s,"
        "  gen_random_uuid()::text, %(at)s, %(closed)s, %(begun)s,"
        "  %(error)s, %(files)s, %(size)s, 1000, %(vanished)s, %(new)s, %(report)s::jsonb) RETURNING id",
        application=application,
        dag=f"glacier_backup__{name}",
        begun="running" if state == "complete" else state,
        at=at,
        closed=None if running else figures.get("ended", at),
        error=error,
        files=figures.get("files", 3),
        size=figures.get("size", 3000),
        vanished=figures.get("vanished", 0),
        new=figures.get("new_bytes", 0),
        report=json.dumps(report or {}),
    )
    if "deleted_at" in figures:
        _run(
            server,
            "UPDATE application_data_backups SET deleted_at = %(at)s WHERE id = %(number)s",
            at=figures["deleted_at"],
            number=number,
        )
    if state == "complete":
        for kind in ("database", "manifest"):
            archive = an_archive_row(server, name, number, kind, f"{kind}-{number}")
            _run(
                server,
                f"UPDATE application_data_backups SET {kind}_archive_id = %(archive)s WHERE id = %(number)s",
                archive=archive,
                number=number,
            )
        _run(server, "UPDATE application_data_backups SET state = 'complete' WHERE id = %(number)s", number=number)
    return int(number)


def an_archive_row(
    server: Server, name: str, backup_id: int, kind: str, filename: str, *, state: str = "archived", size: int = 1000
) -> int:
    """Add an archive; that of a file is in its backup and in all later ones."""
    application = an_application_row(server, name)
    archive = _run(
        server,
        "INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, stored_size,"
        "  checksum, key, store_uri, state, archived_at) VALUES (%(application)s, %(kind)s, %(filename)s, %(backup)s,"
        "  %(size)s, %(size)s,"
        "  'sha256:0', %(filename)s, 's3://bucket/pre?storage_class=GLACIER', %(state)s, now()) RETURNING id",
        application=application,
        kind=kind,
        filename=filename,
        backup=backup_id,
        state=state,
        size=size,
    )
    if kind == "file":
        _run(
            server,
            "INSERT INTO backup_files (archive_id, application_id, first_backup_id) VALUES (%(archive)s, %(a)s, %(b)s)",
            archive=archive,
            a=application,
            b=backup_id,
        )
    return int(archive)


def a_proof_row(
    server: Server, name: str, kind: str, state: str, at: datetime, *, findings: Any = (), error: str | None = None
) -> int:
    return int(
        _run(
            server,
            "INSERT INTO proofs (application_id, kind, method, state, began_at, ended_at, findings, error) VALUES"
            " (%(a)s, %(kind)s, 'listing', %(state)s, %(at)s, %(at)s, %(findings)s::jsonb, %(error)s) RETURNING id",
            a=an_application_row(server, name),
            kind=kind,
            state=state,
            at=at,
            findings=json.dumps(list(findings)),
            error=error,
        )
    )


def a_restore_row(
    server: Server,
    name: str,
    state: str,
    *,
    plan: Any = None,
    request: Any = None,
    error: str | None = None,
    **more: Any,
) -> int:
    """Add a restore of a new backup, or of `backup_id`; one that is over ended now, or `closed_at`."""
    ended = ago() if state in ("complete", "failed") else None
    return int(
        _run(
            server,
            "INSERT INTO restores (application_id, backup_id, state, dag_id, dag_run_id, request, plan, error,"
            " closed_at) VALUES (%(a)s, %(b)s, %(state)s, %(dag)s, gen_random_uuid()::text, %(request)s::jsonb,"
            " %(plan)s::jsonb,"
            " %(error)s, %(closed)s) RETURNING id",
            a=an_application_row(server, name),
            b=more.get("backup_id") or a_backup_row(server, name, "complete", ago(hours=2)),
            state=state,
            dag=more.get("dag_id", "glacier_restore"),
            request=json.dumps(request or {}),
            plan=json.dumps(plan or {}),
            error=error,
            closed=more.get("closed_at", ended),
        )
    )


def a_retrieval_row(server: Server, restore_id: int, archive_id: int, state: str, at: datetime) -> int:
    return int(
        _run(
            server,
            "INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, state, requested_at)"
            " VALUES (%(archive)s, %(restore)s, 'Bulk', 1, %(state)s, %(at)s) RETURNING id",
            archive=archive_id,
            restore=restore_id,
            state=state,
            at=at,
        )
    )
