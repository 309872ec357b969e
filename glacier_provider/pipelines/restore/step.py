"""The steps of a restore, under the lease or beside each other, and where its orphans lie."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run, lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import name_to_bytes
from glacier_provider.core.checksum import Verifier
from glacier_provider.core.parts import MIB
from glacier_provider.errors import CatalogError, CatalogUnavailable, FileError, GlacierProviderError, NameTaken
from glacier_provider.files import open_source
from glacier_provider.pipelines.shared.lease import asked_often, kept_lease
from glacier_provider.pipelines.shared.step import named_step

log = logging.getLogger(__name__)


@contextmanager
def restore_step(catalog: Catalog, restore_id: int, step: str) -> Iterator[Callable[[], None]]:
    """Hold the application's lease, behind its fence, for a step that changes its database or directory.

    Yields a function that raises LeaseLost once another run has the lease. Raise LeaseHeld when another run has it, or
    when another process of this restore is at the same step, IllegalMove when another restore was made since this one
    began to change something.

    A restore into another place changes nothing of the application: it takes no lease, and what it yields raises once
    the restore is over.
    """
    if catalog.restores.goes_elsewhere(restore_id):
        catalog.restores.start(restore_id)
        with _while_it_goes_on(catalog, restore_id, alone=f"{step} of restore {restore_id}") as may_go_on:
            yield may_go_on
        return
    catalog.restores.take_lease(restore_id)
    holder = lease_holder("restore", restore_id)
    with kept_lease(catalog, holder) as heartbeat, catalog.alone(f"{step} of restore {restore_id}"):
        yield heartbeat


@contextmanager
def undo_step(catalog: Catalog, restore_id: int, step: str, run: Run | None) -> Iterator[Callable[[], None]]:
    """The same for what undoes a restore, which may be one after which others were made; the lease is free afterwards.

    `run` is the run of Airflow that does it: not the restore's, which is over. Without one, only who does it frees the
    lease, or time, or a person. Raise LeaseHeld when another run has the lease, or another process is at it.
    """
    holder = lease_holder("undo", restore_id)
    with catalog.alone(f"undoing {step} of restore {restore_id}"):
        catalog.restores.take_lease_to_undo(restore_id, run)
        try:
            with kept_lease(catalog, holder) as heartbeat:
                yield heartbeat
        finally:
            with suppress(CatalogError):  # it ends by itself
                catalog.backups.free_lease(holder)


@contextmanager
def shared_step(
    catalog: Catalog, restore_id: int, step: str, *, notes_missing: bool = True
) -> Iterator[Callable[[], None]]:
    """Begin, or go on with, one of the steps that go on beside each other; `notes_missing`, and raises, as
    `Restores.start`.

    Yields a function that raises IllegalMove once the restore is over: a process that slept goes on no further. To call
    before each thing that cannot be taken back.
    """
    catalog.restores.start(restore_id, step, notes_missing=notes_missing)
    with named_step(step), _while_it_goes_on(catalog, restore_id) as may_go_on:
        yield may_go_on


@contextmanager
def _while_it_goes_on(catalog: Catalog, restore_id: int, *, alone: str = "") -> Iterator[Callable[[], None]]:
    """Yield the function of a step without the lease. As under it, any error of ours is that the restore is over, once
    it is: who sleeps while others clear what it worked with meets what looks like damage.
    """
    with catalog.beside() as beside, beside.alone(alone) if alone else nullcontext():
        try:
            yield asked_often(lambda: beside.restores.require_going_on(restore_id))
        except GlacierProviderError:
            with suppress(CatalogUnavailable):
                beside.restores.require_going_on(restore_id)
            raise


def orphan_prefix(application: Application) -> str:
    """Return how the directories begin into which restores set files aside; applications may share what they are in."""
    return f"{application.name}-restore-"


def lies_aside(orphan_directory: str, row: Row) -> bool:
    parts = (os.fsencode(orphan_directory), name_to_bytes(row["subdirectory"]), name_to_bytes(row["filename"]))
    return os.path.lexists(os.path.join(*parts))


def is_there(application: Application, row: Row) -> bool:
    return os.path.lexists(os.path.join(os.fsencode(application.files_directory), name_to_bytes(row["filename"])))


def is_intact(directory: str, name: str, *, size: int, checksum: str) -> bool:
    """Return whether the file is there and has the content of the checksum; it is read for that.

    Raise the error family when it is not there or cannot be read.
    """
    verifier = Verifier(checksum)
    with open_source(directory, name, expected_size=size) as source:
        for start in range(0, source.size, MIB):
            verifier.update(source.read_at(start, min(MIB, source.size - start)))
    return verifier.matches()


def require_same(directory: str, row: Row, *, adds: bool = True) -> None:
    """Raise NameTaken unless the file that has an archive's name in a directory has its content, too.

    `adds`: files are added to a directory of somebody's choice, not to the application's own.
    """
    try:
        if is_intact(directory, row["filename"], size=row["stored_size"], checksum=row["checksum"]):
            return
    except FileError as error:
        log.info("%s is not what is wanted: %s", row["filename"], error)
    raise NameTaken(
        f"{row['filename']!r} is in {directory} already, with another content; it was left alone.",
        hint="Nothing is overwritten. Move it away, "
        + ("or give another directory." if adds else "then clear the task: the backup's comes."),
    )


def is_usable_aside(application: Application, subdirectory: str, name: str, *, size: int, checksum: str) -> bool:
    """Return whether a file lies aside with this content, so that it can be moved back; the log tells why it cannot."""
    aside = f"{subdirectory}/{name}"
    try:
        intact = is_intact(application.orphan_directory, aside, size=size, checksum=checksum)
    except GlacierProviderError as error:
        log.warning("%s cannot be moved back from the orphan directory: %s", name, error)
        return False
    if not intact:
        log.warning("%s in the orphan directory has another content than the backup's; it is left there.", aside)
    return intact


def staged_version(archive_id: int) -> str:
    """Return under which name, in its staging, a restore keeps an attached file whose own name is not free yet."""
    return f"versions/{archive_id}"
