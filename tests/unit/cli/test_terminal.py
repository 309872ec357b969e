"""Tables on a terminal: nothing is cut, and a colour says how something is."""

from __future__ import annotations

import re

import pytest

from glacier_provider.cli.terminal import show_pairs, show_table

RED, GREEN, YELLOW = "\x1b[31m", "\x1b[32m", "\x1b[33m"


@pytest.fixture(autouse=True)
def _a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")


@pytest.mark.parametrize("width", [30, 40, 60, 200])
def test_a_word_that_is_longer_than_its_column_is_folded(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    name = "".join(chr(ord("a") + number % 26) for number in range(80))
    show_table(["id", "name", "why"], [[1, name, "no room " * 9]], numeric=[True, False, False])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["id", "name", "why"], "a table, and not each row as pairs"
    shown = "".join(letter for line in lines[1:] for letter in line if not letter.isspace())
    assert "…" not in shown
    for letter in set(name):
        assert shown.count(letter) >= name.count(letter)


def test_so_is_one_beside_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    show_pairs({"error": "x" * 80, "nothing": None})
    out = capsys.readouterr().out
    assert (out.count("x"), "…" in out, "nothing" in out) == (80, False, False)


@pytest.mark.parametrize(
    ("column", "word", "colour"),
    [
        ("state", "complete", GREEN),
        ("state", "failed", RED),
        ("state", "running", YELLOW),
        ("severity", "CRITICAL", RED),
        ("severity", "warning", YELLOW),
        ("arrived", "no", RED),
        ("arrived", "yes", GREEN),
        ("outcome", "found", RED),
        ("name", "failed", ""),
        ("state", "of nothing", ""),
    ],
)
def test_a_colour_says_how_it_is_where_that_is_told(
    column: str, word: str, colour: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_table([column], [[word]], numeric=[False])
    assert (f"{colour}{word}" if colour else word) in capsys.readouterr().out
    if not colour:
        show_table([column], [[word]], numeric=[False])
        assert not any(one in capsys.readouterr().out for one in (RED, GREEN, YELLOW))
