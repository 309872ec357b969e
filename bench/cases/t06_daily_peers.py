"""T6: the daily run over 100,000 files that did not change, against other tools that were at them before.

Ours looks at every file's size, as the others do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench import data, scanned
from bench.child import python
from bench.harness import BenchFailed, Case, Contender, Target, clean_environment, measure
from bench.peers import aws_sync, rclone_sync, restic
from bench.servers import RcloneServer
from bench.workshop import Workshop
from tests.support.postgres import EmbeddedPostgres

FILES = 100_000
OURS = "glacier_provider"


@contextmanager
def unchanged(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    count = workshop.scaled(FILES, least=1000)
    tree = workshop.made(f"hashed-{count}", lambda path: data.hashed_tree(path, count))
    repository = workshop.scratch("t06") / "restic"
    with (
        workshop.serving(EmbeddedPostgres(workshop.scratch("t06-catalog"), settings=data.SETTINGS)) as postgres,
        workshop.serving(RcloneServer()) as store,
    ):
        server = scanned.archived(postgres, scanned.an_application(tree))
        arguments = {"database": scanned.address(server), "files": str(tree), "scan": {}, "count": count}
        ours = python(OURS, "bench.scanned:scan_again", arguments=arguments, items=count)
        backup = restic("restic", repository, "backup", str(tree), items=count)
        sync = rclone_sync("rclone sync", store, tree, "files", "--transfers", "32", items=count)
        aws = aws_sync("aws s3 sync", store, tree, "files", "--size-only", items=count)
        _run(restic("init", repository, "init"))
        for first in (backup, sync):
            measure(first)
        yield [ours, backup, sync, aws]


def _run(contender: Contender) -> None:
    done = subprocess.run(
        contender.argv, env=clean_environment() | dict(contender.env), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchFailed(done.stderr)


CASES = (
    Case(
        "t06",
        "100,000 unchanged files",
        unchanged,
        (
            Target("T6 restic", OURS, "restic", 0.2, measure="inside", peer_measure="wall"),
            Target("T6 rclone sync", OURS, "rclone sync", 0.2, measure="inside", peer_measure="wall"),
            Target("T6 aws s3 sync", OURS, "aws s3 sync", 0.03, measure="inside", peer_measure="wall"),
            Target("T6 restic, our process's start included", OURS, "restic", 1.0),
        ),
        most_rounds=3,
    ),
)
