from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.parts import (
    GIB,
    MAX_PART_SIZE,
    MAX_PARTS,
    MAX_SIZE,
    MIB,
    MIN_PART_SIZE,
    composite_sha256,
    part_size_for,
    parts_of,
)

_PREFERRED = st.sampled_from([MIN_PART_SIZE << n for n in range(10)])


@given(st.integers(0, MAX_SIZE), _PREFERRED)
def test_the_part_size_is_legal_and_the_smallest_that_suffices(size: int, preferred: int) -> None:
    part_size = part_size_for(size, preferred=preferred)
    assert preferred <= part_size <= MAX_PART_SIZE
    assert part_size & (part_size - 1) == 0
    assert size <= part_size * MAX_PARTS
    assert part_size == preferred or size > part_size // 2 * MAX_PARTS


@given(st.integers(0, 3000), st.integers(1, 500))
def test_parts_cover_every_byte_once_in_order(size: int, part_size: int) -> None:
    parts = list(parts_of(size, part_size))
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert [part.start for part in parts] == [0, *(part.end for part in parts)][: len(parts)]
    assert sum(part.size for part in parts) == size
    assert all(part.size == part_size for part in parts[:-1])
    assert all(0 < part.size <= part_size for part in parts)


@given(st.integers(MAX_SIZE - 10 * GIB, MAX_SIZE))
def test_the_largest_archives_stay_within_ten_thousand_parts(size: int) -> None:
    part_size = part_size_for(size)
    assert -(-size // part_size) <= MAX_PARTS


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 16 * MIB),
        (16 * MIB * 10_000, 16 * MIB),
        (16 * MIB * 10_000 + 1, 32 * MIB),
        (2**40, 128 * MIB),
        (MAX_SIZE, 4 * GIB),
    ],
)
def test_the_part_size_grows_where_the_documents_say(size: int, expected: int) -> None:
    assert part_size_for(size) == expected


def test_more_than_the_largest_archive_is_refused() -> None:
    with pytest.raises(ValueError, match="10,000 parts"):
        part_size_for(MAX_SIZE + 1)


@pytest.mark.parametrize("preferred", [0, MIB, 12 * MIB, MIN_PART_SIZE + 1, 8 * GIB])
def test_a_part_size_that_no_store_takes_is_refused(preferred: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        part_size_for(1, preferred=preferred)


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_the_composite_is_the_hash_of_the_parts_hashes(parts: list[bytes]) -> None:
    digests = [hashlib.sha256(part).digest() for part in parts]
    assert composite_sha256(digests) == hashlib.sha256(b"".join(digests)).digest()
