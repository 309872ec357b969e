"""The SQL of a dump's entries, in the order in which a server gets it."""

from __future__ import annotations

import pytest

from glacier_provider.core.text import names
from glacier_provider.postgres import Keep, PgRestoreOptions, Selection
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore import target
from glacier_provider.postgres.restore.plan import is_a_superusers
from glacier_provider.postgres.restore.statements import Storage, change_of_owner, definition, in_order
from glacier_provider.postgres.tools.options import Exclusions
from tests.unit.postgres.builders import DumpBuilder


def entry(
    desc: str, name: str, *, schema: str | None = "public", drop: str = "DROP ...;\n", **more: object
) -> TocEntry:
    return TocEntry(1, 0, 0, desc, schema, name, 'Ann "A"', drop=drop, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "sql"),
    [
        (entry("TABLE", 'a"b'), 'ALTER TABLE "public"."a""b" OWNER TO "Ann ""A""";\n'),
        (entry("SCHEMA", "s", schema=None), 'ALTER SCHEMA "s" OWNER TO "Ann ""A""";\n'),
        (
            entry("FUNCTION", "f(integer)", drop="DROP FUNCTION public.f(a integer);\n"),
            'ALTER FUNCTION public.f(a integer) OWNER TO "Ann ""A""";\n',
        ),
        (
            entry("OPERATOR CLASS", "c", drop="DROP OPERATOR CLASS public.c USING btree;\n"),
            'ALTER OPERATOR CLASS public.c USING btree OWNER TO "Ann ""A""";\n',
        ),
        (
            entry("BLOB METADATA", "7..8", definition="7\n8\n", drop="-- dummy"),
            'ALTER LARGE OBJECT 7 OWNER TO "Ann ""A""";\nALTER LARGE OBJECT 8 OWNER TO "Ann ""A""";\n',
        ),
        (entry("INDEX", "i"), ""),
        (entry("CAST", "CAST (a AS b)", schema=None), ""),
        (entry("SEQUENCE", "of_an_identity", drop=""), ""),
    ],
)
def test_what_has_an_owner_is_given_to_it(given: TocEntry, sql: str) -> None:
    assert change_of_owner(given) == sql


def test_many_large_objects_are_made_and_shared_by_one_entry() -> None:
    group = TocEntry(1, 0, 0, "BLOB METADATA", None, "7..8", "a", definition="7\n8\n")
    acl = TocEntry(2, 0, 0, "ACL", None, "LARGE OBJECTS 7..8", "a", (1,), "GRANT SELECT ON LARGE OBJECT 7 TO b;\n")
    assert "'{7,8}'" in definition(group, {})
    assert definition(acl, {1: group}) == (
        "GRANT SELECT ON LARGE OBJECT 7 TO b;\nGRANT SELECT ON LARGE OBJECT 8 TO b;\n"
    )


def test_the_privileges_of_a_schema_come_with_it_and_others_late() -> None:
    dump = DumpBuilder()
    odd = dump.schema('odd "name"')
    table = dump.table('odd "name"', "t")
    acl = dump.add("ACL", 'odd "name"', "TABLE t", table)
    trigger = dump.add("EVENT TRIGGER", None, "watch")
    refresh = dump.add("MATERIALIZED VIEW DATA", "public", "m")
    index = dump.add("INDEX", "public", "i", table)
    of_schema = dump.add("ACL", None, 'SCHEMA "odd ""name"""', odd)
    of_public = dump.add("ACL", None, "SCHEMA public")
    assert in_order(dump.entries) == [of_public, odd, of_schema, table, index, acl, trigger, refresh]


def test_tablespaces_are_set_at_first_and_when_they_change_and_not_when_they_are_dropped() -> None:
    """At first, since a role or a database may have another default."""
    here, there = entry("TABLE", "a"), entry("TABLE", "b", tablespace="fast", access_method="heap")
    keeping = Storage(PgRestoreOptions())
    assert [bool(keeping.before(each)) for each in (here, here, there, there, here)] == [True, False, True, False, True]
    dropping = Storage(PgRestoreOptions(tablespaces=Keep.DROP))
    assert "tablespace" not in dropping.before(there)


def test_what_the_dump_left_out_is_in_the_setting_as_what_the_restore_leaves_out() -> None:
    setting = target.selection_setting(
        Selection(exclude_schemas={"it's \\ odd"}), Exclusions(("stats",), (("a", "b"),), (("c", "d"),))
    )
    assert '"schemas": ["it\'s \\\\ odd", "stats"]' in setting
    assert '"relations": [["a", "b"], ["c", "d"]]' in setting


def test_long_lists_of_names_are_shortened() -> None:
    assert names(["a", "ü b"]) == '"a", "ü b"'
    assert names(map(str, range(12))).endswith('"9" and 2 more')


def test_each_statement_of_the_sql_files_has_a_name_and_a_purpose() -> None:
    for file in ("target.sql", "drop.sql", "expressions.sql"):
        assert target.named_queries(file)
        assert all("-- purpose: " in text for text in target.named_queries(file).values())


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("CREATE FUNCTION s.f() RETURNS void\n    LANGUAGE c\n    AS '$libdir/f', 'f'", True),
        ('CREATE FUNCTION s.f() RETURNS void\n    LANGUAGE "pl""odd"\n    AS $$ x $$', True),
        ("CREATE FUNCTION s.f() RETURNS void\n    LANGUAGE plpgsql LEAKPROOF\n    AS $$ x $$", True),
        ("CREATE FUNCTION s.f() RETURNS void\n    LANGUAGE plpgsql\n    AS $$ x $$", False),
        ("CREATE FUNCTION s.f() RETURNS text\n    LANGUAGE sql\n    AS 'SELECT ''in LANGUAGE c, leakproof'''", False),
        ("CREATE FUNCTION s.f(c text) RETURNS text\n    LANGUAGE sql\n    AS 'SELECT c'", False),
        ("CREATE FUNCTION s.f() RETURNS bool\n    LANGUAGE sql\n    AS $$SELECT leakproof FROM s.t$$", False),
        (
            "CREATE FUNCTION s.f() RETURNS bool\n    LANGUAGE sql\n    BEGIN ATOMIC SELECT t.leakproof FROM s.t; END",
            False,
        ),
        ("CREATE FUNCTION s.f(leakproof bool) RETURNS bool\n    LANGUAGE sql\n    RETURN leakproof", False),
        (
            "CREATE FUNCTION s.f() RETURNS void\n    LANGUAGE plpgsql\n    AS $_$BEGIN EXECUTE $$ CREATE FUNCTION g() "
            "RETURNS int LANGUAGE c AS 'g' $$; END$_$",
            False,
        ),
        ("CREATE FUNCTION s.f(leakproof bool) RETURNS void\n    LANGUAGE sql IMMUTABLE LEAKPROOF\n    RETURN 1", True),
    ],
)
def test_a_routine_is_a_superusers_by_its_language_and_not_by_what_it_says(text: str, is_one: bool) -> None:
    made = entry("FUNCTION", "f()", schema="s", definition=text)
    assert is_a_superusers(made, frozenset({"c", "internal", 'pl"odd'})) is is_one


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("CREATE TYPE s.t (\n    INTERNALLENGTH = 4,\n    INPUT = s.t_in,\n    OUTPUT = s.t_out\n);\n", True),
        ("CREATE TYPE s.t AS (\n\tinput text,\n\toutput text\n);\n", False),
        ("CREATE TYPE s.t AS ENUM (\n    'INPUT',\n    'output'\n);\n", False),
    ],
)
def test_a_type_is_a_superusers_by_how_it_is_read_and_not_by_a_columns_name(text: str, is_one: bool) -> None:
    assert is_a_superusers(entry("TYPE", "t", schema="s", definition=text), frozenset()) is is_one
