"""The page in Airflow's UI over a large catalog and over a small one; `python -m bench.pages` shows each view."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bench.child import python
from bench.harness import Case, Contender
from bench.processes import BenchFailed
from bench.workshop import Workshop

LINE = re.compile(r"(?P<view>.+?)\s+(?P<small>[\d.]+) ms\s+(?P<large>[\d.]+) ms\s+ratio\s+[\d.]+")


@contextmanager
def pages(_workshop: Workshop) -> Iterator[Sequence[Contender]]:
    yield [python("all views", "bench.cases.t91_pages:slowest")]


def slowest() -> Mapping[str, float]:
    """Return the milliseconds of each view over the large catalog, and those of the slowest."""
    told = subprocess.run([sys.executable, "-m", "bench.pages"], capture_output=True, text=True, check=True).stdout
    views = {found["view"]: float(found["large"]) for found in map(LINE.match, told.splitlines()) if found}
    if not views:
        raise BenchFailed(f"bench.pages told nothing:\n{told}")
    return {"slowest view, ms": max(views.values()), **views}


CASES = (Case("t91", "the page in Airflow's UI: 10,000 backups, 1,000,000 archives", pages, most_rounds=1),)
