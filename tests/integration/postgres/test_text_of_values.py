"""What a session may be told of how values become text changes neither hashes of rows, nor what a dump brings back."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from glacier_provider.core.checks import RESTORE_CHECKS
from glacier_provider.postgres import (
    DumpFormat,
    PgDumpOptions,
    PgRestoreOptions,
    Selection,
    Server,
    dump_to_path,
    find_tools,
    restore_by_swap,
    restore_in_transaction,
)
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from glacier_provider.postgres.checks.restored import DatabaseChecks, check_restored
from tests.support.postgres import EmbeddedPostgres

#: Every setting that says how a value becomes text, and one that says it otherwise than a session of ours.
TEXT = {
    "array_nulls": "off",
    "bytea_output": "escape",
    "DateStyle": "'SQL, DMY'",
    "extra_float_digits": "-15",
    "IntervalStyle": "iso_8601",
    "lc_messages": "'de_DE.UTF-8'",
    "lc_monetary": "'de_DE.UTF-8'",
    "lc_numeric": "'de_DE.UTF-8'",
    "lc_time": "'de_DE.UTF-8'",
    "quote_all_identifiers": "on",
    "search_path": "other",
    "TimeZone": "'Asia/Kolkata'",
    "xmlbinary": "hex",
    "xmloption": "document",
}
VALUES = """
CREATE SCHEMA other; CREATE TABLE other.kept (id int);
CREATE DOMAIN price AS money;
CREATE TABLE kept (id serial PRIMARY KEY, at timestamptz, day date, took interval, raw bytea, part float8, few float4,
  cost money, costs money[], own price DEFAULT 7::money, doc xml, sum numeric, class regclass, words text[]);
INSERT INTO kept (at, day, took, raw, part, few, cost, costs, own, doc, sum, class, words) VALUES
  ('2026-02-03 04:05:06.789+00', '2026-02-03', '1 year 2 days 3:04:05', '\\x00ff', 0.1::float8 + 0.2, 1.0::float4 / 3,
   1234567.89::numeric::money, ARRAY[0.5::numeric::money, NULL], 3.5::numeric::money, '<a>1</a>', 12345.678,
   'other.kept', ARRAY['a', NULL])
"""
CONTENT = "SELECT cost::numeric, costs[1]::numeric, own::numeric, at, took, raw, part, few FROM public.kept"


@pytest.fixture(scope="module")
def german() -> Iterator[EmbeddedPostgres]:
    """A server that knows a locale in which money is written otherwise."""
    locales = Path(tempfile.mkdtemp(prefix="locales-"))
    locales.chmod(0o755)
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", str(locales / "de_DE.UTF-8")], capture_output=True, check=False
    )
    if not made or made.returncode:
        shutil.rmtree(locales)
        pytest.skip("localedef, or what it makes locales of, is not there")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(locales))
        with EmbeddedPostgres() as server:
            yield server
    shutil.rmtree(locales)


def with_values(german: EmbeddedPostgres, name: str) -> Server:
    server = german.create_database(name)
    german.execute(VALUES, name)
    return server


def hashed(server: Server) -> str | None:
    with server.connect() as connection:
        connection.execute("SET LOCAL search_path = ''")
        found = take_fingerprint(over(connection), hashes=True).tables["public.kept"]
    assert found is not None
    return found[1]


def test_the_hash_of_rows_is_the_same_however_a_session_writes_values(german: EmbeddedPostgres) -> None:
    server = with_values(german, "hashed")
    plain = hashed(server)
    for name, value in TEXT.items():
        german.execute(f"ALTER DATABASE hashed SET {name} TO {value}")
        assert hashed(server) == plain, name
    ((written,),) = german.execute("RESET lc_monetary; SELECT 5::money::text", "hashed")
    assert written.startswith("5,00"), "and it is written otherwise"


@pytest.mark.parametrize("how", ["in place", "by swap"])
@pytest.mark.parametrize("form", [DumpFormat.DIRECTORY, DumpFormat.CUSTOM])
def test_values_come_back_where_they_are_written_otherwise(
    german: EmbeddedPostgres, how: str, form: DumpFormat, tmp_path: Path
) -> None:
    """Dumped where money is German, restored where it is not, and the other way round."""
    for there, then in (("'de_DE.UTF-8'", "'C'"), ("'C'", "'de_DE.UTF-8'")):
        name = f"back_{how[:2]}_{form}_{there[1]}".lower()
        server = with_values(german, name)
        german.execute(f"ALTER DATABASE {name} SET lc_monetary TO {there}")
        tools = find_tools(german.bin_directory)
        with server.connect() as connection:
            before = connection.execute(CONTENT).fetchall()
            known = take_fingerprint(over(connection), hashes=True)
        dump = dump_to_path(server, tools, PgDumpOptions(format=form), tmp_path / name, progress=print)
        german.execute(f"ALTER DATABASE {name} SET lc_monetary TO {then}")
        german.execute("DELETE FROM kept", name)
        if how == "by swap":
            restore_by_swap(server, tools, dump.path, PgRestoreOptions(), mark=name, jobs=2, progress=print)
        else:
            restore_in_transaction(server, tools, dump.path, Selection(), progress=print)
        with server.connect() as connection:
            assert connection.execute(CONTENT).fetchall() == before
        results = check_restored(server, DatabaseChecks(known, checks=RESTORE_CHECKS))
        assert [str(one) for one in results if not one.passed and one.name != "schema"] == []
