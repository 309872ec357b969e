"""Bring back the database that a restore replaced: one DAG for each application with `restore.safety_dump`."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from glacier_provider.applications import Application, load_applications
from glacier_provider.operators.base import ANY_DATE, default_args
from glacier_provider.operators.selective_pg_restore import UndoDatabaseOperator

DOC = """
### The database of {name} as it was before a restore

Restores of {name} dump the database that they replace (`restore.safety_dump`). This brings it back: trigger it with the
id of the restore, or by the button beside that on the page.

* Stop the application first. What was written since that restore is gone afterwards.
* It runs on a worker that mounts the staging directory, where the dump stays for {days} days.
* Files are another matter: `glacier-backup undo-orphans <restore id>` moves back what was moved aside.
* The task can be cleared: it brings the same dump back once more.
"""


def undo_params() -> dict[str, Param]:
    """Return the params of the trigger form."""
    return {
        "restore_id": Param(
            type=["string", "integer"],
            pattern="^[1-9][0-9]*$",
            title="Restore",
            description_md="Id of the restore whose replaced database is to come back.",
        ),
        "dump": Param(
            None,
            type=["null", "string"],
            title="Dump",
            description_md="Path of one of the dumps that it made; the last one otherwise.",
        ),
    }


def undo_dag(application: Application) -> DAG:
    """Return the DAG that undoes what restores made of the database of one application."""
    name = application.name
    with DAG(
        dag_id=f"glacier_undo__{name}",
        dag_display_name=f"Undoing a restore of {name}",
        description=f"The database of {name} as it was before a restore replaced it",
        doc_md=DOC.format(name=name, days=application.restore.safety_dump_days),
        schedule=None,
        start_date=ANY_DATE,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["glacier", "restore", name],
        params=undo_params(),
        default_args=default_args(application),
    ) as dag:
        UndoDatabaseOperator(
            task_id="undo_database", restore_id="{{ params.restore_id }}", dump="{{ params.dump or '' }}"
        )
    return dag


for _application in load_applications().values():
    if _application.restore.safety_dump:
        _dag = undo_dag(_application)
        globals()[_dag.dag_id] = _dag
