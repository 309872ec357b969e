"""``glacier-backup`` on a real catalog: what must work when Airflow does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import yaml

from glacier_provider import __version__, cli
from glacier_provider.applications.schema import json_schema
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.migrate import newest_version
from glacier_provider.cli import connections
from glacier_provider.errors import ConfigurationError
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.emulator.s3 import S3Emulator
from tests.support.application import ApplicationUnderTest, a_small_dms, an_application
from tests.support.postgres import EmbeddedPostgres

STRANGE_NAME = "sub dir/a\nb\x1b[2Jc.txt"


def uri_of(server: Server, **changes: Any) -> str:
    """Return a server as a libpq URI."""
    server = replace(server, **changes)
    password = quote(server.password or "", safe="")
    return f"postgresql://{server.user}:{password}@{server.host}:{server.port}/{server.dbname}"


def json_of(server: Server, **fields: Any) -> str:
    """Return a server as the JSON of an AIRFLOW_CONN_ variable."""
    named = {"login": server.user, "password": server.password, "schema": server.dbname}
    return json.dumps({"conn_type": "postgres", "host": server.host, "port": server.port, **named, **fields})


def described(*applications: ApplicationUnderTest) -> str:
    """Return the text of an applications.yaml."""
    entries = {app.application.name: app.application.to_dict() for app in applications}
    for entry in entries.values():
        del entry["name"]
    return yaml.safe_dump({"applications": entries})


@pytest.fixture(scope="module")
def kept(
    postgres: EmbeddedPostgres, s3: S3Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApplicationUnderTest]:
    """Two complete backups, a failed one, and a restore of the first; read by the tests, never changed."""
    servers = [postgres.create_database(name) for name in ("cli_dms", "cli_catalog")]
    bucket = s3.create_bucket("cli-bucket")
    store = f"s3://{bucket}/pre?storage_class=GLACIER"
    application = an_application(tmp_path_factory.mktemp("dms"), store=store)
    app = a_small_dms(ApplicationUnderTest(application, servers[0], a_catalog(servers[1]), servers[1], s3))
    app.write(STRANGE_NAME, "strange")
    first = app.back_up()
    app.write("doc4.pdf", "content 4")
    app.back_up()
    failed = app.catalog.backups.open(Run("glacier_backup__dms", "manual__failed"))
    app.catalog.backups.fail(failed, "dump_database: ToolFailed: pg_dump\nended with 1. " + "See the log. " * 20)
    app.restore(first)
    app.catalog.close()
    yield app
    app.catalog.close()
    for server in servers:
        postgres.drop_database(server.dbname)


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def table(self) -> list[dict[str, str]]:
        """The rows of a table, by the names of its columns."""
        head, rule, *rows = self.out.splitlines()
        columns, start = [], 0
        for dashes in rule.split():
            at = rule.index(dashes, start)
            columns.append((at, at + len(dashes)))
            start = at + len(dashes)
        columns[-1] = (columns[-1][0], 10_000)
        names = [head[begin:end].strip() for begin, end in columns]
        return [dict(zip(names, (row[begin:end].strip() for begin, end in columns), strict=True)) for row in rows]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs one command in this process."""

    def run(*argv: object) -> Answer:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in argv])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def ask(
    kept: ApplicationUnderTest, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Runs one command on the kept catalog; it has to succeed."""
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(kept.catalog_server))

    def ask(*argv: object) -> Answer:
        answer = run(*argv)
        assert answer.code == 0, answer.err
        assert answer.err == ""
        return answer

    return ask


Ask = Callable[..., Answer]


# --- what the catalog says -----------------------------------------------------------------------------------------


def test_backups_are_listed_the_newest_first(ask: Ask) -> None:
    rows = ask("list").table
    assert [(row["id"], row["state"]) for row in rows] == [("3", "failed"), ("2", "complete"), ("1", "complete")]
    assert [(row["files"], row["new"], row["new bytes"]) for row in rows[1:]] == [("5", "1", "9 B"), ("4", "4", "34 B")]
    assert {row["application"] for row in rows} == {"dms"}
    assert all(row["database"].endswith("kB") for row in rows[1:])
    datetime.fromisoformat(rows[0]["opened (UTC)"])


def test_a_failed_backup_says_why_on_one_line(ask: Ask) -> None:
    failed, complete, _ = ask("list").table
    assert failed["error"].startswith("dump_database: ToolFailed: pg_dump ended with 1.")
    assert failed["error"].endswith("…")
    assert len(failed["error"]) == 60
    assert complete["error"] == failed["retrieval"] == ""


def test_a_list_as_json_has_every_column(ask: Ask) -> None:
    newest = ask("list", "--json", "--state", "complete").json[0]
    assert (newest["id"], newest["state"], newest["files_count"], newest["application"]) == (2, "complete", 5, "dms")
    assert datetime.fromisoformat(newest["opened_at"]).utcoffset() is not None
    assert newest["report"]["changed_count"] == 0
    assert type(newest["files_bytes"]) is type(newest["database_bytes"]) is int


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--state", "complete"), [2, 1]),
        (("--state", "running"), []),
        (("--limit", 1), [3]),
        (("--limit", 1, "--offset", 2), [1]),
        (("--application", "dms"), [3, 2, 1]),
        (("dms",), [3, 2, 1]),
    ],
)
def test_a_list_is_narrowed_down(ask: Ask, options: tuple[object, ...], ids: list[int]) -> None:
    assert [row["id"] for row in ask("list", "--json", *options).json] == ids


def test_an_empty_list_is_said(ask: Ask) -> None:
    assert ask("list", "--state", "running").out == "Nothing to show.\n"
    assert ask("list", "--state", "running", "--json").json == []


def test_one_backup_is_shown_with_its_archives_and_its_restores(ask: Ask) -> None:
    lines = ask("show", 1).out.splitlines()
    pairs = {words[0]: words[1] for line in lines if len(words := re.split(r" {2,}", line)) == 2}
    assert (pairs["backup"], pairs["state"], pairs["files"], pairs["size of the files"]) == (
        "1",
        "complete",
        "4",
        "34 B",
    )
    assert pairs["started"].endswith(" UTC")
    assert not {"files_count", "opened_at", "database_archive_id"} & set(" ".join(lines).split())
    assert any(line.strip().startswith("in place: 4 archives, 34 B") for line in lines)
    assert lines[-1].startswith("restore 1: complete, opened 20")
    assert lines[-1].endswith(" UTC, 7 checks passed")


def test_one_backup_as_json(ask: Ask) -> None:
    shown = ask("show", 1, "--json").json
    assert (shown["id"], shown["state"], shown["retrieval_status"]) == (1, "complete", "ready")
    assert shown["archives"]["exists"] == {"archives": 4, "bytes": 34}
    assert [(restore["id"], restore["state"]) for restore in shown["restores"]] == [(1, "complete")]


@pytest.mark.parametrize("command", ["show", "archives"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_unknown_backup_is_an_error_that_says_where_to_look(
    run: Callable[..., Answer], kept: ApplicationUnderTest, command: str, options: tuple[str, ...]
) -> None:
    for backup_id in (99, 0, -1, 2**70):
        answer = run(command, backup_id, *options, "--catalog", uri_of(kept.catalog_server))
        assert (answer.code, answer.out) == (1, "")
        said = f"There is no backup {backup_id}. List the backups with: glacier-backup list"
        assert answer.err.endswith(f"glacier-backup: UnknownBackup: {said}\n")


def test_the_archives_of_a_backup_are_listed_the_dump_and_the_manifest_first(ask: Ask) -> None:
    rows = ask("archives", 2).table
    assert [row["kind"] for row in rows] == ["database", "manifest", *["file"] * 5]
    assert {row["state"] for row in rows} == {"archived"}
    assert [row["made by"] for row in rows if row["filename"] in ("doc1.pdf", "doc4.pdf")] == ["1", "2"]
    assert all(row["checksum"].startswith("sha256:") for row in rows)


def test_a_file_name_cannot_write_to_the_terminal(ask: Ask) -> None:
    answer = ask("archives", 1, "--containing", "sub dir")
    (row,) = answer.table
    assert row["filename"] == r"sub dir/a\nb\x1b[2Jc.txt"
    (told,) = ask("archives", 1, "--containing", "sub dir", "--json").json
    assert told["filename"] == STRANGE_NAME


@pytest.mark.parametrize(("part", "names"), [("doc1", ["doc1.pdf"]), ("DOC1", []), ("%", []), ("_", []), ("'", [])])
def test_archives_are_found_by_a_part_of_their_name(ask: Ask, part: str, names: list[str]) -> None:
    assert [row["filename"] for row in ask("archives", 1, "--containing", part, "--json").json] == names


def test_archives_are_paged(ask: Ask) -> None:
    pages = [ask("archives", 2, "--json", "--limit", 3, "--offset", offset).json for offset in (0, 3, 6)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert len({row["id"] for page in pages for row in page}) == 7


def test_restores_are_listed_with_what_they_did(ask: Ask) -> None:
    (row,) = ask("restores").table
    assert (row["id"], row["application"], row["backup"], row["state"]) == ("1", "dms", "1", "complete")
    assert row["orphans"] == "1"
    assert row["to retrieve"].endswith("kB")
    (told,) = ask("restores", "--json").json
    assert told["plan"]["to_request"]["archives"] == 1
    assert told["outcome"]["orphans"]["moved"] == 1


def test_a_restore_that_goes_on_or_was_stopped_tells_how_far_it_is(
    dms: ApplicationUnderTest, run: Callable[..., Answer]
) -> None:
    dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    of = ("restores", "--catalog", uri_of(dms.catalog_server))
    planned = dms.plan()
    number = planned["restore_id"]
    assert "in place" not in run(*of).out, "it has not begun"
    dms.catalog.restores.start(number)
    (row,) = run(*of).table
    assert row["so far"] == "0 of 2 in place, 2 available"
    dms.ask(planned)
    dms.catalog.restores.fail(number, "stopped")
    (row,) = run(*of).table
    assert (row["state"], row["so far"]) == ("failed", "0 of 2 in place, 2 pending")
    (told,) = run(*of, "--json").json
    assert told["progress"]["pending"]["archives"] == 2
    dms.plan()
    assert "in place" not in run(*of).out, "another one came after it"


# --- where the catalog is ------------------------------------------------------------------------------------------


def test_the_catalog_is_named_by_the_option_before_the_variable(
    kept: ApplicationUnderTest, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLACIER_CATALOG_URI", "postgresql://nobody@127.0.0.1:1/none")
    assert len(run("list", "--json", "--catalog", uri_of(kept.catalog_server)).json) == 3


def test_the_password_may_come_by_pgpassword(
    kept: ApplicationUnderTest, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command line is seen by every user of a machine."""
    server = kept.catalog_server
    monkeypatch.setenv("PGPASSWORD", server.password or "")
    uri = f"postgresql://{server.user}@{server.host}:{server.port}/{server.dbname}"
    assert run("list", "--catalog", uri).code == 0


@pytest.fixture
def described_in_a_file(kept: ApplicationUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "applications.yaml"
    path.write_text(described(kept))
    monkeypatch.setenv("GLACIER_APPLICATIONS", str(path))
    return path


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda server: uri_of(server).replace("postgresql:", "postgres:"), id="URI"),
        pytest.param(lambda server: uri_of(server) + "?sslmode=prefer&keepalives=1", id="URI with parameters"),
        pytest.param(
            lambda server: uri_of(server) + "?" + urlencode({"__extra__": '{"sslmode": "prefer", "other": {"a": 1}}'}),
            id="URI with JSON extras",
        ),
        pytest.param(json_of, id="JSON"),
        pytest.param(lambda server: json_of(server, extra={"sslmode": "prefer", "other": 1}), id="JSON with extras"),
        pytest.param(
            lambda server: json_of(server, extra='{"connect_timeout": 10, "sslmode": null}'), id="extras as text"
        ),
        pytest.param(lambda server: "  " + json_of(server, port=str(server.port), extra=None), id="port as text"),
    ],
)
@pytest.mark.usefixtures("described_in_a_file")
def test_the_catalog_is_found_by_the_applications_connection(
    kept: ApplicationUnderTest,
    run: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    form: Callable[[Server], str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", form(kept.catalog_server))
    for options in ((), ("--application", "dms")):
        answer = run("list", "--json", *options)
        assert answer.code == 0, answer.err
        assert len(answer.json) == 3


def test_the_schema_of_the_application_is_used(
    kept: ApplicationUnderTest, run: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = described(kept).replace("catalog_schema: glacier_catalog", "catalog_schema: elsewhere")
    (tmp_path / "a.yaml").write_text(entry)
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", json_of(kept.catalog_server))
    answer = run("list", "--applications", tmp_path / "a.yaml")
    assert answer.code == 1
    assert "elsewhere" in answer.err
    assert run("list", "--applications", tmp_path / "a.yaml", "--schema", "glacier_catalog").code == 0


SECRET = "pass:wörd/1"


@pytest.mark.parametrize(
    ("variable", "form"),
    [
        ("GLACIER_CATALOG_URI", lambda server: uri_of(server, password=SECRET)),
        ("AIRFLOW_CONN_GLACIER_CATALOG", lambda server: uri_of(server, password=SECRET)),
        ("AIRFLOW_CONN_GLACIER_CATALOG", lambda server: json_of(server, password=SECRET)),
    ],
)
@pytest.mark.usefixtures("described_in_a_file")
def test_a_wrong_password_is_an_error_that_does_not_tell_it(
    kept: ApplicationUnderTest,
    run: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    form: Callable[[Server], str],
) -> None:
    monkeypatch.setenv(variable, form(kept.catalog_server))
    answer = run("list")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("glacier-backup: DatabaseRefused: ")
    assert "password authentication failed" in answer.err
    assert not any(secret in answer.err for secret in (SECRET, quote(SECRET), quote(SECRET, safe=""), "wörd"))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GLACIER_CATALOG_URI", "postgresql://user:geheim@host:5432:1/x", "The catalog"),
        ("GLACIER_CATALOG_URI", "postgresql://user:geheim@host:port/x", "The catalog's port 'port' is no number"),
        ("GLACIER_CATALOG_URI", "postgresql://user:geheim@a:1,b:2/x", "port"),
        ("GLACIER_CATALOG_URI", "postgresql://user:geheim@host/x?nonsense=1", "The catalog URI cannot be read"),
        ("GLACIER_CATALOG_URI", "geheim", "The catalog URI cannot be read"),
        ("GLACIER_CATALOG_URI", "host=h password=geheim options=-csearch_path=x", "options, which is not supported"),
        (
            "AIRFLOW_CONN_GLACIER_CATALOG",
            '{"conn_type": "postgres", "password": "geheim"',
            "AIRFLOW_CONN_GLACIER_CATALOG",
        ),
        (
            "AIRFLOW_CONN_GLACIER_CATALOG",
            '{"conn_type": "postgres", "extra": "{geheim"}',
            "no connection that can be read",
        ),
        ("AIRFLOW_CONN_GLACIER_CATALOG", "postgres://user:geheim@host:port/x", "no connection that can be read"),
        ("AIRFLOW_CONN_GLACIER_CATALOG", "postgres://user:geheim@[host/x", "no connection that can be read"),
        ("AIRFLOW_CONN_GLACIER_CATALOG", "mysql://user:geheim@host/x", "is of type mysql"),
        ("AIRFLOW_CONN_GLACIER_CATALOG", '{"password": "geheim"}', "is of type None"),
    ],
)
@pytest.mark.usefixtures("described_in_a_file")
def test_a_place_that_cannot_be_read_is_an_error_that_does_not_tell_it(
    run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    answer = run("list")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("glacier-backup: ConfigurationError: ")
    assert said in answer.err
    assert "geheim" not in answer.err


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("postgres://u:p@%2FRun%2FPostgreSQL/x", "/Run/PostgreSQL"),
        ("postgres://u:p@[::1]:5433/x", "::1"),
        ("postgres://u:p@Db.Example.com/x", "Db.Example.com"),
        ("postgres:///x", ""),
    ],
)
def test_a_connections_host_may_be_a_directory_or_an_address(value: str, host: str) -> None:
    assert connections.server_of_variable("V", value).host == host


def test_a_server_that_does_not_answer_is_an_error(run: Callable[..., Answer]) -> None:
    answer = run("list", "--catalog", "postgresql://glacier@127.0.0.1:1/glacier")
    assert answer.code == 1
    assert "DatabaseUnreachable: Cannot connect to database 'glacier' at 127.0.0.1:1" in answer.err


def test_no_connection_at_all_says_how_to_name_one(
    kept: ApplicationUnderTest, run: Callable[..., Answer], tmp_path: Path
) -> None:
    """Neither a variable nor Airflow (which has no such connection, and no database here) knows it."""
    entry = described(kept).replace("catalog_conn_id: glacier_catalog", "catalog_conn_id: nowhere")
    (tmp_path / "a.yaml").write_text(entry)
    answer = run("list", "--applications", tmp_path / "a.yaml")
    assert answer.code == 1
    assert "Airflow does not give the connection nowhere" in answer.err
    assert "AIRFLOW_CONN_NOWHERE or GLACIER_CATALOG_URI" in answer.err


def test_a_catalog_that_is_not_there_says_how_to_make_it(database: Server, run: Callable[..., Answer]) -> None:
    for command in (["list"], ["show", 1], ["archives", 1], ["restores"], ["undo-orphans", 1]):
        answer = run(*command, "--catalog", uri_of(database))
        assert (answer.code, answer.out) == (1, "")
        assert "glacier-backup: CatalogNotReady: " in answer.err
        assert answer.err.endswith("Run: glacier-backup migrate\n")


# --- migrate -------------------------------------------------------------------------------------------------------


def test_migrate_makes_the_catalog_and_says_its_version(database: Server, run: Callable[..., Answer]) -> None:
    where = ("--catalog", uri_of(database))
    made = run("migrate", *where)
    assert made.code == 0, made.err
    assert made.out == f"The catalog schema glacier_catalog is at version {newest_version()}.\n"
    assert run("list", *where).out == "Nothing to show.\n"
    again = run("migrate", *where, "--json")
    assert again.json == {"schema": "glacier_catalog", "version": newest_version()}


def test_migrate_makes_a_schema_of_another_name(database: Server, run: Callable[..., Answer]) -> None:
    where = ("--catalog", uri_of(database), "--schema", "My Catalog")
    assert "My Catalog" in run("migrate", *where).out
    assert run("list", *where).code == 0
    assert run("list", "--catalog", uri_of(database)).code == 1


def test_a_catalog_of_a_newer_version_is_left_alone(database: Server, run: Callable[..., Answer]) -> None:
    where = ("--catalog", uri_of(database))
    assert run("migrate", *where).code == 0
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.catalog_version SET version_num = '9999'")
    answer = run("migrate", *where)
    assert answer.code == 1
    assert "9999" in answer.err
    assert "Upgrade glacier_provider" in answer.err


# --- applications --------------------------------------------------------------------------------------------------


def test_applications_are_listed_without_a_catalog(
    kept: ApplicationUnderTest, run: Callable[..., Answer], described_in_a_file: Path
) -> None:
    (row,) = run("applications").table
    assert (row["name"], row["schedule"], row["catalog"]) == ("dms", "@daily", "glacier_catalog")
    (told,) = run("applications", "--json").json
    assert told == kept.application.to_dict()


def test_the_schema_of_the_file_is_printed_without_one(run: Callable[..., Answer], tmp_path: Path) -> None:
    answer = run("applications", "--json-schema", "--applications", tmp_path / "gone.yaml")
    assert answer.json == json_schema()


def test_a_wrong_file_of_applications_is_an_error_that_names_the_field(
    run: Callable[..., Answer], described_in_a_file: Path
) -> None:
    described_in_a_file.write_text(described_in_a_file.read_text().replace("connections: 16", "connections: many"))
    answer = run("applications")
    assert answer.code == 1
    assert "field 'connections'" in answer.err


def test_an_unknown_application_is_an_error_that_names_the_known_ones(
    run: Callable[..., Answer], described_in_a_file: Path
) -> None:
    answer = run("list", "--application", "shop")
    assert answer.code == 1
    assert "There is no application 'shop'" in answer.err
    assert "it has: dms" in answer.err


def two_applications(
    make: Callable[..., ApplicationUnderTest], path: Path, **settings: Any
) -> list[ApplicationUnderTest]:
    apps = [a_small_dms(make("dms")), a_small_dms(make("shop", **settings))]
    path.write_text(described(*apps))
    return apps


def test_several_catalogs_ask_for_the_application(
    make_application: Callable[..., ApplicationUnderTest], run: Callable[..., Answer], tmp_path: Path
) -> None:
    two_applications(make_application, tmp_path / "a.yaml", catalog_conn_id="shop_catalog")
    answer = run("list", "--applications", tmp_path / "a.yaml")
    assert answer.code == 1
    assert "Name one: --application dms|shop" in answer.err


# --- undo-orphans --------------------------------------------------------------------------------------------------


@pytest.fixture
def with_an_orphan(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.back_up()
    dms.write("sub/new.pdf", "new")
    dms.restore(1)
    assert not (dms.files / "sub/new.pdf").exists()
    return dms


def names_of_applications(app: ApplicationUnderTest) -> list[str]:
    with app.catalog_server.connect() as connection:
        return [row[0] for row in connection.execute("SELECT name FROM glacier_catalog.applications ORDER BY 1")]


@pytest.mark.parametrize("options", [(), ("--application", "dms")])
def test_orphans_come_back(
    with_an_orphan: ApplicationUnderTest, run: Callable[..., Answer], tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Whose they are is known from the catalog: nothing is written there in another application's name."""
    (tmp_path / "a.yaml").write_text(described(with_an_orphan))
    where = ("--catalog", uri_of(with_an_orphan.catalog_server), "--applications", tmp_path / "a.yaml")
    answer = run("undo-orphans", 1, *where, *options)
    assert answer.code == 0, answer.err
    assert answer.out == f"1 file moved back, 0 left in {with_an_orphan.orphans}.\n"
    assert with_an_orphan.contents()["sub/new.pdf"] == b"new"
    assert names_of_applications(with_an_orphan) == ["dms"]
    again = run("undo-orphans", 1, *where, *options, "--json")
    assert again.json == {"moved_back": 0, "left": 0}


def test_orphans_of_the_second_application_of_a_catalog_come_back(
    with_an_orphan: ApplicationUnderTest,
    make_application: Callable[..., ApplicationUnderTest],
    run: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = make_application("another")
    (tmp_path / "a.yaml").write_text(described(other, with_an_orphan))
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", json_of(with_an_orphan.catalog_server))
    answer = run("undo-orphans", 1, "--applications", tmp_path / "a.yaml")
    assert answer.code == 0, answer.err
    assert "sub/new.pdf" in with_an_orphan.contents()
    wrong = run("undo-orphans", 1, "--applications", tmp_path / "a.yaml", "--application", "another")
    assert wrong.code == 1
    assert "Restore 1 belongs to the application dms, not another." in wrong.err


def test_orphans_of_an_unknown_restore_are_an_error(
    ask: Ask, kept: ApplicationUnderTest, run: Callable[..., Answer]
) -> None:
    answer = run("undo-orphans", 99)
    assert answer.code == 1
    assert "There is no restore 99. List them with: glacier-backup restores" in answer.err


# --- the command itself --------------------------------------------------------------------------------------------


def in_a_process(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, as from a shell without any of our settings."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "AIRFLOW_HOME", "TMPDIR") if name in os.environ}
    argv = (sys.executable, *argv)
    return subprocess.run(argv, env={**keep, **variables}, capture_output=True, text=True, check=False, timeout=120)


LIST_WITHOUT_AIRFLOW = """
import sys
from glacier_provider.cli import main
code = main(["list", "--json"])
loaded = {"airflow", "alembic", "argcomplete", "boto3", "sqlalchemy", "fastapi", "rich"} & set(sys.modules)
sys.exit(f"it loaded {loaded}" if loaded else code)
"""


def test_a_list_loads_neither_airflow_nor_anything_else_that_is_heavy(kept: ApplicationUnderTest) -> None:
    ended = in_a_process("-c", LIST_WITHOUT_AIRFLOW, GLACIER_CATALOG_URI=uri_of(kept.catalog_server))
    assert ended.returncode == 0, ended.stderr
    assert len(json.loads(ended.stdout)) == 3
    assert ended.stderr == ""


def test_an_error_is_one_line_on_stderr_and_the_exit_code(kept: ApplicationUnderTest) -> None:
    uri = uri_of(kept.catalog_server, password=SECRET)
    ended = in_a_process("-m", "glacier_provider.cli", "list", GLACIER_CATALOG_URI=uri)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr


READER_THAT_LEAVES = """
import os, sys
from glacier_provider.cli import main
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 1)
sys.exit(main(["list", "--json"]))
"""


def test_a_reader_that_has_seen_enough_is_no_error(kept: ApplicationUnderTest) -> None:
    ended = in_a_process("-c", READER_THAT_LEAVES, GLACIER_CATALOG_URI=uri_of(kept.catalog_server))
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["restore"],
        ["show"],
        ["show", "latest"],
        ["list", "--limit", "-1"],
        ["list", "--offset", "x"],
        ["list", "--state", "x"],
        ["list", "--stat", "failed", "--nonsense"],
        ["list", "dms", "too"],
        ["delete", "dms", "1", "--yes"],
    ],
)
def test_wrong_usage_ends_with_2_and_the_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    assert "usage: glacier-backup" in capsys.readouterr().err


COMMANDS = ["list", "show", "archives", "restores", "applications", "migrate", "undo-orphans"]


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert [command for command in COMMANDS if f"\n    {command}" not in said] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert "--catalog URI" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


def test_a_file_without_applications_says_what_to_name(run: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("applications: {}")
    answer = run("list", "--applications", tmp_path / "a.yaml")
    assert answer.code == 1
    assert "No application is configured" in answer.err
    assert "--catalog URI" in answer.err


def test_the_uris_example_can_be_read() -> None:
    assert connections.server_of_uri(connections.URI_EXAMPLE).host == "db.example.com"
    with pytest.raises(ConfigurationError):
        connections.server_of_uri("nonsense")


# --- what a person sees when something is wrong -----------------------------------------------------------------------


def test_an_application_that_nobody_knows_is_an_error_with_the_nearest_name(
    run: Callable[..., Answer], kept: ApplicationUnderTest
) -> None:
    for command in ("list", "restores"):
        answer = run(command, "--application", "dmss", "--catalog", uri_of(kept.catalog_server))
        assert (answer.code, answer.out) == (1, "")
        assert "There is no application 'dmss'; did you mean 'dms'?" in answer.err
    answer = run("list", "--application", "nope", "--catalog", uri_of(kept.catalog_server))
    assert "There is no application 'nope'; there are: dms" in answer.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(13, "Permission denied", "/srv/x"), 1, "PermissionError: Permission denied: /srv/x"),
        (ValueError("postgresql://me:geheim@host/db"), 1, "ValueError: postgresql://…@host/db"),
        (EOFError(), 1, "the answer was not given"),
        (RuntimeError("a\nb"), 1, "RuntimeError: a. This is unexpected"),
    ],
)
@pytest.mark.parametrize(
    "argv", [["list"], ["migrate"], ["delete", "dms", "1"], ["retention", "dms"], ["costs", "dms"]]
)
def test_no_command_shows_a_traceback(
    run: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    error: BaseException,
    code: int,
    words: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    for module in ("show", "maintenance", "deletion", "costs"):
        monkeypatch.setattr(f"glacier_provider.cli.{module}.open_catalog", fail)
    monkeypatch.setattr("glacier_provider.applications.load_applications", fail)
    answer = run(*argv)
    assert answer.code == code
    assert words in answer.err
    assert "Traceback" not in answer.err
    assert "geheim" not in answer.err


def test_migrate_without_the_right_to_create_names_the_grant_that_helps(
    postgres: EmbeddedPostgres, database: Server, run: Callable[..., Answer]
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS poor_glacier")
        connection.execute("CREATE ROLE poor_glacier LOGIN PASSWORD 'x' NOSUPERUSER")
    where = ("--catalog", uri_of(database, user="poor_glacier", password="x"))
    answer = run("migrate", *where)
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.err.splitlines()) <= 3
    (grant,) = re.findall(r"GRANT CREATE ON DATABASE .*;", answer.err)
    with database.connect(autocommit=True) as connection:
        connection.execute(grant.encode())
    made = run("migrate", *where)
    assert made.code == 0, made.err
    assert "alembic" not in made.err.lower()
    assert "Running upgrade" not in made.err
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP SCHEMA glacier_catalog CASCADE")
        connection.execute(f"REVOKE ALL ON DATABASE {database.dbname} FROM poor_glacier".encode())
        connection.execute("DROP ROLE poor_glacier")


@pytest.mark.parametrize(
    ("catalog", "is_warned_of"),
    [
        ("postgresql://me:geheim@127.0.0.1:1/x", True),
        ("postgresql://me@127.0.0.1:1/x?password=geheim", True),
        ("host=127.0.0.1 port=1 user=me password = geheim", True),
        ("postgresql://me@127.0.0.1:1/x", False),
        ("host=127.0.0.1 port=1 user=me", False),
    ],
)
def test_a_password_on_the_command_line_is_warned_of(
    catalog: str, is_warned_of: bool, run: Callable[..., Answer]
) -> None:
    answer = run("list", "--catalog", catalog)
    assert answer.code == 1
    assert ("GLACIER_CATALOG_URI" in answer.err, ".pgpass" in answer.err) == (is_warned_of, is_warned_of)
    assert "geheim" not in answer.err
