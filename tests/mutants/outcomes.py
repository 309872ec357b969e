"""A plugin of pytest that notes how each test ended, for who runs it: ``-p tests.mutants.outcomes``.

The file named by MUTANTS_OUTCOMES gets a JSON object: `passed` and `failed` are test ids; `broken` says what went wrong
otherwise, also when a test failed because the product cannot be imported, or has a name or a column that is not there:
a mutation that is no program proves nothing.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import clean_environment  # noqa: F401 - before anything imports Airflow

#: What is wrong with a program, and not with what it does.
NO_PROGRAM = (
    ImportError,
    NameError,
    SyntaxError,
    psycopg.errors.SyntaxError,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedParameter,
    psycopg.errors.AmbiguousColumn,
    psycopg.errors.IndeterminateDatatype,
    psycopg.errors.GroupingError,
)

_passed: set[str] = set()
_failed: set[str] = set()
_without_fixtures: set[str] = set()
_broken: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Import what is mutated first of all: what cannot be imported is no mutation."""
    if module := os.environ.get("MUTANTS_MODULE"):
        importlib.import_module(module)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if call.excinfo is not None and not report.skipped and (fault := _fault(call.excinfo.value)) is not None:
        _broken.append(f"{item.nodeid}: {type(fault).__name__}: {fault}")
    return report


def _fault(error: BaseException | None) -> BaseException | None:
    """Return what is wrong with the program, of an error and what led to it."""
    while error is not None:
        if isinstance(error, NO_PROGRAM):
            return error
        error = error.__cause__ or error.__context__
    return None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        (_failed if report.when == "call" else _without_fixtures).add(report.nodeid)
    elif report.passed and report.when == "call":
        _passed.add(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _broken.append(f"{report.nodeid} cannot be collected")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):  # one of several processes: the first tells of all
        return
    told = {
        "passed": sorted(_passed - _failed),
        "failed": sorted(_failed),
        "broken": _broken + [f"{test}: its fixtures failed" for test in sorted(_without_fixtures - _failed)],
    }
    Path(os.environ["MUTANTS_OUTCOMES"]).write_text(json.dumps(told), encoding="utf-8")
