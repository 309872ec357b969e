from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.errors import ArchiveCorrupt
from glacier_provider.stores.vault import inventory
from glacier_provider.stores.vault.inventory import parse_entries
from glacier_provider.stores.vault.jobs import Job


def an_entry(number: int, description: str = "") -> dict[str, Any]:
    return {"ArchiveId": f"id-{number}", "ArchiveDescription": description, "Size": number, "SHA256TreeHash": "ab" * 32}


def an_inventory(entries: list[dict[str, Any]], **json_options: Any) -> bytes:
    document = {"VaultARN": "arn:aws:glacier:x", "InventoryDate": "2026-01-01T00:00:00Z", "ArchiveList": entries}
    return json.dumps(document, **json_options).encode()


def in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@given(
    st.lists(st.builds(an_entry, st.integers(0, 10**12), st.text(max_size=30)), max_size=5),
    st.integers(1, 40),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_entries_come_out_whatever_the_pieces(
    entries: list[dict[str, Any]], size: int, indent: int | None, ascii_only: bool
) -> None:
    data = an_inventory(entries, indent=indent, ensure_ascii=ascii_only)
    assert list(parse_entries(in_pieces(data, size))) == entries


def test_an_entry_comes_out_before_the_next_piece_is_asked_for() -> None:
    data = an_inventory([an_entry(1), an_entry(2)])
    cut = data.index(b'{"ArchiveId": "id-2"') + 1

    def pieces() -> Iterator[bytes]:
        yield data[:cut]
        raise AssertionError("asked for too much")

    assert next(parse_entries(pieces())) == an_entry(1)


def test_the_list_is_found_wherever_it_stands() -> None:
    data = b'{"ArchiveList": [{"ArchiveId": "a"}], "VaultARN": {"deep": [1, {"x": null}]}, "n": 12 }'
    assert list(parse_entries(in_pieces(data, 3))) == [{"ArchiveId": "a"}]


@pytest.mark.parametrize("names", list(itertools.permutations(["VaultARN", "InventoryDate", "ArchiveList"])))
def test_the_date_is_found_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    told = json.loads(an_inventory([an_entry(n, "x" * 100) for n in range(100)]))
    data = json.dumps({name: told[name] for name in names}).encode()
    monkeypatch.setattr(inventory, "read_output", lambda _vault, _job, start, size: in_pieces(data[start:][:size], 7))
    vault: Any = None
    job = Job("j", "InventoryRetrieval", "Succeeded", inventory_size=len(data))
    assert inventory.inventory_date(vault, job) == datetime(2026, 1, 1, tzinfo=UTC)


def test_an_inventory_that_is_cut_anywhere_is_no_short_success() -> None:
    data = an_inventory([an_entry(1), an_entry(2)])
    for end in range(len(data)):
        with pytest.raises(ArchiveCorrupt, match="ends too early"):
            list(parse_entries(in_pieces(data[:end], 16)))


@pytest.mark.parametrize(
    "data", [b"[]", b"<html>", b'{"ArchiveList": {}}', b'{"ArchiveList": [7]}', b'{"ArchiveList" []}']
)
def test_what_is_no_inventory_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveCorrupt):
        list(parse_entries(iter([data])))
