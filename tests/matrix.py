"""The package in the environments that people have: versions of Airflow and of Python, newest and lowest dependencies.

    python -m tests.matrix [--cells 3.2,3.13] [--small]

Each cell gets an environment of its own below .cache/matrix, and runs what depends on Airflow: its DAGs parsed and run
to the end, the deferred wait, the approval, deadlines, lineage, the API of the page, the plugin; with the oldest
Python, where there is a browser, its way through the page below a base URL with a path. An interpreter that is not here
is named. The small cell is the oldest Airflow on this Python, and what does not take minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parents[1]
CACHE = HERE / ".cache" / "matrix"

#: By version of Airflow, what it needs that pip does not know: later versions came out after it, and break it. Whoever
#: installs Airflow with its own constraints has these.
AIRFLOWS = {
    "3.2.2": ("fastapi<0.137", "svcs<26"),
    "3.3.2": ("fastapi<0.137",),
    "3.4.0b2": ("fastapi<0.137",),
}
HERE_IS = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_RUNS = "tests/integration/airflow"
SMALL = (
    "tests/unit/test_dags.py",
    "tests/unit/test_deprecations.py",
    "tests/unit/test_provider_info.py",
    "tests/unit/ui/test_plugin.py",
    "tests/unit/operators/test_airflow_version.py",
    "tests/unit/operators/test_links.py",
    f"{_RUNS}/test_deadlines.py",
    f"{_RUNS}/test_lineage.py",
    f"{_RUNS}/test_notifier.py",
    f"{_RUNS}/test_without_copying.py",
    f"{_RUNS}/test_round_trips.py::test_a_missing_owner_role_is_told_before_anything_changes",
)
TESTS = (
    *SMALL,
    f"{_RUNS}/test_round_trips.py::test_last_weeks_backup_then_yesterdays[catalog in another]",
    f"{_RUNS}/test_approval.py::test_over_the_budget_nothing_is_asked_for_before_somebody_approves",
    f"{_RUNS}/test_approval.py::test_a_rejected_restore_ends_without_a_request",
    f"{_RUNS}/test_notified.py::test_a_restore_goes_on_when_the_message_comes[on_s3]",
    "tests/integration/ui/test_api.py",
)
#: What asks more of Python and the libraries than of Airflow: it runs at both ends.
EVERYTHING = ("tests/unit", "tests/contract", *(one for one in TESTS if not one.startswith("tests/unit")))
BROWSED = "tests/e2e/test_below_a_path.py"
#: What Python and the libraries call deprecated is an error in our own modules; others' are theirs to mend.
WARNINGS = "filterwarnings=ignore\nerror::DeprecationWarning:glacier_provider"
EXTRAS = "demo,lineage"
NOT_HERE = "no such interpreter here"
#: What the tests need besides the package with what its demo has.
TOOLS = (
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jsonschema", "prometheus-client"),
    *("apache-airflow-providers-git", "playwright"),
)


@dataclass(frozen=True)
class Cell:
    airflow: str
    python: str
    lowest: bool = False
    small: bool = False

    def __str__(self) -> str:
        return f"airflow {self.airflow}, python {self.python}, {'lowest' if self.lowest else 'newest'} dependencies"

    @property
    def tests(self) -> tuple[str, ...]:
        return SMALL if self.small else EVERYTHING if self.is_an_end else TESTS

    @property
    def is_an_end(self) -> bool:
        return self.lowest or (self.airflow, self.python) == ([*AIRFLOWS][-1], PYTHONS[-1])

    @property
    def browsed(self) -> bool:
        return self.python == PYTHONS[0] and not self.small and shutil.which("chromium") is not None

    @property
    def place(self) -> Path:
        kind = f"{'-lowest' if self.lowest else ''}{'-small' if self.small else ''}"
        return CACHE / f"airflow-{self.airflow}-python-{self.python}{kind}"


def cells() -> Iterator[Cell]:
    """Yield every version of Airflow with every one of Python, and the lowest dependencies with the oldest of both."""
    yield from (Cell(airflow, python) for airflow in AIRFLOWS for python in PYTHONS)
    yield Cell(next(iter(AIRFLOWS)), PYTHONS[0], lowest=True)


def result(cell: Cell) -> str:
    """Return in a word or two what became of a cell."""
    uv = Path(sys.executable).parent / "uv"
    found = interpreter(cell.python)
    if found is None:
        return NOT_HERE
    shutil.rmtree(cell.place, ignore_errors=True)
    if not _runs([uv, "venv", "-q", "--python", found, cell.place]):
        return "no environment"
    python = cell.place / "bin" / "python"
    constraints = cell.place / "constraints.txt"
    constraints.write_text("\n".join(constraints_of(cell)))
    install: list[str | Path] = [uv, "pip", "install", "-q", "--prerelease", "if-necessary-or-explicit"]
    install += ["--python", python, "--constraints", constraints, f"apache-airflow=={cell.airflow}"]
    if not _runs([*install, *(["--resolution", "lowest-direct"] if cell.lowest else []), "-e", f".[{EXTRAS}]"]):
        return "cannot be installed"
    if not _runs([*install, *TOOLS]):
        return "the tests cannot be installed"
    pytest: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", WARNINGS, "--no-header"]
    if not _runs([*pytest, "-n", "2", "--dist", "worksteal", "--durations=8", "-m", "not browser", *cell.tests]):
        return "FAILED"
    if cell.browsed and not _runs([*pytest, "-m", "browser", BROWSED]):
        return "FAILED in the browser"
    return "passed in short" if cell.small else "passed, in a browser too" if cell.browsed else "passed"


def constraints_of(cell: Cell) -> Iterator[str]:
    """Yield what a cell holds its installers to, a line each; the lowest cell to what pyproject.toml calls the lowest.

    Others that are installed beside ask for more than that here and there, and a bound that nobody can have says
    nothing: then the cell cannot be installed.
    """
    yield from AIRFLOWS[cell.airflow]
    if cell.lowest:
        project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
        bounded = map(Requirement, project["dependencies"])
        lowest = {one.name: bound.version for one in bounded for bound in one.specifier if bound.operator == ">="}
        yield from (f"{name}=={version}.*" for name, version in lowest.items() if name != "apache-airflow")


def interpreter(version: str) -> str | None:
    """Return an interpreter of this version, None where there is none that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
    if version == HERE_IS:
        candidates.insert(0, sys.executable)
    for found in filter(None, candidates):
        done = subprocess.run([found, "-c", ""], capture_output=True, check=False)
        if done.returncode == 0:
            return found
    return None


def _runs(argv: list[str | Path]) -> bool:
    return subprocess.run([str(one) for one in argv], cwd=HERE, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", default="", help="only those with all of these words, by commas: 3.2.2,3.13")
    parser.add_argument(
        "--small", action="store_true", help="in few minutes; of all cells, the oldest Airflow on this Python alone"
    )
    given = parser.parse_args()
    words = [word for word in given.cells.split(",") if word]
    here = Cell(next(iter(AIRFLOWS)), HERE_IS, small=True)
    results = {}
    for cell in [here] if given.small and not words else cells():
        if all(word in str(cell) for word in words):
            print(f"--- {cell}", flush=True)
            results[cell] = result(replace(cell, small=given.small))
    for cell, told in results.items():
        print(f"{told:26} {cell}")
    return int(not results or not all(told.startswith(("passed", NOT_HERE)) for told in results.values()))


if __name__ == "__main__":
    sys.exit(main())
