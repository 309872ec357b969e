"""What a docstring shows is what comes of it."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import glacier_provider

PACKAGE = Path(glacier_provider.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_each_example_is_so(name: str) -> None:
    tried = doctest.testmod(importlib.import_module(name))
    assert tried.attempted
    assert not tried.failed
