"""Amazon Glacier's SHA-256 tree hash.

Rule: https://docs.aws.amazon.com/amazonglacier/latest/dev/checksum-calculations.html. SHA-256 of each 1 MiB chunk; then
neighbours are joined two by two and hashed again until one is left; a lone last one moves up as it is.
The tree hash of nothing is the SHA-256 of nothing, as botocore has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from glacier_provider.core.parts import MIB


def combine(digests: Sequence[bytes]) -> bytes:
    """Return the root over raw digests that stand side by side on one level of the tree.

    Right for chunk digests, and for the roots of equal parts of 1 MiB x 2^n each (the last may be shorter).
    """
    level = list(digests) or [hashlib.sha256(b"").digest()]
    while len(level) > 1:
        paired = [hashlib.sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


class TreeHash:
    """The tree hash of bytes that come in pieces of any length."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._open = hashlib.sha256()
        self._open_size = 0

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            taken = view[: MIB - self._open_size]
            self._open.update(taken)
            self._open_size += len(taken)
            view = view[len(taken) :]
            if self._open_size == MIB:
                self._close_chunk()

    def digest(self) -> bytes:
        """Return the 32 raw bytes of the root over everything given so far."""
        tail = [self._open.copy().digest()] if self._open_size else []
        return combine(self._chunks + tail)

    def hexdigest(self) -> str:
        return self.digest().hex()

    def _close_chunk(self) -> None:
        self._chunks.append(self._open.digest())
        self._open = hashlib.sha256()
        self._open_size = 0


def tree_hash(data: bytes | memoryview) -> bytes:
    """Return the tree hash of `data` as 32 raw bytes."""
    whole = TreeHash()
    whole.update(data)
    return whole.digest()
