"""What is wrong with an application is looked at by a worker, and shown on the page to who may edit its DAGs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.ui.conftest import ADMIN, STRANGER, VIEWER, Get, Person, Site

SAME = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
DAG = "glacier_doctor__dms"
EXAMINATION = "/applications/dms/examination"
WRONG = {"about": "bucket", "judgement": "wrong", "told": "AccessDenied", "mend": "See --fix-print."}
WELL = {"about": "clock", "judgement": "well", "told": "it is right", "mend": ""}


def test_who_may_edit_its_dags_has_a_worker_look(site: Site) -> None:
    client = site.seen_by(ADMIN)
    assert client.get("/api/applications/dms").json()["actions"]["examine"] is True
    started = client.post("/api/applications/dms/examination", json={}, headers=SAME)
    assert (started.status_code, started.json()["dag_id"]) == (201, DAG)
    assert site.planned.started == [(DAG, {}, "somebody")]


@pytest.mark.parametrize(("person", "status"), [(VIEWER, 403), (STRANGER, 403)])
def test_who_may_not_sees_neither_button_nor_findings(site: Site, person: Person, status: int) -> None:
    client = site.seen_by(person)
    if person is VIEWER:
        assert client.get("/api/applications/dms").json()["actions"]["examine"] is False
    assert client.post("/api/applications/dms/examination", json={}, headers=SAME).status_code == status
    assert client.get("/api/applications/dms/examination", params={"dag_run_id": "x"}).status_code == status
    assert site.planned.started == []


def test_what_the_worker_found_is_told_the_worst_first(site: Site, get: Get) -> None:
    site.planned.runs[DAG, "manual__1"] = []
    assert worker(get(EXAMINATION, dag_run_id="manual__1")) == []
    site.planned.answers[DAG, "manual__1", "examine"] = {"wrong": 1, "findings": [WELL, WRONG]}
    found = get(EXAMINATION, dag_run_id="manual__1")
    assert found["state"] == "success"
    assert worker(found) == [WRONG, WELL]


@pytest.mark.parametrize("returned", ["text", {"findings": "x"}, {"findings": [1, {"about": 1}]}, [WRONG]])
def test_what_is_no_answer_of_the_task_is_left_out(site: Site, get: Get, returned: Any) -> None:
    site.planned.runs[DAG, "manual__1"] = []
    site.planned.answers[DAG, "manual__1", "examine"] = returned
    assert worker(get(EXAMINATION, dag_run_id="manual__1")) == []


def test_a_run_that_is_not_there_is_said_to_be_none(site: Site) -> None:
    client = site.seen_by(ADMIN)
    assert client.get("/api/applications/dms/examination", params={"dag_run_id": "x"}).status_code == 404


def worker(found: Any) -> list[Any]:
    """What is not told by this server itself, of Airflow."""
    return [one for one in found["findings"] if one["about"] in ("bucket", "clock")]
