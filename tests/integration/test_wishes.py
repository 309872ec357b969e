"""By which tier and for how long archives are asked for, whichever way that is; and what jobs leave behind."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.restore import pools, wait
from glacier_provider.stores.s3.batch import BatchOperations
from tests.emulator.faults import FaultKind
from tests.integration.test_restored_by_batch import FILES, Asked
from tests.integration.test_restored_by_batch import asked as asked


def wishes(asked: Asked) -> set[tuple[str, int]]:
    """Return tier and days by which what is in the bucket was asked for."""
    bucket = asked.app.s3.objects.bucket(asked.app.bucket)
    assert bucket is not None
    thaws = [getattr(key, "thaw", None) for key in bucket.keys.values()]
    found = [(thaw.tier, thaw.days) for thaw in thaws if thaw is not None]
    assert len(found) == FILES + 1
    return set(found)


@pytest.mark.parametrize("way", ["by a job", "by processes", "one by one"])
@pytest.mark.parametrize(("tier", "days"), [("Standard", 3), ("Bulk", 5)])
def test_archives_are_asked_for_by_the_tier_and_for_the_days_of_the_plan(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, way: str, tier: str, days: int
) -> None:
    monkeypatch.setattr(pools, "PROCESSES_FROM", 0 if way == "by processes" else 10**9)
    if way != "by a job":
        asked.app.configure(retrieval_batch="never")
    number = asked.plan(tier=tier, days=days)
    asked.request(number)
    asked.poll(number)
    assert wishes(asked) == {(tier, days)}
    assert asked.counts["jobs"] == (way == "by a job")


def test_a_job_that_aws_does_not_know_any_more_is_not_waited_for(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    number = asked.plan()
    asked.request(number)
    monkeypatch.setattr(BatchOperations, "describe", lambda *_: None)
    asked.wait(number)
    asked.finish(number)
    assert "does not know the job" in caplog.text
    assert asked.counts == {"single": FILES + 1, "by_job": 0, "jobs": 1}


def test_what_a_job_missed_is_told_by_the_codes_of_s3(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    asked.app.s3.plan.inject("BatchTask", FaultKind.FAIL_TASK, count=2)
    number = asked.plan()
    asked.request(number)
    asked.wait(number)
    assert "did not ask for 2 archives (InternalError: 2); each is asked for by itself." in caplog.text
    assert "docs/operations.md" not in caplog.text, "the role has nothing to do with it"


def test_what_somebody_asked_for_before_the_job_did_is_not_asked_for_again(asked: Asked) -> None:
    number = asked.plan(tier="Standard", days=3)
    asked.app.s3.retrievals_take(3600)
    asked.request(number)
    (key, *_) = [key for key in asked.app.keys_in_store() if "/files/" in key]
    wish = {"Days": 3, "GlacierJobParameters": {"Tier": "Standard"}}
    asked.app.s3.client().restore_object(Bucket=asked.app.bucket, Key=key, RestoreRequest=wish)
    for _ in range(3):
        asked.poll(number)
    assert asked.counts == {"single": 1, "by_job": FILES, "jobs": 1}
    assert asked.app.s3.count("RestoreObject", bucket=asked.app.bucket, status=409) == 0
    asked.poll(number, 7200)
    asked.wait(number)
    asked.finish(number)


def test_a_person_cancels_a_job_and_what_it_did_not_ask_for_is_asked_for_one_by_one(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(asked.app.s3.batch.seconds, "Active", 10.0**6)
    number = asked.plan()
    asked.request(number)
    asked.poll(number)
    (job,) = [one for one in asked.app.s3.batch.jobs() if one.status == "Active"]
    control = asked.batch(asked.app.application.store)._control
    control.update_job_status(AccountId=job.account, JobId=job.id, RequestedJobStatus="Cancelled")
    asked.wait(number)
    asked.finish(number)
    assert asked.counts == {"single": FILES + 1 - (FILES + 1) // 2, "by_job": (FILES + 1) // 2, "jobs": 1}
    assert f"The job {job.id} is Cancelled" in caplog.text


@pytest.mark.parametrize("may_delete", [True, False])
def test_what_a_job_left_in_the_store_is_known_until_it_is_deleted(asked: Asked, may_delete: bool) -> None:
    number = asked.plan()
    asked.request(number)
    if not may_delete:
        asked.app.s3.plan.inject("DeleteObjects", FaultKind.ACCESS_DENIED)
        asked.app.s3.plan.inject("DeleteObject", FaultKind.ACCESS_DENIED)
    asked.wait(number)
    assert bool(asked.left()) is not may_delete
    assert bool(asked.app.catalog.batch.uncleared()) is not may_delete
    asked.app.s3.plan.clear()
    asked.finish(number)


def test_what_aws_says_of_a_job_is_kept(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(asked.app.s3.batch.seconds, "Active", 3600.0)
    number = asked.plan()
    asked.request(number)
    for _ in range(2):
        asked.poll(number)
    (job,) = asked.app.catalog.batch.open_retrievals()
    assert (job["told"]["status"], job["told"]["total"]) == ("Active", FILES + 1)


def test_a_job_is_told_as_the_number_of_archives_that_it_asks_for(asked: Asked) -> None:
    number = asked.plan()
    assert asked.request(number) == FILES + 1
    assert asked.counts == {"single": 0, "by_job": 0, "jobs": 1}


def test_a_job_that_another_restore_makes_while_a_look_begins_is_waited_for(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(asked.app.s3.batch.seconds, "Active", 3600.0)
    first, second = asked.plan(), asked.plan()
    asked.app.catalog.restores.start(first)
    usual, made = wait.open_jobs, list[int]()

    def open_jobs(catalog: Catalog) -> Any:
        jobs = usual(catalog)
        if not made:
            made.append(asked.request(second))
        return jobs

    monkeypatch.setattr(wait, "open_jobs", open_jobs)
    for _ in range(2):
        assert asked.poll(first) == restore.Waiting(pending=FILES + 1, ready=0)
    assert made == [FILES + 1]
    assert asked.counts["single"] == 0


def test_a_restore_that_is_over_begins_no_job(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it has planned until then."""

    class Over(Exception):
        pass

    numbers = itertools.count()

    def after(calls: int) -> Any:
        def may_go_on() -> None:
            if next(numbers) >= calls:
                raise Over

        return may_go_on

    number = asked.plan()
    plan = asked.app.catalog.restores.get(number)["plan"]
    for calls in (0, 1):
        numbers = itertools.count()
        with pytest.raises(Over):
            restore.batch.ask_by_batch(
                asked.app.application,
                number,
                plan,
                catalog=asked.app.catalog,
                batches=asked.batch,
                may_go_on=after(calls),
            )
        assert asked.counts["jobs"] == 0
        assert len(asked.app.catalog.batch.open_retrievals()) == calls
