from __future__ import annotations

from pathlib import Path

from glacier_provider.pipelines.restore.elsewhere import DRILL_DATABASE, drill_database
from tests.support.application import an_application


def test_two_installations_on_one_server_have_each_a_scratch_database_of_their_own(tmp_path: Path) -> None:
    """By their stores and catalogs: one drops what the other has just filled otherwise."""
    named = {
        drill_database(an_application(tmp_path, store=store, catalog_schema=schema))
        for store in ("s3://one/pre", "s3://two/pre")
        for schema in ("glacier_catalog", "another_catalog")
    }
    assert len(named) == 4
    assert all(name.startswith(f"{DRILL_DATABASE}dms_") for name in named)
