"""AWS's descriptions of its services are read once a process: each client reads some megabytes of JSON otherwise."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader

_read = JSONFileLoader.load_file


@cache
def _load_file(file_path: str) -> Any:
    return _read(JSONFileLoader(), file_path)


def read_once() -> None:
    """From now on, in this process."""
    JSONFileLoader.load_file = lambda self, file_path: _load_file(file_path)
