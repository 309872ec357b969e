"""T3, T7: an archive of 1 GiB, up with a SHA-256 of each part, and down with verification, by the product's path."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import data
from bench.cases.t01_small_files import open_bench_store
from bench.child import measured, python
from bench.harness import Case, Contender, Target, measure
from bench.peers import in_turn, minimal_client, rclone, rclone_copyto
from bench.processes import BenchFailed
from bench.servers import BUCKET, RcloneServer, S3Server, SeaweedFS, Sink
from bench.workshop import GIB, Workshop
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from glacier_provider.applications import Application

TUNED = ("--s3-chunk-size", "16M", "--s3-upload-concurrency", "8", "--s3-disable-checksum")
OURS = "glacier_provider"
VERIFYING = "rclone, then sha256sum"
OWN = "rclone, of its own upload"


@contextmanager
def uploads(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with against_rclone(workshop, Sink()) as (contenders, sink, path):
        yield [*contenders, minimal_client("minimal client", sink, path, before=sink.forget)]


@contextmanager
def against_rclone(workshop: Workshop, sink: Sink) -> Iterator[tuple[list[Contender], Sink, Path]]:
    """Yield ours and rclone, as it is and tuned, on a sink that is started here; and what they send."""
    size = workshop.scaled(GIB, least=64 * 1024 * 1024)
    path = workshop.in_memory(f"large-{size}", size, lambda path: data.large_file(path, size))
    with workshop.serving(sink):
        arguments = {"url": sink.url, "path": str(path)}
        every: dict[str, Any] = {"before": sink.forget}
        ours = python(OURS, "bench.cases.t03_large_archive:upload", arguments=arguments, **every)
        plain = rclone_copyto("rclone", sink, path, "default", **every)
        yield [ours, plain, rclone_copyto("rclone tuned", sink, path, "tuned", *TUNED, **every)], sink, path


def upload(url: str, path: str) -> Mapping[str, float]:
    """Send one file as `upload_files` does, with a journal that remembers nothing."""
    from glacier_provider.core.archive import ArchiveKind, Description
    from glacier_provider.files import open_source
    from glacier_provider.pipelines.backup.upload import HeartbeatSource

    place = Path(path)
    store = open_bench_store(url, f"s3://{BUCKET}/{secrets.token_hex(4)}?storage_class=STANDARD")
    with measured(), open_source(str(place.parent), place.name) as source:
        described = Description("bench", ArchiveKind.FILE, 1, 1, place.name, source.size)
        receipt = store.put_large(HeartbeatSource(source, lambda: None), described, NoJournal())
    if receipt.size != place.stat().st_size:
        raise BenchFailed(f"{receipt.size} bytes are archived")
    return {"archived": receipt.size}


class NoJournal:
    """A journal of uploads that nobody goes on with."""

    def upload_id(self) -> tuple[str, int] | None:
        return None

    def began(self, upload_id: str, part_size: int) -> None:
        """Nothing to remember."""

    def forget(self) -> None:
        """Nothing to forget."""


def downloads(make: type[S3Server], *, gives_digest: bool) -> Any:
    """`gives_digest`: whether the server has an MD5 of the whole object, by which rclone verifies what it brought.

    Else it has one of what it sent itself: rclone writes the MD5 of a file in parts into the object's metadata.
    """

    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        size = workshop.scaled(GIB, least=64 * 1024 * 1024)
        path = workshop.in_memory(f"large-{size}", size, lambda path: data.large_file(path, size))
        target = workshop.scratch("t07")
        with workshop.serving(make()) as server, _planned(workshop, server, path, target) as (setup, key, plan):

            def clear() -> None:
                for found in target.rglob("*"):
                    if found.is_file():
                        found.unlink()
                # rclone's server takes a digest of the object when it is first asked, and forgets it after minutes
                server.client().head_object(Bucket=BUCKET, Key=key)

            def before() -> None:
                clear()
                plan()

            copied = str(target / "peer.bin")
            every: dict[str, Any] = {"before": clear, "reads": (server.kept,)}
            copy = rclone("rclone", server, "copyto", f"bench:{BUCKET}/{key}", copied, **every)
            digest = Contender("digest", ("sha256sum", copied))
            if not gives_digest:
                measure(rclone_copyto("", server, path, "own.bin"))
            its_own = rclone(OWN, server, "copyto", f"bench:{BUCKET}/own.bin", copied, **every)
            ours = {"arguments": {"setup": str(setup)}, "before": before, "reads": (server.kept,)}
            yield [
                python(OURS, "bench.cases.t03_large_archive:download", **ours),
                copy,
                *([] if gives_digest else [its_own, in_turn(VERIFYING, [copy, digest], **every)]),
            ]

    return contenders


@contextmanager
def _planned(workshop: Workshop, server: S3Server, path: Path, target: Path) -> Iterator[tuple[Path, str, Any]]:
    """Yield where a planned restore of one large file is written down, its key, and what plans it anew."""
    files = target / "files"
    files.mkdir()
    setup = workshop.scratch("t07-setup") / "setup.json"
    with workshop.serving(EmbeddedPostgres(workshop.scratch("t07-catalog"), settings=data.SETTINGS)) as postgres:
        database = postgres.create_database("catalog")
        source, backup_id, key = _archived(database, server, path, target)
        application = {**source.to_dict(), "files_directory": str(files)}
        values = {"application": application, "url": server.url, "database": data.address(database)}

        def plan() -> None:
            setup.write_text(json.dumps({**values, "restore_id": _plan_anew(postgres, backup_id)}))

        yield setup, key, plan


def _archived(database: Server, server: S3Server, path: Path, target: Path) -> tuple[Application, int, str]:
    """Send a file as rclone's server can keep it, and record it as archived: return application, backup and key."""
    from glacier_provider.applications import Application
    from glacier_provider.catalog.archives import Upload
    from glacier_provider.catalog.backups import Run
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.core.archive import Location, Receipt
    from glacier_provider.pipelines import backup

    source = Application(
        name="bench",
        postgres_conn_id="bench",
        files_directory=str(path.parent),
        orphan_directory=str(target / "orphans"),
        staging_directory=str(target / "staging"),
        store=f"s3://{BUCKET}/{secrets.token_hex(4)}?storage_class=STANDARD",
        exclude=tuple(f"{one.name}*" for one in path.parent.iterdir() if one != path),
    )
    with Catalog(database.connect, schema=source.catalog_schema, application=source.name) as catalog:
        catalog.migrate()
        backup_id = catalog.backups.open(Run("bench", "backup"))
        backup.scan_files(source, backup_id, catalog=catalog)
        with database.connect() as connection:
            [row] = connection.execute("SELECT id FROM glacier_catalog.glacier_archives WHERE kind = 'file'")
        key = f"{secrets.token_hex(4)}/{path.name}"
        server.client().upload_file(str(path), BUCKET, key)
        # rclone's server has no checksum of parts, without which the product archives nothing there
        receipt = Receipt(Location(source.store, key), path.stat().st_size, composite(path))
        catalog.archives.record_uploads([Upload(row[0], receipt)])
    return source, backup_id, key


def _plan_anew(postgres: EmbeddedPostgres, backup_id: int) -> int:
    """Make the backup a complete one whose only archive is ready; return the id of a restore that brings it."""
    postgres.execute(
        "UPDATE glacier_catalog.application_data_backups SET state = 'complete', closed_at = now(),"
        " database_archive_id = a.id, manifest_archive_id = a.id FROM glacier_catalog.glacier_archives a"
        f" WHERE a.kind = 'file' AND application_data_backups.id = {backup_id};"
        " DELETE FROM glacier_catalog.restore_archives; DELETE FROM glacier_catalog.restores;"
        " UPDATE glacier_catalog.glacier_archives SET retrieval_status = 'ready' WHERE kind = 'file'",
        "catalog",
    )
    [(restored,)] = postgres.execute(
        "WITH restored AS (INSERT INTO glacier_catalog.restores"
        " (application_id, backup_id, dag_id, dag_run_id, request, state)"
        f" SELECT application_id, {backup_id}, 'bench', 'restore', '{{}}', 'planned'"
        " FROM glacier_catalog.glacier_archives WHERE kind = 'file' RETURNING id)"
        " INSERT INTO glacier_catalog.restore_archives (restore_id, archive_id, source)"
        " SELECT r.id, a.id, 'store' FROM restored r, glacier_catalog.glacier_archives a WHERE a.kind = 'file'"
        " RETURNING restore_id",
        "catalog",
    )
    return int(restored)


def composite(path: Path, part_size: int = 16 * 1024 * 1024) -> str:
    """Return the checksum that S3 makes of the parts of a file."""
    digests = []
    with path.open("rb") as file:
        while part := file.read(part_size):
            digests.append(hashlib.sha256(part).digest())
    return f"sha256-parts:{part_size}:{hashlib.sha256(b''.join(digests)).hexdigest()}"


def download(setup: str) -> Mapping[str, float]:
    """Bring the file as the task `download` does: ranges in parallel, verified, durable, named last."""
    from glacier_provider.applications import Application
    from glacier_provider.catalog.archives import ArchiveRange
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines import restore

    values = json.loads(Path(setup).read_text())
    application = Application.from_dict(values["application"])
    server, store = Server(**values["database"]), open_bench_store(values["url"], application.store)
    catalog = Catalog(server.connect, schema=application.catalog_schema, application=application.name)
    with catalog, measured():
        done = restore.download_archives(
            application, values["restore_id"], ArchiveRange(0, 2**62), catalog=catalog, stores=lambda _: store
        )
    if done["archives"] != 1:
        raise BenchFailed("nothing was brought")
    return {"brought": done["bytes"]}


def _up(name: str, peer: str, limit: float) -> Target:
    return Target(name, OURS, peer, limit, measure="inside", peer_measure="wall")


def _down(name: str, peer: str) -> Target:
    """No peer waits until the file is on the disk."""
    return Target(name, OURS, peer, 0.8, measure="inside", peer_measure="wall")


CASES = (
    Case(
        "t03",
        "an archive of 1 GiB, hashed and uploaded, on a sink",
        uploads,
        (
            _up("T3 rclone", "rclone", 0.5),
            _up("T3 rclone tuned", "rclone tuned", 1.0),
            _up("T3 minimal client with SHA-256", "minimal client", 1.2),
            Target("T3 peak memory, MB", OURS, None, 200, measure="rss"),
        ),
        warm_up=True,
    ),
    Case(
        "t07a",
        "1 GiB down from rclone serve s3, verified",
        downloads(RcloneServer, gives_digest=True),
        (_down("T7 rclone serve s3", "rclone"),),
        warm_up=True,
    ),
    Case(
        "t07b",
        "1 GiB down from seaweedfs, verified",
        downloads(SeaweedFS, gives_digest=False),
        (
            _down("T7 seaweedfs, rclone that verifies", OWN),
            _down("T7 seaweedfs, rclone that verifies nothing", "rclone"),
            _down("T7 seaweedfs, rclone and a SHA-256", VERIFYING),
        ),
        warm_up=True,
    ),
)
