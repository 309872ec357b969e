"""T18, T91: the page in Airflow's UI and the command line over a large catalog and over a small one.

`python -m bench.pages` shows each view. A view of so few milliseconds that the machine's own noise is as large as it is
(below 5) is compared by what it takes beyond those of the small catalog.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bench.child import python
from bench.harness import Case, Contender, Target
from bench.processes import BenchFailed
from bench.workshop import Workshop

LINE = re.compile(r"(?P<view>.+?)\s+(?P<small>[\d.]+) ms\s+(?P<large>[\d.]+) ms\s+ratio\s+[\d.]+")
NOISE_MS = 5.0


def pages(*, many: bool) -> Callable[[Workshop], Any]:
    @contextmanager
    def contenders(_workshop: Workshop) -> Iterator[Sequence[Contender]]:
        arguments = {"many": many}
        yield [python("all views", "bench.cases.t18_pages:slowest", arguments=arguments, timeout=7200)]

    return contenders


def slowest(*, many: bool) -> Mapping[str, float]:
    """Return the milliseconds of each view over the large catalog, of the slowest, and the worst ratio of all."""
    options = ["--many"] if many else []
    argv = [sys.executable, "-m", "bench.pages", *options]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = [line for line in map(LINE.match, told.splitlines()) if line]
    if not found:
        raise BenchFailed(f"bench.pages told nothing:\n{told}")
    views = {line["view"]: float(line["large"]) for line in found}
    ratios = [float(line["large"]) / max(float(line["small"]), NOISE_MS) for line in found]
    return {"slowest view, ms": max(views.values()), "worst ratio": max(ratios), **views}


CASES = (
    Case(
        "t18",
        "page and commands: 100 applications, 10,000 backups each, 10,000,000 archives",
        pages(many=True),
        (Target("T18 slowest view / the small catalog's", "all views", None, 2.0, measure="worst ratio"),),
        most_rounds=3,
    ),
    Case("t91", "page and commands: 10,000 backups, 1,000,000 archives", pages(many=False), most_rounds=1),
)
