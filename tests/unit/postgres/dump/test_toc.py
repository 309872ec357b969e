from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.errors import DumpInvalid, UnsupportedDump
from glacier_provider.postgres.dump.toc import ListedEntry, Toc, TocEntry, join, parse_listing, read_toc
from tests.unit.postgres.builders import DumpBuilder, TocBytes

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ENTRIES = st.lists(
    st.builds(
        TocEntry,
        dump_id=st.integers(1, 2**31 - 1),
        tableoid=st.integers(0, 2**32 - 1),
        oid=st.integers(0, 2**32 - 1),
        desc=st.sampled_from(["TABLE", "FK CONSTRAINT", "COMMENT"]),
        schema=st.none() | TEXTS.filter(bool),
        name=TEXTS,
        owner=TEXTS,
        dependencies=st.lists(st.integers(1, 10**6), max_size=4).map(tuple),
        definition=TEXTS,
        has_data=st.booleans(),
    ),
    min_size=1,
    max_size=5,
)
FORMS = st.builds(
    TocBytes,
    version=st.sampled_from([(1, 12), (1, 13), (1, 14), (1, 15), (1, 16)]),
    custom=st.booleans(),
    compression=st.sampled_from([0, 1]),
    int_size=st.sampled_from([4, 8]),
)


def toc_of(content: bytes) -> Toc:
    return read_toc(io.BytesIO(content))


@given(ENTRIES, FORMS)
def test_every_archive_version_is_read_as_it_was_written(entries: list[TocEntry], form: TocBytes) -> None:
    toc = toc_of(form.write(entries))
    assert toc.entries == tuple(entries)
    assert toc.header.archive_version == form.version
    assert toc.header.compression == ("gzip" if form.compression else "none")
    assert (toc.header.dbname, toc.header.server_version, toc.header.client_version) == (
        "shop",
        "17.10",
        "17.10 (Debian)",
    )


@given(ENTRIES, FORMS, st.data())
def test_a_cut_anywhere_is_a_damaged_dump(entries: list[TocEntry], form: TocBytes, data: st.DataObject) -> None:
    content = form.write(entries)
    with pytest.raises(DumpInvalid):
        toc_of(content[: data.draw(st.integers(0, len(content) - 1))])


@given(ENTRIES, st.data())
def test_a_damaged_byte_is_an_error_of_the_dump_or_read(entries: list[TocEntry], data: st.DataObject) -> None:
    content = bytearray(TocBytes().write(entries))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(DumpInvalid, UnsupportedDump):
        toc_of(bytes(content))


@pytest.mark.parametrize("version", [(1, 11), (1, 17), (2, 0)])
def test_an_unknown_archive_version_is_not_guessed_at(version: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedDump, match=f"version {version[0]}.{version[1]}"):
        toc_of(TocBytes(version).write([DumpBuilder().schema("a")]))


def test_a_dump_without_entries_is_empty() -> None:
    with pytest.raises(DumpInvalid, match="no entries"):
        toc_of(TocBytes().write([]))


def test_plain_sql_is_no_dump() -> None:
    with pytest.raises(DumpInvalid, match="not a dump"):
        toc_of(b"--\n-- PostgreSQL database dump\n--\n")


@pytest.mark.parametrize(("number", "name"), [(0, "none"), (1, "gzip"), (2, "lz4"), (3, "zstd"), (9, "unknown")])
def test_the_header_names_the_compression(number: int, name: str) -> None:
    toc = toc_of(TocBytes(compression=number).write([DumpBuilder().schema("a")]))
    assert toc.header.compression == name


@pytest.mark.parametrize(
    ("encoding", "codec"), [("LATIN1", "iso8859_1"), ("WIN1252", "cp1252"), ("EUC_JP", "euc_jp"), ("UTF8", "utf-8")]
)
def test_names_are_read_in_the_encoding_of_the_dump(encoding: str, codec: str) -> None:
    builder = DumpBuilder()
    builder.add("ENCODING", None, "ENCODING", definition=f"SET client_encoding = '{encoding}';\n")
    name = "日本" if encoding == "EUC_JP" else "Straße"
    builder.table("public", name)
    assert toc_of(TocBytes(encoding=codec).write(builder.entries)).entries[1].name == name


def test_names_in_no_known_encoding_keep_their_bytes() -> None:
    table = DumpBuilder().table("public", "caf\udce9")
    assert toc_of(TocBytes().write([table])).entries == (table,)


LISTING = """;
; Archive created at 2026-11-21 23:26:08 UTC
;     dbname: shop
;
10; 2615 16702 SCHEMA - Größe & Co postgres
2922; 0 16800 TABLE DATA Größe & Co Tabelle mit "Namen" postgres
"""


def test_a_listing_is_read_by_its_numbers() -> None:
    assert parse_listing(LISTING) == (
        ListedEntry(10, 2615, 16702, "SCHEMA - Größe & Co postgres"),
        ListedEntry(2922, 0, 16800, 'TABLE DATA Größe & Co Tabelle mit "Namen" postgres'),
    )


def test_a_line_separator_in_a_name_does_not_break_the_listing() -> None:
    (line,) = parse_listing("7; 1259 1 TABLE public a\u2028b\x0bc app\n")
    assert line == ListedEntry(7, 1259, 1, "TABLE public a\u2028b\x0bc app")


def test_a_listing_of_another_shape_is_not_guessed_at() -> None:
    with pytest.raises(UnsupportedDump):
        parse_listing("TABLE public a app\n")


def listed(entry: TocEntry) -> ListedEntry:
    return ListedEntry(entry.dump_id, entry.tableoid, entry.oid, f"{entry.desc} {entry.schema or '-'} {entry.name}")


def test_the_listing_decides_order_and_presence() -> None:
    builder = DumpBuilder()
    first, second, third = (builder.table("public", name) for name in "abc")
    toc = toc_of(TocBytes().write(builder.entries))
    assert join(toc, [listed(third), listed(first)]) == (third, first)
    assert second not in join(toc, [listed(third)])


@pytest.mark.parametrize(
    "change",
    [{"dump_id": 77}, {"tableoid": 1}, {"oid": 1}, {"text": "VIEW public a"}, {"text": "TABLESPACE a"}],
)
def test_a_listing_that_disagrees_with_the_dump_is_refused(change: dict[str, object]) -> None:
    builder = DumpBuilder()
    table = builder.table("public", "a")
    with pytest.raises(UnsupportedDump):
        join(toc_of(TocBytes().write(builder.entries)), [replace(listed(table), **change)])  # type: ignore[arg-type]
