"""A restore that waits for two retrievals, in a store whose clock the tests move."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.hooks import resources
from glacier_provider.pipelines import restore
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.emulator.s3 import S3Emulator
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest, an_application
from tests.support.postgres import EmbeddedPostgres

RETRIEVAL_SECONDS = 3600.0

_numbers = itertools.count(1)


@dataclass
class WaitingRestore:
    """Its dump and doc2.pdf were asked for and come after an hour."""

    app: ApplicationUnderTest
    restore_id: int

    def an_hour_passes(self) -> None:
        self.app.s3.clock.advance(RETRIEVAL_SECONDS)

    def lose(self, name: str) -> None:
        """Delete an archive behind everybody's back."""
        (row,) = self.app.catalog.lists.archives(1, containing=name)
        self.app.s3.client().delete_object(Bucket=self.app.bucket, Key=row["key"])

    def deny(self) -> None:
        self.app.s3.deny(self.app.bucket)

    @property
    def settings(self) -> dict[str, Any]:
        return self.app.application.to_dict()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Emulator]:
    """An emulated S3 whose retrievals take an hour of its own clock."""
    with S3Emulator(retrieval_seconds=RETRIEVAL_SECONDS) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def documents(postgres: EmbeddedPostgres) -> Server:
    """A small database that every backup of these tests dumps, and none changes."""
    server = postgres.create_database(f"waiting_{next(_numbers)}")
    postgres.execute("CREATE TABLE documents (file text UNIQUE)", dbname=server.dbname)
    return server


@pytest.fixture
def waiting(
    s3: S3Emulator, documents: Server, catalog_database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WaitingRestore]:
    bucket = s3.create_bucket(f"waiting-{next(_numbers)}")
    application = an_application(tmp_path, store=f"s3://{bucket}/pre?storage_class=GLACIER")
    app = ApplicationUnderTest(application, documents, a_catalog(catalog_database), catalog_database, s3)
    for name in ("doc1.pdf", "doc2.pdf"):
        app.write(name, f"content of {name}")
    app.back_up()
    (app.files / "doc2.pdf").unlink()
    planned = app.plan()
    for share in planned["ranges"]:
        wanted = ArchiveRange.from_dict(share)
        restore.request_retrievals(application, planned["restore_id"], wanted, catalog=app.catalog, stores=app.stores)
    # Every opening reads the models of AWS's services anew: once for a test is enough.
    monkeypatch.setattr(resources, "open_store_of", functools.cache(resources.open_store_of))
    with settings_of(app), app.catalog:
        yield WaitingRestore(app, planned["restore_id"])
    s3.plan.clear()
