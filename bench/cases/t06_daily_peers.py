"""T6: the daily run over 100,000 files that did not change, against other tools that were at them before.

Ours looks at every file's size, as the others do. What the others would have sent before is laid into the server's
directory; a first run of each, not measured, settles what the tool remembers.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data, scanned
from bench.child import python
from bench.harness import Case, Contender, Sample, Target, measure
from bench.peers import aws_sync, rclone_sync, restic
from bench.processes import BenchFailed, clean_environment
from bench.servers import BUCKET, RcloneServer
from bench.workshop import Workshop
from tests.support.postgres import EmbeddedPostgres

FILES = 100_000
OURS = "glacier_provider"


@contextmanager
def syncs(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with _ours(workshop) as (ours, tree, count), workshop.serving(RcloneServer()) as store:
        _made(store.directory / BUCKET / "files", count)
        every: dict[str, Any] = {"items": count, "after": _still(store, count), "reads": (tree,)}
        sync = rclone_sync("rclone sync", store, tree, "files", "--transfers", "32", **every)
        measure(sync)
        yield [ours, sync, aws_sync("aws s3 sync", store, tree, "files", "--size-only", **every)]


@contextmanager
def repositories(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    """The case that says so when restic, a package of the system, is missing."""
    repository = workshop.scratch("t06") / "restic"
    _run(restic("init", repository, "init"))
    with _ours(workshop) as (ours, tree, count):
        backup = restic("restic", repository, "backup", str(tree), items=count, reads=(tree,))
        measure(backup)
        yield [ours, backup]


@contextmanager
def _ours(workshop: Workshop) -> Iterator[tuple[Contender, Path, int]]:
    """Yield our daily run, with a catalog in which every file is archived, the files and their number."""
    count = workshop.scaled(FILES, least=1000)
    tree = workshop.made(f"hashed-{count}-in-4096", lambda path: _made(path, count))
    with workshop.serving(EmbeddedPostgres(workshop.scratch("t06-catalog"), settings=data.SETTINGS)) as postgres:
        server = scanned.archived(postgres, scanned.an_application(tree))
        arguments = {"database": data.address(server), "files": str(tree), "scan": {}, "count": count}
        yield python(OURS, "bench.scanned:scan_again", arguments=arguments, items=count, reads=(tree,)), tree, count


def _made(directory: Path, count: int) -> Path:
    """Make as many files a directory as a million has in 256 x 256."""
    return data.hashed_tree(directory, count, digits=3)


def _still(store: RcloneServer, count: int) -> Any:
    """Return a check that the server has the files, so that there was something to compare."""

    def after(sample: Sample) -> None:
        found = sum(1 for path in (store.directory / BUCKET / "files").rglob("*.pdf") if path.is_file())
        if found != count:
            raise BenchFailed(f"{sample.contender}: {found} of {count} files are on the server")

    return after


def _run(contender: Contender) -> None:
    done = subprocess.run(
        contender.argv, env=clean_environment() | dict(contender.env), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchFailed(done.stderr)


CASES = (
    Case(
        "t06a",
        "100,000 unchanged files, against tools that ask the server",
        syncs,
        (
            Target("T6 rclone sync", OURS, "rclone sync", 0.2, measure="inside", peer_measure="wall"),
            Target("T6 aws s3 sync", OURS, "aws s3 sync", 0.03, measure="inside", peer_measure="wall"),
        ),
        most_rounds=3,
    ),
    Case(
        "t06b",
        "100,000 unchanged files, against restic",
        repositories,
        (Target("T6 restic", OURS, "restic", 0.2, measure="inside", peer_measure="wall"),),
        most_rounds=3,
    ),
)
