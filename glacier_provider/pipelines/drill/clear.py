"""`clear_drill`: nothing of a drill is left, whatever happened; what a killed one left is cleared by the next."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.drill import PRIVATE_SERVER
from glacier_provider.core.status import RestoreState
from glacier_provider.errors import BackupNotRestorable, ConfigurationError, GlacierProviderError, IllegalMove
from glacier_provider.files.target import remove_target
from glacier_provider.pipelines.restore.close import close_restore
from glacier_provider.pipelines.restore.elsewhere import Elsewhere, target_place_of
from glacier_provider.pipelines.shared.errors import raise_gravest
from glacier_provider.pipelines.shared.staging import staging_directory_of
from glacier_provider.staging import remove_tree

log = logging.getLogger(__name__)


def clear_drill(application: Application, proof_id: int, *, catalog: Catalog, elsewhere: Elsewhere) -> dict[str, Any]:
    """Drop the drill's database, remove its directory and its staging, and end its restore; return figures.

    Whatever earlier drills left goes as well. Only what carries the mark of the drill's restore is touched. Raise the
    gravest error, after all that could be cleared was.
    """
    figures, errors = _cleared(application, catalog, elsewhere)
    with suppress(IllegalMove):  # the drill was ended meanwhile, with its run
        catalog.proofs.note(proof_id, "clear", figures=figures)
    raise_gravest(errors, "drill", "could not be cleared after")
    return figures


def clear_left_over(application: Application, *, catalog: Catalog, elsewhere: Elsewhere) -> None:
    """Clear what drills of ended runs left; what cannot be cleared is told, and no reason not to begin another."""
    _figures, errors = _cleared(application, catalog, elsewhere)
    for error in errors:
        log.warning("What an earlier drill left could not be cleared: %s", error)


def _cleared(
    application: Application, catalog: Catalog, elsewhere: Elsewhere
) -> tuple[dict[str, Any], list[GlacierProviderError]]:
    cleared: list[int] = []
    kept: list[str] = []
    errors: list[GlacierProviderError] = []
    for restore in catalog.drills.to_clear():
        try:
            kept += _clear(application, restore, catalog, elsewhere)
        except GlacierProviderError as error:
            errors.append(error)
        else:
            cleared.append(restore["id"])
    return {"cleared": cleared, "kept": kept}, errors


def _clear(application: Application, restore: Row, catalog: Catalog, elsewhere: Elsewhere) -> list[str]:
    """Clear after one restore; return the database that is left, to be replaced, if any."""
    restore_id = restore["id"]
    never_began = restore["state"] == RestoreState.PLANNED or bool(restore["outcome"].get("never_began"))
    _end(application, restore, catalog)
    # From now on whoever of it still works, or wakes up, is told that it is over.
    catalog.restores.add_outcome(restore_id, clearing=True, never_began=never_began)
    try:
        kept = _clear_place(application, restore, elsewhere)
    except ConfigurationError:
        if not never_began:
            raise
        kept = []  # its place is none: that is why
    remove_tree(staging_directory_of(application, "restore", restore_id), below=application.staging_directory)
    catalog.restores.release_database(restore_id)
    catalog.restores.add_outcome(restore_id, cleared=True)
    log.info("Nothing is left of the drill's restore %d.", restore_id)
    return kept


def _clear_place(application: Application, restore: Row, elsewhere: Elsewhere) -> list[str]:
    """Drop its database and remove its directory; return the database that is left, if any."""
    from glacier_provider.postgres.restore.elsewhere import drop_marked

    place = target_place_of(application, restore, elsewhere)
    assert place is not None
    kept = []
    made = restore["outcome"]
    if place.target.postgres_conn_id != PRIVATE_SERVER and not drop_marked(
        place.server, place.mark, made=bool(made.get("makes_database"))
    ):
        log.warning("%s stays: its user may create no database, and could not make it again.", place.server)
        kept.append(str(place.server.dbname))
    if place.target.files_directory:
        remove_target(place.directory, place.mark, made=bool(made.get("makes_directory")))
    return kept


def _end(application: Application, restore: Mapping[str, Any], catalog: Catalog) -> None:
    """Have its restore be complete, if it is; else failed."""
    if restore["state"] in ("complete", "failed"):
        return
    try:
        close_restore(application, restore["id"], catalog=catalog)
    except (IllegalMove, BackupNotRestorable) as error:  # its backup was lost or deleted meanwhile
        catalog.restores.fail(restore["id"], f"The drill ended before it was complete. {error.message}")
