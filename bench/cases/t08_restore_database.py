"""T8: a database of 1 GiB restored beside the old one and swapped, against `pg_restore -j2` of a local file alone.

Measured is the task `restore_database` with the mode `swap`, from the archive in local staging, where the task
`download` put it, until the application's sessions reach the restored database: the archive's hash, its unpacking, the
new database, pg_restore with two jobs, fresh statistics, the swap. The peer restores a dump in pg_dump's custom format
into an empty database, and leaves the statistics to be made.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data
from bench.cases.t01_small_files import open_bench_store
from bench.child import measured, python
from bench.harness import Case, Contender, Target
from bench.peers import pg_dump, pg_restore
from bench.processes import BenchFailed
from bench.servers import BUCKET, SeaweedFS
from bench.workshop import GIB, Workshop

_FUNCTION = "bench.cases.t08_restore_database:restore_once"
OURS, PEER = "glacier_provider, swap, 2 jobs", "pg_restore -j2"
TARGET_DATABASE, PEER_DATABASE = "swapped", "restored"


@contextmanager
def restores(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    size = workshop.scaled(GIB, least=16 * 1024 * 1024)
    database = workshop.opened(f"database-{size}", lambda path: data.database(path, size))
    postgres, tools = database.postgres, database.postgres.bin_directory
    scratch = workshop.scratch("t08")
    dump, setup = scratch / "application.dump", scratch / "setup.json"
    made = pg_dump("", tools / "pg_dump", database.server, "-Fc", "-Z", "zstd:3", "-f", str(dump))
    subprocess.run(made.argv, env={**os.environ, **made.env}, check=True)
    postgres.create_database(TARGET_DATABASE)

    def clear() -> None:
        """Drop what an earlier sample restored, and what it replaced: each sample begins with an empty database."""
        names = [str(name) for (name,) in postgres.execute("SELECT datname FROM pg_database")]
        for name in names:
            if name.startswith((f"{TARGET_DATABASE}_", PEER_DATABASE)):
                postgres.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        postgres.execute(f'CREATE DATABASE "{PEER_DATABASE}"')
        postgres.execute("CHECKPOINT")

    with workshop.serving(SeaweedFS()) as store, workshop.counted(postgres):
        setup.write_text(json.dumps(_backed_up(database, scratch, store.url)))
        target = database.server.with_database(PEER_DATABASE)
        yield [
            python(OURS, _FUNCTION, arguments={"setup": str(setup)}, before=clear),
            pg_restore(PEER, tools / "pg_restore", target, "-j2", str(dump), before=clear),
        ]


def _backed_up(database: data.Database, scratch: Path, url: str) -> dict[str, Any]:
    """Make a backup of the database; return what `restore_once` needs to restore it."""
    from glacier_provider.applications import Application, RestoreOptions
    from glacier_provider.catalog.backups import Run
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines import backup

    known = database.postgres.create_database(f"catalog_{secrets.token_hex(4)}")
    (scratch / "files").mkdir()
    application = Application(
        name="bench",
        postgres_conn_id="bench",
        files_directory=str(scratch / "files"),
        orphan_directory=str(scratch / "orphans"),
        staging_directory=str(scratch / "staging"),
        store=f"s3://{BUCKET}/{known.dbname}?storage_class=STANDARD",
        pg_bin_directory=str(database.postgres.bin_directory),
        restore=RestoreOptions(mode="swap", jobs=2),
    )
    store = open_bench_store(url, application.store)
    with Catalog(known.connect, schema=application.catalog_schema, application=application.name) as catalog:
        number = backup.open_backup(application, Run("bench", "backup"), catalog=catalog, store=store)
        backup.dump_database(application, number, catalog=catalog, server=database.server, store=store)
        backup.scan_files(application, number, catalog=catalog)
        backup.upload_database(application, number, catalog=catalog, store=store)
        backup.close_backup(application, number, catalog=catalog, store=store)
    return {
        "application": application.to_dict(),
        "url": url,
        "catalog": data.address(known),
        "database": data.address(database.server.with_database(TARGET_DATABASE)),
    }


def restore_once(setup: str) -> Mapping[str, float]:
    """Restore the backup's database as a run of the restore DAG does; measured is the task `restore_database`."""
    from glacier_provider.applications import Application
    from glacier_provider.catalog.archives import ArchiveRange
    from glacier_provider.catalog.backups import Run
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.core.plan import RestoreRequest
    from glacier_provider.pipelines import restore
    from glacier_provider.postgres import Server

    values = json.loads(Path(setup).read_text())
    application = Application.from_dict(values["application"])
    store, known = open_bench_store(values["url"], application.store), Server(**values["catalog"])
    request = RestoreRequest.from_params({"backup_id": "latest", "part": "database"})
    run = Run("bench", secrets.token_hex(8))
    with Catalog(known.connect, schema=application.catalog_schema, application=application.name) as catalog:
        bring: dict[str, Any] = {"catalog": catalog, "stores": lambda _uri: store}
        planned = restore.plan_restore(application, run, request, **bring)
        for each in planned["ranges"]:
            restore.download_archives(application, planned["restore_id"], ArchiveRange.from_dict(each), **bring)
        with measured():
            done = restore.restore_database(
                application, planned["restore_id"], catalog=catalog, server=Server(**values["database"])
            )
        restore.close_restore(application, planned["restore_id"], catalog=catalog)
    if not done.get("restored"):
        raise BenchFailed("nothing is restored")
    return {"entries": done["restored"]}


CASES = (
    Case(
        "t08",
        "1 GiB database restored from local staging",
        restores,
        (Target("T8, against pg_restore -j2", OURS, PEER, 1.05, measure="inside", peer_measure="wall"),),
    ),
)
