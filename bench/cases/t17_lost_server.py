"""T17: the lost server, 1,000,000 files missing of 1,000,000: the plan until the first request, and all of them back.

The plan is compared with nothing but its rows written by COPY, into the same table.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench import scanned
from bench.cases.t10_restore_plan import lost_files
from bench.cases.t12_restore_small import OURS, down
from bench.child import measured, python
from bench.harness import Case, Contender, Target
from bench.processes import BenchFailed
from bench.servers import SeaweedFS
from bench.workshop import Workshop
from glacier_provider.catalog.backups import Run
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.postgres import Server

FILES, SIZE = 1_000_000, 2_000


@contextmanager
def planning(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with lost_files(workshop) as (every, lost):
        yield [
            python("plan", "bench.cases.t17_lost_server:plan", before=lost, **every),
            python("COPY of its rows", "bench.cases.t17_lost_server:copy_rows", before=lost, **every),
        ]


def plan(*, database: dict[str, Any], backup_id: int, count: int) -> dict[str, float]:
    """Compare a backup with an empty directory, note what is missing, and divide it among tasks, as `plan_restore`."""
    with scanned.opened(Server(**database)) as catalog:
        backup = catalog.backups.get(backup_id)
        request = RestoreRequest.from_params({"backup_id": backup_id, "part": "files"})
        restore_id = catalog.restores.open(Run("bench", secrets.token_hex(8)), backup_id, request)
        with measured():
            catalog.restores.compare(restore_id, backup, request, [], lambda _aside: [])
            ranges = catalog.restores.ranges(restore_id, shares=2, smallest=500)
        missing = sum(share.archives for share in ranges)
    if missing != count:
        raise BenchFailed(f"{missing} missing of {count}")
    return {"missing": float(missing)}


def copy_rows(*, database: dict[str, Any], count: int, **_: Any) -> dict[str, float]:
    """Write as many rows as a plan has into the catalog's own table, by COPY, and take them back afterwards."""
    with Server(**database).connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("SET search_path TO glacier_catalog")
        cursor = connection.cursor()
        with measured(), cursor.copy("COPY restore_archives (restore_id, archive_id, source) FROM STDIN") as copy:
            for number in range(1, count + 1):
                copy.write_row((0, number, "store"))
    return {}


CASES = (
    Case(
        "t17a",
        "planning a restore, 1,000,000 missing of 1,000,000 files",
        planning,
        (Target("T17 plan / COPY of its rows", "plan", "COPY of its rows", 2.0, measure="inside"),),
    ),
    Case(
        "t17b",
        "1,000,000 files of 2 KB down from SeaweedFS",
        down(lambda _: SeaweedFS(), transfers=32, files=FILES, size=SIZE),
        (
            Target("T17 down, rclone --transfers 32", OURS, "rclone", 0.7, measure="inside", peer_measure="wall"),
            Target("T17 peak MB of a download", OURS, None, 300, measure="rss"),
        ),
        most_rounds=3,
    ),
)
