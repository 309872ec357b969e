"""What a database is known by is right for tables and sequences of any shape, and asked for in few statements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from glacier_provider.core.checks import Fingerprint, compare
from glacier_provider.postgres import PgDumpOptions, Selection, Server, dump_to_path, restore_in_transaction
from glacier_provider.postgres.checks.fingerprint import TOGETHER, over, take_fingerprint
from tests.integration.postgres.conftest import SampleServer

LAST = 2**63 - 1


def fingerprint(server: Server, *, hashes: bool = False, asked: list[str] | None = None) -> Fingerprint:
    with server.connect() as connection:
        connection.execute("SET search_path = ''")
        answers = over(connection)

        def ask(sql: str) -> Sequence[Sequence[str | None]]:
            if asked is not None:
                asked.append(sql)
            return answers(sql)

        return take_fingerprint(ask, hashes=hashes)


def made(sample: SampleServer, name: str, *statements: str) -> Server:
    server = sample.postgres.create_database(name)
    for statement in statements:
        sample.postgres.execute(statement, name)
    return server


def test_very_many_tables_are_asked_for_together(sample: SampleServer) -> None:
    server = made(
        sample,
        "together",
        f"""DO $$ BEGIN FOR n IN 1..{3 * TOGETHER} LOOP
          EXECUTE format('CREATE TABLE t_%s (id serial, note text)', n);
          EXECUTE format('INSERT INTO t_%s (note) SELECT ''x'' FROM generate_series(1, %s)', n, n % 5);
        END LOOP; END $$""",
        "SELECT setval('t_3_id_seq', 1)",
    )
    asked: list[str] = []
    known = fingerprint(server, asked=asked)
    assert len(asked) < 20
    assert known.tables == {f"public.t_{n}": (n % 5, None) for n in range(1, 3 * TOGETHER + 1)}
    behind = [name for name, (said, _) in known.objects["sequence"].items() if said == "behind"]
    assert behind == ["public.t_3\tpublic.t_3_id_seq"]


def test_a_sequence_is_compared_with_all_rows_that_its_column_has(sample: SampleServer) -> None:
    server = made(
        sample,
        "sequences",
        "CREATE TABLE two (a serial, b serial); INSERT INTO two VALUES (1, 7)",
        "CREATE TABLE parent (id serial); CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (9)",
        "CREATE TABLE parts (id serial) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF parts FOR VALUES IN (4)",
        "INSERT INTO parts VALUES (4)",
        "CREATE TABLE empty (id smallserial)",
        f"CREATE TABLE last (id bigserial); INSERT INTO last VALUES ({LAST}); SELECT setval('last_id_seq', {LAST})",
        f"CREATE TABLE next (id bigserial); INSERT INTO next VALUES ({LAST})",
        f"SELECT setval('next_id_seq', {LAST}, false)",
    )
    found = {name.partition(".")[2]: said for name, (said, _) in fingerprint(server).objects["sequence"].items()}
    assert found == {
        "two\tpublic.two_a_seq": "behind",
        "two\tpublic.two_b_seq": "behind",
        "parent\tpublic.parent_id_seq": "behind",
        "parts\tpublic.parts_id_seq": "behind",
        "empty\tpublic.empty_id_seq": "ahead",
        "last\tpublic.last_id_seq": "ahead",
        "next\tpublic.next_id_seq": "behind",
    }


def test_rows_have_the_sum_of_their_hashes(sample: SampleServer) -> None:
    server = made(
        sample,
        "hashes",
        "CREATE TABLE ones (id serial, note text); INSERT INTO ones (note) VALUES ('one'), ('two'), (NULL)",
        "CREATE TABLE others (id integer, note text); INSERT INTO others VALUES (3, NULL), (2, 'two'), (1, 'one')",
        "CREATE TABLE nothing (id integer)",
        "CREATE TABLE without_columns (); INSERT INTO without_columns DEFAULT VALUES",
    )
    tables = fingerprint(server, hashes=True).tables
    ((total,),) = sample.postgres.execute(
        "SELECT sum(hashtextextended(ROW(id, note)::text, 0)::numeric)::text FROM ones", "hashes"
    )
    assert tables["public.ones"] == tables["public.others"] == (3, total)
    assert tables["public.nothing"] == (0, "0")
    assert tables["public.without_columns"] is not None
    assert tables["public.without_columns"][0] == 1


#: By the check that is to tell it, and by what it names: what comes back with its name, and otherwise.
OTHERWISE = {
    "DROP POLICY own ON rooms; CREATE POLICY own ON rooms AS RESTRICTIVE USING (true)": "policy public.rooms own is ",
    "DROP POLICY own ON rooms; CREATE POLICY own ON rooms FOR UPDATE USING (true)": "policy public.rooms own is ",
    "DROP POLICY own ON rooms; CREATE POLICY own ON rooms USING (id > 1)": "policy public.rooms own has another",
    "ALTER TABLE rooms ALTER name DROP NOT NULL": "column public.rooms name is false",
    "ALTER TABLE rooms ALTER name TYPE varchar(9)": "column public.rooms name has another",
    "ALTER TABLE rooms ALTER name SET DEFAULT 'x'": "column public.rooms name has another",
    "GRANT SELECT ON rooms TO guest WITH GRANT OPTION": "grant public.rooms SELECT to guest is true",
    "ALTER TABLE rooms FORCE ROW LEVEL SECURITY": "row security public.rooms is forced",
    "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'": "function public.one () has another",
    "ALTER TYPE mood ADD VALUE 'angry'": "type public.mood has another",
    "CREATE OR REPLACE VIEW numbered AS SELECT id FROM rooms WHERE id > 1": "relation public.numbered has another",
    "DROP INDEX by_name; CREATE INDEX by_name ON rooms (name DESC)": "index public.rooms by_name has another",
}


def test_what_has_its_name_and_another_definition_is_told(sample: SampleServer) -> None:
    sample.postgres.create_role("guest")
    made(
        sample,
        "otherwise",
        "CREATE TABLE rooms (id int, name text NOT NULL)",
        "CREATE INDEX by_name ON rooms (name)",
        "ALTER TABLE rooms ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON rooms USING (true)",
        "GRANT SELECT ON rooms TO guest",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE VIEW numbered AS SELECT id FROM rooms",
    )
    for number, (change, said) in enumerate(OTHERWISE.items()):
        name = f"otherwise_{number}"
        server = sample.postgres.create_database(name, template="otherwise")
        before = fingerprint(server)
        for statement in change.split("; "):
            sample.postgres.execute(statement, name)
        found = [line for one in compare(before, fingerprint(server)) for line in one.found]
        assert len(found) == 1, (change, found)
        assert found[0].startswith(said), found
        sample.postgres.drop_database(name)


def test_rows_count_in_the_table_that_has_them(sample: SampleServer) -> None:
    server = made(
        sample,
        "inherited",
        "CREATE TABLE ancestor (n int)",
        "CREATE TABLE heir () INHERITS (ancestor)",
        "INSERT INTO heir SELECT generate_series(1, 3)",
    )
    assert fingerprint(server).tables == {"public.ancestor": (0, None), "public.heir": (3, None)}


#: What the catalog says otherwise than a dump, and a restore makes as the dump has it.
UNLIKE_THE_CATALOG = {
    "validated in the child alone": (
        "CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent)",
        "ALTER TABLE parent ADD CONSTRAINT c CHECK (id > 0) NOT VALID; ALTER TABLE child VALIDATE CONSTRAINT c",
    ),
    "null in the child alone": (
        "CREATE TABLE parent (id int NOT NULL); CREATE TABLE child () INHERITS (parent)",
        "ALTER TABLE child ALTER id DROP NOT NULL",
    ),
    "an index of partitions that are gone": (
        "CREATE TABLE parent (id int) PARTITION BY LIST (id); CREATE TABLE child PARTITION OF parent FOR VALUES IN (1)",
        "CREATE INDEX ix ON ONLY parent (id); DROP TABLE child",
    ),
    "a comment on the constraint of a trigger": (
        "CREATE TABLE t (id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE CONSTRAINT TRIGGER ct AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "COMMENT ON CONSTRAINT ct ON t IS 'x'",
    ),
}


@pytest.mark.parametrize("what", UNLIKE_THE_CATALOG)
def test_what_a_dump_says_otherwise_than_the_catalog_stops_no_restore(
    older: SampleServer, what: str, tmp_path: Path
) -> None:
    one = older.new(*UNLIKE_THE_CATALOG[what], empty=True)
    expected = fingerprint(one)
    dump = dump_to_path(one, older.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    two = older.new(empty=True)
    restore_in_transaction(two, older.tools, dump.path, Selection(), progress=print)
    assert [str(one) for one in compare(expected, fingerprint(two)) if not one.passed] == []
