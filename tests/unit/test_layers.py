"""The dependency line, read from the source: dags → operators, sensors, triggers, notifications, ui, cli → pipelines →
postgres, stores, catalog, files, staging → core. Imports inside functions and under TYPE_CHECKING count as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "glacier_provider"
ROOT = Path(__file__).parents[2]

#: What each room of the package may import of the others, beside itself. `errors` is below everything.
LINE: dict[str, set[str]] = {
    "errors": set(),
    "core": set(),
    "applications": {"core"},
    "files": {"core"},
    "staging": {"core", "files"},
    "postgres": {"core"},
    "stores": {"core", "files"},  # the upload processes of S3's fast path read the files themselves
    "catalog": {"core"},
}
ADAPTERS = set(LINE) - {"errors"}
LINE |= {"pipelines": ADAPTERS}
BELOW = ADAPTERS | {"pipelines"}
LINE |= {
    "hooks": BELOW | {"bundle"},  # where the DAG files lie; nothing of them is loaded for that
    "triggers": BELOW | {"hooks"},
    "notifications": BELOW | {"hooks"},
    "operators": BELOW | {"hooks", "triggers", "notifications"},
    "sensors": BELOW | {"hooks", "triggers", "operators"},
    "ui": BELOW | {"hooks"},
    "cli": BELOW | {"hooks"},
    "get_provider_info": set(),
}

#: Who alone may import these: each foreign thing is translated at one adapter.
KNOWN_TO: dict[str, set[str]] = {
    "airflow": {
        "applications",
        "hooks",
        "operators",
        "sensors",
        "triggers",
        "notifications",
        "ui",
        "cli",
        "get_provider_info",
    },
    "boto3": {"stores", "hooks"},
    "botocore": {"stores", "hooks"},
    "psycopg": {"postgres", "catalog", "cli"},  # the command line takes connection strings apart with it
    "pycurl": {"stores"},
    "subprocess": {"postgres", "stores"},
    "alembic": {"catalog"},
    "sqlalchemy": {"catalog", "ui"},
    "fastapi": {"ui"},
    "yaml": {"applications"},
    "pydantic": {"applications", "ui"},
    "rich": {"cli"},
    "argcomplete": {"cli"},
}

#: What `core` may import of Python: nothing that has a clock, a disk, a network or an environment.
PURE = {
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "dataclasses", "datetime", "decimal", "enum"),
    *(
        "fnmatch",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "html",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
    ),
    *("difflib", "struct", "textwrap", "typing", "unicodedata", "urllib.parse", "zlib"),
}
CLOCKS = {"now", "utcnow", "today"}

#: What must not be loaded by whoever parses DAGs or starts a worker.
HEAVY = {"boto3", "botocore", "psycopg", "pycurl", "zstandard"}
HEAVY |= {"fastapi", "alembic", "sqlalchemy", "yaml", "rich", "httpx"}


@dataclass(frozen=True)
class Module:
    """A source file; `name` is dotted, `part` the part of the package that it belongs to."""

    name: str
    path: Path

    @property
    def part(self) -> str:
        return self.name.removeprefix(PACKAGE).strip(".").partition(".")[0]


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    at_load: bool


@cache
def modules() -> tuple[Module, ...]:
    return tuple(
        Module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in sorted((ROOT / PACKAGE).rglob("*.py"))
        if "bundle" not in path.parts
    )


@cache
def imports_of(module: Module) -> tuple[Import, ...]:
    return tuple(_imports(ast.parse(module.path.read_text()), module, at_load=True))


def _imports(node: ast.AST, module: Module, *, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_load) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, module)
            yield from (Import(f"{base}.{alias.name}", child.lineno, at_load) for alias in child.names)
        else:
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_types(child)
            yield from _imports(child, module, at_load=at_load and not inner)


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    if node.level == 0:
        return node.module or ""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _part(imported: str) -> str | None:
    """Return the part of the package that is imported, None for anything foreign or the package itself."""
    head, _, rest = imported.partition(".")
    part = rest.partition(".")[0]
    return part if head == PACKAGE and part and not part.startswith("__") else None


def test_every_part_of_the_package_has_its_place_in_the_line() -> None:
    parts = {module.part for module in modules()} - {""}
    assert parts <= set(LINE), "a new part needs a line in LINE"


def _wrong(allowed: Callable[[Module, str], bool]) -> list[str]:
    """Return, with its place, every import of the package that is not allowed."""
    return [
        f"{module.path.relative_to(ROOT)}:{found.line} imports {found.module}"
        for module in modules()
        for found in imports_of(module)
        if not allowed(module, found.module)
    ]


def test_imports_follow_the_line() -> None:
    assert _wrong(_follows_the_line) == []


def _follows_the_line(module: Module, imported: str) -> bool:
    part = _part(imported)
    return part is None or part in {*LINE.get(module.part, set()), module.part, "errors"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    by_name = {module.name: module for module in modules()}
    needs = {module: _imported_by(module, by_name) for module in modules()}
    left, before = set(needs), 0
    while len(left) != before:  # what imports none of the others, or is imported by none, is in no circle
        before = len(left)
        needed = set[Module]().union(*(needs[module] for module in left))
        left = {module for module in left & needed if needs[module] & left}
    assert sorted(module.name for module in left) == []


def _imported_by(module: Module, by_name: dict[str, Module]) -> set[Module]:
    """Return the modules that one names in its imports; the packages around them are loaded too, and not counted."""
    named = (next((name for name in _loaded_by(found.module) if name in by_name), "") for found in imports_of(module))
    return {by_name[name] for name in named if name} - {module}


def test_foreign_packages_are_known_to_their_adapter_alone() -> None:
    assert _wrong(lambda module, imported: module.part in KNOWN_TO.get(_head(imported), {module.part})) == []


def test_the_package_never_imports_what_stands_outside_of_it() -> None:
    assert _wrong(lambda _, imported: _head(imported) not in {"dags", "tests", "bench", "demo"}) == []


def _head(imported: str) -> str:
    return imported.partition(".")[0]


@pytest.mark.parametrize(
    "module", [one for one in modules() if one.part in ("core", "errors")], ids=lambda one: one.name
)
def test_core_has_no_clock_disk_network_or_environment(module: Module) -> None:
    wrong = [found.module for found in imports_of(module) if _part(found.module) is None and not _is_pure(found.module)]
    assert wrong == []
    calls = [node.func for node in ast.walk(ast.parse(module.path.read_text())) if isinstance(node, ast.Call)]
    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id in ("open", "input", "print")] == []
    assert [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in CLOCKS] == []


def _is_pure(imported: str) -> bool:
    return any(imported == name or imported.startswith(f"{name}.") for name in PURE) or imported == PACKAGE


@pytest.mark.parametrize("part", ["operators", "sensors", "triggers", "hooks", "get_provider_info", "applications"])
def test_importing_what_dags_import_loads_nothing_heavy(part: str) -> None:
    by_name = {module.name: module for module in modules()}
    waiting = [module for module in modules() if module.part == part]
    loaded: set[Module] = set()
    while waiting:
        module = waiting.pop()
        loaded.add(module)
        for found in imports_of(module):
            if found.at_load:
                assert _head(found.module) not in HEAVY, f"{module.name}:{found.line} loads {found.module}"
                waiting += [by_name[name] for name in _loaded_by(found.module) if name in by_name]
        waiting = [module for module in waiting if module not in loaded]


def _loaded_by(imported: str) -> Iterator[str]:
    """Yield a dotted name and the packages around it: all of them are loaded with it."""
    while imported:
        yield imported
        imported = imported.rpartition(".")[0]


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    dear = (
        "pydantic",
        "psycopg",
        "rich",
        "argcomplete",
        "airflow",
        "boto3",
        "glacier_provider.pipelines.reconcile",
        "glacier_provider.postgres",
    )
    loaded = f"import sys, glacier_provider.cli; print(*(set({dear}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "\n"


def test_what_postgres_offers_is_found_where_it_says() -> None:
    from glacier_provider import postgres

    told = [name for names in postgres._ROOMS.values() for name in names]
    assert sorted(told) == sorted(postgres.__all__)
    assert all(getattr(postgres, name) is not None for name in told)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = postgres.nothing  # type: ignore[attr-defined]


def test_the_dags_are_wiring_that_nothing_imports() -> None:
    for path in sorted((ROOT / "dags").glob("*.py")):
        module = Module(f"dags.{path.stem}", path)
        parts = {part for found in imports_of(module) if (part := _part(found.module))}
        assert parts <= {"applications", "errors", "core", "hooks", "operators", "sensors", "triggers"}, path.name


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import glacier_provider.files.walk", ["files"]),
        ("from glacier_provider import files, staging", ["files", "staging"]),
        ("from glacier_provider.catalog.catalog import Catalog", ["catalog"]),
        ("def f():\n    from glacier_provider.ui import x", ["ui"]),
        ("if TYPE_CHECKING:\n    from ..stores.s3 import S3", ["stores"]),
        ("class A:\n    def m(self):\n        import glacier_provider.cli", ["cli"]),
        ("import os", [None]),
    ],
)
def test_the_reader_of_imports_sees_them_all(tmp_path: Path, source: str, expected: list[str | None]) -> None:
    path = tmp_path / "x.py"
    path.write_text(source)
    found = list(_imports(ast.parse(source), Module("glacier_provider.files.x", path), at_load=True))
    assert [_part(one.module) for one in found] == expected
    assert all(one.at_load for one in found) is ("def " not in source and "TYPE" not in source)
