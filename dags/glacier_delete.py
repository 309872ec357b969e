"""One DAG for each application of applications.yaml that deletes a backup: wiring only.

Trigger it with conf {"backup_id": 42, "confirm": "<application>-42"}.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from glacier_provider.applications import Application, load_applications
from glacier_provider.core.dags import DELETE
from glacier_provider.operators.base import ANY_DATE, dag_args
from glacier_provider.operators.delete_steps import DeleteBackupOperator, PlanDeletionOperator

DOC = """
### Deletion of a backup of {name}

Deletes one backup for good: trigger this DAG with `{{"backup_id": 42, "confirm": "{name}-42"}}`.

* What goes is what this backup alone needs: its dump, and files that are in no other complete backup and no longer in
  `{files}`. Nothing else is deleted, and nothing in that directory is touched.
* `glacier-backup delete {name} 42` tells what would go, and changes nothing.
* AWS bills the minimum storage duration of what is deleted early; the plan tells the fee.
* Any task can be cleared: a deletion that was cut goes on. It needs the permission to delete from the store.
"""


def delete_params(application: Application) -> dict[str, Param]:
    """Return the params of the trigger form."""
    return {
        "backup_id": Param(
            type=["string", "integer"],
            pattern="^[1-9][0-9]*$",
            title="Backup",
            description_md="Id of the backup to delete. `glacier-backup list` shows them.",
        ),
        "confirm": Param(
            type="string",
            minLength=1,
            title="Confirmation",
            description_md=f"Type `{application.name}-` and the id of the backup, as in `{application.name}-42`.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Delete it all the same",
            description_md="Also the newest complete backup, and one whose restore is under way.",
        ),
    }


def delete_dag(application: Application) -> DAG:
    """Return the deletion DAG of one application."""
    name = application.name
    with DAG(
        **dag_args(DELETE, application),
        dag_display_name=f"Deletion of a backup of {name}",
        description=f"One backup of {name}, deleted with what it alone needs",
        doc_md=DOC.format(name=name, files=application.files_directory),
        schedule=None,
        start_date=ANY_DATE,
        max_active_runs=1,
        is_paused_upon_creation=False,
        params=delete_params(application),
    ) as dag:
        PlanDeletionOperator(task_id="plan_deletion") >> DeleteBackupOperator(task_id="delete_backup")
    return dag


for _application in load_applications().values():
    _dag = delete_dag(_application)
    globals()[_dag.dag_id] = _dag
