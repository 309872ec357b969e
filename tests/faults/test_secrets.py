"""A planted password and key appear nowhere: no log, XCom, exception, manifest, catalog row or command line."""

from __future__ import annotations

import gzip
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.emulator.faults import FaultKind
from tests.support.airflow import initialise_airflow, run_dag
from tests.support.application import ApplicationUnderTest, a_small_dms
from tests.support.clean_environment import AIRFLOW_HOME
from tests.support.postgres import EmbeddedPostgres

PASSWORD = "pl4nted-Pa55word"  # of the database; some variants use it where it is wrong
KEY = "an-aws-secret"  # what tests.support.airflow puts into the AWS connection
SECRETS = (PASSWORD, KEY)


@pytest.fixture(scope="module", autouse=True)
def airflow() -> None:
    initialise_airflow()


class CommandLines:
    """Everything that /proc showed of all processes while it was looked at."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.03):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.seen.add(path.read_bytes().decode(errors="replace"))

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture
def planted(
    make_application: Callable[..., ApplicationUnderTest], postgres: EmbeddedPostgres
) -> Iterator[ApplicationUnderTest]:
    """An application whose database and catalog are reached with the planted password."""
    app = a_small_dms(make_application())
    postgres.create_role("planted", password=PASSWORD, attributes="SUPERUSER")
    app.server = replace(app.server, user="planted", password=PASSWORD)
    app.catalog_server = replace(app.catalog_server, user="planted", password=PASSWORD)
    yield app
    app.catalog.close()
    postgres.execute("REASSIGN OWNED BY planted TO postgres", dbname=app.server.dbname)
    postgres.execute("REASSIGN OWNED BY planted TO postgres", dbname=app.catalog_server.dbname)
    postgres.execute("DROP ROLE planted")


def failing_variants(app: ApplicationUnderTest) -> Iterator[tuple[str, str]]:
    """Yield runs that fail, each in another way, as (kind of DAG, what is wrong)."""
    good = app.server
    app.server = replace(good, user="postgres")  # for which the planted password is a wrong one
    yield "backup", "a wrong password"
    app.server = replace(good, port=1)
    yield "backup", "no server"
    app.server = good
    app.s3.plan.inject("PutObject", FaultKind.ACCESS_DENIED)
    yield "backup", "a denied upload"
    app.s3.plan.clear()
    app.sql("CREATE VIEW newer AS SELECT title FROM documents")
    app.configure(restore=replace(app.application.restore, exclude_tables=("public.newer",)))
    yield "restore", "what is excluded depends on what is restored"


def objects(app: ApplicationUnderTest) -> Iterator[str]:
    """Yield keys and metadata of all objects, and the text of manifests."""
    bucket = app.s3.objects.bucket(app.bucket)
    for name, key in bucket.keys.items():
        yield f"{name} {dict(key.metadata)}"
        if name.endswith(".json.gz"):
            yield gzip.decompress(key.value).decode()


def catalog_rows(app: ApplicationUnderTest) -> Iterator[str]:
    with app.catalog_server.connect(autocommit=True) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'glacier_catalog'"
        ).fetchall()
        for (table,) in tables:
            yield from (row[0] for row in connection.execute(f"SELECT t::text FROM glacier_catalog.{table} t"))


def airflow_rows() -> Iterator[str]:
    """Yield every row that Airflow keeps of the runs: XComs, rendered templates, the log of events."""
    with sqlite3.connect(AIRFLOW_HOME / "airflow.db") as airflow:
        names = [row[0] for row in airflow.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            yield from (f"{name} {row}" for row in airflow.execute(f'SELECT * FROM "{name}"'))


def log_files() -> Iterator[str]:
    for path in (AIRFLOW_HOME / "logs").rglob("*"):
        if path.is_file():
            yield path.read_text(errors="replace")


@pytest.mark.timeout(900)
def test_no_secret_appears_anywhere(
    planted: ApplicationUnderTest, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = planted
    with CommandLines() as commands:
        assert run_dag(app, "backup").state == "success"
        (app.files / "doc2.pdf").unlink()
        assert run_dag(app, "restore", {"backup_id": "latest"}).state == "success"
        for kind, wrong in failing_variants(app):
            assert run_dag(app, kind, {"backup_id": "latest"} if kind == "restore" else {}).state == "failed", wrong
    captured = capfd.readouterr()
    sources = {
        "output": [captured.out, captured.err],
        "log": [caplog.text, *log_files()],
        "Airflow's database": list(airflow_rows()),
        "catalog": list(catalog_rows(app)),
        "store": list(objects(app)),
        "command lines": sorted(commands.seen),
    }
    # What must be there is there: the search looks at the right places.
    for source, word in {
        "output": "password authentication failed",
        "Airflow's database": "xcom",
        "catalog": "password authentication failed",
        "store": "doc1.pdf",
        "command lines": "pg_dump",
    }.items():
        assert any(word in text for text in sources[source]), f"{word!r} is not in {source}"
    found = [
        (source, text[max(0, text.index(secret) - 100) : text.index(secret)])
        for source, texts in sources.items()
        for text in texts
        for secret in SECRETS
        if secret in text
    ]
    assert found == []
