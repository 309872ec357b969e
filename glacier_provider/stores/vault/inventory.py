"""What a vault holds, as its newest inventory tells.

AWS takes an inventory about once a day, and a job of some hours brings it
(https://docs.aws.amazon.com/amazonglacier/latest/dev/vault-inventory.html). So it tells what was there about a day ago:
an archive that it lacks may be there, and one that it names may be deleted.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider.core.told import ToldWrong, checked_size, checked_text
from glacier_provider.errors import ArchiveCold, ArchiveCorrupt, NotInVault, StoreUnavailable
from glacier_provider.stores.vault.calls import Vault
from glacier_provider.stores.vault.jobs import INVENTORY, Job, list_jobs
from glacier_provider.stores.vault.output import read_output

TOKEN = "glacier-provider inventory"

#: An archive may have been in the vault for so long, and be in no inventory yet.
INVENTORY_LAG = timedelta(hours=24)

#: The date stands at the beginning of an inventory, before the archives; so much of it is read, in bytes.
HEAD = 4096

#: What no id and no element of an inventory comes near, in characters.
LONGEST_ID = 1024
LONGEST_VALUE = 32 << 20


def inventory_entries(vault: Vault, *, now: Callable[[], datetime]) -> Iterator[dict[str, Any]]:
    """Yield the entries of the newest inventory: ArchiveId, ArchiveDescription, CreationDate, Size, SHA256TreeHash.

    Whatever their number, a window of the inventory is in memory. Raise StoreUnavailable when there is none to be read
    yet: it is being made then.
    """
    job = newest_inventory(vault, now())
    if job is None:
        request_inventory(vault)
        raise StoreUnavailable(
            f"The inventory of {vault.url()} is being made; that takes about 4 hours.", hint="Try again then."
        )
    if job.inventory_size is None:
        raise StoreUnavailable(f"The vault does not tell the size of the inventory of {vault.url()}.")
    try:
        for entry in parse_entries(read_output(vault, job.id, 0, job.inventory_size)):
            checked_text(entry["ArchiveId"], LONGEST_ID, "an ArchiveId")
            checked_size(entry.get("Size"), "the Size of an archive")
            yield entry
    except ToldWrong as exc:
        raise ArchiveCorrupt(f"The inventory of {vault.url()} cannot be read ({exc}).") from exc
    except ArchiveCold as exc:
        raise StoreUnavailable(
            f"The inventory of {vault.url()} expired while it was read.", hint="The next try has a new one made."
        ) from exc


def creation_date(entry: dict[str, Any]) -> datetime | None:
    """Return when the vault took an archive, or None where its entry does not tell."""
    try:
        at = datetime.fromisoformat(entry["CreationDate"])
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def newest_inventory(vault: Vault, now: datetime) -> Job | None:
    """Return the job whose whole inventory can be read now and that was done last, or None."""
    done = [job for page in list_jobs(vault, statuscode="Succeeded") for job in page if _is_whole_inventory(job)]
    readable = [(job.completed_at, job.id, job) for job in done if job.completed_at and (job.expires_at or now) > now]
    return max(readable)[2] if readable else None


def inventory_date(vault: Vault, job: Job) -> datetime:
    """Return when the inventory that a job brought was taken; raise StoreUnavailable when its output is gone.

    Its date stands before the archives, as a rule; members of JSON have no order, and then all of it is read.
    """
    whole = job.inventory_size or 0
    try:
        for size in sorted({min(whole, HEAD), whole}):
            try:
                return _date_in(read_output(vault, job.id, 0, size))
            except (ValueError, RecursionError, OverflowError) as exc:
                why = exc
    except ArchiveCold as exc:
        raise StoreUnavailable(
            f"The inventory of {vault.url()} expired.", hint="The next try has a new one made."
        ) from exc
    raise ArchiveCorrupt(f"The inventory of {vault.url()} does not tell its date ({why}).") from why


def _date_in(chunks: Iterator[bytes]) -> datetime:
    """Return the InventoryDate of an inventory that comes in pieces; raise ValueError where there is none."""
    text = _Text(chunks)
    text.expect("{")
    while (name := text.value()) != "InventoryDate":
        text.expect(":")
        if name == "ArchiveList":
            for _ in _elements(text):
                pass
        else:
            text.value()
        if text.expect(",}") == "}":
            raise ValueError("no InventoryDate")
    text.expect(":")
    taken = datetime.fromisoformat(str(text.value()))
    return taken if taken.tzinfo else taken.replace(tzinfo=UTC)


def request_inventory(vault: Vault) -> str:
    """Return the id of the job that makes an inventory: one that runs already, or a new one.

    Raise StoreUnavailable for a vault so new that AWS has not looked at it yet. A reply that was lost is not asked for
    again: the next call finds the job.
    """
    running = [job for page in list_jobs(vault, statuscode="InProgress") for job in page if _is_whole_inventory(job)]
    if running:
        return running[0].id
    parameters = {"Type": "inventory-retrieval", "Format": "JSON", "Description": TOKEN}
    try:
        return str(vault.once("InitiateJob", jobParameters=parameters)["jobId"])
    except NotInVault as exc:
        raise StoreUnavailable(
            f"{vault.url()} has no inventory yet: AWS takes the first one about a day after the first upload.",
            hint="Try again then.",
        ) from exc


def _is_whole_inventory(job: Job) -> bool:
    parameters = job.parameters or {}
    partial = any(parameters.get(name) for name in ("StartDate", "EndDate", "Limit", "Marker"))
    return job.action == INVENTORY and not partial and (parameters.get("Format") or "JSON") == "JSON"


def parse_entries(chunks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the elements of ArchiveList of an inventory in JSON as they come in.

    Raise ArchiveCorrupt when it ends too early, or is no inventory.
    """
    text = _Text(chunks)
    try:
        text.expect("{")
        while True:
            name = text.value()
            text.expect(":")
            if name == "ArchiveList":
                yield from _elements(text)
            else:
                text.value()
            if text.expect(",}") == "}":
                return
    except (ValueError, RecursionError) as exc:
        raise ArchiveCorrupt(f"The inventory cannot be read ({exc}).", hint="The next try reads it again.") from exc


def _elements(text: _Text) -> Iterator[dict[str, Any]]:
    text.expect("[")
    if text.peek() == "]":
        text.expect("]")
        return
    while True:
        element = text.value()
        if not isinstance(element, dict) or not isinstance(element.get("ArchiveId"), str):
            raise ValueError("an element of ArchiveList is no archive")
        yield element
        if text.expect(",]") == "]":
            return


class _Text:
    """JSON text that comes in pieces, read value by value."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._json = json.JSONDecoder()
        self._buffer = ""
        self._position = 0

    def peek(self) -> str:
        """Return the next character that is no space; raise ValueError at the end."""
        while True:
            while self._position < len(self._buffer) and self._buffer[self._position] in " \t\r\n":
                self._position += 1
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            self._more()

    def expect(self, allowed: str) -> str:
        """Take the next character and return it; raise ValueError when it is none of these."""
        found = self.peek()
        if found not in allowed:
            raise ValueError(f"{found!r} stands where one of {allowed!r} is expected")
        self._position += 1
        return found

    def value(self) -> Any:
        """Take the next value and return it. No value is the last thing of the text, so one that ends it is cut."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._buffer, self._position)
            except ValueError:
                if len(self._buffer) - self._position > LONGEST_VALUE:
                    raise ValueError("a value of it has no end") from None
                self._more()
                continue
            if end < len(self._buffer):
                self._position = end
                return value
            self._more()

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise ValueError("it ends too early")
        self._buffer = self._buffer[self._position :] + self._decode.decode(chunk)
        self._position = 0
