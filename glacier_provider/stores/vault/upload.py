"""Uploads to a vault that can be repeated: in parts, several at once, resumed after those that the vault confirmed.

A vault invents the id of each archive and has no write-once keys. What keeps an archive from being there twice is that
parts and Complete may be repeated: Complete of a completed upload gives the same archive id again, for a short period
(https://docs.aws.amazon.com/amazonglacier/latest/dev/api-multipart-complete-upload.html). Hence the order: Initiate,
then the journal, then parts, then Complete, then the caller records the archive, and only that ends the journal. A
second process that finds the journal asks for the parts; when the upload is gone, it repeats Complete before it begins
anew. An upload that no journal names is recognised by its description: it is gone on with if it says exactly what we
would say, and aborted otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from glacier_provider.core.archive import Description, Receipt
from glacier_provider.core.parts import Part, part_size_for, parts_of
from glacier_provider.core.treehash import TreeHash, combine
from glacier_provider.errors import ArchiveCorrupt, NotInVault, OutcomeUnknown, RequestRejected, StoreUnavailable
from glacier_provider.stores.contract import Source, UploadJournal
from glacier_provider.stores.multipart import PartBody, digest_of, send_parts
from glacier_provider.stores.rate_limit import RateLimit
from glacier_provider.stores.vault.calls import Vault
from glacier_provider.stores.vault.descriptions import description_from_text, description_text, is_same_archive

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that the vault knows. `parts` holds the tree hash of each part that it confirmed, by its range."""

    id: str
    part_size: int
    text: str
    parts: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class VaultUpload:
    """One archive on its way, step by step; `run` takes all of them for a source that is there whole."""

    vault: Vault
    description: Description
    journal: UploadJournal
    parts_in_flight: int
    rate_limit: RateLimit = field(default_factory=RateLimit)

    def run(self, source: Source, part_size: int, *, maybe_twice: bool = False) -> Receipt:
        """Send what the vault does not have and return its receipt; the description tells the size of the source.

        `part_size` (bytes) counts for a new upload; an old one keeps its own. `maybe_twice` says that an earlier
        request may have stored the archive already.
        """
        upload = None
        if (begun := self.journal.upload_id()) is not None:
            upload = self.known(begun[0])
            if upload is None:
                if (receipt := self._completed_before(source, *begun)) is not None:
                    return receipt
                maybe_twice = True  # expired, or completed too long ago: only the inventory can tell
            upload = self._if_ours(upload)
            if upload is None:
                self.journal.forget()
        if upload is None:
            upload = self._adopt() or self.begin(part_size_for(source.size, preferred=part_size))
        digests = self._send(source, upload)
        self.abort_others(upload)
        receipt = self._complete(upload.id, source.size, digests)
        return replace(receipt, maybe_twice=maybe_twice)

    # --- which upload ---

    def known(self, upload_id: str) -> OpenUpload | None:
        """Return an upload with its parts, or None when the vault does not know it (any longer)."""
        parts: dict[str, str] = {}
        reply: dict[str, Any] = {}
        marker: dict[str, str] = {}
        while not reply or marker:
            try:
                reply = self.vault.ask("ListParts", uploadId=upload_id, **marker)
            except NotInVault:
                return None
            parts |= {part["RangeInBytes"]: part["SHA256TreeHash"] for part in reply.get("Parts") or []}
            marker = {"marker": reply["Marker"]} if reply.get("Marker") else {}
        return OpenUpload(upload_id, int(reply["PartSizeInBytes"]), reply.get("ArchiveDescription") or "", parts)

    def _if_ours(self, upload: OpenUpload | None) -> OpenUpload | None:
        """Return an upload that makes the archive we want; abort one of ours that would describe itself wrongly."""
        streamed = description_text(replace(self.description, size=None, sha256=None))  # begun before they were known
        if upload is None or upload.text in (self._text, streamed):
            return upload
        told = description_from_text(upload.text)
        if told is not None and is_same_archive(told, self.description):
            self._abort(upload.id)
        return None

    def _adopt(self) -> OpenUpload | None:
        """Return an upload begun for this archive by a process that could not note it, or None."""
        found = next((entry for entry in open_uploads(self.vault, self.description) if entry.text == self._text), None)
        upload = self.known(found.id) if found is not None else None
        if upload is not None:
            log.info("An upload of archive %d that nobody remembered goes on.", self.description.archive_id)
            self.journal.began(upload.id, upload.part_size)
        return upload

    def begin(self, part_size: int) -> OpenUpload:
        """Begin an upload and note it."""
        reply = self.vault.ask("InitiateMultipartUpload", archiveDescription=self._text, partSize=str(part_size))
        upload = OpenUpload(str(reply["uploadId"]), part_size, self._text)
        with ExitStack() as undo:
            undo.callback(self._abort, upload.id)
            self.journal.began(upload.id, part_size)
            undo.pop_all()
        return upload

    def abort_others(self, upload: OpenUpload) -> None:
        """Abort uploads of this archive that no journal names: completed later, they would be duplicates."""
        for other in list(open_uploads(self.vault, self.description)):
            if other.id != upload.id:
                self._abort(other.id)

    def _abort(self, upload_id: str) -> None:
        abort(self.vault, upload_id)

    # --- its parts ---

    def _send(self, source: Source, upload: OpenUpload) -> list[bytes]:
        """Send the parts that the vault lacks or holds with other bytes; return the tree hashes of all, in order."""
        parts = parts_of(source.size, upload.part_size)
        return send_parts(parts, lambda part: self.send_part(source, upload, part), in_flight=self.parts_in_flight)

    def send_part(self, source: Source, upload: OpenUpload, part: Part) -> bytes:
        """Send a part, unless the vault has its bytes; return its tree hash."""
        digest = digest_of(source, part, TreeHash())
        if upload.parts.get(f"{part.start}-{part.end - 1}") != digest.hex():
            send = self._part_sender(source, upload.id, part, digest.hex())
            try:
                self.vault.retrying(send, on=(StoreUnavailable, ArchiveCorrupt))
            except NotInVault as exc:
                raise StoreUnavailable(
                    f"The upload of archive {self.description.archive_id} to {self.vault.url()} ended meanwhile."
                ) from exc
        return digest

    def _part_sender(self, source: Source, upload_id: str, part: Part, checksum: str) -> Callable[[], None]:
        def send() -> None:
            self.rate_limit.take(part.size)
            reply = self.vault.once(
                "UploadMultipartPart",
                uploadId=upload_id,
                range=f"bytes {part.start}-{part.end - 1}/*",
                checksum=checksum,
                body=PartBody(source, part),
            )
            if reply.get("checksum", checksum) != checksum:
                raise ArchiveCorrupt(f"Part {part.number} arrived in {self.vault.url()} with another checksum.")

        return send

    # --- completion ---

    def _completed_before(self, source: Source, upload_id: str, part_size: int) -> Receipt | None:
        """Return the receipt of an upload that was completed a short while ago, or None."""
        digests = [digest_of(source, part, TreeHash()) for part in parts_of(source.size, part_size)]
        try:
            return replace(self.ask_to_complete(upload_id, source.size, combine(digests).hex()), adopted=True)
        except (NotInVault, RequestRejected, ArchiveCorrupt):
            return None

    def _complete(self, upload_id: str, size: int, digests: list[bytes]) -> Receipt:
        tree = combine(digests).hex()
        subject = f"The upload of archive {self.description.archive_id} to {self.vault.url()}"
        try:
            try:
                return self.ask_to_complete(upload_id, size, tree)
            except StoreUnavailable:
                if self.known(upload_id) is not None:
                    raise  # it was not completed: the next try goes on from here
                return replace(self.ask_to_complete(upload_id, size, tree), adopted=True)
        except NotInVault as exc:
            self.journal.forget()
            raise OutcomeUnknown(f"{subject} ended before it was completed here.") from exc
        except (RequestRejected, ArchiveCorrupt) as exc:
            self._abort(upload_id)
            self.journal.forget()
            raise StoreUnavailable(f"{subject} could not be completed; it begins anew. {exc.message}") from exc

    def ask_to_complete(self, upload_id: str, size: int, checksum: str) -> Receipt:
        """Make an archive of the parts by its size and tree hash (hex), also again; raise what the vault says else."""
        reply = self.vault.ask("CompleteMultipartUpload", uploadId=upload_id, archiveSize=str(size), checksum=checksum)
        key = str(reply["archiveId"])
        if reply.get("checksum", checksum) != checksum:
            raise ArchiveCorrupt(f"{self.vault.url(key)} was stored with another checksum than {checksum}.")
        return Receipt(self.vault.location(key), size, f"treehash:{checksum}")

    @property
    def _text(self) -> str:
        return description_text(self.description)


def open_uploads(vault: Vault, description: Description) -> Iterator[OpenUpload]:
    """Yield the uploads that the vault knows of one archive, without their parts."""
    for page in vault.pages("ListMultipartUploads", "UploadsList"):
        for entry in page:
            text = entry.get("ArchiveDescription") or ""
            told = description_from_text(text)
            if told is not None and is_same_archive(told, description):
                yield OpenUpload(entry["MultipartUploadId"], int(entry["PartSizeInBytes"]), text)


def abort(vault: Vault, upload_id: str) -> None:
    """Abort an upload; one that is gone is no error."""
    with suppress(NotInVault):
        vault.ask("AbortMultipartUpload", uploadId=upload_id)
