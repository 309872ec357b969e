"""Streams that are closed, or that nobody reads: what was found is told by the exit code all the same."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from glacier_provider import cli
from glacier_provider.cli.bars import bars
from glacier_provider.cli.output import print_pairs, print_table

ENTRY = {
    "postgres_conn_id": "a",
    "files_directory": "/f",
    "staging_directory": "/s",
    "store": "s3://bucket/pre?storage_class=GLACIER",
}


@pytest.fixture
def described(tmp_path: Path) -> str:
    path = tmp_path / "applications.yaml"
    path.write_text(json.dumps({"applications": {"dms": ENTRY}}))
    return str(path)


@pytest.fixture
def unread() -> Iterator[IO[str]]:
    """A pipe whose reader has gone."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", encoding="utf-8") as stream:
        yield stream


def test_a_command_without_stdout_and_stderr_does_its_work(described: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["applications", "--applications", described]) == 0
    print_table([{"a": 1}], {"a": "a"})
    print_pairs({"a": 1})
    with bars():
        pass


def test_a_reader_that_has_gone_changes_no_exit_code_and_leaves_nothing_to_be_written(
    described: str, unread: IO[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    assert cli.main(["applications", "--applications", described]) == 0
    unread.flush()  # as Python does at its end
    (tmp_path / "wrong.yaml").write_text(json.dumps({"applications": {"bad": {}}}))
    assert cli.main(["doctor", "--applications", str(tmp_path / "wrong.yaml")]) == 1


def test_an_answer_that_could_not_be_written_is_an_error(
    described: str, unread: IO[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

        def fileno(self) -> int:
            return unread.fileno()

    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Full())
        assert cli.main(["applications", "--applications", described]) == 1
    assert "No space left on device" in capsys.readouterr().err
