"""A measured Python function in a process of its own: `python -m bench.child module:function '{"argument": 1}'`.

The function's module is imported first; then the function is called with the arguments. What it returns (a mapping of
numbers, or None) becomes the sample's values, beside `inside` and `inside_cpu`: the seconds and CPU seconds of the call
alone, or of the `with measured():` within it. That is what a task takes inside Airflow's process, which is there
already.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.harness import REPORT_VARIABLE, Contender
from bench.processes import CHECKOUT

_measured: dict[str, float] = {}


def python(name: str, function: str, *, python: str = sys.executable, **fields: Any) -> Contender:
    """Return a contender that calls a function ("module:function") with `arguments`; `fields` are the contender's."""
    arguments = json.dumps(fields.pop("arguments", {}))
    return Contender(name=name, argv=(python, "-m", "bench.child", function, arguments), **fields)


@contextmanager
def measured() -> Iterator[None]:
    """What `inside` counts, in place of the whole function; several of them are added up."""
    wall, cpu = time.perf_counter(), _cpu()
    try:
        yield
    finally:
        _measured["inside"] = _measured.get("inside", 0) + time.perf_counter() - wall
        _measured["inside_cpu"] = _measured.get("inside_cpu", 0) + _cpu() - cpu


def _cpu() -> float:
    """Return the CPU seconds of this process and of its children that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main(target: str, arguments: str) -> None:
    module, _, function = target.partition(":")
    call = getattr(importlib.import_module(module), function)
    wall, cpu = time.perf_counter(), _cpu()
    values: Mapping[str, float] = call(**json.loads(arguments)) or {}
    whole = {"inside": time.perf_counter() - wall, "inside_cpu": _cpu() - cpu}
    # the module that was run is another one than the one that the function imports
    inner = importlib.import_module("bench.child")._measured
    Path(os.environ[REPORT_VARIABLE]).write_text(json.dumps({**whole, **inner, **values}))


if __name__ == "__main__":
    assert Path.cwd() == CHECKOUT, "a measured function runs in the checkout"
    main(*sys.argv[1:])
