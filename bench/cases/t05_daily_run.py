"""T5: the daily run over 1,000,000 files that did not change, as `scan_files` in its task, against `find`.

By name: every directory is read and compared by a digest of its names. With sizes: every file's size is looked at as
well. Times trusted: a directory that did not change since it was read is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data, scanned
from bench.child import python
from bench.harness import Case, Contender, Target
from bench.peers import find_files
from bench.workshop import Workshop
from tests.support.postgres import EmbeddedPostgres

FILES = 1_000_000
BY_NAME = {"size_check": "never", "trust_directory_times": "never"}
WITH_SIZES = {"size_check": "always"}
TRUSTED = {"size_check": "never", "trust_directory_times": "auto"}
TREES: dict[str, Callable[[Path, int], Path]] = {"hashed": data.hashed_tree, "flat": data.flat_tree}


def unchanged(kind: str, make: Callable[[Path, int], Path], files: int) -> Callable[[Workshop], Any]:
    @contextmanager
    def contenders(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        count = workshop.scaled(files, least=1000)
        tree = workshop.made(f"{kind}-{count}", lambda path: make(path, count))
        with workshop.serving(EmbeddedPostgres(workshop.scratch("t05-catalog"), settings=data.SETTINGS)) as postgres:
            server = scanned.archived(postgres, scanned.an_application(tree))

            def ours(name: str, **scan: str) -> Contender:
                arguments = {"database": data.address(server), "files": str(tree), "scan": scan, "count": count}
                return python(name, "bench.scanned:scan_again", arguments=arguments, items=count, timeout=3600)

            yield [
                ours("by name", **BY_NAME),
                find_files("find", tree, items=count),
                ours("with sizes", **WITH_SIZES),
                find_files("find with sizes", tree, "-printf", "%s %p\\n", items=count),
                ours("times trusted", **TRUSTED),
            ]

    return contenders


def targets(kind: str) -> tuple[Target, ...]:
    inside: dict[str, Any] = {"measure": "inside", "peer_measure": "wall"}
    return (
        Target(f"T5 {kind}: by name / find", "by name", "find", 1.5, **inside),
        Target(f"T5 {kind}: with sizes / find with sizes", "with sizes", "find with sizes", 1.6, **inside),
        Target(f"T5 {kind}: times trusted / find", "times trusted", "find", 0.6, **inside),
        Target(f"T5 {kind}: peak MB by name", "by name", None, 250, measure="rss"),
        Target(f"T5 {kind}: peak MB with sizes", "with sizes", None, 250, measure="rss"),
    )


CASES = tuple(
    Case(f"t05-{kind}", f"1,000,000 unchanged files, {kind}", unchanged(kind, make, FILES), targets(kind), warm_up=True)
    for kind, make in TREES.items()
)
