"""Each backup says whether it can be brought back, and a backup that cannot is kept all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from glacier_provider.applications import DumpOptions, RehearsalOptions, RestoreOptions
from glacier_provider.core.restorability import cannot_be_brought_back, restorability
from glacier_provider.pipelines import backup
from glacier_provider.postgres import Server
from tests.support.application import ApplicationUnderTest

BROKEN = (
    "CREATE FUNCTION plain(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
    "CREATE FUNCTION folded(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN plain($1); END'",
    "ALTER TABLE documents ADD folded text GENERATED ALWAYS AS (folded(title)) STORED",
)


def rehearsed(dms: ApplicationUnderTest, elsewhere: Callable[[], Server | None] = lambda: None) -> dict[str, object]:
    """Back up, with the rehearsal between dump and end; return the completed backup's report."""
    backup_id = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    common = {"catalog": dms.catalog, "store": dms.store}
    backup.dump_database(dms.application, backup_id, server=dms.server, **common)  # type: ignore[arg-type]
    backup.rehearse_restore(dms.application, backup_id, catalog=dms.catalog, server=dms.server, elsewhere=elsewhere)
    backup.scan_files(dms.application, backup_id, catalog=dms.catalog)
    backup.upload_database(dms.application, backup_id, **common)  # type: ignore[arg-type]
    for share in dms.catalog.archives.unfinished_ranges(shares=1, smallest=1):
        backup.upload_files(dms.application, backup_id, share, **common)  # type: ignore[arg-type]
    figures = backup.close_backup(dms.application, backup_id, **common)  # type: ignore[arg-type]
    row = dms.catalog.backups.get(backup_id)
    assert row["state"] == "complete"
    report: dict[str, object] = row["report"]
    return {**report, "restorable": figures["restorable"]}


@pytest.mark.parametrize("dump", [{}, {"staging": "none"}, {"format": "custom"}])
def test_a_backup_that_can_be_brought_back_says_so(dms: ApplicationUnderTest, dump: dict[str, str]) -> None:
    dms.configure(dump=DumpOptions(**dump))  # type: ignore[arg-type]
    report = rehearsed(dms)
    assert restorability(report) == ["Restores into its database: yes.", "Restores on a new server: yes."]
    assert report["restorable"] == {"in_place": "yes", "new_server": "yes"}
    assert cannot_be_brought_back(report) is None


def test_a_backup_that_cannot_be_brought_back_is_complete_and_says_why(dms: ApplicationUnderTest) -> None:
    for statement in BROKEN:
        dms.sql(statement)
    report = rehearsed(dms)
    why = cannot_be_brought_back(report)
    assert why is not None
    assert "statements would be refused" in why
    assert "generated column folded of public.documents" in restorability(report)[0]


def test_what_is_left_out_is_a_loss_that_is_named(dms: ApplicationUnderTest) -> None:
    dms.sql("CREATE VIEW tagged AS SELECT document_id FROM tags")
    dms.configure(dump=DumpOptions(exclude_tables=("public.tags",)))
    in_place, new_server = restorability(rehearsed(dms))
    assert in_place.startswith("Restores into its database: yes")
    assert "with losses" in new_server
    assert "VIEW public.tagged" in new_server


def test_a_swap_that_would_leave_something_behind_is_told_on_the_day_of_the_backup(dms: ApplicationUnderTest) -> None:
    dms.configure(
        dump=DumpOptions(exclude_table_data=("public.tags",)),
        restore=RestoreOptions(mode="swap"),
        catalog_schema="elsewhere",
    )
    dms.configure(catalog_schema="glacier_catalog")
    report = rehearsed(dms)
    assert "left behind" in str(cannot_be_brought_back(report))


def test_a_user_without_createdb_rehearses_elsewhere_or_says_that_it_did_not(
    dms: ApplicationUnderTest, make_application: Callable[..., ApplicationUnderTest]
) -> None:
    dms.sql("CREATE ROLE mere LOGIN PASSWORD 'mere' NOCREATEDB")
    try:
        dms.sql("GRANT ALL ON SCHEMA public TO mere")
        dms.sql("ALTER TABLE documents OWNER TO mere")
        dms.sql("ALTER TABLE tags OWNER TO mere")
        superuser = dms.server
        dms.server = replace(dms.server, user="mere", password="mere")
        report = rehearsed(dms)
        assert "not rehearsed" in restorability(report)[1]
        assert "Restores on a new server: yes." in restorability(rehearsed(dms, lambda: superuser))
        dms.server = superuser
    finally:
        dms.sql("DROP OWNED BY mere CASCADE")
        dms.sql("DROP ROLE mere")


def test_a_rehearsal_can_be_switched_off_and_be_a_plan_alone(dms: ApplicationUnderTest) -> None:
    dms.configure(rehearsal=RehearsalOptions(mode="off"))
    assert restorability(rehearsed(dms)) == []
    dms.configure(rehearsal=RehearsalOptions(mode="plan"))
    assert restorability(rehearsed(dms)) == ["Restores into its database: yes."]


def test_a_rehearsal_that_cannot_be_made_is_a_finding_and_fails_nothing(dms: ApplicationUnderTest) -> None:
    backup_id = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    found = backup.rehearse_restore(dms.application, backup_id, catalog=dms.catalog, server=dms.server)
    assert found["in_place"]["verdict"] == "unknown"
    assert "table of contents" in found["in_place"]["why"]


def test_an_error_of_the_rehearsal_itself_fails_no_backup(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr("glacier_provider.postgres.restore.plan.plan_contents", broken)
    report = rehearsed(dms)
    assert "itself failed (KeyError)" in restorability(report)[0]
    assert "rehearse_restore" in restorability(report)[0]


def test_what_a_dump_leaves_out_is_noted_before_there_is_one(dms: ApplicationUnderTest) -> None:
    """A worker that dies when the dump is whole never makes, or notes, it again."""
    dms.configure(dump=DumpOptions(exclude_tables=("public.tags",)))
    backup_id = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("glacier_provider.pipelines.backup.dump._report", _dies)
        with pytest.raises(KeyboardInterrupt):
            backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server, store=dms.store)
    dms.configure(dump=DumpOptions())
    backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server, store=dms.store)
    noted = dms.catalog.backups.get(backup_id)["report"]["dump_exclusions"]
    assert noted["tables"] == [["public", "tags"]]


def _dies(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_rehearsal_that_is_cleared_later_leaves_a_complete_backup_as_it_is(dms: ApplicationUnderTest) -> None:
    before = rehearsed(dms)["rehearsal"]
    newest = dms.catalog.backups.newest_complete()
    assert newest is not None
    again = backup.rehearse_restore(dms.application, newest, catalog=dms.catalog, server=dms.server)
    assert again == before == dms.catalog.backups.get(newest)["report"]["rehearsal"]
