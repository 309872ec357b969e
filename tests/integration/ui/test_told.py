"""What is wrong with applications.yaml is told to who may see it: in no answer to anybody else."""

from __future__ import annotations

import re

import pytest
import yaml

from glacier_provider.catalog.catalog import Catalog
from tests.integration.catalog.test_backups import a_backup
from tests.integration.ui.conftest import DAGS, STRANGER, Get, Person, Site

HALF = Person(reads=DAGS[:3], starts=DAGS[:3])  #: of dms alone
SECRET = "/srv/secret-of-other"


def broken(site: Site, how: str) -> None:
    """Break applications.yaml in the entry of the application other."""
    site.configure("other", files_directory=SECRET)
    if how == "value":
        site.configure("other", retrieval_tier=SECRET)
    elif how == "overlap":
        site.configure("dms", files_directory=SECRET)
    elif how == "defaults":
        document = yaml.safe_load(site.file.read_text()) | {"other": SECRET, "defaults": {SECRET: SECRET}}
        site.file.write_text(yaml.safe_dump(document))
    elif how == "yaml":
        site.file.write_text(site.file.read_text() + f'  "{SECRET}: [\n')
    elif how == "bytes":
        site.file.write_bytes(site.file.read_bytes() + f"# {SECRET} ".encode() + b"\xff\xfe\x00")
    elif how == "shape":
        site.file.write_text(f"applications: {SECRET}\n")
    else:
        site.file.unlink()


EVERY_GET = [
    "/overview",
    "/applications/dms",
    "/applications/dms/backups",
    "/applications/dms/backups/1",
    "/applications/dms/backups/1/files",
    "/applications/dms/backups/1/changes",
    "/applications/dms/backups/1/restore-preview",
    "/applications/dms/backups/1/deletion-plan",
    "/applications/dms/files?containing=a",
    "/applications/dms/restores",
    "/applications/dms/work",
    "/applications/dms/examination?dag_run_id=x",
    "/applications/other",
    "/applications/other/backups",
    "/applications/other/examination?dag_run_id=x",
    "/applications/nowhere",
    "/runs?dag_id=glacier_backup__dms&dag_run_id=x",
    "/runs/tasks?dag_id=glacier_backup__other&dag_run_id=x",
]


def test_every_path_is_asked(site: Site) -> None:
    paths = {path for path, of in site.app.openapi()["paths"].items() if "get" in of}
    pattern = {path: re.sub(r"\\{\w+\\}", r"[^/?]+", re.escape(path)) for path in paths}
    asked = [f"/api{path.partition('?')[0]}" for path in EVERY_GET]
    assert {path for path, one in pattern.items() if not any(re.fullmatch(one, each) for each in asked)} == set()


@pytest.mark.parametrize("how", ["value", "overlap", "defaults", "yaml", "bytes", "shape", "missing"])
@pytest.mark.parametrize("person", [STRANGER, HALF], ids=["stranger", "half"])
def test_what_is_wrong_with_another_application_is_told_nowhere(site: Site, person: Person, how: str) -> None:
    broken(site, how)
    with site.seen_by(person) as client:
        for path in EVERY_GET:
            answer = client.get(f"/api{path}")
            assert SECRET not in answer.text, path
            assert "'other'" not in answer.text, path
        overview = client.get("/api/overview")
    assert overview.status_code == 200
    if person is STRANGER:
        assert overview.json()["applications"] == []


@pytest.mark.parametrize("how", ["value", "overlap", "defaults", "yaml", "shape", "missing"])
def test_who_may_edit_is_told_what_is_wrong(site: Site, get: Get, how: str) -> None:
    broken(site, how)
    overview = get("/overview")
    told = str([overview["problem"], *(card["problem"] for card in overview["applications"])])
    expected = {"value": "'other', field 'retrieval_tier'", "overlap": SECRET, "defaults": SECRET}
    assert expected.get(how, str(site.file)) in told


@pytest.mark.parametrize("how", ["value", "defaults"])
def test_one_wrong_application_leaves_the_others_their_pages(site: Site, catalog: Catalog, how: str) -> None:
    a_backup(catalog, 1, ["a.pdf"])
    broken(site, how)
    with site.seen_by(HALF) as client:
        (card,) = client.get("/api/overview").json()["applications"]
        assert (card["name"], card["health"], card["problem"]) == ("dms", "fresh", None)
        assert client.get("/api/applications/dms/backups").json()["total"] == 1
