"""A restore replaces what the dump holds; everything else is there afterwards, with what ties it to the rest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.errors import (
    DatabaseRefused,
    GlacierProviderError,
    MissingRoles,
    RestoreFailed,
    SelectionConflict,
)
from glacier_provider.postgres import (
    Exclusions,
    Keep,
    PgDumpOptions,
    PgRestoreOptions,
    RestoredDatabase,
    Selection,
    Server,
    dump_to_path,
    plan_database_restore,
    restore_by_swap,
    restore_in_transaction,
    table_of_contents,
)
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from glacier_provider.postgres.restore import transaction
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from tests.integration.postgres.conftest import OLDEST, SampleServer

_numbers = count()
OWNER, SUPERUSER = "owner", "superuser"
DROP_OWNER = PgRestoreOptions(owner=Keep.DROP)


class Library:
    """A database of the role `library`, which is no superuser, and the two users who restore into it."""

    def __init__(self, sample: SampleServer, place: Path, *, clauses: str = "") -> None:
        self._sample, self._place = sample, place
        self.role = f"library_{next(_numbers)}"
        sample.postgres.create_role(self.role, password="library", attributes="CREATEDB NOSUPERUSER")
        sample.postgres.execute(f"CREATE DATABASE {self.role} OWNER {self.role} {clauses}")
        self.postgres = sample.postgres.server(self.role)
        self.owner = sample.postgres.server(self.role, user=self.role, password="library")
        self.tools = sample.tools

    def of(self, user: str) -> Server:
        return self.owner if user == OWNER else self.postgres

    def run(self, *statements: str, by: str = OWNER) -> list[tuple[Any, ...]]:
        """Run statements as this user, each in its own transaction; return the rows of the last one."""
        with self.of(by).connect(autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                while cursor.nextset():
                    pass
            return cursor.fetchall() if cursor.description else []

    def dump(self, **options: Any) -> Path:
        self.options = PgDumpOptions(**options)
        path = self._place / f"{self.role}-{next(_numbers)}.dump"
        return dump_to_path(self.postgres, self.tools, self.options, path, progress=print).path

    def restore(
        self,
        dump: Path,
        by: str = OWNER,
        options: PgRestoreOptions | None = None,
        into: Server | None = None,
        **chosen: Any,
    ) -> RestoredDatabase:
        return restore_in_transaction(
            into or self.of(by),
            self.tools,
            dump,
            Selection(**chosen),
            options,
            progress=print,
            exclusions=self.options.exclusions,
        )

    def plan(self, dump: Path, by: str = OWNER, options: PgRestoreOptions | None = None, **chosen: Any) -> Any:
        return plan_database_restore(
            self.of(by), self.tools, dump, Selection(**chosen), options or PgRestoreOptions(), self.options.exclusions
        )

    def everything(self) -> str:
        return self._sample.everything(self.postgres)

    def make_role(self, name: str) -> None:
        self._sample.postgres.create_role(name)

    def another_role(self) -> str:
        """Make a role that no other test sees; return its name."""
        name = f"other_{next(_numbers)}"
        self.make_role(name)
        return name

    def at(self, name: str) -> Server:
        """Return a database of the same server, as the superuser."""
        return self._sample.postgres.server(name)

    def empty(self) -> Server:
        """Return a new database of the same owner, as the owner."""
        name = f"{self.role}_{next(_numbers)}"
        self._sample.postgres.create_database(name, owner=self.role)
        return self._sample.postgres.server(name, user=self.role, password="library")


@pytest.fixture
def library(sample: SampleServer, tmp_path: Path) -> Library:
    return Library(sample, tmp_path)


@pytest.fixture
def everywhere(any_server: SampleServer, tmp_path: Path) -> Library:
    """The same on servers of every version that is at hand."""
    return Library(any_server, tmp_path)


@pytest.fixture(params=["oldest" if OLDEST else "older", "newer"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Library:
    """The same on the oldest and the newest server that is at hand."""
    return Library(request.getfixturevalue(request.param), tmp_path)


DOCS = (
    "CREATE TABLE docs (id int PRIMARY KEY, title text)",
    "INSERT INTO docs SELECT n, 'document ' || n FROM generate_series(1, 5) n",
    "CREATE TABLE audit (id serial PRIMARY KEY, doc int REFERENCES docs)",
    "INSERT INTO audit (doc) SELECT 1 + n % 5 FROM generate_series(1, 1000) n",
    "CREATE SCHEMA stats CREATE TABLE days (day int)",
    "INSERT INTO stats.days SELECT generate_series(1, 500)",
    "CREATE TABLE sessions (id int PRIMARY KEY)",
    "INSERT INTO sessions SELECT generate_series(1, 7)",
)
LEFT_OUT = {
    "exclude_tables": (("public", "audit"),),
    "exclude_schemas": ("stats",),
    "exclude_table_data": (("public", "sessions"),),
}
COUNTS = (
    "SELECT (SELECT count(*) FROM docs), (SELECT count(*) FROM audit), (SELECT count(*) FROM stats.days), "
    "(SELECT count(*) FROM sessions)"
)


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
def test_what_the_dump_left_out_stays_as_it_is(everywhere: Library, user: str) -> None:
    everywhere.run(*DOCS)
    dump = everywhere.dump(**LEFT_OUT)
    everywhere.run("DELETE FROM audit WHERE doc = 5", "DELETE FROM docs WHERE id = 5", "CREATE TABLE later (n int)")
    plan = everywhere.plan(dump, user)
    everywhere.restore(dump, user)
    assert everywhere.run(COUNTS) == [(5, 800, 500, 7)]
    assert everywhere.run("SELECT to_regclass('later')") == [(None,)]
    stays = plan.inventory.stays
    for each in [("TABLE", "public", "audit"), ("TABLE", "stats", "days"), ("TABLE", "public", "sessions")]:
        assert each in stays
    assert plan.inventory.dropped == (("TABLE", "public", "later"),)
    assert ("TABLE", "public", "docs") in plan.inventory.replaced
    # what stays is as it was tied: the foreign key is there, and checked
    assert everywhere.run("SELECT convalidated FROM pg_constraint WHERE conname = 'audit_doc_fkey'") == [(True,)]


def test_an_owner_replaces_range_types_with_what_they_are_made_of(everywhere: Library) -> None:
    """What makes a range belongs to the bootstrap superuser, whoever made the type."""
    everywhere.run(
        "CREATE SCHEMA own",
        "CREATE DOMAIN own.small AS int CHECK (VALUE < 10)",
        "CREATE TYPE own.span AS RANGE (subtype = own.small)",
        "CREATE TABLE own.spans (s own.span)",
        "INSERT INTO own.spans VALUES ('[1,3)')",
    )
    before, dump = everywhere.everything(), everywhere.dump()
    everywhere.run(
        "ALTER DOMAIN own.small DROP CONSTRAINT small_check",
        "ALTER SCHEMA own RENAME TO renamed",
        "CREATE TYPE own_since AS RANGE (subtype = int)",
        "CREATE VIEW using_it AS SELECT own_since(1, 2)",
    )
    stays = everywhere.plan(dump).inventory.stays
    everywhere.restore(dump)
    assert [each for each in stays if each[0] in ("TYPE", "DOMAIN", "CAST", "FUNCTION")] == []
    assert everywhere.everything() == before


def test_a_foreign_key_that_no_longer_fits_holds_from_now_on_and_is_listed(library: Library) -> None:
    library.run(*DOCS)
    dump = library.dump(**LEFT_OUT)
    library.run("INSERT INTO docs VALUES (6, 'later')", "INSERT INTO audit (doc) VALUES (6)")
    done = library.restore(dump)
    assert library.run("SELECT convalidated FROM pg_constraint WHERE conname = 'audit_doc_fkey'") == [(False,)]
    assert ["audit_doc_fkey" in each["object"] and "NOT VALID" in each["said"] for each in done.failed] == [True]


def test_when_something_that_has_to_stay_goes_all_the_same_nothing_is_changed(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a later version of PostgreSQL lets depend on what is dropped."""
    library.run(*DOCS)
    dump = library.dump(**LEFT_OUT)
    statements = transaction._statements

    def one_too_many(drops: Iterable[tuple[str, str]]) -> Iterator[str]:
        yield from statements(drops)
        yield "DROP TABLE public.audit CASCADE"

    monkeypatch.setattr(transaction, "_statements", one_too_many)
    with pytest.raises(RestoreFailed, match=r"that must stay would be dropped as well: .*table public\.audit"):
        library.restore(dump)
    assert library.run("SELECT count(*) FROM audit") == [(1000,)]


def test_rows_that_were_left_out_are_told_by_the_dump_itself(library: Library) -> None:
    """A backup of before exclusions were kept has them in no record."""
    library.run(*DOCS)
    dump = library.dump(exclude_table_data=LEFT_OUT["exclude_table_data"])
    library.options = PgDumpOptions()
    library.restore(dump)
    assert library.run("SELECT count(*) FROM sessions") == [(7,)]


def test_tables_without_rows_are_made_where_they_are_missing_and_never_chosen(library: Library) -> None:
    library.run(*DOCS)
    dump = library.dump(exclude_table_data=LEFT_OUT["exclude_table_data"])
    with pytest.raises(SelectionConflict, match=r"sessions.*no rows"):
        library.restore(dump, tables={("public", "sessions")})
    library.run("DROP TABLE sessions")
    library.restore(dump)
    assert library.run("SELECT count(*) FROM sessions") == [(0,)]


LOGINS = (
    "CREATE TABLE sessions (id int PRIMARY KEY)",
    "INSERT INTO sessions VALUES (1), (2)",
    "CREATE TABLE logins (id int PRIMARY KEY, session_id int REFERENCES sessions)",
    "INSERT INTO logins VALUES (1, 1), (2, 2)",
    "CREATE VIEW open_sessions AS SELECT id FROM sessions",
    "CREATE VIEW twice AS SELECT id * 2 AS n FROM open_sessions",
    "COMMENT ON VIEW open_sessions IS 'a view'",
    "GRANT SELECT ON open_sessions TO PUBLIC",
)


@pytest.mark.parametrize("option", ["exclude_tables", "exclude_table_data"])
def test_a_foreign_key_to_rows_that_went_from_what_stays_holds_from_now_on_and_is_listed(
    library: Library, option: str
) -> None:
    library.run(*LOGINS)
    dump = library.dump(**{option: (("public", "sessions"),)})
    library.run("DELETE FROM logins", "DELETE FROM sessions WHERE id = 2")
    done = library.restore(dump)
    assert library.run("SELECT count(*) FROM logins") == [(2,)]
    assert library.run("SELECT convalidated FROM pg_constraint WHERE conname = 'logins_session_id_fkey'") == [(False,)]
    assert ["logins_session_id_fkey" in one["object"] and "NOT VALID" in one["said"] for one in done.failed] == [True]


@pytest.mark.parametrize("option", ["exclude_tables", "exclude_table_data"])
@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
def test_what_needs_a_table_that_was_left_out_is_restored_as_far_as_it_can_be(
    everywhere: Library, option: str, user: str
) -> None:
    everywhere.run(*LOGINS)
    dump = everywhere.dump(**{option: (("public", "sessions"),)})
    everywhere.run("DELETE FROM logins WHERE id = 2", "DELETE FROM sessions WHERE id = 2")
    done = everywhere.restore(dump, user)
    assert everywhere.run("SELECT array_agg(id) FROM logins") == [([1, 2],)]
    assert everywhere.run("SELECT array_agg(n) FROM twice") == [([2],)]
    assert everywhere.run("SELECT convalidated FROM pg_constraint WHERE conname ~ 'session_id'") == [(False,)]
    assert [each["object"] for each in done.failed] == ["FK CONSTRAINT public.logins logins_session_id_fkey"]
    assert "NOT VALID" in done.failed[0]["said"]
    assert "ADD CONSTRAINT logins_session_id_fkey" in done.failed[0]["statement"]


def test_what_needs_a_table_that_is_another_roles_now_and_changed_is_restored_as_far_as_it_can_be(
    library: Library,
) -> None:
    library.run(
        "CREATE TABLE docs (id int PRIMARY KEY, title text); INSERT INTO docs VALUES (1, 'one')",
        "CREATE VIEW titles AS SELECT title FROM docs; COMMENT ON VIEW titles IS 'of documents'",
        "CREATE VIEW few AS SELECT title FROM titles LIMIT 2; CREATE VIEW ids AS SELECT id FROM docs",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(title) AS n FROM docs",
        "CREATE TABLE notes (body text); INSERT INTO notes VALUES ('kept')",
    )
    dump = library.dump()
    other = library.another_role()
    library.run("ALTER TABLE docs RENAME title TO name", "DELETE FROM notes")
    library.run(f"ALTER TABLE docs OWNER TO {other}; GRANT SELECT ON docs TO {library.role}", by=SUPERUSER)
    done = library.restore(dump)
    assert library.run("SELECT body FROM notes") == [("kept",)]
    assert library.run("SELECT id FROM ids") == [(1,)]
    told = {each["object"] for each in done.failed}
    assert {"VIEW public.titles", "COMMENT public.VIEW titles", "VIEW public.few"} <= told
    assert any("counted" in each for each in told)
    assert not any("ids" in each for each in told)


#: Two levels of partitions, and a foreign key to the table above them.
PARTS = (
    "CREATE TABLE parts (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k)",
    "CREATE TABLE low PARTITION OF parts FOR VALUES IN (1, 2) PARTITION BY LIST (k)",
    "CREATE TABLE ones PARTITION OF low FOR VALUES IN (1)",
    "CREATE TABLE twos PARTITION OF low FOR VALUES IN (2)",
    "INSERT INTO parts VALUES (1, 1), (2, 2)",
    "CREATE TABLE pointing (id int, k int, CONSTRAINT to_parts FOREIGN KEY (id, k) REFERENCES parts)",
    "INSERT INTO pointing VALUES (1, 1), (2, 2)",
)


@pytest.mark.parametrize("leaves_out", ["the restore", "the restore, elsewhere", "the dump", "the dump, elsewhere"])
def test_a_foreign_key_to_partitions_whose_rows_are_left_out_is_made_as_far_as_it_can_be(
    library: Library, leaves_out: str
) -> None:
    library.run(*PARTS)
    by_dump = leaves_out.startswith("the dump")
    dump = library.dump(exclude_table_data=[("public", "ones")] if by_dump else ())
    library.run("TRUNCATE pointing", "DELETE FROM parts WHERE k = 1", "INSERT INTO pointing VALUES (2, 2)")
    into = library.empty() if "elsewhere" in leaves_out else library.owner
    chosen = {} if by_dump else {"exclude_tables": frozenset({("public", "ones")})}
    done = library.restore(dump, into=into, **chosen)
    (failed,) = done.failed
    assert "to_parts" in failed["object"]
    assert "NOT VALID" in failed["said"]
    with into.connect() as connection:
        assert connection.execute("SELECT id, k FROM pointing ORDER BY id").fetchall() == [(1, 1), (2, 2)]
        assert connection.execute("SELECT k FROM parts").fetchall() == [(2,)]


def test_what_needs_a_table_that_is_nowhere_is_listed_with_its_statement(library: Library) -> None:
    library.run(*LOGINS)
    dump = library.dump(exclude_tables=(("public", "sessions"),))
    into = library.empty()
    done = library.restore(dump, into=into)
    listed = {each["object"]: each["statement"] for each in done.failed}
    assert (
        "FOREIGN KEY (session_id) REFERENCES public.sessions"
        in listed["FK CONSTRAINT public.logins logins_session_id_fkey"]
    )
    assert "CREATE VIEW public.open_sessions" in listed["VIEW public.open_sessions"]
    assert "VIEW public.twice" in listed
    with into.connect() as connection:
        assert connection.execute("SELECT count(*) FROM logins").fetchone() == (2,)


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
def test_privileges_on_objects_of_the_server_itself_stop_no_restore(everywhere: Library, user: str) -> None:
    everywhere.run(*DOCS)
    everywhere.run(
        f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {everywhere.role}",
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) FROM PUBLIC",
        f"GRANT SELECT ON pg_catalog.pg_authid TO {everywhere.role}",
        f"GRANT USAGE ON SCHEMA information_schema TO {everywhere.role}",
        by=SUPERUSER,
    )
    dump = everywhere.dump()
    everywhere.run("DELETE FROM audit")
    everywhere.restore(dump, user)
    assert everywhere.run(COUNTS) == [(5, 1000, 500, 7)]
    granted = "SELECT has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE')"
    assert everywhere.run(granted) == [(True,)]


def test_privileges_on_objects_of_the_server_itself_stop_no_swap_and_are_told_before_and_after(ends: Library) -> None:
    ends.run(*DOCS)
    ends.run(
        f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {ends.role}",
        f"GRANT SELECT (rolname) ON pg_catalog.pg_authid TO {ends.role}",
        f"GRANT SELECT ON pg_catalog.pg_authid TO {ends.role}",
        by=SUPERUSER,
    )
    dump = ends.dump()
    rehearsed = rehearse_schema(ends.owner, table_of_contents(dump), PgRestoreOptions(), tell=lambda: None)
    ends.run("DELETE FROM audit")
    done = restore_by_swap(ends.owner, ends.tools, dump, PgRestoreOptions(), mark="restore_1_1", jobs=2, progress=print)
    assert ends.run(COUNTS) == [(5, 1000, 500, 7)]
    told = {each["object"]: each["statement"] for each in done.failed}
    assert told.keys() == {one.failed.object for one in rehearsed}
    assert all(one.is_passed_over for one in rehearsed)
    for statement in told.values():
        ends.run(statement, by=SUPERUSER)
    assert ends.run("SELECT has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE')") == [(True,)]


def test_privileges_on_what_an_extension_made_stay_or_are_listed_where_it_is_made_anew(library: Library) -> None:
    """A trusted extension's objects belong to the first superuser, whoever makes it: the server would only warn."""
    web = library.another_role()
    library.run("CREATE EXTENSION hstore", "CREATE TABLE docs (h hstore)")
    library.run(
        f"GRANT EXECUTE ON FUNCTION hstore_to_json(hstore) TO {web}",
        "REVOKE ALL ON FUNCTION hstore_out(hstore) FROM PUBLIC",
        f"GRANT USAGE ON LANGUAGE plpgsql TO {web}",
        by=SUPERUSER,
    )
    before = library.everything()
    dump = library.dump()
    stumbles = rehearse_schema(library.owner, table_of_contents(dump), PgRestoreOptions(), tell=lambda: None)
    assert len(stumbles) == 3
    assert all(one.is_passed_over for one in stumbles)
    assert library.restore(dump).failed == ()
    assert library.everything() == before
    library.restore(dump, SUPERUSER)
    assert library.everything() == before
    library.run("DROP EXTENSION hstore CASCADE")
    listed = {one["object"] for one in library.restore(dump).failed}
    assert "ACL public.FUNCTION hstore_to_json(public.hstore)" in listed
    done = restore_by_swap(
        library.owner, library.tools, dump, PgRestoreOptions(), mark="restore_1_1", jobs=2, progress=print
    )
    assert {one["object"] for one in done.failed} == {one.failed.object for one in stumbles}
    library.run(*(one["statement"] for one in done.failed), by=SUPERUSER)
    assert library.everything() == before


REPORTS = (
    "CREATE TABLE docs (id int PRIMARY KEY, t text); INSERT INTO docs VALUES (1, 'a')",
    "CREATE SCHEMA rep; CREATE VIEW rep.v WITH (security_barrier) AS SELECT id, t FROM docs",
    "COMMENT ON VIEW rep.v IS 'it''s'; COMMENT ON COLUMN rep.v.id IS 'c'; ALTER VIEW rep.v ALTER t SET DEFAULT 'x'",
    "GRANT SELECT ON rep.v TO {web} WITH GRANT OPTION; GRANT UPDATE (t) ON rep.v TO {web}",
    "CREATE VIEW rep.w AS SELECT count(*) AS c FROM rep.v",
    "CREATE MATERIALIZED VIEW rep.m AS SELECT * FROM rep.w; CREATE UNIQUE INDEX ON rep.m (c)",
    "CREATE VIEW of_a_report AS SELECT c FROM rep.m; CREATE MATERIALIZED VIEW kept AS SELECT c FROM of_a_report",
    "CREATE INDEX ON kept (c); GRANT SELECT ON kept TO {web}; CREATE VIEW rep.z AS SELECT c FROM kept",
    "CREATE FUNCTION rep.put() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER put INSTEAD OF INSERT ON rep.v FOR EACH ROW EXECUTE FUNCTION rep.put()",
    "CREATE RULE nothing AS ON DELETE TO rep.v DO INSTEAD NOTHING",
    "CREATE TABLE rep.days (d int, doc int REFERENCES docs); INSERT INTO rep.days VALUES (1, 1)",
    "CREATE POLICY one ON rep.days FOR SELECT TO {web} USING (EXISTS (SELECT FROM docs WHERE id = d))",
    "CREATE POLICY two ON rep.days AS RESTRICTIVE FOR INSERT WITH CHECK (d IN (SELECT id FROM docs))",
    "CREATE RULE r AS ON UPDATE TO rep.days DO ALSO DELETE FROM docs WHERE id = OLD.d",
    "ALTER TABLE rep.days DISABLE RULE r; COMMENT ON RULE r ON rep.days IS 'r'",
    "COMMENT ON POLICY one ON rep.days IS 'p'",
    "CREATE STATISTICS rep.st (mcv) ON id, t FROM docs; ALTER STATISTICS rep.st SET STATISTICS 33",
    "CREATE STATISTICS rep.plain ON id, t FROM docs; COMMENT ON STATISTICS rep.st IS 's'",
    "CREATE SEQUENCE counter; SELECT nextval('counter'); ALTER TABLE rep.days ALTER d SET DEFAULT nextval('counter')",
    "CREATE TABLE counted (n int DEFAULT nextval('counter'))",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA rep GRANT ALL ON TABLES TO {web}",
)


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
def test_what_a_schema_that_the_dump_left_out_has_over_its_tables_is_there_afterwards(ends: Library, user: str) -> None:
    """No dump has these views, policies, rules and statistics, and the tables that they need are replaced."""
    web = ends.another_role()
    ends.run(*(statement.format(web=web) for statement in REPORTS))
    before = ends.everything()
    dump = ends.dump(exclude_schemas=("rep",))
    ends.run("DELETE FROM rep.days", "DELETE FROM docs", "INSERT INTO docs VALUES (1, 'b')")
    ends.run("INSERT INTO rep.days (doc, d) VALUES (1, 1)", "REFRESH MATERIALIZED VIEW kept")
    done = ends.restore(dump, user)
    assert done.failed == ()
    assert ends.everything() == before


def test_a_view_that_the_dump_left_out_and_that_no_longer_fits_is_listed_with_its_statement(ends: Library) -> None:
    ends.run("CREATE TABLE docs (id int)", "CREATE SCHEMA rep", "CREATE VIEW rep.ids AS SELECT id FROM docs")
    dump = ends.dump(exclude_schemas=("rep",))
    ends.run("ALTER TABLE docs ADD n int", "CREATE VIEW rep.later AS SELECT n FROM docs")
    (failed,) = ends.restore(dump).failed
    assert failed["object"] == "VIEW rep.later"
    assert failed["statement"].startswith("CREATE VIEW rep.later AS")
    assert ends.run("SELECT count(*) FROM rep.ids") == [(0,)]


IN_A_LIST = (
    "CREATE TABLE w (s varchar(9) DEFAULT 'a' CHECK (s IN ('a', 'b')), n int)",
    "CREATE UNIQUE INDEX u ON w (n) WHERE s IN ('a', 'b'); CREATE VIEW v AS SELECT n FROM w WHERE s IN ('a', 'b')",
    "CREATE POLICY p ON w USING (s IN ('a', 'b'))",
)


def test_a_list_of_texts_is_the_same_condition_however_the_server_spells_it(ends: Library) -> None:
    def known() -> Any:
        with ends.owner.connect() as connection:
            connection.execute("SET search_path = ''")
            return take_fingerprint(over(connection), hashes=False).objects

    ends.run(*IN_A_LIST)
    before, text = known(), ends.everything()
    ends.restore(ends.dump())
    assert ends.everything() != text
    assert known() == before
    ends.run("DROP INDEX u", "CREATE UNIQUE INDEX u ON w (n) WHERE s IN ('a', 'c')")
    assert known() != before


CHILDREN = (
    "CREATE TABLE docs (id int); CREATE TABLE child (n int) INHERITS (docs); INSERT INTO child VALUES (1, 2)",
    "CREATE VIEW nothing AS SELECT 1 AS n; CREATE MATERIALIZED VIEW sums AS SELECT n FROM nothing",
)


@pytest.mark.parametrize("chosen", [{}, {"tables": {("public", "docs")}}])
def test_a_table_that_stays_inherits_from_one_that_is_replaced(ends: Library, chosen: dict[str, Any]) -> None:
    ends.run(*CHILDREN)
    left_out = () if chosen else (("public", "child"), ("public", "sums"))
    dump = ends.dump(exclude_table_data=left_out)
    ends.run("INSERT INTO child VALUES (3, 4)")
    ends.restore(dump, **chosen)
    assert ends.run("SELECT array_agg(id ORDER BY id) FROM docs") == [([1, 3],)]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE adm.logs (n int REFERENCES docs)",
        "CREATE TABLE adm.part PARTITION OF parts FOR VALUES IN (1)",
        "CREATE TABLE adm.child () INHERITS (docs)",
        "CREATE VIEW adm.v AS SELECT id FROM docs",
    ],
)
def test_what_another_role_ties_to_a_replaced_table_is_refused_by_the_plan(ends: Library, made: str) -> None:
    """Only its owner could take it apart and put it together again."""
    ends.run(*DOCS, "CREATE TABLE parts (n int) PARTITION BY LIST (n)", "GRANT ALL ON docs, parts TO PUBLIC")
    ends.run(f"CREATE SCHEMA adm; {made}", by=SUPERUSER)
    dump = ends.dump()
    with pytest.raises(SelectionConflict, match="adm"):
        ends.plan(dump)
    ends.restore(dump, exclude_tables={("public", "docs"), ("public", "audit"), ("public", "parts")})
    ends.restore(dump, SUPERUSER)


@pytest.mark.parametrize("options", [None, DROP_OWNER])
def test_an_event_trigger_of_another_role_stays_with_the_function_that_it_calls(
    everywhere: Library, options: PgRestoreOptions | None
) -> None:
    everywhere.run(*DOCS, "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    everywhere.run("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()", by=SUPERUSER)
    dump = everywhere.dump()
    oids = everywhere.run("SELECT oid, evtfoid FROM pg_event_trigger WHERE evtname = 'watch'")
    plan = everywhere.plan(dump, options=options)
    everywhere.restore(dump, options=options)
    assert everywhere.run("SELECT oid, evtfoid FROM pg_event_trigger WHERE evtname = 'watch'") == oids
    assert ("EVENT TRIGGER", None, "watch") in plan.inventory.stays


def test_a_function_that_something_else_needs_gets_the_dumps_text(ends: Library) -> None:
    ends.run("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TABLE t (n int DEFAULT f())")
    dump = ends.dump(exclude_tables=(("public", "t"),))
    ends.run("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'")
    ends.restore(dump)
    assert ends.run("SELECT f()") == [(1,)]
    assert ends.run("INSERT INTO t DEFAULT VALUES RETURNING n") == [(1,)]


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        ("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE kept (m mood, all_of_them mood[])", "kept"),
        ("CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TABLE kept (p positive)", "kept"),
        ("CREATE TYPE pair AS (a int, b int); CREATE TABLE kept (p pair)", "kept"),
        ("CREATE TYPE span AS RANGE (subtype = int); CREATE TABLE kept (s span)", "kept"),
        (
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TABLE kept (n int);"
            "CREATE TRIGGER touch BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION touch()",
            "kept",
        ),
        ("CREATE COLLATION plain FROM \"C\"; CREATE TABLE kept (t text COLLATE plain)", "kept"),
        ("CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1';"
         "CREATE TABLE kept (n int CHECK (twice(n) > 0)); CREATE INDEX ON kept (twice(n))", "kept"),
        ("CREATE TABLE kept (id serial, n int); CREATE SEQUENCE own OWNED BY kept.n", "kept"),
    ],
)  # fmt: skip
def test_what_a_table_that_stays_needs_stays_with_it(library: Library, made: str, kept: str) -> None:
    library.run(*DOCS, made, f"INSERT INTO {kept} DEFAULT VALUES")
    before = library.run("SELECT 'kept'::regclass::oid")
    dump = library.dump(exclude_tables=(("public", kept),))
    library.restore(dump)
    assert library.run("SELECT 'kept'::regclass::oid") == before
    library.run(f"INSERT INTO {kept} DEFAULT VALUES")


MEMBERS = (
    "SELECT format('%s %s %s', pubname, tablename, coalesce(rowfilter, '')) FROM pg_publication_tables "
    "UNION ALL SELECT format('%s schema %s', p.pubname, n.nspname) FROM pg_publication_namespace m "
    "JOIN pg_publication p ON p.oid = pnpubid JOIN pg_namespace n ON n.oid = pnnspid ORDER BY 1"
)


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
def test_publications_keep_what_stays(everywhere: Library, user: str) -> None:
    everywhere.run(*DOCS)
    by = OWNER if user == OWNER else SUPERUSER
    audit = "audit WHERE (id > 5), TABLES IN SCHEMA stats" if user == SUPERUSER else "audit (id, doc) WHERE (id > 5)"
    everywhere.run(f"CREATE PUBLICATION pub FOR TABLE docs, {audit}", by=by)
    before = everywhere.run(MEMBERS)
    dump = everywhere.dump()
    everywhere.restore(dump, user, exclude_tables={("public", "audit")}, exclude_schemas={"stats"})
    assert everywhere.run(MEMBERS) == before


def test_a_publication_made_since_keeps_the_tables_that_are_restored(library: Library) -> None:
    library.run(*DOCS)
    dump = library.dump()
    library.run("CREATE PUBLICATION pub FOR TABLE docs (id) WHERE (id > 2), stats.days")
    before = library.run(MEMBERS)
    library.restore(dump, tables={("stats", "days")})
    assert library.run(MEMBERS) == before
    library.restore(dump, exclude_tables={("public", "docs"), ("public", "audit")}, exclude_schemas={"stats"})


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
def test_a_chosen_table_has_its_own_privileges_and_not_those_that_new_ones_are_given(
    everywhere: Library, user: str
) -> None:
    """Nobody can read it who could not when it was dumped."""
    reader, keeper, library = everywhere.another_role(), everywhere.another_role(), everywhere.role
    everywhere.run(
        f"GRANT {keeper} TO {library}",
        f"GRANT CREATE, USAGE ON SCHEMA public TO {keeper}",
        "CREATE TABLE plain (id serial, other integer GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE kept (id serial)",
        f"ALTER TABLE kept OWNER TO {keeper}",
        "CREATE TABLE granted (id integer)",
        f"GRANT SELECT ON granted TO {reader}",
        "CREATE VIEW seen AS SELECT 1 AS n",
        by=SUPERUSER,
    )
    everywhere.run(
        *(f"ALTER {kind} {name} OWNER TO {library}" for kind, name in (("TABLE", "plain"), ("VIEW", "seen"))),
        f"ALTER TABLE granted OWNER TO {library}",
        by=SUPERUSER,
    )
    before = everywhere.run(PRIVILEGES)
    dump = everywhere.dump()
    for whose in (library, "postgres"):
        everywhere.run(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {whose} GRANT ALL ON TABLES TO PUBLIC",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {whose} IN SCHEMA public GRANT ALL ON SEQUENCES TO {reader}",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {whose} REVOKE DELETE ON TABLES FROM {whose}",
            by=SUPERUSER,
        )
    given = everywhere.run(DEFAULT_PRIVILEGES)
    everywhere.restore(dump, user, tables={("public", name) for name in ("plain", "kept", "granted", "seen")})
    assert everywhere.run(PRIVILEGES) == before
    assert everywhere.run(DEFAULT_PRIVILEGES) == given


SERVERS = ("CREATE FOREIGN DATA WRAPPER far", "CREATE SERVER theirs FOREIGN DATA WRAPPER far")


def test_a_server_whose_wrapper_is_closed_to_its_owner_stays_or_is_told_by_the_plan(everywhere: Library) -> None:
    everywhere.run(*DOCS)
    everywhere.run(*SERVERS, f"ALTER SERVER theirs OWNER TO {everywhere.role}", by=SUPERUSER)
    everywhere.run("CREATE FOREIGN TABLE remote (n integer) SERVER theirs")
    dump = everywhere.dump()
    everywhere.run("DROP FOREIGN TABLE remote")
    plan = everywhere.plan(dump)
    assert plan.inventory.stays["SERVER", None, "theirs"] == "this user may not use its foreign-data wrapper"
    everywhere.restore(dump)
    assert everywhere.run("SELECT count(*) FROM pg_foreign_table") == [(1,)]
    everywhere.run("DROP SERVER theirs CASCADE")
    with pytest.raises(DatabaseRefused, match="SERVER theirs") as caught:
        everywhere.plan(dump)
    assert f'GRANT USAGE ON FOREIGN DATA WRAPPER "far" TO "{everywhere.role}"' in caught.value.hint
    everywhere.run(f"GRANT USAGE ON FOREIGN DATA WRAPPER far TO {everywhere.role}", by=SUPERUSER)
    everywhere.restore(dump)
    assert everywhere.run("SELECT count(*) FROM pg_foreign_table") == [(1,)]


@pytest.mark.parametrize("left_out", ["of the dump", "of the restore"])
def test_a_table_of_a_type_whose_name_is_a_table_s_by_now_is_told_by_the_plan(library: Library, left_out: str) -> None:
    library.run("CREATE SCHEMA kinds", "CREATE TYPE kinds.pair AS (a integer)", "CREATE TABLE typed OF kinds.pair")
    dump = library.dump(**{"exclude_schemas": ("kinds",)} if left_out == "of the dump" else {})
    chosen: dict[str, Any] = {} if left_out == "of the dump" else {"exclude_schemas": {"kinds"}}
    library.restore(dump, **chosen)
    library.run("DROP TYPE kinds.pair CASCADE", "CREATE TABLE kinds.pair (a integer)")
    with pytest.raises(SelectionConflict, match=r"TABLE public.typed needs .*kinds.pair"):
        library.plan(dump, **chosen)


PRIVILEGES = """
SELECT c.relname, array(SELECT a.grantee::regrole::text || ' ' || a.privilege_type FROM aclexplode(
    coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a ORDER BY 1)
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'S', 'v') ORDER BY 1"""
DEFAULT_PRIVILEGES = (
    "SELECT defaclrole, defaclnamespace, defaclobjtype, defaclacl::text FROM pg_default_acl ORDER BY 1, 2, 3"
)


def test_publications_of_others_keep_the_tables_that_are_restored(everywhere: Library) -> None:
    everywhere.run(*DOCS)
    everywhere.run(
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "CREATE PUBLICATION by_schema FOR TABLES IN SCHEMA stats",
        by=SUPERUSER,
    )
    before = everywhere.run(MEMBERS)
    dump = everywhere.dump()
    everywhere.run("DELETE FROM audit")
    everywhere.restore(dump)
    assert everywhere.run(MEMBERS) == before
    assert everywhere.run(COUNTS) == [(5, 1000, 500, 7)]


def test_a_table_of_a_publication_of_others_is_told_before_and_listed_with_what_its_owner_has_to_run(
    ends: Library,
) -> None:
    ends.run("CREATE TABLE docs (id int PRIMARY KEY, title text)")
    ends.run("CREATE PUBLICATION pub FOR TABLE docs (id) WHERE (id > 3)", by=SUPERUSER)
    before = ends.run(MEMBERS)
    dump = ends.dump()
    assert ends.plan(dump).target.unpublished == ("public.docs in pub",)
    (failed,) = ends.restore(dump).failed
    assert failed["object"] == "publication public.docs in pub"
    ends.run(failed["statement"], by=SUPERUSER)
    assert ends.run(MEMBERS) == before


def test_large_objects_of_others_stay(ends: Library) -> None:
    ends.run(*DOCS, "SELECT lo_from_bytea(4711, 'mine')")
    ends.run("SELECT lo_from_bytea(4712, 'of postgres')", by=SUPERUSER)
    dump = ends.dump()
    ends.run("SELECT lo_unlink(4711)")
    ends.restore(dump)
    assert ends.run("SELECT lo_get(4711)") == [(b"mine",)]
    assert ends.run("SELECT lo_get(4712)", by=SUPERUSER) == [(b"of postgres",)]


def test_default_privileges_of_others_stop_no_restore(ends: Library) -> None:
    ends.run(*DOCS)
    ends.run("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC", by=SUPERUSER)
    dump = ends.dump()
    ends.restore(dump)
    assert ends.run("SELECT count(*) FROM pg_default_acl") == [(1,)]


def test_a_schema_of_the_administrator_is_named_with_the_option_that_leaves_it_alone(ends: Library) -> None:
    ends.run(*DOCS)
    ends.run("CREATE SCHEMA admin; CREATE TABLE admin.t (n int); INSERT INTO admin.t VALUES (1)", by=SUPERUSER)
    dump = ends.dump()
    ends.restore(dump)
    assert ends.run("SELECT n FROM admin.t", by=SUPERUSER) == [(1,)]
    ends.run(
        f"DROP TABLE admin.t; CREATE TABLE admin.later (n int); ALTER TABLE admin.later OWNER TO {ends.role}",
        by=SUPERUSER,
    )
    with pytest.raises(GlacierProviderError) as caught:
        ends.restore(dump)
    assert "restore.exclude_schemas" in str(caught.value)
    ends.restore(dump, exclude_schemas={"admin"})
    with pytest.raises(DatabaseRefused, match="admin") as refused:
        ends.restore(dump, options=DROP_OWNER)
    assert "restore.exclude_schemas" in str(refused.value)


def test_a_table_of_another_role_in_a_schema_of_the_owner_comes_back(ends: Library) -> None:
    other = ends.another_role()
    ends.run("CREATE SCHEMA app", f"GRANT USAGE, CREATE ON SCHEMA app TO {other}")
    ends.run(f"GRANT {other} TO {ends.role}", by=SUPERUSER)
    ends.run(
        f"CREATE TABLE app.t (n int); ALTER TABLE app.t OWNER TO {other}; INSERT INTO app.t VALUES (1)", by=SUPERUSER
    )
    dump = ends.dump()
    ends.run("DELETE FROM app.t", by=SUPERUSER)
    ends.restore(dump)
    assert ends.run("SELECT n FROM app.t") == [(1,)]
    assert ends.run("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [(other,)]


def test_a_membership_without_set_role_gives_nothing_away(library: Library) -> None:
    other = library.another_role()
    library.run("CREATE SCHEMA app", f"GRANT USAGE, CREATE ON SCHEMA app TO {other}")
    library.run(f"GRANT {other} TO {library.role} WITH SET FALSE", by=SUPERUSER)
    library.run(f"CREATE TABLE app.t (n int); ALTER TABLE app.t OWNER TO {other}", by=SUPERUSER)
    dump = library.dump()
    with pytest.raises(DatabaseRefused, match=other):
        library.restore(dump, into=library.empty())


def test_hints_about_roles_are_true_for_what_is_configured(ends: Library) -> None:
    other = ends.another_role()
    ends.run("CREATE TABLE t (n int)", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", f"CREATE POLICY p ON t TO {other}")
    dump = ends.dump()
    ends.run("DROP TABLE t")
    ends.run(f"DROP ROLE {other}", by=SUPERUSER)
    with pytest.raises(MissingRoles, match=r"restore\.owner and restore\.privileges to drop"):
        ends.plan(dump)
    with pytest.raises(MissingRoles) as caught:
        ends.plan(dump, options=PgRestoreOptions(owner=Keep.DROP, privileges=Keep.DROP))
    assert "to drop" not in str(caught.value)


def test_rows_of_extension_tables_that_refer_to_each_other_come_back(library: Library) -> None:
    library.run(
        "CREATE EXTENSION hstore",
        "CREATE TABLE public.config (id int PRIMARY KEY)",
        "CREATE TABLE public.config_sub (id int REFERENCES public.config)",
        "CREATE TABLE public.a_first (id int REFERENCES public.config)",
        "ALTER EXTENSION hstore ADD TABLE public.config",
        "ALTER EXTENSION hstore ADD TABLE public.config_sub",
        "ALTER EXTENSION hstore ADD TABLE public.a_first",
        "UPDATE pg_extension SET extconfig ="
        " ARRAY['config'::regclass::oid, 'config_sub'::regclass, 'a_first'::regclass],"
        " extcondition = ARRAY['', '', ''] WHERE extname = 'hstore'",
        "INSERT INTO config VALUES (1); INSERT INTO config_sub VALUES (1); INSERT INTO a_first VALUES (1)",
        by=SUPERUSER,
    )
    dump = library.dump()
    library.run("INSERT INTO config VALUES (2); INSERT INTO config_sub VALUES (2)", by=SUPERUSER)
    library.restore(dump, SUPERUSER)
    assert library.run("SELECT count(*) FROM config_sub", by=SUPERUSER) == [(1,)]


def test_a_partition_that_was_left_out_is_attached_again(library: Library) -> None:
    library.run(
        "CREATE TABLE events (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE events_new PARTITION OF events FOR VALUES FROM (10) TO (20)",
        "CREATE INDEX ON events (at)",
        "INSERT INTO events VALUES (1, 1), (2, 12)",
    )
    dump = library.dump(exclude_table_data=(("public", "events_old"),))
    library.run("INSERT INTO events VALUES (3, 2), (4, 13)")
    library.restore(dump)
    assert library.run("SELECT array_agg(id ORDER BY id) FROM events") == [([1, 2, 3],)]
    assert library.run("SELECT count(*) FROM pg_inherits") == [(6,)]


def test_what_only_a_superuser_could_make_again_stays(everywhere: Library) -> None:
    everywhere.run(*DOCS)
    role = everywhere.role
    everywhere.run(
        "CREATE FUNCTION at_c(int, int) RETURNS int IMMUTABLE STRICT LANGUAGE internal AS 'int4pl'",
        f"ALTER FUNCTION at_c(int, int) OWNER TO {role}",
        "CREATE OPERATOR FAMILY fam USING btree", f"ALTER OPERATOR FAMILY fam USING btree OWNER TO {role}",
        "CREATE FOREIGN DATA WRAPPER far", "CREATE SERVER far FOREIGN DATA WRAPPER far",
        f"ALTER SERVER far OWNER TO {role}",
        f"GRANT USAGE ON FOREIGN DATA WRAPPER far TO {role}",
        by=SUPERUSER,
    )  # fmt: skip
    everywhere.run(f"CREATE USER MAPPING FOR {role} SERVER far")
    dump = everywhere.dump()
    everywhere.restore(dump)
    assert everywhere.run("SELECT count(*) FROM pg_opfamily WHERE opfname = 'fam'") == [(1,)]
    assert everywhere.run("SELECT at_c(5, 1)") == [(6,)]
    assert everywhere.run("SELECT usename FROM pg_user_mappings") == [(role,)]


def test_a_transform_is_replaced_on_every_version(everywhere: Library) -> None:
    everywhere.run(
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE FUNCTION from_sql(internal) RETURNS internal LANGUAGE internal IMMUTABLE AS 'int4recv'",
        "CREATE TRANSFORM FOR pair LANGUAGE plpgsql (FROM SQL WITH FUNCTION from_sql(internal))",
        by=SUPERUSER,
    )
    dump = everywhere.dump()
    everywhere.restore(dump, SUPERUSER)
    assert everywhere.run("SELECT count(*) FROM pg_transform") == [(1,)]


HOSTILE = "x\n\\! touch {mark}\n\\unrestrict k"


def test_no_line_of_a_dump_is_a_command(everywhere: Library) -> None:
    """Names and comments with a line break and a meta-command, of every kind that lets one choose them."""
    mark = Path(tempfile.gettempdir()) / f"g{os.getpid()}"  # short: a name has 63 bytes
    name = '"' + HOSTILE.format(mark=mark) + '"'
    text = "'" + HOSTILE.format(mark=mark) + "'"
    everywhere.run(
        "SET check_function_bodies = off",
        f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.{name} ({name} int PRIMARY KEY)",
        f"INSERT INTO {name}.{name} VALUES (1)",
        f"COMMENT ON TABLE {name}.{name} IS {text}", f"COMMENT ON COLUMN {name}.{name}.{name} IS {text}",
        f"CREATE TYPE {name} AS ENUM ({text})", f"CREATE DOMAIN {name}.d AS int",
        f"CREATE FUNCTION {name}.{name}() RETURNS int LANGUAGE sql AS {text}",
        f"CREATE VIEW {name}.v AS SELECT {text} AS {name}", f"CREATE SEQUENCE {name}.s",
        f"CREATE INDEX i ON {name}.{name} ({name})",
        f"CREATE STATISTICS {name}.st ON ({name} + 1), ({name} + 2) FROM {name}.{name}",
        f"CREATE TABLE texts (t text DEFAULT {text})", f"INSERT INTO texts VALUES ({text})",
        "SELECT lo_from_bytea(4711, 'scan')", f"COMMENT ON LARGE OBJECT 4711 IS {text}",
        f"CREATE PUBLICATION {name} FOR TABLE {name}.{name}", f"CREATE COLLATION {name} FROM \"C\"",
    )  # fmt: skip
    everywhere.run(
        f"CREATE OPERATOR FAMILY {name} USING btree", f"CREATE FOREIGN DATA WRAPPER {name}",
        f"CREATE SERVER {name} FOREIGN DATA WRAPPER {name} OPTIONS (h {text})", f"CREATE ROLE {name[:30]}\"",
        f"GRANT SELECT ON {name}.{name} TO {name[:30]}\"",
        by=SUPERUSER,
    )  # fmt: skip
    dump = everywhere.dump()
    try:
        everywhere.run(f"DELETE FROM {name}.{name}")
        everywhere.restore(dump, SUPERUSER)
        assert everywhere.run(f"SELECT count(*) FROM {name}.{name}") == [(1,)]
        assert everywhere.run("SELECT t FROM texts") == [(HOSTILE.format(mark=mark),)]
        assert not mark.exists()
    finally:
        everywhere.run(f'DROP OWNED BY {name[:30]}"; DROP ROLE {name[:30]}"', by=SUPERUSER)


def test_a_planted_meta_command_in_a_definition_is_a_syntax_error(library: Library, tmp_path: Path) -> None:
    mark = tmp_path / "was-here"
    library.run("CREATE TABLE docs (id int)", f"COMMENT ON TABLE docs IS 'here {'.' * 300}'")
    dump = library.dump(compression="none")
    planted = f"x';\n\\! touch {mark}\nSELECT '".encode()
    content = dump.read_bytes()
    place = b"here " + b"." * 300
    assert content.count(place) == 1
    dump.write_bytes(content.replace(place, planted + b" " * (len(place) - len(planted))))
    with pytest.raises(GlacierProviderError, match="syntax error"):
        library.restore(dump)
    assert not mark.exists()


def test_a_refused_statement_is_named_with_what_the_server_said(library: Library) -> None:
    library.run(
        "CREATE TABLE limits (n int); INSERT INTO limits VALUES (1)",
        "CREATE FUNCTION other(int) RETURNS boolean LANGUAGE sql AS 'SELECT count(*) > 0 FROM limits'",
        "CREATE TABLE checked (n int CHECK (other(n))); INSERT INTO checked VALUES (1)",
    )
    dump = library.dump()
    lines: list[str] = []
    with pytest.raises(GlacierProviderError) as caught:
        restore_in_transaction(library.owner, library.tools, dump, Selection(), progress=lines.append)
    assert "TABLE DATA public.checked" in str(caught.value)
    assert 'relation "limits" does not exist' in str(caught.value)
    assert any("CONTEXT" in line and "other" in line for line in lines)
    assert library.run("SELECT count(*) FROM checked") == [(1,)]


def test_exclusions_are_plain_values() -> None:
    one = Exclusions(("stats",), (("public", "audit"),), (("a.b", 'c"d'),))
    assert Exclusions.from_dict(one.as_dict()) == one
    assert Exclusions.from_dict({}) == Exclusions()
