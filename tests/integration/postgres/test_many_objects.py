"""Databases of many objects: few round trips, and still every refused statement is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.postgres import (
    PgRestoreOptions,
    Selection,
    Server,
    restore_in_transaction,
    table_of_contents,
)
from glacier_provider.postgres.dump.toc import Toc
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from glacier_provider.postgres.restore.session import Refused, RestoringSession
from tests.integration.postgres.conftest import SampleServer
from tests.integration.postgres.owners import OwnedDatabase

MANY = 120
TABLES = "".join(
    f"CREATE TABLE t{n} (id serial PRIMARY KEY, note text, other integer); CREATE INDEX ON t{n} (note);"
    f"INSERT INTO t{n} (note) VALUES ('{n}'); COMMENT ON TABLE t{n} IS 'table {n}';"
    + (f"ALTER TABLE t{n} ADD FOREIGN KEY (other) REFERENCES t{n - 1};" if n else "")
    for n in range(MANY)
)
OTHERS = "".join(
    f"CREATE FUNCTION f{n}() RETURNS integer LANGUAGE sql AS 'SELECT {n}'; CREATE TYPE e{n} AS ENUM ('a');"
    f"CREATE SCHEMA s{n}; CREATE TABLE s{n}.t (id integer); CREATE VIEW s{n}.v AS SELECT id FROM s{n}.t;"
    for n in range(MANY)
)


@pytest.fixture
def owned(any_server: SampleServer) -> Iterator[OwnedDatabase]:
    """A database of an owner who is no superuser, on each server."""
    database = OwnedDatabase(any_server.postgres)
    yield database
    database.close()


@contextmanager
def transaction(server: Server) -> Iterator[RestoringSession]:
    with RestoringSession(server.connect(autocommit=True), lambda: None) as session:
        session.run(b"BEGIN")
        yield session


def restored(owned: OwnedDatabase, dump: Path) -> None:
    options = PgRestoreOptions()
    done = restore_in_transaction(owned.server, owned.tools, dump, Selection(), options, progress=lambda _: None)
    assert not done.failed


def refusal(session: RestoringSession, *pieces: str) -> Refused:
    with pytest.raises(Refused) as caught:
        session.run_all([piece.encode() for piece in pieces])
    return caught.value


# --- many in one round trip ----------------------------------------------------------------------------------------


def test_entries_and_drops_go_to_the_server_many_at_a_time(
    owned: OwnedDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned.run(TABLES + OTHERS)
    dump = owned.dump(tmp_path)
    sent: list[bytes] = []
    send = RestoringSession._results

    def counted(self: RestoringSession, sql: bytes, *rest: object) -> object:
        sent.append(sql)
        return send(self, sql, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(RestoringSession, "_results", counted)
    restored(owned, dump)
    entries = len(table_of_contents(dump).entries)
    rows = sum(entry.desc == "TABLE DATA" for entry in table_of_contents(dump).entries)
    assert len(sent) < rows + entries / 40 + 30
    assert sum(sql.startswith(b"DROP ") for sql in sent) <= 10
    assert owned.run("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(MANY - 1,)]
    assert owned.run(f"SELECT note, obj_description('t{MANY - 1}'::regclass) FROM t{MANY - 1}") == [
        (str(MANY - 1), f"table {MANY - 1}")
    ]


def test_one_schema_with_many_tables_is_dropped_table_by_table_first(owned: OwnedDatabase, tmp_path: Path) -> None:
    owned.run("CREATE SCHEMA s; CREATE TABLE s.p (n integer) PARTITION BY LIST (n);")
    owned.run("".join(f"CREATE TABLE s.p{n} PARTITION OF s.p FOR VALUES IN ({n});" for n in range(MANY)))
    owned.run("INSERT INTO s.p SELECT generate_series(0, 5)")
    dump = owned.dump(tmp_path)
    owned.run("DROP TABLE s.p7; CREATE TABLE s.later (a integer); DELETE FROM s.p")
    restored(owned, dump)
    assert owned.run("SELECT count(*) FROM s.p") == [(6,)]
    assert owned.run("SELECT to_regclass('s.later') IS NULL, to_regclass('s.p7') IS NOT NULL") == [(True, True)]


# --- and the refused one is named ----------------------------------------------------------------------------------


def test_of_many_statements_the_refused_one_is_told_with_all_that_the_server_said(owned: OwnedDatabase) -> None:
    with transaction(owned.server) as session:
        refused = refusal(
            session,
            "CREATE TABLE a (n integer PRIMARY KEY); INSERT INTO a VALUES (1)",
            "CREATE FUNCTION twice() RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO a VALUES (1); END'",
            "SELECT 'a piece with rows'",
            "COMMENT ON TABLE a IS 'one'; SELECT twice(); COMMENT ON TABLE a IS 'two'",
            "SELECT no_such_function()",
        )
    assert (refused.piece, refused.state, refused.unreadable) == (3, "23505", False)
    assert refused.statement == "COMMENT ON TABLE a IS 'one'; SELECT twice(); COMMENT ON TABLE a IS 'two'"
    assert refused.detail == "Key (n)=(1) already exists."
    assert "twice()" in refused.context


@pytest.mark.parametrize(
    ("pieces", "number"),
    [
        (["SELECT 1", "SELECT 2", "CREATE TABEL x ()"], 2),
        (["SELECT no_such_function()", "SELECT 2", "SELECT 3"], 0),
        (["SELECT 1", "SELECT 'open", "SELECT 3"], 1),
        (["SELECT 1", "SELECT 2 /*", "*/ ; SELECT 3"], 1),
        (["SELECT 1", "SELECT $$ open", "SELECT 3"], 1),
        (["SELECT 1", "SELECT U&'\\xxxx'", "SELECT 3"], 1),
        (["SELECT 1", "COPY t FROM stdin", "SELECT 3"], 1),
    ],
)
def test_a_statement_that_is_none_is_named_too(owned: OwnedDatabase, pieces: list[str], number: int) -> None:
    with transaction(owned.server) as session:
        session.run(b"CREATE TABLE t (n integer)")
        assert refusal(session, *pieces).piece == number


@pytest.mark.parametrize(
    "pieces",
    [
        ["SELECT 1 /*", "DROP TABLE t", "*/ SELECT 1"],
        ["SELECT '", "DROP TABLE t", "'"],
        ["SELECT $a$", "DROP TABLE t", "$a$"],
        ['SELECT 1 AS "', "DROP TABLE t", '"'],
    ],
)
def test_no_statement_hides_another_from_the_server(owned: OwnedDatabase, pieces: list[str]) -> None:
    with transaction(owned.server) as session:
        session.run(b"CREATE TABLE t (n integer)")
        assert refusal(session, *pieces).piece == 0


def test_a_comment_at_the_end_of_an_entry_hides_nothing(owned: OwnedDatabase) -> None:
    with transaction(owned.server) as session:
        session.run_all([b"CREATE TABLE t (n integer); -- done", b"INSERT INTO t VALUES (1) -- too"])
        assert session.text("SELECT n FROM t") == [("1",)]


def test_a_rehearsal_of_many_entries_finds_each_that_is_refused(owned: OwnedDatabase, tmp_path: Path) -> None:
    owned.run(TABLES)
    toc = table_of_contents(owned.dump(tmp_path))
    broken = {
        ("TABLE", "t7"): "CREATE TABEL public.t7 (",
        ("TABLE", "t50"): "CREATE TABLE public.t50 (n no_such_type);",
        ("COMMENT", "TABLE t51"): "COMMENT ON TABLE public.t51 IS 'open",
    }

    def changed(toc: Toc) -> Toc:
        entries = (replace(e, definition=broken.get((e.desc, e.name), e.definition)) for e in toc.entries)
        return replace(toc, entries=tuple(entries))

    stumbles = rehearse_schema(owned.server, changed(toc), PgRestoreOptions(), tell=lambda: None)
    found = {(one.entry.desc, one.entry.name): one.failed.said for one in stumbles}
    assert broken.keys() <= found.keys()
    assert "syntax error" in found["TABLE", "t7"]
    assert found["TABLE", "t50"] == 'type "no_such_type" does not exist'
    others = {key: said for key, said in found.items() if key not in broken}
    assert others  # keys, indexes, what refers to them
    assert all(said.startswith("needs ") for said in others.values())
    assert not rehearse_schema(owned.server, toc, PgRestoreOptions(), tell=lambda: None)
