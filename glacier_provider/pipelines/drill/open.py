"""`open_drill`: a row for the drill, and nothing that earlier ones left."""

from __future__ import annotations

import logging
import random
import secrets
from datetime import datetime

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.dags import BACKUP, dag_id_of
from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import LeaseHeld, UnknownBackup
from glacier_provider.pipelines.drill.clear import clear_left_over
from glacier_provider.pipelines.drill.place import method_of_drill
from glacier_provider.pipelines.restore.elsewhere import Elsewhere

log = logging.getLogger(__name__)

#: What stands for the DAG of a drill that the command line makes.
COMMAND = "glacier-backup drill"


def open_drill(
    application: Application, run: Run, *, catalog: Catalog, elsewhere: Elsewhere, asked_by: str | None = None
) -> int:
    """Return the id of this run's drill, new or gone on with; what drills of ended runs left is cleared first.

    Raise LeaseHeld while another run's drill of the application is under way, UnknownBackup when there is no complete
    backup.
    """
    catalog.migrate()
    with catalog.beside() as beside, beside.alone(f"opening a drill of {application.name}"):
        _end_other(application, run, catalog)
        before = catalog.proofs.under_way(ProofKind.DRILL)
        if before is not None:
            return int(before["id"])
        clear_left_over(application, catalog=catalog, elsewhere=elsewhere)
        seed = secrets.randbelow(2**31)
        backup = _chosen(application, seed, catalog)
        proof_id = catalog.proofs.open(
            ProofKind.DRILL,
            method=method_of_drill(application, elsewhere),
            run=run,
            asked_by=asked_by,
            backup_id=backup["id"],
        )
        opened: datetime = backup["opened_at"]
        choice = {"seed": seed, "which": application.drill.which, "backup_opened_at": opened.isoformat()}
        catalog.proofs.note(proof_id, "choice", figures=choice)
    when = f"{opened:%Y-%m-%d %H:%M} UTC"
    log.info("Drill %d of %s: backup %d of %s.", proof_id, application.name, backup["id"], when)
    return proof_id


def _end_other(application: Application, run: Run, catalog: Catalog) -> None:
    """End the drill of a run that is over; raise LeaseHeld for one that goes on."""
    other = catalog.proofs.under_way(ProofKind.DRILL)
    if other is None:
        return
    its = Run(other["dag_id"], other["dag_run_id"])
    if its == run:
        return
    if not _is_over(application, its, catalog):
        raise LeaseHeld(
            f"Drill {other['id']} of this application is under way, since {other['began_at']:%Y-%m-%d %H:%M} UTC.",
            hint=f"Wait until it ends, or end its run {its.dag_run_id}.",
        )
    catalog.backups.run_is_over(its, "over", overtaken=True)


def work_of_command(application: Application) -> str:
    """Return the work that a drill of the command line is alone with as long as it lives: no Airflow knows of it."""
    return f"a drill of {application.name} by command"


def _is_over(application: Application, run: Run, catalog: Catalog) -> bool:
    """Whether a run has ended; one of the command line, when its process has."""
    if run.dag_id != COMMAND:
        return catalog.backups.is_over(run)
    with catalog.beside() as beside:
        try:
            with beside.alone(work_of_command(application)):
                return True
        except LeaseHeld:
            return False


def _chosen(application: Application, seed: int, catalog: Catalog) -> Row:
    """Return the backup to restore; raise UnknownBackup or BackupNotRestorable."""
    options = application.drill
    found = catalog.drills.recent_backups(options.among if options.which == "random" else 1)
    if not found:
        raise UnknownBackup(
            f"The application {application.name} has no complete backup yet.",
            hint=f"Make one first: trigger the DAG {dag_id_of(BACKUP, application.name)}.",
        )
    return catalog.backups.restorable(random.Random(seed).choice(found))
