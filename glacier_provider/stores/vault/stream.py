"""Uploads to a vault of archives that are still being made.

The description is given when the upload is begun: neither size nor SHA-256 are known then and are left out. The vault
tells size and tree hash itself, the SHA-256 stands in the backup's manifest. Completing may be repeated, also by
another process: the tree hash of the whole is all it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from glacier_provider.core.archive import Receipt
from glacier_provider.core.treehash import combine
from glacier_provider.errors import ArchiveCorrupt, NotInVault, RequestRejected, StoreUnavailable
from glacier_provider.stores.contract import StreamSource, UploadedParts
from glacier_provider.stores.stream import stream_parts
from glacier_provider.stores.vault.upload import VaultUpload


@dataclass(frozen=True, slots=True)
class VaultStreamUpload(VaultUpload):
    """One archive on its way; `preferred_part_size` is the size of its parts."""

    source: StreamSource

    def send(self) -> UploadedParts:
        """Send all parts as they come; raise what ended the source."""
        upload = self._begin()
        self._abort_others(upload)
        digests = stream_parts(
            self.source,
            upload.part_size,
            lambda part: self._send_part(upload, part),
            in_flight=self.parts_in_flight,
        )
        return UploadedParts(self.source.size, f"treehash:{combine(digests).hex()}", tuple(digests))

    def complete(self, sent: UploadedParts) -> Receipt | None:
        """Complete what was sent; None when the vault has something else, or nothing."""
        begun = self.journal.upload_id()
        if begun is None:
            return None
        upload = self._known(begun[0]) if sent.parts is None else None
        if upload is not None and not self._is_sent(upload.parts, sent):
            return None
        try:
            return self._ask(begun[0], sent, adopted=sent.parts is None and upload is None)
        except StoreUnavailable:
            if self._known(begun[0]) is not None:
                raise  # it was not completed: the next try does it
            return self._ask(begun[0], sent, adopted=True)

    def _ask(self, upload_id: str, sent: UploadedParts, *, adopted: bool) -> Receipt | None:
        try:
            receipt = self._complete_as(upload_id, sent.size, sent.checksum.removeprefix("treehash:"))
        except (NotInVault, RequestRejected, ArchiveCorrupt):
            return None
        return replace(receipt, adopted=adopted)

    @staticmethod
    def _is_sent(parts: Mapping[str, str], sent: UploadedParts) -> bool:
        ranges = sorted((tuple(map(int, range_.split("-"))), tree) for range_, tree in parts.items())
        size = sum(last - first + 1 for (first, last), _ in ranges)
        tree = combine([bytes.fromhex(tree) for _, tree in ranges]).hex()
        return (size, f"treehash:{tree}") == (sent.size, sent.checksum)
