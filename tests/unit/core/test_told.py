"""Whatever lies in a store in the place of a manifest: it is read as values, or refused with a reason."""

from __future__ import annotations

import gzip
import json
import resource
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier_provider.core import told as as_told
from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.findings import known_of_backup
from glacier_provider.core.manifest import manifest_lines
from glacier_provider.core.restorability import cannot_be_brought_back
from glacier_provider.core.told import (
    ToldArchive,
    ToldBackup,
    ToldWrong,
    checked_description,
    has_usable_name,
    read_manifest,
    unpacked_lines,
)
from glacier_provider.stores.s3.keys import description_from_metadata, key_facts, metadata_of
from glacier_provider.stores.vault.descriptions import description_from_text, description_text

NOW = datetime(2026, 11, 28, 4, 5, 6, tzinfo=UTC)
STORE = "s3://backups/production?storage_class=GLACIER"


def a_file(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": number,
        "filename": f"nested/ünï {number}.pdf",
        "stored_size": 10 * number,
        "sha256": f"{number:064x}",
        "checksum": f"sha256:{number:064x}",
        "encoding": "identity",
        "store_uri": STORE,
        "key": f"production/dms/files/000000000/{number:012d}-x.pdf",
        "backup_id": 7,
        "archived_at": NOW,
        **changed,
    }


def a_head(**changed: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "application": "dms",
        "dag_id": "glacier_backup__dms",
        "dag_run_id": "manual__1",
        "opened_at": NOW,
        "snapshot_at": NOW,
        "scanned_at": NOW,
        "server_version": "17.10",
        "client_version": "17.10",
        "dump_format": "directory",
        "files_count": 10,
        "files_bytes": 100,
        "new_files_count": 2,
        "new_files_bytes": 30,
        "vanished_count": 0,
        "returned_count": 0,
        "report": {"changed": [], "dump_plain_bytes": 7},
        "previous": 6,
        "database": a_file(40, filename="dms-000000000007.dump", original_size=400),
        **changed,
    }


def lines_of(head: dict[str, Any] | None = None, *files: dict[str, Any], gone: tuple[Any, ...] = ()) -> list[bytes]:
    return list(manifest_lines(head or a_head(), files, gone))


def read(lines: list[bytes]) -> list[tuple[str, Any]]:
    packed = gzip.compress(b"".join(lines))
    return list(read_manifest(unpacked_lines(packed[i : i + 100] for i in range(0, len(packed), 100))))


def test_what_is_written_is_read_as_values() -> None:
    (kind, head), *rest = read(lines_of(None, a_file(1), a_file(2), gone=(3, 4)))
    assert (kind, type(head)) == ("backup", ToldBackup)
    assert (head.id, head.previous, head.database.id, head.opened_at) == (7, 6, 40, NOW)
    assert [(kind, type(value)) for kind, value in rest] == [*[("file", ToldArchive)] * 2, *[("gone", int)] * 2]
    assert rest[0][1].filename == "nested/ünï 1.pdf"


ODD_FILES = {
    "a word for a number": {"id": "eleven"},
    "no id": {"id": None},
    "a huge number": {"id": 10**400},
    "a negative size": {"stored_size": -1},
    "a size that is true": {"stored_size": True},
    "a fraction": {"stored_size": 1.5},
    "a bad date": {"archived_at": "2026-02-31T00:00:00+00:00"},
    "a week for a date": {"archived_at": "2026-W53-9"},
    "a date without zone": {"archived_at": "2026-11-28T00:00:00"},
    "a date long past": {"archived_at": "0001-01-01T00:00:00+14:00"},
    "a NUL": {"filename": "a\0b"},
    "half a pair": {"filename": "a\ud800b"},
    "a name that leaves": {"filename": "../../etc/passwd"},
    "a name that leaves later": {"filename": "a/../../b"},
    "an absolute name": {"filename": "/etc/passwd"},
    "no name": {"filename": ""},
    "our own directory": {"filename": "a/.glacier-tmp/b"},
    "a broken escape": {"filename": "a\\x"},
    "a long name": {"filename": "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))},
    "a list for a name": {"filename": ["a"]},
    "another scheme": {"store_uri": "https://elsewhere.example/x"},
    "a store with a password": {"store_uri": "s3://a:b@bucket/x"},
    "a list for a store": {"store_uri": []},
    "no key": {"key": None},
    "a NUL in a key": {"key": "a\0b"},
    "no checksum": {"checksum": None},
    "a checksum that is none": {"checksum": "md5:abc"},
    "a hash that is none": {"sha256": "../../x"},
    "an encoding that is none": {"encoding": "a b;c"},
}

ODD_HEADS = {
    "deleted is no list": {"deleted": "x"},
    "deleted is no hash": {"deleted": ["zz"]},
    "deleted is a number": {"deleted": [1]},
    "no database": {"database": None},
    "a list for a database": {"database": []},
    "a dump's name that leaves": {"database": a_file(40, filename="../x.dump")},
    "a dump's name that is hidden": {"database": a_file(40, filename=".x")},
    "a backup that continues itself": {"previous": 7},
    "a backup that continues a later one": {"previous": 8},
    "a text for a report": {"report": "x"},
    "a NUL in a report": {"report": {"x": ["a\0"]}},
    "a deep report": {"report": json.loads("[" * 60 + "]" * 60) and {"x": json.loads("[" * 60 + "]" * 60)}},
    "a count that is none": {"files_count": "many"},
    "a run that is none": {"dag_run_id": {}},
    "a time that is none": {"opened_at": 7},
}


@pytest.mark.parametrize("odd", ODD_FILES)
def test_an_odd_file_is_refused_with_its_line(odd: str) -> None:
    lines = lines_of(None, a_file(1))
    lines[1] = json.dumps({"file": {**json.loads(lines[1])["file"], **ODD_FILES[odd]}}).encode() + b"\n"
    with pytest.raises(ToldWrong, match="line 2"):
        read(lines)


@pytest.mark.parametrize("odd", ODD_HEADS)
def test_an_odd_backup_is_refused_with_its_line(odd: str) -> None:
    with pytest.raises(ToldWrong, match="line 1"):
        read(lines_of(a_head(**ODD_HEADS[odd])))


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"file":' * 50_000,
        b'{"file":[1,2]}',
        b'{"file":{"id":NaN}}',
        b'{"file":{"id":1,"id":2}}',
        b'{"gone":"x"}',
        b'{"gone":[1]}',
        b'{"gone":Infinity}',
        b"\xff\xfe",
        b"",
        b'{"gone":' + b"1" * 10_000 + b"}",
    ],
)
def test_a_line_that_is_none_is_refused(line: bytes) -> None:
    lines = lines_of(None, a_file(1))
    lines.insert(2, line + b"\n")
    with pytest.raises(ToldWrong):
        read(lines)


def test_an_id_that_stands_twice_is_refused() -> None:
    for lines in (lines_of(None, a_file(1), a_file(1)), lines_of(None, a_file(2), a_file(1)), lines_of(gone=(5, 5))):
        with pytest.raises(ToldWrong, match="twice"):
            read(lines)


def test_more_files_than_the_backup_has_are_refused() -> None:
    with pytest.raises(ToldWrong, match="more files"):
        read(lines_of(a_head(files_count=1), a_file(1), a_file(2)))


# --- the room that it takes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b" " * (1 << 20), id="one line without end"),
        pytest.param(b'{"gone":1}\n' * 100_000, id="a billion lines"),
        pytest.param(b"\n" * (1 << 20), id="a billion empty lines"),
    ],
)
def test_what_unpacks_without_end_takes_little_room(text: bytes) -> None:
    head = b"".join(lines_of()[:1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def packed() -> Iterator[bytes]:
        packing = zlib.compressobj(9, wbits=31)
        yield packing.compress(head)
        for piece in repeat(text, 2000):
            yield packing.compress(piece)
        yield packing.flush()

    with pytest.raises(ToldWrong):
        for _ in read_manifest(unpacked_lines(packed())):
            pass
    with pytest.raises(ToldWrong, match=r"too long|far more"):
        for _ in unpacked_lines(packed()):
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "kB"


@pytest.mark.parametrize("after", [b"x", gzip.compress(b"more", mtime=0)])
def test_nothing_follows_what_is_packed(after: bytes) -> None:
    packed = gzip.compress(b"".join(lines_of())) + after
    for cut in (len(packed), len(packed) - len(after), 10):
        chunks = [packed[:cut], packed[cut:]] if packed[cut:] else [packed]
        with pytest.raises(ToldWrong, match="follows"):
            list(unpacked_lines(chunks))


@given(st.integers(0, 600))
def test_a_packed_manifest_that_is_cut_is_refused(length: int) -> None:
    packed = gzip.compress(b"".join(lines_of(None, a_file(1))))
    if length < len(packed):
        with pytest.raises(ToldWrong):
            list(read_manifest(unpacked_lines([packed[:length]])))


# --- whatever it is ------------------------------------------------------------------------------------------------

ODD_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["..", "/", "\0", "\ud800", "2026-11-28", "s3://x", "sha256:", STORE, 2**63, 2**64, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400)
@given(st.data())
def test_one_changed_value_is_read_as_a_value_or_refused(data: st.DataObject) -> None:
    """Nothing but ToldWrong is raised, and what is read can be kept by a database."""
    entries = [json.loads(line) for line in lines_of(None, a_file(1), a_file(2), gone=(3,))]
    entry = data.draw(st.sampled_from(entries))
    (kind, value) = next(iter(entry.items()))
    if isinstance(value, dict) and data.draw(st.booleans()):
        inner = value["database"] if "database" in value and data.draw(st.booleans()) else value
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(ODD_VALUES)
    else:
        entry[kind] = data.draw(ODD_VALUES)
    try:
        found = read([json.dumps(one).encode() + b"\n" for one in entries])
    except ToldWrong:
        return
    json.dumps([repr(one) for one in found]).encode()
    for _, told in found:
        for archive in (told.database if isinstance(told, ToldBackup) else told,):
            if isinstance(archive, ToldArchive):
                assert 0 < archive.id < 2**63
                assert 0 <= archive.stored_size < 2**63
                assert "\0" not in archive.filename + archive.key
                (archive.filename + archive.key).encode()


@settings(max_examples=200)
@given(st.data())
def test_any_bytes_in_the_middle_are_refused_or_harmless(data: st.DataObject) -> None:
    text = b"".join(lines_of(None, a_file(1), a_file(2), gone=(3,)))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    odd = text[:start] + data.draw(st.binary(max_size=20)) + text[end:]
    with suppress(ToldWrong):
        list(read_manifest(odd.splitlines(keepends=True)))


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_for_a_manifest_are_refused(data: bytes) -> None:
    for chunks in ([data], [gzip.compress(data)]):
        with pytest.raises(ToldWrong):
            list(read_manifest(unpacked_lines(chunks)))


# --- what an archive says of itself --------------------------------------------------------------------------------

TOLD = Description("dms", ArchiveKind.FILE, 1, 2, "a/b.pdf", 3, "ab" * 32, written_by="0123456789abcdef")


@settings(max_examples=300)
@given(st.data())
def test_a_description_is_believed_only_as_far_as_it_can_be_so(data: st.DataObject) -> None:
    values = json.loads(description_text(TOLD))
    values[data.draw(st.sampled_from(sorted(values)))] = data.draw(ODD_VALUES)
    found = description_from_text(json.dumps(values), size=3)
    metadata = {**metadata_of(TOLD), data.draw(st.sampled_from(sorted(metadata_of(TOLD)))): data.draw(st.text())}
    for description in (found, description_from_metadata(metadata, size=3)):
        if description is not None:
            assert checked_description(description) is description
            json.dumps(description.as_dict()).encode()


@pytest.mark.parametrize("name", ["%00", "%ED%A0%80", ""])
def test_metadata_names_nothing_that_no_catalog_keeps(name: str) -> None:
    assert description_from_metadata({**metadata_of(TOLD), "name": name}) is None


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/./b", ".glacier-tmp/x"])
def test_a_name_outside_of_the_directory_is_of_no_use(name: str) -> None:
    assert has_usable_name(TOLD)
    assert not has_usable_name(replace(TOLD, filename=name))
    assert not has_usable_name(replace(TOLD, kind=ArchiveKind.DATABASE)), "a dump is one file in staging"


def test_a_number_that_no_catalog_gives_is_none() -> None:
    for number in ("0", "9" * 19, "9" * 5000, "١٢", "1_0", " 1", "-1"):
        assert description_from_metadata({**metadata_of(TOLD), "archive-id": number}) is None
    assert key_facts("", f"dms/manifests/{'9' * 400}.json.gz") is None


@pytest.mark.parametrize(
    "kept",
    [
        5,
        [],
        {"version": 1},
        {"version": 17, "hashes": True, "tables": {"a": 3}, "objects": {}, "seconds": 0},
        {"version": 17, "hashes": True, "tables": {"\0": None}, "objects": {}, "seconds": 0},
    ],
)
def test_what_is_no_fingerprint_is_left_out(kept: object) -> None:
    assert as_told._HEAD["fingerprint"]({"fingerprint": kept}, "fingerprint") is None


ODD_REPORTS: list[dict[str, Any]] = [
    {"unreadable_count": "x"},
    {"changed_count": 2.5},
    {"new_versions_count": -1},
    {"new_versions_count": True},
    {"unreadable": "x"},
    {"unreadable": [None]},
    {"changed": [{"size": 1}]},
    {"rehearsal": "x"},
    {"rehearsal": {"in_place": "x"}},
    {"rehearsal": {"in_place": {"verdict": "no", "why": 5}}},
    {"rehearsal": {"in_place": {"verdict": "no", "found": 5}}},
    {"rehearsal": {"new_server": {"verdict": "no", "found": [5]}}},
    {"rehearsal": {"in_place": {"verdict": "no", "count": "x"}}},
]


@pytest.mark.parametrize("odd", ODD_REPORTS, ids=str)
def test_a_report_keeps_what_is_as_backups_write_it_and_no_more(odd: dict[str, Any]) -> None:
    """One question asks of all applications of a catalog: none may be silenced by the report of another."""
    good = {
        "unarchived_references_count": 1,
        "unarchived_references": ["b"],
        "other_references_count": None,
        "store_changed": None,
        "skipped_count": 3,
    }
    ((_, backup),) = read(lines_of(a_head(report={**good, **odd})))
    assert backup.head["report"] == good
    assert list(known_of_backup(backup.head["report"])) == ["Does not hold 1 file that the database names: b."]


def test_a_rehearsal_is_kept() -> None:
    found = {"rehearsal": {"in_place": {"verdict": "no", "why": "No role.", "found": ["a"], "count": 2}}}
    ((_, backup),) = read(lines_of(a_head(report=found)))
    assert backup.head["report"] == found
    assert cannot_be_brought_back(backup.head["report"]) == "No role; a; and 1 more."
