"""A restore rehearsed: what would be refused is found in an empty copy and on living rows, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.errors import DatabaseRefused, DatabaseUnreachable, GlacierProviderError, RestoreFailed
from glacier_provider.postgres import PgRestoreOptions, table_of_contents
from glacier_provider.postgres.dump.contents import read_contents, write_contents
from glacier_provider.postgres.restore.expressions import rehearse_expressions
from glacier_provider.postgres.restore.plan import plan_contents
from glacier_provider.postgres.restore.rehearsal import (
    _Rehearsal,
    _session,
    fails_without_rows,
    rehearse_schema,
)
from glacier_provider.postgres.restore.scratch import SCRATCH, scratch_database
from glacier_provider.postgres.restore.session import RestoringSession
from tests.integration.postgres.conftest import SampleServer
from tests.integration.postgres.test_what_stays import DOCS, LEFT_OUT, LOGINS, SUPERUSER, Library
from tests.integration.postgres.test_what_stays import ends as ends
from tests.integration.postgres.test_what_stays import everywhere as everywhere
from tests.integration.postgres.test_what_stays import library as library


def nothing() -> None:
    """Nobody is told."""


def stumbles(library: Library, by: str = "owner", **options: object) -> list[str]:
    toc = table_of_contents(library.dump(**options))
    return [str(one.failed) for one in rehearse_schema(library.of(by), toc, PgRestoreOptions(), tell=nothing)]


def scratch_databases(library: Library) -> list[object]:
    query = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{SCRATCH}') ORDER BY oid"
    return library.run(query, by=SUPERUSER)


def test_a_schema_that_can_be_made_is_made_and_dropped(everywhere: Library) -> None:
    everywhere.run(*DOCS, "CREATE VIEW titles AS SELECT title FROM docs", "SELECT lo_from_bytea(4711, 'x')")
    assert stumbles(everywhere) == []
    assert scratch_databases(everywhere) == []


def test_the_whole_sample_is_rehearsed_without_a_complaint(sample: SampleServer, tmp_path: Path) -> None:
    from glacier_provider.postgres import PgDumpOptions, dump_to_path

    server = sample.new()
    dump = dump_to_path(server, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    assert dump.contents is not None
    assert rehearse_schema(server, dump.contents, PgRestoreOptions(), tell=nothing) == ()


def test_what_cannot_be_made_is_named_with_what_needs_it(library: Library) -> None:
    library.run(*LOGINS)
    found = stumbles(library, exclude_tables=(("public", "sessions"),))
    assert any("VIEW public.open_sessions" in one and "does not exist" in one for one in found)
    assert any("VIEW public.twice: needs VIEW public.open_sessions" in one for one in found)
    assert any("logins_session_id_fkey" in one for one in found)


def test_what_a_superuser_made_is_refused_to_the_owner(library: Library) -> None:
    library.run("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    library.run("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()", by=SUPERUSER)
    assert ["EVENT TRIGGER watch" in one and "permission denied" in one for one in stumbles(library)] == [True]
    assert stumbles(library, SUPERUSER) == []


def test_a_scratch_database_that_a_dead_process_left_is_dropped_by_a_later_one(library: Library) -> None:
    left = f"{SCRATCH}{1:x}_0123456789ab"
    library.run(f"CREATE DATABASE {left}", f"COMMENT ON DATABASE {left} IS 'glacier_provider: a rehearsal'")
    library.run(f"CREATE DATABASE {SCRATCH}of_somebody_else")
    with scratch_database(library.owner) as one, scratch_database(library.owner) as other:
        # one that was just made has nobody in it, either
        assert scratch_databases(library) == [(f"{SCRATCH}of_somebody_else",), (one.dbname,), (other.dbname,)]
    library.run(f"DROP DATABASE {SCRATCH}of_somebody_else")
    assert scratch_databases(library) == []


@pytest.mark.parametrize("closed", [["postgres"], None], ids=["usual", "all"])
def test_a_user_who_may_enter_no_other_database_rehearses_from_its_own(
    library: Library, closed: list[str] | None
) -> None:
    library.run(*DOCS)
    every = [str(name) for (name,) in library.run("SELECT datname FROM pg_database WHERE datallowconn", by=SUPERUSER)]
    others = [f'"{name}"' for name in closed or every if name != library.owner.dbname]
    try:
        library.run(*(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC" for name in others), by=SUPERUSER)
        assert stumbles(library) == []
        assert scratch_databases(library) == []
    finally:
        library.run(*(f"GRANT CONNECT ON DATABASE {name} TO PUBLIC" for name in others), by=SUPERUSER)


def test_a_server_that_goes_away_says_nothing_about_the_dump(library: Library) -> None:
    library.run(*EXPRESSIONS)
    toc = table_of_contents(library.dump())

    def cut() -> None:
        library.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{library.role}' AND datname <> "
            f"'{library.role}' AND pid <> pg_backend_pid()",
            by=SUPERUSER,
        )

    with (  # noqa: PT012
        pytest.raises(DatabaseUnreachable),
        scratch_database(library.owner) as scratch,
        _session(scratch, toc, nothing) as session,
    ):
        cut()
        _Rehearsal(session, toc, PgRestoreOptions())._try_all([e for e in toc.entries if e.desc == "SCHEMA"])


def test_a_user_who_may_create_no_database_is_told_what_to_do(library: Library) -> None:
    library.run(f"ALTER ROLE {library.role} NOCREATEDB", by=SUPERUSER)
    with pytest.raises(DatabaseRefused, match=r"CREATEDB.*rehearsal\.postgres_conn_id"):
        stumbles(library)


EXPRESSIONS = (
    "CREATE SCHEMA tools",
    "CREATE FUNCTION tools.plain(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
    "CREATE FUNCTION folded(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN plain($1); END'",
    "SET search_path = public, tools",
    "CREATE TABLE names (name text, folded text GENERATED ALWAYS AS (folded(name)) STORED, good int CHECK (good > 0))",
    "CREATE INDEX by_folded ON names (folded(name))",
    "INSERT INTO names (name, good) VALUES ('Ann', 1)",
)


def test_expressions_that_a_dump_breaks_are_found_on_living_rows(everywhere: Library) -> None:
    """They run by the search_path of the application, and a dump empties it."""
    everywhere.run(*EXPRESSIONS)
    found = rehearse_expressions(everywhere.owner, frozenset(), tell=nothing)
    failed = found.failed
    assert found.count == 3
    assert sorted(one.object for one in failed) == [
        "generated column folded of public.names",
        "index by_folded of public.names",
    ]
    assert all("plain" in one.said and "does not exist" in one.said for one in failed)
    assert stumbles(everywhere) == []  # an empty schema does not show it


def test_a_row_that_does_not_meet_its_check_any_more_is_found(library: Library) -> None:
    library.run(
        "CREATE FUNCTION good(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0'",
        "CREATE TABLE t (n int CHECK (good(n)))",
        "INSERT INTO t VALUES (1)",
        "CREATE OR REPLACE FUNCTION good(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 5'",
    )
    failed = rehearse_expressions(library.owner, frozenset(), tell=nothing).failed
    assert ["check" in one.object and "does not meet it" in one.said for one in failed] == [True]
    assert rehearse_expressions(library.owner, frozenset({"public"}), tell=nothing).count == 0


#: A function that names a table without its schema, as an application does that sets its search_path.
LOOKUP = (
    "CREATE SCHEMA app; SET search_path = app; CREATE TABLE words (word text); INSERT INTO words VALUES ('a'), ('b');"
    "CREATE FUNCTION known(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS "
    "'BEGIN RETURN EXISTS (SELECT FROM words WHERE word = $1); END'; "
    "CREATE DOMAIN known_word AS text CHECK (known(VALUE)); "
    "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
)
RUN_BY_A_RESTORE = {
    "domain of column w of app.t": "CREATE TABLE t (w known_word); INSERT INTO t VALUES ('a')",
    "domain of column ws of app.u": "CREATE TABLE u (ws known_word[]); INSERT INTO u VALUES ('{a}')",
    "partition key p of app.p1": "CREATE TABLE p (w text) PARTITION BY LIST (known(w)); "
    "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (true); INSERT INTO p VALUES ('a')",
    "check good of app.q1": "CREATE TABLE q (w text CONSTRAINT good CHECK (known(w))) PARTITION BY LIST (w); "
    "CREATE TABLE q1 PARTITION OF q FOR VALUES IN ('a'); INSERT INTO q VALUES ('a')",
    "check good of app.child": "CREATE TABLE parent (w text CONSTRAINT good CHECK (known(w))); "
    "CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES ('a')",
    "materialized view app.m": "CREATE FUNCTION late() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'; "
    "CREATE MATERIALIZED VIEW m AS SELECT word, late() FROM words; "
    "CREATE OR REPLACE FUNCTION late() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN known(''a''); END'",
}


def test_everything_that_a_restore_runs_over_rows_is_tried(ends: Library) -> None:
    ends.run(LOOKUP + ";".join(RUN_BY_A_RESTORE.values()))
    found = rehearse_expressions(ends.owner, frozenset(), tell=nothing)
    assert sorted(one.object for one in found.failed) == sorted(RUN_BY_A_RESTORE)
    assert all("words" in one.said or "known" in one.said for one in found.failed)


IN_OTHER_TYPES = (
    "CREATE FUNCTION plain(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
    "CREATE FUNCTION is_folded(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN plain($1) = $1; END'",
    "CREATE DOMAIN folded AS text CHECK (is_folded(VALUE))",
    "CREATE TYPE pair AS (a folded, b int)",
    "CREATE TYPE span AS RANGE (subtype = folded, multirange_type_name = spans)",
    "CREATE TABLE entry (r int, f folded)",
    "CREATE TABLE pairs (p pair); INSERT INTO pairs VALUES (ROW('a', 1))",
    "CREATE TABLE many (p pair[]); INSERT INTO many VALUES (ARRAY[ROW('a', 1)::pair])",
    "CREATE TABLE ranges (s span, m spans); INSERT INTO ranges VALUES (span('a', 'b'), spans(span('a', 'b')))",
    "CREATE TABLE entries (r entry); INSERT INTO entries VALUES (ROW(1, 'a'))",
)


def test_a_domain_within_another_type_is_tried_too(ends: Library) -> None:
    ends.run(*IN_OTHER_TYPES)
    found = rehearse_expressions(ends.owner, frozenset(), tell=nothing).failed
    expected = {
        "p of public.pairs",
        "p of public.many",
        "s of public.ranges",
        "m of public.ranges",
        "r of public.entries",
    }
    assert {one.object.removeprefix("domain of column ") for one in found} == expected
    assert all("plain(text) does not exist" in one.said for one in found)


def test_a_row_that_names_an_index_is_found(ends: Library) -> None:
    """An index is made when the rows are there."""
    ends.run("CREATE TABLE docs (id int PRIMARY KEY)", "CREATE TABLE named (what regclass)")
    ends.run("INSERT INTO named VALUES ('docs'), ('pg_class_oid_index')")
    assert [one.said for one in rehearse_expressions(ends.owner, frozenset(), tell=nothing).failed] == []
    ends.run("INSERT INTO named VALUES ('docs_pkey')")
    dump = ends.dump()
    found = rehearse_expressions(ends.owner, frozenset(), tell=nothing).failed
    assert [one.object for one in found] == ["column what of public.named"]
    assert "names the index public.docs_pkey" in found[0].said
    with pytest.raises(GlacierProviderError, match="docs_pkey"):
        ends.restore(dump)


@pytest.mark.parametrize("about", RUN_BY_A_RESTORE)
def test_a_restore_does_fail_with_what_is_found(library: Library, about: str) -> None:
    library.run(LOOKUP + RUN_BY_A_RESTORE[about])
    dump = library.dump()
    with pytest.raises(GlacierProviderError, match=r"words|known"):
        library.restore(dump)


WATCHED = (
    "CREATE TABLE t (w text); INSERT INTO t VALUES ('a')",
    "CREATE FUNCTION of_row(t) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN known($1.w); END'",
    "CREATE TRIGGER inserted AFTER INSERT ON t FOR EACH ROW WHEN (known(new.w)) EXECUTE FUNCTION fire()",
    "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW WHEN (old.w = ''') EXECUTE FUNCTION' "
    "OR old.* IS NOT DISTINCT FROM new.* AND known(old.w || new.w)) EXECUTE FUNCTION fire()",
    "CREATE TRIGGER whole AFTER DELETE ON t FOR EACH ROW WHEN (of_row(old.*)) EXECUTE FUNCTION fire()",
    "CREATE TRIGGER statement AFTER INSERT ON t WHEN (known('a')) EXECUTE FUNCTION fire()",
    'CREATE TRIGGER "odd WHEN (" AFTER INSERT ON t FOR EACH ROW WHEN (known(new.w)) EXECUTE FUNCTION fire()',
)


def test_conditions_of_triggers_that_need_a_search_path_are_told_and_stop_no_restore(ends: Library) -> None:
    ends.run(LOOKUP + ";".join(WATCHED))
    found = rehearse_expressions(ends.owner, frozenset(), tell=nothing)
    assert found.failed == ()
    assert sorted(one.object.split()[1] for one in found.conditions) == [
        "changed", "inserted", "odd", "statement", "whole"
    ]  # fmt: skip
    assert all("words" in one.said or "known" in one.said for one in found.conditions)
    before = ends.everything()
    ends.restore(ends.dump())
    assert ends.everything() == before


def test_conditions_that_need_no_search_path_are_no_finding(ends: Library) -> None:
    ends.run(
        "CREATE TABLE t (a int, b text) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)",
        "INSERT INTO t VALUES (1, 'x')",
        "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER a AFTER UPDATE ON t FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION fire()",
        "CREATE TRIGGER b AFTER INSERT ON t WHEN (pg_trigger_depth() < 1) EXECUTE FUNCTION fire()",
    )
    found = rehearse_expressions(ends.owner, frozenset(), tell=nothing)
    assert (found.count, found.failed, found.conditions) == (2, (), ())


def test_a_check_that_is_not_valid_and_one_that_writes_are_no_finding(library: Library) -> None:
    library.run(
        "CREATE TABLE t (n int); INSERT INTO t VALUES (-1); ALTER TABLE t ADD CHECK (n > 0) NOT VALID",
        "CREATE TABLE log (n int)",
        "CREATE FUNCTION noted(int) RETURNS boolean LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO public.log VALUES ($1); RETURN true; END'",
        "CREATE TABLE u (n int CHECK (noted(n))); INSERT INTO u VALUES (1)",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TABLE d (one positive, many positive[])",
        "INSERT INTO d VALUES (1, '{1}'); ALTER DOMAIN positive ADD CHECK (VALUE > 100) NOT VALID",
    )
    assert rehearse_expressions(library.owner, frozenset(), tell=nothing).failed == ()


def test_of_many_partitions_a_few_are_looked_at(library: Library) -> None:
    library.run(
        "CREATE TABLE p (n int, m int GENERATED ALWAYS AS (n + 1) STORED, CHECK (n > 0)) PARTITION BY LIST (n)",
        *(f"CREATE TABLE p{n} PARTITION OF p FOR VALUES IN ({n})" for n in range(1, 9)),
        "CREATE INDEX ON p ((n + 2))",
    )
    assert rehearse_expressions(library.owner, frozenset(), tell=nothing).count == 9


def test_the_table_of_contents_survives_a_file_of_its_own(library: Library, tmp_path: Path) -> None:
    library.run(*DOCS, 'CREATE TABLE "Größe \\" (n int)')
    toc = table_of_contents(library.dump(**LEFT_OUT))
    write_contents(toc, tmp_path / "contents")
    assert read_contents(tmp_path / "contents") == toc
    kept = plan_contents(library.owner, toc, library.plan(library.dump()).selection, PgRestoreOptions()).kept
    assert kept


def test_locks_are_estimated_before_anything_is_begun(library: Library) -> None:
    library.run(*(f"CREATE TABLE t{n} (id serial PRIMARY KEY, a text)" for n in range(30)))
    plan = library.plan(library.dump())
    assert 30 * 15 < plan.locks < 30 * 40
    assert plan.fits_a_transaction


BREAKS = {
    "foreign key b_a_fkey of public.b": "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a);"
    " ALTER TABLE b DISABLE TRIGGER ALL; INSERT INTO b VALUES (NULL), (5); ALTER TABLE b ENABLE TRIGGER ALL",
    "foreign key b_a_c_fkey of public.b": "CREATE TABLE a (id int, c text, PRIMARY KEY (c, id)) PARTITION BY HASH (id);"
    " CREATE TABLE a1 PARTITION OF a FOR VALUES WITH (MODULUS 1, REMAINDER 0); CREATE TABLE b (a int, c text,"
    " FOREIGN KEY (a, c) REFERENCES a (id, c)); ALTER TABLE b DISABLE TRIGGER ALL; INSERT INTO b VALUES (5, 'x');"
    " ALTER TABLE b ENABLE TRIGGER ALL",
    "check small of public.a": "CREATE FUNCTION most() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 900';"
    " CREATE TABLE a (n int CONSTRAINT small CHECK (n < public.most())); INSERT INTO a SELECT generate_series(1, 800);"
    " CREATE OR REPLACE FUNCTION most() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 700'",
    "materialized view public.m": "CREATE TABLE a (n int); CREATE MATERIALIZED VIEW m AS SELECT 1 / (50 - n) FROM a;"
    " INSERT INTO a SELECT generate_series(1, 80)",
    "unique index once of public.m": "CREATE TABLE a (n int); CREATE MATERIALIZED VIEW m AS SELECT n, n AS o FROM a;"
    " CREATE UNIQUE INDEX once ON m (n) INCLUDE (o); INSERT INTO a SELECT n % 70 FROM generate_series(1, 80) AS n",
}


@pytest.mark.parametrize("about", BREAKS)
def test_a_row_among_many_with_which_a_restore_fails_is_found(ends: Library, about: str) -> None:
    ends.run(f"SET search_path = public; {BREAKS[about]}", by=SUPERUSER)
    superuser = ends.of(SUPERUSER)
    found = rehearse_expressions(superuser, frozenset(), tell=nothing)
    assert [one.object for one in found.failed] == [about]
    assert found.unseen == 0
    tables = frozenset({("public", "a"), ("public", "m")})  # of what no restore replaces nothing is said
    assert rehearse_expressions(superuser, frozenset(), tell=nothing, tables=tables).failed == ()
    hurried = rehearse_expressions(superuser, frozenset(), tell=nothing, seconds=0)
    assert (hurried.failed, hurried.unseen > 0) == ((), True)
    with pytest.raises(RestoreFailed) as caught:
        ends.restore(ends.dump(), by=SUPERUSER)
    assert "on_error: list" in str(caught.value.hint)


def test_a_materialized_view_is_tried_as_its_owner_who_runs_it_in_a_restore(ends: Library) -> None:
    """Policies bind the owner of the view, and not the owner of the table; a restore switches no policy on."""
    reader = f"{ends.role}_reader"
    ends.run(f"CREATE ROLE {reader}; GRANT {reader} TO {ends.role}", by=SUPERUSER)
    ends.run(
        "CREATE TABLE notes (n int); INSERT INTO notes VALUES (1); ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON notes TO {reader}; CREATE MATERIALIZED VIEW m AS SELECT n FROM notes",
    )
    assert rehearse_expressions(ends.owner, frozenset(), tell=nothing).failed == ()
    ends.run(f"ALTER MATERIALIZED VIEW m OWNER TO {reader}", by=SUPERUSER)
    for by in ("owner", SUPERUSER):
        found = rehearse_expressions(ends.of(by), frozenset(), tell=nothing).failed
        assert [one.object for one in found] == ["materialized view public.m"]
        assert "row-level security" in found[0].said


def test_what_reads_rows_that_come_later_is_tried_without_them(library: Library) -> None:
    library.run(
        "CREATE TABLE words (word text); INSERT INTO words VALUES ('a'); CREATE TABLE empty (word text)",
        "CREATE FUNCTION known(text) RETURNS boolean LANGUAGE plpgsql AS "
        "'BEGIN RETURN EXISTS (SELECT FROM public.words WHERE word = $1); END'",
        "CREATE FUNCTION free(text) RETURNS boolean LANGUAGE sql AS "
        "'SELECT NOT EXISTS (SELECT FROM public.empty WHERE word = $1)'",
        "CREATE DOMAIN known_word AS text CHECK (known(VALUE))",
        "CREATE TABLE t (a text CHECK (known(a)), b known_word, c text CHECK (free(c)), d text CHECK (lower(d) = d))",
        "INSERT INTO t VALUES ('a', 'a', 'it''s \\', 'd')",
    )
    found = rehearse_expressions(library.owner, frozenset(), tell=nothing)
    assert found.failed == ()
    tables = {one.failed.object.split()[-3]: one.tables for one in found.readings}
    assert tables == {
        "t_a_check": (("public", "words"),),
        "b": (("public", "words"),),
        "t_c_check": (("public", "empty"),),
    }
    failing: list[str] = []

    def then(session: RestoringSession) -> None:
        failing.extend(one.failed.object for one in found.readings if fails_without_rows(session, one))

    toc = table_of_contents(library.dump())
    assert rehearse_schema(library.owner, toc, PgRestoreOptions(), tell=nothing, then=then) == ()
    assert "check t_a_check of public.t" in failing
    assert "domain of column b of public.t" in failing


def test_a_row_that_lacks_what_its_parent_demands_is_found(older: SampleServer, tmp_path: Path) -> None:
    """Before 18 a child may do without the NOT NULL of its parent; a dump does not say so."""
    library = Library(older, tmp_path)
    library.run("CREATE TABLE parent (id int NOT NULL); CREATE TABLE child () INHERITS (parent)")
    library.run("ALTER TABLE child ALTER id DROP NOT NULL")
    assert rehearse_expressions(library.owner, frozenset(), tell=nothing).failed == ()
    library.run("INSERT INTO child VALUES (NULL)")
    (failed,) = rehearse_expressions(library.owner, frozenset(), tell=nothing).failed
    assert failed.object == "inherited not null id of public.child"
    with pytest.raises(RestoreFailed, match="violates not-null constraint"):
        library.restore(library.dump())


def test_a_virtual_column_that_fails_for_a_row_is_no_finding(newer: SampleServer, tmp_path: Path) -> None:
    """Nobody computes it in a restore."""
    library = Library(newer, tmp_path)
    library.run("CREATE TABLE t (n int, v int GENERATED ALWAYS AS (1 / n))", "INSERT INTO t VALUES (0)")
    assert rehearse_expressions(library.owner, frozenset(), tell=nothing).failed == ()
    library.restore(library.dump())
    assert library.run("SELECT n FROM t") == [(0,)]
