"""Uploads to a vault of archives that are still being made.

The description is given when the upload is begun: neither size nor SHA-256 are known then and are left out. The vault
tells size and tree hash itself, the SHA-256 stands in the backup's manifest. Completing may be repeated, also by
another process: the tree hash of the whole is all it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from glacier_provider.core.archive import Receipt
from glacier_provider.core.parts import part_size_for
from glacier_provider.core.treehash import combine
from glacier_provider.errors import ArchiveCorrupt, NotInVault, RequestRejected, StoreUnavailable
from glacier_provider.stores.contract import StreamSource, UploadedParts
from glacier_provider.stores.multipart import stream_parts
from glacier_provider.stores.vault.upload import VaultUpload


@dataclass(frozen=True, slots=True)
class VaultStreamUpload:
    """The two halves of `upload`: its parts, and later, perhaps by another process, its completion."""

    upload: VaultUpload

    def send(self, source: StreamSource, part_size: int) -> UploadedParts:
        """Send all parts as they come; raise what ended the source."""
        upload = self.upload
        begun = upload.begin(part_size_for(source.size, preferred=part_size))
        upload.abort_others(begun)
        digests = stream_parts(
            source,
            begun.part_size,
            lambda part: upload.send_part(source, begun, part),
            in_flight=upload.parts_in_flight,
        )
        return UploadedParts(source.size, f"treehash:{combine(digests).hex()}", tuple(digests))

    def complete(self, sent: UploadedParts) -> Receipt | None:
        """Complete what was sent; None when the vault has something else, or nothing."""
        begun = self.upload.journal.upload_id()
        if begun is None:
            return None
        known = self.upload.known(begun[0]) if sent.parts is None else None
        if known is not None and not _is_sent(known.parts, sent):
            return None
        try:
            return self._ask(begun[0], sent, adopted=sent.parts is None and known is None)
        except StoreUnavailable:
            if self.upload.known(begun[0]) is not None:
                raise  # it was not completed: the next try does it
            return self._ask(begun[0], sent, adopted=True)

    def _ask(self, upload_id: str, sent: UploadedParts, *, adopted: bool) -> Receipt | None:
        try:
            receipt = self.upload.ask_to_complete(upload_id, sent.size, sent.checksum.removeprefix("treehash:"))
        except (NotInVault, RequestRejected, ArchiveCorrupt):
            return None
        return replace(receipt, adopted=adopted)


def _is_sent(parts: Mapping[str, str], sent: UploadedParts) -> bool:
    ranges = sorted((tuple(map(int, range_.split("-"))), tree) for range_, tree in parts.items())
    size = sum(last - first + 1 for (first, last), _ in ranges)
    tree = combine([bytes.fromhex(tree) for _, tree in ranges]).hex()
    return (size, f"treehash:{tree}") == (sent.size, sent.checksum)
