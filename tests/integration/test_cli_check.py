"""``glacier-backup check``: what monitoring is told of a catalog, in a line, by a code, and as JSON."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import glacier_provider
from glacier_provider import cli
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.test_cli import Answer, uri_of
from tests.support.backups import a_backup_row, a_proof_row, ago, an_application_row, an_archive_row
from tests.support.postgres import EmbeddedPostgres

Check = Callable[..., Answer]


@pytest.fixture
def check(
    catalog_database: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(catalog_database))

    def run(*argv: object) -> Answer:
        capsys.readouterr()
        try:
            code = cli.main(["check", *map(str, argv)])
        except SystemExit as end:
            code = int(str(end.code))
        return Answer(code, *capsys.readouterr())

    return run


#: A state of the catalog, options, and what is told of it.
CASES: dict[str, tuple[Callable[[Server, str], Any], list[str], int, str]] = {
    "all is well": (lambda s, n: a_backup_row(s, n, "complete", ago(hours=5)), [], 0, "backup N is 5 hours old"),
    "an old backup": (lambda s, n: a_backup_row(s, n, "complete", ago(hours=30)), [], 1, "30 hours old"),
    "a very old backup": (lambda s, n: a_backup_row(s, n, "complete", ago(days=4)), [], 2, "4 days old"),
    "an old one is young enough": (
        lambda s, n: a_backup_row(s, n, "complete", ago(days=4)),
        ["--warning", "8d", "--critical", "2w"],
        0,
        "4 days old",
    ),
    "no backup at all": (lambda s, n: an_application_row(s, n), [], 2, "there is no complete backup"),
    "one under way": (lambda s, n: a_backup_row(s, n, "running", ago(hours=1)), [], 2, "backup N is under way"),
    "the last one failed": (
        lambda s, n: (
            a_backup_row(s, n, "complete", ago(hours=5)),
            a_backup_row(s, n, "failed", ago(hours=1), error="dump_database: no | space\nleft"),
        ),
        [],
        1,
        "backup N failed: dump_database: no / space left",
    ),
    "failed, and well since": (
        lambda s, n: (
            a_backup_row(s, n, "failed", ago(hours=5), error="x"),
            a_backup_row(s, n, "complete", ago(hours=1)),
        ),
        [],
        0,
        "backup N",
    ),
    "a lost file": (
        lambda s, n: an_archive_row(s, n, a_backup_row(s, n, "complete", ago(hours=5)), "file", "a.pdf", state="lost"),
        [],
        2,
        "1 archive that backups need is lost",
    ),
    "an unreadable file": (
        lambda s, n: a_backup_row(
            s, n, "complete", ago(hours=5), report={"unreadable_count": 2, "unreadable": ["a|b.pdf", "c.pdf"]}
        ),
        [],
        1,
        "does not hold 2 files that could not be read: a/b.pdf and 1 more",
    ),
    "many vanished": (
        lambda s, n: a_backup_row(s, n, "complete", ago(hours=5), files=20, vanished=80),
        [],
        1,
        "80 of 100 files vanished before backup N",
    ),
    "it cannot be restored": (
        lambda s, n: a_backup_row(
            s,
            n,
            "complete",
            ago(hours=5),
            report={"rehearsal": {"in_place": {"verdict": "no", "why": "A role is missing."}}},
        ),
        [],
        2,
        "backup N cannot be restored into its database: A role is missing.",
    ),
    "a verification found something": (
        lambda s, n: (
            a_backup_row(s, n, "complete", ago(hours=5)),
            a_proof_row(
                s,
                n,
                "verification",
                "found",
                ago(hours=2),
                findings=[
                    {"step": "a", "told": "Two are gone:", "names": ["a.pdf", "b.pdf"], "grave": True},
                    {"told": "No matter.", "grave": False},
                ],
            ),
        ),
        [],
        2,
        "the last verification found that something is not as it should be: Two are gone: a.pdf",
    ),
    "a drill could not look": (
        lambda s, n: (
            a_backup_row(s, n, "complete", ago(hours=5)),
            a_proof_row(s, n, "drill", "failed", ago(hours=2), error="No server."),
        ),
        [],
        1,
        "the last drill could not look at all: No server.",
    ),
    "a drill that found something was repeated": (
        lambda s, n: (
            a_backup_row(s, n, "complete", ago(hours=5)),
            a_proof_row(s, n, "drill", "found", ago(hours=3)),
            a_proof_row(s, n, "drill", "passed", ago(hours=2)),
        ),
        ["--drill-warning", "32d"],
        0,
        "backup N",
    ),
    "an old drill": (
        lambda s, n: (
            a_backup_row(s, n, "complete", ago(hours=5)),
            a_proof_row(s, n, "drill", "passed", ago(days=40)),
        ),
        ["--drill-warning", "32d", "--drill-critical", "64d"],
        1,
        "the last drill passed 40 days ago",
    ),
    "never verified": (
        lambda s, n: a_backup_row(s, n, "complete", ago(hours=5)),
        ["--verification-critical", "8d"],
        2,
        "no verification ever passed",
    ),
    "another name": (
        lambda s, n: a_backup_row(s, n, "complete", ago(hours=5)),
        ["--application", "all-is-wel"],
        3,
        "did you mean 'all-is-well'?",
    ),
    "a name with a bar": (lambda _, __: None, ["--application", "a|b"], 3, "The catalog knows no application 'a/b'"),
    "wrong usage": (lambda _, __: None, ["--warning", "soon"], 3, "'soon' is no age; examples: 26h"),
    "an argument too many": (lambda _, __: None, ["library", "too"], 3, "unrecognized arguments: too"),
    "no catalog": (
        lambda _, __: None,
        ["--catalog", "postgresql://nobody@127.0.0.1:1/none"],
        3,
        "Cannot connect to database 'none'",
    ),
}


@pytest.fixture(scope="module")
def kept(postgres: EmbeddedPostgres) -> Iterator[Server]:
    """A catalog in which each case has an application of its own."""
    server = postgres.create_database("check_catalog")
    with a_catalog(server) as catalog:
        catalog.migrate()
    for case, (state, *_) in CASES.items():
        state(server, case.replace(" ", "-"))
    yield server
    postgres.drop_database(server.dbname)


@pytest.mark.parametrize("case", CASES)
def test_a_line_and_a_code_say_how_the_backups_are(
    case: str, check: Check, kept: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, options, code, words = CASES[case]
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(kept))
    answer = check("--application", case.replace(" ", "-"), *options)
    assert (answer.code, answer.err) == (code, "")
    line = answer.out.rstrip("\n")
    assert "\n" not in line
    assert line.startswith(f"{('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[code]} - ")
    assert words in re.sub(r"backup [0-9]+", "backup N", line)
    assert line.count("|") == (0 if code == 3 else 1)


def test_the_worst_of_several_applications_comes_first(check: Check, catalog_database: Server) -> None:
    assert (check().code, "The catalog knows no application." in check().out) == (3, True)
    a_backup_row(catalog_database, "dms", "complete", ago(days=4))
    a_backup_row(catalog_database, "shop", "complete", ago(hours=1))
    answer = check()
    assert answer.code == 2
    assert "dms: the last complete backup is 4 days old. shop: backup 2 is 60 minutes old |" in answer.out
    answer = check("--except", "dms")
    assert (answer.code, "dms" in answer.out) == (0, False)


def test_performance_data_follows_the_manners_of_plug_ins(check: Check, catalog_database: Server) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=5))
    a_proof_row(catalog_database, "dms", "drill", "passed", ago(hours=2))
    _, _, figures = check("--drill-warning", "32d").out.partition(" | ")
    form = re.compile(r"'[^'=]+'=[0-9]+(s|B|)(;[0-9]*){3}")
    assert all(form.fullmatch(one) for one in figures.split()), figures
    assert [one.partition("=")[0] for one in figures.split()] == [
        "'dms_backup_age'",
        "'dms_drill_age'",
        "'dms_files'",
        "'dms_size'",
        "'dms_lost'",
    ]
    backup_age, drill_age, *others = figures.split()
    assert re.fullmatch(r"'dms_backup_age'=180\d\ds;93600;180000;0", backup_age)
    assert re.fullmatch(r"'dms_drill_age'=72\d\ds;2764800;;0", drill_age)
    # One that is lost is critical: the state is CRITICAL then, too.
    assert others == ["'dms_files'=3;;;0", "'dms_size'=4000B;;;0", "'dms_lost'=0;;0;0"]


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90", timedelta(seconds=90)),
        ("90s", timedelta(seconds=90)),
        ("90m", timedelta(minutes=90)),
        ("26h", timedelta(hours=26)),
        ("1.5d", timedelta(hours=36)),
        ("2w", timedelta(days=14)),
    ],
)
def test_an_age_is_written_with_its_unit(text: str, age: timedelta) -> None:
    given = cli.command_parser().parse_args(["check", "--warning", text, "--drill-critical", text])
    assert (given.warning, given.drill_critical) == (age, age)
    by_default = cli.command_parser().parse_args(["check"])
    assert (by_default.warning, by_default.critical) == (timedelta(hours=26), timedelta(hours=50))
    assert (by_default.timeout, by_default.drill_warning) == (timedelta(seconds=30), None)


def test_of_many_applications_those_are_named_that_are_not_well(check: Check, catalog_database: Server) -> None:
    for name in "abcd":
        a_backup_row(catalog_database, name, "complete", ago(hours=1))
    a_backup_row(catalog_database, "older", "complete", ago(hours=30))
    a_backup_row(catalog_database, "oldest", "complete", ago(days=9))
    answer = check()
    assert answer.out.partition(" | ")[0] == (
        "CRITICAL - oldest: the last complete backup is 9 days old. older: the last complete backup is 30 hours old."
        " 4 other applications well"
    )
    told = check("--json").json
    assert {name: one["state"] for name, one in told["applications"].items()} == {
        **dict.fromkeys("abcd", "OK"),
        "older": "WARNING",
        "oldest": "CRITICAL",
    }
    assert {name: len(one["troubles"]) for name, one in told["applications"].items() if one["troubles"]} == {
        "older": 1,
        "oldest": 1,
    }


def test_programs_are_told_the_same(check: Check, catalog_database: Server) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=30))
    answer = check("--json")
    told = answer.json
    assert (answer.code, told["state"], told["code"]) == (1, "WARNING", 1)
    dms = told["applications"]["dms"]
    assert dms["state"] == "WARNING"
    assert [one["event"] for one in dms["troubles"]] == ["backup_late"]
    assert abs(dms["backup_age_seconds"] - 30 * 3600) < 60
    assert check("--json", "--application", "x").json["state"] == "UNKNOWN"


def test_what_is_unlike_before_is_what_applications_yaml_says_where_it_is_named(
    check: Check, catalog_database: Server, tmp_path: Path
) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=1), files=40, report={"new_versions_count": 30})
    path = tmp_path / "applications.yaml"
    entry = {"postgres_conn_id": "a", "files_directory": "/f", "staging_directory": "/s", "store": "glacier://vault"}
    path.write_text(json.dumps({"applications": {"dms": {**entry, "anomalies": {"changed_share": 0.9}}}}))
    assert check().code == 2
    assert check("--applications", path).code == 0


ENTRY = {"postgres_conn_id": "a", "files_directory": "/f", "staging_directory": "/s", "store": "glacier://vault"}


def test_an_application_that_was_never_backed_up_is_told_where_applications_yaml_is_named(
    check: Check, catalog_database: Server, tmp_path: Path
) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=1))
    path = tmp_path / "applications.yaml"

    def of(**entries: Any) -> Answer:
        path.write_text(json.dumps({"applications": {"dms": ENTRY, **entries}}))
        return check("--applications", path)

    new = {**ENTRY, "files_directory": "/g"}
    assert of().code == 0
    answer = of(new=new)
    assert (answer.code, "new: there is no complete backup" in answer.out) == (2, True)
    assert of(new={**new, "schedule": None}).code == 0
    assert of(new={**new, "start": "2999-01-01"}).code == 0
    assert of(new={**new, "catalog_conn_id": "another"}).code == 0, "it is not known which one is asked"
    answer = of(new={**new, "stor": "x"})
    assert answer.code == 2
    assert "new: its entry in applications.yaml is wrong: application 'new', field 'stor'" in answer.out
    assert check("--applications", path, "--except", "new").code == 0
    told = check("--applications", path, "--json").json
    assert (told["state"], told["applications"]["new"]["state"]) == ("CRITICAL", "CRITICAL")


@pytest.mark.parametrize("ending", [">&-", "> /dev/full", "| true"])
def test_a_state_is_told_by_the_code_also_where_nobody_takes_the_line(catalog_database: Server, ending: str) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(days=9))
    command = f"{{ {sys.executable} -m glacier_provider.cli check; echo $? >&2; }} {ending}"
    environment = {"GLACIER_CATALOG_URI": uri_of(catalog_database), "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == "2\n"


def test_a_line_is_told_in_the_letters_that_there_are(catalog_database: Server) -> None:
    a_backup_row(catalog_database, "dms", "failed", ago(hours=1), error="häßlich ☃")
    environment = {"GLACIER_CATALOG_URI": uri_of(catalog_database), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "glacier_provider.cli", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert "backup 1 failed: h\\xe4\\xdflich \\u2603" in done.stdout


def test_a_catalog_that_does_not_answer_is_unknown_in_time(check: Check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        answer = check("--catalog", f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x", "--timeout", "1s")
    assert answer.code == 3
    assert "within 1 seconds" in answer.out
    assert "look whether the server that was asked is overloaded" in answer.out
    assert time.monotonic() - began < 20


def test_a_check_imports_no_airflow_and_is_cheap(catalog_database: Server) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=5))
    script = (
        "import sys; from glacier_provider.cli import main; code = main(['check']);"
        "dear = {'airflow', 'alembic', 'sqlalchemy', 'pydantic', 'boto3', 'rich'};"
        "assert not dear & set(sys.modules); sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"GLACIER_CATALOG_URI": uri_of(catalog_database), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{spent:.2f} s of CPU")
    assert spent < 3  # 0.3 s on a machine of its own; a shared one counts more


def test_systemd_takes_the_timer_and_its_service(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here")
    folder = Path(glacier_provider.__file__).parent / "monitoring"
    for name in ("glacier-backup-check.service", "glacier-backup-check.timer"):
        text = (folder / name).read_text()
        # It wants a program that there is; where ours is installed is for people to say.
        (tmp_path / name).write_text(text.replace("/opt/glacier/bin/glacier-backup", sys.executable))
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
