"""One restore DAG for each application of applications.yaml: wiring only. Trigger it with conf {"backup_id": 42}."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Asset, Param, TriggerRule

from glacier_provider.applications import Application, load_applications
from glacier_provider.core.dags import RESTORE
from glacier_provider.core.plan import RestorePart
from glacier_provider.core.tiers import Tier
from glacier_provider.operators.approve_restore import ApproveRestoreOperator
from glacier_provider.operators.base import ANY_DATE, dag_args, tells_its_end
from glacier_provider.operators.orphan_file import OrphanFileOperator
from glacier_provider.operators.restore_steps import (
    CloseRestoreOperator,
    DownloadArchivesOperator,
    PlanRestoreOperator,
    RequestRetrievalsOperator,
)
from glacier_provider.operators.selective_pg_restore import SelectivePgRestoreOperator
from glacier_provider.sensors.glacier_job import GlacierJobSensor

DOC = """
### Restore of {name}

Brings a backup back by its id: trigger this DAG with `{{"backup_id": 42}}` or `{{"backup_id": "latest"}}`.

* Stop the application first: its tables are replaced in one transaction.
* Files that are in `{files}` already are neither retrieved nor touched. Missing ones are added once their checksum is
  verified.
* Files that the backup does not contain are moved to `{orphans}`, never deleted;
  `glacier-backup undo-orphans <restore id>` brings them back.
* The catalog is not restored: after last week's backup, yesterday's can still be restored.
* A plan that is estimated to cost more than the application's budget waits for a person's approval.
* With `{{"backup_id": 42, "into": "staging"}}` it goes into another database and directory, which `restore_targets`
  names, and the application stays as it is; nothing has to be stopped.
* Any task can be cleared: what was retrieved and placed is kept, and nothing is paid for twice.
"""


def restore_params(application: Application) -> dict[str, Param]:
    """Return the params of the trigger form."""
    return {
        "backup_id": Param(
            "latest",
            type=["string", "integer"],
            pattern="^([1-9][0-9]*|latest)$",
            title="Backup",
            description_md="Id of a complete backup, or `latest`. `glacier-backup list` shows them.",
        ),
        "part": Param(
            RestorePart.EVERYTHING.value,
            enum=[part.value for part in RestorePart],
            title="What to restore",
            description_md="`everything`, or the `database` alone, or missing `files` alone.",
        ),
        "tier": Param(
            application.retrieval_tier,
            enum=[tier.value for tier in Tier],
            title="Retrieval tier",
            description_md="**Expedited** takes minutes, **Standard** hours, **Bulk** up to two days and costs least. "
            "DEEP_ARCHIVE has no Expedited.",
        ),
        "days": Param(
            application.retrieval_days,
            type="integer",
            minimum=1,
            maximum=365,
            title="Days",
            description_md="How long retrieved copies stay readable; they are billed for this time.",
        ),
        "tables": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Only these tables",
            description_md="One a line, as in `public.documents`. Empty restores the whole database.",
        ),
        "move_orphans": Param(
            True,
            type="boolean",
            title="Move orphans aside",
            description_md="Move files that the backup does not contain, or contains with another content, to the "
            "orphan directory.",
        ),
        "into": Param(
            None,
            type=["null", "string", "object"],
            examples=list(application.restore_targets or {}),
            title="Into another place",
            description_md="The name of one of the application's `restore_targets`, or "
            '`{"postgres_conn_id": …, "database": …, "files_directory": …}`. The application then stays as it is.',
        ),
        "only_files": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Only these files",
            description_md="One a line, as in `reports/2024.pdf`: with `part` files and `into` they are added to that "
            "directory, and nothing in it is overwritten or cleared.",
        ),
        "without_lost": Param(
            False,
            type="boolean",
            title="Go on without what is lost",
            description_md="Restore the rest when files of the backup are in no store any more. The outcome "
            "names them.",
        ),
        "approve": Param(
            False,
            type="boolean",
            title="Wait for an approval",
            description_md="Show the plan and its cost, and wait until somebody approves it. "
            "A plan that passes the application's budget waits in any case.",
        ),
        "accept_errors": Param(
            False,
            type="boolean",
            title="Accept errors",
            description_md="Only with `restore.mode: swap`: statements of the dump that fail are listed, and the rest "
            "takes the database's place all the same.",
        ),
    }


def restore_dag(application: Application) -> DAG:
    """Return the restore DAG of one application."""
    name = application.name
    with DAG(
        **dag_args(RESTORE, application),
        **tells_its_end(),
        dag_display_name=f"Restore of {name}",
        description=f"Database and attached files of {name} as they were in one backup",
        doc_md=DOC.format(name=name, files=application.files_directory, orphans=application.orphan_directory),
        schedule=None,
        start_date=ANY_DATE,
        # One that waits days for a restore into another place must not keep the one back that is needed tonight. Those
        # that change the same are kept from each other by the catalog.
        max_active_runs=4,
        # On the night when it is needed, nobody should have to find out that the DAG was paused.
        is_paused_upon_creation=False,
    ) as dag:
        # Where nothing has to be brought there is nothing to map over, and these tasks are skipped.
        rule = TriggerRule.NONE_FAILED
        plan = PlanRestoreOperator(task_id="plan_restore")
        restore_id, ranges = plan.output["restore_id"], plan.output
        approve = ApproveRestoreOperator(task_id="approve", needed=plan.output["approve"], lines=plan.output["lines"])
        request = RequestRetrievalsOperator.partial(task_id="request_retrievals", restore_id=restore_id).expand(
            archives=ranges
        )
        wait = GlacierJobSensor(
            task_id="wait_for_retrievals",
            restore_id=restore_id,
            poke_interval=application.poll_seconds,
            # The slowest tier takes two days; a timeout says what is still missing.
            timeout=timedelta(days=4).total_seconds(),
            execution_timeout=None,
            trigger_rule=rule,
        )
        download = DownloadArchivesOperator.partial(task_id="download", restore_id=restore_id).expand(archives=ranges)
        database = SelectivePgRestoreOperator(task_id="restore_database", restore_id=restore_id, trigger_rule=rule)
        orphans = OrphanFileOperator(task_id="move_orphans", restore_id=restore_id)
        close = CloseRestoreOperator(
            task_id="close_restore",
            restore_id=restore_id,
            outlets=[Asset(name=f"glacier_restore__{name}", uri=f"x-glacier-backup://{name}/restores")],
        )
        plan >> approve >> request >> wait >> download >> database >> orphans >> close
    # Set last: every task would take a copy of them otherwise, and Airflow checks each copy whenever it parses this.
    dag.params = restore_params(application)
    return dag


for _application in load_applications().values():
    _dag = restore_dag(_application)
    globals()[_dag.dag_id] = _dag
