"""T20: a filled database restored in one transaction, against `pg_restore -1 --clean --if-exists` of the same dump.

Ours plans, drops, restores, and makes fresh statistics; the peer leaves these to be made. A second peer makes them,
with `vacuumdb --analyze-only`, to tell what they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench import schemas
from bench.harness import Case, Contender, Target
from bench.peers import in_turn, pg_restore, vacuumdb
from bench.restores import Filled, filled, restores
from bench.schemas import Statements
from bench.workshop import Workshop

OURS, PEER, ANALYZED = "glacier_provider", "pg_restore -1 --clean --if-exists", "the same, then vacuumdb -Z"
TABLES = 80
ROWS = 120_000  # of each large table


def in_place(name: str, statements: Callable[[Workshop], Statements]) -> Callable[[Workshop], Any]:
    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        made: Filled = workshop.opened(f"t20-{name}", lambda path: filled(path, statements(workshop)))
        dump = made.dumped(workshop.scratch("t20") / "application.dump", "-Fd", "-Z", "zstd:3")
        server, tools = made.postgres.server("theirs"), made.tools
        theirs = ("-1", "--clean", "--if-exists", str(dump))
        every: dict[str, Any] = {"reads": (dump,)}
        with workshop.counted(made.postgres):
            restored = pg_restore(PEER, tools / "pg_restore", server, *theirs, before=made.copied("theirs"), **every)
            analyzed = vacuumdb("", tools / "vacuumdb", server, "--analyze-only", "--quiet")
            yield [
                restores(OURS, "transaction", made, "ours", dump, before=made.copied("ours"), **every),
                restored,
                in_turn(ANALYZED, [restored, analyzed], before=made.copied("theirs"), **every),
            ]

    return contenders


def _targets(name: str) -> tuple[Target, ...]:
    return (
        Target(f"T20 {name}, against pg_restore -1 --clean", OURS, PEER, 1.3, measure="inside", peer_measure="wall"),
    )


def _application(workshop: Workshop) -> Statements:
    return schemas.application(TABLES, workshop.scaled(ROWS, least=200))


def _many(workshop: Workshop) -> Statements:
    return schemas.tables(workshop.scaled(2_000, least=50))


CASES = (
    Case(
        "t20a",
        "an application's 80 tables restored in one transaction",
        in_place("application", _application),
        _targets("80 tables"),
    ),
    Case("t20b", "2,000 small tables restored so", in_place("many", _many), _targets("2,000 small tables")),
)
