"""Finding and running client tools, with stand-in programs that are real processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glacier_provider.errors import ConfigurationError, ToolMissing, ToolTooOld
from glacier_provider.postgres.tools import run
from glacier_provider.postgres.tools.find import (
    NAMES,
    Version,
    check_client_version,
    choose_compression,
    compressions,
    find_tools,
)
from glacier_provider.postgres.tools.server import Server


def installed(directory: Path, version: str, *, names: tuple[str, ...] = NAMES, methods: str = "") -> Path:
    """Make stand-in tools that tell a version and offer compression methods, as pg_dump does without a server."""
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{name} (PostgreSQL) {version}"; exit; fi\n'
            f'for m in {methods or "none-at-all"}; do for a in "$@"; do\n'
            'if [ "$a" = "--compress=$m" ]; then echo "pg_dump: error: connection to server failed" >&2; exit 1; fi\n'
            "done; done\necho 'pg_dump: error: this build does not support compression' >&2; exit 1\n"
        )
        (directory / name).chmod(0o755)
    return directory


def path_of(*directories: Path) -> str:
    return os.pathsep.join(map(str, directories))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("pg_dump (PostgreSQL) 17.10", Version(17, 10)),
        ("pg_dump (PostgreSQL) 15.3 (Debian 15.3-0+deb12u1)", Version(15, 3)),
        ("pg_dump (PostgreSQL) 19beta2", Version(19, 0)),
        ("pg_dump", None),
    ],
)
def test_versions_are_read(text: str, version: Version | None) -> None:
    assert Version.parse(text) == version


def test_a_servers_number_is_read() -> None:
    assert str(Version.from_number(170010)) == "17.10"


def test_the_servers_own_major_version_is_best(tmp_path: Path) -> None:
    places = [installed(tmp_path / version, version) for version in ("15.1", "16.2", "18.0", "17.4", "17.9")]
    path = path_of(*places)
    found = {major: find_tools(server_major=major, search_path=path).version for major in (14, 15, 16, 17, 18)}
    assert found == {14: Version(15, 1), 15: Version(15, 1), 16: Version(16, 2), 17: Version(17, 9), 18: Version(18, 0)}
    assert find_tools(search_path=path).version == Version(18, 0)


def test_an_incomplete_set_is_no_set(tmp_path: Path) -> None:
    part = installed(tmp_path / "part", "17.1", names=("pg_dump", "psql"))
    whole = installed(tmp_path / "whole", "16.1")
    assert find_tools(server_major=16, search_path=path_of(part, whole)).directory == whole
    with pytest.raises(ToolMissing, match="part"):
        find_tools(part)


def test_debians_wrapper_is_passed_over(tmp_path: Path) -> None:
    wrapper = installed(tmp_path / "usr", "17.1")
    (wrapper / "pg_dump").rename(tmp_path / "pg_wrapper")
    (wrapper / "pg_dump").symlink_to(tmp_path / "pg_wrapper")
    whole = installed(tmp_path / "whole", "17.0")
    assert find_tools(server_major=17, search_path=path_of(wrapper, whole)).directory == whole


def test_a_configured_directory_is_taken_as_it_is_and_checked(tmp_path: Path) -> None:
    tools = find_tools(installed(tmp_path / "configured", "14.2"), server_major=17)
    assert tools.version == Version(14, 2)
    with pytest.raises(ToolTooOld) as caught:
        check_client_version(tools, Version(17, 10))
    assert all(each in str(caught.value) for each in ("17.10", "14.2", str(tools.directory), "configured"))
    check_client_version(tools, Version(14, 9))


def test_when_path_has_nothing_new_enough_a_wheel_serves(tmp_path: Path) -> None:
    old = installed(tmp_path / "old", "13.1")
    tools = find_tools(server_major=17, search_path=path_of(old))
    assert tools.version.major == 17
    assert "Python package" in tools.origin


def test_tools_that_can_read_the_dump_are_preferred(tmp_path: Path) -> None:
    plain = installed(tmp_path / "plain", "17.9", methods="gzip")
    rich = installed(tmp_path / "rich", "17.2", methods="gzip zstd")
    path = path_of(plain, rich)
    assert find_tools(server_major=17, compression="zstd", search_path=path).directory == rich
    assert find_tools(server_major=17, compression="gzip", search_path=path).directory == plain


def test_what_a_client_offers_is_asked_of_it(tmp_path: Path) -> None:
    rich = find_tools(installed(tmp_path / "rich", "17.2", methods="gzip zstd"))
    plain = find_tools(installed(tmp_path / "plain", "18.2", methods="gzip"))
    old = find_tools(installed(tmp_path / "old", "15.2"))
    assert compressions(rich) == {"none", "gzip", "zstd"}
    assert compressions(plain) == {"none", "gzip"}
    assert compressions(old) == {"none", "gzip"}
    assert [choose_compression(each, None) for each in (rich, plain, old)] == ["zstd:3", "gzip", "gzip"]
    assert choose_compression(rich, "zstd:19") == "zstd:19"
    with pytest.raises(ConfigurationError, match="lz4"):
        choose_compression(rich, "lz4")


SERVER = Server("127.0.0.1", 5432, "app", "pa55-word", "shop")


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_error_message_counts_though_the_exit_status_is_zero(tmp_path: Path) -> None:
    argv = [program(tmp_path / "pg_dump", "echo 'pg_dump: error: lost' >&2; echo 'pg_dump: detail: x' >&2")]
    with run.Tool(argv, SERVER) as tool:
        ended = tool.ended()
    assert (ended.status, ended.failed, ended.reason) == (0, True, "pg_dump: error: lost")


def test_a_warning_is_no_failure(tmp_path: Path) -> None:
    argv = [program(tmp_path / "pg_dump", "echo 'pg_dump: warning: circular foreign keys' >&2")]
    with run.Tool(argv, SERVER) as tool:
        ended = tool.ended()
    assert not ended.failed
    assert ended.warnings == ("pg_dump: warning: circular foreign keys",)


def test_psql_fails_by_its_exit_status_alone(tmp_path: Path) -> None:
    said = "echo 'psql:<stdin>:3: WARNUNG:  55000: wal_level' >&2; echo 'psql:<stdin>:9: FEHLER:  42P01: no table' >&2"
    with run.Tool([program(tmp_path / "psql", said)], SERVER) as tool:
        assert not tool.ended().failed
    with run.Tool([program(tmp_path / "psql2", f"{said}; exit 3")], SERVER) as tool:
        ended = tool.ended()
    assert ended.failed
    assert ended.reason.endswith("42P01: no table")


def test_a_tool_gets_the_password_by_environment_and_its_messages_lose_it(tmp_path: Path) -> None:
    argv = [program(tmp_path / "pg_dump", 'echo "pg_dump: error: $PGPASSWORD at $PGHOST $LC_ALL" >&2; exit 1')]
    with run.Tool(argv, SERVER) as tool:
        assert tool.ended().reason == "pg_dump: error: *** at 127.0.0.1 C"


def test_a_tool_is_started_without_the_password_in_its_arguments(tmp_path: Path) -> None:
    """Nor is the process that becomes it: every user of the machine sees both."""
    with run.Tool([program(tmp_path / "pg_dump", "exit 0")], SERVER) as tool:
        arguments = [str(each) for each in tool.process.args]  # type: ignore[union-attr]
    assert arguments[-1] == str(tmp_path / "pg_dump")
    assert SERVER.password
    assert not [each for each in arguments if SERVER.password in each]


def test_the_environment_of_the_worker_leads_no_tool_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOSTADDR", "PGSERVICE", "PGOPTIONS", "PGPASSFILE"):
        monkeypatch.setenv(name, "/elsewhere")
    environment = run.child_environment(Server("here", 5432, "app", None, "shop"))
    assert environment["PGHOST"] == "here"
    assert environment["PGPASSFILE"] == "/elsewhere"
    assert not {"PGHOSTADDR", "PGSERVICE", "PGOPTIONS", "PGPASSWORD"} & environment.keys()


def test_a_tool_does_not_outlive_its_block(tmp_path: Path) -> None:
    with run.Tool([program(tmp_path / "pg_dump", "exec sleep 60")], SERVER) as tool:
        process = tool.process
    assert process.returncode == -15


def test_a_killed_tool_says_so(tmp_path: Path) -> None:
    with run.Tool([program(tmp_path / "pg_dump", "kill -9 $$")], SERVER) as tool:
        assert tool.ended().reason == "pg_dump was killed by signal 9"


def test_a_tool_that_talks_much_never_waits_for_us(tmp_path: Path) -> None:
    argv = [
        program(
            tmp_path / "pg_dump", 'i=0; while [ $i -lt 20000 ]; do echo "pg_dump: reading $i" >&2; i=$((i+1)); done'
        )
    ]
    lines: list[str] = []
    with run.Tool(argv, SERVER) as tool:
        ended = tool.watch(run.Reporter(lines.append, seconds=1000), lambda: "")
    assert not ended.failed
    assert ended.tail[-1] == "pg_dump: reading 19999"
    assert lines == []


def test_progress_is_folded(tmp_path: Path) -> None:
    lines: list[str] = []
    argv = [program(tmp_path / "pg_dump", "echo 'pg_dump: dumping table x' >&2; sleep 0.4")]
    with run.Tool(argv, SERVER) as tool:
        tool.watch(run.Reporter(lines.append, seconds=0.1), lambda: "1 MB")
    assert "pg_dump: dumping table x (1 MB)" in lines


def test_a_command_that_cannot_start_is_reported() -> None:
    output = run.output_of(["/nonexistent/pg_dump", "--version"])
    assert (output.ended.status, output.text) == (126, "")


def test_no_other_module_runs_processes() -> None:
    package = Path(run.__file__).parent
    found = [path.name for path in package.glob("*.py") if "import subprocess" in path.read_text()]
    assert found == ["run.py"]
