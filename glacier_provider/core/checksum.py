"""Checking bytes against the checksum of a receipt. Pure: no network, no disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from glacier_provider.core.parts import MIB, Part, composite_sha256, parts_of
from glacier_provider.core.treehash import TreeHash, combine

_CHECKSUM = re.compile(r"(?:(sha256|treehash)|sha256-parts:([1-9]\d*)):([0-9a-f]{64})")


class Verifier:
    """Takes the bytes of an archive from its first to its last and tells whether they are what the store confirmed.

    `checksum` is a `Receipt.checksum`; raise ValueError for one that is not. `size` counts the bytes taken.
    """

    def __init__(self, checksum: str) -> None:
        found = _CHECKSUM.fullmatch(checksum)
        if not found:
            raise ValueError(f"not a checksum: {checksum!r}")
        algorithm, part_size, self._expected = found.groups()
        self._digest: Digest = _WholeParts(int(part_size)) if part_size else _digest(algorithm)
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the bytes that follow those taken before."""
        self._digest.update(data)
        self.size += len(data)

    def matches(self) -> bool:
        """Return whether everything taken so far has the checksum."""
        return self.hexdigest() == self._expected

    def hexdigest(self) -> str:
        """Return the checksum of everything taken so far."""
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces whose digests make the checksum of an archive: each can be taken and hashed apart from the others."""

    size: int
    piece_size: int
    expected: str
    new: Callable[[], Digest]  #: what hashes one piece from its first byte to its last
    combined: Callable[[Sequence[bytes]], bytes]

    def parts(self) -> Iterator[Part]:
        return parts_of(self.size, self.piece_size)

    def match(self, digests: Sequence[bytes]) -> bool:
        """Return whether the pieces' digests, in order, make the checksum."""
        return self.hexdigest(digests) == self.expected

    def hexdigest(self, digests: Sequence[bytes]) -> str:
        return self.combined(digests).hex()


#: A tree hash is made of the roots of any equal pieces of 1 MiB times a power of two.
_TREE_PIECE = 16 * MIB


def pieces_of(checksum: str, size: int) -> Pieces | None:
    """Return the pieces of an archive of `size` bytes; None when its checksum goes from the first byte to the last.

    Raise ValueError for what is no checksum.
    """
    found = _CHECKSUM.fullmatch(checksum)
    if not found:
        raise ValueError(f"not a checksum: {checksum!r}")
    algorithm, part_size, expected = found.groups()
    if part_size:
        return Pieces(size, int(part_size), expected, hashlib.sha256, composite_sha256)
    return Pieces(size, _TREE_PIECE, expected, TreeHash, combine) if algorithm == "treehash" else None


class Digest(Protocol):
    """A hash that takes bytes as they come."""

    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


def _digest(algorithm: str) -> Digest:
    return hashlib.sha256() if algorithm == "sha256" else TreeHash()


class _WholeParts:
    """S3's composite checksum over parts of one size, the last one shorter."""

    def __init__(self, part_size: int) -> None:
        self._part_size = part_size
        self._digests: list[bytes] = []
        self._open = hashlib.sha256()
        self._open_size = 0

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            taken = view[: self._part_size - self._open_size]
            self._open.update(taken)
            self._open_size += len(taken)
            view = view[len(taken) :]
            if self._open_size == self._part_size:
                self._digests.append(self._open.digest())
                self._open, self._open_size = hashlib.sha256(), 0

    def digest(self) -> bytes:
        tail = [self._open.copy().digest()] if self._open_size else []
        return composite_sha256(self._digests + tail)

    def hexdigest(self) -> str:
        return self.digest().hex()
