"""T22: the rehearsal of a schema of 500 tables, with indexes, foreign keys, views and functions: ten seconds at most.

Measured is the task `rehearse_restore`: the plan of a restore into the living database, its expressions evaluated, and
its schema made in a scratch database and dropped. A second contender has pg_restore make that schema, for comparison.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data, schemas
from bench.cases.t01_small_files import open_bench_store
from bench.child import measured, python
from bench.harness import Case, Contender, Target
from bench.peers import pg_restore
from bench.processes import BenchFailed
from bench.restores import SOURCE, Filled, filled
from bench.servers import BUCKET, Sink
from bench.workshop import Workshop

TABLES = 500
OURS, PEER = "glacier_provider", "pg_restore --schema-only"


@contextmanager
def rehearsals(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    made: Filled = workshop.opened("t22", lambda path: filled(path, schemas.application(workshop.scaled(TABLES), 200)))
    scratch = workshop.scratch("t22")
    dump = made.dumped(scratch / "dump", "-Fc")
    setup = scratch / "setup.json"
    with workshop.serving(Sink()) as sink:
        setup.write_text(json.dumps(_dumped(made, scratch, sink.url)))
    theirs = made.postgres.server("theirs")
    with workshop.counted(made.postgres):
        yield [
            python(OURS, "bench.cases.t22_rehearsal:rehearse", arguments={"setup": str(setup)}),
            pg_restore(
                PEER, made.tools / "pg_restore", theirs, "--schema-only", str(dump), before=made.empty("theirs")
            ),
        ]


def _dumped(made: Filled, scratch: Path, url: str) -> dict[str, Any]:
    """Make the first half of a backup; return what `rehearse` needs to go on."""
    from glacier_provider.applications import Application
    from glacier_provider.catalog.backups import Run
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines import backup

    known = made.postgres.create_database(f"catalog_{secrets.token_hex(4)}")
    (scratch / "files").mkdir()
    application = Application(
        name="bench",
        postgres_conn_id="bench",
        files_directory=str(scratch / "files"),
        orphan_directory=str(scratch / "orphans"),
        staging_directory=str(scratch / "staging"),
        store=f"s3://{BUCKET}/bench?storage_class=STANDARD",
        pg_bin_directory=str(made.tools),
    )
    with Catalog(known.connect, schema=application.catalog_schema, application=application.name) as catalog:
        store = open_bench_store(url, application.store)
        number = backup.open_backup(application, Run("bench", "backup"), catalog=catalog, store=store)
        backup.dump_database(application, number, catalog=catalog, server=made.source)
    return {
        "application": application.to_dict(),
        "backup": number,
        "catalog": data.address(known),
        "database": data.address(made.postgres.server(SOURCE)),
    }


def rehearse(setup: str) -> Mapping[str, float]:
    """Rehearse the restore of a dump that was made; measured is the task."""
    from glacier_provider.applications import Application
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines import backup
    from glacier_provider.postgres import Server

    values = json.loads(Path(setup).read_text())
    application, known = Application.from_dict(values["application"]), Server(**values["catalog"])
    server = Server(**values["database"])
    with (
        Catalog(known.connect, schema=application.catalog_schema, application=application.name) as catalog,
        measured(),
    ):
        found = backup.rehearse_restore(application, values["backup"], catalog=catalog, server=server)
    if (found["in_place"]["verdict"], found["new_server"]["verdict"]) != ("yes", "yes"):
        raise BenchFailed(f"the rehearsal found {found}")
    return {"told": found["seconds"]}


CASES = (
    Case(
        "t22",
        "the restore of 500 tables rehearsed",
        rehearsals,
        (Target("T22 seconds of a rehearsal", OURS, None, 10, measure="inside"),),
    ),
)
