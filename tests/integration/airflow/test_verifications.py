"""Verifications through Airflow: the product's DAG, run to its end, and what it says when something is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glacier_provider.applications.fields import VerifyOptions
from glacier_provider.core.proof import ProofKind
from tests.integration.test_lost import age, remove
from tests.integration.test_verified_content import ROLE
from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest, a_small_dms

Make = Callable[..., ApplicationUnderTest]


@pytest.mark.slow
def test_a_verification_by_content_runs_to_its_end_and_says_what_it_found(make_application: Make) -> None:
    app = a_small_dms(make_application(verify=VerifyOptions(by="content", role_arn=ROLE, days=1), poll_seconds=1))
    app.back_up()
    age(app)
    ran = run_dag(app, "verify")
    assert (ran.state, ran.failed) == ("success", [])
    proof = app.catalog.proofs.newest(ProofKind.VERIFICATION)
    assert proof is not None
    assert (proof["state"], proof["method"], proof["dag_id"]) == ("passed", "content", "glacier_verify__dms")
    assert [row["number"] for row in app.catalog.evidence.known()] == [1]

    remove(app, "doc1.pdf")
    ran = run_dag(app, "verify")
    assert (ran.state, ran.failed) == ("failed", ["require_proof"])
    proof = app.catalog.proofs.newest(ProofKind.VERIFICATION)
    assert proof is not None
    assert (proof["state"], proof["findings"][0]["names"]) == ("found", ["doc1.pdf (backup 1)"])
