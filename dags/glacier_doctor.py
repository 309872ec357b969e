"""What can be wrong in the first hour, looked at by a worker: one DAG for each application. Wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from glacier_provider.applications import Application, load_applications
from glacier_provider.core.dags import DOCTOR
from glacier_provider.operators.base import ANY_DATE, dag_args, tells_its_end
from glacier_provider.operators.doctor_steps import ExamineOperator

DOC = """
### What is wrong with {name}

Looks at all that can be wrong in the first hour, from a worker that does its backups: connections, privileges, client
programs, directories, the bucket and each permission. Nothing is changed; each finding comes with its mend.

The button *Examine …* on the application's page starts it and shows what it found. It is in the task's log, too.
By hand: `glacier-backup doctor {name}`, which looks from where it is called.
"""


def doctor_dag(application: Application) -> DAG:
    """Return the DAG that examines one application."""
    name = application.name
    with DAG(
        **dag_args(DOCTOR, application),
        **tells_its_end(),
        dag_display_name=f"Examination of {name}",
        description=f"What can be wrong with the backups of {name}, each with its mend",
        doc_md=DOC.format(name=name),
        schedule=None,
        start_date=ANY_DATE,
        max_active_runs=1,
        is_paused_upon_creation=False,
        dagrun_timeout=timedelta(hours=1),
    ) as dag:
        ExamineOperator(task_id="examine")
    return dag


for _application in load_applications().values():
    _dag = doctor_dag(_application)
    globals()[_dag.dag_id] = _dag
