"""T19: what a backup's own proofs cost beside a dump of 1 GiB: the fingerprint in its snapshot, and the rehearsal.

Measured are the tasks from `dump_database` until the dump is archived and the rehearsal has ended; the two go on at the
same time, each in a process of its own, as tasks of the DAG do. Without them: no fingerprint, no rehearsal. `hashes`
also hashes every row, and has no target: who chooses it pays for it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data
from bench.cases.t01_small_files import open_bench_store
from bench.child import measured, python
from bench.harness import Case, Contender, Target
from bench.processes import BenchFailed
from bench.servers import BUCKET, Sink
from bench.workshop import GIB, Workshop

WITHOUT, COUNTS, HASHES = "without proofs", "fingerprint of counts, rehearsal", "fingerprint of hashes, rehearsal"


@contextmanager
def backups(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    size = workshop.scaled(GIB, least=16 * 1024 * 1024)
    database = workshop.opened(f"database-{size}", lambda path: data.database(path, size))
    scratch = workshop.scratch("t19")
    catalog = database.postgres.create_database(f"catalog_{secrets.token_hex(4)}")
    with workshop.counted(database.postgres), workshop.serving(Sink()) as sink:
        told = {
            "url": sink.url,
            "database": data.address(database.server),
            "catalog": data.address(catalog),
            "scratch": str(scratch),
            "tools": str(database.postgres.bin_directory),
        }
        every: dict[str, Any] = {"before": sink.forget, "reads": (workshop.directory / f"database-{size}",)}
        yield [
            python(name, "bench.cases.t19_proof_beside:back_up", arguments={**told, "fingerprint": kind}, **every)
            for name, kind in ((WITHOUT, "off"), (COUNTS, "counts"), (HASHES, "hashes"))
        ]


def back_up(
    url: str, database: dict[str, Any], catalog: dict[str, Any], scratch: str, tools: str, fingerprint: str
) -> Mapping[str, float]:
    """Dump and upload; with a fingerprint, rehearse beside the upload. Return the seconds that the proofs tell."""
    from glacier_provider.applications import Application, DumpOptions
    from glacier_provider.catalog.backups import Run
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines import backup
    from glacier_provider.postgres import Server

    place = Path(scratch) / secrets.token_hex(4)
    (place / "files").mkdir(parents=True)
    application = Application(
        name=f"bench-{place.name}",
        postgres_conn_id="bench",
        files_directory=str(place / "files"),
        orphan_directory=str(place / "orphans"),
        staging_directory=str(place / "staging"),
        store=f"s3://{BUCKET}/{place.name}?storage_class=STANDARD",
        pg_bin_directory=tools,
        dump=DumpOptions(fingerprint=fingerprint),
    )
    server, known = Server(**database), Server(**catalog)

    def opened() -> Catalog:
        return Catalog(known.connect, schema="glacier_catalog", application=application.name)

    store = open_bench_store(url, application.store)
    with opened() as first:
        number = backup.open_backup(application, Run("bench", place.name), catalog=first, store=store)
    with measured():
        with opened() as own:
            backup.dump_database(application, number, catalog=own, server=server, store=store)
        child = 0
        if fingerprint != "off":
            child = os.fork()
            if child == 0:
                _rehearse(application, number, opened, server)
        with opened() as own:
            archived = backup.upload_database(application, number, catalog=own, store=store)
        if child and os.waitpid(child, 0)[1]:
            raise BenchFailed("the rehearsal failed")
    shutil.rmtree(place)
    with opened() as own:
        taken = own.backups.fingerprint(number)
    if not archived["bytes"] or (taken is None) != (fingerprint == "off"):
        raise BenchFailed("nothing is archived, or another fingerprint than was asked for")
    return {"fingerprint": float(taken["seconds"]) if taken else 0.0}


def _rehearse(application: Any, number: int, opened: Any, server: Any) -> None:
    """Rehearse in a process of its own, and end it."""
    from glacier_provider.pipelines import backup

    code = 1
    try:
        with opened() as own:
            found = backup.rehearse_restore(application, number, catalog=own, server=server)
        code = 0 if found["in_place"]["verdict"] == "yes" else 2
    finally:
        os._exit(code)


CASES = (
    Case(
        "t19",
        "1 GiB database dumped and archived, with its fingerprint and its rehearsal",
        backups,
        (Target("T19 proofs beside a dump, against none", COUNTS, WITHOUT, 1.05, measure="inside"),),
    ),
)
