"""T23: the sizes that a backup has to manage, each as large as PostgreSQL's own limits or an application may make it.

One case a size: backed up, planned, restored in one transaction and by swap, beside `pg_dump | pg_restore` and
`pg_restore -1 --clean --if-exists`. Times and peak memory are what is looked for. The server has locks for a
transaction of each; what one with fewer does is told by the plan (`restore.mode: auto`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from bench import schemas
from bench.harness import Case, Contender, Target
from bench.peers import pg_dump, pg_restore, piped
from bench.restores import backs_up, filled, restores
from bench.workshop import Workshop

BACKUP, PLAN, IN_PLACE, BESIDE = "backup", "plan", "restore in place", "restore by swap"
DUMP, CLEAN, BOTH = "pg_dump -Fc -Z zstd:3", "pg_restore -1 --clean --if-exists", "pg_dump | pg_restore"
EMPTY = "pg_restore -1, into an empty database"  #: of partitions with keys, which --clean cannot drop
#: Of these the time is worth comparing; the others take seconds.
LONG = ("tables", "schemas", "partitions", "large objects")
#: Peak memory in MB, of the client's side; libpq and pg_dump themselves hold a whole value, as text.
MEMORY = 400


def sized(name: str) -> Callable[[Workshop], Any]:
    make, count = schemas.SIZES[name]

    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        with filled(workshop.scratch("t23"), make(workshop.scaled(count))) as made, workshop.counted(made.postgres):
            scratch = workshop.scratch("t23")
            dump = made.dumped(scratch / "dump", "-Fc", "-Z", "zstd:3")
            ours, theirs, tool = made.copied("ours"), made.postgres.server("theirs"), made.tools / "pg_restore"
            dumped = pg_dump(DUMP, made.tools / "pg_dump", made.source, "-Fc", "-Z", "zstd:3")
            clean = ("-1", "--clean", "--if-exists", str(dump))
            whole = pg_restore(CLEAN, tool, theirs, *clean, before=made.copied("theirs"))
            if name == "partitions":
                whole = pg_restore(EMPTY, tool, theirs, "-1", str(dump), before=made.empty("theirs"))
            every: dict[str, Any] = {"timeout": 3600}
            yield [
                backs_up(BACKUP, made, scratch, **every),
                pg_dump(
                    DUMP,
                    made.tools / "pg_dump",
                    made.source,
                    "-Fc",
                    "-Z",
                    "zstd:3",
                    "-f",
                    str(scratch / "peer"),
                    **every,
                ),
                restores(PLAN, "plan", made, "ours", dump, before=ours, **every),
                restores(IN_PLACE, "transaction", made, "ours", dump, before=ours, **every),
                replace(whole, **every),
                restores(BESIDE, "swap", made, "ours", dump, before=ours, **every),
                piped(BOTH, [dumped, pg_restore("", tool, theirs)], before=made.empty("theirs"), **every),
            ]

    return contenders


def _targets(name: str) -> tuple[Target, ...]:
    memory = Target(f"T23 {name}: peak MB of a restore in place", IN_PLACE, None, MEMORY, measure="rss")
    if name not in LONG:
        return (memory,)
    ways = ((BACKUP, DUMP), (IN_PLACE, EMPTY if name == "partitions" else CLEAN), (BESIDE, BOTH))
    times = [
        Target(f"T23 {name}: {ours} / {peer}", ours, peer, 1.3, measure="inside", peer_measure="wall")
        for ours, peer in ways
    ]
    return (*times, memory)


CASES = tuple(
    Case(f"t23{letter}", f"{count:,} {name}", sized(name), _targets(name), most_rounds=1)
    for letter, (name, (_, count)) in zip("abcdefgh", schemas.SIZES.items(), strict=True)
)
