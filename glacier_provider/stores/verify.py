"""Checking bytes against the checksum of a receipt. Pure: no network, no disk."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from glacier_provider.core.parts import composite_sha256
from glacier_provider.core.treehash import TreeHash

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
        self._digest: _Digest = _WholeParts(int(part_size)) if part_size else _digest(algorithm)
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the bytes that follow those taken before."""
        self._digest.update(data)
        self.size += len(data)

    def matches(self) -> bool:
        """Return whether everything taken so far has the checksum."""
        return self._digest.hexdigest() == self._expected


class _Digest(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def _digest(algorithm: str) -> _Digest:
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

    def hexdigest(self) -> str:
        tail = [self._open.copy().digest()] if self._open_size else []
        return composite_sha256(self._digests + tail).hex()
