"""Catalogs whose files are archived, and scans of them in processes of their own: what T5, T6, T9 and T10 share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glacier_provider.applications import Application, ScanOptions
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.pipelines import backup
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

STORE = "s3://bench/files?storage_class=STANDARD"
ARCHIVED = """UPDATE glacier_archives
   SET state = 'archived', key = 'key/' || id, checksum = 'sha256:' || repeat('0', 64), stored_size = original_size,
       archived_at = clock_timestamp(), retrieval_status = 'exists'
 WHERE state IN ('planned', 'uploading')"""


def an_application(files: Path, **scan: Any) -> Application:
    return Application(
        name="bench",
        postgres_conn_id="bench",
        files_directory=str(files),
        orphan_directory=f"{files}-orphans",
        staging_directory=f"{files}-staging",
        store=STORE,
        scan=ScanOptions(**scan),
    )


def archived(postgres: EmbeddedPostgres, application: Application) -> Server:
    """Return a new catalog after the application's first backup: every file is archived."""
    server = postgres.create_database(f"catalog_{secrets.token_hex(4)}")
    with opened(server) as catalog:
        catalog.migrate()
        scan(application, catalog, Run("bench", "first"))
    settle(postgres, server)
    return server


def settle(postgres: EmbeddedPostgres, server: Server) -> None:
    """What was planned is archived, and the catalog in the state in which autovacuum keeps it."""
    postgres.execute(f"SET search_path TO glacier_catalog; {ARCHIVED}", server.dbname)
    postgres.execute("VACUUM ANALYZE", server.dbname)
    postgres.execute("CHECKPOINT")


@contextmanager
def opened(server: Server) -> Iterator[Catalog]:
    with Catalog(server.connect, schema="glacier_catalog", application="bench") as catalog:
        yield catalog


def scan(application: Application, catalog: Catalog, run: Run) -> dict[str, Any]:
    """Open a backup, scan as `scan_files` does in its task, end the backup; return the backup's figures."""
    backup_id = catalog.backups.open(run)
    backup.scan_files(application, backup_id, catalog=catalog)
    figures = catalog.backups.get(backup_id)
    catalog.backups.fail(backup_id, "Measured, not sent.")
    return figures


def scan_again(*, database: dict[str, Any], files: str, scan: dict[str, Any], count: int) -> dict[str, float]:
    """Run in a process of its own, as a task of Airflow: `scan_files` of a new backup, in which nothing changed."""
    import airflow.sdk  # noqa: F401 - what a task's process holds already

    from bench.child import measured

    application = an_application(Path(files), **scan)
    with opened(Server(**database)) as catalog:
        backup_id = catalog.backups.open(Run("bench", secrets.token_hex(8)))
        with measured():
            backup.scan_files(application, backup_id, catalog=catalog)
        figures = catalog.backups.get(backup_id)
        catalog.backups.fail(backup_id, "Measured, not sent.")
    if (figures["files_count"], figures["new_files_count"], figures["vanished_count"]) != (count, 0, 0):
        raise SystemExit(f"The scan told something else than {count} unchanged files: {figures}")
    return {"files": float(figures["files_count"])}
