"""What ties a table that stays to one that is replaced, but for keys and views: it is there afterwards, and holds."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from glacier_provider.core.checks import Fingerprint, compare
from glacier_provider.errors import SelectionConflict
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from tests.integration.postgres.test_what_stays import OWNER, SUPERUSER, Library
from tests.integration.postgres.test_what_stays import ends as ends
from tests.integration.postgres.test_what_stays import library as library

#: A partition, a copy and a child that count with the sequence of another table.
COUNTED = (
    "CREATE TABLE events (id bigserial, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k)",
    "CREATE TABLE old PARTITION OF events FOR VALUES IN (1)",
    "CREATE TABLE new PARTITION OF events FOR VALUES IN (2)",
    "CREATE TABLE docs (id serial PRIMARY KEY, t text)",
    "CREATE TABLE archive (LIKE docs INCLUDING ALL)",
    "CREATE TABLE child () INHERITS (docs)",
    "INSERT INTO events (k) VALUES (1), (2), (1)",
    "INSERT INTO docs (t) VALUES ('a'), ('b')",
    "INSERT INTO archive (t) VALUES ('old')",
    "INSERT INTO child (t) VALUES ('c')",
)
STAY = (("public", "old"), ("public", "archive"), ("public", "child"))


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
@pytest.mark.parametrize("option", ["exclude_tables", "exclude_table_data"])
def test_what_stays_counts_on_with_the_sequence_of_what_is_replaced(ends: Library, user: str, option: str) -> None:
    ends.run(*COUNTED)
    dump = ends.dump(**{option: STAY})
    ends.run("INSERT INTO events (k) VALUES (1)", "INSERT INTO archive (t) VALUES ('later')")
    assert ends.restore(dump, user).failed == ()
    assert ends.run("INSERT INTO events (k) VALUES (1), (2) RETURNING id") == [(5,), (6,)]
    for number, table in enumerate(("archive", "child", "docs")):
        assert ends.run(f"INSERT INTO {table} (t) VALUES ('x') RETURNING id") == [(6 + number,)]


def test_what_counts_with_the_sequence_of_a_chosen_table_counts_on(ends: Library) -> None:
    ends.run(*COUNTED)
    dump = ends.dump()
    ends.run("INSERT INTO archive (t) VALUES ('later')")
    assert ends.restore(dump, tables={("public", "docs")}).failed == ()
    assert ends.run("INSERT INTO archive (t) VALUES ('x') RETURNING id") == [(6,)]


def test_partitions_that_stay_count_on_with_the_identity_column_of_their_table(library: Library) -> None:
    library.run(
        "CREATE TABLE events (id int GENERATED ALWAYS AS IDENTITY, k int) PARTITION BY LIST (k)",
        "CREATE TABLE old PARTITION OF events FOR VALUES IN (1)",
        "CREATE TABLE new PARTITION OF events FOR VALUES IN (2)",
        "INSERT INTO events (k) VALUES (1), (2)",
    )
    before = library.everything()
    dump = library.dump(exclude_table_data=[("public", "old")])
    library.restore(dump)
    assert library.everything() == before
    library.run("INSERT INTO events (k) VALUES (1)")
    library.restore(dump)
    assert library.run("INSERT INTO events (k) VALUES (1) RETURNING id") == [(4,)]


def test_the_comment_of_a_foreign_key_that_is_put_together_again_is_there(ends: Library) -> None:
    ends.run("CREATE TABLE docs (id int PRIMARY KEY)", "CREATE TABLE audit (doc int CONSTRAINT k REFERENCES docs)")
    ends.run("COMMENT ON CONSTRAINT k ON audit IS 'which document'")
    before = ends.everything()
    ends.restore(ends.dump(exclude_tables=[("public", "audit")]))
    assert ends.everything() == before


@pytest.mark.parametrize("action", ["CASCADE", "NO ACTION"])
def test_no_row_goes_with_the_rows_of_an_extension_that_a_restore_replaces(library: Library, action: str) -> None:
    library.run(
        "CREATE EXTENSION hstore",
        "CREATE TABLE public.config (id int PRIMARY KEY)",
        "ALTER EXTENSION hstore ADD TABLE public.config",
        "UPDATE pg_extension SET extconfig = ARRAY['config'::regclass::oid], extcondition = ARRAY['']"
        " WHERE extname = 'hstore'",
        "INSERT INTO config VALUES (1), (2)",
        f"CREATE TABLE places (id int, c int REFERENCES config ON DELETE {action})",
        "INSERT INTO places VALUES (1, 1), (2, 2)",
        by=SUPERUSER,
    )
    before = library.everything()
    library.restore(library.dump(exclude_tables=[("public", "places")]), SUPERUSER)
    assert library.everything() == before


#: Where enums are hashed pg_dump has the rows of each partition go through the table above.
HASHED = (
    "CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd')",
    "CREATE TABLE p (m mood, n int) PARTITION BY HASH (m)",
    "CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "INSERT INTO p VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4), ('a', 5), ('b', 6), ('c', 7), ('d', 8)",
)


@pytest.mark.parametrize("chosen", [{"tables": {("public", "p1")}}, {"exclude_tables": {("public", "p0")}}, {}])
def test_a_partition_by_the_hash_of_an_enum_comes_back_alone(ends: Library, chosen: dict[str, Any]) -> None:
    ends.run(*HASHED)
    dump = ends.dump()
    ends.run("DELETE FROM p1")
    assert ends.restore(dump, **chosen).failed == ()
    assert ends.run("SELECT array_agg(n ORDER BY n) FROM p") == [(list(range(1, 9)),)]


def test_rows_that_are_in_other_partitions_by_the_hash_of_an_enum_made_anew_are_no_difference(ends: Library) -> None:
    def known() -> Fingerprint:
        with ends.owner.connect() as connection:
            connection.execute("SET search_path = ''")
            return take_fingerprint(over(connection), hashes=True)

    ends.run(*HASHED)
    before = known()
    for _ in range(3):  # by chance they are in the same ones
        ends.restore(ends.dump())
        assert [str(one) for one in compare(before, known()) if not one.passed] == []


@pytest.mark.parametrize("renamed", ["docs_pkey", "docs_title", "docs_id_seq"])
def test_a_name_that_a_table_which_stays_has_taken_is_told_by_the_plan(ends: Library, renamed: str) -> None:
    """A damaged table is renamed before the sound one is brought back: its indexes keep their names."""
    ends.run("CREATE TABLE docs (id serial PRIMARY KEY, title text)", "CREATE INDEX docs_title ON docs (title)")
    ends.run("INSERT INTO docs (title) VALUES ('sound')")
    dump = ends.dump()
    ends.run("ALTER TABLE docs RENAME TO damaged", "ALTER TABLE damaged ALTER id DROP DEFAULT")
    ends.run("ALTER SEQUENCE docs_id_seq OWNED BY NONE")
    for other in {"docs_pkey", "docs_title", "docs_id_seq"} - {renamed}:
        kind = "SEQUENCE" if other.endswith("_seq") else "INDEX"
        ends.run(f"ALTER {kind} {other} RENAME TO damaged_{other}")
    if renamed == "docs_id_seq":  # it is the dump's, too, and no table needs it any more: it is replaced
        ends.restore(dump, tables={("public", "docs")})
        return
    with pytest.raises(SelectionConflict, match=rf"public\.{renamed}"):
        ends.plan(dump, tables={("public", "docs")})
    ends.run(f"ALTER INDEX {renamed} RENAME TO damaged_{renamed}")
    ends.restore(dump, tables={("public", "docs")})
    assert ends.run("SELECT title FROM docs") == [("sound",)]


def test_a_name_that_an_extension_has_taken_since_is_told_by_the_plan_with_what_helps(library: Library) -> None:
    library.run("CREATE FUNCTION unaccent(text) RETURNS text LANGUAGE sql AS 'SELECT $1'", "CREATE TABLE docs (id int)")
    dump = library.dump()
    library.run("DROP FUNCTION unaccent(text)", "CREATE EXTENSION unaccent")
    with pytest.raises(SelectionConflict, match=r"unaccent\(text\) \(of the extension unaccent\)") as told:
        library.plan(dump)
    assert 'DROP EXTENSION "unaccent"' in str(told.value)
    library.run("DROP EXTENSION unaccent")
    library.restore(dump)
    assert library.run("SELECT unaccent('ä')") == [("ä",)]


def test_a_partition_that_was_half_detached_is_detached(ends: Library) -> None:
    """A concurrent detachment that was cut leaves it so, and nothing else can be done with it."""
    ends.run(
        "CREATE TABLE p (n int) PARTITION BY LIST (n)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
        "INSERT INTO p VALUES (1), (2)",
    )
    with ends.owner.connect() as reader, ends.owner.connect(autocommit=True) as other:
        reader.execute("SELECT FROM p")
        other.execute("SET statement_timeout = '100ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            other.execute("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY")
    dump = ends.dump(exclude_table_data=[("public", "p1")])
    assert ends.restore(dump).failed == ()
    assert ends.run("SELECT (SELECT count(*) FROM p1), (SELECT count(*) FROM p)") == [(1, 1)]
