"""The manifest: what is written is what is read, and one that is not whole is known as such."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from glacier_provider.core.manifest import MANIFEST_FORMAT, manifest_lines, parse_manifest

_NAMES = st.text(st.characters(codec="utf-8"), min_size=1)
_VALUES = st.none() | st.booleans() | st.integers(0, 2**63 - 1) | _NAMES | st.lists(_NAMES, max_size=2)
_ROWS = st.dictionaries(_NAMES, _VALUES, max_size=4)
_IDS = st.integers(1, 2**63 - 1)


def a_file(number: int) -> dict[str, Any]:
    return {"id": number, "filename": f"sub dir/ä {number}.pdf", "size": 10 * number}


def a_manifest(files: int = 2, gone: int = 2) -> list[bytes]:
    return list(manifest_lines({"id": 7, "previous": 6}, map(a_file, range(files)), range(100, 100 + gone)))


def kinds(lines: list[bytes]) -> list[str]:
    return [next(iter(json.loads(line))) for line in lines]


@given(backup=_ROWS, added=st.lists(_ROWS, max_size=5), removed=st.lists(_IDS, max_size=5))
def test_what_is_written_is_what_is_read(
    backup: Mapping[str, Any], added: list[Mapping[str, Any]], removed: list[int]
) -> None:
    assume("format" not in backup)
    read = list(parse_manifest(manifest_lines(backup, added, removed)))
    assert read == [
        ("backup", {"format": MANIFEST_FORMAT, **backup}),
        *(("file", file) for file in added),
        *(("gone", archive_id) for archive_id in removed),
    ]


def test_there_is_one_object_a_line() -> None:
    lines = a_manifest(files=2, gone=1)
    assert kinds(lines) == ["backup", "file", "file", "gone", "end"]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert json.loads(lines[-1]) == {"end": {"files": 2, "gone": 1}}


def test_a_backup_without_files_has_a_manifest_as_well() -> None:
    assert [kind for kind, _ in parse_manifest(a_manifest(files=0, gone=0))] == ["backup"]


def test_names_are_written_as_they_are() -> None:
    assert "sub dir/ä 1.pdf".encode() in b"".join(a_manifest())


def test_times_become_iso_text_with_their_zone() -> None:
    at = datetime(2026, 11, 21, 4, 5, 6, 789, tzinfo=timezone(timedelta(hours=1)))
    ((_, head),) = parse_manifest(manifest_lines({"opened_at": at}, [], []))
    assert head["opened_at"] == "2026-11-21T04:05:06.000789+01:00"
    assert datetime.fromisoformat(head["opened_at"]) == at.astimezone(UTC)


@pytest.mark.parametrize("foreign", [b"bytes", 1j, object()])
def test_what_json_cannot_say_is_not_written(foreign: Any) -> None:
    with pytest.raises(TypeError, match=type(foreign).__name__):
        list(manifest_lines({"x": foreign}, [], []))


def test_lines_are_made_one_by_one() -> None:
    """A manifest of a million files needs no memory for them."""
    asked: list[int] = []

    def rows() -> Any:
        for number in range(5):
            asked.append(number)
            yield a_file(number)

    lines = manifest_lines({}, rows(), [])
    next(lines)
    next(lines)
    assert asked == [0]


@given(st.data())
def test_a_cut_manifest_is_refused_wherever_it_was_cut(data: st.DataObject) -> None:
    whole = a_manifest(data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4)))
    with pytest.raises(ValueError):
        list(parse_manifest(whole[: data.draw(st.integers(0, len(whole) - 1))]))


@given(st.data())
def test_a_manifest_cut_within_a_line_is_refused(data: st.DataObject) -> None:
    text = b"".join(a_manifest())
    cut = text[: data.draw(st.integers(0, len(text) - 2))]
    with pytest.raises(ValueError):
        list(parse_manifest(cut.splitlines(keepends=True)))


@given(st.permutations(range(6)))
def test_a_reordered_manifest_is_refused(order: list[int]) -> None:
    whole = a_manifest(files=2, gone=2)
    lines = [whole[index] for index in order]
    assume(kinds(lines) != kinds(whole))  # files among themselves have no order
    with pytest.raises(ValueError):
        list(parse_manifest(lines))


@pytest.mark.parametrize("index", range(1, 5))
def test_a_lost_line_is_noticed(index: int) -> None:
    lines = a_manifest()
    del lines[index]
    with pytest.raises(ValueError, match="counts"):
        list(parse_manifest(lines))


@pytest.mark.parametrize("more", [b'{"file":{}}\n', b'{"gone":1}\n', b'{"end":{"files":2,"gone":2}}\n'])
def test_nothing_may_follow_the_end(more: bytes) -> None:
    with pytest.raises(ValueError, match="out of order"):
        list(parse_manifest([*a_manifest(), more]))


def test_two_manifests_in_one_are_refused() -> None:
    with pytest.raises(ValueError, match="out of order"):
        list(parse_manifest([*a_manifest(), *a_manifest()]))


def test_a_newer_format_is_refused_by_its_number() -> None:
    newer = json.dumps({"backup": {"format": MANIFEST_FORMAT + 1}}).encode()
    with pytest.raises(ValueError, match=rf"format {MANIFEST_FORMAT + 1}\b"):
        list(parse_manifest([newer, *a_manifest()[1:]]))


@pytest.mark.parametrize(
    "first",
    [b"", b"\x1f\x8b", b"null", b"[]", b"7", b"{}", b'{"backup":{}}', b'{"backup":null}', b'{"backup":{"format":"1"}}'],
)
def test_what_is_no_manifest_is_refused(first: bytes) -> None:
    with pytest.raises(ValueError):
        list(parse_manifest([first]))


def test_a_line_of_an_unknown_kind_is_refused() -> None:
    lines = a_manifest()
    lines.insert(1, b'{"link":{"from":"a","to":"b"}}\n')
    with pytest.raises(ValueError, match="'link'"):
        list(parse_manifest(lines))
