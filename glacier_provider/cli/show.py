"""The commands that look: list, show, archives, restores, applications."""

from __future__ import annotations

from typing import Any

from glacier_provider.applications import load_applications
from glacier_provider.applications.schema import json_schema
from glacier_provider.cli.arguments import Arguments, add_command, add_paging
from glacier_provider.cli.connections import open_catalog
from glacier_provider.cli.output import print_json, print_pairs, print_rows, shortened, shown_size, shown_time
from glacier_provider.core.status import BackupState
from glacier_provider.core.text import counted, readable_size


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    listing = add_command(commands, "list", _list, "list backups, the newest first")
    listing.add_argument("--state", choices=[state.value for state in BackupState], help="only backups in this state")
    add_paging(listing, 20)
    show = add_command(commands, "show", _show, "show one backup: its figures, its report, the status of its archives")
    show.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    archives = add_command(commands, "archives", _archives, "list the archives of one backup")
    archives.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    archives.add_argument("--containing", metavar="TEXT", help="only filenames that contain this text")
    add_paging(archives, 100)
    restores = add_command(commands, "restores", _restores, "list restores, the newest first")
    add_paging(restores, 20)
    applications = add_command(
        commands, "applications", _applications, "check applications.yaml and list what it describes"
    )
    applications.add_argument("--json-schema", action="store_true", help="print the file's JSON Schema, for editors")


def _list(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        rows = catalog.lists.backups(
            arguments.application, state=arguments.state, limit=arguments.limit, offset=arguments.offset
        )
    print_rows(
        arguments,
        rows,
        {
            "id": "id",
            "application": "application",
            "opened (UTC)": lambda row: shown_time(row["opened_at"]),
            "state": "state",
            "database": lambda row: shown_size(row["database_bytes"]),
            "files": "files_count",
            "new": "new_files_count",
            "new bytes": lambda row: shown_size(row["new_files_bytes"]),
            "retrieval": "retrieval_status",
            "error": lambda row: shortened(row["error"]),
        },
    )


def _show(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        backup = catalog.lists.backup(arguments.backup_id)
        restores = catalog.lists.restores(backup_id=arguments.backup_id)
    if arguments.json:
        print_json({**backup, "restores": restores})
        return
    archives = backup.pop("archives")
    report = backup.pop("report")
    findings = {f"report: {name}": value for name, value in report.items() if value not in (None, [], 0)}
    print_pairs({**backup, **findings})
    for status, amount in archives.items():
        print(f"{status:>10}: {counted(amount.archives, 'archive')}, {readable_size(amount.bytes)}")
    for restore in restores:
        print(f"restore {restore['id']}: {restore['state']}, opened {shown_time(restore['opened_at'])} UTC")


def _archives(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        catalog.lists.backup(arguments.backup_id)
        rows = catalog.lists.archives(
            arguments.backup_id, containing=arguments.containing, limit=arguments.limit, offset=arguments.offset
        )
    print_rows(
        arguments,
        rows,
        {
            "id": "id",
            "kind": "kind",
            "filename": "filename",
            "size": lambda row: shown_size(row["stored_size"]),
            "state": "state",
            "retrieval": "retrieval_status",
            "made by": "made_by_backup",
            "checksum": lambda row: shortened(row["checksum"], 24),
            "key": "key",
        },
    )


def _restores(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        rows = catalog.lists.restores(arguments.application, limit=arguments.limit, offset=arguments.offset)
    print_rows(
        arguments,
        rows,
        {
            "id": "id",
            "application": "application",
            "backup": "backup_id",
            "state": "state",
            "opened (UTC)": lambda row: shown_time(row["opened_at"]),
            "closed (UTC)": lambda row: shown_time(row["closed_at"]),
            "to retrieve": lambda row: shown_size((row["plan"].get("to_request") or {}).get("bytes")),
            "orphans": lambda row: (row["outcome"].get("orphans") or {}).get("moved"),
            "error": lambda row: shortened(row["error"]),
        },
    )


def _applications(arguments: Arguments) -> None:
    if arguments.json_schema:
        print_json(json_schema())
        return
    applications = load_applications(arguments.applications).checked()
    print_rows(
        arguments,
        [application.to_dict() for application in applications.values()],
        {
            "name": "name",
            "schedule": "schedule",
            "files": "files_directory",
            "store": "store",
            "database": "postgres_conn_id",
            "catalog": "catalog_conn_id",
        },
    )
