from __future__ import annotations

import hashlib
import io
import itertools

import pytest
from botocore.utils import calculate_tree_hash
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier_provider.core.checksum import Verifier, pieces_of
from glacier_provider.core.parts import MIB

_DATA = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(100)) * 1000  # 3.2 MB


def checksums(data: bytes, part_size: int) -> list[str]:
    parts = [data[start : start + part_size] for start in range(0, len(data), part_size)]
    composite = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    tree = calculate_tree_hash(io.BytesIO(data))
    return [f"sha256:{hashlib.sha256(data).hexdigest()}", f"sha256-parts:{part_size}:{composite}", f"treehash:{tree}"]


@given(
    size=st.integers(0, len(_DATA)),
    part_size=st.sampled_from([MIB, 2 * MIB, 1000]),
    cuts=st.lists(st.integers(0, len(_DATA)), max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_bytes_match_their_checksum_however_they_are_cut(size: int, part_size: int, cuts: list[int]) -> None:
    data = _DATA[:size]
    borders = [0, *sorted(min(cut, size) for cut in cuts), size]
    for checksum in checksums(data, part_size):
        verifier = Verifier(checksum)
        for start, end in itertools.pairwise(borders):
            verifier.update(memoryview(data)[start:end])
        assert verifier.matches()
        assert verifier.size == size


@pytest.mark.parametrize("number", range(3))
def test_one_changed_missing_or_additional_byte_does_not_match(number: int) -> None:
    data = _DATA[: 2 * MIB + 5]
    checksum = checksums(data, MIB)[number]
    for other in (data[:-1], data + b"\0", data[:MIB] + bytes([data[MIB] ^ 1]) + data[MIB + 1 :], b""):
        verifier = Verifier(checksum)
        verifier.update(other)
        assert not verifier.matches()


def test_parts_are_not_confused_with_the_whole() -> None:
    verifier = Verifier(checksums(_DATA, 1000)[1].replace(":1000:", ":2000:"))
    verifier.update(_DATA)
    assert not verifier.matches()


@pytest.mark.parametrize("text", ["", "md5:" + "0" * 32, "sha256:xyz", "sha256-parts:0:" + "0" * 64, "0" * 64])
def test_what_is_no_checksum_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a checksum"):
        Verifier(text)


@pytest.mark.parametrize("size", [1, MIB, 33 * MIB, 40 * MIB + 1])
@pytest.mark.parametrize("part_size", [8 * MIB, 16 * MIB])
def test_pieces_that_are_hashed_apart_make_the_checksum(size: int, part_size: int) -> None:
    data = (_DATA * (size // len(_DATA) + 1))[:size]
    for checksum in checksums(data, part_size)[1:]:
        pieces = pieces_of(checksum, size)
        assert pieces is not None
        digests = []
        for piece in pieces.parts():
            digest = pieces.new()
            for start in range(piece.start, piece.end, 3_000_000):
                digest.update(data[start : min(start + 3_000_000, piece.end)])
            digests.append(digest.digest())
        assert pieces.match(digests)
        assert not pieces.match([*digests[:-1], bytes(32)])
        assert pieces.size == size


def test_a_checksum_of_the_whole_has_no_pieces() -> None:
    assert pieces_of(f"sha256:{'0' * 64}", 100 * MIB) is None
    with pytest.raises(ValueError, match="not a checksum"):
        pieces_of("md5:0", 1)
