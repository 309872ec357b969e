from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.hooks import resources
from glacier_provider.postgres import Server
from glacier_provider.stores.queue import receive
from glacier_provider.triggers import queue_listener
from tests.conftest import a_catalog
from tests.emulator.clock import Clock
from tests.emulator.s3 import S3Emulator
from tests.emulator.vault import VaultEmulator
from tests.integration.notifications.waits import HOUR, VAULT, OnAVault, Wait, a_wait
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest, an_application
from tests.support.postgres import EmbeddedPostgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Emulator]:
    """An emulated S3, with SQS and SNS, whose retrievals take an hour of its own clock."""
    with S3Emulator(retrieval_seconds=HOUR) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def documents(postgres: EmbeddedPostgres) -> Server:
    """A small database that every backup of these tests dumps, and none changes."""
    server = postgres.create_database(f"heard_{next(_numbers)}")
    postgres.execute("CREATE TABLE documents (file text UNIQUE)", dbname=server.dbname)
    return server


@pytest.fixture
def on_s3(s3: S3Emulator, documents: Server, catalog_database: Server, tmp_path: Path) -> ApplicationUnderTest:
    bucket = s3.create_bucket(f"outcome-{next(_numbers)}")
    application = an_application(tmp_path, store=f"s3://{bucket}/pre?storage_class=GLACIER")
    return ApplicationUnderTest(application, documents, a_catalog(catalog_database), catalog_database, s3)


@pytest.fixture
def on_a_vault(on_s3: ApplicationUnderTest, tmp_path: Path) -> Iterator[OnAVault]:
    options = {"standard_seconds": HOUR, "sns_endpoint_url": on_s3.s3.url}
    with VaultEmulator(tmp_path / "emulated-vault", clock=Clock(), **options) as emulator:
        emulator.client().create_vault(vaultName=VAULT)
        application = replace(on_s3.application, store=f"glacier://{VAULT}")
        yield OnAVault(application, on_s3.server, on_s3.catalog, on_s3.catalog_server, on_s3.s3, vault=emulator)


@pytest.fixture(params=["on_s3", "on_a_vault"])
def app(request: pytest.FixtureRequest) -> ApplicationUnderTest:
    """An application on each store."""
    found: ApplicationUnderTest = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every opening reads the models of AWS's services anew: once for a test is enough."""
    monkeypatch.setattr(resources, "open_queue_of", functools.cache(resources.open_queue_of))
    monkeypatch.setattr(resources, "open_store_of", functools.cache(resources.open_store_of))
    monkeypatch.setattr(queue_listener, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(receive, "LONGEST_WAIT", 1)


@contextmanager
def opened_wait(app: ApplicationUnderTest) -> Iterator[Wait]:
    with settings_of(app), app.catalog:
        made = a_wait(app)
        yield made
        made.sqs.delete_queue(QueueUrl=made.queue_url)
    app.s3.plan.clear()


@pytest.fixture
def wait(app: ApplicationUnderTest, opened: None) -> Iterator[Wait]:
    """A restore that waits, on each store."""
    with opened_wait(app) as made:
        yield made


@pytest.fixture
def s3_wait(on_s3: ApplicationUnderTest, opened: None) -> Iterator[Wait]:
    """The same on S3, for what the store has no part in."""
    with opened_wait(on_s3) as made:
        yield made


@pytest.fixture
def vault_wait(on_a_vault: OnAVault, opened: None) -> Iterator[Wait]:
    with opened_wait(on_a_vault) as made:
        yield made
