"""What a server says while it is dumped reaches a person: the cause, the object, and a hint that is true for it."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.errors import DatabaseBusy, DatabaseRefused, GlacierProviderError, ToolFailed
from glacier_provider.postgres import (
    DumpFormat,
    PgDumpOptions,
    Selection,
    Server,
    dump_to_path,
    find_tools,
    restore_in_transaction,
)
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from glacier_provider.postgres.tools.server import require_primary
from tests.integration.postgres.conftest import EACH, NEWER
from tests.support.postgres import EmbeddedPostgres

PARALLEL = PgDumpOptions(format=DumpFormat.DIRECTORY, jobs=2)


def owned(postgres: EmbeddedPostgres, name: str) -> Server:
    """Return a new database of an owner without superuser."""
    if not postgres.execute("SELECT FROM pg_roles WHERE rolname = 'owner'"):
        postgres.create_role("owner", password="of-the-owner", attributes="CREATEDB NOSUPERUSER")
    postgres.create_database(name, owner="owner")
    return postgres.server(name, user="owner", password="of-the-owner")


def run(server: Server, *statements: str) -> None:
    with server.connect(autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def fails(
    error: type[GlacierProviderError],
    server: Server,
    postgres: EmbeddedPostgres,
    target: Path,
    options: PgDumpOptions = PARALLEL,
) -> GlacierProviderError:
    with pytest.raises(GlacierProviderError) as caught:
        dump_to_path(server, find_tools(postgres.bin_directory), options, target, progress=print)
    assert type(caught.value) is error, str(caught.value)
    assert "server runs" not in str(caught.value)
    assert list(target.parent.iterdir()) == []
    return caught.value


@pytest.mark.parametrize("options", [PARALLEL, PgDumpOptions()], ids=["directory", "custom"])
def test_damaged_rows_are_told_with_their_table_and_how_to_save_the_rest(
    private_server: EmbeddedPostgres, options: PgDumpOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = owned(private_server, "damaged")
    run(
        server,
        'CREATE SCHEMA "My App"; CREATE TABLE "My App"."T.1" (id int, b text); CREATE TABLE sound AS SELECT 1 AS n',
        'ALTER TABLE "My App"."T.1" ALTER b SET STORAGE external',
        """INSERT INTO "My App"."T.1" SELECT g, repeat('x', 9000) FROM generate_series(1, 5) g""",
    )
    ((path,),) = private_server.execute(
        "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 'T.1'", "damaged"
    )
    private_server.execute("CHECKPOINT")
    private_server.stop()
    toast = private_server.data / path
    toast.write_bytes(bytes(toast.stat().st_size))
    private_server.start()

    with caplog.at_level(logging.ERROR):
        error = fails(ToolFailed, server, private_server, tmp_path / "d", options)

    assert "missing chunk number 0" in error.message
    assert 'exclude_table_data: ["My App"."T.1"]' in error.hint
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "missing chunk number 0 for toast value" in logged
    assert 'Command was: COPY "My App"."T.1"' in logged
    rest = replace(options, exclude_table_data=(("My App", "T.1"),))
    tools = find_tools(private_server.bin_directory)
    assert dump_to_path(server, tools, rest, tmp_path / "d", progress=print).size > 0


def test_a_lock_that_waits_in_the_queue_makes_the_database_busy(
    private_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    server = owned(private_server, "queued")
    run(
        server,
        "CREATE TABLE large_one AS SELECT g AS n, repeat('x', 500) AS t FROM generate_series(1, 20000) g",
        "CREATE TABLE large_two AS SELECT * FROM large_one",
        "CREATE TABLE docs AS SELECT 1 AS n",
    )
    altered = threading.Event()

    def alter() -> None:
        """Wait in the queue from the moment that pg_dump has its locks, before its workers take them again."""
        with server.connect(autocommit=True) as connection:
            while not connection.execute("SELECT FROM pg_locks WHERE relation = 'docs'::regclass").fetchall():
                time.sleep(0.002)
            connection.execute("ALTER TABLE docs ADD COLUMN x int")
            altered.set()

    migration = threading.Thread(target=alter)
    migration.start()
    error = fails(DatabaseBusy, server, private_server, tmp_path / "d")
    migration.join(20)
    assert altered.is_set()
    assert "public.docs" in error.message
    assert "tried again" in error.hint


def test_more_tables_than_locks_are_told_before_and_after(tmp_path: Path) -> None:
    few = {"max_locks_per_transaction": "10", "max_connections": "10"}
    with EmbeddedPostgres(settings=few) as postgres:
        server = owned(postgres, "many")
        for first in range(0, 1500, 20):
            run(
                server,
                f"DO $$ BEGIN FOR i IN {first}..{first + 19} LOOP "
                "EXECUTE format('CREATE TABLE t%s (n int)', i); END LOOP; END $$",
            )
        told: list[str] = []
        tools = find_tools(postgres.bin_directory)
        with pytest.raises(ToolFailed) as caught:
            dump_to_path(server, tools, PARALLEL, tmp_path / "d", progress=told.append)
    assert any("locks 1,500 tables" in line and "room for 100 locks" in line for line in told)
    assert "out of shared memory" in caught.value.message
    assert "max_locks_per_transaction" in caught.value.hint


@pytest.mark.parametrize("whose", ["ROLE owner CONNECTION LIMIT 3", "DATABASE limited CONNECTION LIMIT 3"])
def test_too_few_connections_make_the_database_busy_and_the_hint_says_how_many_it_takes(
    private_server: EmbeddedPostgres, whose: str, tmp_path: Path
) -> None:
    server = owned(private_server, "limited")
    run(server, *(f"CREATE TABLE t{n} AS SELECT 1 AS n" for n in range(4)))
    private_server.execute(f"ALTER {whose}")
    error = fails(DatabaseBusy, server, private_server, tmp_path / "d")
    assert "too many connections for" in error.message
    assert "dump.jobs + 2" in error.hint
    private_server.execute(f"ALTER {whose.replace('3', '4')}")
    tools = find_tools(private_server.bin_directory)
    assert dump_to_path(server, tools, PARALLEL, tmp_path / "d", progress=print).size > 0


@contextmanager
def primary_and_standby(package: str, directory: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """Run two servers, the second a standby of the first that waits for nobody."""
    settings = {"wal_level": "replica", "max_wal_senders": "4", "autovacuum": "off", "hot_standby_feedback": "off"}
    with EmbeddedPostgres(package=package, settings=settings) as primary:
        standby = EmbeddedPostgres(package=package, settings={**settings, "max_standby_streaming_delay": "0"})
        standby.password, standby._password_set = primary.password, True
        standby._prepare()
        try:
            copy = [str(primary.bin_directory / "pg_basebackup"), "--write-recovery-conf", "--checkpoint=fast"]
            copy += [f"--pgdata={directory / 'copy'}", "--wal-method=stream"]
            environment = {**primary.server().environment(), "PATH": "/usr/bin:/bin"}
            subprocess.run(copy, env=environment, check=True, capture_output=True)
            subprocess.run(["cp", "-a", f"{directory / 'copy'}/.", str(standby.data)], check=True)
            subprocess.run(["chown", "-R", f"--reference={standby.data.parent}", str(standby.data)], check=True)
            standby.data.chmod(0o700)
            standby.start()
            yield primary, standby
        finally:
            standby.close()


@pytest.fixture(scope="module", params=[EACH[0], NEWER])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    with primary_and_standby(request.param, tmp_path_factory.mktemp("standby")) as both:
        server = owned(both[0], "shop")
        run(
            server,
            "CREATE TABLE docs AS SELECT g AS n, repeat('x', 500) AS t FROM generate_series(1, 20000) g",
            'CREATE UNLOGGED TABLE "Work" (n serial)',
            'INSERT INTO "Work" VALUES (1)',
        )
        yield both


def caught_up(primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
    # What VACUUM wrote without a transaction number waits in memory for the WAL writer; a switch has it written now.
    ((place,),) = primary.execute("SELECT pg_switch_wal()")
    deadline = time.monotonic() + 30
    while standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{place}'") != [(True,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def of_owner(postgres: EmbeddedPostgres) -> Server:
    return postgres.server("shop", user="owner", password="of-the-owner")


def test_a_dump_of_a_standby_names_the_unlogged_tables_that_come_back_empty(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres], tmp_path: Path
) -> None:
    caught_up(*pair)
    tools = find_tools(pair[1].bin_directory)
    for name, postgres, expected in (("p", pair[0], ()), ("s", pair[1], (("public", "Work"),))):
        dump = dump_to_path(of_owner(postgres), tools, PARALLEL, tmp_path / name, progress=print)
        assert dump.unlogged_tables == expected


def test_a_standby_has_a_fingerprint_without_the_rows_that_it_does_not_have(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres],
) -> None:
    caught_up(*pair)
    rows = []
    for postgres in pair:
        with of_owner(postgres).connect() as connection:
            connection.execute("SET search_path = ''")
            rows.append(take_fingerprint(over(connection)).tables["public.Work"])
    assert rows == [(1, None), None]


def test_a_recovery_conflict_is_tried_again_and_told_with_its_settings(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres], tmp_path: Path
) -> None:
    primary, standby = pair
    caught_up(primary, standby)
    server, tools = of_owner(standby), find_tools(standby.bin_directory)

    def vacuum(names: list[str]) -> None:
        run(of_owner(primary), "DELETE FROM docs WHERE n % 2 = 0", "VACUUM docs")
        caught_up(primary, standby)

    options = replace(PARALLEL, references_query="SELECT n FROM docs WHERE n < 10")
    with pytest.raises(DatabaseBusy) as caught:
        dump_to_path(server, tools, options, tmp_path / "d", progress=print, references=vacuum)
    assert "conflict with recovery" in str(caught.value)
    assert "hot_standby_feedback" in caught.value.hint
    assert "max_standby_streaming_delay" in caught.value.hint
    assert dump_to_path(server, tools, PARALLEL, tmp_path / "d", progress=print).size > 0


def test_a_restore_aimed_at_a_standby_is_refused_in_these_words(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres], tmp_path: Path
) -> None:
    caught_up(*pair)
    server, tools = of_owner(pair[1]), find_tools(pair[1].bin_directory)
    dump = dump_to_path(server, tools, PARALLEL, tmp_path / "d", progress=print)
    with pytest.raises(DatabaseRefused, match="is a standby") as caught:
        restore_in_transaction(server, tools, dump.path, Selection(), progress=print)
    assert "primary" in caught.value.hint
    with server.connect() as connection, pytest.raises(DatabaseRefused, match="is a standby"):
        require_primary(connection, server)
