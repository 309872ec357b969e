"""Try mutations of the product: each has to be noticed by the tests that are named with it.

`python -m tests.mutants --only checksum --jobs 2`. Nothing is changed in the checkout: each job has a copy of it, in
which one mutation at a time is made and undone. First the tests are run without any; then a line tells of each mutation
whether a test killed it. The command's status is 1 when one survived, or when something went wrong otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.mutation import PACKAGE, Mutation, NotFoundOnce
from tests.mutants.table import MUTATIONS

CHECKOUT = Path(__file__).parents[2]
#: Longer than the tests of any mutation take, also when it makes them wait in vain; and for each test of all of them.
SECONDS = 600
SECONDS_EACH = 60


@dataclass(frozen=True)
class Outcomes:
    """How the tests of one run of pytest ended."""

    passed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    broken: tuple[str, ...] = ()


@dataclass
class Copy:
    """A copy of the checkout, in which tests run, and all processes that they start."""

    place: Path
    _time: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000_000, 2_000_000_000)))

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        path, source = self.place / mutation.file, mutation.read(self.place)
        self._write(path, mutation.applied_to(source))
        try:
            yield
        finally:
            self._write(path, source)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source, encoding="utf-8")
        seconds = next(self._time)  # bytecode of another version has another time: compiled files know seconds alone
        os.utime(path, (seconds, seconds))

    def run(self, tests: Sequence[str], *options: str, module: str = "", seconds: float = SECONDS) -> Outcomes:
        """Run tests in the copy."""
        told = self.place.parent / f"{self.place.name}.json"
        told.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.outcomes", "-p", "no:cacheprovider"]
        argv += ["-m", "not browser", *options, *tests]
        environment = {**self.environment(), "MUTANTS_OUTCOMES": str(told), "MUTANTS_MODULE": module}
        try:
            done = subprocess.run(
                argv, cwd=self.place, env=environment, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return Outcomes(broken=(f"the tests did not end within {seconds:.0f} s",))
        if not told.exists():
            return Outcomes(broken=((done.stdout + done.stderr).strip()[-2000:],))
        read = json.loads(told.read_text(encoding="utf-8"))
        return Outcomes(frozenset(read["passed"]), frozenset(read["failed"]), tuple(read["broken"]))

    def environment(self) -> dict[str, str]:
        """Return an environment in which the package is that of the copy, for children wherever they run."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": str(self.place)}

    def is_used(self) -> bool:
        """Whether a process that runs elsewhere imports the package of the copy."""
        asked = [sys.executable, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"]
        said = subprocess.run(
            asked, cwd="/", env=self.environment(), capture_output=True, text=True, check=False
        ).stdout
        return Path(said.strip()).is_relative_to(self.place)


def copied(place: Path) -> Copy:
    """Copy what git knows of the checkout, and what it would know, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (CHECKOUT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, place / name)
    copy = Copy(place)
    if not copy.is_used():
        raise SystemExit(f"The copy in {place} is not what a process imports; nothing is proved by mutations of it.")
    return copy


def without_mutation(copy: Copy, mutations: Iterable[Mutation], jobs: int) -> Outcomes:
    """Run the tests of all mutations as they are."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    return copy.run(tests, "-n", str(jobs), "--dist", "loadfile", seconds=SECONDS + SECONDS_EACH * len(tests))


def judged(mutation: Mutation, copies: SimpleQueue[Copy], sound: Outcomes) -> tuple[bool, str]:
    """Try a mutation; return whether it was killed, and what there is to say."""
    for test in mutation.tests:
        if not any(passed == test or passed.startswith((f"{test}::", f"{test}[")) for passed in sound.passed):
            return False, f"ERROR: {test} does not pass as it is"
    copy = copies.get()
    try:
        with copy.mutated(mutation):
            outcomes = copy.run(mutation.tests, "-x", module=mutation.module)
    except NotFoundOnce as error:
        return False, f"ERROR: {error}"
    finally:
        copies.put(copy)
    return verdict(outcomes)


def verdict(outcomes: Outcomes) -> tuple[bool, str]:
    """Return whether the tests killed a mutation, and what there is to say."""
    if outcomes.broken:
        return False, f"ERROR: {outcomes.broken[0]}"
    if outcomes.failed:
        return True, f"killed by {min(outcomes.failed)}"
    return False, "SURVIVED" if outcomes.passed else "ERROR: no test was run"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutations with this in their name or file; words by commas: any")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    words = [word.strip() for word in chosen.only.lower().split(",")]
    mutations = [one for one in MUTATIONS if any(word in f"{one.name} {one.file}".lower() for word in words)]
    if not mutations:
        parser.error(f"no mutation has {chosen.only!r} in its name")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(min(chosen.jobs, len(mutations))):
            copies.put(copied(Path(folder) / f"copy{number}"))
        survivors = _try_all(mutations, copies, jobs=chosen.jobs)
    took = round(time.monotonic() - began)
    _tell(f"{len(mutations) - len(survivors)} of {len(mutations)} mutations were killed, in {took} s.")
    for name in survivors:
        _tell(f"  not killed: {name}")
    return 1 if survivors else 0


def _try_all(mutations: list[Mutation], copies: SimpleQueue[Copy], *, jobs: int) -> list[str]:
    """Try mutations, so many at a time; return the names of those that were not killed."""
    first = copies.get()
    began = time.monotonic()
    sound = without_mutation(first, mutations, jobs)
    copies.put(first)
    for line in (*sound.broken, *(f"{test} fails as it is" for test in sorted(sound.failed))):
        _tell(line)
    _tell(f"Without a mutation {len(sound.passed)} tests pass, in {time.monotonic() - began:.0f} s.")
    survivors = []
    with ThreadPoolExecutor(jobs) as threads:
        trials = {threads.submit(judged, mutation, copies, sound): mutation for mutation in mutations}
        for trial in as_completed(trials):
            killed, said = trial.result()
            _tell(f"{trials[trial].name}: {said}")
            if not killed:
                survivors.append(trials[trial].name)
    return survivors


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
