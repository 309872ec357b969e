"""One drill DAG for each application of applications.yaml that has a section `drill`: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Asset, TriggerRule

from glacier_provider.applications import Application, load_applications
from glacier_provider.core.dags import DRILL
from glacier_provider.operators.base import ANY_DATE, dag_args, tells_its_end
from glacier_provider.operators.drill_steps import (
    CheckFilesOperator,
    ClearDrillOperator,
    CloseDrillOperator,
    DownloadSampleOperator,
    OpenDrillOperator,
    PlanDrillOperator,
    RestoreAndCheckOperator,
)
from glacier_provider.operators.restore_steps import RequestRetrievalsOperator
from glacier_provider.operators.verify_steps import RequireProofOperator
from glacier_provider.sensors.glacier_job import GlacierJobSensor

DOC = """
### Drill of {name}

Restores a backup somewhere else, checks it against what was noted when its dump was made, and throws it away: the
application is not touched, and backups go on meanwhile.

* The dump and a sample of the attached files come out of the store, by `{tier}` retrievals, for at most {budget:g} a
  month (`drill.budget`).
* What is not as it was is named, and the run fails then. The backup stays as it is: it is what has to be looked at.
* The scratch database and its directory go whatever happened; what a killed run left, the next one clears.
* By hand, also without Airflow: `glacier-backup drill {name}`.
"""


def drill_dag(application: Application) -> DAG:
    """Return the drill DAG of one application."""
    name, options = application.name, application.drill
    with DAG(
        **dag_args(DRILL, application),
        **tells_its_end(),
        dag_display_name=f"Drill of {name}",
        description=f"A backup of {name}, restored somewhere else, checked, and thrown away",
        doc_md=DOC.format(name=name, tier=options.tier, budget=options.budget),
        schedule=options.schedule,
        start_date=application.first_day,
        max_active_runs=1,
    ) as dag:
        # Where nothing has to be brought there is nothing to map over, and these tasks are skipped.
        rule = TriggerRule.NONE_FAILED
        opened = OpenDrillOperator(task_id="open_drill")
        proof_id = opened.output
        plan = PlanDrillOperator(task_id="plan_restore", proof_id=proof_id)
        restore_id, ranges = plan.output["restore_id"], plan.output
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
        download = DownloadSampleOperator.partial(task_id="download", proof_id=proof_id, restore_id=restore_id).expand(
            archives=ranges
        )
        database = RestoreAndCheckOperator(
            task_id="restore_and_check", proof_id=proof_id, restore_id=restore_id, trigger_rule=rule
        )
        files = CheckFilesOperator(task_id="check_files", proof_id=proof_id, restore_id=restore_id, trigger_rule=rule)
        clear = ClearDrillOperator(task_id="clear_drill", proof_id=proof_id)
        close = CloseDrillOperator(
            task_id="close_drill",
            proof_id=proof_id,
            # Also when something could not be done: the row says so.
            trigger_rule=TriggerRule.ALL_DONE,
            outlets=[Asset(name=f"glacier_drill__{name}", uri=f"x-glacier-backup://{name}/drills")],
        )
        opened >> plan >> request >> wait >> download >> database >> files >> clear
        # Runs whatever happened before it, also when the run was marked as failed.
        clear.as_teardown()
        files >> close
        clear >> close >> RequireProofOperator(task_id="require_proof", closed=close.output)
    for task in dag.tasks:
        task.start_date = ANY_DATE
    return dag


for _application in load_applications().values():
    if _application.drill.which != "off":
        _dag = drill_dag(_application)
        globals()[_dag.dag_id] = _dag
