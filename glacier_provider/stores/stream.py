"""What uploads of growing sources share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from glacier_provider.core.archive import Description, Receipt
from glacier_provider.core.parts import MAX_PARTS, Part
from glacier_provider.errors import StoreError
from glacier_provider.stores.contract import StreamSource, UploadedParts, UploadJournal
from glacier_provider.stores.multipart import send_parts

Confirmed = TypeVar("Confirmed")


def stream_parts(
    source: StreamSource, part_size: int, send: Callable[[Part], Confirmed], *, in_flight: int
) -> list[Confirmed]:
    """Send each part as soon as the source has it; return what `send` returned, in the parts' order.

    Raise what ended the source, or the first error of a part.
    """

    def sent(part: Part) -> Confirmed:
        confirmed = send(part)
        source.sent(part.start, part.size)
        return confirmed

    return send_parts(_parts(source, part_size), sent, in_flight=in_flight)


def _parts(source: StreamSource, part_size: int) -> Iterator[Part]:
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
            f"The archive has grown beyond {MAX_PARTS} parts of {part_size} bytes.",
            hint="Set part_size_mib in applications.yaml to a larger power of two.",
        )


@dataclass(frozen=True, slots=True)
class UploadedSource:
    """Stands for a source of which the store has everything: only its size is still known."""

    size: int

    def read_at(self, start: int, size: int) -> bytes:
        raise ValueError(f"bytes {start} to {start + size} are with the store alone")

    def wait_for(self, size: int) -> bool:
        return self.size >= size

    def sent(self, start: int, size: int) -> None:
        """Nothing to free."""


class StreamUpload(Protocol):
    """One upload of a growing source, as a store makes it."""

    def send(self) -> UploadedParts: ...

    def complete(self, sent: UploadedParts) -> Receipt | None: ...


class SendsGrowing:
    """The two methods of an `ArchiveStore` for growing sources, by uploads that the store makes."""

    _part_size: int

    def _growing(
        self, source: StreamSource, description: Description, journal: UploadJournal, part_size: int
    ) -> StreamUpload:
        raise NotImplementedError

    def upload_stream(
        self, source: StreamSource, description: Description, journal: UploadJournal, *, part_size: int
    ) -> UploadedParts:
        return self._growing(source, description, journal, part_size).send()

    def complete_stream(self, description: Description, journal: UploadJournal, sent: UploadedParts) -> Receipt | None:
        return self._growing(UploadedSource(sent.size), description, journal, self._part_size).complete(sent)
