"""A dump that is not whole never counts, whatever broke it; the error says what a person would want to read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnreachable,
    DirectoryUnusable,
    DumpInvalid,
    GlacierProviderError,
    OutOfSpace,
    ToolKilled,
    ToolMissing,
    ToolTooOld,
)
from glacier_provider.postgres import (
    DumpFormat,
    PgDumpOptions,
    Server,
    Tools,
    dump_to_path,
    find_tools,
    terminate_tools,
)
from glacier_provider.postgres.dump.disk import read_through, table_of_contents
from tests.integration.postgres.conftest import OLDER, SampleServer
from tests.support.durable import listen_to_fsync
from tests.support.postgres import EmbeddedPostgres

NOTHING = PgDumpOptions()


def fails(error: type[GlacierProviderError], server: Server, tools: Tools, target: Path, **options: object) -> str:
    """Dump, expect `error`, and expect that nothing is left; return the error's text."""
    with pytest.raises(error) as caught:
        dump_to_path(server, tools, PgDumpOptions(**options), target, progress=print)  # type: ignore[arg-type]
    assert not target.parent.is_dir() or list(target.parent.iterdir()) == []
    assert server.password is None or server.password not in str(caught.value)
    return str(caught.value)


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_wrong_password_is_refused(sample: SampleServer, tmp_path: Path) -> None:
    text = fails(DatabaseRefused, replace(sample.new(), password="Wrong-Secret"), sample.tools, tmp_path / "d")
    assert "password authentication failed" in text


def test_an_unknown_database_is_refused(sample: SampleServer, tmp_path: Path) -> None:
    text = fails(DatabaseRefused, sample.postgres.server("no such database"), sample.tools, tmp_path / "d")
    assert '"no such database" does not exist' in text


def test_a_server_that_does_not_run_is_unreachable(tmp_path: Path, sample: SampleServer) -> None:
    server = replace(sample.postgres.server(), port=1)
    assert "Connection refused" in fails(DatabaseUnreachable, server, sample.tools, tmp_path / "d")


def test_missing_tools_are_named(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="pg_dump and pg_restore"):
        find_tools(tmp_path)


def test_a_client_older_than_the_server_is_refused_before_it_starts(
    sample: SampleServer, tools_of: Callable[[str], Tools], tmp_path: Path
) -> None:
    text = fails(ToolTooOld, sample.new(), tools_of(OLDER), tmp_path / "d")
    assert "server is PostgreSQL 17." in text
    assert "are 16." in text


def test_a_missing_staging_directory_is_named(sample: SampleServer, tmp_path: Path) -> None:
    assert "missing" in fails(DirectoryUnusable, sample.new(), sample.tools, tmp_path / "missing" / "d")


def test_a_disk_too_small_is_noticed_before_the_dump(sample: SampleServer, tmp_path: Path) -> None:
    text = fails(OutOfSpace, sample.new(), sample.tools, tmp_path / "d", space_ratio=1e9)
    assert "needs about" in text
    assert "free" in text


def test_a_table_that_may_not_be_read_fails_the_dump(sample: SampleServer, tmp_path: Path) -> None:
    sample.postgres.create_role("reader", password="Reader-Secret")
    server = replace(sample.new(), user="reader", password="Reader-Secret")
    assert "permission denied" in fails(DatabaseRefused, server, sample.tools, tmp_path / "d")


def test_a_table_whose_policies_bind_its_owner_says_so_and_what_helps(sample: SampleServer, tmp_path: Path) -> None:
    sample.postgres.create_role("bound", password="Bound-Secret", attributes="CREATEDB")
    sample.postgres.create_database("bound", owner="bound")
    server = sample.postgres.server("bound", user="bound", password="Bound-Secret")
    with server.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE hidden AS SELECT 1 AS n")
        connection.execute("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    text = fails(DatabaseRefused, server, sample.tools, tmp_path / "d")
    assert '"hidden"' in text
    for way in ("BYPASSRLS", "NO FORCE ROW LEVEL SECURITY", "dump.exclude_table_data"):
        assert way in text
    left_out = PgDumpOptions(exclude_table_data=(("public", "hidden"),))
    assert dump_to_path(server, sample.tools, left_out, tmp_path / "e", progress=print).size > 0
    with server.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE hidden NO FORCE ROW LEVEL SECURITY")
    assert dump_to_path(server, sample.tools, PgDumpOptions(), tmp_path / "f", progress=print).size > 0


def test_rows_of_partitions_that_are_dumped_all_the_same_are_told(sample: SampleServer, tmp_path: Path) -> None:
    """pg_dump leaves out the rows of the table that is named, which a partitioned one does not have."""
    server = sample.new(
        "CREATE TABLE days (d int) PARTITION BY LIST (d); CREATE TABLE day1 PARTITION OF days FOR VALUES IN (1);"
        'CREATE TABLE "Day 2" PARTITION OF days FOR VALUES IN (2); CREATE TABLE plain (n int)',
        empty=True,
    )
    left_out = (("public", "days"), ("public", "day1"), ("public", "plain"), ("public", "gone"))
    options = PgDumpOptions(exclude_table_data=left_out)
    told = dump_to_path(server, sample.tools, options, tmp_path / "dump", progress=print).warnings
    assert ["public.Day 2" in one and "day1" not in one for one in told] == [True]
    options = PgDumpOptions(exclude_table_data=(*left_out, ("public", "Day 2")))
    assert dump_to_path(server, sample.tools, options, tmp_path / "dump", progress=print).warnings == ()


def test_a_large_object_that_may_not_be_read_says_what_to_grant(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new("SELECT lo_create(4711)", empty=True)
    sample.postgres.execute("DROP ROLE IF EXISTS reader_of_none; CREATE ROLE reader_of_none LOGIN PASSWORD 'none'")
    reader = replace(server, user="reader_of_none", password="none")
    with pytest.raises(DatabaseRefused) as caught:
        dump_to_path(reader, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    assert "GRANT SELECT ON LARGE OBJECT 4711" in str(caught.value.hint)


def test_a_lock_that_is_not_freed_in_time_fails_the_dump(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    with server.connect() as other:
        other.execute("LOCK TABLE public.events IN ACCESS EXCLUSIVE MODE")
        text = fails(DatabaseBusy, server, sample.tools, tmp_path / "d", lock_timeout_seconds=0.2)
    assert "was locked" in text


def test_a_table_dropped_during_the_dump_fails_it_and_the_next_dump_succeeds(
    sample: SampleServer, tmp_path: Path
) -> None:
    server = sample.new()
    options = PgDumpOptions(references_query="SELECT name FROM public.customers")

    def drop(names: list[str]) -> None:
        sample.run(server, "DROP TABLE IF EXISTS public.legacy_glacier_archives_report")

    with pytest.raises(DatabaseBusy, match="legacy_glacier_archives_report"):
        dump_to_path(server, sample.tools, options, tmp_path / "d", progress=print, references=drop)
    assert list(tmp_path.iterdir()) == []
    assert dump_to_path(server, sample.tools, options, tmp_path / "d", progress=print, references=drop).size > 0


def test_references_are_read_in_the_snapshot_of_the_dump(sample: SampleServer, tmp_path: Path) -> None:
    server, names = sample.new(), []
    before = sample.everything(server)
    options = PgDumpOptions(references_query="SELECT NULL UNION ALL SELECT name FROM public.customers, pg_sleep(0)")

    def note(batch: list[str]) -> None:
        sample.run(
            server, "DELETE FROM public.events; INSERT INTO public.customers (id, name) VALUES (999, 'too late')"
        )
        names.extend(batch)

    dump = dump_to_path(server, sample.tools, options, tmp_path / "d", progress=print, references=note)

    assert sorted(names) == sorted(f"Customer {n}" for n in range(1, 301))
    assert dump.references == 300
    restored = sample.new(empty=True)
    subprocess.run(
        [sample.tools.path("pg_restore"), "--dbname", restored.dbname, str(dump.path)],
        env={**os.environ, **restored.environment()},
        check=True,
    )
    assert sample.everything(restored) == before


def test_a_references_query_that_fails_is_a_configuration_error(sample: SampleServer, tmp_path: Path) -> None:
    options = PgDumpOptions(references_query="SELECT nothing FROM nowhere")
    with pytest.raises(ConfigurationError, match=r"references_query fails.*nowhere"):
        dump_to_path(sample.new(), sample.tools, options, tmp_path / "d", progress=print, references=print)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name FROM public.customers; DELETE FROM public.events",
        "SELECT name FROM public.customers; COMMIT; DELETE FROM public.events; BEGIN",
        "SELECT name FROM public.customers;; SELECT 1",
        "SELECT name FROM public.customers -- all\n; COMMIT",
        "DELETE FROM public.events RETURNING name",
        "WITH gone AS (DELETE FROM public.events RETURNING 1) SELECT name FROM public.customers",
        "COMMIT",
    ],
)
def test_a_references_query_is_one_query_that_changes_nothing(sample: SampleServer, tmp_path: Path, query: str) -> None:
    server = sample.new()
    before, names = sample.everything(server), []
    options = PgDumpOptions(references_query=query)
    with pytest.raises(ConfigurationError, match="references_query fails: "):
        dump_to_path(server, sample.tools, options, tmp_path / "d", progress=print, references=names.extend)
    assert (sample.everything(server), names, list(tmp_path.iterdir())) == (before, [], [])


def test_a_references_query_may_end_as_sql_ends(sample: SampleServer, tmp_path: Path) -> None:
    names: list[str] = []
    options = PgDumpOptions(references_query="SELECT name FROM public.customers;  -- all of them\n")
    dump_to_path(sample.new(), sample.tools, options, tmp_path / "d", progress=print, references=names.extend)
    assert len(names) == 300


def test_a_killed_pg_dump_leaves_nothing(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    with server.connect() as other:
        other.execute("LOCK TABLE public.events IN ACCESS EXCLUSIVE MODE")
        killer = threading.Thread(target=lambda: (wait_until(lambda: waiting(sample, server)), terminate_tools()))
        killer.start()
        text = fails(ToolKilled, server, sample.tools, tmp_path / "d")
        killer.join()
    assert "terminated by user" in text


def test_pg_dump_ends_when_its_worker_is_killed(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    program = textwrap.dedent(
        """
        import json, sys
        from pathlib import Path
        from glacier_provider.postgres import *
        server, tools, target = Server(*json.loads(sys.argv[1])), find_tools(sys.argv[2]), Path(sys.argv[3])
        dump_to_path(server, tools, PgDumpOptions(), target, progress=print)
        """
    )
    import json

    place = json.dumps([server.host, server.port, server.user, server.password, server.dbname])
    with server.connect() as other:
        other.execute("LOCK TABLE public.events IN ACCESS EXCLUSIVE MODE")
        argv = [sys.executable, "-c", program, place, str(sample.tools.directory), str(tmp_path / "d")]
        worker = subprocess.Popen(argv)
        wait_until(lambda: waiting(sample, server))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        wait_until(lambda: not waiting(sample, server))
    assert dump_to_path(server, sample.tools, NOTHING, tmp_path / "d", progress=print).size > 0
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def waiting(sample: SampleServer, server: Server) -> bool:
    """Tell whether a pg_dump waits for a lock in this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query ~ '^LOCK' AND wait_event_type = 'Lock'"
    return bool(sample.postgres.execute(query, parameters=[server.dbname])[0][0])


def test_a_server_that_stops_during_the_dump_fails_it(private_server: EmbeddedPostgres, tmp_path: Path) -> None:
    server = private_server.create_database("shop")
    private_server.execute("CREATE TABLE t AS SELECT 1 AS n", "shop")
    target = tmp_path / "staging" / "d"
    target.parent.mkdir()

    def stop(names: list[str]) -> None:
        private_server.stop()

    options = PgDumpOptions(references_query="SELECT n FROM t")
    with pytest.raises(DatabaseUnreachable):
        dump_to_path(server, find_tools(private_server.bin_directory), options, target, progress=print, references=stop)
    assert list(target.parent.iterdir()) == []
    private_server.start()
    assert private_server.execute("SELECT n FROM t", "shop") == [(1,)]


def test_an_earlier_attempt_is_replaced(sample: SampleServer, tmp_path: Path) -> None:
    (tmp_path / "d.partial").mkdir()
    (tmp_path / "d.partial" / "toc.dat").write_text("left over")
    (tmp_path / "d").write_text("left over")
    dump_to_path(sample.new(), sample.tools, NOTHING, tmp_path / "d", progress=print)
    assert (tmp_path / "d").read_bytes()[:5] == b"PGDMP"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_the_name_of_a_dump_is_on_the_disk_when_it_is_told(
    sample: SampleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = listen_to_fsync(monkeypatch, tmp_path / "d")
    dump_to_path(sample.new(empty=True), sample.tools, NOTHING, tmp_path / "d", progress=print)
    assert (tmp_path, (True,)) in synced


@pytest.fixture(scope="module")
def dumps(sample: SampleServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[DumpFormat, str], Path]:
    directory, server = tmp_path_factory.mktemp("dumps"), sample.new()

    def made(form: DumpFormat, compression: str) -> Path:
        options = PgDumpOptions(format=form, compression=compression)
        return dump_to_path(server, sample.tools, options, directory / f"{form}-{compression}", progress=print).path

    return made


@pytest.mark.parametrize("compression", ["zstd:3", "lz4", "gzip", "none"])
def test_a_cut_file_cannot_be_read_through(
    compression: str, sample: SampleServer, dumps: Callable[[DumpFormat, str], Path]
) -> None:
    dump = dumps(DumpFormat.CUSTOM, compression)
    toc = table_of_contents(dump)
    os.truncate(dump, dump.stat().st_size * 7 // 10)
    with pytest.raises(DumpInvalid, match="cannot be read through"):
        read_through(sample.tools, dump, toc, print)


@pytest.mark.parametrize("compression", ["zstd:3", "lz4", "gzip", "none"])
def test_a_directory_with_a_cut_file_cannot_be_read_through(
    compression: str, sample: SampleServer, dumps: Callable[[DumpFormat, str], Path]
) -> None:
    dump = dumps(DumpFormat.DIRECTORY, compression)
    toc = table_of_contents(dump)
    largest = max((path for path in dump.iterdir() if path.name[0].isdigit()), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size * 7 // 10)
    with pytest.raises(DumpInvalid):
        read_through(sample.tools, dump, toc, print)


def test_a_directory_without_one_file_cannot_be_read_through(
    sample: SampleServer, dumps: Callable[[DumpFormat, str], Path]
) -> None:
    dump = dumps(DumpFormat.DIRECTORY, "zstd:3")
    next(path for path in dump.iterdir() if path.name[0].isdigit()).unlink()
    with pytest.raises(DumpInvalid):
        read_through(sample.tools, dump, table_of_contents(dump), print)


@pytest.mark.parametrize("part", [0, 3, 200])
def test_a_file_cut_within_its_contents_is_no_dump(
    part: int, dumps: Callable[[DumpFormat, str], Path], tmp_path: Path
) -> None:
    whole = dumps(DumpFormat.CUSTOM, "gzip").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:part])
    with pytest.raises(DumpInvalid):
        table_of_contents(tmp_path / "cut")


def test_a_pg_dump_that_writes_half_and_says_nothing_is_found_out(sample: SampleServer, tmp_path: Path) -> None:
    """A stand-in client: the real pg_dump, whose file is cut afterwards, and exit status 0."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("pg_restore", "psql"):
        (tools / name).symlink_to(sample.tools.path(name))
    (tools / "pg_dump").write_text(
        f'#!/bin/sh\n"{sample.tools.path("pg_dump")}" "$@" || exit 1\n'
        'for each in "$@"; do case "$each" in --file=*) truncate -s 60000 "${each#--file=}";; esac; done\n'
    )
    (tools / "pg_dump").chmod(0o755)
    staging = tmp_path / "staging"
    staging.mkdir()
    text = fails(DumpInvalid, sample.new(), find_tools(tools), staging / "d")
    assert "cannot be read through" in text
    shutil.rmtree(tools)
