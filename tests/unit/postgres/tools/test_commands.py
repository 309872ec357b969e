from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from glacier_provider.errors import ConfigurationError
from glacier_provider.postgres.restore.selection import Selection
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools, Version
from glacier_provider.postgres.tools.options import DumpFormat, PgDumpOptions, PgRestoreOptions

TOOLS = Tools(Path("/opt/pg/bin"), Version(17, 10), "for the test")
OLD = Tools(Path("/opt/pg/bin"), Version(15, 3), "for the test")


def test_a_custom_dump() -> None:
    argv = commands.pg_dump(
        TOOLS, PgDumpOptions(), database="shop", target=Path("/staging/a.dump"), compression="zstd:3", snapshot="0003-1"
    )
    assert argv == (
        "/opt/pg/bin/pg_dump",
        f"--dbname={commands.conninfo('shop')}",
        "--format=custom",
        "--file=/staging/a.dump",
        "--compress=zstd:3",
        "--snapshot=0003-1",
        "--no-password",
        "--lock-wait-timeout=60000",
        "--verbose",
    )


def test_a_directory_dump_with_jobs_and_exclusions_by_identity() -> None:
    options = PgDumpOptions(
        format=DumpFormat.DIRECTORY,
        jobs=4,
        exclude_schemas=("glacier_catalog",),
        exclude_tables=(("public", 'We.ird*"name'),),
        exclude_table_data=(("audit", "log?"),),
        lock_timeout_seconds=0.25,
    )
    argv = commands.pg_dump(TOOLS, options, database="shop", target=Path("/staging/-d"), compression="none")
    assert argv == (
        "/opt/pg/bin/pg_dump",
        f"--dbname={commands.conninfo('shop')}",
        "--format=directory",
        "--file=/staging/-d",
        "--compress=0",
        "--jobs=4",
        "--no-password",
        "--lock-wait-timeout=250",
        "--verbose",
        '--exclude-schema="glacier_catalog"',
        '--exclude-table="public"."We.ird*""name"',
        '--exclude-table-data="audit"."log?"',
    )


@pytest.mark.parametrize(
    ("tools", "compression", "expected"),
    [
        (TOOLS, "gzip", ["--compress=gzip"]),
        (TOOLS, "gzip:9", ["--compress=gzip:9"]),
        (TOOLS, "none", ["--compress=0"]),
        (OLD, "gzip", []),
        (OLD, "gzip:9", ["--compress=9"]),
        (OLD, "none", ["--compress=0"]),
    ],
)
def test_compression_is_asked_for_as_the_client_knows_it(tools: Tools, compression: str, expected: list[str]) -> None:
    argv = commands.pg_dump(tools, PgDumpOptions(), database="shop", target=Path("/d"), compression=compression)
    assert [each for each in argv if each.startswith("--compress")] == expected


def test_reading_commands() -> None:
    dump = Path("-odd name")
    assert commands.pg_restore_read_through(TOOLS, dump) == (
        "/opt/pg/bin/pg_restore",
        "--file=/dev/null",
        "./-odd name",
    )
    assert commands.pg_restore_data(TOOLS, dump) == (
        "/opt/pg/bin/pg_restore",
        "--data-only",
        "--file=-",
        "./-odd name",
    )
    assert commands.pg_restore_list(TOOLS, Path("/d")) == ("/opt/pg/bin/pg_restore", "--list", "/d")


def test_the_rows_of_a_restore() -> None:
    assert commands.pg_restore_rows(TOOLS, dump=Path("/d"), entries=Path("/list")) == (
        "/opt/pg/bin/pg_restore",
        "--data-only",
        "--file=-",
        "--use-list=/list",
        "/d",
    )


def test_no_command_is_told_a_server_and_so_no_password() -> None:
    builders = [each for name, each in inspect.getmembers(commands, inspect.isfunction) if name.startswith("p")]
    assert len(builders) == 7
    assert not any("Server" in str(inspect.signature(each)) for each in builders)


def test_a_list_file_names_each_entry_by_its_id() -> None:
    assert commands.use_list([3, 1, 20]) == "3;\n1;\n20;\n"


@pytest.mark.parametrize(
    "options",
    [
        {"jobs": 2},
        {"jobs": 0},
        {"compression": "brotli"},
        {"lock_timeout_seconds": 0},
        {"space_ratio": -1},
    ],
)
def test_dump_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"^dump\."):
        PgDumpOptions(**options)  # type: ignore[arg-type]


def test_restore_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        PgRestoreOptions(lock_timeout_seconds=0)
    with pytest.raises(ConfigurationError):
        Selection(tables=frozenset())


def test_a_selection_takes_any_collection() -> None:
    chosen = Selection(exclude_schemas=["a", "a"], exclude_tables=[("s", "t")], tables=(("s", "u"),))
    assert chosen == Selection(frozenset({"a"}), frozenset({("s", "t")}), frozenset({("s", "u")}))
