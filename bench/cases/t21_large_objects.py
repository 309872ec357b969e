"""T21: 20,000 large objects of 32 to 1,920 bytes, backed up and restored, against pg_dump and pg_restore.

The backup is that of the task `dump_database` but for the catalog and the store: in the form that so many large objects
ask for, read through, and hashed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import schemas
from bench.harness import Case, Contender, Target
from bench.peers import pg_dump, pg_restore
from bench.restores import Filled, backs_up, filled, restores
from bench.workshop import Workshop

COUNT = 20_000
OURS, FILE, DIRECTORY = "glacier_provider", "pg_dump -Fc -Z zstd:3", "pg_dump -Fd -Z zstd:3"
IN_PLACE, BESIDE = "glacier_provider, in place", "glacier_provider, swap"
CLEAN, EMPTY = "pg_restore -1 --clean --if-exists", "pg_restore, into an empty database"


def _filled(workshop: Workshop) -> Filled:
    count = workshop.scaled(COUNT, least=1500)  # fewer are dumped into a directory
    return workshop.opened(f"t21-{count}", lambda path: filled(path, schemas.large_objects(count)))


@contextmanager
def backups(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    made, scratch = _filled(workshop), workshop.scratch("t21")
    directory, file, tool = scratch / "directory", scratch / "dump", made.tools / "pg_dump"

    def clear() -> None:
        shutil.rmtree(directory, ignore_errors=True)

    every: dict[str, Any] = {"before": clear}
    with workshop.counted(made.postgres):
        yield [
            backs_up(OURS, made, scratch, **every),
            pg_dump(FILE, tool, made.source, "-Fc", "-Z", "zstd:3", "-f", str(file), **every),
            pg_dump(DIRECTORY, tool, made.source, "-Fd", "-Z", "zstd:3", "-f", str(directory), **every),
        ]


@contextmanager
def ways_back(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    made = _filled(workshop)
    dump: Path = made.dumped(workshop.scratch("t21") / "dump", "-Fc", "-Z", "zstd:3")
    theirs, tool = made.postgres.server("theirs"), made.tools / "pg_restore"
    with workshop.counted(made.postgres):
        yield [
            restores(IN_PLACE, "transaction", made, "ours", dump, before=made.copied("ours")),
            pg_restore(CLEAN, tool, theirs, "-1", "--clean", "--if-exists", str(dump), before=made.copied("theirs")),
            restores(BESIDE, "swap", made, "ours", dump, before=made.copied("ours")),
            pg_restore(EMPTY, tool, theirs, str(dump), before=made.empty("theirs")),
        ]


def _target(name: str, ours: str, peer: str) -> Target:
    return Target(f"T21 {name}, against {peer}", ours, peer, 1.2, measure="inside", peer_measure="wall")


CASES = (
    Case(
        "t21a",
        "20,000 large objects backed up",
        backups,
        (_target("backup", OURS, FILE), _target("backup", OURS, DIRECTORY)),
    ),
    Case(
        "t21b",
        "20,000 large objects restored",
        ways_back,
        (_target("in place", IN_PLACE, CLEAN), _target("swap", BESIDE, EMPTY)),
    ),
)
