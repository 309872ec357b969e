"""What a person at a terminal sees: tables that fit, colours, bars of long work, completion. Pipes see none of it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from glacier_provider.applications.fields import VerifyOptions
from glacier_provider.catalog.backups import Run
from tests.integration.test_cli import uri_of
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")
LONG = "a directory/" * 6 + "with a name that no terminal has room for, 世界.pdf"


@pytest.fixture
def kept(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.write(LONG, "x")
    dms.back_up()
    failed = dms.catalog.backups.open(Run("glacier_backup__dms", "manual__failed"))
    dms.catalog.backups.fail(failed, "dump_database: ToolFailed: pg_dump ended with 1. " + "See the log. " * 9)
    return dms


def a_terminal(width: int) -> tuple[int, int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    return ours, theirs


def seen(
    *argv: object, width: int = 80, stdout: str = "terminal", stderr: str = "terminal", **variables: str
) -> tuple[str, str]:
    """Run a command whose stdout and stderr are terminals, or pipes; return what came out of each."""
    ends = {"stdout": stdout, "stderr": stderr}
    opened: dict[str, tuple[int, int]] = {
        name: a_terminal(width) if kind == "terminal" else os.pipe() for name, kind in ends.items()
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "glacier_provider.cli", *map(str, argv)],
        stdin=subprocess.DEVNULL,
        **{name: theirs for name, (_, theirs) in opened.items()},  # type: ignore[call-overload]
        env=_environment(variables),
    )
    for _, theirs in opened.values():
        os.close(theirs)
    texts: dict[str, bytes] = {}
    readers = [
        threading.Thread(target=lambda name=name, ours=ours: texts.update({name: _all_of(ours)}))  # type: ignore[misc]
        for name, (ours, _) in opened.items()
    ]
    for one in readers:
        one.start()
    for one in readers:
        one.join(120)
    assert process.wait(60) == 0, texts
    return texts["stdout"].decode(), texts["stderr"].decode()


def _all_of(handle: int) -> bytes:
    found = b""
    try:
        while piece := os.read(handle, 65536):
            found += piece
    except OSError:  # of a terminal that nobody holds any more
        pass
    os.close(handle)
    return found


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    mine = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI", "PYTEST_CURRENT_TEST")
    }
    return {**mine, "TERM": "xterm-256color", **variables}


def bare(text: str) -> str:
    return ESCAPE.sub("", text).replace("\r", "")


@pytest.mark.parametrize("width", [40, 80, 400])
def test_a_table_fits_the_terminal_and_loses_nothing(kept: ApplicationUnderTest, width: int) -> None:
    uri = uri_of(kept.catalog_server)
    text, _ = seen("archives", 1, width=width, GLACIER_CATALOG_URI=uri)
    lines = bare(text).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    shown, letters = bare(text), re.escape(re.sub(r"\s", "", LONG))
    assert all(shown.count(one) >= LONG.count(one) for one in set(letters))
    assert (LONG in shown) is (width == 400)


def test_a_pipe_gets_each_row_on_one_line_uncut_and_without_colours(kept: ApplicationUnderTest) -> None:
    uri = uri_of(kept.catalog_server)
    for argv in (("archives", 1), ("list",), ("show", 1)):
        text, errors = seen(*argv, stdout="pipe", stderr="pipe", width=40, GLACIER_CATALOG_URI=uri)
        assert "\x1b" not in text + errors
    text, _ = seen("archives", 1, stdout="pipe", stderr="pipe", GLACIER_CATALOG_URI=uri)
    head, rule, *rows = text.splitlines()
    assert head.split()[:3] == ["id", "kind", "filename"]
    assert set(rule) == {"-", " "}
    assert len(rows) == 6
    assert sum(LONG in row for row in rows) == 1


def test_a_terminal_has_colours_unless_they_are_not_wanted(kept: ApplicationUnderTest) -> None:
    uri = uri_of(kept.catalog_server)
    assert COLOUR.search(seen("list", width=200, GLACIER_CATALOG_URI=uri)[0])
    assert not COLOUR.search(seen("list", width=200, GLACIER_CATALOG_URI=uri, NO_COLOR="1")[0])
    assert "\x1b" not in seen("list", width=200, GLACIER_CATALOG_URI=uri, TERM="dumb")[0]


def test_columns_without_anything_are_left_out_on_a_terminal(kept: ApplicationUnderTest) -> None:
    text = bare(seen("list", width=200, GLACIER_CATALOG_URI=uri_of(kept.catalog_server))[0])
    assert "drilled" not in text
    assert "error" in text


def test_a_file_name_is_no_markup(dms: ApplicationUnderTest) -> None:
    dms.write("[red]blood[/red] [link=evil].pdf", "x")
    dms.back_up()
    text, _ = seen("archives", 1, width=250, GLACIER_CATALOG_URI=uri_of(dms.catalog_server))
    assert "evil].pdf" in bare(text)
    assert "[red]blood[/red]" in bare(text)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("verify", "--by", "listing"), "Compared in s3://"),
        (("reconcile", "dms", "--inventory"), "Listed"),
        (("delete", "dms", 1, "--yes-delete", "dms-1", "--force"), "Deleted"),
        (("fetch", "dms", 1, "doc1.pdf", "--into", "{tmp}/desk", "--yes"), "Restored"),
    ],
    ids=lambda one: str(one[0]) if isinstance(one, tuple) else "",
)
def test_long_work_shows_a_bar_on_a_terminal_and_none_elsewhere(
    kept: ApplicationUnderTest, argv: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    kept.configure(poll_seconds=1, verify=VerifyOptions(by="listing"))
    (kept.files / "doc1.pdf").unlink()
    argv = tuple(str(one).replace("{tmp}", str(tmp_path)) for one in argv)
    with settings_of(kept):
        answer, shown = seen(*argv, "--json", stdout="pipe", width=100)
        json.loads(answer)
        assert words in bare(shown)
        assert "━" in shown
        assert "airflow." not in shown
        if argv[0] == "verify":
            answer, said = seen(*argv, "--json", stdout="pipe", stderr="pipe")
            json.loads(answer)
            assert "\x1b" not in said
            assert "━" not in said


def test_a_rebuild_shows_a_bar(kept: ApplicationUnderTest, new_database: Any) -> None:
    with settings_of(kept):
        uri = uri_of(new_database())
        answer, shown = seen("rebuild-catalog", "dms", "--json", "--catalog", uri, stdout="pipe", width=100)
    assert json.loads(answer)["backups"] == 1
    assert "Read" in bare(shown)
    assert "1 manifest" in bare(shown)


# --- completion ----------------------------------------------------------------------------------------------------

BIN = Path(sys.executable).parent


def completed(line: str, **variables: str) -> list[str]:
    """What bash offers where this line ends, by the script that is documented."""
    script = f"""
        eval "$(glacier-backup completion bash)"
        COMP_LINE={_quoted(line)} COMP_POINT={len(line)} COMP_TYPE=9
        _python_argcomplete glacier-backup "" ""
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**_environment(variables), "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [one.strip() for one in done.stdout.splitlines() if one.strip()]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def test_bash_completes_commands_options_choices_and_applications(tmp_path: Path) -> None:
    assert completed("glacier-backup reco") == ["reconcile"]
    assert {"list", "doctor", "completion"} <= set(completed("glacier-backup "))
    assert completed("glacier-backup list --sch") == ["--schema"]
    assert {"complete", "failed"} <= set(completed("glacier-backup list --state "))
    path = tmp_path / "applications.yaml"
    entries = {
        name: {
            "postgres_conn_id": name,
            "files_directory": f"/{name}/files",
            "staging_directory": f"/{name}/staging",
            "store": f"s3://bucket/{name}?storage_class=GLACIER",
        }
        for name in ("library", "archive")
    }
    path.write_text(json.dumps({"applications": entries}))
    named = {"GLACIER_APPLICATIONS": str(path)}
    assert completed("glacier-backup delete lib", **named) == ["library"]
    assert sorted(completed("glacier-backup list --application ", **named)) == ["archive", "library"]
    assert completed("glacier-backup check --except lib", **named) == ["library"]
    assert completed(f"glacier-backup metrics --output {tmp_path}/appl") == [str(path)]
    assert completed("glacier-backup verify --by ") == ["listing", "content"]
    assert completed("glacier-backup list --limit ") == []
    assert "library" not in completed("glacier-backup delete ", GLACIER_APPLICATIONS="/nowhere.yaml")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_takes_its_script(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    script = subprocess.run([BIN / "glacier-backup", "completion", shell], capture_output=True, text=True, check=True)
    done = subprocess.run([program, "-n"], input=script.stdout, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_completes_commands() -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    script = "glacier-backup completion fish | source; complete -C 'glacier-backup reco'"
    environment = {**_environment({}), "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["fish", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[:1] == ["reconcile"], done.stderr
