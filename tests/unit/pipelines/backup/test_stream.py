"""A streamed archive whose upload breaks: whoever makes it is told, and never waits for room that nobody makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from glacier_provider.catalog.archives import PlannedArchive
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.errors import StoreError
from glacier_provider.pipelines.backup.stream import Destination, StreamingUpload
from glacier_provider.staging import Spool

PART = 1024


class _Broken:
    """A catalog that fails as no error of this package: the text may hold anything."""

    @property
    def archives(self) -> Any:
        raise RuntimeError("a secret")


class _Store:
    """Knows nothing of the upload, so that there is nothing to abandon."""

    def abandon(self, description: Description) -> None:
        raise StoreError(f"nothing of {description.filename}")


def a_destination() -> Destination:
    archive = PlannedArchive(7, "a.dump", 0, 3, "s3://bucket")
    description = Description(
        application="library", kind=ArchiveKind.DATABASE, archive_id=7, backup_id=3, filename="a.dump", size=None
    )
    return Destination(archive, description, cast("Catalog", _Broken()), cast("Any", _Store()))


@pytest.mark.timeout(30)
def test_an_upload_that_ends_for_an_unforeseen_reason_ends_the_stream(tmp_path: Path) -> None:
    with (
        Spool(tmp_path, part_size=PART, parts=1) as spool,
        pytest.raises(StoreError, match="ended with RuntimeError") as raised,
        StreamingUpload(spool, a_destination(), part_size=PART, least=0),
    ):
        spool.write(bytes(3 * PART))
    assert "secret" not in str(raised.value)
    assert isinstance(raised.value.__cause__, RuntimeError)
