"""T16: the daily run over 10,000,000 files that did not change, in 100,000 directories, as T5 is of a million.

The tree takes 10,100,000 inodes, which a disk has to have free (`df -i`), and some minutes to make.
"""

from __future__ import annotations

from pathlib import Path

from bench import data
from bench.cases.t05_daily_run import unchanged
from bench.harness import Case, Target

FILES, DIRECTORIES = 10_000_000, 100_000


def spread(directory: Path, count: int) -> Path:
    """Make so many files, a hundred in each directory."""
    return data.spread_tree(directory, count, directories=max(1, count * DIRECTORIES // FILES))


CASES = (
    Case(
        "t16",
        "10,000,000 unchanged files in 100,000 directories",
        unchanged("spread", spread, FILES),
        (
            Target("T16 by name / find", "by name", "find", 1.6, measure="inside", peer_measure="wall"),
            Target("T16 times trusted / find", "times trusted", "find", 0.5, measure="inside", peer_measure="wall"),
            Target("T16 peak MB by name", "by name", None, 300, measure="rss"),
            Target("T16 peak MB, times trusted", "times trusted", None, 300, measure="rss"),
        ),
        warm_up=True,
    ),
)
