"""Workers of which each has a staging directory of its own: what does not work then says so, and what is behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.errors import FileMissing
from glacier_provider.pipelines import backup
from tests.support.application import ApplicationUnderTest

BEHIND = "each has its own staging_directory"


def on_another_worker(app: ApplicationUnderTest, tmp_path: Path) -> None:
    app.configure(staging_directory=str(tmp_path / "staging of another worker"))


def test_a_dump_that_another_worker_made_is_missed_with_the_reason(dms: ApplicationUnderTest, tmp_path: Path) -> None:
    number = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    backup.dump_database(dms.application, number, catalog=dms.catalog, server=dms.server, store=dms.store)
    on_another_worker(dms, tmp_path)
    with pytest.raises(FileMissing, match=BEHIND):
        backup.upload_database(dms.application, number, catalog=dms.catalog, store=dms.store)
    found = backup.rehearse_restore(dms.application, number, catalog=dms.catalog, server=dms.server)
    assert found["in_place"]["verdict"] == "unknown"
    assert BEHIND in found["in_place"]["hint"]


def test_a_dump_that_another_worker_brought_is_missed_with_the_reason(
    dms: ApplicationUnderTest, tmp_path: Path
) -> None:
    dms.back_up()
    planned = dms.plan()
    dms.bring(planned)
    before = dms.application
    on_another_worker(dms, tmp_path)
    with pytest.raises(FileMissing, match=BEHIND):
        dms.finish(planned["restore_id"])
    dms.application = before
    dms.download(planned)
    dms.finish(planned["restore_id"])
