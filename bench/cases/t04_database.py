"""T4: a database of 1 GiB, from the start of pg_dump until the archive is confirmed and the dump is read through."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data
from bench.cases.t01_small_files import open_bench_store
from bench.child import measured, python
from bench.harness import Case, Contender, Target
from bench.peers import in_turn, pg_dump, rclone_copyto
from bench.processes import BenchFailed
from bench.servers import BUCKET, S3Server, SeaweedFS, Sink
from bench.workshop import GIB, Workshop

STAGED, STREAMED = "glacier_provider", "glacier_provider, streamed"
ALONE, IN_TURN = "pg_dump -Fd -j2 -Z zstd:3", "pg_dump -Fc, then rclone copyto"
_FUNCTION = "bench.cases.t04_database:dump"


def dumps(make: type[S3Server]) -> Callable[[Workshop], Any]:
    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        size = workshop.scaled(GIB, least=16 * 1024 * 1024)
        database = workshop.opened(f"database-{size}", lambda path: data.database(path, size))
        scratch = workshop.scratch("t04")
        tool = database.postgres.bin_directory / "pg_dump"
        catalog = database.postgres.create_database(f"catalog_{secrets.token_hex(4)}")
        peer, single = scratch / "peer", scratch / "peer.dump"
        with workshop.counted(database.postgres), workshop.serving(make()) as server:

            def clear() -> None:
                shutil.rmtree(peer, ignore_errors=True)
                single.unlink(missing_ok=True)
                if isinstance(server, Sink):
                    server.forget()

            told = {
                "url": server.url,
                "database": data.address(database.server),
                "catalog": data.address(catalog),
                "scratch": str(scratch),
                "tools": str(database.postgres.bin_directory),
            }
            every: dict[str, Any] = {"before": clear, "reads": (workshop.directory / f"database-{size}",)}
            directory = ("-Fd", "-j2", "-Z", "zstd:3", "-f", str(peer))
            in_file = pg_dump("", tool, database.server, "-Fc", "-f", str(single))
            yield [
                python(STAGED, _FUNCTION, arguments=told, **every),
                python(STREAMED, _FUNCTION, arguments={**told, "staging": "none"}, **every),
                pg_dump(ALONE, tool, database.server, *directory, **every),
                in_turn(IN_TURN, [in_file, rclone_copyto("", server, single, "peer.dump")], **every),
            ]

    return contenders


def dump(
    url: str, database: dict[str, Any], catalog: dict[str, Any], scratch: str, tools: str, staging: str = "disk"
) -> Mapping[str, float]:
    """Run the two tasks of a backup that bring the database into the store."""
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
        dump=DumpOptions(staging=staging),
    )
    store = open_bench_store(url, application.store)
    server, known = Server(**database), Server(**catalog)
    with Catalog(known.connect, schema="glacier_catalog", application=application.name) as opened:
        backup_id = backup.open_backup(application, Run("bench", place.name), catalog=opened, store=store)
        with measured():
            backup.dump_database(application, backup_id, catalog=opened, server=server, store=store)
            archived = backup.upload_database(application, backup_id, catalog=opened, store=store)
    shutil.rmtree(place)
    if not archived["bytes"]:
        raise BenchFailed("nothing is archived")
    return {"archived": archived["bytes"]}


def _targets(where: str) -> tuple[Target, ...]:
    return tuple(
        Target(f"T4 {where}, against {peer}", STAGED, peer, limit, measure="inside", peer_measure="wall")
        for peer, limit in ((ALONE, 1.25), (IN_TURN, 0.35))
    )


CASES = (
    Case("t04a", "1 GiB database dumped, read through and archived, on a sink", dumps(Sink), _targets("on a sink")),
    Case("t04b", "the same on a real server", dumps(SeaweedFS), _targets("on a server")),
)
