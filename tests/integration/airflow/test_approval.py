"""A restore that passes its budget waits for a person, and does what the person says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from glacier_provider.applications import Application
from glacier_provider.core.plan import RestoreRequest
from tests.integration.airflow.test_round_trips import Make, back_up
from tests.support.airflow import Ran, run_dag
from tests.support.application import ApplicationUnderTest, a_small_dms

RESTORE = {"owner": "keep", "budget": 0.0}


@pytest.fixture(scope="module")
def airflow_api(airflow: None) -> Iterator[TestClient]:
    """Airflow's API server in this process, where everybody is an administrator."""
    from airflow.api_fastapi.app import create_app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "of the tests alone, and as long as signatures ask for; no more")
        with TestClient(create_app(apps="core")) as client:
            token = client.get("/auth/token").json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client


class Answerer(threading.Thread):
    """Somebody who answers the first question that Airflow asks, however long that takes; `seen` is what they read."""

    def __init__(self, api: TestClient, answer: str) -> None:
        super().__init__(daemon=True)
        self.api, self.answer = api, answer
        self.seen: dict[str, Any] = {}
        self.status = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.3):
            asked = self.api.get("/api/v2/dags/~/dagRuns/~/hitlDetails", params={"response_received": False}).json()
            if asked.get("hitl_details"):
                self.seen = asked["hitl_details"][0]
                instance = self.seen["task_instance"]
                path = (
                    f"/api/v2/dags/{instance['dag_id']}/dagRuns/{instance['dag_run_id']}"
                    f"/taskInstances/{instance['task_id']}/-1/hitlDetails"
                )
                body = {"chosen_options": [self.answer], "params_input": {}}
                self.status = self.api.patch(path, json=body).status_code
                return


def answered(api: TestClient, answer: str, restore: Callable[[], Ran]) -> tuple[Ran, Answerer]:
    person = Answerer(api, answer)
    person.start()
    try:
        ran = restore()
    finally:
        person.over.set()
        person.join(120)
    return ran, person


@pytest.fixture
def dear(make_application: Make) -> ApplicationUnderTest:
    """An application whose restores may cost nothing, with a backup and a file that is gone."""
    app = a_small_dms(make_application(restore=RESTORE))
    assert isinstance(app.application, Application)
    back_up(app)
    (app.files / "doc2.pdf").unlink()
    return app


def test_over_the_budget_nothing_is_asked_for_before_somebody_approves(
    airflow_api: TestClient, dear: ApplicationUnderTest
) -> None:
    ran, person = answered(airflow_api, "Approve", lambda: run_dag(dear, "restore", {"backup_id": "latest"}))
    assert person.status == 200
    assert "Estimated cost: " in person.seen["body"]
    assert "more than the budget of 0.00 USD" in person.seen["body"]
    assert ran.state == "success", ran.tasks
    assert (dear.files / "doc2.pdf").read_bytes() == b"content 2"
    (restore,) = dear.catalog.lists.restores(dear.application.name)
    assert restore["plan"]["over_budget"] is True


def test_a_rejected_restore_ends_without_a_request(airflow_api: TestClient, dear: ApplicationUnderTest) -> None:
    ran, person = answered(airflow_api, "Reject", lambda: run_dag(dear, "restore", {"backup_id": "latest"}))
    assert person.status == 200
    assert (ran.state, ran.failed) == ("failed", ["approve"])
    (restore,) = dear.catalog.lists.restores(dear.application.name)
    assert restore["state"] == "failed"
    assert "rejected the plan" in restore["error"]
    assert not (dear.files / "doc2.pdf").exists()
    assert dear.catalog.pages.restore_progress(restore["id"]).requests == [], "nothing was requested"


def test_an_approval_can_be_asked_for_whatever_it_costs(airflow_api: TestClient, make_application: Make) -> None:
    app = a_small_dms(make_application())
    back_up(app)
    conf = {"backup_id": "latest", "approve": True}
    assert RestoreRequest.from_params(conf).approve is True
    ran, person = answered(airflow_api, "Approve", lambda: run_dag(app, "restore", conf))
    assert (ran.state, person.status) == ("success", 200)
