"""One job of S3 Batch Operations asks for very many archives: once, whatever dies, and what it misses is asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from glacier_provider.applications.fields import VerifyOptions
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.batch import Batch
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.errors import StoreDenied, StoreUnavailable
from glacier_provider.pipelines import restore
from glacier_provider.stores import client_config
from glacier_provider.stores.s3.batch import (
    BatchAccess,
    BatchOperations,
    JobTold,
    control_client_config,
    reached_by_address,
)
from tests.emulator.faults import FaultKind
from tests.support.application import ApplicationUnderTest

ROLE = "arn:aws:iam::123456789012:role/glacier-verify"
FILES = 7
WHOLE = ArchiveRange(0, 2**62)


class Killed(BaseException):
    """The process ends here."""


class Asked:
    """An application of whose files none is left, and what is asked for in its bucket."""

    def __init__(self, app: ApplicationUnderTest) -> None:
        self.app = app
        self.before = self._counts()
        self.numbers: list[int] = []

    def _counts(self) -> dict[str, int]:
        batch = self.app.s3.batch
        single = self.app.s3.count("RestoreObject", bucket=self.app.bucket, status=202)
        return {"single": single, "by_job": batch.restored, "jobs": len(batch.jobs())}

    @property
    def counts(self) -> dict[str, int]:
        """What was asked for since: by requests, by jobs; and how many jobs there were."""
        return {name: count - self.before[name] for name, count in self._counts().items()}

    def batch(self, uri: str) -> BatchOperations:
        parsed = parse_store_uri(uri)
        assert isinstance(parsed, S3Uri)
        control = self.app.s3.client("s3control", config=control_client_config("us-east-1"))
        client = self.app.s3.client(config=client_config(uri))
        access = BatchAccess("123456789012", ROLE, ".glacier-batch/dms")
        return BatchOperations(parsed, client=client, control=reached_by_address(control), access=access)

    def plan(self, **params: Any) -> int:
        planned = self.app.plan(**params)
        self.lines = planned["lines"]
        self.numbers.append(planned["restore_id"])
        return int(planned["restore_id"])

    def request(self, number: int) -> int:
        asked: dict[str, Any] = {"catalog": self.app.catalog, "stores": self.app.stores, "batches": self.batch}
        return restore.request_retrievals(self.app.application, number, WHOLE, **asked)["requested"]

    def poll(self, number: int, seconds: float = 60.0) -> restore.Waiting:
        self.app.s3.clock.advance(seconds)
        return restore.poll_retrievals(
            self.app.application, number, catalog=self.app.catalog, stores=self.app.stores, batches=self.batch
        )

    def wait(self, number: int) -> None:
        for _ in range(20):
            if self.poll(number).done:
                return
        raise AssertionError(restore.describe_still_missing(number, catalog=self.app.catalog))

    def finish(self, number: int) -> None:
        restore.download_archives(self.app.application, number, WHOLE, catalog=self.app.catalog, stores=self.app.stores)
        self.app.finish(number)
        assert len(self.app.contents()) == FILES

    def left(self) -> list[str]:
        return [key for key in self.app.keys_in_store() if ".glacier-batch" in key]

    def lose_files(self) -> None:
        for path in self.app.files.rglob("*.bin"):
            path.unlink()


@pytest.fixture
def asked(dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr("glacier_provider.core.plan.BATCH_FROM", 3)
    dms.configure(settle_seconds=0, verify=VerifyOptions(role_arn=ROLE))
    for path in [one for one in dms.files.rglob("*") if one.is_file()]:
        path.unlink()
    for number in range(FILES):
        dms.write(f"{number}.bin", f"file {number}".encode())
    dms.back_up()
    asked = Asked(dms)
    asked.lose_files()
    yield asked
    dms.s3.plan.clear()
    dms.s3.batch.refused_roles.clear()
    dms.s3.batch.forget()  # what a test left unfinished goes on whenever somebody lists jobs


def test_one_job_asks_for_all_and_the_rest_is_as_ever(asked: Asked) -> None:
    number = asked.plan()
    (line,) = [line for line in asked.lines if "Batch" in line]
    assert re.search(r"1 job of S3 Batch Operations will ask for 8 archives, for 0\.25 USD more than one by one", line)
    assert asked.request(number) == FILES + 1
    assert asked.request(number) == 0  # another of its tasks, or the same again
    asked.wait(number)
    asked.finish(number)
    assert asked.counts == {"single": 0, "by_job": FILES + 1, "jobs": 1}
    assert asked.left() == []


def test_what_is_not_asked_for_yet_is_waited_for(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(asked.app.s3.batch.seconds, "Active", 3600.0)
    number = asked.plan()
    asked.request(number)
    for _ in range(3):
        assert asked.poll(number) == restore.Waiting(pending=FILES + 1, ready=0)
    assert asked.counts["single"] == 0
    asked.poll(number, 3600)
    asked.wait(number)
    assert asked.counts == {"single": 0, "by_job": FILES + 1, "jobs": 1}


@pytest.mark.parametrize("settings", [{"retrieval_batch": "never"}, {"verify": VerifyOptions()}])
def test_without_a_role_or_a_wish_each_is_asked_for_by_itself(asked: Asked, settings: dict[str, Any]) -> None:
    asked.app.configure(**settings)
    number = asked.plan()
    assert not [line for line in asked.lines if "Batch" in line]
    assert asked.request(number) == FILES + 1
    assert asked.counts == {"single": FILES + 1, "by_job": 0, "jobs": 0}


def test_few_archives_and_the_quickest_tier_are_asked_for_one_by_one(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = asked.plan(tier="Expedited")
    assert not [line for line in asked.lines if "Batch" in line]
    monkeypatch.setattr("glacier_provider.core.plan.BATCH_FROM", FILES + 2)
    asked.plan()
    assert not [line for line in asked.lines if "Batch" in line]
    assert asked.request(number) == FILES + 1
    assert asked.counts["jobs"] == 0


@pytest.mark.parametrize(
    ("method", "after"),
    [
        ("plan_retrievals", True),
        ("manifest_written", False),
        ("manifest_written", True),
        ("retrievals_created", False),
        ("retrievals_created", True),
    ],
)
@pytest.mark.parametrize(
    "who",
    [
        "the same restore",
        pytest.param("another one", marks=pytest.mark.slow),
        pytest.param("another one, after it failed", marks=pytest.mark.slow),
    ],
)
def test_a_task_that_dies_while_it_asks_leaves_one_job(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, method: str, after: bool, who: str
) -> None:
    number = asked.plan()
    usual = getattr(Batch, method)

    def die(*arguments: Any, **named: Any) -> Any:
        if after:
            usual(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Batch, method, die)
        with pytest.raises(Killed):
            asked.request(number)
    if who != "the same restore":
        if "failed" in who:
            asked.app.catalog.restores.fail(number, "it was killed")
        number = asked.plan()
    asked.request(number)
    asked.wait(number)
    asked.finish(number)
    assert asked.counts["single"] + asked.counts["by_job"] == FILES + 1, asked.counts
    assert asked.counts["jobs"] <= 1
    assert who != "the same restore" or asked.counts["by_job"] == FILES + 1
    assert asked.left() == []


@pytest.mark.parametrize("fault", [FaultKind.FAIL_JOB, FaultKind.HALF_JOB, FaultKind.LOSE_REPORT, FaultKind.CUT_REPORT])
def test_what_a_job_did_not_ask_for_is_asked_for_one_by_one(asked: Asked, fault: FaultKind) -> None:
    asked.app.s3.plan.inject("BatchJob", fault)
    number = asked.plan()
    asked.request(number)
    for seconds in (60, 4000):  # a report is waited for
        asked.poll(number, seconds)
    asked.wait(number)
    asked.finish(number)
    assert asked.counts["single"] + asked.counts["by_job"] == FILES + 1, asked.counts
    assert asked.counts["jobs"] == 1


def test_single_tasks_that_fail_are_asked_for_one_by_one(asked: Asked) -> None:
    asked.app.s3.plan.inject("BatchTask", FaultKind.FAIL_TASK, count=2)
    number = asked.plan()
    asked.request(number)
    asked.wait(number)
    asked.finish(number)
    assert asked.counts == {"single": 2, "by_job": FILES - 1, "jobs": 1}


def half(results: Iterator[Any]) -> Iterator[Any]:
    """Some of the rows of a report, and then the death of who reads it."""
    yield from itertools.islice(results, FILES // 2)
    raise Killed


@pytest.mark.parametrize("when", ["half of the report is read", "it is read and not noted", "it is settled"])
def test_a_look_that_dies_over_a_report_takes_it_once(asked: Asked, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    asked.app.s3.plan.inject("BatchTask", FaultKind.FAIL_TASK, count=2)
    number = asked.plan()
    asked.request(number)
    usual = Batch.settle_retrievals

    def settle(batch: Batch, job: Any, results: Iterator[Any], *told: Any) -> Any:
        usual(batch, job, half(results) if when == "half of the report is read" else results, *told)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "settle_retrievals", settle)
        if when == "it is read and not noted":
            patch.setattr(Batch, "read", lambda *_: next(half(iter(()))))
        with pytest.raises(Killed):
            asked.wait(number)
    asked.wait(number)
    asked.finish(number)
    assert asked.counts == {"single": 2, "by_job": FILES - 1, "jobs": 1}
    assert asked.left() == [] or when == "it is settled"  # the next verification deletes what is left then


def test_a_job_that_may_not_be_made_is_told_and_each_is_asked_for_by_itself(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    asked.app.s3.plan.inject("CreateJob", FaultKind.ACCESS_DENIED)
    number = asked.plan()
    assert asked.request(number) == FILES + 1
    assert "No job can ask for the archives; each is asked for by itself." in caplog.text
    assert "docs/operations.md" in caplog.text
    asked.wait(number)
    assert asked.counts == {"single": FILES + 1, "by_job": 0, "jobs": 0}


def test_a_role_that_may_not_read_is_told_and_each_is_asked_for_by_itself(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    asked.app.s3.batch.refused_roles.add(ROLE)
    number = asked.plan()
    asked.request(number)
    asked.wait(number)
    assert "AccessDenied" in caplog.text
    assert asked.counts == {"single": FILES + 1, "by_job": 0, "jobs": 1}


def test_a_lost_answer_is_no_second_job(asked: Asked) -> None:
    asked.app.s3.plan.inject("CreateJob", FaultKind.RESET_AFTER, count=9)
    number = asked.plan()
    with pytest.raises(StoreUnavailable):
        asked.request(number)
    asked.app.s3.plan.clear()
    asked.request(number)
    asked.wait(number)
    assert asked.counts == {"single": 0, "by_job": FILES + 1, "jobs": 1}


def test_another_restore_waits_for_the_same_job(asked: Asked) -> None:
    first = asked.plan()
    asked.request(first)
    second = asked.plan()
    assert asked.request(second) == 0
    asked.wait(second)
    asked.finish(second)
    assert asked.counts == {"single": 0, "by_job": FILES + 1, "jobs": 1}


OTHERWISE = [
    ({"retrieval_batch": "never"}, {}),
    ({"verify": VerifyOptions()}, {}),
    ({}, {"tier": "Expedited"}),
    ({}, {"tier": "Bulk"}),
    ({}, {"days": 2}),
]


@pytest.mark.parametrize(("settings", "params"), OTHERWISE)
@pytest.mark.parametrize("died_after", ["plan_retrievals", "manifest_written"])
def test_what_a_job_was_planned_for_that_is_wanted_no_longer_is_asked_for_otherwise(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, died_after: str, settings: dict[str, Any], params: dict[str, Any]
) -> None:
    """A person changed a setting, or planned again by another tier, after a task had died."""
    run = asked.app.a_run("restore")
    number = asked.plan(run=run)
    usual = getattr(Batch, died_after)

    def die(*arguments: Any, **named: Any) -> Any:
        usual(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Batch, died_after, die)
        with pytest.raises(Killed):
            asked.request(number)
    asked.app.configure(**settings)
    if params:
        assert asked.plan(run=run, **params) == number
    assert asked.request(number) == FILES + 1
    asked.wait(number)
    asked.finish(number)
    is_by_job = bool(params) and bool([line for line in asked.lines if "Batch" in line])
    assert is_by_job == (params not in ({}, {"tier": "Expedited"}))
    every = FILES + 1
    assert asked.counts == (
        {"single": 0, "by_job": every, "jobs": 1} if is_by_job else {"single": every, "by_job": 0, "jobs": 0}
    )
    assert asked.left() == []


@pytest.mark.parametrize("knows", [True, False])
def test_where_no_job_can_be_made_from_here_the_error_says_how_to_go_on(asked: Asked, knows: bool) -> None:
    """As where the endpoint of a VPC leads to S3, and not to S3 Control."""
    for operation in ("CreateJob", "ListJobs"):
        asked.app.s3.plan.inject(operation, FaultKind.RESET_AFTER if knows else FaultKind.RESET_BEFORE)
    number = asked.plan()
    with pytest.raises(StoreUnavailable, match="set retrieval_batch: never and clear the task"):
        asked.request(number)
    asked.app.configure(retrieval_batch="never")
    asked.request(number)
    asked.app.s3.plan.clear()
    asked.wait(number)
    asked.finish(number)
    assert asked.counts["single"] + asked.counts["by_job"] == FILES + 1, asked.counts
    assert bool(asked.counts["by_job"]) is knows, "S3 joins what the job asks for, if there is one"


def test_a_restore_that_is_planned_again_has_the_job_that_its_plan_prices(asked: Asked) -> None:
    run = asked.app.a_run("restore")
    number = asked.plan(run=run)
    asked.request(number)
    asked.wait(number)
    asked.app.s3.clock.advance(30 * 86400)
    with asked.app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.glacier_retrievals SET expires_at = now() - interval '1 minute'")
    assert asked.plan(run=run) == number
    assert [line for line in asked.lines if "will ask for 8 archives" in line]
    asked.request(number)
    asked.wait(number)
    asked.finish(number)
    assert asked.counts == {"single": 0, "by_job": 2 * (FILES + 1), "jobs": 2}


@pytest.mark.parametrize("kind", [FaultKind.ACCESS_DENIED, FaultKind.RESET_BEFORE])
def test_what_can_be_read_does_not_wait_for_what_is_said_of_its_job(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, kind: FaultKind
) -> None:
    monkeypatch.setitem(asked.app.s3.batch.seconds, "Completing", 10.0**6)
    number = asked.plan()
    asked.request(number)
    assert not asked.poll(number, 1.0).done  # when this look has ended, the job has asked for all of them
    asked.app.s3.plan.inject("DescribeJob", kind)
    assert asked.poll(number).done
    asked.finish(number)


def test_a_job_of_which_nothing_is_said_is_an_error_while_it_is_waited_for(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(asked.app.s3.batch.seconds, "Active", 10.0**6)
    number = asked.plan()
    asked.request(number)
    asked.app.s3.plan.inject("DescribeJob", FaultKind.ACCESS_DENIED)
    with pytest.raises(StoreDenied, match="s3:DescribeJob"):
        asked.poll(number)


def test_a_job_that_a_person_has_paused_is_told(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    number = asked.plan()
    asked.request(number)
    monkeypatch.setattr(BatchOperations, "describe", lambda *_: JobTold("Paused"))
    assert not asked.poll(number).done
    assert "which asks for archives, is paused." in caplog.text
