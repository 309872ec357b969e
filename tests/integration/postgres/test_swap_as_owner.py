"""A restore beside by the user that the guide asks for: the owner of the database, who is no superuser."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from glacier_provider.errors import (
    DatabaseBusy,
    DatabaseRefused,
    GlacierProviderError,
    MissingTablespaces,
    RestoredInPart,
    RestoreFailed,
)
from glacier_provider.postgres import Keep, OnError, PgRestoreOptions, Selection, check_swap, restore_in_transaction
from glacier_provider.postgres.dump.disk import table_of_contents
from glacier_provider.postgres.restore.elsewhere import claim_database
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from glacier_provider.postgres.restore.swap import Swap, rename
from glacier_provider.postgres.restore.swap.beside import create_statement
from glacier_provider.postgres.restore.swap.names import Filling
from glacier_provider.postgres.tools.run import child_environment
from glacier_provider.postgres.tools.sql import literal
from tests.integration.postgres.conftest import SampleServer
from tests.integration.postgres.owners import MARK, OwnedDatabase

DOCUMENTS = "CREATE TABLE docs (id integer PRIMARY KEY, title text); INSERT INTO docs VALUES (1, 'one')"

Owned = Callable[..., OwnedDatabase]


@pytest.fixture(params=["15", "16", "17", "18"])
def on_each(request: pytest.FixtureRequest) -> SampleServer:
    names = {"15": "oldest", "16": "older", "17": "sample", "18": "newer"}
    found: SampleServer = request.getfixturevalue(names[request.param])
    return found


@pytest.fixture
def owned(sample: SampleServer) -> Iterator[Owned]:
    """Makes databases of an owner; they are dropped after the test."""
    made: list[OwnedDatabase] = []

    def make(*statements: str, on: SampleServer = sample, superuser: bool = False, clauses: str = "") -> OwnedDatabase:
        made.append(OwnedDatabase(on.postgres, *statements, superuser=superuser, clauses=clauses))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("superuser", [False, True])
def test_the_owner_restores_beside_and_swaps(
    owned: Owned, on_each: SampleServer, superuser: bool, tmp_path: Path
) -> None:
    library = owned(DOCUMENTS, on=on_each, superuser=superuser)
    dump = library.dump(tmp_path)
    library.run("DROP TABLE docs")
    restored = library.swap(dump)
    assert library.run("SELECT title FROM docs") == [("one",)]
    assert restored.warnings == ()
    assert library.as_superuser("SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()") == [
        (library.owner,)
    ]


@pytest.mark.parametrize("name", ["oldest", "older"])
@pytest.mark.parametrize("on_error", [OnError.STOP, OnError.LIST])
def test_a_newer_client_swaps_on_an_older_server(
    owned: Owned, newer: SampleServer, name: str, on_error: OnError, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It sets what the server does not know: transaction_timeout, from 17 on."""
    library = owned(DOCUMENTS, on=request.getfixturevalue(name))
    library.tools = newer.tools
    dump = library.dump(tmp_path)
    library.run("DROP TABLE docs")
    restored = library.swap(dump, on_error=on_error)
    assert (restored.failed, restored.warnings) == ((), ())
    assert library.run("SELECT title FROM docs") == [("one",)]


@pytest.mark.parametrize("on_error", [OnError.STOP, OnError.LIST])
def test_a_newer_client_tells_what_an_older_server_refuses(
    owned: Owned, newer: SampleServer, older: SampleServer, on_error: OnError, tmp_path: Path
) -> None:
    library = owned(DOCUMENTS, "CREATE TABLE pages (doc integer REFERENCES docs)", on=older)
    library.as_superuser("SET session_replication_role = replica; INSERT INTO pages VALUES (2)")
    library.tools = newer.tools
    dump = library.dump(tmp_path)
    with pytest.raises(RestoredInPart if on_error is OnError.LIST else RestoreFailed) as caught:
        library.swap(dump, on_error=on_error)
    assert "pages_doc_fkey" in str(caught.value)
    assert "transaction_timeout" not in str(caught.value)


def test_a_database_named_postgres_is_swapped_from_another_one(private_owned: OwnedDatabase, tmp_path: Path) -> None:
    library = private_owned
    library.postgres.execute(f"ALTER DATABASE postgres OWNER TO {library.owner}")
    home = replace(library.server, dbname="postgres")
    library.server, library.name = home, "postgres"
    library.run(DOCUMENTS)
    dump = library.dump(tmp_path)
    library.run("DELETE FROM docs")
    library.swap(dump)
    assert library.run("SELECT title FROM docs") == [("one",)]


@pytest.fixture
def private_owned(private_server: object) -> OwnedDatabase:
    return OwnedDatabase(private_server)  # type: ignore[arg-type]


# --- tablespaces ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tablespace(private_owned: OwnedDatabase) -> str:
    """A tablespace of the server that its superuser alone may use."""
    private_owned.postgres.execute("ALTER ROLE postgres SET allow_in_place_tablespaces = on")
    private_owned.postgres.execute("CREATE TABLESPACE quick LOCATION ''")
    return "quick"


def test_a_tablespace_without_the_privilege_is_refused_with_the_grant_that_helps(
    private_owned: OwnedDatabase, tablespace: str, tmp_path: Path
) -> None:
    library = private_owned
    library.run(DOCUMENTS)
    dump = library.dump(tmp_path)
    library.postgres.execute(f"ALTER DATABASE {library.name} SET TABLESPACE {tablespace}")
    with pytest.raises(DatabaseRefused, match="tablespace quick") as refused:
        check_swap(library.server, catalog_schema="glacier_catalog")
    grant = refused.value.hint.partition(";")[0]
    library.postgres.execute(grant)
    library.swap(dump)
    assert library.as_superuser(
        "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace"
        " WHERE datname = current_database()"
    ) == [(tablespace,)]


def test_a_table_of_a_tablespace_is_refused_before_anything_is_made_and_restored_without_it(
    private_owned: OwnedDatabase, tablespace: str, sample: SampleServer, owned: Owned, tmp_path: Path
) -> None:
    library = private_owned
    library.postgres.execute(f"GRANT CREATE ON TABLESPACE {tablespace} TO {library.owner}")
    library.run(f"CREATE TABLE docs (id integer PRIMARY KEY USING INDEX TABLESPACE {tablespace})")
    library.run("INSERT INTO docs VALUES (1)")
    dump = library.dump(tmp_path)
    library.postgres.execute(f"REVOKE CREATE ON TABLESPACE {tablespace} FROM {library.owner}")
    with pytest.raises(DatabaseRefused, match="GRANT CREATE ON TABLESPACE"):
        library.swap(dump)
    elsewhere = owned(DOCUMENTS)
    drop = PgRestoreOptions(owner=Keep.DROP, privileges=Keep.DROP)
    with pytest.raises(MissingTablespaces, match="tablespaces: drop"):
        elsewhere.swap(dump, drop)
    assert elsewhere.names() == [elsewhere.name]
    elsewhere.swap(dump, replace(drop, tablespaces=Keep.DROP))
    assert elsewhere.run("SELECT id FROM docs") == [(1,)]


# --- sessions ------------------------------------------------------------------------------------------------------


def test_a_session_that_the_owner_cannot_end_is_told_before_the_database_is_filled(
    owned: Owned, on_each: SampleServer, tmp_path: Path
) -> None:
    library = owned(DOCUMENTS, on=on_each)
    dump = library.dump(tmp_path)
    web = library.another_role()
    with web.connect():
        with pytest.raises(DatabaseBusy, match="of web_") as busy:
            library.swap(dump)
        assert library.names() == [library.name]
        assert (busy.value.retryable, web.user in busy.value.hint) == (True, True)
        library.postgres.execute(busy.value.hint.partition(", or")[0])
        library.swap(dump)
    assert len(library.names()) == 2


def test_a_session_of_a_superuser_is_told_with_another_hint_and_one_of_the_owner_is_none(
    owned: Owned, tmp_path: Path
) -> None:
    library = owned(DOCUMENTS)
    dump = library.dump(tmp_path)
    library.postgres.execute(f"GRANT pg_signal_backend TO {library.owner}")
    with library.superuser.connect(), pytest.raises(DatabaseBusy) as busy:
        check_swap(library.server, catalog_schema="glacier_catalog")
    assert "let a superuser end" in busy.value.hint.lower()
    assert "GRANT" not in busy.value.hint
    with library.server.connect():
        library.swap(dump)


def test_a_filled_database_is_kept_for_the_retry_which_does_not_fill_it_again(
    owned: Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = owned(DOCUMENTS)
    dump = library.dump(tmp_path)
    monkeypatch.setattr(rename, "RENAME_SECONDS", 0.0)
    sessions: list[psycopg.Connection] = []
    web = library.another_role()

    def come_in(line: str) -> None:
        log.append(line)
        if line.startswith("Swapping"):
            sessions.append(psycopg.connect(**as_psycopg(web)))

    log = Heard(come_in)
    with pytest.raises(DatabaseBusy, match="stands beside as") as busy:
        library.swap(dump, log=log)
    beside = Swap(library.name, MARK).beside
    assert library.names() == sorted([library.name, beside])
    assert f'DROP DATABASE "{beside}"' in str(busy.value)
    library.run("INSERT INTO docs VALUES (2, 'only the kept one has it')", beside)
    sessions[0].close()
    again: list[str] = []
    library.swap(dump, log=again)
    assert not any(line.startswith("Restoring") for line in again)
    assert library.run("SELECT count(*) FROM docs") == [(2,)]
    assert library.names() == sorted([library.name, Swap(library.name, MARK).previous])


class Heard(list[str]):
    """A log that calls somebody for each line."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self.hear = hear
        self.busy = False

    def append(self, line: str) -> None:
        super().append(line)
        if not self.busy:
            self.busy = True
            self.hear(line)
            self.busy = False


def as_psycopg(server: object) -> dict[str, object]:
    return {name: getattr(server, name) for name in ("host", "port", "user", "password", "dbname")}


def test_a_kept_database_of_another_dump_is_filled_anew(owned: Owned, tmp_path: Path) -> None:
    library = owned(DOCUMENTS)
    dump = library.dump(tmp_path)
    beside = Swap(library.name, MARK, "other content")
    library.run(f"CREATE DATABASE {beside.beside}")
    library.run(f"COMMENT ON DATABASE {beside.beside} IS '{beside.comment(Filling.READY)}'")
    library.swap(dump)
    assert library.run("SELECT count(*) FROM docs") == [(1,)]


def test_what_another_restore_left_beside_goes_unless_somebody_is_in_it(owned: Owned, tmp_path: Path) -> None:
    library = owned(DOCUMENTS)
    dump = library.dump(tmp_path)
    left = [Swap(library.name, f"restore_{number}_20250101000000") for number in (3, 4)]
    for one in left:
        library.run(f"CREATE DATABASE {one.beside}")
        library.run(f"COMMENT ON DATABASE {one.beside} IS '{one.comment()}'")
    with replace(library.server, dbname=left[1].beside).connect():
        library.swap(dump)
        assert left[0].beside not in library.names()
        assert left[1].beside in library.names()


def test_an_application_that_comes_back_at_once_does_not_stop_the_swap(owned: Owned, tmp_path: Path) -> None:
    library = owned(DOCUMENTS)
    dump = library.dump(tmp_path)
    library.run("INSERT INTO docs VALUES (2, 'later')")
    over = threading.Event()

    def application() -> None:
        while not over.is_set():
            try:
                with psycopg.connect(**as_psycopg(library.server)) as connection:  # type: ignore[arg-type]
                    while not over.is_set():
                        connection.execute("SELECT count(*) FROM docs")
            except psycopg.Error:
                continue

    pool = [threading.Thread(target=application) for _ in range(8)]
    for each in pool:
        each.start()
    time.sleep(0.3)
    try:
        library.swap(dump)
    finally:
        over.set()
        for each in pool:
            each.join()
    assert library.run("SELECT count(*) FROM docs") == [(1,)]


def test_prepared_transactions_and_replication_slots_are_told(private_server: object, tmp_path: Path) -> None:
    private_server.stop()  # type: ignore[attr-defined]
    wanted = {"max_prepared_transactions": "5", "wal_level": "logical", "max_wal_senders": "2"}
    private_server._settings.update(wanted)  # type: ignore[attr-defined]
    private_server.start()  # type: ignore[attr-defined]
    library = OwnedDatabase(private_server, DOCUMENTS)  # type: ignore[arg-type]
    dump = library.dump(tmp_path)
    library.run("BEGIN; INSERT INTO docs VALUES (3, 'prepared'); PREPARE TRANSACTION 'two phases'")
    with pytest.raises(DatabaseBusy, match="two phases") as busy:
        library.swap(dump)
    options = PgRestoreOptions(lock_timeout_seconds=0.2)
    with pytest.raises(DatabaseBusy, match="keep their locks: two phases") as locked:
        restore_in_transaction(library.server, library.tools, dump, Selection(), options, progress=print)
    assert "glacier_provider" not in locked.value.message
    assert "ROLLBACK PREPARED" in locked.value.hint
    library.run(busy.value.hint.partition("example: ")[2].partition(";")[0])
    library.as_superuser("SELECT pg_create_logical_replication_slot('consumer', 'pgoutput')")
    (warning,) = library.swap(dump).warnings
    assert warning.startswith(f"The replication slot consumer stays with {library.name}_before_")
    assert library.run("SELECT count(*) FROM docs") == [(1,)]


@pytest.mark.parametrize(
    "setting", ["idle_session_timeout = '500ms'", "statement_timeout = '300ms'", "lock_timeout = '100ms'"]
)
def test_what_a_role_is_set_to_does_not_break_the_swap(owned: Owned, setting: str, tmp_path: Path) -> None:
    library = owned(DOCUMENTS, "CREATE TABLE many AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n")
    dump = library.dump(tmp_path)
    library.postgres.execute(f"ALTER ROLE {library.owner} SET {setting}")
    assert library.swap(dump).warnings == ()


# --- statistics ----------------------------------------------------------------------------------------------------


def test_statistics_that_cannot_be_had_are_a_warning(sample: SampleServer, owned: Owned, tmp_path: Path) -> None:
    library = owned(DOCUMENTS)
    library.as_superuser(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw"
        " OPTIONS (host '127.0.0.1', port '1'); CREATE USER MAPPING FOR PUBLIC SERVER far"
    )
    library.as_superuser(f"GRANT USAGE ON FOREIGN SERVER far TO {library.owner}")
    library.run(
        "CREATE TABLE parts (id integer) PARTITION BY LIST (id);"
        "CREATE TABLE near_part PARTITION OF parts FOR VALUES IN (1);"
        "CREATE FOREIGN TABLE far_part PARTITION OF parts FOR VALUES IN (2) SERVER far"
    )
    library.server = library.superuser  # a foreign server is a superuser's to restore
    dump = library.dump(tmp_path)
    restored = library.swap(dump)
    assert [warning for warning in restored.warnings if "ANALYZE public.parts failed" in warning or "parts" in warning]
    assert library.run("SELECT title FROM docs") == [("one",)]
    assert library.run("SELECT reltuples FROM pg_class WHERE relname = 'near_part'") == [(0,)]  # -1 without ANALYZE


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_names_in_another_encoding_are_restored_and_analyzed(owned: Owned, encoding: str, tmp_path: Path) -> None:
    library = owned(clauses=f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    with psycopg.connect(**as_psycopg(library.server), autocommit=True) as connection:  # type: ignore[arg-type]
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        connection.execute("CREATE TABLE \"B\xfccher\" AS SELECT 'M\xfcller' AS name".encode("latin-1"))
    dump = tmp_path / "bytes.dump"
    argv = [library.tools.path("pg_dump"), "--format=custom", f"--file={dump}"]
    subprocess.run(argv, env={**child_environment(library.server), "PGCLIENTENCODING": encoding}, check=True)
    assert library.swap(dump).warnings == ()
    with psycopg.connect(**as_psycopg(library.server)) as connection:  # type: ignore[arg-type]
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        row = connection.execute('SELECT name::bytea FROM "B\xfccher"'.encode("latin-1")).fetchone()
        assert row == (b"M\xfcller",)
        analyzed = connection.execute(b"SELECT count(*) FROM pg_stats WHERE attname = 'name'").fetchone()
        assert analyzed == (1,)


# --- made like the old one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clauses",
    [
        "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C' TEMPLATE template0",
        "LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0",
    ],
)
def test_the_locale_and_its_rules_are_those_of_the_old_database(
    owned: Owned, newer: SampleServer, clauses: str, tmp_path: Path
) -> None:
    library = owned(DOCUMENTS, on=newer, clauses=clauses)
    dump = library.dump(tmp_path)
    told = (
        "SELECT datlocprovider, datlocale, daticurules, datcollate, datctype, encoding FROM pg_database"
        " WHERE datname = current_database()"
    )
    before = library.as_superuser(told)
    library.as_superuser(
        f"UPDATE pg_database SET datcollversion = '1' WHERE datname = '{library.name}' AND datcollversion IS NOT NULL"
    )
    library.swap(dump)
    assert library.as_superuser(told) == before


@pytest.mark.parametrize(
    ("column", "on", "rules"),
    [("daticulocale", "older", True), ("datlocale", "sample", True), ("datlocale", "newer", False)],
)
def test_the_rules_of_an_icu_locale_are_those_of_the_old_database(
    request: pytest.FixtureRequest, owned: Owned, column: str, on: str, rules: bool
) -> None:
    """No server of these versions here is built with ICU: the database is only called one."""
    library = owned(on=request.getfixturevalue(on))
    library.postgres.execute(
        f"UPDATE pg_database SET datlocprovider = 'i', {column} = 'de',"
        f" daticurules = {quote(RULES) if rules else 'NULL'} WHERE datname = '{library.name}'"
    )
    with library.postgres.server().connect() as connection:
        statement = create_statement(connection, library.name, Swap(library.name, MARK).beside)
    assert "LOCALE_PROVIDER icu ICU_LOCALE E'de'" in statement
    assert (f"ICU_RULES E{quote(RULES)}" in statement) == rules
    assert "TABLESPACE" not in statement


def test_a_database_of_an_icu_locale_is_one_after_a_swap_and_elsewhere(
    owned: Owned, oldest: SampleServer, tmp_path: Path
) -> None:
    library = owned(
        DOCUMENTS, on=oldest, clauses="LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C' TEMPLATE template0"
    )
    dump = library.dump(tmp_path)
    told = (
        "SELECT datlocprovider, daticulocale, datcollate, encoding FROM pg_database WHERE datname = current_database()"
    )
    before = library.as_superuser(told)
    assert before[0][:2] == ("i", "de-AT")
    assert rehearse_schema(library.server, table_of_contents(dump), PgRestoreOptions(), tell=lambda: None) == ()
    library.swap(dump)
    assert library.as_superuser(told) == before
    other = library.server.with_database(f"{library.name}_elsewhere")
    claim_database(other, dump, MARK, may_take=lambda mark: None, progress=print)
    try:
        with other.connect() as connection:
            assert connection.execute(told.encode()).fetchall() == before
    finally:
        library.postgres.drop_database(other.dbname)


RULES = "& a < g, 'x'"


def quote(text: str) -> str:
    return literal(text).removeprefix("E")


def test_a_limit_of_connections_and_a_template_stay_so(owned: Owned, tmp_path: Path) -> None:
    library = owned(DOCUMENTS)
    dump = library.dump(tmp_path)
    library.as_superuser(f"ALTER DATABASE {library.name} CONNECTION LIMIT 1 IS_TEMPLATE true")
    library.swap(dump, jobs=3)
    told = "SELECT datconnlimit, datistemplate FROM pg_database WHERE datname = current_database()"
    assert library.as_superuser(told) == [(1, True)]
    library.as_superuser(f"ALTER DATABASE {library.name} IS_TEMPLATE false")
    library.as_superuser(f"ALTER DATABASE {Swap(library.name, MARK).previous} IS_TEMPLATE false")


# --- several jobs --------------------------------------------------------------------------------------------------


def test_not_null_constraints_that_are_not_valid_wait_for_the_rows_of_partitions(
    owned: Owned, newer: SampleServer, tmp_path: Path
) -> None:
    library = owned(
        "CREATE TABLE parts (id integer, v text) PARTITION BY LIST (id)",
        *(f"CREATE TABLE part_{n} PARTITION OF parts FOR VALUES IN ({n})" for n in range(8)),
        "INSERT INTO parts SELECT n % 8, NULL FROM generate_series(1, 8000) n",
        "ALTER TABLE parts ADD CONSTRAINT there NOT NULL v NOT VALID",
        "COMMENT ON CONSTRAINT there ON parts IS 'some day'",
        on=newer,
    )
    dump = library.dump(tmp_path)
    library.swap(dump, jobs=4)
    assert library.run("SELECT count(*) FROM parts") == [(8000,)]
    assert library.run(
        "SELECT convalidated FROM pg_constraint WHERE conname = 'there' AND conrelid = 'parts'::regclass"
    ) == [(False,)]


def test_checks_and_triggers_of_a_partitioned_table_do_not_meet_rows_that_are_restored(
    owned: Owned, on_each: SampleServer, tmp_path: Path
) -> None:
    library = owned(
        "CREATE TABLE parts (id integer, v integer) PARTITION BY LIST (id)",
        *(f"CREATE TABLE part_{n} PARTITION OF parts FOR VALUES IN ({n})" for n in range(8)),
        "INSERT INTO parts SELECT n % 8, -n FROM generate_series(1, 8000) n",
        "ALTER TABLE parts ADD CONSTRAINT above CHECK (v > 0) NOT VALID",
        "CREATE TABLE seen (n integer)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.seen VALUES (NEW.v); RETURN NULL; END'",
        "CREATE TRIGGER note AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION note()",
        on=on_each,
    )
    dump = library.dump(tmp_path)
    library.swap(dump, jobs=4)
    assert library.run("SELECT (SELECT count(*) FROM parts), (SELECT count(*) FROM seen)") == [(8000, 0)]


# --- what fails ----------------------------------------------------------------------------------------------------

UNREPLAYABLE = (
    "CREATE TABLE people (id integer PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'Ada')",
    "CREATE FUNCTION known(integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 <= (SELECT count(*) FROM people)'",
    "CREATE TABLE visits (person integer CHECK (known(person))); INSERT INTO visits VALUES (1)",
    "CREATE TABLE letters (person integer); INSERT INTO letters VALUES (7)",
    "ALTER TABLE letters ADD CONSTRAINT to_somebody FOREIGN KEY (person) REFERENCES people NOT VALID",
)


REFUSED = 'insert or update on table "letters" violates foreign key constraint "to_somebody"'


def an_unreplayable(owned: Owned, on: SampleServer) -> OwnedDatabase:
    library = owned(DOCUMENTS, *UNREPLAYABLE, on=on)
    library.as_superuser("UPDATE pg_constraint SET convalidated = true WHERE conname = 'to_somebody'")
    return library


def test_a_statement_that_fails_restores_nothing_and_is_named(
    owned: Owned, on_each: SampleServer, tmp_path: Path
) -> None:
    library = an_unreplayable(owned, on_each)
    dump = library.dump(tmp_path)
    with pytest.raises(RestoreFailed, match=r"visits|letters") as failed:
        library.swap(dump)
    assert "on_error: list" in failed.value.hint
    assert library.names() == [library.name]


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_fails_is_listed_and_a_person_decides_about_the_rest(
    owned: Owned, on_each: SampleServer, jobs: int, tmp_path: Path
) -> None:
    library = an_unreplayable(owned, on_each)
    dump = library.dump(tmp_path)
    library.run("DROP TABLE docs")
    with pytest.raises(RestoredInPart, match="2 statements") as asked:
        library.swap(dump, jobs=jobs, on_error=OnError.LIST)
    assert {one["object"]: one["said"].partition(" (")[0] for one in asked.value.failed} == {
        "TABLE DATA public.visits": 'relation "people" does not exist',
        "FK CONSTRAINT public.letters to_somebody": REFUSED,
    }
    beside = Swap(library.name, MARK).beside
    assert beside in str(asked.value)
    assert library.names() == sorted([library.name, beside])
    with pytest.raises(GlacierProviderError, match="in an earlier try"):
        library.swap(dump, jobs=jobs, on_error=OnError.LIST)
    library.swap(dump, jobs=jobs, on_error=OnError.ACCEPT)
    assert library.run(
        "SELECT (SELECT count(*) FROM docs), (SELECT count(*) FROM letters), (SELECT count(*) FROM visits)"
    ) == [(1, 1, 0)]


def test_errors_accepted_beforehand_are_swapped_and_told(owned: Owned, sample: SampleServer, tmp_path: Path) -> None:
    library = an_unreplayable(owned, sample)
    restored = library.swap(library.dump(tmp_path), on_error=OnError.ACCEPT)
    assert len(restored.failed) == 2
    assert len(library.names()) == 2
