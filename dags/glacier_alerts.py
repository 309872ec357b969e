"""One DAG that calls people, if an application of applications.yaml names any: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from glacier_provider.applications import load_applications
from glacier_provider.operators.alert_steps import TellAlertsOperator
from glacier_provider.operators.base import ANY_DATE

DOC = """
### Alerts of the Glacier backups

Looks every ten minutes at the catalog and tells the targets of `alerts` what they were not told yet: a backup that
failed or is late, files that are lost, a restore that waits for a person. Nobody is told twice of the same.

* A target that does not answer keeps no backup waiting: this DAG has no part in backups.
* When the task failed, its log names the target. Try it: `glacier-backup alerts test`.
* Nothing tells that this DAG itself stands still but a monitor outside: see `ping` and `glacier-backup check`.
"""

_applications = load_applications()
if any(one.to for one in (*(app.alerts for app in _applications.values()), *_applications.alerts_of_wrong.values())):
    with DAG(
        dag_id="glacier_alerts",
        dag_display_name="Alerts of the Glacier backups",
        description="Tells people what is wrong with the backups",
        doc_md=DOC,
        schedule="*/10 * * * *",
        start_date=ANY_DATE,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=30),
        tags=["glacier", "alerts"],
        is_paused_upon_creation=False,
    ) as dag:
        TellAlertsOperator(task_id="tell_alerts", retries=0)
