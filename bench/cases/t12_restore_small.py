"""T12, T13, T14: very many small files asked for, waited for and brought, by the product's own restore.

Ours verifies each file, has it on the disk before it gets its name, and each in the catalog. rclone copies what it sent
itself (it knows the MD5 of that), and makes nothing durable. Requests are compared with a loop of boto3, looks with the
least that lists.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data
from bench.cases.t01_small_files import OURS, open_bench_store, planned, upload
from bench.child import measured, python
from bench.harness import Case, Contender, Sample, Target, measure
from bench.peers import rclone, rclone_copy
from bench.processes import BenchFailed
from bench.servers import BUCKET, S3Server, SeaweedFS, Sink
from bench.workshop import Workshop
from tests.support.postgres import EmbeddedPostgres

FILES = 20_000
PENDING = 100_000
LATENCY = 0.03
#: By rclone at its quickest: one listing, and the times of the listing instead of a HEAD each.
DOWN = ("--fast-list", "--use-server-modtime")


class Archived:
    """A source that was sent to a server by the product, and the restores of it."""

    def __init__(self, postgres: Any, server: S3Server, setup: Path, values: dict[str, Any], count: int) -> None:
        self.server, self.setup, self.count = server, setup, count
        self._postgres, self._values = postgres, values
        self._dbname = str(values["database"]["dbname"])

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Key and name of each archive."""
        return list(self._sql("SELECT key, filename FROM glacier_catalog.glacier_archives WHERE kind = 'file'"))

    def plan(self, status: str, target: Path | None = None) -> None:
        """Write down a restore that brings all files into an empty directory; they are `available`, or `ready`."""
        self._sql(
            "UPDATE glacier_catalog.application_data_backups SET state = 'complete', closed_at = now(),"
            " database_archive_id = a.id, manifest_archive_id = a.id"
            " FROM (SELECT min(id) AS id FROM glacier_catalog.glacier_archives) AS a"
        )
        for table in ("glacier_retrievals", "restore_archives", "restores"):
            self._sql(f"DELETE FROM glacier_catalog.{table}")
        self._sql(f"UPDATE glacier_catalog.glacier_archives SET retrieval_status = '{status}'")
        [(number,)] = self._sql(
            "INSERT INTO glacier_catalog.restores"
            " (application_id, backup_id, dag_id, dag_run_id, request, state, plan)"
            " SELECT application_id, id, 'bench', 'restore', '{}', 'planned', '{\"tier\": \"Bulk\", \"days\": 1}'"
            " FROM glacier_catalog.application_data_backups RETURNING id"
        )
        self._sql(
            "INSERT INTO glacier_catalog.restore_archives (restore_id, archive_id, source)"
            f" SELECT {number}, id, 'store' FROM glacier_catalog.glacier_archives WHERE kind = 'file'"
        )
        self._sql("VACUUM ANALYZE glacier_catalog.glacier_archives")
        self._postgres.execute("CHECKPOINT")
        application = dict(self._values["application"])
        if target is not None:
            _clear(target)
            application["files_directory"] = str(target)
        values = {**self._values, "application": application, "restore_id": number, "archives": self.count}
        self.setup.write_text(json.dumps(values))

    def _sql(self, statement: str) -> list[tuple[Any, ...]]:
        return list(self._postgres.execute(statement, self._dbname))


@contextmanager
def archived(
    workshop: Workshop, server: S3Server, source: Path, count: int, *, connections: int, storage_class: str = "STANDARD"
) -> Iterator[Archived]:
    setup = workshop.scratch("t12") / "setup.json"
    with workshop.serving(EmbeddedPostgres(workshop.scratch("t12-catalog"), settings=data.SETTINGS)) as postgres:
        values = planned(postgres, server, source, connections=connections, storage_class=storage_class)
        setup.write_text(json.dumps(values))
        sent = upload(str(setup))["archives"]
        if sent != count:
            raise BenchFailed(f"{sent} of {count} files are archived")
        yield Archived(postgres, server, setup, values, count)


def _small(workshop: Workshop, files: int = FILES, size: int = data.SMALL) -> tuple[Path, int]:
    count = workshop.scaled(files, least=1000)

    def make(path: Path) -> Path:
        return data.small_files(path, count, size=size)

    return workshop.in_memory(f"small-{count}-{size}", count * size, make), count


def _clear(target: Path) -> None:
    """Have an empty directory. What was there is emptied and stays beside it until the end: ext4 without a journal goes
    for some minutes through what was removed, each time that it makes a file, up to 0.7 ms for each.
    """
    if target.exists():
        for folder, _, names in os.walk(target):
            for name in names:
                os.truncate(Path(folder, name), 0)
        target.rename(target.with_name(f"emptied-{time.monotonic_ns()}"))
    target.mkdir(parents=True)


# --- T12: down -----------------------------------------------------------------------------------------------------


def down(
    make: Callable[..., S3Server], *, transfers: int, files: int = FILES, size: int = data.SMALL
) -> Callable[[Workshop], Any]:
    """Down from a server that `make` returns; it gets the directory of which a sink serves the bytes."""

    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        source, count = _small(workshop, files, size)
        bytes_of = workshop.scratch("t12-bytes")
        with (
            workshop.serving(make(bytes_of)) as server,
            archived(workshop, server, source, count, connections=transfers) as sent,
        ):
            for key, name in sent.keys if isinstance(server, Sink) else ():
                _link(source / name, bytes_of / key)
            if isinstance(server, Sink):
                (bytes_of / "own").symlink_to(source)
            measure(rclone_copy("rclone's own upload", server, source, "own", "--transfers", "16", timeout=7200))
            ours, theirs = workshop.scratch("t12-ours") / "files", workshop.scratch("t12-theirs") / "files"

            def whole(target: Path) -> Callable[[Sample], None]:
                def check(_: Sample) -> None:
                    there = sum(len(names) for folder, _, names in os.walk(target) if ".glacier-tmp" not in folder)
                    if there != count:
                        raise BenchFailed(f"{there} of {count} files are in {target}")

                return check

            yield [
                python(
                    OURS,
                    "bench.cases.t12_restore_small:download",
                    arguments={"setup": str(sent.setup)},
                    items=count,
                    before=lambda: sent.plan("ready", ours),
                    after=whole(ours),
                    timeout=7200,
                ),
                rclone(
                    "rclone",
                    server,
                    "copy",
                    f"bench:{BUCKET}/own",
                    str(theirs),
                    "--transfers",
                    str(transfers),
                    *DOWN,
                    items=count,
                    before=lambda: _clear(theirs),
                    after=whole(theirs),
                    timeout=7200,
                ),
            ]

    return contenders


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:  # on another file system
        place.symlink_to(source)


def download(setup: str) -> Mapping[str, float]:
    """Bring all files as the task `download` does."""
    from glacier_provider.pipelines import restore

    with _opened(setup) as (application, number, wanted, asked), measured():
        done = restore.download_archives(application, number, wanted, **asked)
    return {"brought": done["archives"]}


@contextmanager
def _opened(setup: str) -> Iterator[tuple[Any, int, Any, dict[str, Any]]]:
    from glacier_provider.applications import Application
    from glacier_provider.catalog.archives import ArchiveRange
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.postgres import Server

    values = json.loads(Path(setup).read_text())
    application = Application.from_dict(values["application"])
    server, store = Server(**values["database"]), open_bench_store(values["url"], application.store)
    with Catalog(server.connect, schema=application.catalog_schema, application=application.name) as catalog:
        wanted = ArchiveRange(0, 2**62, values["archives"])
        catalog.restores.get(values["restore_id"])  # a task has its imports and its connection when it begins
        yield application, values["restore_id"], wanted, {"catalog": catalog, "stores": lambda _: store}


# --- T13: asking ---------------------------------------------------------------------------------------------------


def asking(*, latency: float, connections: int) -> Callable[[Workshop], Any]:
    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        source, count = _small(workshop)
        fewer = min(count, 5000)
        with (
            workshop.serving(Sink(latency=latency)) as sink,
            archived(workshop, sink, source, count, connections=connections, storage_class="GLACIER") as sent,
        ):
            listed = workshop.scratch("t13") / "keys.json"
            listed.write_text(json.dumps([key for key, _ in sent.keys][:fewer]))

            def before() -> None:
                sink.cool()
                sent.plan("available")

            def after(sample: Sample) -> None:
                if sample.values.get("requested") != count:
                    raise BenchFailed(f"{sample.values.get('requested')} of {count} archives were asked for")

            arguments: dict[str, Any] = {"setup": str(sent.setup), "limit": latency * count / connections}
            yield [
                python(
                    OURS,
                    "bench.cases.t12_restore_small:request",
                    arguments=arguments,
                    items=count,
                    before=before,
                    after=after,
                ),
                python(
                    "boto3 16 threads",
                    "bench.peers:restore_objects",
                    arguments={"url": sink.url, "keys": str(listed), "threads": 16},
                    items=fewer,
                    before=sink.cool,
                ),
            ]

    return contenders


def request(setup: str, limit: float) -> Mapping[str, float]:
    """Ask for all archives as the task `request_retrievals` does; `by_limit`: by what the latency allows."""
    from glacier_provider.pipelines import restore

    with _opened(setup) as (application, number, wanted, asked), measured():
        begun = time.perf_counter()
        done = restore.request_retrievals(application, number, wanted, **asked)
        seconds = time.perf_counter() - begun
    return {"requested": done["requested"], "by_limit": seconds / limit if limit else 0.0}


# --- T14: a look ---------------------------------------------------------------------------------------------------


@contextmanager
def looking(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    count = workshop.scaled(PENDING, least=5000)
    source = workshop.in_memory(f"tiny-{count}", count * 200, lambda path: data.small_files(path, count, size=16))
    with (
        workshop.serving(Sink()) as sink,
        archived(workshop, sink, source, count, connections=64, storage_class="GLACIER") as sent,
    ):
        sent.plan("available")
        asked = request(str(sent.setup), 0.0)["requested"]
        if asked != count:
            raise BenchFailed(f"{asked} of {count} archives were asked for")
        prefix = str(sent.keys[0][0]).partition("/files/")[0] + "/files/"

        def after(sample: Sample) -> None:
            if sample.values.get("pending") != count:
                raise BenchFailed(f"{sample.values.get('pending')} of {count} archives are pending")

        yield [
            python(
                OURS,
                "bench.cases.t12_restore_small:look",
                arguments={"setup": str(sent.setup)},
                items=count,
                after=after,
            ),
            python(
                "minimal lister",
                "bench.minimal:list_pending",
                arguments={"url": sink.url, "prefix": prefix},
                items=count,
                after=after,
            ),
        ]


def look(setup: str) -> Mapping[str, float]:
    """Look at all that is waited for as the sensor does."""
    from glacier_provider.pipelines import restore

    with _opened(setup) as (application, number, _, asked), measured():
        waiting = restore.poll_retrievals(application, number, **asked)
    return {"pending": waiting.pending}


def _of(name: str, peer: str, limit: float) -> Target:
    """What a task takes, which is running already, against a whole process."""
    return Target(name, OURS, peer, limit, measure="inside", peer_measure="wall")


CASES = (
    Case(
        "t12a",
        "20,000 small files down from SeaweedFS",
        down(lambda _: SeaweedFS(), transfers=32),
        (_of("T12 seaweedfs, rclone --transfers 32", "rclone", 0.65),),
        warm_up=True,
    ),
    Case(
        "t12b",
        "20,000 small files down from a sink that serves bytes",
        down(lambda directory: Sink(directory=directory), transfers=32),
        (_of("T12 sink, rclone --transfers 32", "rclone", 0.45),),
        warm_up=True,
    ),
    Case(
        "t12c",
        "20,000 small files down from far away (30 ms)",
        down(lambda directory: Sink(directory=directory, latency=LATENCY), transfers=128),
        (_of("T12 30 ms, rclone --transfers 128", "rclone", 0.6),),
    ),
    Case(
        "t13a",
        "20,000 retrievals asked for, on a sink",
        asking(latency=0, connections=32),
        (Target("T13 requests/s, boto3 16 threads", OURS, "boto3 16 threads", 8, "inside", "wall", at_least=True),),
        warm_up=True,
    ),
    Case(
        "t13b",
        "20,000 retrievals asked for far away (30 ms), 128 under way",
        asking(latency=LATENCY, connections=128),
        (Target("T13 30 ms, by what the latency allows", OURS, None, 1.3, measure="by_limit"),),
    ),
    Case(
        "t14",
        "a look at 100,000 pending retrievals",
        looking,
        (_of("T14 one pass of a minimal lister", "minimal lister", 1.3),),
        warm_up=True,
    ),
)
