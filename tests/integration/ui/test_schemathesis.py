"""The API against its own description: Airflow itself, in this process, with a login; requests made by schemathesis."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from starlette.routing import Mount
from starlette.testclient import TestClient

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.postgres import Server
from glacier_provider.ui.plugin import PREFIX
from glacier_provider.ui.web import create_app
from tests.integration.catalog.test_backups import a_backup, a_run
from tests.integration.ui.conftest import an_entry, connection_of
from tests.integration.ui.test_api import a_restore
from tests.support.airflow import initialise_airflow

LOGIN = {"username": "admin", "password": "admin"}
#: Few, since every run of the tests makes them for every route; `--hypothesis-seed` makes others.
EXAMPLES = 8

schema = schemathesis.openapi.from_dict(create_app().openapi())


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, migrated: Server) -> Iterator[TestClient]:
    """Airflow's API server in this process, as somebody who has logged in sees it."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "passwords.json").write_text(json.dumps({LOGIN["username"]: LOGIN["password"]}))
    (home / "applications.yaml").write_text(yaml.safe_dump({"applications": {"dms": an_entry(home, "dms")}}))
    variables = {
        "GLACIER_APPLICATIONS": str(home / "applications.yaml"),
        "AIRFLOW_CONN_THE_CATALOG": connection_of(migrated),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "of the tests alone, and as long as signatures ask for; nothing else has it",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        initialise_airflow()
        with TestClient(_airflow_app(), raise_server_exceptions=False) as client:
            answer = client.post("/auth/token", json=LOGIN)
            assert answer.status_code == 201, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client


def _airflow_app() -> object:
    from airflow.api_fastapi.app import create_app as airflow_app

    app = airflow_app(apps="core")
    if PREFIX not in {getattr(route, "path", None) for route in app.routes}:
        # A checkout that is not installed has no entry point; Airflow mounts plugins before what catches all the rest.
        app.router.routes.insert(0, Mount(PREFIX, create_app()))
    return app


@pytest.fixture
def history(catalog: Catalog) -> None:
    """Backups 1 to 3, the last one failed, and a restore: what small numbers find."""
    a_backup(catalog, 1, ["a.pdf", "b.pdf"])
    a_backup(catalog, 2, ["a.pdf"])
    catalog.backups.fail(catalog.backups.open(a_run(3)), "why")
    a_restore(catalog, 1)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_what_is_answered_is_what_is_described(case: schemathesis.Case, airflow: TestClient, history: None) -> None:
    """No request gives an error of the server, and every answer has a status and a form that the description names."""
    _aim(case)
    given = case.as_transport_kwargs(base_url=f"http://testserver{PREFIX}")
    given.pop("cookies", None)
    given["headers"] = {**given.get("headers", {}), "Sec-Fetch-Site": "same-origin"}
    case.validate_response(airflow.request(**{name: value for name, value in given.items() if value is not None}))


def _aim(case: schemathesis.Case) -> None:
    """Let valid values name what there is, for otherwise hardly a request would get beyond 404."""
    if "application" in case.path_parameters:
        case.path_parameters["application"] = "dms"
    for name in ("backup_id", "restore_id"):
        number = case.path_parameters.get(name)
        if isinstance(number, int) and 4 < number < 2**63:
            case.path_parameters[name] = 1 + number % 4
    dag_id = (case.query or {}).get("dag_id")
    if isinstance(dag_id, str) and dag_id and "\0" not in dag_id and len(dag_id) % 2:
        case.query["dag_id"] = "glacier_backup__dms"


def test_the_login_is_a_real_one(airflow: TestClient, history: None) -> None:
    assert airflow.get(f"{PREFIX}/api/overview").json()["applications"][0]["complete"]["id"] == 2
    stranger = airflow.get(f"{PREFIX}/api/overview", headers={"Authorization": "Bearer made.up.token"})
    assert stranger.status_code in (401, 403)


def test_every_route_is_described_and_tried() -> None:
    tried = {result.ok().label for result in schema.get_all_operations()}
    assert "POST /api/applications/{application}/backups/{backup_id}/delete" in tried
    assert len(tried) == sum(len(methods) for methods in create_app().openapi()["paths"].values())
