"""T10: planning a restore of 1,000,000 files of which 100,000 are missing, against the anti-join alone.

Both get the names and sizes of the files that are there from memory; the walk that finds them is T5's. The anti-join
alone is: the names by COPY into a temporary table, and the members of the backup that are not among them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench import data, scanned
from bench.child import measured, python
from bench.harness import Case, Contender, Target
from bench.processes import BenchFailed
from bench.workshop import Workshop
from glacier_provider.catalog.backups import Run
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

FILES, SIZE = 1_000_000, 2_000
MISSING = 10  # every tenth
BELIEVED = """SET search_path TO glacier_catalog;
UPDATE glacier_archives SET retrieval_status = 'exists' WHERE kind = 'file' AND retrieval_status <> 'exists'"""
#: Only a complete backup is restored: with a dump and a manifest.
COMPLETED = """SET search_path TO glacier_catalog;
WITH own AS (
    INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, stored_size, checksum,
                                  store_uri, key, state)
    SELECT b.application_id, kind, kind, b.id, 1, 1, 'sha256:' || repeat('0', 64), '{store}', kind, 'archived'
      FROM application_data_backups b CROSS JOIN unnest(ARRAY['database', 'manifest']) AS kind
    RETURNING id, kind)
UPDATE application_data_backups SET state = 'complete', closed_at = clock_timestamp(),
       database_archive_id = (SELECT id FROM own WHERE kind = 'database'),
       manifest_archive_id = (SELECT id FROM own WHERE kind = 'manifest')"""
ANTI_JOIN = """SELECT a.id, a.filename FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %s AND f.first_backup_id <= %s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %s)
   AND NOT EXISTS (SELECT FROM present p WHERE p.name = a.filename)"""


@contextmanager
def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with lost_files(workshop) as (every, lost):
        yield [
            python("plan", "bench.cases.t10_restore_plan:plan", before=lost, **every),
            python("anti-join", "bench.cases.t10_restore_plan:anti_join", **every),
        ]


@contextmanager
def lost_files(workshop: Workshop) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """Yield what contenders have in common that plan with a catalog of a complete backup; and what makes that believe
    that every file is there: nothing is known yet of the loss.
    """
    count = workshop.scaled(FILES, least=1000)
    place = workshop.scratch("t10-catalog")
    with workshop.serving(EmbeddedPostgres(place, settings=data.SETTINGS)) as postgres:
        server = postgres.create_database("catalog")
        with scanned.opened(server) as catalog:
            catalog.migrate()
            backup_id = catalog.backups.open(Run("bench", "first"))
            catalog.scans.record(
                backup_id, ((name, SIZE) for name in data.hashed_names(count)), store_uri=scanned.STORE
            )
        scanned.settle(postgres, server)
        postgres.execute(COMPLETED.format(store=scanned.STORE), server.dbname)
        arguments = {"database": data.address(server), "backup_id": backup_id, "count": count}

        def lost() -> None:
            postgres.execute(BELIEVED, server.dbname)
            postgres.execute("VACUUM ANALYZE", server.dbname)
            postgres.execute("CHECKPOINT")

        yield {"arguments": arguments, "items": count, "reads": (place,)}, lost


def _there(count: int) -> list[tuple[str, int]]:
    return [(name, SIZE) for number, name in enumerate(data.hashed_names(count)) if number % MISSING]


def plan(*, database: dict[str, Any], backup_id: int, count: int) -> dict[str, float]:
    """Compare a backup with the directory and note what is missing, as `plan_restore` does."""
    there = _there(count)
    with scanned.opened(Server(**database)) as catalog:
        backup = catalog.backups.get(backup_id)
        request = RestoreRequest.from_params({"backup_id": backup_id, "part": "files"})
        restore_id = catalog.restores.open(Run("bench", secrets.token_hex(8)), backup_id, request)
        with measured():
            compared = catalog.restores.compare(restore_id, backup, request, there, lambda _aside: [])
            ranges = catalog.restores.ranges(restore_id, shares=2, smallest=500)
        missing = sum(share.archives for share in ranges)
    if missing + compared.present.archives != count or missing * MISSING != count:
        raise BenchFailed(f"{missing} missing and {compared.present.archives} present of {count}")
    return {"missing": float(missing)}


def anti_join(*, database: dict[str, Any], backup_id: int, count: int) -> dict[str, float]:
    """COPY and one query."""
    there = _there(count)
    with Server(**database).connect() as connection, connection.transaction():
        connection.execute("SET search_path TO glacier_catalog")
        cursor = connection.cursor()
        with measured():
            cursor.execute("CREATE TEMPORARY TABLE present (name text, size bigint) ON COMMIT DROP")
            with cursor.copy("COPY present FROM STDIN") as copy:
                for row in there:
                    copy.write_row(row)
            cursor.execute("ANALYZE present")
            found = cursor.execute(ANTI_JOIN, (1, backup_id, backup_id)).fetchall()
    if len(found) * MISSING != count:
        raise BenchFailed(f"{len(found)} missing of {count}")
    return {}


CASES = (
    Case(
        "t10",
        "planning a restore, 100,000 missing of 1,000,000 files",
        contenders,
        (Target("T10 plan / anti-join alone", "plan", "anti-join", 2.0, measure="inside"),),
        warm_up=False,
    ),
)
