"""What a restore brought is compared with the dump's own snapshot before it takes anything's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from glacier_provider.core.checks import CHECKS, RESTORE_CHECKS, Fingerprint
from glacier_provider.errors import ChecksFailed
from glacier_provider.postgres import Server
from glacier_provider.postgres.checks import meanwhile
from glacier_provider.postgres.checks.fingerprint import Ask, one_over, over
from glacier_provider.postgres.checks.meanwhile import FingerprintMeanwhile
from glacier_provider.postgres.checks.restored import DatabaseChecks, check_restored, run_checks
from tests.support.application import ApplicationUnderTest, a_small_dms, titles
from tests.support.postgres import EmbeddedPostgres

Make = Callable[..., ApplicationUnderTest]

EVERY_KIND = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE rooms (id serial PRIMARY KEY, name text NOT NULL CHECK (name <> ''), feels mood, floor int);
CREATE INDEX rooms_of_a_floor ON rooms (floor);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamped BEFORE UPDATE ON rooms FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE VIEW happy_rooms AS SELECT name FROM rooms WHERE feels = 'happy';
CREATE EXTENSION IF NOT EXISTS pg_trgm VERSION '1.5';
INSERT INTO rooms (name, feels, floor) SELECT 'room ' || n, 'happy', n % 3 FROM generate_series(1, 50) n;
CREATE TABLE by_year (y int, n int) PARTITION BY RANGE (y);
CREATE TABLE by_year_1 PARTITION OF by_year FOR VALUES FROM (1) TO (2);
CREATE INDEX ON by_year (n);
INSERT INTO by_year SELECT 1, n FROM generate_series(1, 7) n
"""


@pytest.fixture
def owned(make_application: Make, postgres: EmbeddedPostgres) -> ApplicationUnderTest:
    """An application of an owner who is no superuser, with objects of every kind."""
    app = make_application()
    owner = f"owner_of_{app.server.dbname}"
    postgres.create_role(owner, password="plain", attributes="CREATEDB")
    postgres.create_role(f"reader_of_{app.server.dbname}", password="plain")
    postgres.execute(f"ALTER DATABASE {app.server.dbname} OWNER TO {owner}")
    app.server = replace(app.server, user=owner, password="plain")
    a_small_dms(app)
    for statement in EVERY_KIND.split(";\n"):
        app.sql(statement.strip())
    app.sql(f"GRANT SELECT ON rooms TO reader_of_{app.server.dbname}")
    return app


def expected(app: ApplicationUnderTest, backup_id: int) -> Fingerprint:
    kept = app.catalog.backups.fingerprint(backup_id)
    assert kept is not None
    return Fingerprint.from_dict(kept)


@pytest.mark.parametrize("mode", ["counts", "hashes"])
@pytest.mark.parametrize("form", ["directory", "none"])
def test_a_backup_keeps_what_was_in_its_snapshot(owned: ApplicationUnderTest, mode: str, form: str) -> None:
    dump = replace(owned.application.dump, fingerprint=mode)
    dump = replace(dump, staging="none") if form == "none" else dump
    owned.configure(dump=dump)
    backup_id = owned.back_up()
    known = expected(owned, backup_id)
    assert known.tables["public.rooms"] is not None
    assert known.tables["public.rooms"][0] == 50
    assert (known.tables["public.rooms"][1] is not None) == (mode == "hashes")
    told = owned.catalog.backups.get(backup_id)["report"]["fingerprint"]
    assert (told["mode"], told["rows"]) == (mode, 3 + 3 + 50 + 7)
    assert all(one.passed for one in check_restored(owned.server, DatabaseChecks(known)))


def test_the_tables_of_a_fingerprint_are_locked_and_have_the_rows_of_the_dump_s_snapshot(
    owned: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody empties, or adds, in between would be told of the backup."""
    locked: list[str | None] = []
    take, begin = meanwhile.take_fingerprint, FingerprintMeanwhile._begun

    def later(self: FingerprintMeanwhile, snapshot: Any) -> Any:
        owned.sql("INSERT INTO documents (title) VALUES ('Not in the dump')")
        return begin(self, snapshot)

    def looked(ask: Ask, **given: Any) -> Fingerprint:
        own = "pid = pg_catalog.pg_backend_pid() AND relation >= 16384"
        locked.extend(row[0] for row in ask(f"SELECT relation::regclass FROM pg_catalog.pg_locks WHERE {own}"))
        return take(ask, **given)

    monkeypatch.setattr(meanwhile, "take_fingerprint", looked)
    monkeypatch.setattr(FingerprintMeanwhile, "_begun", later)
    assert expected(owned, owned.back_up()).tables["public.documents"] == (3, None)
    assert set(locked) >= {"public.documents", "public.tags", "public.rooms", "public.by_year_1"}


PLANTED = {
    "row_counts": ("DELETE FROM tags", "public.tags has 0 rows, and had 3"),
    "row_hashes": ("UPDATE rooms SET floor = 9 WHERE id = 7", "public.rooms has other rows"),
    "schema": ("DROP VIEW happy_rooms", "relation public.happy_rooms is not there"),
    "constraints": (
        "ALTER TABLE rooms DROP CONSTRAINT rooms_name_check; "
        "ALTER TABLE rooms ADD CONSTRAINT rooms_name_check CHECK (name <> '') NOT VALID",
        "constraint public.rooms rooms_name_check is not valid, and was valid",
    ),
    "sequences": (
        "SELECT setval('rooms_id_seq', 3)",
        "sequence public.rooms public.rooms_id_seq is behind its column, and was ahead of its column",
    ),
    "triggers": ("ALTER TABLE rooms DISABLE TRIGGER stamped", "trigger public.rooms stamped is disabled"),
    "indexes": ("DROP INDEX rooms_of_a_floor", "index public.rooms rooms_of_a_floor is not there"),
    "grants": ("REVOKE SELECT ON rooms FROM {reader}", "grant public.rooms SELECT to reader_of_"),
    "extensions": ("ALTER EXTENSION pg_trgm UPDATE TO '1.6'", "extension pg_trgm is 1.6, and was 1.5"),
}


def test_each_planted_fault_is_found_by_the_check_that_is_for_it_and_named(owned: ApplicationUnderTest) -> None:
    owned.configure(dump=replace(owned.application.dump, fingerprint="hashes"))
    known = expected(owned, owned.back_up())
    assert set(PLANTED) == set(CHECKS)
    for name, (statement, said) in PLANTED.items():
        copy = f"{owned.server.dbname}_{name}"
        with owned.server.with_database("postgres").connect(autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {copy} TEMPLATE {owned.server.dbname}".encode())
        try:
            with owned.server.with_database(copy).connect(autocommit=True) as connection:
                connection.execute(statement.format(reader=f"reader_of_{owned.server.dbname}").encode())
            results = {one.name: one for one in check_restored(owned.server.with_database(copy), DatabaseChecks(known))}
        finally:
            with owned.server.with_database("postgres").connect(autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())
        assert not results[name].passed, name
        assert results[name].found[0].startswith(said), name
        others = {one.name for one in results.values() if not one.passed} - {name}
        assert others <= ({"row_hashes"} if name == "row_counts" else set()), name


GUARDS = """
CREATE TABLE guarded (id int, who text, note text);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON guarded USING (who = current_user);
CREATE RULE kept AS ON DELETE TO guarded DO INSTEAD NOTHING;
GRANT SELECT (id), UPDATE (note) ON guarded TO {reader};
INSERT INTO guarded VALUES (1, 'ann', 'x'), (2, 'bob', 'y')
"""

UNGUARDED = {
    "ALTER TABLE guarded DISABLE ROW LEVEL SECURITY": ("schema", "row security public.guarded is not there"),
    "ALTER TABLE guarded FORCE ROW LEVEL SECURITY": (
        "schema",
        "row security public.guarded is forced, and was enabled",
    ),
    "DROP POLICY own_rows ON guarded": ("schema", "policy public.guarded own_rows is not there"),
    "DROP RULE kept ON guarded": ("schema", "rule public.guarded kept is not there"),
    "ALTER TABLE guarded DISABLE RULE kept": ("schema", "rule public.guarded kept is disabled, and was enabled"),
    "REVOKE UPDATE (note) ON guarded FROM {reader}": (
        "grants",
        "grant public.guarded UPDATE of note to {reader} is not",
    ),
}


@pytest.mark.parametrize("how", ["in place", "by swap"])
def test_what_guards_rows_is_restored_and_its_loss_is_found(owned: ApplicationUnderTest, how: str) -> None:
    """Who restores a table without what guards it shows everybody's rows to everybody."""
    _each_loss_is_found(owned, how, GUARDS, UNGUARDED)


def _each_loss_is_found(owned: ApplicationUnderTest, how: str, made: str, lost: Mapping[str, tuple[str, str]]) -> None:
    """Back up with what `made` makes, restore, and take away in turn what each of `lost` takes."""
    reader = f"reader_of_{owned.server.dbname}"
    for statement in made.split(";\n"):
        owned.sql(statement.strip().format(reader=reader))
    if how == "by swap":
        owned.configure(restore=replace(owned.application.restore, mode="swap"))
    backup_id = owned.back_up()
    known = expected(owned, backup_id)
    figures = owned.restore(backup_id)
    assert all(one["passed"] for one in figures["outcome"]["database"]["checks"])
    for statement, (check, said) in lost.items():
        with owned.server.connect() as connection:
            connection.execute(statement.format(reader=reader).encode())
            ask, one = over(connection), one_over(connection)
            results = {each.name: each for each in run_checks(ask, one, DatabaseChecks(known, checks=RESTORE_CHECKS))}
            connection.rollback()
        assert results[check].found[0].startswith(said.format(reader=reader)), statement
        assert [name for name, each in results.items() if not each.passed and name != "row_counts"] == [check], (
            statement
        )


MORE = """
CREATE DOMAIN level AS int DEFAULT 1 NOT NULL CONSTRAINT positive CHECK (VALUE > 0);
CREATE TYPE place AS (street text, number int);
CREATE FUNCTION doubled(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_catalog.int4pl, COMMUTATOR = !##);
CREATE FUNCTION halved(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2';
GRANT EXECUTE ON FUNCTION halved TO PUBLIC;
CREATE COLLATION plain (provider = libc, locale = 'C');
CREATE TEXT SEARCH CONFIGURATION words (COPY = pg_catalog.simple);
CREATE STATISTICS together ON id, floor FROM rooms;
REVOKE EXECUTE ON FUNCTION doubled FROM PUBLIC;
GRANT EXECUTE ON FUNCTION doubled TO {reader};
REVOKE USAGE ON TYPE place FROM PUBLIC;
GRANT USAGE ON TYPE place TO {reader};
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader}
"""

LESS = {
    "ALTER DOMAIN level DROP CONSTRAINT positive": ("constraints", "constraint public.level positive is not there"),
    "ALTER DOMAIN level DROP NOT NULL": ("schema", "domain public.level is nullable, and was not null"),
    "ALTER DOMAIN level SET DEFAULT 2": ("schema", "domain public.level has another definition"),
    "ALTER TYPE place DROP ATTRIBUTE number": ("schema", "attribute public.place number is not there"),
    "ALTER TYPE place ALTER ATTRIBUTE number TYPE bigint": (
        "schema",
        "attribute public.place number has another definition",
    ),
    "DROP OPERATOR ### (int, int)": ("schema", "operator public.### (integer, integer) is not there"),
    "DROP COLLATION plain": ("schema", "collation public.plain is not there"),
    "DROP TEXT SEARCH CONFIGURATION words": ("schema", "text search configuration public.words is not there"),
    "DROP STATISTICS together": ("schema", "statistics public.together is not there"),
    "REVOKE EXECUTE ON FUNCTION doubled FROM {reader}": (
        "grants",
        "grant public.doubled (integer) EXECUTE to {reader} is not",
    ),
    "REVOKE USAGE ON TYPE place FROM {reader}": ("grants", "grant public.place USAGE to {reader} is not"),
    "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM {reader}": (
        "grants",
        "grant by default SELECT on tables of",
    ),
}


@pytest.mark.parametrize("how", ["in place", "by swap"])
def test_what_belongs_to_no_table_is_restored_and_its_loss_is_found(owned: ApplicationUnderTest, how: str) -> None:
    _each_loss_is_found(owned, how, MORE, LESS)


SPOKEN_OF = """
CREATE SCHEMA extra;
CREATE TABLE spoken (id serial, word text, CONSTRAINT any_size CHECK (id > 0));
CREATE INDEX spoken_words ON spoken (word);
CREATE POLICY any_row ON spoken USING (true);
CREATE TRIGGER stamped BEFORE UPDATE ON spoken FOR EACH ROW EXECUTE FUNCTION stamp();
COMMENT ON SCHEMA extra IS 'of more';
COMMENT ON TABLE spoken IS 'what is said';
COMMENT ON COLUMN spoken.word IS 'each of them';
COMMENT ON INDEX spoken_words IS 'to find them';
COMMENT ON CONSTRAINT any_size ON spoken IS 'of any size';
COMMENT ON TRIGGER stamped ON spoken IS 'for ever';
COMMENT ON POLICY any_row ON spoken IS 'for all';
COMMENT ON FUNCTION stamp() IS 'stamps';
COMMENT ON TYPE mood IS 'of people';
COMMENT ON VIEW happy_rooms IS 'few'
"""

UNSPOKEN = {
    "COMMENT ON SCHEMA extra IS NULL": ("schema", "comment on schema extra is not there"),
    "COMMENT ON TABLE spoken IS 'another'": ("schema", "comment on relation public.spoken is another"),
    "COMMENT ON COLUMN spoken.word IS NULL": ("schema", "comment on column public.spoken word is not there"),
    "COMMENT ON INDEX spoken_words IS NULL": ("schema", "comment on index public.spoken spoken_words is not there"),
    "COMMENT ON CONSTRAINT any_size ON spoken IS 'x'": (
        "schema",
        "comment on constraint public.spoken any_size is another",
    ),
    "COMMENT ON TRIGGER stamped ON spoken IS NULL": ("schema", "comment on trigger public.spoken stamped is not there"),
    "COMMENT ON POLICY any_row ON spoken IS NULL": ("schema", "comment on policy public.spoken any_row is not there"),
    "COMMENT ON FUNCTION stamp() IS NULL": ("schema", "comment on function public.stamp () is not there"),
    "COMMENT ON TYPE mood IS 'none'": ("schema", "comment on type public.mood is another"),
    "COMMENT ON VIEW happy_rooms IS NULL": ("schema", "comment on relation public.happy_rooms is not there"),
}


@pytest.mark.parametrize("how", ["in place", "by swap"])
def test_what_is_said_of_objects_is_restored_and_its_loss_is_found(owned: ApplicationUnderTest, how: str) -> None:
    _each_loss_is_found(owned, how, SPOKEN_OF, UNSPOKEN)


ANOTHERS = """
GRANT CREATE ON SCHEMA public TO {reader};
CREATE SCHEMA extra AUTHORIZATION {reader};
CREATE TABLE theirs (id serial);
ALTER TABLE theirs OWNER TO {reader};
ALTER VIEW happy_rooms OWNER TO {reader};
ALTER FUNCTION stamp() OWNER TO {reader};
ALTER TYPE mood OWNER TO {reader}
"""

TAKEN = {
    "ALTER SCHEMA extra OWNER TO CURRENT_USER": ("schema", "owner of extra is owner_of_"),
    "ALTER TABLE theirs OWNER TO CURRENT_USER": ("schema", "owner of public.theirs is owner_of_"),
    "ALTER VIEW happy_rooms OWNER TO CURRENT_USER": ("schema", "owner of public.happy_rooms is owner_of_"),
    "ALTER FUNCTION stamp() OWNER TO CURRENT_USER": ("schema", "owner of public.stamp () is owner_of_"),
    "ALTER TYPE mood OWNER TO CURRENT_USER": ("schema", "owner of public.mood is owner_of_"),
}


@pytest.mark.parametrize("how", ["in place", "by swap"])
def test_whose_objects_are_is_restored_and_another_owner_is_found(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres, how: str
) -> None:
    postgres.execute(f"GRANT reader_of_{owned.server.dbname} TO {owned.server.user}")
    _each_loss_is_found(owned, how, ANOTHERS, TAKEN)
    owned.configure(restore=replace(owned.application.restore, owner="drop", privileges="drop", mode="transaction"))
    figures = owned.restore()  # who owns all of it now was asked for, and is no finding
    assert all(one["passed"] for one in figures["outcome"]["database"]["checks"])
    assert {row[0] for row in owned.sql("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'theirs'")} == {
        owned.server.user
    }


def damaged(app: ApplicationUnderTest, backup_id: int) -> None:
    """Have the catalog know of one row more than the dump holds, as if the restore lost one."""
    kept = app.catalog.backups.fingerprint(backup_id)
    assert kept is not None
    kept["tables"]["public.tags"] = [4, None]
    app.catalog.backups.note_fingerprint(backup_id, kept)


@pytest.mark.parametrize("how", ["in place", "by swap", "elsewhere"])
def test_a_check_that_fails_leaves_the_living_database_as_it_was(owned: ApplicationUnderTest, how: str) -> None:
    backup_id = owned.back_up()
    damaged(owned, backup_id)
    owned.sql("DELETE FROM tags")
    before = titles(owned)
    into: dict[str, Any] = {}
    if how == "by swap":
        owned.configure(restore=replace(owned.application.restore, mode="swap"))
    if how == "elsewhere":
        into = {"into": {"database": f"{owned.server.dbname}_other"}}
    planned = owned.plan(backup_id, **into)
    owned.bring(planned)
    with pytest.raises(ChecksFailed, match=r"row_counts: 1 of 4 differ .*public\.tags has 3 rows, and had 4") as said:
        owned.finish(planned["restore_id"])
    assert "restore.checks" in said.value.hint
    assert owned.sql("SELECT count(*) FROM tags") == [(0,)]
    assert titles(owned) == before
    owned.configure(restore=replace(owned.application.restore, checks=()))
    owned.finish(planned["restore_id"])
    if how != "elsewhere":
        assert owned.sql("SELECT count(*) FROM tags") == [(3,)]


def test_a_restore_says_what_was_checked_with_figures(owned: ApplicationUnderTest) -> None:
    owned.configure(assertions={"there are rooms": "SELECT count(*) > 10 FROM rooms"})
    backup_id = owned.back_up()
    owned.sql("DELETE FROM tags")
    figures = owned.restore(backup_id)
    told = {one["name"]: one for one in figures["outcome"]["database"]["checks"]}
    assert told["row_counts"]["compared"] == 4
    assert told["assertion there are rooms"]["passed"]
    assert all(one["passed"] for one in told.values())


@pytest.mark.parametrize(
    ("sql", "said"),
    [("SELECT count(*) > 99 FROM rooms", "it returns"), ("SELECT * FROM nowhere", "it fails: ")],
)
def test_an_assertion_that_does_not_hold_ends_the_restore(owned: ApplicationUnderTest, sql: str, said: str) -> None:
    owned.configure(assertions={"rooms": sql})
    planned = owned.plan(owned.back_up())
    owned.bring(planned)
    with pytest.raises(ChecksFailed, match=rf"assertion rooms: 1 of 1 differ .*{said}"):
        owned.finish(planned["restore_id"])
    assert len(titles(owned)) == 3


WRITES = {
    "ends the transaction": "SELECT true; COMMIT; SELECT true",
    "undoes it": "SELECT true; ROLLBACK; SELECT true",
    "only ends it": "COMMIT",
    "changes rows": "UPDATE rooms SET floor = 77 WHERE id = 7 RETURNING true",
    "changes rows in a query": "WITH changed AS (UPDATE rooms SET floor = 77 RETURNING 1) SELECT true FROM changed",
    "calls what changes rows": "SELECT write_down()",
    "draws a number": "SELECT nextval('rooms_id_seq') > 0",
}


@pytest.mark.parametrize("how", ["in place", "by swap", "elsewhere"])
def test_an_assertion_changes_nothing_and_ends_nothing(owned: ApplicationUnderTest, how: str) -> None:
    """It is one query that reads, whatever the configuration has in its place."""
    owned.sql(
        "CREATE FUNCTION write_down() RETURNS boolean LANGUAGE sql AS "
        "'UPDATE public.rooms SET floor = 77 WHERE id = 7 RETURNING true'"
    )
    backup_id = owned.back_up()
    owned.sql("UPDATE rooms SET floor = 5")
    if how == "by swap":
        owned.configure(restore=replace(owned.application.restore, mode="swap"))
    into = {"into": {"database": f"{owned.server.dbname}_other"}} if how == "elsewhere" else {}
    owned.configure(assertions=WRITES)
    planned = owned.plan(backup_id, **into)
    owned.bring(planned)
    with pytest.raises(ChecksFailed) as said:
        owned.finish(planned["restore_id"])
    for name in WRITES:
        assert f"assertion {name}: 1 of 1 differ (it fails: " in said.value.message
    assert owned.sql("SELECT DISTINCT floor FROM rooms") == [(5,)]


def test_an_assertion_may_end_as_sql_ends_and_give_rows_without_end(owned: ApplicationUnderTest) -> None:
    owned.configure(
        assertions={
            "with its end": "SELECT true;  -- at last\n",
            "a table": "TABLE all_true",
            "many": "SELECT true FROM rooms a, rooms b, rooms c, rooms d, rooms e, rooms f",
        }
    )
    owned.sql("CREATE VIEW all_true AS SELECT count(*) = 50 FROM rooms")
    figures = owned.restore(owned.back_up())
    assert all(one["passed"] for one in figures["outcome"]["database"]["checks"])


def _grant_is_lacking(owned: ApplicationUnderTest, backup_id: int) -> None:
    kept = owned.catalog.backups.fingerprint(backup_id)
    assert kept is not None
    kept["objects"].setdefault("grant", {})["public.tags\tSELECT to a_role_that_is_gone"] = ["false", ""]
    owned.catalog.backups.note_fingerprint(backup_id, kept)


@pytest.mark.parametrize("how", ["in place", "by swap", "elsewhere"])
def test_a_grant_that_is_lacking_stops_a_restore_and_its_next_try(owned: ApplicationUnderTest, how: str) -> None:
    backup_id = owned.back_up()
    _grant_is_lacking(owned, backup_id)
    owned.sql("DELETE FROM tags")
    mode = "transaction" if how == "in place" else "swap"
    owned.configure(restore=replace(owned.application.restore, mode=mode))
    into = {"into": {"database": f"{owned.server.dbname}_other"}} if how == "elsewhere" else {}
    planned = owned.plan(backup_id, **into)
    owned.bring(planned)
    for _ in range(2):  # the next try goes on with what the first filled
        with pytest.raises(ChecksFailed, match=r"grants: 1 of \d+ differ .*SELECT to a_role_that_is_gone is not there"):
            owned.finish(planned["restore_id"])
    assert owned.sql("SELECT count(*) FROM tags") == [(0,)]


def test_a_grant_that_a_swap_could_not_make_is_told_and_does_not_stop_it(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    """A role that the user cannot act as granted it; the warnings list it."""
    name = owned.server.dbname
    postgres.create_role(f"giver_of_{name}")
    owned.sql(f"GRANT SELECT ON tags TO giver_of_{name} WITH GRANT OPTION")
    postgres.execute(f"SET ROLE giver_of_{name}; GRANT SELECT ON tags TO reader_of_{name}; RESET ROLE", name)
    backup_id = owned.back_up()
    damaged(owned, backup_id)
    owned.configure(restore=replace(owned.application.restore, mode="swap"))
    planned = owned.plan(backup_id)
    owned.bring(planned)
    with pytest.raises(ChecksFailed, match="row_counts: 1 of 4"):
        owned.finish(planned["restore_id"])
    without_rows = tuple(one for one in owned.application.restore.checks if one != "row_counts")
    owned.configure(restore=replace(owned.application.restore, checks=without_rows))
    figures = owned.finish(planned["restore_id"])  # the try that filled it has noted what it could not make
    told = {one["name"]: one["passed"] for one in figures["outcome"]["database"]["checks"]}
    assert not told.pop("grants")
    assert all(told.values())


def test_what_is_filled_in_another_place_is_checked_there(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    backup_id = owned.back_up()
    damaged(owned, backup_id)
    owned.configure(restore=replace(owned.application.restore, mode="swap"))
    there = f"{owned.server.dbname}_other"
    with pytest.raises(ChecksFailed, match="row_counts: 1 of"):
        owned.restore(backup_id, part="database", into={"database": there})
    postgres.drop_database(there)


def test_columns_whose_order_a_dump_changes_are_the_same_rows(owned: ApplicationUnderTest) -> None:
    """Those of a table that inherits some which came later, and of one that lost some."""
    owned.configure(dump=replace(owned.application.dump, fingerprint="hashes"))
    for statement in (
        "CREATE TABLE ancestor (a int, gone int)",
        "CREATE TABLE heir (z text) INHERITS (ancestor)",
        "ALTER TABLE ancestor ADD COLUMN late text DEFAULT 'x'",
        "ALTER TABLE ancestor DROP COLUMN gone",
        "INSERT INTO heir (a, z) SELECT n, 'z' FROM generate_series(1, 9) n",
    ):
        owned.sql(statement)
    figures = owned.restore(owned.back_up())
    (hashes,) = [one for one in figures["outcome"]["database"]["checks"] if one["name"] == "row_hashes"]
    assert hashes["passed"]


NEVER_DUMPED = """
CREATE TABLE ancestor (a int CONSTRAINT above CHECK (a > 0));
CREATE TABLE heir () INHERITS (ancestor);
COMMENT ON CONSTRAINT above ON heir IS 'inherited';
ALTER TABLE by_year ADD CONSTRAINT few CHECK (n < 100);
COMMENT ON CONSTRAINT few ON by_year_1 IS 'of a partition';
CREATE TABLE twice (id int);
INSERT INTO twice VALUES (1), (1)
"""


@pytest.mark.parametrize("how", ["in place", "by swap", "elsewhere"])
def test_what_pg_dump_leaves_out_is_not_missed(owned: ApplicationUnderTest, how: str) -> None:
    """The comment of what is inherited, and an index that could not be finished."""
    for statement in NEVER_DUMPED.split(";\n"):
        owned.sql(statement.strip())
    with owned.server.connect(autocommit=True) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY unfinished ON twice (id)")
    owned.sql("COMMENT ON INDEX unfinished IS 'never'")
    owned.configure(restore=replace(owned.application.restore, mode="swap" if how == "by swap" else "transaction"))
    into = {"into": {"database": f"{owned.server.dbname}_other"}} if how == "elsewhere" else {}
    figures = owned.restore(owned.back_up(), **into)
    assert all(one["passed"] for one in figures["outcome"]["database"]["checks"])


@pytest.mark.parametrize("mode", ["transaction", "swap"])
def test_a_database_of_another_encoding_has_the_same_rows_and_comments(
    make_application: Make, postgres: EmbeddedPostgres, mode: str
) -> None:
    """Hashes of texts are of their bytes: they are not compared, and all else is."""
    app = make_application()
    name = app.server.dbname
    for copy, encoding in (("old", "LATIN1"), ("new", "UTF8")):
        postgres.execute(
            f"CREATE DATABASE {name}_{copy} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    app.server = app.server.with_database(f"{name}_old")
    a_small_dms(app)
    for statement in (
        "CREATE TABLE café (naïve text)",
        "COMMENT ON TABLE café IS 'un café'",
        "INSERT INTO café VALUES ('été')",
        "CREATE FUNCTION season() RETURNS text LANGUAGE sql AS $$SELECT 'été'$$",
    ):
        app.sql(statement)
    app.configure(
        dump=replace(app.application.dump, fingerprint="hashes"), restore=replace(app.application.restore, mode=mode)
    )
    backup_id = app.back_up()
    app.server = app.server.with_database(f"{name}_new")
    figures = app.restore(backup_id, part="database")
    checks = {one["name"]: one for one in figures["outcome"]["database"]["checks"]}
    assert all(one["passed"] for one in checks.values())
    assert checks["row_counts"]["compared"] == 3
    assert "row_hashes" not in checks, "what compared nothing has not passed"
    assert app.sql("SELECT * FROM café") == [("été",)]


def test_who_owns_everything_after_a_restore_lacks_no_grant(owned: ApplicationUnderTest) -> None:
    owned.sql(f"GRANT SELECT ON tags TO {owned.server.user}")
    app = owned
    app.sql(f"GRANT SELECT, DELETE ON rooms TO reader_of_{app.server.dbname}")
    backup_id = app.back_up()
    app.configure(restore=replace(app.application.restore, owner="drop"))
    assert "grants" not in [one["name"] for one in app.restore(backup_id)["outcome"]["database"]["checks"]]


def test_what_a_restore_leaves_alone_is_not_compared(owned: ApplicationUnderTest) -> None:
    backup_id = owned.back_up()
    owned.sql("DELETE FROM tags")
    owned.sql("ALTER TABLE rooms DISABLE TRIGGER stamped")
    owned.restore(backup_id, part="database", tables=["public.documents"])
    owned.configure(restore=replace(owned.application.restore, exclude_tables=("public.tags", "public.rooms")))
    owned.restore(backup_id)
    assert owned.sql("SELECT count(*) FROM tags") == [(0,)]


def test_an_extension_that_no_chosen_table_needs_is_not_missed_elsewhere(
    owned: ApplicationUnderTest, new_database: Callable[[], Server]
) -> None:
    owned.configure(restore=replace(owned.application.restore, checks=CHECKS))
    backup_id = owned.back_up()
    there, owned.server = owned.server, new_database()
    owned.restore(backup_id, part="database", tables=["public.documents"])
    assert owned.sql("SELECT count(*) FROM documents") == [(3,)]
    owned.server = there  # where the extension stays, it is still compared
    owned.sql("ALTER EXTENSION pg_trgm UPDATE TO '1.6'")
    with pytest.raises(ChecksFailed, match=r"extension pg_trgm is 1.6, and was 1.5"):
        owned.restore(backup_id, part="database")


@pytest.mark.parametrize("left_out", [{"exclude_tables": ("public.logs",)}, {"exclude_schemas": ("extra",)}])
def test_what_the_dump_left_out_is_not_missed_in_a_new_database(
    owned: ApplicationUnderTest, new_database: Callable[[], Server], left_out: dict[str, Any]
) -> None:
    owned.sql("CREATE SCHEMA extra")
    for table in ("logs", "extra.logs"):
        owned.sql(f"CREATE TABLE {table} (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, old serial, line text)")
        owned.sql(f"CREATE INDEX ON {table} (line)")
        owned.sql(f"INSERT INTO {table} (line) VALUES ('one'), ('two')")
    owned.configure(dump=replace(owned.application.dump, **left_out))
    backup_id = owned.back_up()
    owned.server = new_database()
    owned.restore(backup_id, part="database")
    (done,) = owned.catalog.lists.restores()
    checks = done["outcome"]["database"]["checks"]
    assert {"schema", "sequences", "row_counts"} <= {one["name"] for one in checks if one["passed"]}
    assert all(one["passed"] for one in checks)
