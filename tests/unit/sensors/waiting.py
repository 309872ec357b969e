"""A restore that waits for two retrievals, in a store whose clock the tests move."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from glacier_provider import restore
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.hooks import resources
from tests.emulator.s3 import S3Emulator
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest

RETRIEVAL_SECONDS = 3600.0


@dataclass
class WaitingRestore:
    """Its dump and doc2.pdf were asked for and come after an hour."""

    app: ApplicationUnderTest
    restore_id: int

    def an_hour_passes(self) -> None:
        self.app.s3.clock.advance(RETRIEVAL_SECONDS)

    def lose(self, name: str) -> None:
        """Delete an archive behind everybody's back."""
        (row,) = self.app.catalog.listing.archives(1, containing=name)
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


@pytest.fixture
def waiting(dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingRestore]:
    dms.back_up()
    (dms.files / "doc2.pdf").unlink()
    planned = dms.plan()
    for share in planned["ranges"]:
        wanted = ArchiveRange.from_dict(share)
        restore.request_retrievals(
            dms.application, planned["restore_id"], wanted, catalog=dms.catalog, stores=dms.stores
        )
    # Every opening reads the models of AWS's services anew: once for a test is enough.
    monkeypatch.setattr(resources, "open_store_of", functools.cache(resources.open_store_of))
    with settings_of(dms):
        yield WaitingRestore(dms, planned["restore_id"])
