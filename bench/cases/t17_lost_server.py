"""T17: the lost server, 1,000,000 files missing of 1,000,000: the plan until the first request, and all of them back.

The plan is compared with nothing but its rows written by COPY, into the same table.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench import scanned
from bench.cases.t01_small_files import open_bench_store
from bench.cases.t10_restore_plan import lost_files
from bench.cases.t12_restore_small import OURS, down
from bench.child import measured, python
from bench.harness import Case, Contender, Target
from bench.processes import BenchFailed
from bench.servers import BUCKET, SeaweedFS, Sink
from bench.workshop import Workshop
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.restores import EVERYTHING
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.pipelines import restore
from glacier_provider.postgres import Server

FILES, SIZE = 1_000_000, 2_000


@contextmanager
def planning(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with workshop.serving(Sink()) as sink, lost_files(workshop) as (every, lost):
        told = {**every["arguments"], "url": sink.url, "files": str(workshop.scratch("t17-files"))}
        yield [
            python("plan", "bench.cases.t17_lost_server:plan", before=lost, **{**every, "arguments": told}),
            python("COPY of its rows", "bench.cases.t17_lost_server:copy_rows", before=lost, **every),
        ]


def plan(*, database: dict[str, Any], backup_id: int, count: int, url: str, files: str) -> dict[str, float]:
    """Plan a restore into an empty directory, begin it, and mean to ask for the first archives, which are sent next."""
    application = scanned.an_application(Path(files))
    store = open_bench_store(url, f"s3://{BUCKET}/files?storage_class=GLACIER")
    request = RestoreRequest.from_params({"backup_id": backup_id, "part": "files"})
    with scanned.opened(Server(**database)) as catalog, measured():
        run = Run("bench", secrets.token_hex(8))
        begun = time.perf_counter()
        planned = restore.plan_restore(application, run, request, catalog=catalog, stores=lambda _: store)
        seconds = time.perf_counter() - begun
        catalog.restores.start(planned["restore_id"], notes_missing=False)  # as the task that asks
        with closing(
            catalog.restores.intend_retrievals(planned["restore_id"], EVERYTHING, tier="Bulk", days=1)
        ) as pages:
            meant = len(next(pages))
    missing = sum(share["archives"] for share in planned["ranges"])
    if missing != count or not meant:
        raise BenchFailed(f"{missing} missing of {count}, {meant} to be asked for first")
    return {"planned": seconds, "meant": float(meant)}


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
