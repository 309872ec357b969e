"""The contract of an archive store. The callers of this package never ask which vendor they talk to.

A store holds immutable archives. Its methods may be called from several threads at once. They raise only the
`StoreError` family; a retryable one may be tried again, and trying again never makes a second archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar, runtime_checkable

from glacier_provider.core.archive import ArchiveKind, Description, Location, Receipt, StoredArchive
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.errors import StoreError
from glacier_provider.stores.rate_limit import RateLimit


class Source(Protocol):
    """Bytes that can be read at any place, several readers at once: a file, or an archive made of files."""

    @property
    def size(self) -> int: ...

    def read_at(self, start: int, size: int) -> bytes:
        """Return exactly `size` bytes from `start`; raise FileChanged when the source became shorter."""
        ...


class StreamSource(Source, Protocol):
    """A source that is still being made. `size` is what can be read of it now."""

    def wait_for(self, size: int) -> bool:
        """Wait until there are `size` bytes, or the source is at its end; return whether there are.

        Raise the error that ended it before its time.
        """
        ...

    def sent(self, start: int, size: int) -> None:
        """The store has these bytes; they are not read again."""
        ...


@dataclass(frozen=True, slots=True)
class UploadedParts:
    """All parts of an archive that is not completed yet: its size in bytes, and the checksum its receipt will have.

    `parts` is what the store that sent them knows of them; where it is not given, the store asks for them.
    """

    size: int
    checksum: str
    parts: tuple[object, ...] | None = field(default=None, repr=False, compare=False)


class UploadJournal(Protocol):
    """What a large upload remembers between processes. Each call is durable when it returns.

    A store that invents its keys keeps a completed upload in the journal: repeating the completion is the only way to
    learn the key again after a crash. Recording the archive in the catalog ends the journal in any case.
    """

    def upload_id(self) -> tuple[str, int] | None:
        """Return the id and part size (bytes) of an upload begun earlier, or None."""
        ...

    def began(self, upload_id: str, part_size: int) -> None:
        """Remember an upload just begun."""
        ...

    def forget(self) -> None:
        """The upload ended, or the store no longer knows it."""
        ...


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One archive asked back from the cold. `job_id` is None where a store needs none (S3)."""

    location: Location
    tier: str
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """What the store says about one archive.

    `status` is `available` (nothing requested, or expired), `pending` or `ready`; `expires_at` (aware) is set when
    ready; `failure` holds the store's words when it ended the retrieval without success (status `available`), `missing`
    tells that it does not have the archive.
    """

    key: str
    status: RetrievalStatus
    expires_at: datetime | None = None
    failure: str | None = None
    missing: bool = False


@dataclass(frozen=True, slots=True)
class StoreFeatures:
    """What a store can do. `retrieval` is False where archives can be read at once (GLACIER_IR, STANDARD)."""

    retrieval: bool
    tiers: tuple[str, ...]
    keeps_empty_archives: bool
    chooses_keys: bool  # the store's caller names the key beforehand; a vault invents an id instead


class ArchiveStore(Protocol):
    """Where archives sleep."""

    uri: str
    features: StoreFeatures
    rate_limit: RateLimit  #: how quickly archives are sent; whoever opens the store sets its rate

    def check(self) -> None:
        """Return when the store exists and may be written; raise StoreMissing, StoreDenied or StoreUnavailable."""
        ...

    def put(self, data: bytes, description: Description) -> Receipt:
        """Store a small archive in one request and return what the store confirmed.

        Write-once: when the archive is already there with the same content, return its receipt with
        `adopted`; when its place is taken by anything else, raise KeyTaken
        (OtherContent when that is the same archive with another content).
        """
        ...

    def put_large(self, source: Source, description: Description, journal: UploadJournal) -> Receipt:
        """Store an archive in parts; go on after the parts that the store already confirmed.

        The parts of an upload begun earlier are trusted by their checksums, not by their number alone. Write-once as
        `put`.
        """
        ...

    def upload_stream(
        self, source: StreamSource, description: Description, journal: UploadJournal, *, part_size: int
    ) -> UploadedParts:
        """Send an archive in parts of `part_size` bytes while it is being made; return when the store has them all.

        It is no archive before `complete_stream`. Always a new upload: what an earlier one left is aborted. Raise
        what ended the source; then, and after any other error, the upload stays as it is: `put_large` goes on with it,
        `abandon` aborts it.
        """
        ...

    def complete_stream(self, description: Description, journal: UploadJournal, sent: UploadedParts) -> Receipt | None:
        """Make an archive of the parts that were sent, perhaps by a process that died; return its receipt.

        None when they are not what was sent, or no longer there. Write-once as `put`.
        """
        ...

    def put_manifest(self, data: bytes, description: Description) -> Receipt:
        """Store a manifest where it can be read at once (S3 STANDARD); otherwise as `put`."""
        ...

    def abandon(self, description: Description) -> None:
        """Abort every upload in parts of this archive; when there is none, that is no error."""
        ...

    def request_retrieval(self, location: Location, *, tier: str, days: int, token: str) -> Retrieval:
        """Ask for one archive; a request that is already running or ready is joined, not paid twice.

        `token` names the request in the store's own records where it can carry one. `days` is how long the copy stays
        readable. Raise RetrievalRefused for a tier the class does not have, a capacity or a policy refusal.
        """
        ...

    def forget_retrievals(self) -> None:
        """Look anew before the next request: somebody else may have asked for the same, and not told."""
        ...

    def retrieval_reports(self, retrievals: Sequence[Retrieval]) -> Iterator[RetrievalReport]:
        """Yield one report for each, with as few requests as the store allows."""
        ...

    def read(self, location: Location, start: int, size: int, *, job_id: str | None = None) -> Iterator[bytes]:
        """Yield the bytes of a range; raise ArchiveCold when they are not readable now, ArchiveMissing when gone."""
        ...

    def read_into(
        self, location: Location, start: int, size: int, take: Callable[[bytes], object], *, job_id: str | None = None
    ) -> None:
        """Give the bytes of a range to `take`, in pieces and in order, as quickly as the store can; raise as `read`.

        What `take` raises ends it and comes through.
        """
        ...

    def delete(self, location: Location) -> None:
        """Delete one archive; deleting what is gone is no error."""
        ...

    def delete_all(self, archives: Sequence[tuple[str, Description]]) -> Mapping[str, StoreError]:
        """Delete archives, each given by its key and by what it is, with as few requests as the store allows.

        Return why some of them, by key, could not be deleted. A key that is not one of the archive described is
        left alone and is among them.
        """
        ...

    def note_deletion(self, application: str, backup_id: int, manifest_sha256: str) -> None:
        """Remember that a backup was deleted whose manifest stays; a store without a place for it does nothing."""
        ...

    def noted_deletions(self, application: str) -> Iterator[str]:
        """Yield the SHA-256 of manifests whose backups were deleted, as `note_deletion` was told."""
        ...

    def ids_in_use(self, application: str, *, archive_id: int, backup_id: int) -> tuple[int, int]:
        """Return the highest ids of archives and backups in the keys of an application: at least those given.

        A few requests, however many archives there are. Where the store invents its keys no id can be in the way, and
        those given are returned.
        """
        ...

    def archives(
        self, application: str | None = None, *, kind: ArchiveKind | None = None, described: bool = True
    ) -> Iterator[StoredArchive]:
        """Yield what the store holds, manifests included, in the store's own order; only one `kind` when it is given.

        Descriptions can cost a request each: a caller that knows them from elsewhere asks for `described=False` and
        gets `description` None wherever it would cost one.
        """
        ...

    def listed_as_of(self) -> datetime | None:
        """Return of which moment (aware) `archives` tells: everything that was in the store before it is there.

        None while there is nothing to tell from: a vault is asked for its inventory then, which takes some hours.
        """
        ...

    def refresh_listing(self) -> None:
        """Have a newer listing made, where that takes its time; otherwise nothing is to be done."""
        ...

    def described(self, keys: Iterable[str]) -> Iterator[StoredArchive]:
        """Yield these archives with their descriptions and checksums, in no certain order; what is gone is left out."""
        ...


class HasId(Protocol):
    """What is known by a number."""

    @property
    def id(self) -> int: ...


class PlannedFile(HasId, Protocol):
    """A file to send, as the catalog planned it."""

    @property
    def backup_id(self) -> int: ...

    @property
    def filename(self) -> str: ...

    @property
    def written_by(self) -> str | None: ...


_File = TypeVar("_File", bound=PlannedFile)
_Item = TypeVar("_Item", bound=HasId)
_Told = TypeVar("_Told", covariant=True)


@dataclass(frozen=True, slots=True)
class SmallFiles:
    """Where many files are read, and how: `settle_seconds` as `open_source`, none of more than `largest` bytes."""

    application: str
    directory: str
    settle_seconds: float
    largest: int


class SentFile(NamedTuple):
    """What the store proved to have: key, size in bytes, hex SHA-256."""

    key: str
    size: int
    sha256: str


class WantedFile(NamedTuple):
    """A small archive to bring to its place: `size` in bytes, `sha256` in hex."""

    id: int
    key: str
    filename: str
    size: int
    sha256: str


class PlacedFile(NamedTuple):
    """A file that is in its place, verified and durable."""

    mtime_ns: int
    inode: int


class WantedRetrieval(NamedTuple):
    """An archive to ask for: by the id of its retrieval."""

    id: int
    key: str


class Pool(Protocol[_Item, _Told]):
    """Processes that work off many items. A context manager: they end with it, whatever they have under way."""

    def send(self, items: Iterable[_Item]) -> Iterator[tuple[_Item, _Told | None]]:
        """Give out items and yield what became of any of them; None for one that is to be done with care.

        Returns when all of `items` are given out; what is still on its way comes with the next call, or from `rest`.
        """
        ...

    def rest(self) -> Iterator[tuple[_Item, _Told | None]]:
        """Yield what became of all that is still on its way."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class HasUploadPool(Protocol):
    """What a store can have beside the contract: processes that send many small files."""

    def upload_pool(self, files: SmallFiles, *, processes: int, connections: int) -> Pool[_File, SentFile] | None:
        """Start so many processes, with so many requests on their way in all; None where they would be of no use."""
        ...


@runtime_checkable
class HasRestorePools(Protocol):
    """What a store can have beside the contract: processes that ask for many small archives, and bring them.

    Each calls `may_go_on`, in the caller's process, before it does what cannot be taken back; what that raises comes
    through. None where processes would be of no use.
    """

    def request_pool(
        self, *, tier: str, days: int, may_go_on: Callable[[], None], processes: int, connections: int
    ) -> Pool[WantedRetrieval, bool] | None:
        """Start processes that ask for readable copies; raise RetrievalRefused as `request_retrieval`."""
        ...

    def download_pool(
        self, directory: str, *, may_go_on: Callable[[], None], processes: int, connections: int
    ) -> Pool[WantedFile, PlacedFile] | None:
        """Start processes that bring archives into a directory, where their names are free."""
        ...


@runtime_checkable
class TellsEnded(Protocol):
    """What a store can have beside the contract: it knows a retrieval by the archive's key alone."""

    def ended_retrievals(self, keys: Sequence[str]) -> Iterator[RetrievalReport]:
        """Yield a report, as `retrieval_reports`, for each key whose retrieval is not under way; for others none."""
        ...


class ListedPart(NamedTuple):
    """A part of a listing: all archives up to the key `until`, that one included; None: to the end."""

    archives: list[StoredArchive]
    until: str | None


class OldVersion(NamedTuple):
    """What a versioned bucket keeps beside the current objects.

    A delete marker (`marker`) that `hides` is the newest of its key: there is no current object.
    """

    key: str
    size: int
    marker: bool
    hides: bool


@runtime_checkable
class IsWatched(Protocol):
    """What a store can have beside the contract: cheap looks at what it holds, a few requests each."""

    def marker(self, application: str) -> bytes | None:
        """Return what `leave_marker` left; None when there is none. Raise StoreDenied where it may not be read."""
        ...

    def leave_marker(self, application: str, data: bytes) -> None:
        """Leave a few bytes by which this store is known again, readable at once. They take the place of others."""
        ...

    def listed_after(self, application: str, key: str, *, pages: int) -> ListedPart:
        """Return what lies behind `key` ("": everything), by key, without descriptions: so many requests' worth."""
        ...

    def look_back(self, archive: StoredArchive) -> None:
        """Ask for an archive that was just written, and for its first byte, as a restore will.

        Raise ArchiveMissing, ArchiveCorrupt when it has another size or checksum, StoreDenied when these credentials
        may not read it. An archive that is cold may be read once it is retrieved: that is no error.
        """
        ...


@runtime_checkable
class KeepsEvidence(Protocol):
    """What a store can have beside the contract: documents that are no archives, and can be read at once."""

    def put_evidence(self, application: str, number: int, data: bytes, *, written_by: str | None) -> str:
        """Store the document of this number and return its key; raise KeyTaken where another one lies.

        One that is there already with these very bytes is the same.
        """
        ...

    def evidence(self, application: str, *, after: int = 0, longest: int) -> Iterator[tuple[int, bytes, str]]:
        """Yield documents with a higher number, in their order: number, bytes, key; of each one byte more than
        `longest` at most."""
        ...


@runtime_checkable
class KeepsVersions(Protocol):
    """What a store can have beside the contract: versions that were replaced or deleted, and locks."""

    def old_versions(self, application: str) -> Iterator[OldVersion] | None:
        """Yield what is kept beside the current archives; None where nothing is.

        Raise StoreDenied where these credentials may not look, at once or when it is gone through.
        """
        ...

    @property
    def locked_days(self) -> int | None:
        """For how many days archives are locked against deletion; None: not at all."""
        ...

    def locked_until(self, key: str) -> datetime | None:
        """Return until when one archive is locked; None: it is not, or not there."""
        ...


#: Returns the store of an archive by its URI: an archive stays where it was made, also after the configuration named
#: another store.
Stores = Callable[[str], ArchiveStore]
