"""Uploads to S3 of archives that are still being made.

CreateMultipartUpload takes the metadata, and at that time neither size nor SHA-256 are known: they are left out. S3
knows the size itself; the SHA-256 stands in the backup's manifest, and the checksum over the parts is S3's own. Nothing
is an archive before Complete, which is asked for only when the caller knows that what it made is good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from glacier_provider.core.archive import Receipt
from glacier_provider.core.parts import composite_sha256
from glacier_provider.stores.contract import StreamSource, UploadedParts
from glacier_provider.stores.s3.upload import LargeUpload, StoredPart, abort_uploads
from glacier_provider.stores.stream import stream_parts


@dataclass(frozen=True, slots=True)
class S3StreamUpload(LargeUpload):
    """One archive on its way; `preferred_part_size` is the size of its parts."""

    source: StreamSource
    expected: str | None = None

    def send(self) -> UploadedParts:
        """Send all parts as they come; raise what ended the source."""
        upload_id, part_size = self._begin()
        abort_uploads(self.bucket, self.key, but=upload_id)
        parts = stream_parts(
            self.source,
            part_size,
            lambda part: self._send_part(upload_id, part, None),
            in_flight=self.parts_in_flight,
        )
        return UploadedParts(self.source.size, _checksum(part_size, parts), tuple(parts))

    def complete(self, sent: UploadedParts) -> Receipt | None:
        """Complete what was sent; None when the store has something else, or nothing."""
        known = replace(self, expected=sent.checksum)
        begun = self.journal.upload_id()
        parts = self._parts_of(begun[0], sent) if begun is not None else None
        if begun is None or parts is None:
            return known._adopt()
        if sum(part.size for part in parts) != sent.size or _checksum(begun[1], parts) != sent.checksum:
            return None
        return known._complete(begun[0], begun[1], parts)

    def _parts_of(self, upload_id: str, sent: UploadedParts) -> list[StoredPart] | None:
        """Return the parts in order; None when the store does not know the upload."""
        if sent.parts is not None:
            return [part for part in sent.parts if isinstance(part, StoredPart)]
        stored = self._stored_parts(upload_id)
        return None if stored is None else [part for _, part in sorted(stored.items())]

    def _has_checksum(self, checksum: str) -> bool:
        """The bytes are gone; what they were is known."""
        return checksum == self.expected


def _checksum(part_size: int, parts: list[StoredPart]) -> str:
    return f"sha256-parts:{part_size}:{composite_sha256(part.digest for part in parts).hex()}"
