"""The commands that look: list, show, archives, restores, applications."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named, add_paging
from glacier_provider.cli.connections import open_catalog
from glacier_provider.cli.output import (
    for_terminal,
    print_answer,
    print_json,
    print_pairs,
    print_rows,
    shortened,
    shown_count,
    shown_size,
    shown_time,
)
from glacier_provider.core.archive import Amount
from glacier_provider.core.checks import checks_in_words
from glacier_provider.core.proof import Finding, ProofKind, finding_lines, proof_words
from glacier_provider.core.restorability import restorability
from glacier_provider.core.status import PLACED, BackupState, ProofState, RestoreState
from glacier_provider.core.text import counted, in_words, nearest, readable_size
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from glacier_provider.catalog.catalog import Catalog


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    listing = add_command(commands, "list", _list, "list backups, the newest first")
    add_named(listing)
    listing.add_argument("--state", choices=[state.value for state in BackupState], help="only backups in this state")
    add_paging(listing, 20)
    show = add_command(commands, "show", _show, "show one backup: its figures, its report, the status of its archives")
    show.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    show.add_argument("--roles", action="store_true", help="print SQL that makes the roles that its dump needs")
    archives = add_command(commands, "archives", _archives, "list the archives of one backup")
    archives.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    archives.add_argument("--containing", metavar="TEXT", help="only filenames that contain this text")
    add_paging(archives, 100)
    restores = add_command(commands, "restores", _restores, "list restores, the newest first")
    add_named(restores)
    add_paging(restores, 20)
    applications = add_command(
        commands, "applications", _applications, "check applications.yaml and list what it describes"
    )
    applications.add_argument("--json-schema", action="store_true", help="print the file's JSON Schema, for editors")


def _list(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        _check_name(arguments, catalog)
        rows = catalog.lists.backups(
            arguments.application, state=arguments.state, limit=arguments.limit, offset=arguments.offset
        )
        drilled = catalog.pages.drilled(row["id"] for row in rows)
        rows = [{**row, "drilled": drilled.get(row["id"])} for row in rows]
    print_rows(
        arguments,
        rows,
        {
            "id": "id",
            "application": "application",
            "opened (UTC)": lambda row: shown_time(row["opened_at"]),
            "state": "state",
            "database": lambda row: shown_size(row["database_bytes"]),
            "files": lambda row: shown_count(row["files_count"]),
            "new": lambda row: shown_count(row["new_files_count"]),
            "new bytes": lambda row: shown_size(row["new_files_bytes"]),
            "lost": lambda row: shown_count(row["lost_count"] or None),
            "drilled (UTC)": lambda row: _drilled(row["drilled"]),
            "retrieval": "retrieval_status",
            "error": lambda row: shortened(row["error"]),
        },
    )


def _show(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        backup = catalog.lists.backup(arguments.backup_id)
        restores = catalog.lists.restores(backup_id=arguments.backup_id)
        proofs = [_in_words(one) for one in catalog.pages.proofs_of_backup(arguments.backup_id)]
        checked = {one["id"]: one for one in catalog.pages.checked_restores(arguments.backup_id)}
        lost = catalog.lost.of_backups([arguments.backup_id]).get(arguments.backup_id, {"lost_count": 0, "lost": []})
        backup |= {"lost_count": lost["lost_count"], "lost": lost["lost"]}
    if arguments.roles:
        lines = list(_roles(backup["report"].get("roles") or {}))
        print_answer(arguments, {"backup_id": arguments.backup_id, "sql": lines}, "\n".join(lines))
        return
    if arguments.json:
        print_json({**backup, "restores": restores, "proofs": proofs, "checked_restores": list(checked.values())})
        return
    archives = backup.pop("archives")
    if not backup["lost_count"]:
        del backup["lost_count"], backup["lost"]
    report = backup.pop("report")
    report.pop("roles", None)
    print_pairs({words: say(backup[name]) for name, (words, say) in _TOLD.items() if backup.get(name) is not None})
    for status, amount in archives.items():
        print(f"{_WORDS[status]:>18}: {counted(amount.archives, 'archive')}, {readable_size(amount.bytes)}")
    for line in (*restorability(report), *_findings(report)):
        print(line)
    for line in _proven(proofs):
        print(line)
    for restore in restores:
        told = checked.get(restore["id"])
        words = f", {told['error'] or checks_in_words(told['checks'])}" if told else ""
        print(f"restore {restore['id']}: {restore['state']}, opened {shown_time(restore['opened_at'])} UTC{words}")


def _drilled(drill: Mapping[str, Any] | None) -> str:
    if drill is None:
        return ""
    return shown_time(drill["ended_at"]) if drill["state"] == ProofState.PASSED else str(drill["state"])


def _in_words(proof: Mapping[str, Any]) -> dict[str, Any]:
    return {**proof, "words": proof_words(ProofKind(proof["kind"]), proof["figures"])}


def _proven(proofs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what was proven of a backup, a line for each proof and each of its findings."""
    none = True
    for proof in proofs:
        none = False
        words = proof["words"]
        head = f"{proof['kind']} {proof['id']}: {proof['state']}, ended {shown_time(proof['ended_at'])} UTC"
        yield f"{head}: {words}" if words else head
        findings = finding_lines([Finding.from_dict(one) for one in proof["findings"]], proof["error"])
        yield from (f"  {for_terminal(told)}" for told in (*([proof["error"]] if proof["error"] else []), *findings))
    if none:
        yield "never proven: no drill has restored it, and nothing was verified since it was complete"


def _roles(recorded: dict[str, Any]) -> Iterator[str]:
    """Yield SQL for psql; what gives power beyond the database is a comment."""
    from glacier_provider.postgres import role_statements

    for statement in role_statements(recorded):
        # a name may hold a line break, and must not end the comment that it stands in
        yield f"-- {' '.join(statement.sql.split())};" if statement.by_hand else f"{statement.sql};"
    for role in recorded.get("roles") or []:
        for name in role.get("left_out") or []:
            left_out = f"-- The setting {name} of the role {role['name']} was not recorded."
            yield left_out.replace("\r", " ").replace("\n", " ")


def _check_name(arguments: Arguments, catalog: Catalog) -> None:
    """Raise ConfigurationError for an application that neither the catalog nor applications.yaml knows."""
    if arguments.application is None:
        return
    known = catalog.lists.applications()
    if arguments.application in known:
        return
    with suppress(ConfigurationError):
        from glacier_provider.applications import load_applications

        described = load_applications(arguments.applications)
        known += [name for name in (*described, *described.wrong) if name and name not in known]
    if arguments.application not in known:
        raise ConfigurationError(
            f"There is no application {arguments.application!r}{nearest(arguments.application, known)}.", hint=""
        )


def _time(value: datetime) -> str:
    return f"{shown_time(value)} UTC"


_WORDS = {
    "available": "in the cold",
    "pending": "on its way",
    "ready": "ready to download",
    "local": "downloaded",
    "exists": "in place",
}
#: What is told of a backup, in this order: its words, and how it is said.
_TOLD: dict[str, tuple[str, Callable[[Any], object]]] = {
    "id": ("backup", int),
    "application": ("application", str),
    "state": ("state", str),
    "error": ("why it failed", str),
    "opened_at": ("started", _time),
    "closed_at": ("ended", _time),
    "snapshot_at": ("state of the database at", _time),
    "server_version": ("PostgreSQL server", str),
    "client_version": ("pg_dump", str),
    "dump_format": ("format of the dump", str),
    "database_bytes": ("database dump", readable_size),
    "files_count": ("files", "{:,}".format),
    "files_bytes": ("size of the files", readable_size),
    "new_files_count": ("new files", "{:,}".format),
    "new_files_bytes": ("size of the new files", readable_size),
    "vanished_count": ("files that vanished", "{:,}".format),
    "returned_count": ("files that came back", "{:,}".format),
    "retrieval_status": ("retrieval status", lambda status: f"{status} ({_WORDS[status]})"),
    "dag_id": ("DAG", str),
    "dag_run_id": ("DAG run", str),
}
_FINDINGS = {
    "unreadable": "Could not be read, and is not in this backup",
    "changed": "Changed although attached files must not",
    "skipped": "Not archived, since it is no regular file",
    "unarchived_references": "Named by the database, and not in the directory",
    "dump_warnings": "pg_dump warned",
}


def _findings(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a report says, a line for each finding that has words of its own, and the others as they are."""
    for name, found in report.items():
        if name == "dump_exclusions" and isinstance(found, Mapping):
            yield from _left_out(found)
            continue
        if name == "task_seconds" and isinstance(found, Mapping):
            yield "time spent: " + ", ".join(f"{task} {seconds:g} s" for task, seconds in found.items())
            continue
        if name in ("rehearsal", "dump_needs") or found in (None, [], 0):
            continue
        if name.endswith("_count") and name.removesuffix("_count") in _FINDINGS:
            continue
        if name not in _FINDINGS or not isinstance(found, list):
            for one in found if isinstance(found, list) else [found]:
                yield f"{name.replace('_', ' ')}: {for_terminal(in_words(one))}"
            continue
        for one in found:
            yield f"{_FINDINGS[name]}: {for_terminal(_finding(one))}"
        left = report.get(f"{name}_count", len(found)) - len(found)
        if left > 0:
            yield f"{_FINDINGS[name]}: and {left:,} more"


def _left_out(exclusions: Mapping[str, Any]) -> Iterator[str]:
    words = {"schemas": "schema", "tables": "table", "table_data": "rows of table"}
    for kind, said in words.items():
        for one in exclusions.get(kind, ()):
            yield f"not in the dump: {said} {for_terminal(one if isinstance(one, str) else '.'.join(one))}"


def _finding(one: Any) -> Any:
    if not isinstance(one, Mapping) or "name" not in one:
        return one
    if "error" in one:
        return f"{one['name']}: {one['error']}"
    if {"archived_size", "size"} <= set(one):
        return f"{one['name']}: archived with {readable_size(one['archived_size'])}, now {readable_size(one['size'])}"
    return one["name"]


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
        _check_name(arguments, catalog)
        rows = catalog.lists.restores(arguments.application, limit=arguments.limit, offset=arguments.offset)
        newest = {row["application"]: row["id"] for row in reversed(rows)}
        rows = [{**row, "progress": _progress(catalog, row, newest[row["application"]])} for row in rows]
    print_rows(
        arguments,
        rows,
        {
            "id": "id",
            "application": "application",
            "backup": "backup_id",
            "into": lambda row: _place(row["request"].get("into")),
            "state": "state",
            "opened (UTC)": lambda row: shown_time(row["opened_at"]),
            "closed (UTC)": lambda row: shown_time(row["closed_at"]),
            "to retrieve": lambda row: shown_size((row["plan"].get("to_request") or {}).get("bytes")),
            "so far": lambda row: _so_far(row["progress"]),
            "orphans": lambda row: shown_count((row["outcome"].get("orphans") or {}).get("moved")),
            "error": lambda row: shortened(row["error"]),
        },
    )


def _progress(catalog: Catalog, row: Mapping[str, Any], newest: int) -> dict[str, Any] | None:
    """Return how far a restore is that goes on, or that stopped and was followed by no other: by status, archives and
    bytes of what it brings.
    """
    stopped = row["state"] == RestoreState.FAILED and row["id"] == newest
    if row["state"] != RestoreState.RUNNING and not stopped:
        return None
    found: dict[str, Amount] = {}
    for one in catalog.pages.restore_progress(row["id"]).archives:
        amount = Amount(one["archives"], one["bytes"])
        found[one["status"]] = found.get(one["status"], Amount()) + amount
    return {status: {"archives": amount.archives, "bytes": amount.bytes} for status, amount in found.items()}


def _so_far(progress: Mapping[str, Mapping[str, int]] | None) -> str:
    """Return it in words: what is in place of all, and what is on its way there."""
    if not progress:
        return ""
    counts = {status: amount["archives"] for status, amount in progress.items()}
    placed = sum(counts.pop(status, 0) for status in PLACED)
    on_their_way = [f"{count:,} {status}" for status, count in sorted(counts.items())]
    return ", ".join([f"{placed:,} of {placed + sum(counts.values()):,} in place", *on_their_way])


def _place(into: dict[str, str] | None) -> str | None:
    """Return where a restore went: None for the application's own places."""
    if into is None:
        return None
    return into.get("name") or ", ".join(filter(None, (into.get("database"), into.get("files_directory"))))


def _applications(arguments: Arguments) -> None:
    if arguments.json_schema:
        from glacier_provider.applications.schema import json_schema

        print_json(json_schema())
        return
    from glacier_provider.applications import load_applications

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
