"""T1, T2: the first upload of 20,000 files of 20 KB, one archive each, by `backup.upload_files`.

Ours reads, hashes, signs a checksum that the server verifies, sends under a write-once condition, and has each archive
committed in the catalog. rclone's default sends and asks for each file afterwards; `--s3-no-head`
(and what goes with it) makes it send alone, which is the fair comparison, since our PUT is verified by the server.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import data
from bench.certificates import trusted
from bench.child import measured, python
from bench.harness import Case, Contender, Sample, Target
from bench.peers import boto3_loop, rclone_copy
from bench.processes import BenchFailed
from bench.servers import BUCKET, KEY_ID, REGION, SECRET, RcloneServer, S3Server, SeaweedFS, Sink
from bench.workshop import Workshop
from tests.support.postgres import EmbeddedPostgres

FILES = 20_000
LEAN = ("--s3-no-head", "--s3-no-head-object", "--ignore-checksum")
OURS = "glacier_provider"


@contextmanager
def on_a_sink(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with against_rclone(workshop, Sink()) as (contenders, sink, source, count):
        loop = boto3_loop("boto3 16 threads", sink, source, threads=16, count=min(count, 5000), before=sink.forget)
        yield [*contenders, loop]


@contextmanager
def against_rclone(workshop: Workshop, sink: Sink) -> Iterator[tuple[list[Contender], Sink, Path, int]]:
    """Yield ours and rclone, as it is and lean, on a sink that is started here; it, the source, and how many files."""
    source, count = _source(workshop)
    with workshop.serving(sink), _ours(workshop, sink, source, count, connections=32) as ours:
        every: dict[str, Any] = {"items": count, "before": sink.forget}
        plain = rclone_copy("rclone", sink, source, "a", "--transfers", "32", **every)
        lean = rclone_copy("rclone lean", sink, source, "b", "--transfers", "32", *LEAN, **every)
        yield [ours, plain, lean], sink, source, count


@contextmanager
def far_away(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    source, count = _source(workshop)
    many = ("--transfers", "128")
    with workshop.serving(Sink(latency=0.03)) as sink, _ours(workshop, sink, source, count, connections=128) as ours:
        every: dict[str, Any] = {"items": count, "before": sink.forget}
        yield [
            ours,
            rclone_copy("rclone", sink, source, "a", *many, **every),
            rclone_copy("rclone no head", sink, source, "b", *many, "--s3-no-head", **every),
        ]


def on_a_server(
    make: Callable[[], S3Server], ways: Mapping[str, Sequence[str]] = {"rclone": ()}
) -> Callable[[Workshop], Any]:
    """Ours, and rclone in these ways (options by name), on a server that keeps what it gets."""

    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        source, count = _source(workshop)
        with workshop.serving(make()) as server, _ours(workshop, server, source, count, connections=32) as ours:

            def theirs(name: str, options: Sequence[str]) -> Contender:
                prefix, every = name.replace(" ", "-"), ("--transfers", "32", *options)
                before = partial(_forget, server, prefix)
                return rclone_copy(name, server, source, prefix, *every, items=count, before=before)

            yield [ours, *(theirs(name, options) for name, options in ways.items())]

    return contenders


def _forget(server: S3Server, prefix: str) -> None:
    """Remove what an earlier round left below a prefix."""
    client = server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    keys = [{"Key": entry["Key"]} for page in pages for entry in page.get("Contents", [])]

    def delete(some: list[dict[str, str]]) -> None:
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": some, "Quiet": True})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(delete, (keys[start : start + 500] for start in range(0, len(keys), 500))))


def _source(workshop: Workshop) -> tuple[Path, int]:
    count = workshop.scaled(FILES, least=400)
    return workshop.in_memory(f"small-{count}", count * data.SMALL, lambda path: data.small_files(path, count)), count


@contextmanager
def _ours(workshop: Workshop, server: S3Server, source: Path, count: int, *, connections: int) -> Iterator[Contender]:
    """Yield the upload of all files by one task; before each sample there is a catalog that has just planned them."""
    setup = workshop.scratch("t01") / "setup.json"
    with workshop.serving(EmbeddedPostgres(workshop.scratch("t01-catalog"), settings=data.SETTINGS)) as postgres:

        def before() -> None:
            setup.write_text(json.dumps(planned(postgres, server, source, connections=connections)))

        def after(sample: Sample) -> None:
            if sample.values.get("archives") != count:
                raise BenchFailed(f"{sample.values.get('archives')} of {count} files are archived")

        arguments = {"setup": str(setup)}
        yield python(
            OURS,
            "bench.cases.t01_small_files:upload",
            arguments=arguments,
            items=count,
            before=before,
            after=after,
        )


def planned(
    postgres: Any, server: S3Server, source: Path, *, connections: int, storage_class: str = "STANDARD"
) -> dict[str, Any]:
    """Return what `upload` needs: a new catalog with all files planned, and a prefix of its own in the bucket."""
    from glacier_provider.applications import Application
    from glacier_provider.catalog.backups import Run
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines import backup

    name = f"catalog_{secrets.token_hex(4)}"
    database = postgres.create_database(name)
    application = Application(
        name="bench",
        postgres_conn_id="bench",
        files_directory=str(source),
        orphan_directory=str(source.with_name("orphans")),
        staging_directory=str(source.with_name("staging")),
        store=f"s3://{BUCKET}/{name}?storage_class={storage_class}",
        parallelism=1,
        connections=connections,
    )
    with Catalog(database.connect, schema=application.catalog_schema, application=application.name) as catalog:
        catalog.migrate()
        backup_id = catalog.backups.open(Run("bench", name))
        ranges = backup.scan_files(application, backup_id, catalog=catalog)
    postgres.execute("CHECKPOINT")
    return {
        "application": application.to_dict(),
        "backup_id": backup_id,
        "wanted": ranges[0],
        "url": server.url,
        "database": data.address(database),
    }


def upload(setup: str) -> Mapping[str, float]:
    """Upload the planned files as the task does, on a catalog and a store that are open."""
    from glacier_provider.applications import Application
    from glacier_provider.catalog.archives import ArchiveRange
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines import backup
    from glacier_provider.postgres import Server

    values = json.loads(Path(setup).read_text())
    application = Application.from_dict(values["application"])
    server, store = Server(**values["database"]), open_bench_store(values["url"], application.store)
    wanted = ArchiveRange.from_dict(values["wanted"])
    catalog = Catalog(server.connect, schema=application.catalog_schema, application=application.name)
    with catalog, measured():
        done = backup.upload_files(application, values["backup_id"], wanted, catalog=catalog, store=store)
    return {"archives": done["archives"]}


def open_bench_store(url: str, uri: str, **options: Any) -> Any:
    """Return the product's store on a bench server, with the client that the product asks for."""
    import boto3
    from botocore.config import Config

    from glacier_provider.stores import client_config, open_store

    session = boto3.session.Session(aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, region_name=REGION)
    config = client_config(uri).merge(Config(s3={"addressing_style": "path"}))
    client = session.client("s3", endpoint_url=url, config=config, verify=trusted())
    return open_store(uri, client=client, **options)


def _inside(name: str, peer: str, limit: float) -> Target:
    """What a task takes, which is running already, against a whole process."""
    return Target(name, OURS, peer, limit, measure="inside", peer_measure="wall")


CASES = (
    Case(
        "t01a",
        "first upload of 20,000 small files, on a sink",
        on_a_sink,
        (
            _inside("T1 sink, rclone --transfers 32", "rclone", 0.33),
            _inside("T1 sink, lean rclone", "rclone lean", 0.65),
            Target("T1 CPU a file, rclone --transfers 32", OURS, "rclone", 0.33, "inside_cpu", "cpu"),
            Target("T2 files/s, boto3 16 threads", OURS, "boto3 16 threads", 8, "inside", "wall", at_least=True),
        ),
        warm_up=True,
    ),
    Case(
        "t01b",
        "the same at 30 ms",
        far_away,
        (
            _inside("T1 30 ms, rclone --transfers 128", "rclone", 0.5),
            _inside("T1 30 ms, rclone --s3-no-head", "rclone no head", 0.77),
        ),
    ),
    Case(
        "t01c",
        "the same on rclone serve s3",
        on_a_server(RcloneServer),
        (_inside("T1 rclone serve s3, rclone --transfers 32", "rclone", 0.65),),
    ),
    Case(
        "t01d",
        "the same on seaweedfs",
        on_a_server(SeaweedFS),
        (_inside("T1 seaweedfs, rclone --transfers 32", "rclone", 0.65),),
    ),
)
