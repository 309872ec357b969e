"""A server of the worker's own: it comes from a wheel, and nothing of it is left, however its process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.errors import DatabaseRefused, ToolFailed
from glacier_provider.postgres import Tools, find_tools
from glacier_provider.postgres.tools.find import SERVER_NAMES, find_server_programs
from glacier_provider.postgres.tools.private import PRIVATE_DIRECTORY, private_server, remove_left_over


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary directory of this process, which the server's user can enter."""
    tmp_path_factory.getbasetemp()  # is made in the other one
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", made)
        yield Path(made)


def nothing() -> None:
    """Nobody is told."""


def programs(at_least: int = 16) -> Tools:
    found = find_server_programs(at_least)
    assert found is not None
    return found


@pytest.mark.parametrize("major", [16, 18])
def test_a_server_of_the_version_that_is_asked_for_is_there_for_a_while(temporary: Path, major: int) -> None:
    with private_server(programs(major), nothing) as server, server.connect(autocommit=True) as connection:
        assert connection.info.server_version // 10000 == major
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        with pytest.raises(DatabaseRefused):
            replace(server, password="guessed").connect()
    assert list(temporary.iterdir()) == []


def test_a_version_that_no_wheel_brings_is_not_found() -> None:
    assert find_server_programs(99) is None


def with_an_initdb(place: Path, script: str) -> Tools:
    """Return the programs of a wheel with another initdb, in a directory of their own."""
    tools, made = programs(), place / "bin"
    made.mkdir()
    for name in (*SERVER_NAMES, "pg_dump", "pg_restore"):
        (made / name).symlink_to(tools.path(name))
    (made / "initdb").unlink()
    (made / "initdb").write_text(f"#!/bin/sh\n{script}\n")
    (made / "initdb").chmod(0o755)
    return find_tools(made)


def test_a_server_that_cannot_be_made_leaves_nothing(temporary: Path) -> None:
    tools = with_an_initdb(temporary, "echo 'initdb: error: no room' >&2; exit 1")
    with pytest.raises(ToolFailed, match="no room"), private_server(tools, nothing):
        pass
    assert [path.name for path in temporary.iterdir()] == ["bin"]


def test_a_server_that_does_not_start_leaves_nothing(temporary: Path) -> None:
    tools = with_an_initdb(temporary, "exit 0")
    with pytest.raises(ToolFailed, match="did not start"), private_server(tools, nothing):
        pass
    assert [path.name for path in temporary.iterdir()] == ["bin"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as another user")
def test_programs_that_an_ordinary_user_cannot_reach_are_told_with_what_helps(temporary: Path, tmp_path: Path) -> None:
    tools = with_an_initdb(tmp_path, "exit 0")
    tmp_path.chmod(0o700)
    with pytest.raises(ToolFailed, match=f"let every user enter {tools.directory}"):  # noqa: SIM117
        with private_server(tools, nothing):
            pass


def test_what_a_killed_process_left_ends_and_is_removed_by_the_next(temporary: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, tempfile, time
        from glacier_provider.postgres.tools.find import find_server_programs
        from glacier_provider.postgres.tools.private import private_server
        tempfile.tempdir = sys.argv[1]
        with private_server(find_server_programs(16), lambda: None) as server:
            print(server.host, flush=True)
            time.sleep(600)
        """
    )
    argv = [sys.executable, "-c", program, str(temporary)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        data = Path(worker.stdout.readline().strip()).parent / "data"
        pid = int((data / "postmaster.pid").read_text().split()[0])
        remove_left_over()
        assert data.exists()  # its process lives
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    wait_until(lambda: not is_server(pid))
    remove_left_over()
    assert list(temporary.glob(f"{PRIVATE_DIRECTORY}*")) == []


def test_directories_of_others_and_those_just_made_are_left_alone(temporary: Path) -> None:
    just_made = temporary / f"{PRIVATE_DIRECTORY}just"
    just_made.mkdir()
    (temporary / f"{PRIVATE_DIRECTORY}link").symlink_to(temporary)
    remove_left_over()
    assert just_made.exists()
    assert temporary.exists()
    os.utime(just_made, (1, 1))
    remove_left_over()
    assert not just_made.exists()


def is_server(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
