"""Backups are deleted through Airflow: confirmed, planned, and only then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest


@pytest.fixture
def two(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    """Two backups; `once.txt` is in the first alone."""
    dms.write("once.txt", "once")
    dms.back_up()
    (dms.files / "once.txt").unlink()
    dms.back_up()
    return dms


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that a run wrote."""
    return lambda: "".join(capfd.readouterr()) + caplog.text


def states(app: ApplicationUnderTest) -> list[str]:
    return [row["state"] for row in reversed(app.catalog.lists.backups())]


def test_a_confirmed_deletion_goes_through_airflow(two: ApplicationUnderTest) -> None:
    ran = run_dag(two, "delete", {"backup_id": 1, "confirm": "dms-1"})
    assert (ran.state, ran.failed) == ("success", [])
    assert states(two) == ["deleted", "complete"]
    listed = two.s3.client().list_objects_v2(Bucket=two.bucket)["Contents"]
    assert not [one["Key"] for one in listed if one["Key"].endswith("once.txt")]


def test_a_deletion_that_is_not_confirmed_changes_nothing(two: ApplicationUnderTest, said: Callable[[], str]) -> None:
    ran = run_dag(two, "delete", {"backup_id": 1, "confirm": "dms-2"})
    assert (ran.state, ran.failed) == ("failed", ["plan_deletion"])
    text = said()
    assert "is not confirmed: confirm is 'dms-2'" in text
    assert "Nothing was changed" in text
    assert states(two) == ["complete", "complete"]


def test_the_newest_complete_backup_is_refused(two: ApplicationUnderTest, said: Callable[[], str]) -> None:
    ran = run_dag(two, "delete", {"backup_id": "2", "confirm": "dms-2"})
    assert ran.failed == ["plan_deletion"]
    assert "Backup 2 is the newest complete backup of dms." in said()
    assert states(two) == ["complete", "complete"]
