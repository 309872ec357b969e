"""What tools say, and what of it a person reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from glacier_provider.postgres.restore.swap.fill import Failures
from glacier_provider.postgres.tools import run
from glacier_provider.postgres.tools.messages import Voices, conversation, in_one_line, telling, without_secrets
from glacier_provider.postgres.tools.server import Server
from tests.unit.postgres.builders import DumpBuilder

SERVER = Server("127.0.0.1", 5432, "app", "pa55-word", "shop")
DAMAGED = """\
pg_dump: dumping contents of table "public.t"
pg_dump: error: a worker process died unexpectedly
pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.
pg_dump: detail: Error message from server: ERROR:  missing chunk number 0 for toast value 16390 in pg_toast_16385
pg_dump: detail: Command was: COPY public.t (id, b) TO stdout;
pg_dump: finished item 3 TABLE DATA t"""
QUEUED = """\
pg_dump: error: could not obtain lock on relation "public.docs"
pg_dump: detail: This usually means that someone requested an ACCESS EXCLUSIVE lock on the table.
pg_dump: error: a worker process died unexpectedly"""
LOCKS = """\
pg_dump: error: query failed: ERROR:  out of shared memory
HINT:  You might need to increase "max_locks_per_transaction".
pg_dump: detail: Query was: LOCK TABLE public.x0 IN ACCESS SHARE MODE"""
RESTORED = """\
pg_restore: creating TABLE "public.t"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 215; 1259 16385 TABLE t app
pg_restore: error: could not execute query: ERROR:  type "x" does not exist
LINE 2:     a x
            ^
Command was: CREATE TABLE public.t (
    a x
);


pg_restore: creating TABLE "public.u"
pg_restore: warning: errors ignored on restore: 1"""


def cause(text: str) -> str:
    found = telling(conversation(text.splitlines()))
    assert found is not None
    return in_one_line(found)


def test_the_servers_sentence_is_told_and_not_who_died_of_it() -> None:
    assert cause(DAMAGED) == (
        'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed: '
        "missing chunk number 0 for toast value 16390 in pg_toast_16385. Statement: COPY public.t (id, b) TO stdout;"
    )
    assert cause(QUEUED) == 'pg_dump: error: could not obtain lock on relation "public.docs"'


def test_the_servers_hint_is_told() -> None:
    assert cause(LOCKS) == (
        "pg_dump: error: query failed: ERROR:  out of shared memory. "
        'HINT: You might need to increase "max_locks_per_transaction"'
    )


def test_the_object_and_the_statement_that_failed_are_told() -> None:
    assert cause(RESTORED) == (
        'pg_restore: error: could not execute query: ERROR:  type "x" does not exist (at TABLE t app). '
        "Statement: CREATE TABLE public.t ("
    )


def test_a_message_is_whole_and_what_a_tool_only_does_is_left_out() -> None:
    error, warning = conversation(RESTORED.splitlines())
    assert error == tuple(RESTORED.splitlines()[1:9])
    assert warning == ("pg_restore: warning: errors ignored on restore: 1",)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("CREATE ROLE a LOGIN PASSWORD 'it''s'", "CREATE ROLE a LOGIN PASSWORD ***"),
        ("OPTIONS (user 'a', password 'b c')", "OPTIONS (user 'a', password ***)"),
        ("CONNECTION 'host=h password=s3cret dbname=d'", "CONNECTION 'host=h password=*** dbname=d'"),
        ("aws_secret_access_key 'abc', x '1'", "aws_secret_access_key ***, x '1'"),
        ('password authentication failed for user "a"', 'password authentication failed for user "a"'),
    ],
)
def test_a_password_in_a_statement_is_not_shown(line: str, shown: str) -> None:
    assert without_secrets(line) == shown


def tool(path: Path, text: str) -> list[str]:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


def test_all_that_a_failed_tool_said_is_in_the_log_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "said").write_text(f"{DAMAGED}\npa55-word\n")
    with (
        caplog.at_level(logging.ERROR),
        run.Tool(tool(tmp_path / "pg_dump", f"cat {tmp_path}/said >&2; exit 1"), SERVER) as failed,
    ):
        failed.ended()
        failed.ended()
    logged = "\n".join(record.getMessage() for record in caplog.records)
    for line in DAMAGED.splitlines()[1:5]:
        assert logged.count(line) == 1
    assert "pa55-word" not in logged


def test_a_tool_that_did_well_or_was_ended_by_us_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        with run.Tool(tool(tmp_path / "pg_dump", "echo 'pg_dump: warning: x' >&2"), SERVER) as well:
            well.ended()
        with run.Tool(tool(tmp_path / "pg_restore", "exec sleep 60"), SERVER):
            pass
    assert caplog.records == []


def test_a_line_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    program = "printf 'pg_dump: error: x' >&2; head -c 50000000 /dev/zero | tr '\\0' y >&2; exit 1"
    with run.Tool(tool(tmp_path / "pg_dump", program), SERVER) as talking:
        ended = talking.ended()
    assert [len(line) for line in ended.tail] == [2000]


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "of-aws",
    "AIRFLOW__CORE__FERNET_KEY": "of-airflow",
    "AIRFLOW_CONN_LIBRARY_DB": "postgresql://a:of-a-connection@h/d",
    "DATABASE_URL": "of-somebody",
    "PGPASSWORD": "of-another-server",
    "PGSERVICE": "elsewhere",
    "PSQLRC": "/tmp/psqlrc",
    "LD_PRELOAD": "",
    "PYTHONPATH": "/somewhere",
    "LC_MESSAGES": "de_DE",
}


def test_a_tool_gets_none_of_the_workers_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGPASSFILE", "/home/airflow/.pgpass")
    monkeypatch.setenv("PGSSLROOTCERT", "/ca.pem")
    place = tmp_path / "environment"
    with run.Tool(tool(tmp_path / "pg_dump", f"env > {place}"), SERVER) as printing:
        printing.ended()
    given = dict(line.partition("=")[::2] for line in place.read_text().splitlines())
    assert not SECRETS.keys() - {"PGPASSWORD"} & given.keys()
    assert given["PGPASSWORD"] == "pa55-word"
    assert given["PGPASSFILE"] == "/home/airflow/.pgpass"
    assert given["PGSSLROOTCERT"] == "/ca.pem"
    assert set(given) <= {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LC_ALL", "PWD", "SHLVL", "_"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
        *(name for name in given if name.startswith("PG")),
    }
    short = run.output_of(tool(tmp_path / "psql", "env"))
    assert not any(value and value in short.text for value in SECRETS.values())


def shuffled(one: Sequence[str], other: Sequence[str]) -> Iterator[str]:
    """Yield each order in which the pieces of two processes may be written."""
    if not one or not other:
        yield "".join([*one, *other])
        return
    for rest in shuffled(one[1:], other):
        yield one[0] + rest
    for rest in shuffled(one, other[1:]):
        yield other[0] + rest


def failures(said: str) -> set[tuple[str, str]]:
    """What the listing of what failed makes of pg_restore's stderr."""
    dump = DumpBuilder()
    hearing = Failures([dump.add("TABLE DATA", "public", name) for name in "tu"])
    voices = Voices()
    for line in said.splitlines():
        hearing.take(voices.alone(line))
    return {(one.object, one.said) for one in hearing.found()}


def refusal(of: str, missing: str) -> list[str]:
    """glibc's unbuffered stderr gets the name, the space, the severity and the text each on its own."""
    said = f'COPY failed for table "{of}": ERROR:  relation "{missing}" does not exist\nCONTEXT:  COPY {of}\n'
    return ["pg_restore:", " ", "error: ", said]


ANNOUNCED = ["pg_restore:", " ", "from TOC entry 1; 0 16385 TABLE DATA public.t app\n"]
REFUSALS = {
    ("TABLE DATA public.t", 'relation "x" does not exist (COPY t)'),
    ("TABLE DATA public.u", 'relation "y" does not exist (COPY u)'),
}


@pytest.mark.parametrize("other", ["finished item 2 TABLE DATA u", 'processing data for table "public.u"'])
def test_a_refusal_is_told_apart_from_what_another_process_says_meanwhile(other: str) -> None:
    orders = set(shuffled([*ANNOUNCED, *refusal("t", "x")], ["pg_restore:", " ", f"{other}\n"]))
    told = {one for one in REFUSALS if one[0].endswith(".t")}
    assert len(orders) > 50
    assert {order: found for order in orders if (found := failures(order)) != told} == {}


def test_two_refusals_at_once_are_two() -> None:
    entered = "".join(ANNOUNCED) + "".join(ANNOUNCED).replace("1; 0 16385", "2; 0 16386").replace(
        "public.t", "public.u"
    )
    orders = set(shuffled(refusal("t", "x"), refusal("u", "y")))
    assert {order: found for order in orders if (found := failures(entered + order)) != REFUSALS} == {}


@pytest.mark.parametrize(
    "other",
    [
        ["pg_dump:", " ", 'dumping contents of table "public.t"\n'],
        ["pg_dump:", " ", "finished item 12 TABLE DATA t\n", "pg_dump:", " ", "finished item 13 TABLE DATA u\n"],
        ["pg_dump:", " ", "error: ", "a worker process died unexpectedly\n"],
    ],
    ids=["at work", "nearly done", "the leader"],
)
def test_why_a_worker_of_pg_dump_died_is_told_whatever_others_write_meanwhile(other: list[str]) -> None:
    reason = 'reconnection failed: FATAL:  too many connections for database "shop"'
    told = set()
    for order in shuffled(["pg_dump:", " ", "error: ", f"{reason}\n"], other):
        voices = Voices()
        lines = [voices.alone(line) for line in order.splitlines()]
        told.add(in_one_line(telling(conversation(lines)) or ["nothing"]))
    assert told == {f"pg_dump: error: {reason}"}
