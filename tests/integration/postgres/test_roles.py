"""What other roles own and granted is restored as it was by a user who is no superuser, as far as it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.errors import DatabaseRefused
from glacier_provider.postgres import PgRestoreOptions, restore_by_swap, table_of_contents
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from tests.integration.postgres.conftest import SampleServer
from tests.integration.postgres.test_what_stays import DROP_OWNER, OWNER, SUPERUSER, Library

ENDS = ["older", "newer"]


@pytest.fixture(params=ENDS)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Library:
    """An owner with a role `friend`, as which it can act, and a role `stranger`."""
    sample: SampleServer = request.getfixturevalue(request.param)
    found = Library(sample, tmp_path)
    for name in ("friend", "stranger"):
        found.make_role(f"{found.role}_{name}")
    found.run(f"GRANT {found.role}_friend TO {found.role}", by=SUPERUSER)
    return found


def swap(library: Library, dump: Path, options: PgRestoreOptions | None = None, *, jobs: int = 2) -> tuple[str, ...]:
    return restore_by_swap(
        library.owner, library.tools, dump, options or PgRestoreOptions(), mark="restore_1_1", jobs=jobs, progress=print
    ).warnings


def rehearsed(library: Library, dump: Path) -> list[str]:
    toc = table_of_contents(dump)
    return [str(one.failed) for one in rehearse_schema(library.owner, toc, PgRestoreOptions(), tell=lambda: None)]


OF_A_FRIEND = (
    "CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC",
    "CREATE TABLE app.mine (id int PRIMARY KEY); INSERT INTO app.mine VALUES (1)",
)
#: A superuser made it: the friend may create nothing in either schema.
BY_A_SUPERUSER = (
    "CREATE TABLE app.friends (id serial PRIMARY KEY, mine int REFERENCES app.mine);"
    "INSERT INTO app.friends (mine) VALUES (1); ALTER TABLE app.friends OWNER TO {friend};"
    "CREATE TYPE public.friendly AS ENUM ('a'); ALTER TYPE public.friendly OWNER TO {friend}"
)


@pytest.mark.parametrize("how", ["in place", "empty", "swap", "swap with one job"])
def test_who_owns_what_it_could_not_make_gets_it_back_and_may_make_no_more(library: Library, how: str) -> None:
    library.run(*OF_A_FRIEND)
    library.run(BY_A_SUPERUSER.replace("{friend}", f"{library.role}_friend"), by=SUPERUSER)
    before = library.everything()
    dump = library.dump()
    assert rehearsed(library, dump) == []
    library.run("DELETE FROM app.friends; DELETE FROM app.mine")
    if how == "in place":
        library.restore(dump)
    elif how == "empty":
        empty = library.empty()
        library.restore(dump, into=empty)
        library.postgres = library.postgres.with_database(empty.dbname)
    else:
        assert swap(library, dump, jobs=1 if "one" in how else 2) == ()
    assert library.everything() == before
    friend = (
        f"SELECT has_schema_privilege('{library.role}_friend', s, 'CREATE') FROM unnest('{{app,public}}'::text[]) s"
    )
    with library.postgres.connect() as connection:
        assert connection.execute(friend.encode()).fetchall() == [(False,), (False,)]


def distant(library: Library) -> str:
    """Make a role that the owner is a member of, and whose privileges it has by SET ROLE alone."""
    name = f"{library.role}_distant"
    library.make_role(name)
    library.run(f"ALTER ROLE {library.role} NOINHERIT; GRANT {name} TO {library.role}", by=SUPERUSER)
    library.run(f"ALTER ROLE {library.role} INHERIT", by=SUPERUSER)
    return name


@pytest.mark.parametrize("how", ["plan", "swap"])
def test_a_role_whose_privileges_are_not_inherited_is_named_before_and_the_hint_helps(
    library: Library, how: str
) -> None:
    name = distant(library)
    library.run("CREATE TABLE mine (n int)")
    library.run(f"CREATE TABLE distant (n int); ALTER TABLE distant OWNER TO {name}", by=SUPERUSER)
    before = library.everything()
    dump = library.dump()
    library.run("DROP TABLE distant", by=SUPERUSER)
    with pytest.raises(DatabaseRefused, match="SET ROLE alone") as refused:
        library.plan(dump) if how == "plan" else swap(library, dump)
    library.run(refused.value.hint.partition("changed. ")[2].partition(",")[0], by=SUPERUSER)
    library.restore(dump) if how == "plan" else swap(library, dump)
    assert library.everything() == before


CHAIN = (
    "CREATE TABLE t (n int); GRANT SELECT ON t TO {role} WITH GRANT OPTION",
    "SET ROLE {role}; GRANT SELECT ON t TO PUBLIC; GRANT SELECT ON t TO {third}; RESET ROLE",
)


def granted_by(library: Library, name: str) -> None:
    third = f"{library.role}_third"
    library.make_role(third)
    made, granted = (each.replace("{role}", f"{library.role}_{name}").replace("{third}", third) for each in CHAIN)
    library.run(made)
    library.run(granted, by=SUPERUSER)


def test_what_a_role_granted_as_which_one_can_act_is_granted_as_that_role_by_a_swap(library: Library) -> None:
    granted_by(library, "friend")
    before = library.everything()
    dump = library.dump()
    assert rehearsed(library, dump) == []
    library.run("DROP TABLE t")
    assert swap(library, dump) == ()
    assert library.everything() == before


def test_what_only_a_stranger_could_grant_is_listed_by_rehearsal_and_swap_and_stops_neither(library: Library) -> None:
    granted_by(library, "stranger")
    dump = library.dump()
    assert [one.partition(":")[0] for one in rehearsed(library, dump)] == ["ACL public.TABLE t"]
    library.run("DROP TABLE t")
    warnings = swap(library, dump)
    assert [one.partition(":")[0] for one in warnings] == ["ACL public.TABLE t"]
    granted = f"SELECT has_table_privilege('{library.role}_stranger', 't', 'SELECT WITH GRANT OPTION')"
    assert library.run(granted) == [(True,)]


ONLY_A_SUPERUSERS = {
    "OPERATOR FAMILY": "CREATE OPERATOR FAMILY fam USING btree",
    "OPERATOR CLASS": "CREATE OPERATOR CLASS cls FOR TYPE int USING btree AS OPERATOR 1 <,"
    "FUNCTION 1 btint4cmp(int, int)",
    "EVENT TRIGGER": "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
    "CREATE EVENT TRIGGER w ON ddl_command_end EXECUTE FUNCTION watch()",
    "ACCESS METHOD": "CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler",
    "FOREIGN DATA WRAPPER": "CREATE FOREIGN DATA WRAPPER w",
    "TEXT SEARCH PARSER": "CREATE TEXT SEARCH PARSER prs (START = prsd_start, GETTOKEN = prsd_nexttoken,"
    "END = prsd_end, LEXTYPES = prsd_lextype)",
    "TEXT SEARCH TEMPLATE": "CREATE TEXT SEARCH TEMPLATE tmpl (LEXIZE = dsimple_lexize)",
    "PUBLICATION": "CREATE PUBLICATION everything FOR ALL TABLES",
    "PUBLICATION TABLES IN SCHEMA": "CREATE SCHEMA s; CREATE PUBLICATION of_schemas FOR TABLES IN SCHEMA s",
    "FUNCTION": "CREATE FUNCTION lp() RETURNS int LEAKPROOF LANGUAGE sql AS 'SELECT 1'",
    "PROCEDURAL LANGUAGE": "CREATE FUNCTION h() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql',"
    "'plpgsql_call_handler'; CREATE LANGUAGE mine HANDLER h",
    "TYPE": "CREATE TYPE b; CREATE FUNCTION b_in(cstring) RETURNS b IMMUTABLE STRICT LANGUAGE internal AS 'int4in';"
    "CREATE FUNCTION b_out(b) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';"
    "CREATE TYPE b (INPUT = b_in, OUTPUT = b_out, LIKE = int4)",
    "CAST": "CREATE CAST (text AS bytea) WITHOUT FUNCTION",
    "AGGREGATE": "CREATE AGGREGATE gathered(int) (SFUNC = array_agg_transfn, STYPE = internal,"
    "FINALFUNC = array_agg_finalfn, FINALFUNC_EXTRA)",
    "TRANSFORM": "CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal))",
}


@pytest.mark.parametrize("kind", ONLY_A_SUPERUSERS)
def test_what_only_a_superuser_can_make_is_named_by_the_plan(sample: SampleServer, tmp_path: Path, kind: str) -> None:
    library = Library(sample, tmp_path)
    library.run("CREATE TABLE mine (n int)")
    library.run("GRANT ALL ON SCHEMA public TO PUBLIC", by=SUPERUSER)
    library.run(ONLY_A_SUPERUSERS[kind], by=SUPERUSER)
    dump = library.dump()
    into = library.empty()
    library.owner = into
    with pytest.raises(DatabaseRefused, match="Only a superuser") as refused:
        library.plan(dump, OWNER, DROP_OWNER)
    assert kind in refused.value.message or kind == "TYPE"


def test_what_only_a_superuser_can_make_and_is_there_stays(library: Library) -> None:
    library.run("CREATE TABLE mine (n int)")
    library.run(ONLY_A_SUPERUSERS["EVENT TRIGGER"], by=SUPERUSER)
    dump = library.dump()
    assert library.restore(dump, OWNER, DROP_OWNER).failed == ()


CLOSED = (
    "CREATE SCHEMA app; CREATE TABLE app.t (id serial PRIMARY KEY); INSERT INTO app.t DEFAULT VALUES",
    "CREATE TABLE app.f (id int REFERENCES app.t); CREATE MATERIALIZED VIEW app.m AS SELECT id FROM app.t",
    "CREATE TABLE public.t (id int)",
    "REVOKE CREATE ON SCHEMA app FROM {owner}; GRANT CREATE, USAGE ON SCHEMA app TO {stranger}",
)
CLOSED_PUBLIC = "REVOKE CREATE ON SCHEMA public FROM pg_database_owner, PUBLIC"


@pytest.mark.parametrize("how", ["in place", "swap", "swap with a table of a friend"])
def test_schemas_that_are_closed_to_their_own_owner_are_closed_again_afterwards(library: Library, how: str) -> None:
    """A way to freeze a schema; where a dump is restored, privileges are given after all else."""
    names = {"owner": library.role, "stranger": f"{library.role}_stranger"}
    library.run(*(statement.format(**names) for statement in CLOSED))
    library.run(CLOSED_PUBLIC, by=SUPERUSER)
    if how == "swap with a table of a friend":
        friend = f"{library.role}_friend"
        library.run(f"ALTER TABLE app.f OWNER TO {friend}", f"GRANT USAGE ON SCHEMA app TO {friend}", by=SUPERUSER)
    before = library.everything()
    dump = library.dump()
    assert rehearsed(library, dump) == []
    library.run("DELETE FROM app.f; DELETE FROM app.t", by=SUPERUSER)
    if how == "in place":
        library.restore(dump)
    else:
        swap(library, dump)
    assert library.everything() == before
