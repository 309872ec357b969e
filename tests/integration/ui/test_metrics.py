"""``GET /glacier/metrics``: for whoever shows the token, or is logged in and then of what they may see."""

from __future__ import annotations

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from glacier_provider.postgres import Server
from glacier_provider.ui import access
from tests.integration.ui.conftest import DAGS, Person, Site
from tests.support.backups import a_backup_row, ago

TOKEN = "a token of monitoring"


@pytest.fixture
def client(site: Site, catalog_database: Server, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("AIRFLOW__GLACIER_PROVIDER__METRICS_TOKEN", TOKEN)
    for name in ("dms", "other"):
        site.configure(name)
        a_backup_row(catalog_database, name, "complete", ago(hours=1))
    return TestClient(site.app)


def applications(text: str) -> set[str]:
    found = text_string_to_metric_families(text)
    return {one.labels["application"] for family in found for one in family.samples if "application" in one.labels}


def test_whoever_shows_the_token_reads_all(client: TestClient) -> None:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert applications(answer.text) == {"dms", "other"}
    assert "glacier_storage_cost_per_month" in answer.text


@pytest.mark.parametrize("header", [None, "Bearer ", "Bearer another", f"Basic {TOKEN}", TOKEN])
@pytest.mark.parametrize("token", [TOKEN, ""])
def test_nobody_else_does(client: TestClient, header: str | None, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise HTTPException(401)

    monkeypatch.setattr(access, "get_user", refuse)
    monkeypatch.setenv("AIRFLOW__GLACIER_PROVIDER__METRICS_TOKEN", token)
    answer = client.get("/metrics", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert "metrics_token" in answer.text
    assert "glacier_backup" not in answer.text


def test_whoever_is_logged_in_reads_what_they_may_see(client: TestClient, site: Site) -> None:
    person = Person(reads=[dag for dag in DAGS if dag.endswith("__dms")])
    site.app.dependency_overrides[access.metrics_reader] = lambda: person
    assert applications(client.get("/metrics").text) == {"dms"}


def test_a_catalog_that_is_away_is_told_and_takes_no_other_with_it(
    client: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", "postgres://x@127.0.0.1:1/x")
    site.configure("other", catalog_conn_id="away")
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert applications(answer.text) == {"dms"}
    assert 'glacier_catalog_up{catalog="away/glacier_catalog"} 0' in answer.text
    assert 'glacier_catalog_up{catalog="the_catalog/glacier_catalog"} 1' in answer.text


def test_what_applications_yaml_names_is_told_also_where_the_catalog_never_heard_of_it(
    client: TestClient, site: Site
) -> None:
    site.configure("new", files_directory="/srv/new")
    site.configure("bad", files_directory="/srv/bad", store="nowhere")
    text = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert applications(text) == {"dms", "other", "new", "bad"}
    assert 'glacier_state{application="new"} 2' in text
    assert 'glacier_application_wrong{application="bad"} 1' in text
    person = Person(reads=[dag for dag in DAGS if dag.endswith("__dms")])
    site.app.dependency_overrides[access.metrics_reader] = lambda: person
    assert applications(client.get("/metrics").text) == {"dms"}
