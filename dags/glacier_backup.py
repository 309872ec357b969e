"""One backup DAG for each application of applications.yaml: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, TriggerRule

from glacier_provider.applications import Application, load_applications
from glacier_provider.core.dags import BACKUP
from glacier_provider.operators.backup_steps import (
    CloseBackupOperator,
    OpenBackupOperator,
    RehearseRestoreOperator,
    ScanFilesOperator,
)
from glacier_provider.operators.base import ANY_DATE, dag_args, tells_its_end
from glacier_provider.operators.deadlines import backup_deadline
from glacier_provider.operators.glacier_upload import GlacierUploadOperator
from glacier_provider.operators.pg_dump import PgDumpOperator
from glacier_provider.operators.reconcile import ReconcileOperator

DOC = """
### Backup of {name}

Dumps the database of `{postgres}`, then archives every file of `{files}` that is not archived yet, in `{store}`.

* A backup is `complete` only when its dump was read through and the store confirmed every archive.
* Any task can be cleared: it goes on after the last finished archive, and nothing is uploaded twice.
* When a task failed, its log says what to do next. `glacier-backup list` shows all backups.
* To restore, trigger **glacier_restore__{name}** with `{{"backup_id": <id>}}`.
"""


def backup_dag(application: Application) -> DAG:
    """Return the backup DAG of one application."""
    name = application.name
    with DAG(
        **dag_args(BACKUP, application),
        **tells_its_end(),
        dag_display_name=f"Backup of {name}",
        description=f"Database and attached files of {name} into {application.store.partition('?')[0]}",
        doc_md=DOC.format(
            name=name,
            postgres=application.postgres_conn_id,
            files=application.files_directory,
            store=application.store,
        ),
        schedule=application.schedule,
        start_date=application.first_day,
        max_active_runs=1,
        dagrun_timeout=timedelta(days=3),
        deadline=backup_deadline(application),
    ) as dag:
        opened = OpenBackupOperator(task_id="open_backup")
        backup_id = opened.output
        dump = PgDumpOperator(task_id="dump_database", backup_id=backup_id)
        scan = ScanFilesOperator(task_id="scan_files", backup_id=backup_id)
        upload_database = GlacierUploadOperator(task_id="upload_database", backup_id=backup_id)
        upload_files = GlacierUploadOperator.partial(task_id="upload_files", backup_id=backup_id).expand(
            archives=scan.output
        )
        close = CloseBackupOperator(
            task_id="close_backup",
            backup_id=backup_id,
            # Without new files there is nothing to map over, and upload_files is skipped.
            trigger_rule=TriggerRule.NONE_FAILED,
            outlets=[Asset(name=f"glacier_backup__{name}", uri=f"x-glacier-backup://{name}/backups")],
        )
        rehearse = RehearseRestoreOperator(task_id="rehearse_restore", backup_id=backup_id)
        opened >> dump >> [scan, upload_database, rehearse]
        # Waited for, for its findings belong to the backup; but one that was killed must not fail the only copy.
        rehearsed = EmptyOperator(task_id="rehearsed", trigger_rule=TriggerRule.ALL_DONE)
        rehearse >> rehearsed
        [upload_database, upload_files, rehearsed] >> close
        if application.store.startswith("glacier:"):
            # A vault may hold what nobody was told of; its inventory shows it, some days later.
            close >> ReconcileOperator(task_id="reconcile")
    # `start` is a matter of the schedule: a run that a person triggers has all its tasks, whatever its logical date is.
    for task in dag.tasks:
        task.start_date = ANY_DATE
    return dag


for _application in load_applications().values():
    _dag = backup_dag(_application)
    globals()[_dag.dag_id] = _dag
