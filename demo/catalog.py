"""What the catalog knows, asked as a user would ask: with the command `glacier-backup`, which needs no Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.processes import clean_environment
from demo.report import DemoFailed, count, size

if TYPE_CHECKING:
    from glacier_provider.postgres import Server


@dataclass(frozen=True, slots=True)
class Backup:
    """A complete backup: what it uploaded, and where its dump lies. Sizes in bytes."""

    id: int
    files: int
    new_files: int
    new_bytes: int
    vanished: int
    dump_key: str
    dump_bytes: int

    def __str__(self) -> str:
        new = f"{count(self.new_files, 'new file')} of {self.files:,} ({size(self.new_bytes)})"
        return f"backup {self.id}: uploaded {new} and a dump of {size(self.dump_bytes)}"


@dataclass(frozen=True, slots=True)
class Restore:
    """A complete restore: what it retrieved from the cold, what was in its place already, what it moved aside."""

    id: int
    retrieved: int
    retrieved_bytes: int
    present: int
    orphans: int

    def __str__(self) -> str:
        brought = f"retrieved {count(self.retrieved, 'archive')} ({size(self.retrieved_bytes)})"
        return f"{brought}; {count(self.present, 'file')} stayed in place; {count(self.orphans, 'orphan')} moved aside"


class Catalog:
    """The catalog in a database."""

    def __init__(self, server: Server) -> None:
        uri = f"postgresql://{server.user}:{server.password}@{server.host}:{server.port}/{server.dbname}"
        self._environment = {**clean_environment(), "GLACIER_CATALOG_URI": uri}

    def newest_backup(self) -> Backup:
        """Return the newest backup; raise DemoFailed unless it is complete and names no file that is missing."""
        row = self._complete("list")
        told = self._ask("show", str(row["id"]))
        if told["report"]["unarchived_references_count"] != 0:
            raise DemoFailed(f"backup {row['id']} misses files that the database names", json.dumps(told["report"]))
        archives = self._ask("archives", str(row["id"]), "--limit", "5")
        dump = next(archive for archive in archives if archive["kind"] == "database")
        return Backup(
            id=row["id"],
            files=row["files_count"],
            new_files=row["new_files_count"],
            new_bytes=row["new_files_bytes"],
            vanished=row["vanished_count"],
            dump_key=dump["key"],
            dump_bytes=dump["stored_size"],
        )

    def newest_restore(self) -> Restore:
        """Return the newest restore; raise DemoFailed unless it is complete."""
        row = self._complete("restores")
        asked, present = row["plan"]["to_request"], row["plan"]["present"]
        return Restore(
            id=row["id"],
            retrieved=asked["archives"],
            retrieved_bytes=asked["bytes"],
            present=present["archives"],
            orphans=row["outcome"]["orphans"]["moved"],
        )

    def proof(self, backup: Backup, kind: str) -> str:
        """Return what the newest proof of this kind of a backup came to; raise DemoFailed unless it passed."""
        proofs = [one for one in self._ask("show", str(backup.id))["proofs"] if one["kind"] == kind]
        if not proofs or proofs[0]["state"] != "passed":
            raise DemoFailed(f"no {kind} of backup {backup.id} passed", json.dumps(proofs, indent=1))
        newest = proofs[0]
        if newest["evidence"] is None:
            raise DemoFailed(f"the {kind} of backup {backup.id} left no evidence", json.dumps(newest, indent=1))
        return f"passed: {newest['words']}; evidence: document {newest['evidence']}"

    def table(self) -> str:
        """Return the backups as the command prints them."""
        return self._run("list")

    def _complete(self, command: str) -> Mapping[str, Any]:
        rows = self._ask(command, "--limit", "1")
        if not rows or rows[0]["state"] != "complete":
            raise DemoFailed(f"glacier-backup {command} shows no complete run", json.dumps(rows, indent=1))
        newest: Mapping[str, Any] = rows[0]
        return newest

    def _ask(self, *arguments: str) -> Any:
        return json.loads(self._run(*arguments, "--json"))

    def _run(self, *arguments: str) -> str:
        program = Path(sys.executable).with_name("glacier-backup")
        ended = subprocess.run(
            [str(program), *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise DemoFailed(f"glacier-backup {' '.join(arguments)} ended with {ended.returncode}", ended.stderr)
        return ended.stdout
