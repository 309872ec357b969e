"""Undo what a restore did: one DAG for each application of applications.yaml. Wiring only."""

from __future__ import annotations

from airflow.sdk import DAG, Param, TriggerRule

from glacier_provider.applications import Application, load_applications
from glacier_provider.core.dags import UNDO
from glacier_provider.operators.base import ANY_DATE, dag_args
from glacier_provider.operators.orphan_file import OrphanFileOperator
from glacier_provider.operators.selective_pg_restore import UndoDatabaseOperator

DOC = """
### Undoing a restore of {name}

Trigger it with the id of the restore, or by the buttons beside that on the page. `what` is to be undone:

* `database`: it becomes as it was before the restore, out of the dump that this made of what it replaced
  (`restore.safety_dump`), which stays for {days} days. Stop the application first: what was written since is gone.
* `files`: what the restore moved aside goes back to its place. What took a place since stays; nothing is overwritten.
* `both`.

It runs on a worker that mounts the directories. Its tasks can be cleared: they go on, or do the same once more.
By hand: `glacier-backup undo-database` and `glacier-backup undo-orphans`, with the id of the restore.
"""


def undo_params() -> dict[str, Param]:
    """Return the params of the trigger form."""
    return {
        "restore_id": Param(
            type=["string", "integer"],
            pattern="^[1-9][0-9]*$",
            title="Restore",
            description_md="Id of the restore that is to be undone.",
        ),
        "what": Param(
            "database",
            type="string",
            enum=["database", "files", "both"],
            title="What",
            description_md="The database, the files that were moved aside, or both.",
        ),
        "dump": Param(
            None,
            type=["null", "string"],
            title="Dump",
            description_md="Path of one of the dumps that the restore made of the database; the last one otherwise.",
        ),
    }


def undo_dag(application: Application) -> DAG:
    """Return the DAG that undoes restores of one application."""
    name = application.name
    with DAG(
        **dag_args(UNDO, application),
        dag_display_name=f"Undoing a restore of {name}",
        description=f"{name} as it was before a restore",
        doc_md=DOC.format(name=name, days=application.restore.safety_dump_days),
        schedule=None,
        start_date=ANY_DATE,
        max_active_runs=1,
        is_paused_upon_creation=False,
        params=undo_params(),
    ) as dag:
        restore_id = "{{ params.restore_id }}"
        database = UndoDatabaseOperator(
            task_id="undo_database",
            restore_id=restore_id,
            dump="{{ params.dump or '' }}",
            wanted="{{ params.what in ('database', 'both') }}",
            params_known=list(undo_params()),
        )
        files = OrphanFileOperator(
            task_id="undo_orphans",
            restore_id=restore_id,
            undo=True,
            wanted="{{ params.what in ('files', 'both') }}",
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        database >> files
    return dag


for _application in load_applications().values():
    _dag = undo_dag(_application)
    globals()[_dag.dag_id] = _dag
