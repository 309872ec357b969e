"""One public name, one meaning: whoever reads a name in one module need not ask which one of two is meant."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "glacier_provider"

#: Names that several modules may define, each with the reason. A name that no longer stands twice has to leave.
MAY_STAND_TWICE: dict[str, str] = {
    "Part": "a piece of a large archive; in core/plan an old name that copies of dags/glacier_restore.py import",
    "add_commands": "each group of commands of the command line gives its own; `cli` calls them in their order",
}

#: What Python, Alembic and the logging module want in each module under the same name.
BY_CUSTOM = {"log", "main", "revision", "down_revision", "branch_labels", "depends_on", "upgrade", "downgrade"}


def public_names(source: str) -> Iterator[str]:
    """Yield the names that a module defines at its top level for others; imports define none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        else:
            found = []
        yield from (name for name in found if not name.startswith("_") and name not in BY_CUSTOM)


def defined_twice() -> dict[str, list[str]]:
    places: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in public_names(path.read_text(encoding="utf-8")):
            places[name].add(str(path.relative_to(PACKAGE)))
    return {name: sorted(where) for name, where in places.items() if len(where) > 1}


def test_a_public_name_is_defined_in_one_module_or_there_is_a_reason() -> None:
    unexplained = {name: where for name, where in defined_twice().items() if name not in MAY_STAND_TWICE}
    assert unexplained == {}, "let the modules share it, name one of them better, or give the reason above"


def test_no_reason_outlives_its_name() -> None:
    assert set(MAY_STAND_TWICE) <= set(defined_twice())


def test_the_reader_of_names_sees_what_a_module_defines_and_nothing_else() -> None:
    source = (
        "import a\nfrom b import c\nX = 1\nY: int\nP, Q = 1, 2\n_Z = 2\nlog = 3\nclass D:\n    E = 1\ndef f(): g = 1"
    )
    assert list(public_names(source)) == ["X", "Y", "P", "Q", "D", "f"]


def test_a_folder_is_a_topic_and_no_prefix_stands_in_for_one() -> None:
    """Three modules of one folder that begin with the same word would be a folder of their own."""
    for folder in {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "catalog" / "migrations" / "versions"}:
        beginnings: dict[str, list[str]] = defaultdict(list)
        for path in folder.glob("*_*.py"):
            if not path.name.startswith("_"):
                beginnings[path.stem.partition("_")[0]].append(path.name)
        crowded = {word: names for word, names in beginnings.items() if len(names) > 2}
        assert crowded == {}, folder.relative_to(PACKAGE)


def test_the_tour_of_the_code_names_only_rooms_and_modules_that_are_there() -> None:
    tour = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", tour))
    assert len(named) > 40
    # Of a row's second module only the name is told.
    known = {path.name for path in PACKAGE.rglob("*.py")} | {path.name for path in PACKAGE.rglob("*/")}
    assert [
        one
        for one in sorted(named)
        if not ((PACKAGE / one).exists() or (ROOT / one).exists() or one.strip("/") in known)
    ] == []


def test_every_room_is_on_the_tour() -> None:
    tour = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert [room for room in sorted(rooms) if f"`{room}/`" not in tour] == []


#: `files.walk` is a function for everybody; nobody but its room imports the module of that name.
BOTH = {"walk"}


def test_no_room_hands_on_a_name_that_is_one_of_its_modules() -> None:
    """`from room import download` would be a function for some and a module for others."""
    for face in PACKAGE.rglob("__init__.py"):
        modules = {path.stem for path in face.parent.glob("*.py")} | {
            path.parent.name for path in face.parent.glob("*/__init__.py")
        }
        handed_on = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(face.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            and node.module != f"glacier_provider.{'.'.join(face.parent.relative_to(PACKAGE).parts)}"
            for alias in node.names
        }
        assert modules & handed_on <= BOTH, face.relative_to(PACKAGE)
