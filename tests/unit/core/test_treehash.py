from __future__ import annotations

import hashlib
import io
import itertools
import random

import pytest
from botocore.utils import calculate_tree_hash
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier_provider.core.parts import MIB, parts_of
from glacier_provider.core.treehash import TreeHash, combine, tree_hash

_DATA = random.Random(5).randbytes(6 * MIB + 123)
_SIZES = st.one_of(
    st.sampled_from([0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, 3 * MIB + 1, 5 * MIB, len(_DATA)]),
    st.integers(0, len(_DATA)),
)


def by_botocore(data: bytes) -> str:
    return str(calculate_tree_hash(io.BytesIO(data)))


@given(_SIZES)
@settings(max_examples=25, deadline=None)
def test_the_tree_hash_is_botocores(size: int) -> None:
    assert tree_hash(_DATA[:size]).hex() == by_botocore(_DATA[:size])


@given(_SIZES, st.lists(st.integers(0, len(_DATA)), max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_pieces_that_bytes_come_in_do_not_matter(size: int, cuts: list[int]) -> None:
    borders = [0, *sorted(min(cut, size) for cut in cuts), size]
    whole = TreeHash()
    for start, end in itertools.pairwise(borders):
        whole.update(memoryview(_DATA)[start:end])
    assert whole.digest() == tree_hash(_DATA[:size])


@given(st.integers(1, 200), st.integers(0, 5))
def test_equal_parts_of_a_power_of_two_combine_to_the_whole(chunks: int, power: int) -> None:
    digests = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(chunks)]
    parts = [combine(digests[part.start : part.end]) for part in parts_of(chunks, 2**power)]
    assert combine(parts) == combine(digests)


def test_parts_that_are_no_power_of_two_do_not_combine() -> None:
    digests = [hashlib.sha256(bytes([n])).digest() for n in range(7)]
    parts = [combine(digests[part.start : part.end]) for part in parts_of(7, 3)]
    assert combine(parts) != combine(digests)


def test_a_digest_can_be_asked_for_on_the_way() -> None:
    whole = TreeHash()
    whole.update(_DATA[:MIB])
    assert whole.hexdigest() == by_botocore(_DATA[:MIB])
    whole.update(_DATA[MIB : 2 * MIB + 1])
    assert whole.hexdigest() == by_botocore(_DATA[: 2 * MIB + 1])


@pytest.mark.parametrize("size", [0, 1, 1000, MIB])
def test_up_to_one_mebibyte_it_is_the_plain_hash(size: int) -> None:
    assert tree_hash(_DATA[:size]) == hashlib.sha256(_DATA[:size]).digest()
