"""``glacier-backup verify``, and the same steps as operators, with the connections that tasks have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from glacier_provider import cli
from glacier_provider.applications.fields import VerifyOptions
from glacier_provider.operators import verify_steps
from glacier_provider.sensors.checksums import ChecksumSensor
from tests.integration.test_cli_deletion import Answer
from tests.integration.test_lost import age, in_catalog, key_of, remove
from tests.integration.test_verified_content import ROLE
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest
from tests.unit.operators.builders import a_context, an_asset

Run = Callable[..., Answer]


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(poll_seconds=1, verify=VerifyOptions(by="content", role_arn=ROLE))
    dms.back_up()
    age(dms)
    return dms


@pytest.fixture
def run(app: ApplicationUnderTest, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*argv: object) -> Answer:
        capsys.readouterr()
        with settings_of(app):
            code = cli.main([str(argument) for argument in argv])
        return Answer(code, *capsys.readouterr())

    return run


def test_verify_lists_and_has_s3_compute_checksums(run: Run, app: ApplicationUnderTest) -> None:
    told = run("verify", "--estimate", "--all")
    assert (told.code, "1 job for 5 archives" in told.out) == (0, True), told
    estimate = told.out.splitlines()[1].strip()
    assert run("verify", "--estimate", "--all", "--json").json == {"dms": {"estimate": estimate}}
    assert in_catalog(app, "SELECT 1 FROM proofs") == []
    told = run("verify", "--application", "dms", "--all")
    assert told.code == 0, told
    assert "All is as it should be." in told.out
    assert "5 archives of 5 have the checksum that they were written with" in told.out
    remove(app, "doc1.pdf")
    told = run("verify", "--by", "listing", "--json")
    assert told.code == 1
    assert "Not all is as it should be: dms" in told.err
    assert told.json["dms"]["state"] == "found"
    assert told.json["dms"]["findings"][0]["names"] == ["doc1.pdf (backup 1)"]
    told = run("verify", "--by", "listing")
    assert told.code == 0
    assert "Nothing new was found." in told.out
    assert "Known before to be lost: 1 archive: doc1.pdf (backup 1)." in told.out
    assert "All is as it should be" not in told.out


def test_without_a_role_content_is_not_verified_and_it_is_said_what_to_do(run: Run, app: ApplicationUnderTest) -> None:
    app.configure(verify=VerifyOptions(by="content"))
    told = run("verify", "--all")
    assert told.code == 1
    assert "verify of dms names none" in told.err
    assert "set verify.role_arn" in told.err
    assert "Traceback" not in told.err


def test_the_steps_of_the_dag_come_to_a_proof(app: ApplicationUnderTest) -> None:
    in_catalog(app, "UPDATE glacier_archives SET archived_at = archived_at - interval '1 year'")
    app.s3.objects.key(app.bucket, key_of(app, "doc2.pdf")).value = b"content Z"

    def execute(kind: Any, **arguments: Any) -> Any:
        task = kind(task_id="step", application="dms", **arguments)
        return task.execute(a_context(task))

    with settings_of(app):
        proof_id = execute(verify_steps.OpenVerificationOperator)
        assert execute(verify_steps.VerifyListingOperator, proof_id=proof_id)["listed"] == 5
        assert execute(verify_steps.RequestChecksumsOperator, proof_id=proof_id) == 1
        app.s3.clock.advance(60)
        execute(ChecksumSensor, proof_id=proof_id)
        execute(verify_steps.ReadChecksumsOperator, proof_id=proof_id)
        asset = an_asset("verifications")
        close = verify_steps.CloseVerificationOperator(
            task_id="close", application="dms", proof_id=proof_id, outlets=[asset]
        )
        context = a_context(close)
        closed = close.execute(context)
        extra = context["outlet_events"][asset].extra
        assert (extra["state"], extra["findings"]) == ("found", [{"what": "lost", "count": 1, "grave": True}])
        assert extra["figures"]["content"]["matched"] == 4
        with pytest.raises(AirflowFailException, match=r"LOST: 1 archive cannot be brought back: doc2\.pdf"):
            execute(verify_steps.RequireProofOperator, closed=closed)
