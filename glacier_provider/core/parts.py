"""Part arithmetic of multipart uploads, and the checksums that are made of parts.

Limits: S3, https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (10,000 parts of 5 MiB to 5 GiB);
vaults, https://docs.aws.amazon.com/amazonglacier/latest/dev/uploading-archive-mpu.html (10,000 parts of 1 MiB x 2^n,
at most 4 GiB). One rule serves both: parts are powers of two, from 8 MiB to 4 GiB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MIB = 1024 * 1024
GIB = 1024 * MIB
MAX_PARTS = 10_000
MIN_PART_SIZE = 8 * MIB
#: Files up to this size are sent by one request, read into memory whole; larger ones go in parts.
SMALL_FILE = 8 * MIB
MAX_PART_SIZE = 4 * GIB
#: A large archive is read by several requests, each for so many bytes.
READ_AT_ONCE = 128 * MIB
#: Objects that one request to S3 lists, and how many have to be wanted of them for a listing to pay.
LISTED_AT_ONCE = 1000
WORTH_LISTING = 4
MAX_SIZE = MAX_PARTS * MAX_PART_SIZE


@dataclass(frozen=True, slots=True)
class Part:
    """One part: `number` counts from 1, as S3 does; `start` and `size` are in bytes."""

    number: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """The position after the part's last byte."""
        return self.start + self.size


def part_size_for(size: int, *, preferred: int = 16 * MIB) -> int:
    """Return the smallest power-of-two part size, not below `preferred`, that needs at most 10,000 parts.

    Raise ValueError for a size beyond 10,000 parts of 4 GiB, or a preferred size that is no allowed part size.
    """
    if not _is_part_size(preferred):
        raise ValueError(f"a part size is a power of two from {MIN_PART_SIZE} to {MAX_PART_SIZE:,} bytes: {preferred}")
    if size > MAX_SIZE:
        raise ValueError(f"{size:,} bytes are more than {MAX_PARTS:,} parts of 4 GiB")
    part_size = preferred
    while size > part_size * MAX_PARTS:
        part_size *= 2
    return part_size


def _is_part_size(size: int) -> bool:
    return MIN_PART_SIZE <= size <= MAX_PART_SIZE and size & (size - 1) == 0


def parts_of(size: int, part_size: int) -> Iterator[Part]:
    """Yield the parts of `size` bytes in order; nothing for zero bytes."""
    for index, start in enumerate(range(0, size, part_size)):
        yield Part(number=index + 1, start=start, size=min(part_size, size - start))


def composite_sha256(part_digests: Iterable[bytes]) -> bytes:
    """Return S3's composite checksum: the SHA-256 of the joined raw SHA-256 digests of the parts.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    """
    return hashlib.sha256(b"".join(part_digests)).digest()
