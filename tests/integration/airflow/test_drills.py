"""Drills through Airflow: the product's DAG, run to its end, also when something goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glacier_provider.applications.fields import DrillOptions
from glacier_provider.core.proof import ProofKind
from tests.emulator.faults import FaultKind
from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest, a_small_dms
from tests.support.drill import leftovers

Make = Callable[..., ApplicationUnderTest]


@pytest.mark.slow
def test_a_drill_runs_to_its_end_and_says_what_it_found(make_application: Make) -> None:
    app = a_small_dms(make_application(drill=DrillOptions(which="newest")))
    app.back_up()
    ran = run_dag(app, "drill")
    assert (ran.state, ran.failed) == ("success", [])
    proof = app.catalog.proofs.newest(ProofKind.DRILL)
    assert proof is not None
    assert (proof["state"], proof["findings"], proof["dag_id"]) == ("passed", [], "glacier_drill__dms")
    assert proof["figures"]["files"]["checked"] == 3
    assert proof["figures"]["times"]["recovery"] > 0
    assert leftovers(app) == []

    app.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*doc2.pdf*"})
    ran = run_dag(app, "drill")
    assert (ran.state, ran.failed) == ("failed", ["require_proof"])
    proof = app.catalog.proofs.newest(ProofKind.DRILL)
    assert proof is not None
    assert proof["state"] == "found"
    assert leftovers(app) == []

    app.s3.plan.clear()
    app.s3.deny(app.bucket, {"GetObject"})
    ran = run_dag(app, "drill")
    assert (ran.state, ran.failed) == ("failed", ["download", "require_proof"])
    assert ran.tasks["clear_drill"] == ran.tasks["close_drill"] == ["success"]
    proof = app.catalog.proofs.newest(ProofKind.DRILL)
    assert proof is not None
    assert proof["state"] == "failed"
    assert "denied" in proof["error"].lower()
    assert leftovers(app) == []
