"""`download_archives`: the dump into staging, files to their places, each verified first."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Self

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import ArchiveKind, Location
from glacier_provider.core.checksum import Pieces, Verifier, pieces_of
from glacier_provider.core.parts import MIB, READ_AT_ONCE, Part, parts_of
from glacier_provider.core.proof import few_enough
from glacier_provider.core.status import BY_BATCH_JOB, RetrievalStatus
from glacier_provider.core.text import counted
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ArchiveMissing,
    ContentDiffers,
    FileChanged,
    FileMissing,
    FileUnreadable,
    GlacierProviderError,
    IllegalMove,
    LeaseLost,
    NameTaken,
    ReadFailed,
    UnsafePath,
)
from glacier_provider.files import PendingFile, Placed, Placement, Root, move_back, open_source
from glacier_provider.files.names import name_parts
from glacier_provider.files.walk import LARGEST_INODE, kept_mtime
from glacier_provider.pipelines.restore.elsewhere import (
    Elsewhere,
    claim_directory,
    in_place,
    require_claimed,
    target_place_of,
)
from glacier_provider.pipelines.restore.lost import leave_evidence_of_lost, note_corrupt, note_lost, settle_lost
from glacier_provider.pipelines.restore.pools import Pools
from glacier_provider.pipelines.restore.request import COLD_THOUGH_READABLE
from glacier_provider.pipelines.restore.step import (
    is_usable_aside,
    lies_aside,
    require_same,
    shared_step,
    staged_version,
)
from glacier_provider.pipelines.shared.errors import GatheredErrors
from glacier_provider.pipelines.shared.group import GROUP, GroupCommit
from glacier_provider.pipelines.shared.lease import asked_often
from glacier_provider.pipelines.shared.parallel import in_parallel
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.shared.staging import staging_directory_of
from glacier_provider.staging import prepare_staging
from glacier_provider.stores.contract import ArchiveStore, HasRestorePools, PlacedFile, Pool, Stores, WantedFile
from glacier_provider.stores.multipart import send_parts

log = logging.getLogger(__name__)

#: Archives up to this size come one by one, many at a time; larger ones alone, by runs of this size, so many at once:
#: while some wait for the disk, others come and are hashed. Memory holds a block and a piece of the answer of each.
SMALL = 16 * MIB
READ_WHOLE = 4 * MIB
RUNS_AT_ONCE = 8
BLOCK = MIB
#: What processes brought is noted in groups of so many, or after this time.
_POOL_GROUP = 500
_GROUP_SECONDS = 2.0
_PLAIN_CHECKSUM = "sha256:"
#: What is kept of an archive that has to be asked for again: it may be all of a million.
_COLD = ("id", "status", "source", "store_uri")
#: So often bytes are asked for that differ from their checksum, before the store is believed to have them so.
TRIES = 3

_Answers = Generator[tuple[Row, GlacierProviderError | None]]


def download_archives(
    application: Application,
    restore_id: int,
    wanted: ArchiveRange,
    *,
    catalog: Catalog,
    stores: Stores,
    elsewhere: Elsewhere | None = None,
) -> dict[str, int]:
    """Bring a range of the restore: the dump into staging, files to their places, each verified first.

    Files are only added: a name that is taken keeps what it has. Return `archives` and `bytes` that were brought.
    Raise ArchiveCold when an offer ended meanwhile: what is in place stays, and the rest has to be requested again.
    Raise OutOfSpace as soon as the disk is full, and what ends all when nothing has come for ten minutes.
    """
    with shared_step(catalog, restore_id, f"the download from {wanted.first} on") as may_go_on:
        place = target_place_of(application, catalog.restores.get(restore_id), elsewhere)
        if place is not None and place.target.takes_files:
            claim_directory(place, catalog=catalog)
            may_go_on = _both(may_go_on, asked_often(lambda: require_claimed(place)))
        return _download(application, restore_id, wanted, catalog=catalog, stores=stores, may_go_on=may_go_on)


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def ask() -> None:
        first()
        second()

    return ask


def _download(
    application: Application,
    restore_id: int,
    wanted: ArchiveRange,
    *,
    catalog: Catalog,
    stores: Stores,
    may_go_on: Callable[[], None],
) -> dict[str, int]:
    staged = staging_directory_of(application, "restore", restore_id)
    prepare_staging(application.staging_directory, staged.name)
    restore = catalog.restores.get(restore_id)
    adds = bool(restore["request"].get("only_files"))
    is_elsewhere, own_files = bool(restore["request"].get("into")), application.files_directory
    application = in_place(application, restore)
    size = catalog.restores.bytes_of(restore_id, wanted)
    progress = Progress(log, "Restored", archives=wanted.archives, size=size)
    cold: list[Row] = []
    lost: list[int] = []
    corrupt: list[tuple[Row, ContentDiffers]] = []
    failures = GatheredErrors("archive", "could not be brought")
    note = _note_placed_elsewhere if is_elsewhere else _note_placed

    def note_group(rows: list[Row]) -> None:
        files.require_its_path()
        note(application, restore_id, rows, catalog)

    placed: GroupCommit[Row] = GroupCommit(note_group, size=_POOL_GROUP, seconds=_GROUP_SECONDS)

    def take(answers: _Answers) -> None:
        with closing(answers):  # whatever ends it, no thread is at it any more
            for row, answer in answers:
                note_answer(row, answer)

    def note_answer(row: Row, answer: GlacierProviderError | None) -> None:
        if isinstance(answer, ArchiveCold):
            cold.append({name: row[name] for name in _COLD})
        elif isinstance(answer, ArchiveMissing):
            lost.append(row["id"])
        elif isinstance(answer, ContentDiffers):
            corrupt.append((row, answer))
        elif isinstance(answer, IllegalMove | LeaseLost):
            raise answer  # the restore is over, or its place another one's
        elif isinstance(answer, GlacierProviderError):
            failures.add(row["filename"], answer)
        else:
            failures.succeeded()
            placed.add(row)
            progress.add(1, row["stored_size"])

    with Placement(application.files_directory) as files, Placement(staged) as staging:
        placer = _Placer(
            application, files, staging, stores=stores, may_go_on=may_go_on, own_files=own_files, adds=adds
        )
        with _Fetching(application, wanted, placer, stores=stores, may_go_on=may_go_on) as fetching:
            for rows in catalog.restores.to_place(restore_id, wanted, orphan_directory=application.orphan_directory):
                with placed:
                    take(fetching.brought(rows))
            with placed:
                take(fetching.rest())
        if fetching.by_processes:
            files.clear_temporary()  # of processes that ended early
    progress.say()
    catalog.restores.fetch_from_store_instead(restore_id, placer.no_longer_aside)
    new = note_lost(lost, restore_id, catalog=catalog)
    if few_enough(len(corrupt), of=progress.archives + len(corrupt)):
        new += note_corrupt([row["id"] for row, _ in corrupt], restore_id, catalog=catalog)
    else:
        for row, error in corrupt:
            failures.add(row["filename"], error)
    leave_evidence_of_lost(application, new, restore_id, catalog=catalog, stores=stores)
    settle_lost(restore_id, catalog=catalog)
    _raise_not_brought(restore_id, cold, failures, catalog=catalog, stores=stores)
    return {"archives": progress.archives, "bytes": progress.bytes}


class _Fetching:
    """Brings pages of archives: small ones by processes, where these are of use, or many at a time; large ones one
    after the other, each by several pieces at a time.
    """

    def __init__(
        self,
        application: Application,
        wanted: ArchiveRange,
        placer: _Placer,
        *,
        stores: Stores,
        may_go_on: Callable[[], None],
    ) -> None:
        def start(uri: str, processes: int) -> Pool[WantedFile, PlacedFile] | None:
            store = stores(uri)
            if not isinstance(store, HasRestorePools):
                return None
            return store.download_pool(
                application.files_directory,
                may_go_on=may_go_on,
                processes=processes,
                connections=application.connections,
            )

        self._pools: Pools[WantedFile, PlacedFile] = Pools(application, wanted.archives, start)
        self._workers = application.connections
        self._placer = placer
        self._under_way: dict[int, Row] = {}

    @property
    def by_processes(self) -> bool:
        return self._pools.started

    def brought(self, rows: Sequence[Row]) -> _Answers:
        """Yield what became of archives, of these or of those before: some of them are still on their way then."""
        careful = []
        many: dict[str, list[Row]] = {}
        for row in rows:
            if _is_for_processes(row) and self._pools.of(row["store_uri"]) is not None:
                many.setdefault(row["store_uri"], []).append(row)
            else:
                careful.append(row)
        for uri, some in many.items():
            yield from self._careful_where_needed(self._pools.send(uri, self._wanted(some)))
        yield from self._with_care(row for row in careful if row["stored_size"] <= SMALL)
        large = [row for row in careful if row["stored_size"] > SMALL]
        if large:
            yield from self.rest()  # a large one takes its time: what is done before it is known before it
        yield from in_parallel(self._placer.bring, large, workers=1)

    def rest(self) -> _Answers:
        """Yield what became of all that is still on its way."""
        yield from self._careful_where_needed(self._pools.rest())

    def _wanted(self, rows: Sequence[Row]) -> Iterator[WantedFile]:
        for row in rows:
            self._under_way[row["id"]] = row
            sha256 = row["checksum"].removeprefix(_PLAIN_CHECKSUM)
            yield WantedFile(row["id"], row["key"], row["filename"], row["stored_size"], sha256)

    def _careful_where_needed(self, answers: Iterator[tuple[WantedFile, PlacedFile | None]]) -> _Answers:
        """Yield what a pool has placed; what it could not is brought again, with care, some at a time."""
        refused: list[Row] = []
        for wanted, placed in answers:
            row = self._under_way.pop(wanted.id)
            if placed is not None:
                yield {**row, "identity": (placed.mtime_ns, placed.inode)}, None
            else:
                refused.append(row)
            if len(refused) >= GROUP:
                yield from self._with_care(refused)
                refused = []
        yield from self._with_care(refused)

    def _with_care(self, rows: Iterable[Row]) -> _Answers:
        return in_parallel(self._placer.bring, rows, workers=self._workers)

    def __enter__(self) -> Self:
        self._pools.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pools.__exit__(kind, error, trace)


def _is_for_processes(row: Row) -> bool:
    return (
        row["source"] == "store"
        and row["kind"] == ArchiveKind.FILE
        and not row["replaces"]
        and (row["job_id"] or BY_BATCH_JOB).startswith(BY_BATCH_JOB)
        and 0 < row["stored_size"] <= READ_WHOLE
        and row["checksum"].startswith(_PLAIN_CHECKSUM)
    )


class _Placer:
    """Brings one archive to its place; several threads at once. It does not touch the catalog, but asks, just before it
    gives a file its name, whether the restore goes on."""

    def __init__(
        self,
        application: Application,
        files: Placement,
        staging: Placement,
        *,
        stores: Stores,
        may_go_on: Callable[[], None],
        own_files: str,
        adds: bool,
    ) -> None:
        self._own_files, self._adds = own_files, adds
        self._application = application
        self._files = files
        self._staging = staging
        self._stores = stores
        self._may_go_on = may_go_on
        self.no_longer_aside: list[int] = []  # archive ids

    def bring(self, row: Row) -> None:
        """Put one archive in place. Raise the error family; ArchiveCold when it must be requested again."""
        if row["source"] == "orphan" and self._lies_aside(row):
            if not row["replaces"]:  # else it comes when what has its name now has gone aside
                self._bring_back(row)
            return
        staged = row["kind"] == ArchiveKind.DATABASE or row["replaces"]
        placement = self._staging if staged else self._files
        if row["replaces"]:
            row = {**row, "filename": staged_version(row["id"])}
        placed = placement.present(row["filename"], row["stored_size"])
        if placed is None and row["source"] == "directory":
            placed = self._copy(row, placement)
        if placed is None:
            if row["source"] == "orphan":
                self.no_longer_aside.append(row["id"])
            placed = self._fetch(row, placement)
        if placed is Placed.KEPT and not staged:  # an earlier try brought it; or it came since, from somebody else
            require_same(self._application.files_directory, row, adds=self._adds)
        if placed is Placed.DIFFERS:
            raise NameTaken(f"{row['filename']!r} is there with another content; it was left alone.")

    def _copy(self, row: Row, placement: Placement) -> Placed:
        """Copy a file from the application's own directory, verified on the way; raise ArchiveCold when it cannot be:
        then the store is asked for it.
        """
        size = row["stored_size"]
        try:
            with open_source(self._own_files, row["filename"], expected_size=size) as source:
                pieces = (source.read_at(at, min(MIB, size - at)) for at in range(0, size, MIB))
                verifier = Verifier(row["checksum"])
                return placement.place(row["filename"], self._to_the_end(pieces), size=size, verifier=verifier)
        except (FileChanged, FileMissing, FileUnreadable, ReadFailed, UnsafePath, ArchiveCorrupt) as error:
            log.warning("%s cannot be copied from the application's directory: %s", row["filename"], error)
            self.no_longer_aside.append(row["id"])
            if size == 0:
                return self._fetch(row, placement)
            raise ArchiveCold(f"{row['filename']} has to be retrieved.") from error

    def _fetch(self, row: Row, placement: Placement) -> Placed:
        """Fetch an archive from its store. Raise ContentDiffers when it has another content, each time the same one;
        one that is another each time came to harm on its way: ArchiveCorrupt.
        """
        found: list[str] = []
        for left in reversed(range(TRIES)):
            try:
                return self._fetch_once(row, placement)
            except ContentDiffers as error:
                found.append(error.found)
                if not left and len(set(found)) == 1:
                    raise
                if not left:
                    raise ArchiveCorrupt(f"{error.message} It arrived as another one each time.") from error
                log.warning("%s It is asked for again.", error.message)
        raise AssertionError("the last try returns or raises")

    def _fetch_once(self, row: Row, placement: Placement) -> Placed:
        store = self._stores(row["store_uri"])
        location = Location(row["store_uri"], row["key"])
        size = row["stored_size"]
        pieces = pieces_of(row["checksum"], size) if size > SMALL else None
        if pieces is not None:
            return _fetch_in_pieces(row, placement, pieces, store=store, location=location, may_go_on=self._may_go_on)
        # An empty file needs no retrieval, and a vault does not even keep one.
        chunks: Iterable[bytes] = ()
        if 0 < size <= READ_WHOLE:
            whole: list[bytes] = []
            store.read_into(location, 0, size, whole.append, job_id=row["job_id"])
            chunks = whole
        elif size:
            chunks = store.read(location, 0, size, job_id=row["job_id"])
        chunks = self._to_the_end(chunks)
        return placement.place(row["filename"], chunks, size=size, verifier=Verifier(row["checksum"]))

    def _to_the_end(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        yield from chunks
        self._may_go_on()

    def _lies_aside(self, row: Row) -> bool:
        """Whether it still lies in the orphan directory as it did when the restore was planned."""
        if not row["subdirectory"] or not lies_aside(self._application.orphan_directory, row):
            return False
        return is_usable_aside(
            self._application, row["subdirectory"], row["filename"], size=row["stored_size"], checksum=row["checksum"]
        )

    def _bring_back(self, row: Row) -> None:
        self._may_go_on()
        try:
            move_back(
                self._application.files_directory,
                row["filename"],
                self._application.orphan_directory,
                row["subdirectory"],
            )
        except NameTaken:
            if self._files.present(row["filename"], row["stored_size"]) is not Placed.KEPT:
                raise
            require_same(self._application.files_directory, row, adds=self._adds)
            log.warning("%s is there again; the one in the orphan directory stays.", row["filename"])


def _fetch_in_pieces(
    row: Row,
    placement: Placement,
    pieces: Pieces,
    *,
    store: ArchiveStore,
    location: Location,
    may_go_on: Callable[[], None],
) -> Placed:
    """Fetch several runs of pieces at once, each piece hashed as it comes; name the file when all is verified."""

    def fetch(run: Part) -> list[bytes]:
        writer = _PieceWriter(pending, pieces, run)
        store.read_into(location, run.start, run.size, writer.take, job_id=row["job_id"])
        return writer.digests()

    # a dump is read as soon as it is here
    with placement.begin(pieces.size, read_soon=row["kind"] == ArchiveKind.DATABASE) as pending:
        runs = parts_of(pieces.size, pieces.piece_size * max(1, READ_AT_ONCE // pieces.piece_size))
        digests = [digest for of_run in send_parts(runs, fetch, in_flight=RUNS_AT_ONCE) for digest in of_run]
        if not pieces.match(digests):
            told = f"The content for {row['filename']!r} differs from its checksum."
            raise ContentDiffers(told, found=pieces.hexdigest(digests))
        pending.make_durable()
        may_go_on()
        return placement.commit(pending, row["filename"], size=pieces.size)


class _PieceWriter:
    """Writes a run of pieces to its place in a file, and hashes each of them, from the first byte to the last.

    Bytes are gathered to blocks, so that few calls hash and write them.
    """

    def __init__(self, pending: PendingFile, pieces: Pieces, run: Part) -> None:
        self._pending = pending
        self._new = pieces.new
        self._ends = [run.start + part.end for part in parts_of(run.size, pieces.piece_size)]
        self._position = run.start  # of the block
        self._end = run.end
        self._block = memoryview(mmap.mmap(-1, BLOCK))  # begins at a page, which `write_block` wants
        self._held = 0
        self._hash = self._new()
        self._done: list[bytes] = []

    def take(self, chunk: bytes) -> None:
        if self._position + self._held + len(chunk) > self._end:
            raise ArchiveCorrupt("The store gave more bytes than were asked for.")
        view = memoryview(chunk)
        while len(view):
            end = self._ends[len(self._done)]
            taken = view[: min(BLOCK - self._held, end - self._position - self._held)]
            self._block[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            view = view[len(taken) :]
            if self._held == BLOCK or self._position + self._held == end:
                self._write(end)

    def _write(self, end: int) -> None:
        block = self._block[: self._held]
        self._hash.update(block)
        self._pending.write_block(self._position, block)
        self._position += self._held
        self._held = 0
        if self._position == end:
            self._done.append(self._hash.digest())
            self._hash = self._new()

    def digests(self) -> list[bytes]:
        """Return the pieces' digests; raise ArchiveCorrupt when bytes are missing."""
        if self._position != self._end:
            missing = self._end - self._position - self._held
            raise ArchiveCorrupt(f"The store gave {missing:,} bytes less than were asked for.")
        return self._done


def _note_placed(application: Application, restore_id: int, rows: Sequence[Row], catalog: Catalog) -> None:
    """Note in the catalog what is in place, and in the orphans' journal what of it no longer lies aside."""
    with catalog.transaction():
        catalog.restores.require_going_on(restore_id)
        for row in rows:
            if row["subdirectory"] and not lies_aside(application.orphan_directory, row):
                catalog.restores.moved_back(row["filename"], row["subdirectory"])
        catalog.restores.placed([row["id"] for row in rows if not row["replaces"]])
        catalog.restores.placed([row["id"] for row in rows if row["replaces"]], staged=True)
        catalog.restores.seen(list(_identities(application, rows)))


def _note_placed_elsewhere(_: Application, restore_id: int, rows: Sequence[Row], catalog: Catalog) -> None:
    """Note what is in place there; of the application's own places that says nothing."""
    with catalog.transaction():
        catalog.restores.require_going_on(restore_id)
        catalog.restores.placed_elsewhere(restore_id, [row["id"] for row in rows])


def _identities(application: Application, rows: Sequence[Row]) -> Iterator[tuple[int, int, int]]:
    """Yield (archive id, mtime, inode) of the files that are in place: the next scan knows that it has seen them."""
    with Root(application.files_directory) as root:
        for row in rows:
            if "identity" in row:
                mtime_ns, inode = row["identity"]
                yield row["id"], kept_mtime(mtime_ns), inode & LARGEST_INODE
            elif row["kind"] == ArchiveKind.FILE and not row["replaces"]:
                info = root.look(name_parts(row["filename"]))
                if info is not None and info.st_size == row["stored_size"]:
                    yield row["id"], kept_mtime(info.st_mtime_ns), info.st_ino & LARGEST_INODE


def _is_read_at_once(row: Row, stores: Stores) -> bool:
    return row["source"] == "store" and not stores(row["store_uri"]).features.retrieval


def _raise_not_brought(
    restore_id: int, cold: list[Row], failures: GatheredErrors, *, catalog: Catalog, stores: Stores
) -> None:
    failures.log(log)
    expired = [
        row["id"]
        for row in cold
        if row["source"] != "directory" and row["status"] in (RetrievalStatus.READY, RetrievalStatus.LOCAL)
    ]
    catalog.restores.retrievals_expired(expired, gone=True)  # nor is it in its staging: that was looked at first
    moved = sorted({row["store_uri"] for row in cold if _is_read_at_once(row, stores)})
    if moved:
        catalog.restores.add_outcome(restore_id, **{COLD_THOUGH_READABLE: moved})
        raise ArchiveCold(
            f"{counted(len(cold), 'archive')} of restore {restore_id} lay in the cold, though {', '.join(moved)} is "
            "read at once: a lifecycle rule of the bucket has moved them.",
            hint="Clear the task request_retrievals with those that follow it: it asks for them back, which costs and "
            "takes what their class does. Then end that rule.",
        )
    if expired:
        raise ArchiveCold(
            f"{counted(len(expired), 'archive')} of restore {restore_id} can no longer be read: "
            "what was retrieved has expired."
        )
    pending = [row for row in cold if row["status"] == RetrievalStatus.PENDING]
    if pending:
        raise ArchiveCold(
            f"{counted(len(pending), 'archive')} of restore {restore_id} cannot be read yet: retrieval is pending.",
            hint="Clear the task wait_for_retrievals with those that follow it: it ends when they can be read.",
        )
    if cold:
        raise ArchiveCold(
            f"{counted(len(cold), 'archive')} of restore {restore_id} cannot be read: retrieval was not asked for.",
            hint="Clear the task request_retrievals with those that follow it: it asks for them.",
        )
    failures.raise_gravest(named=True)
