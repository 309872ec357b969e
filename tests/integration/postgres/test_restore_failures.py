"""A restore that cannot succeed changes nothing, and says why."""

from __future__ import annotations

import json
import os
import re
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
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnreachable,
    DumpInvalid,
    GlacierProviderError,
    MissingExtensions,
    MissingRoles,
    RestoreFailed,
    SelectionConflict,
    ToolKilled,
    ToolMissing,
    ToolTooOld,
    UnsupportedDump,
)
from glacier_provider.postgres import (
    DumpFormat,
    PgDumpOptions,
    PgRestoreOptions,
    Selection,
    Server,
    Tools,
    dump_to_path,
    find_tools,
    plan_database_restore,
    restore_in_transaction,
    terminate_tools,
)
from tests.integration.postgres.conftest import SampleServer
from tests.integration.postgres.test_what_stays import SUPERUSER, Library
from tests.integration.postgres.test_what_stays import ends as ends
from tests.support.postgres import EmbeddedPostgres

CATALOG = """
    CREATE SCHEMA glacier_catalog;
    CREATE TABLE glacier_catalog.glacier_archives (id integer PRIMARY KEY, mood text);
    INSERT INTO glacier_catalog.glacier_archives VALUES (1, 'ok');
"""
WITHOUT_CATALOG = Selection(exclude_schemas=frozenset({"glacier_catalog"}))
SLOW = """
    CREATE FUNCTION public.slow(n integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$
    BEGIN
      IF current_setting('test.slow', true) = 'on' THEN PERFORM pg_sleep(10); END IF;
      RETURN n;
    END $$;
    CREATE TABLE public.slow_one AS SELECT 1 AS n;
    CREATE INDEX ON public.slow_one (public.slow(n));
"""


@pytest.fixture(scope="module")
def dump(sample: SampleServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump of the sample application."""
    path = tmp_path_factory.mktemp("dump") / "sample.dump"
    return dump_to_path(sample.new(), sample.tools, PgDumpOptions(), path, progress=print).path


def dumped(sample: SampleServer, server: Server, path: Path, **options: object) -> Path:
    return dump_to_path(server, sample.tools, PgDumpOptions(**options), path, progress=print).path  # type: ignore[arg-type]


def refuses(
    error: type[GlacierProviderError],
    sample: SampleServer,
    server: Server,
    dump: Path,
    selection: Selection = WITHOUT_CATALOG,
    *,
    tools: Tools | None = None,
    options: PgRestoreOptions | None = None,
) -> str:
    """Restore, expect `error` and an unchanged database; return the error's text."""
    before = sample.everything(server)
    with pytest.raises(error) as caught:
        restore_in_transaction(server, tools or sample.tools, dump, selection, options, progress=print)
    assert sample.everything(server) == before
    assert str(server.password) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("statement", "stays", "goes"),
    [
        ("CREATE VIEW glacier_catalog.v AS SELECT id FROM orders", "view glacier_catalog.v", "table public.orders"),
    ],
)  # fmt: skip
def test_what_the_catalog_needs_of_the_application_is_found_first(
    sample: SampleServer, dump: Path, statement: str, stays: str, goes: str
) -> None:
    server = sample.new(CATALOG, statement)
    text = refuses(SelectionConflict, sample, server, dump)
    assert stays in text
    assert goes in text


def test_what_else_needs_a_chosen_table_is_found_first(sample: SampleServer, dump: Path) -> None:
    chosen = Selection(tables=frozenset({("public", "customers"), ("public", "orders")}))
    text = refuses(SelectionConflict, sample, sample.new(), dump, chosen)
    assert "view public.happy depends on table public.customers" in text
    assert "materialized view public.order_counts depends on table public.orders" in text


def test_a_table_that_the_dump_does_not_hold_is_named_with_its_neighbours(sample: SampleServer, dump: Path) -> None:
    chosen = Selection(tables=frozenset({("public", "custommers")}))
    text = refuses(SelectionConflict, sample, sample.new(), dump, chosen)
    assert '"public.custommers"' in text
    assert '"public.customers"' in text


def test_a_type_that_a_chosen_table_needs_and_nobody_has_is_found_first(sample: SampleServer, dump: Path) -> None:
    server = sample.new("DROP TYPE mood CASCADE")
    chosen = Selection(tables=frozenset({("public", "customers"), ("public", "orders"), ("public", "happy")}))
    assert "needs TYPE public.mood" in refuses(SelectionConflict, sample, server, dump, chosen)


def test_missing_roles_are_named(sample: SampleServer, elsewhere: EmbeddedPostgres, dump: Path) -> None:
    text = refuses(MissingRoles, sample, elsewhere.create_database("missing_roles"), dump)
    assert '"SCHEMA"' in text
    assert '"sample_owner"' in text


def test_a_missing_extension_is_named(sample: SampleServer, newer: SampleServer, tmp_path: Path) -> None:
    plain = dumped(sample, sample.new(), tmp_path / "plain", compression="gzip")
    assert '"citext", "hstore", "pg_trgm"' in refuses(MissingExtensions, newer, newer.new(), plain)


def test_tools_that_cannot_read_the_dump_or_know_the_server_are_refused(
    sample: SampleServer, newer: SampleServer, dump: Path
) -> None:
    assert "18." in refuses(ToolTooOld, newer, newer.new(), dump, tools=sample.tools)
    assert "zstd" in refuses(ToolMissing, newer, newer.new(), dump)


def test_a_server_older_than_the_dump_is_refused(sample: SampleServer, older: SampleServer, dump: Path) -> None:
    assert "older 16." in refuses(RestoreFailed, older, older.new(), dump, tools=sample.tools)


def test_a_user_who_may_not_give_objects_away_is_refused(sample: SampleServer, dump: Path) -> None:
    sample.postgres.create_role("mere", password="Mere-Secret")
    database = sample.new()
    server = sample.postgres.server(database.dbname, user="mere", password="Mere-Secret")
    with pytest.raises(DatabaseRefused, match="can replace nothing that the dump holds"):
        restore_in_transaction(server, sample.tools, dump, Selection(), progress=print)


def test_a_lock_that_the_application_holds_stops_the_restore_and_names_the_session(
    sample: SampleServer, dump: Path
) -> None:
    server = sample.new(CATALOG)
    with server.connect() as application:
        application.execute("SET application_name = 'web worker 7'")
        application.execute("SELECT count(*) FROM public.orders")
        text = refuses(DatabaseBusy, sample, server, dump, options=PgRestoreOptions(lock_timeout_seconds=0.2))
    assert "web worker 7" in text
    assert "process" in text
    assert "glacier_provider" not in text  # the restore itself holds nothing any more
    assert "as it was" in text


def test_a_session_of_another_role_is_named_to_an_owner_who_may_not_look_at_it(ends: Library) -> None:
    ends.run("CREATE TABLE docs (id int)", "GRANT SELECT ON docs TO PUBLIC")
    dump = ends.dump()
    web = ends.another_role()
    ends.run(f"ALTER ROLE {web} LOGIN PASSWORD 'web'", by=SUPERUSER)
    with replace(ends.owner, user=web, password="web").connect() as application:
        application.execute("SET application_name = 'web worker 8'")
        application.execute("SELECT count(*) FROM public.docs")
        with pytest.raises(DatabaseBusy, match=f"web worker 8, user {web}"):
            ends.restore(dump, options=PgRestoreOptions(lock_timeout_seconds=0.2))


def test_an_event_trigger_that_stays_and_refuses_is_named_with_what_helps(ends: Library) -> None:
    refusing = "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''frozen''; END'"
    ends.run("CREATE TABLE docs (id int)")
    ends.run(refusing.replace("RAISE", "RAISE EXCEPTION"), by=SUPERUSER)
    name = f'"Frozen {ends.role}"'
    tags = "WHEN TAG IN ('DROP TABLE')"
    ends.run(f"CREATE EVENT TRIGGER {name} ON ddl_command_start {tags} EXECUTE FUNCTION refuse()", by=SUPERUSER)
    dump = ends.dump()
    with pytest.raises(RestoreFailed, match="frozen") as refused:
        ends.restore(dump)
    ends.run(refused.value.hint.partition("meanwhile: ")[2].removesuffix("."), by=SUPERUSER)
    ends.restore(dump)


def test_an_extension_that_moved_to_another_schema_is_named_with_what_helps(
    sample: SampleServer, tmp_path: Path
) -> None:
    server = sample.new(
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE TABLE t (c ext.citext)", empty=True
    )
    path = dumped(sample, server, tmp_path / "dump")
    sample.run(server, "ALTER EXTENSION citext SET SCHEMA public")
    told = refuses(RestoreFailed, sample, server, path)
    found = re.search(r"ALTER EXTENSION .* SET SCHEMA [^,]*", told)
    assert found is not None
    sample.run(server, found[0])
    restore_in_transaction(server, sample.tools, path, WITHOUT_CATALOG, progress=print)


@pytest.mark.parametrize("form", list(DumpFormat))
def test_a_dump_cut_after_its_contents_rolls_back(form: DumpFormat, sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new(CATALOG)
    path = dumped(sample, server, tmp_path / "dump", format=form)
    data = path if path.is_file() else max(path.glob("[0-9]*"), key=lambda each: each.stat().st_size)
    os.truncate(data, data.stat().st_size * 6 // 10)
    assert "as it was" in refuses(RestoreFailed, sample, server, path)


def test_a_damaged_byte_in_the_data_rolls_back(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new(CATALOG)
    path = dumped(sample, server, tmp_path / "dump", compression="gzip")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xaa" * 40
    path.write_bytes(content)
    refuses(RestoreFailed, sample, server, path)


def test_a_pg_restore_that_fails_after_the_last_row_rolls_back(
    sample: SampleServer, dump: Path, tmp_path: Path
) -> None:
    """A stand-in client: the real pg_restore, which brings every row and ends with an error all the same."""
    for name in ("pg_dump", "psql"):
        (tmp_path / name).symlink_to(sample.tools.path(name))
    (tmp_path / "pg_restore").write_text(
        f'#!/bin/sh\n"{sample.tools.path("pg_restore")}" "$@" || exit 1\n'
        'case "$*" in *--use-list=*) echo "pg_restore: error: the end is missing" >&2; exit 1;; esac\n'
    )
    (tmp_path / "pg_restore").chmod(0o755)
    text = refuses(RestoreFailed, sample, sample.new(CATALOG), dump, tools=find_tools(tmp_path))
    assert "the end is missing" in text


def test_an_empty_file_and_an_unknown_archive_version_are_refused(
    sample: SampleServer, dump: Path, tmp_path: Path
) -> None:
    server = sample.new()
    (tmp_path / "empty").touch()
    (tmp_path / "future").write_bytes(b"PGDMP\x01\x20" + dump.read_bytes()[7:])
    refuses(DumpInvalid, sample, server, tmp_path / "empty")
    refuses(DumpInvalid, sample, server, tmp_path / "missing")
    assert "1.32" in refuses(UnsupportedDump, sample, server, tmp_path / "future")


def test_a_row_that_does_not_fit_rolls_everything_back(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new("CREATE TABLE last_of_all AS SELECT 987654321 AS n")
    path = dumped(sample, server, tmp_path / "dump", compression="none")
    path.write_bytes(path.read_bytes().replace(b"987654321", b"98765x321"))
    text = refuses(RestoreFailed, sample, server, path)
    assert 'invalid input syntax for type integer: "98765x321"' in text
    assert "22P02" in text


def test_a_deferred_constraint_that_fails_at_the_commit_rolls_back(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    path = dumped(sample, server, tmp_path / "dump")
    # the event trigger of the dump is restored last; this one stays, being of an extension, and refuses every commit
    sample.run(
        server,
        """
        CREATE TABLE tools.gate (n integer);
        CREATE FUNCTION tools.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not today''; END';
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON tools.gate DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION tools.refuse();
        CREATE FUNCTION tools.knock() RETURNS event_trigger LANGUAGE plpgsql
          AS 'BEGIN INSERT INTO tools.gate VALUES (1); END';
        ALTER EXTENSION hstore ADD TABLE tools.gate;
        ALTER EXTENSION hstore ADD FUNCTION tools.refuse();
        ALTER EXTENSION hstore ADD FUNCTION tools.knock();
        CREATE EVENT TRIGGER knock ON ddl_command_end WHEN TAG IN ('CREATE AGGREGATE') EXECUTE FUNCTION tools.knock();
        ALTER EXTENSION hstore ADD EVENT TRIGGER knock;
        """,
    )
    text = refuses(RestoreFailed, sample, server, path)
    assert "not today" in text
    assert "as it was" in text


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def sleeping(sample: SampleServer, server: Server) -> bool:
    """Tell whether the restore of `SLOW` is at its slow index."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
    return bool(sample.postgres.execute(query, parameters=[server.dbname])[0][0])


def slow_target(sample: SampleServer, tmp_path: Path) -> tuple[Server, Path]:
    server = sample.new(CATALOG, SLOW)
    path = dumped(sample, server, tmp_path / "dump")
    sample.run(server, f"ALTER DATABASE {server.dbname} SET test.slow = 'on'")
    return server, path


def test_tools_ended_from_outside_leave_the_database_as_it_was(sample: SampleServer, tmp_path: Path) -> None:
    server, path = slow_target(sample, tmp_path)
    killer = threading.Thread(target=lambda: (wait_until(lambda: sleeping(sample, server)), terminate_tools()))
    killer.start()
    assert "as it was" in refuses(ToolKilled, sample, server, path)
    killer.join()
    assert not sleeping(sample, server)  # its server process was ended too: no lock is left behind


def test_a_server_process_that_is_ended_leaves_the_database_as_it_was(sample: SampleServer, tmp_path: Path) -> None:
    server, path = slow_target(sample, tmp_path)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"

    def kill() -> None:
        wait_until(lambda: sleeping(sample, server))
        sample.postgres.execute(end, parameters=[server.dbname])

    killer = threading.Thread(target=kill)
    killer.start()
    assert "as it was" in refuses(DatabaseUnreachable, sample, server, path)
    killer.join()


def test_a_killed_worker_leaves_the_database_as_it_was_and_no_session(sample: SampleServer, tmp_path: Path) -> None:
    server, path = slow_target(sample, tmp_path)
    before = sample.everything(server)
    program = textwrap.dedent(
        """
        import json, sys
        from pathlib import Path
        from glacier_provider.postgres import *
        server, tools, dump = Server(*json.loads(sys.argv[1])), find_tools(sys.argv[2]), Path(sys.argv[3])
        restore_in_transaction(server, tools, dump, Selection(frozenset({"glacier_catalog"})), progress=print)
        """
    )
    place = json.dumps([server.host, server.port, server.user, server.password, server.dbname])
    worker = subprocess.Popen([sys.executable, "-c", program, place, str(sample.tools.directory), str(path)])
    wait_until(lambda: sleeping(sample, server))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not sleeping(sample, server))
    assert sample.everything(server) == before


def test_a_plan_changes_nothing_and_says_what_stays(sample: SampleServer, dump: Path) -> None:
    server = sample.new(CATALOG)
    before = sample.everything(server)
    chosen = Selection(exclude_tables=frozenset({("public", "extras")}))
    plan = plan_database_restore(server, sample.tools, dump, chosen, PgRestoreOptions())
    assert sample.everything(server) == before
    reasons = {str(each.entry): each.reason for each in plan.removed}
    assert reasons["TABLE public.extras"] == "of the excluded table public.extras"
    assert reasons["INDEX public.extras_trgm"] == "belongs to TABLE public.extras"
    assert reasons["EXTENSION hstore"] == "the extension is there and stays"
    assert ("public", "customers") in plan.relations


def test_the_password_is_in_no_argument_and_no_log_line(sample: SampleServer, tmp_path: Path) -> None:
    server, lines, arguments = sample.new(SLOW), [], []
    path = dumped(sample, server, tmp_path / "dump")
    sample.run(server, f"ALTER DATABASE {server.dbname} SET test.slow = 'on'")

    def look() -> None:
        wait_until(lambda: sleeping(sample, server))
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments.append((process / "cmdline").read_bytes())
            except OSError:  # it has ended meanwhile
                continue
        terminate_tools()

    looker = threading.Thread(target=look)
    looker.start()
    with pytest.raises(ToolKilled) as caught:
        restore_in_transaction(server, sample.tools, path, Selection(), progress=lines.append)
    looker.join()
    assert any(b"pytest" in each for each in arguments)  # they could be read
    assert not any(str(server.password).encode() in each for each in arguments)
    assert str(server.password) not in "\n".join([*lines, str(caught.value), repr(server)])
