"""What uploads in parts share: parts that several threads take from, of a source that is there whole or of one that is
still being made, and a part as the body of a request.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from glacier_provider.core.checksum import Digest
from glacier_provider.core.parts import MAX_PARTS, MIB, Part
from glacier_provider.errors import StoreError
from glacier_provider.stores.contract import Source, StreamSource

_WINDOW = MIB

_Sent = TypeVar("_Sent")


def windows(source: Source, part: Part) -> Iterator[bytes]:
    """Yield the bytes of a part of a source, 1 MiB at a time."""
    for start in range(part.start, part.end, _WINDOW):
        yield source.read_at(start, min(_WINDOW, part.end - start))


def digest_of(source: Source, part: Part, digest: Digest) -> bytes:
    """Return what a new hash makes of the bytes of a part."""
    for window in windows(source, part):
        digest.update(window)
    return digest.digest()


def send_parts(parts: Iterator[Part], send: Callable[[Part], _Sent], *, in_flight: int) -> list[_Sent]:
    """Return what `send` returned for each part, in the parts' order; `in_flight` of them are sent at once.

    The first error is raised when the parts in flight have come to their end; no further part is begun after it.
    """
    shared = _SharedParts(parts)
    sent: list[tuple[int, _Sent]] = []

    def work() -> None:
        while (part := shared.take()) is not None:
            try:
                sent.append((part.number, send(part)))
            except BaseException:
                shared.stop()
                raise

    with ThreadPoolExecutor(in_flight, thread_name_prefix="part") as pool:
        workers = [pool.submit(work) for _ in range(in_flight)]
    for worker in workers:
        worker.result()
    return [result for _, result in sorted(sent, key=lambda entry: entry[0])]


class _SharedParts:
    """Parts that several threads take from."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._stopped = False

    def take(self) -> Part | None:
        with self._lock:
            return None if self._stopped else next(self._parts, None)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True


def stream_parts(source: StreamSource, part_size: int, send: Callable[[Part], _Sent], *, in_flight: int) -> list[_Sent]:
    """Send each part as soon as the source has it; return what `send` returned, in the parts' order.

    Raise what ended the source, or the first error of a part.
    """

    def send_and_free(part: Part) -> _Sent:
        sent = send(part)
        source.sent(part.start, part.size)
        return sent

    return send_parts(_parts_as_they_come(source, part_size), send_and_free, in_flight=in_flight)


def _parts_as_they_come(source: StreamSource, part_size: int) -> Iterator[Part]:
    for number in range(1, MAX_PARTS + 1):
        start = (number - 1) * part_size
        whole = source.wait_for(start + part_size)
        size = part_size if whole else source.size - start
        if size > 0:
            yield Part(number=number, start=start, size=size)
        if not whole:
            return
    if source.wait_for(MAX_PARTS * part_size + 1):
        raise StoreError(
            f"The archive has grown beyond {MAX_PARTS:,} parts of {part_size:,} bytes.",
            hint="Set part_size_mib in applications.yaml to a larger power of two.",
        )


class PartBody(io.RawIOBase):
    """A part as a seekable file of which a window of 1 MiB is in memory, whatever the size of the part."""

    def __init__(self, source: Source, part: Part) -> None:
        self._source = source
        self._part = part
        self._position = 0
        self._window = b""
        self._window_start = 0

    def __len__(self) -> int:
        return self._part.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._part.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = self._part.size - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        pieces = []
        while wanted > 0:
            piece = self._from_window(wanted)
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def _from_window(self, wanted: int) -> bytes:
        offset = self._position - self._window_start
        if not 0 <= offset < len(self._window):
            self._window_start, offset = self._position, 0
            size = min(_WINDOW, self._part.size - self._position)
            self._window = self._source.read_at(self._part.start + self._position, size)
        return self._window[offset : offset + wanted]
