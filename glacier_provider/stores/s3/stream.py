"""Uploads to S3 of archives that are still being made.

CreateMultipartUpload takes the metadata, and at that time neither size nor SHA-256 are known: they are left out. S3
knows the size itself; the SHA-256 stands in the backup's manifest, and the checksum over the parts is S3's own. Nothing
is an archive before Complete, which is asked for only when the caller knows that what it made is good.
"""

from __future__ import annotations

from dataclasses import dataclass

from glacier_provider.core.archive import Receipt
from glacier_provider.core.parts import part_size_for
from glacier_provider.stores.contract import StreamSource, UploadedParts
from glacier_provider.stores.multipart import stream_parts
from glacier_provider.stores.s3.upload import ArchiveContent, S3Upload, StoredPart, abort_uploads, checksum_of


@dataclass(frozen=True, slots=True)
class S3StreamUpload:
    """The two halves of `upload`: its parts, and later, perhaps by another process, its completion."""

    upload: S3Upload

    def send(self, source: StreamSource, part_size: int) -> UploadedParts:
        """Send all parts as they come; raise what ended the source."""
        upload = self.upload
        upload_id, part_size = upload.begin(part_size_for(source.size, preferred=part_size))
        abort_uploads(upload.bucket, upload.key, but=upload_id)
        parts = stream_parts(
            source,
            part_size,
            lambda part: upload.send_part(source, upload_id, part),
            in_flight=upload.parts_in_flight,
        )
        return UploadedParts(source.size, checksum_of(part_size, parts), tuple(parts))

    def complete(self, sent: UploadedParts) -> Receipt | None:
        """Complete what was sent; None when the store has something else, or nothing."""
        content = ArchiveContent(sent.size, sent.checksum.__eq__)  # the bytes are gone; what they were is known
        begun = self.upload.journal.upload_id()
        parts = self._parts_of(begun[0], sent) if begun is not None else None
        if begun is None or parts is None:
            return self.upload.adopt(content)
        if sum(part.size for part in parts) != sent.size or checksum_of(begun[1], parts) != sent.checksum:
            return None
        return self.upload.complete(*begun, parts, content)

    def _parts_of(self, upload_id: str, sent: UploadedParts) -> list[StoredPart] | None:
        """Return the parts in order; None when the store does not know the upload."""
        if sent.parts is not None:
            return [part for part in sent.parts if isinstance(part, StoredPart)]
        stored = self.upload.stored_parts(upload_id)
        return None if stored is None else [part for _, part in sorted(stored.items())]
