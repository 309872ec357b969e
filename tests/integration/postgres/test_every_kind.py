"""Objects of every kind are brought back in place, whatever was done to them since the dump."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.postgres import PgRestoreOptions
from tests.integration.postgres.conftest import HERE, OLDEST, SampleServer
from tests.integration.postgres.test_what_stays import DROP_OWNER, OWNER, SUPERUSER, Library

ODD = '"a \'b\' ""c"" \\ d\ne;--"'
LONG = '"' + "é" * 31 + '"'


def _kinds(maker: str) -> dict[str, str]:
    """Return the statements of every_kind.sql that make something of each kind, by its name."""
    sections = re.split(
        r"^-- (owner|superuser): (.*)\n", HERE.joinpath("every_kind.sql").read_text(), flags=re.MULTILINE
    )
    found = zip(sections[1::3], sections[2::3], sections[3::3], strict=True)
    return {name: text.strip() for who, name, text in found if who == maker}


OWNERS = _kinds("owner")  #: an owner without superuser can make all of it
SUPERUSERS = _kinds("superuser")  #: only a superuser can make it

ALTERED = """
DO $$ DECLARE r record; BEGIN
  FOR r IN SELECT oid::regclass::text AS t FROM pg_class WHERE relkind = 'r'
      AND relnamespace::regnamespace::text !~ '^(pg_|information)'
      AND NOT relispartition AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = pg_class.oid) AND reloftype = 0
      AND pg_has_role(relowner, 'USAGE') LOOP
    EXECUTE format('ALTER TABLE %s ADD added_since int', r.t);
    EXECUTE format('COMMENT ON TABLE %s IS %L', r.t, 'since');
    EXECUTE format('GRANT ALL ON %s TO PUBLIC', r.t);
  END LOOP;
END $$;
CREATE TABLE made_since (n serial PRIMARY KEY);
CREATE VIEW view_since AS SELECT * FROM made_since;
CREATE FUNCTION since() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE SCHEMA since CREATE TABLE t (n int);
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
SELECT lo_create(0)
"""

EVERYTHING_GONE = """
DO $$ DECLARE r record; BEGIN
  FOR r IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND pg_has_role(nspowner, 'USAGE') LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', r.nspname);
  END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata WHERE pg_has_role(lomowner, 'USAGE');
END $$
"""


@pytest.fixture
def library(sample: SampleServer, tmp_path: Path) -> Library:
    return Library(sample, tmp_path)


#: Where, by whom and after what the owner's objects are restored; each server and user meets each of them.
_OLD = "oldest" if OLDEST else "older"
OWNERS_WAYS = [(_OLD, OWNER, ALTERED), ("newer", SUPERUSER, EVERYTHING_GONE)]
SUPERUSERS_WAYS = [("newer", SUPERUSER, ALTERED), (_OLD, SUPERUSER, EVERYTHING_GONE)]
_BESIDE_THE_POINT = (
    '"wal_level" is insufficient',
    "wal_level is insufficient",
    "Not all statistics are fresh: ANALYZE p failed: foreign-data wrapper",
)


@pytest.mark.parametrize(("on", "by", "since"), OWNERS_WAYS, ids=["altered", "gone"])
@pytest.mark.parametrize("kind", OWNERS)
def test_what_an_owner_made_is_brought_back(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, on: str, by: str, since: str
) -> None:
    check(Library(request.getfixturevalue(on), tmp_path), OWNERS[kind], OWNER, by, since)


@pytest.mark.parametrize(("on", "by", "since"), SUPERUSERS_WAYS, ids=["altered", "gone"])
@pytest.mark.parametrize("kind", SUPERUSERS)
def test_what_a_superuser_made_is_brought_back(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, on: str, by: str, since: str
) -> None:
    check(Library(request.getfixturevalue(on), tmp_path), SUPERUSERS[kind], SUPERUSER, by, since)


def check(library: Library, statements: str, makers: str, by: str, since: str) -> None:
    library.run(filled(library, statements), by=makers)
    before = library.everything()
    dump = library.dump()
    library.run(since, by=by)
    done = library.restore(dump, by)
    assert done.failed == ()
    assert [warning for warning in done.warnings if not warning.startswith(_BESIDE_THE_POINT)] == []
    assert library.everything() == before


def filled(library: Library, statements: str) -> str:
    """Put this library's roles in."""
    statements = statements.replace("{owner}", library.role).replace("{odd}", ODD).replace("{long}", LONG)
    for name in ("other", "third"):
        if f"{{{name}}}" in statements:
            library.make_role(f"{library.role}_{name}")
            statements = statements.replace(f"{{{name}}}", f"{library.role}_{name}")
    return statements


@pytest.mark.parametrize("by", [OWNER, SUPERUSER])
def test_a_schema_public_that_is_gone_is_made_as_a_new_database_has_it(library: Library, by: str) -> None:
    """Nobody but its owner could use it otherwise."""
    library.run(
        "CREATE TABLE t (n int)", "COMMENT ON SCHEMA public IS 'ours'", f"ALTER SCHEMA public OWNER TO {library.role}"
    )
    told = (
        "SELECT nspowner::regrole::text, nspacl::text, obj_description(oid) FROM pg_namespace WHERE nspname = 'public'"
    )
    before = library.run(told)
    dump = library.dump()
    library.run("DROP SCHEMA public CASCADE")
    library.restore(dump, by)
    assert library.run(told) == before


# --- what an owner meets of others ---------------------------------------------------------------------------------


def test_what_another_role_granted_is_granted_as_that_role_where_the_owner_can_act_as_it(library: Library) -> None:
    library.run(filled(library, "GRANT {other} TO {owner};" + SUPERUSERS["chains of grants"]), by=SUPERUSER)
    library.run("DROP TABLE s.owned_by_other", by=SUPERUSER)
    before = library.everything()
    dump = library.dump()
    library.run("DROP TABLE t; CREATE TABLE t (n int)")
    assert library.restore(dump).failed == ()
    assert library.everything() == before


@pytest.mark.parametrize("options", [None, DROP_OWNER])
def test_what_a_role_granted_as_which_the_owner_cannot_act_is_listed(
    library: Library, options: PgRestoreOptions | None
) -> None:
    library.run(filled(library, SUPERUSERS["chains of grants"]), by=SUPERUSER)
    dump = library.dump()
    library.run("INSERT INTO t VALUES (1)")
    done = library.restore(dump, OWNER, options)
    assert library.run("SELECT count(*) FROM t") == [(0,)]
    assert {each["object"] for each in done.failed} == {"ACL SCHEMA s", "ACL public.TABLE t"}
    assert "GRANT SELECT ON TABLE public.t TO PUBLIC;" in done.failed[1]["statement"]
    granted = f"SELECT has_table_privilege('{library.role}_other', 't', 'SELECT WITH GRANT OPTION')"
    assert library.run(granted) == [(True,)]


def test_a_base_type_stays_for_an_owner_who_could_not_make_it(library: Library) -> None:
    library.run(SUPERUSERS["base types"], by=SUPERUSER)
    library.run("CREATE TABLE mine (n int)", "INSERT INTO mine VALUES (1)")
    before = library.everything()
    dump = library.dump()
    library.run("DELETE FROM mine")
    library.restore(dump)
    assert library.everything() == before


# --- names that are no text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
@pytest.mark.parametrize("how", ["dump", "restore", "tables"])
def test_names_of_any_bytes_are_excluded_and_chosen(
    sample: SampleServer, tmp_path: Path, encoding: str, how: str
) -> None:
    library = Library(sample, tmp_path, clauses=f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    client = encoding if encoding == "SQL_ASCII" else "LATIN1"
    with library.owner.connect(autocommit=True) as connection:
        connection.execute(f"SET client_encoding = '{client}'".encode())
        connection.execute(b'CREATE TABLE "B\xfccher" AS SELECT 1 AS n')
    library.run("CREATE TABLE docs (n int)", "INSERT INTO docs VALUES (1)")
    name = ("public", "B\udcfccher" if encoding == "SQL_ASCII" else "B\xfccher")
    dump = library.dump(**({"exclude_table_data": (name,)} if how == "dump" else {}))
    chosen: dict[str, Any] = {"restore": {"exclude_tables": {name}}, "tables": {"tables": {name}}}.get(how, {})
    library.run("DELETE FROM docs")
    with library.owner.connect(autocommit=True) as connection:
        connection.execute(f"SET client_encoding = '{client}'".encode())
        connection.execute(b'INSERT INTO "B\xfccher" VALUES (2)')
        library.restore(dump, **chosen)
        found = connection.execute(b'SELECT (SELECT count(*) FROM "B\xfccher"), (SELECT count(*) FROM docs)')
        assert found.fetchone() == ((1, 0) if how == "tables" else (2, 1))


# --- no class is forgotten -----------------------------------------------------------------------------------------

#: Catalogs whose rows are objects, and that the inventory need not name, with the reason.
BESIDES = {
    "pg_amop": "a piece of an operator family",
    "pg_amproc": "a piece of an operator family",
    "pg_enum": "a label of a type",
    "pg_parameter_acl": "of the cluster",
    "pg_authid": "of the cluster",
    "pg_auth_members": "of the cluster",
    "pg_database": "of the cluster: settings, privileges and comment are restored on a new server",
    "pg_tablespace": "of the cluster",
    "pg_propgraph_element": "a piece of a property graph",
}


def test_every_class_of_objects_is_in_the_inventory_or_a_piece_of_one_that_is(any_server: SampleServer) -> None:
    named = "".join(
        (resources.files("glacier_provider.postgres.restore") / "sql" / file).read_text("utf-8")
        for file in ("objects.sql", "target.sql", "drop.sql")
    )
    catalogs = any_server.postgres.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid' "
        "AND a.attnum > 0 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'"
    )
    forgotten = {
        name for (name,) in catalogs if name not in BESIDES and not re.search(rf"\bpg_catalog\.{name}s?\b", named)
    }
    assert forgotten == set()
