from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glacier_provider.core.archive import name_from_bytes
from glacier_provider.errors import FileError, FileMissing, UnsafePath
from glacier_provider.files import Placement, move_aside, name_parts, open_source, shown

TRAVERSALS = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../secret",
    "a/../../secret",
    "a/..",
    "a//b",
    "a/",
    "./a",
    "a/./b",
    "a\0b",
    ".glacier-tmp",
    ".glacier-tmp/0123",
    "a/.glacier-tmp/b",
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(UnsafePath):
        name_parts(name)


@pytest.mark.parametrize("name", ["a\\", "a\\q", "a\\x2f..", "\\x2e\\x2e/a", "a\\xZZ", "\ud800"])
def test_a_broken_escape_is_no_name(name: str) -> None:
    with pytest.raises(UnsafePath):
        name_parts(name)


def test_a_second_spelling_of_a_name_is_refused_with_the_right_one() -> None:
    with pytest.raises(UnsafePath, match="é"):
        name_parts("caf\\xc3\\xa9")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", (b"a",)),
        ("-rf", (b"-rf",)),
        ("...", (b"...",)),
        ("a b/c\nd", (b"a b", b"c\nd")),
        ("bücher/ß", ("bücher".encode(), "ß".encode())),
        ("a\\xff/b\\\\c", (b"a\xff", b"b\\c")),
        ("~/$HOME;`x`", (b"~", b"$HOME;`x`")),
    ],
)
def test_an_odd_name_is_taken_as_it_is(name: str, parts: tuple[bytes, ...]) -> None:
    assert name_parts(name) == parts


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5))
def test_whatever_a_name_is_its_parts_never_lead_up_or_out(pieces: list[bytes]) -> None:
    name = name_from_bytes(b"/".join(pieces))
    try:
        parts = name_parts(name)
    except UnsafePath:
        raw = b"/".join(pieces)
        assert b"\0" in raw or any(part in (b"", b".", b"..", b".glacier-tmp") for part in raw.split(b"/"))
    else:
        assert b"/".join(parts) == b"/".join(pieces)
        assert not any(part in (b"", b".", b"..") or b"/" in part or b"\0" in part for part in parts)


hostile_part = st.sampled_from(["..", ".", "", "out", "in", "a", "loop", "\\xff", "\x07", "e\u0301", "é", "x" * 300])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(hostile_part, min_size=1, max_size=5))
def test_no_name_reads_or_writes_outside_of_its_root(tmp_path: Path, parts: list[str]) -> None:
    root, outside = _root_with_ways_out(tmp_path)
    name = "/".join(parts)
    before = _tree(outside)
    for act in (_read, _place, _move):
        try:
            act(root, name, tmp_path / "orphans")
        except FileError:
            continue
    assert _tree(outside) == before


def _read(root: Path, name: str, _: Path) -> None:
    with open_source(root, name) as source:
        assert source.read_at(0, source.size) != b"secret"


def _place(root: Path, name: str, _: Path) -> None:
    with Placement(root) as placement:
        placement.place(name, [b"new"], size=3)


def _move(root: Path, name: str, orphans: Path) -> None:
    move_aside(root, name, orphans, "restore-1")


def _root_with_ways_out(tmp_path: Path) -> tuple[Path, Path]:
    root, outside = tmp_path / "root", tmp_path / "outside"
    if not root.exists():
        root.mkdir()
        outside.mkdir()
        (outside / "a").write_text("secret")
        (outside / "in").mkdir()
        (root / "out").symlink_to(outside)
        (root / "loop").symlink_to("loop")
        (root / "in").mkdir()
        (root / "in" / "out").symlink_to("../../outside")
    return root, outside


def _tree(directory: Path) -> list[tuple[str, bytes]]:
    return sorted(
        (os.path.join(path, name), (Path(path) / name).read_bytes())
        for path, _, names in os.walk(directory)
        for name in names
    )


def test_a_message_shows_control_characters_and_long_names_harmlessly(tmp_path: Path) -> None:
    assert shown("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(shown("x" * 5000)) < 200
    with pytest.raises(FileMissing) as caught:
        open_source(tmp_path, "gone\x1b[2J")
    assert "\x1b" not in str(caught.value)
    assert "gone" in str(caught.value)
