"""The vault store: archives in one vault of the original Glacier API (2012-06-01).

**Once, although a vault has no names.** A vault invents the id of each archive, and an archive whose id is not known
cannot be seen for about a day. Four rules follow:

1. No request that would make a second archive or a second paid job is ever resent blindly: the client sends each
   request once, and `calls` repeats only what may be repeated.
2. A small archive takes one UploadArchive, since multipart takes three requests and a request is what small archives
   cost. When its outcome is unknown (a lost reply, a time-out, a 5xx), the archive is sent in one part instead: from
   then on every step may be repeated, so that one unclear moment leaves at most one copy too many. The receipt says so
   (`maybe_twice`), and so does the log. If that fails too, OutcomeUnknown is raised.
3. A large archive always goes in parts, also if it is one part: a journal and the repeated Complete make it exactly one
   (see `upload` for the limits of that).
4. Every archive names its application and its archive id in its description, so that a copy that nobody knows is
   recognised in the inventory (`archives`): it is adopted when the catalog lacks the archive, deleted when the
   catalog has it under another id. This also finds what a process that was killed between request and catalog left.

A vault keeps no empty archives, and nothing in it can be read at once, manifests included.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from glacier_provider.core.archive import ArchiveKind, Description, Location, Receipt, StoredArchive
from glacier_provider.core.parts import MIB
from glacier_provider.core.store_uri import VaultUri
from glacier_provider.core.tiers import retrieval_hours
from glacier_provider.core.told import is_sha256
from glacier_provider.core.treehash import tree_hash
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    NotInVault,
    OutcomeUnknown,
    RetrievalRefused,
    StoreError,
    StoreUnavailable,
)
from glacier_provider.stores.contract import (
    Retrieval,
    RetrievalReport,
    Source,
    StoreFeatures,
    StreamSource,
    UploadedParts,
    UploadJournal,
)
from glacier_provider.stores.rate_limit import RateLimit
from glacier_provider.stores.vault.calls import Vault, check_sends_once, may_have_happened, pause
from glacier_provider.stores.vault.descriptions import description_from_text, description_text
from glacier_provider.stores.vault.inventory import (
    INVENTORY_LAG,
    creation_date,
    inventory_date,
    inventory_entries,
    newest_inventory,
    request_inventory,
)
from glacier_provider.stores.vault.jobs import ArchiveJobs
from glacier_provider.stores.vault.output import read_output
from glacier_provider.stores.vault.stream import VaultStreamUpload
from glacier_provider.stores.vault.upload import VaultUpload, abort, open_uploads

log = logging.getLogger(__name__)

_DELETING = 16  #: archives that are deleted at once


def vault_client_config(uri: VaultUri) -> Any:
    """Return the botocore Config that the store needs of its client; merge it with that of the AWS connection.

    Each request is sent once: with botocore's own retries a lost reply to UploadArchive makes a second archive that
    nobody knows. The read timeout leaves room for the completion of large uploads.
    """
    from botocore.config import Config

    from glacier_provider import __version__

    region = {"region_name": uri.region} if uri.region else {}
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=64,
        connect_timeout=10,
        read_timeout=180,
        tcp_keepalive=True,
        user_agent_extra=f"glacier-provider/{__version__}",
        **region,
    )


class VaultStore:
    """An `ArchiveStore` on one vault; see the protocol for the contract of each method.

    `client` is a boto3 Glacier client made with `vault_client_config`; ConfigurationError for one that resends.
    `part_size` (bytes, a power of two) is that of large uploads up to 10,000 parts; `parts_in_flight` of them are sent
    at once, each with about 1 MiB in memory. `attempts` is how often a request that may be repeated is sent at most.
    `now` tells the time, to know what has expired. `spelled` as that of `S3Store`.

    Permissions: glacier:DescribeVault, UploadArchive, InitiateMultipartUpload, UploadMultipartPart, ListParts,
    ListMultipartUploads, CompleteMultipartUpload, AbortMultipartUpload, InitiateJob, DescribeJob, ListJobs,
    GetJobOutput and DeleteArchive, all on the vault; with `sns_topic` also sns:Publish for the vault on that topic.
    """

    def __init__(
        self,
        uri: VaultUri,
        *,
        client: Any,
        part_size: int = 16 * MIB,
        parts_in_flight: int = 4,
        attempts: int = 5,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        spelled: str | None = None,
    ) -> None:
        check_sends_once(client)
        self.uri = spelled or str(uri)
        self.rate_limit = RateLimit()
        self.features = StoreFeatures(
            retrieval=True, tiers=tuple(retrieval_hours(self.uri)), keeps_empty_archives=False, chooses_keys=False
        )
        self._vault = Vault(uri, client, attempts, self.uri)
        self._jobs = ArchiveJobs(self._vault, now=now)
        self._part_size = part_size
        self._parts_in_flight = parts_in_flight
        self._now = now
        self._maybe_stored: set[str] = set()  # descriptions of small archives that may be in the vault already

    def check(self) -> None:
        """Ask for the vault, then begin and abort an upload: that proves write access and stores nothing.

        An account that AWS has closed vaults to gets StoreDenied with the way out.
        """
        vault = self._vault
        vault.ask("DescribeVault")
        reply = vault.ask("InitiateMultipartUpload", archiveDescription="glacier-provider check", partSize=str(MIB))
        abort(vault, reply["uploadId"])  # one that is gone, when the process slept for a day, is aborted

    def put(self, data: bytes, description: Description) -> Receipt:
        """Store a small archive by one UploadArchive, or in one part when the outcome of that is unknown."""
        _refuse_empty(len(data), description)
        known = replace(description, size=len(data))
        self.rate_limit.take(len(data))
        if description_text(known) in self._maybe_stored:
            return self._put_repeatably(data, known)
        try:
            return self._upload_archive(data, known)
        except StoreUnavailable as exc:
            if not may_have_happened(exc):
                raise
            self._maybe_stored.add(description_text(known))
            log.warning(
                "It is not known whether archive %d of %s is in %s; it is sent again, in a way that can be repeated. "
                "Should it be there twice, the inventory shows it. %s",
                known.archive_id,
                known.application,
                self._vault.url(),
                exc.message,
            )
            return self._put_repeatably(data, known)

    def put_manifest(self, data: bytes, description: Description) -> Receipt:
        return self.put(data, description)

    def put_large(self, source: Source, description: Description, journal: UploadJournal) -> Receipt:
        """Store an archive in parts. The journal keeps the upload after its end, until the catalog has the receipt."""
        _refuse_empty(source.size, description)
        described = replace(description, size=source.size)
        return self._upload(described, journal).run(source, self._part_size)

    def upload_stream(
        self, source: StreamSource, description: Description, journal: UploadJournal, *, part_size: int
    ) -> UploadedParts:
        return VaultStreamUpload(self._upload(description, journal)).send(source, part_size)

    def complete_stream(self, description: Description, journal: UploadJournal, sent: UploadedParts) -> Receipt | None:
        return VaultStreamUpload(self._upload(description, journal)).complete(sent)

    def _upload(self, description: Description, journal: UploadJournal) -> VaultUpload:
        return VaultUpload(self._vault, description, journal, self._parts_in_flight, self.rate_limit)

    def abandon(self, description: Description) -> None:
        for upload in list(open_uploads(self._vault, description)):
            abort(self._vault, upload.id)

    def request_retrieval(self, location: Location, *, tier: str, days: int, token: str) -> Retrieval:
        """Have a job bring the archive; `token` becomes its description.

        A vault offers what a job brought for 24 hours, however many `days` are wished for: who needs it longer asks
        again before the end.
        """
        if days < 1:
            raise RetrievalRefused(f"{days} days is not how long a copy can be kept.", hint="Ask for at least one day.")
        if tier not in self.features.tiers:
            raise RetrievalRefused(
                f"A vault has no {tier} retrieval ({self._vault.url(location.key)}).",
                hint=f"Use one of: {', '.join(self.features.tiers)}.",
            )
        return Retrieval(location, tier, self._jobs.request(location, tier=tier, token=token))

    def retrieval_reports(self, retrievals: Sequence[Retrieval]) -> Iterator[RetrievalReport]:
        return iter(self._jobs.reports(retrievals))

    def read(self, location: Location, start: int, size: int, *, job_id: str | None = None) -> Iterator[bytes]:
        """Yield the bytes of a range from the output of a job for the whole archive, in windows of up to 8 MiB.

        Each window is verified against the vault's checksum for it, where the range allows one, before it is yielded.
        """
        if size == 0:
            return
        if job_id is None:
            raise ArchiveCold(f"No job brings {self._vault.url(location.key)}.")
        yield from read_output(self._vault, job_id, start, size, key=location.key)

    def read_into(
        self, location: Location, start: int, size: int, take: Callable[[bytes], object], *, job_id: str | None = None
    ) -> None:
        for chunk in self.read(location, start, size, job_id=job_id):
            take(chunk)

    def delete(self, location: Location) -> None:
        try:
            self._vault.ask("DeleteArchive", location.key, archiveId=location.key)
        except NotInVault:
            log.info("%s was not there to be deleted.", self._vault.url(location.key))

    def delete_all(self, archives: Sequence[tuple[str, Description]]) -> Mapping[str, StoreError]:
        """Delete archives one by one, several at once: a vault has no request for many."""
        keys = [key for key, _ in archives]
        with ThreadPoolExecutor(_DELETING, thread_name_prefix="vault-delete") as pool:
            answers = list(pool.map(self._try_to_delete, keys))
        return {key: answer for key, answer in zip(keys, answers, strict=True) if answer is not None}

    def _try_to_delete(self, key: str) -> StoreError | None:
        try:
            self.delete(self._vault.location(key))
        except StoreError as error:
            return error
        return None

    def note_deletion(self, application: str, backup_id: int, manifest_sha256: str) -> None:
        pass  # an archive that would have to be paid for, for ever

    def noted_deletions(self, application: str) -> Iterator[str]:  # noqa: ARG002
        return iter(())

    def ids_in_use(self, application: str, *, archive_id: int, backup_id: int) -> tuple[int, int]:  # noqa: ARG002
        return archive_id, backup_id

    def archives(
        self,
        application: str | None = None,
        *,
        kind: ArchiveKind | None = None,
        described: bool = True,  # noqa: ARG002
    ) -> Iterator[StoredArchive]:
        """Yield what the newest inventory tells, about a day old; descriptions and checksums cost nothing.

        Raise StoreUnavailable, which says how long to wait, while the inventory is being made.
        """
        for entry in inventory_entries(self._vault, now=self._now):
            text, tree = entry.get("ArchiveDescription"), entry.get("SHA256TreeHash")
            description = description_from_text(text, size=entry["Size"]) if isinstance(text, str) else None
            if application is not None and (description is None or description.application != application):
                continue
            if kind is not None and (description is None or description.kind is not kind):
                continue
            yield StoredArchive(
                key=entry["ArchiveId"],
                size=entry["Size"],
                description=description,
                checksum=f"treehash:{tree}" if isinstance(tree, str) and is_sha256(tree) else None,
                created_at=creation_date(entry),
            )

    def listed_as_of(self) -> datetime | None:
        """Return when AWS took the newest inventory that can be read, less what it may take to show an archive.

        AWS takes no new inventory of a vault that did not change. When one was brought long after it was taken, nothing
        was on its way into it either: an archive that came too late for it would have had the next one taken.
        """
        job = newest_inventory(self._vault, self._now())
        if job is None:
            self.refresh_listing()
            return None
        taken = inventory_date(self._vault, job)
        unchanged = job.completed_at is not None and job.completed_at - taken >= 2 * INVENTORY_LAG
        return taken if unchanged else taken - INVENTORY_LAG

    def forget_retrievals(self) -> None:
        self._jobs.forget()

    def refresh_listing(self) -> None:
        try:
            request_inventory(self._vault)
        except StoreUnavailable as exc:  # AWS has not looked at it yet, or no answer came: the next call sees
            log.info("%s", exc)

    def described(self, keys: Iterable[str]) -> Iterator[StoredArchive]:
        """Yield these archives as the newest inventory describes them."""
        wanted = frozenset(keys)
        return (archive for archive in self.archives() if archive.key in wanted) if wanted else iter(())

    def request_inventory(self) -> str:
        """Have a new inventory brought, also while an older one can be read; return the id of its job."""
        return request_inventory(self._vault)

    def _upload_archive(self, data: bytes, description: Description) -> Receipt:
        """Send an archive by one request. Only a refusal to do it now is followed by another."""
        checksum = tree_hash(data).hex()
        for attempt in range(1, self._vault.attempts + 1):
            try:
                reply = self._vault.once(
                    "UploadArchive", archiveDescription=description_text(description), checksum=checksum, body=data
                )
                break
            except (StoreUnavailable, ArchiveCorrupt) as exc:
                if attempt == self._vault.attempts or may_have_happened(exc):
                    raise
            pause(attempt)
        key = str(reply["archiveId"])
        if reply.get("checksum", checksum) != checksum:
            raise StoreError(f"{self._vault.url(key)} was stored with checksum {reply['checksum']}, not {checksum}.")
        return Receipt(self._vault.location(key), len(data), f"treehash:{checksum}")

    def _put_repeatably(self, data: bytes, description: Description) -> Receipt:
        upload = VaultUpload(self._vault, description, _NoJournal(), parts_in_flight=1)
        try:
            receipt = upload.run(_Memory(data), self._part_size, maybe_twice=True)
        except StoreUnavailable as exc:
            raise OutcomeUnknown(
                f"Archive {description.archive_id} of {description.application} may be in {self._vault.url()}. "
                f"{exc.message}"
            ) from exc
        self._maybe_stored.discard(description_text(description))
        return receipt


def _refuse_empty(size: int, description: Description) -> None:
    if size == 0:
        raise StoreError(
            f"Archive {description.archive_id} of {description.application} is empty; a vault keeps no empty archives.",
            hint="Keep it in the catalog and the manifest alone.",
        )


class _Memory:
    """A source in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, start: int, size: int) -> bytes:
        return self._data[start : start + size]


class _NoJournal:
    """The memory of an upload that is small enough to begin anew: what it leaves is found by its description."""

    def upload_id(self) -> tuple[str, int] | None:
        return None

    def began(self, upload_id: str, part_size: int) -> None:
        pass

    def forget(self) -> None:
        pass
