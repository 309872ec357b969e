"""Another place than the application's own: refused where it is somebody's, claimed by one restore at a time.

Nothing of the application is touched, so no lease is taken: backups go on meanwhile. What is exclusive is the place:
its database and its directory each carry a marker of the restore that fills them, and another restore takes them over
only when that one is over. See docs/adr/0037.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import (
    ConfigurationError,
    DatabaseError,
    GlacierProviderError,
    LeaseHeld,
    LeaseLost,
    TargetRefused,
    UnknownBackup,
)
from glacier_provider.files.target import (
    claim_target,
    claimed_by,
    foreign_directory,
    lies_in,
    look_at_target,
    make_target,
    require_parent,
)
from glacier_provider.pipelines.shared.staging import staging_directory_of

if TYPE_CHECKING:
    from glacier_provider.postgres import Server
    from glacier_provider.postgres.restore.elsewhere import DatabaseIdentity, TargetDatabase

log = logging.getLogger(__name__)

#: What a scratch database of a drill is called begins so.
DRILL_DATABASE = "glacier_drill_"

_MARK = re.compile(r"(?P<application>.+)-restore_(?P<id>\d+)_\d{14}")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What a restore into another place has to know of the world: the server of an Airflow connection, and all
    applications that there are, whose places it must not be.
    """

    server: Callable[[str], Server]
    applications: Callable[[], Iterable[Application]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one restore goes. `mark` tells it from every other one, also after the catalog began anew."""

    application: Application
    target: RestoreTarget
    elsewhere: Elsewhere
    restore_id: int
    mark: str
    adds: bool = False  #: files are added to the directory, which is not the restore's own
    drills: bool = False  #: what is brought is thrown away again, and takes no place of what people have restored

    @property
    def server(self) -> Server:
        """The target's database; raise ConfigurationError for a connection that there is not."""
        found = self.elsewhere.server(self.target.postgres_conn_id or self.application.postgres_conn_id)
        return found.with_database(self.target.database) if self.target.database else found

    @property
    def directory(self) -> str:
        return str(self.target.files_directory)


def target_place_of(application: Application, restore: Mapping[str, Any], elsewhere: Elsewhere | None) -> Place | None:
    """Return where a restore goes, by its row; None: into the application's own places."""
    target = RestoreTarget.from_given((restore["request"] or {}).get("into"))
    if target is None:
        return None
    mark = mark_of(application, restore["id"], restore["opened_at"])
    request = restore["request"]
    return Place(
        application,
        target,
        _known(elsewhere),
        restore["id"],
        mark,
        adds=bool(request.get("only_files")),
        drills=bool(request.get("sample")),
    )


def _known(elsewhere: Elsewhere | None) -> Elsewhere:
    if elsewhere is None:
        raise ConfigurationError(
            "A restore into another place needs to know which applications there are, and how to reach its server.",
            hint="Give `elsewhere` to whatever called this; the operators of this package do.",
        )
    return elsewhere


def mark_of(application: Application, restore_id: int, opened_at: datetime) -> str:
    """Return what a target carries of the restore that fills it."""
    return f"{application.name}-restore_{restore_id}_{opened_at:%Y%m%d%H%M%S}"


def drill_directory(application: Application) -> str:
    """Return where drills put files, unless they are told: no run's staging, and nobody's."""
    return f"{application.staging_directory}/{application.name}-drill"


def drill_database(application: Application) -> str:
    """Return what the scratch database of drills is called; another installation's has another name."""
    of_store = sha256(f"{application.store} {application.catalog_schema}".encode()).hexdigest()[:6]
    return f"{DRILL_DATABASE}{application.name}_{of_store}"


def in_place(application: Application, restore: Mapping[str, Any]) -> Application:
    """Return the application as a restore finds it: with the target's directory, where it goes elsewhere.

    One that takes no files has its staging for it, so that nothing leads to the application's own.
    """
    target = RestoreTarget.from_given((restore["request"] or {}).get("into"))
    if target is None:
        return application
    staged = str(staging_directory_of(application, "restore", restore["id"]))
    return replace(application, files_directory=target.files_directory or staged)


# --- before anything is asked for ----------------------------------------------------------------------------------


def check_place(place: Place, request: RestoreRequest) -> str:
    """Return in words where the restore goes; raise TargetRefused when that is somebody's place, or cannot be.

    Changes nothing. Called by the plan, and again before anything is changed: the world may be another by then.
    """
    said = []
    if request.database:
        check_database_place(place)
        said.append(f"{place.server}")
    if request.files:
        check_directory(place, adds=bool(request.only_files))
        said.append(place.directory)
    name = f"{place.target.name} (" if place.target.name else ""
    return f"{name}{', '.join(said)}{')' if name else ''}"


def check_directory(place: Place, *, adds: bool = False) -> None:
    """Raise TargetRefused for a directory that is, lies in, or holds one of an application, or is not ours.

    What only `adds` files to a directory leaves everything else in it alone, whosever it is.
    """
    in_staging = place.directory == drill_directory(place.application)
    for other in (place.application, *place.elsewhere.applications()):
        of_it = [other.files_directory, other.orphan_directory]
        of_it += [] if in_staging else [other.staging_directory]
        if (found := lies_in(place.directory, of_it)) is not None:
            raise TargetRefused(
                f"The directory {place.directory} is, lies in, or holds {found}, which belongs to the application "
                f"{other.name}."
            )
    require_parent(place.directory)
    if not adds and look_at_target(place.directory).is_foreign:
        raise foreign_directory(place.directory)


def check_database_place(place: Place) -> TargetDatabase:
    """Return what is there; raise TargetRefused for a database that is an application's, the catalog's, or not ours."""
    from glacier_provider.postgres.restore.elsewhere import look_at_database, require_takes_restores

    found = look_at_database(place.server)
    for conn_id, whose in _databases(place):
        other = _reachable(place, conn_id)
        if other is not None and _is_same(found, other):
            raise TargetRefused(f"{found.server} is {whose}.")
    require_takes_restores(found)
    return found


def _databases(place: Place) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for other in (place.application, *place.elsewhere.applications()):
        for conn_id, whose in (
            (other.postgres_conn_id, f"the database of the application {other.name}"),
            (other.catalog_conn_id, "the catalog's database"),
        ):
            if conn_id not in seen:
                seen.add(conn_id)
                yield conn_id, whose


def _reachable(place: Place, conn_id: str) -> Server | None:
    """Return the server of a connection; None when that is not to be had here."""
    try:
        return place.elsewhere.server(conn_id)
    except GlacierProviderError as error:
        log.warning("The connection %s could not be compared with the restore's target: %s", conn_id, error)
        return None


def _is_same(found: TargetDatabase, other: Server) -> bool:
    """Tell whether a database is the target: by cluster and oid; by its name where it cannot be reached."""
    from glacier_provider.postgres.restore.elsewhere import identify_database

    server = found.server
    if (server.host, server.port, server.dbname) == (other.host, other.port, other.dbname):
        return True
    if found.identity is None:
        return False
    try:
        identity: DatabaseIdentity = identify_database(other)
    except DatabaseError as error:
        log.warning("%s could not be compared with the restore's target: %s", other, error)
        return False
    return identity == found.identity


def answering_database(place: Place) -> Server:
    """Return the database that is asked what the server has, while there is none to restore into."""
    from glacier_provider.postgres.restore.elsewhere import look_at_database, stand_in

    return stand_in(look_at_database(place.server))


# --- claims --------------------------------------------------------------------------------------------------------


def claim_directory(place: Place, *, catalog: Catalog) -> None:
    """Have the target's directory hold nothing but what this restore brings; see `claim_target`.

    One to which files are only added is made where it is missing.
    """
    check_directory(place, adds=place.adds)
    if place.adds:
        make_target(place.directory)
        return
    if not os.path.lexists(place.directory):
        catalog.restores.add_outcome(place.restore_id, makes_directory=True)  # before it is, and known by its marker
    claim_target(place.directory, place.mark, may_take=lambda mark: require_free(place, mark, catalog))


def require_claimed(place: Place) -> None:
    """Raise LeaseLost when another restore has taken the directory over: a process that slept does nothing more."""
    mark = place.mark if place.adds else claimed_by(place.directory)
    if mark != place.mark:
        raise LeaseLost(
            f"{place.directory} is no longer this restore's: {mark or 'nobody'} has it.",
            hint="Trigger a new restore.",
        )


def require_free(place: Place, mark: str, catalog: Catalog) -> None:
    """Raise LeaseHeld while the restore that a place is marked for is under way.

    Raise TargetRefused when this is a drill, and that was none: people may work with what it brought. One that the
    catalog does not know is taken for a drill only where drills go by themselves.
    """
    require_over(mark, catalog)
    if place.drills and mark != place.mark and not _was_a_drill(place, mark, catalog):
        raise TargetRefused(
            f"{place.target or 'The place of the drill'} holds what the restore {mark} brought, which was no drill.",
            hint="Nothing was changed. Give drills a place of their own (drill.target), or drop what is there.",
        )


def _was_a_drill(place: Place, mark: str, catalog: Catalog) -> bool:
    told = _MARK.fullmatch(mark)
    restore = None
    if told is not None:
        with suppress(UnknownBackup):
            restore = catalog.restores.get(int(told["id"]))
    if restore is None or _mark_of_row(restore) != mark:
        return drill_database(place.application) == place.server.dbname or place.directory == drill_directory(
            place.application
        )
    return bool((restore["request"] or {}).get("sample"))


def _mark_of_row(restore: Mapping[str, Any]) -> str:
    return f"{restore['application']}-restore_{restore['id']}_{restore['opened_at']:%Y%m%d%H%M%S}"


def require_over(mark: str, catalog: Catalog) -> None:
    """Raise LeaseHeld while the restore that a target is marked for is under way; one that nobody knows is over."""
    told = _MARK.fullmatch(mark)
    if told is None:
        return
    try:
        restore = catalog.restores.get(int(told["id"]))
    except UnknownBackup:
        return
    is_open = _mark_of_row(restore) == mark and restore["state"] in ("planned", "running")
    if is_open and not catalog.backups.is_over(Run(restore["dag_id"], restore["dag_run_id"])):
        raise LeaseHeld(
            f"Restore {restore['id']} of {restore['application']} is under way into the same place.",
            hint="Wait until it ends, or end its run.",
        )


@contextmanager
def claimed_database(place: Place, dump: Any, *, catalog: Catalog) -> Iterator[TargetDatabase]:
    """Have the target's database, alone, for the block: empty, or what an earlier try made of it."""
    from glacier_provider.postgres.restore.elsewhere import claim_database

    server = place.server
    with catalog.beside() as beside, beside.alone(f"the restore into {server.dbname} at {server.host}:{server.port}"):
        found = check_database_place(place)
        if found.identity is None or found.mark not in (None, place.mark):
            catalog.restores.add_outcome(place.restore_id, makes_database=True)  # before it is, and known by its marker
        yield claim_database(
            server, dump, place.mark, may_take=lambda mark: require_free(place, mark, catalog), progress=log.info
        )
