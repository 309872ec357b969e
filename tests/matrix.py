"""The package in the environments that people have: versions of Airflow and of Python, newest and lowest dependencies.

    python -m tests.matrix [--cells 3.2,3.13]

Each cell gets an environment of its own below .cache/matrix, and runs what depends on Airflow: its DAGs parsed and run
to the end, the deferred wait, the approval, the API of the page, the plugin. An interpreter that is not here is named.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
CACHE = HERE / ".cache" / "matrix"

#: By version of Airflow, what it needs that pip does not know: later versions came out after it, and break it. Whoever
#: installs Airflow with its own constraints has these.
AIRFLOWS = {
    "3.2.2": ("fastapi<0.137", "svcs<26"),
    "3.3.2": ("fastapi<0.137",),
    "3.4.0b2": ("fastapi<0.137",),
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TESTS = (
    "tests/unit/test_dags.py",
    "tests/unit/ui/test_plugin.py",
    "tests/unit/operators/test_airflow_version.py",
    "tests/integration/airflow/test_round_trips.py",
    "tests/integration/airflow/test_approval.py",
    "tests/integration/airflow/test_notified.py",
    "tests/integration/ui/test_api.py",
)
#: What the tests need besides the package with what its demo has.
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jsonschema", "prometheus-client", "schemathesis")


@dataclass(frozen=True)
class Cell:
    airflow: str
    python: str
    lowest: bool = False

    def __str__(self) -> str:
        return f"airflow {self.airflow}, python {self.python}, {'lowest' if self.lowest else 'newest'} dependencies"

    @property
    def place(self) -> Path:
        return CACHE / f"airflow-{self.airflow}-python-{self.python}{'-lowest' if self.lowest else ''}"


def cells() -> Iterator[Cell]:
    """Yield every version of Airflow with every one of Python, and the lowest dependencies with the oldest of both."""
    yield from (Cell(airflow, python) for airflow in AIRFLOWS for python in PYTHONS)
    yield Cell(next(iter(AIRFLOWS)), PYTHONS[0], lowest=True)


def result(cell: Cell) -> str:
    """Return in a word or two what became of a cell."""
    uv = Path(sys.executable).parent / "uv"
    found = interpreter(cell.python)
    if found is None:
        return "no such interpreter here"
    shutil.rmtree(cell.place, ignore_errors=True)
    if not _runs([uv, "venv", "-q", "--python", found, cell.place]):
        return "no environment"
    wanted = [".[demo]", f"apache-airflow=={cell.airflow}", *AIRFLOWS[cell.airflow]]
    lowest = ["--resolution", "lowest-direct"] if cell.lowest else []
    python = cell.place / "bin" / "python"
    install: list[str | Path] = [uv, "pip", "install", "-q", "--prerelease", "if-necessary-or-explicit"]
    if not _runs([*install, "--python", python, *lowest, "-e", *wanted]):
        return "cannot be installed"
    if not _runs([*install, "--python", python, *TOOLS, *AIRFLOWS[cell.airflow], f"apache-airflow=={cell.airflow}"]):
        return "the tests cannot be installed"
    passed = _runs([python, "-m", "pytest", "-q", "-n", "2", "-m", "not browser", "-p", "no:cacheprovider", *TESTS])
    return "passed" if passed else "FAILED"


def interpreter(version: str) -> str | None:
    """Return an interpreter of this version, None where there is none that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
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
    words = [word for word in parser.parse_args().cells.split(",") if word]
    results = {}
    for cell in cells():
        if all(word in str(cell) for word in words):
            print(f"--- {cell}", flush=True)
            results[cell] = result(cell)
    for cell, told in results.items():
        print(f"{told:26} {cell}")
    wrong = {"FAILED", "no environment", "cannot be installed", "the tests cannot be installed"}
    return int(not results or bool(wrong & set(results.values())))


if __name__ == "__main__":
    sys.exit(main())
