"""The planner's statistics after a restore: every table once, over as many connections as the user may have."""

from __future__ import annotations

from glacier_provider.postgres.restore.statistics import analyze_all, analyze_tables
from glacier_provider.postgres.tools.server import Server
from tests.integration.postgres.conftest import SampleServer

PARTITIONED = """
CREATE TABLE plain AS SELECT 1 AS id;
CREATE TABLE parts (id integer) PARTITION BY LIST (id);
CREATE TABLE first_part PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE other_parts PARTITION OF parts FOR VALUES IN (2, 3) PARTITION BY LIST (id);
CREATE TABLE second_part PARTITION OF other_parts FOR VALUES IN (2);
INSERT INTO parts VALUES (1), (2)"""
TABLES = {"plain", "parts", "first_part", "other_parts", "second_part"}


def analyzed(sample: SampleServer, server: Server) -> dict[object, object]:
    found = sample.run(server, "SELECT relname::text, analyze_count FROM pg_stat_user_tables WHERE analyze_count > 0")
    return dict(found)  # type: ignore[arg-type]


def test_each_table_is_analyzed_once_partitions_with_their_table(any_server: SampleServer) -> None:
    shop = any_server.new(PARTITIONED, empty=True)
    assert analyze_all(shop, 2, print) == ()
    assert analyzed(any_server, shop) == dict.fromkeys(TABLES, 1)


def test_chosen_tables_alone_are_analyzed(sample: SampleServer) -> None:
    shop = sample.new(PARTITIONED, 'CREATE TABLE "Odd ""one" (id integer)', empty=True)
    assert analyze_tables(shop, [("public", 'Odd "one'), ("public", "plain")], 2, print) == ()
    assert analyzed(sample, shop) == {'Odd "one': 1, "plain": 1}
    (warning,) = analyze_tables(shop, [("public", "gone"), ("public", "plain")], 1, print)
    assert warning == (
        'Not all statistics are fresh: ANALYZE "public"."gone" failed: relation "public.gone" does not exist. '
        "Run ANALYZE by hand when its cause is mended."
    )


def test_a_user_of_few_connections_analyzes_all(sample: SampleServer) -> None:
    shop = sample.new(PARTITIONED, empty=True)
    sample.postgres.execute("CREATE ROLE of_few LOGIN PASSWORD 'few' CONNECTION LIMIT 2")
    sample.run(shop, "GRANT CREATE ON SCHEMA public TO of_few")
    for table in TABLES:
        sample.run(shop, f"ALTER TABLE {table} OWNER TO of_few")
    assert analyze_all(Server(shop.host, shop.port, "of_few", "few", shop.dbname), 6, print) == ()
    assert analyzed(sample, shop) == dict.fromkeys(TABLES, 1)


def test_connections_that_end_are_told_with_what_waits(sample: SampleServer) -> None:
    shop = sample.new("CREATE TABLE plain AS SELECT 1 AS id", empty=True)
    sample.postgres.execute(f"ALTER DATABASE {shop.dbname} ALLOW_CONNECTIONS false")
    (warning,) = analyze_tables(shop, [("public", "plain")], 2, print)
    assert warning.startswith("Not all statistics are fresh: 1 tables wait: ")
    assert "not currently accepting connections" in warning
