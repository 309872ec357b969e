"""One verification DAG for each application of applications.yaml that has a section `verify`: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Asset, TriggerRule

from glacier_provider.applications import Application, load_applications
from glacier_provider.core.dags import VERIFY
from glacier_provider.operators.base import ANY_DATE, dag_args, tells_its_end
from glacier_provider.operators.verify_steps import (
    CloseVerificationOperator,
    OpenVerificationOperator,
    ReadChecksumsOperator,
    RequestChecksumsOperator,
    RequireProofOperator,
    VerifyListingOperator,
)
from glacier_provider.sensors.checksums import ChecksumSensor

DOC = """
### Verification of what {name} has in the cold

Compares `{store}` with the catalog, where it lies: nothing is retrieved, nothing is downloaded.

* By listing: each archive is there, with its size and in its class, and nothing else is.
* By content (`verify.by: content`): S3 computes the checksums of what was not verified for `verify.days`; a vault
  tells tree hashes by its inventory anyway.
* What is missing or corrupt is lost, and named with its backups; the run fails then. The next backup archives anew
  what is still in `{files}`.
* When a task failed, clear it: no job is paid twice. A run goes on with what an earlier one asked for.
* By hand, also without Airflow: `glacier-backup verify --application {name}`.
"""


def verification_dag(application: Application) -> DAG:
    """Return the verification DAG of one application."""
    name, options = application.name, application.verify
    with DAG(
        **dag_args(VERIFY, application),
        **tells_its_end(),
        dag_display_name=f"Verification of {name}",
        description=f"What the stores of {name} hold, compared with the catalog where it lies",
        doc_md=DOC.format(name=name, store=application.store, files=application.files_directory),
        schedule=options.schedule,
        start_date=application.first_day,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=options.timeout_hours + 24),
    ) as dag:
        opened = OpenVerificationOperator(task_id="open_verification")
        proof_id = opened.output
        last = opened >> VerifyListingOperator(task_id="verify_listing", proof_id=proof_id)
        if options.by == "content" and application.store.startswith("s3:"):
            last = (
                last
                >> RequestChecksumsOperator(task_id="request_checksums", proof_id=proof_id)
                >> ChecksumSensor(
                    task_id="wait_for_checksums",
                    proof_id=proof_id,
                    poke_interval=application.poll_seconds,
                    timeout=options.timeout_hours * 3600,
                )
                >> ReadChecksumsOperator(task_id="read_checksums", proof_id=proof_id)
            )
        close = CloseVerificationOperator(
            task_id="close_verification",
            proof_id=proof_id,
            # Also when something could not be looked at: the row says so.
            trigger_rule=TriggerRule.ALL_DONE,
            outlets=[Asset(name=f"glacier_verify__{name}", uri=f"x-glacier-backup://{name}/verifications")],
        )
        last >> close >> RequireProofOperator(task_id="require_proof", closed=close.output)
    for task in dag.tasks:
        task.start_date = ANY_DATE
    return dag


for _application in load_applications().values():
    if _application.verify.by != "off":
        _dag = verification_dag(_application)
        globals()[_dag.dag_id] = _dag
