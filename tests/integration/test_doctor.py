"""``glacier-backup doctor``: each misconfiguration of the first hour is named, with its mend."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from glacier_provider import cli
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.emulator.s3 import S3Emulator
from tests.support.airflow import aws_connection, postgres_connection
from tests.support.postgres import EmbeddedPostgres

BUCKET = "doctor-bucket"


class Installation:
    """An installation that is well, to be spoiled by a test."""

    def __init__(self, root: Path, database: Server, catalog: Server, s3: S3Emulator, set_: Callable[[str, str], None]):
        self.root, self.database, self.catalog, self.s3, self.set = root, database, catalog, s3, set_
        self.files = root / "files"
        self.files.mkdir()
        (self.files / "a.pdf").write_bytes(b"a")
        self.entry: dict[str, Any] = {
            "postgres_conn_id": "dms_db",
            "files_directory": str(self.files),
            "staging_directory": str(root / "staging"),
            "orphan_directory": str(root / "orphans"),
            "store": f"s3://{BUCKET}/pre?storage_class=GLACIER",
        }
        self.connect("dms_db", postgres_connection(database))
        self.connect("glacier_catalog", postgres_connection(catalog))
        self.connect("aws_default", aws_connection(s3.url))

    def connect(self, conn_id: str, connection: str) -> None:
        self.set(f"AIRFLOW_CONN_{conn_id.upper()}", connection)

    @property
    def file(self) -> Path:
        path = self.root / "applications.yaml"
        path.write_text(yaml.safe_dump({"applications": {"dms": self.entry}}))
        return path

    def server(self, **changes: Any) -> str:
        return json.dumps({**json.loads(postgres_connection(self.database)), **changes})


@pytest.fixture(scope="module")
def servers(postgres: EmbeddedPostgres, s3: S3Emulator) -> Iterator[tuple[Server, Server]]:
    made = postgres.create_database("doctor_dms"), postgres.create_database("doctor_catalog")
    with a_catalog(made[1]) as catalog:
        catalog.migrate()
    with made[0].connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE documents (id int); CREATE ROLE poor LOGIN PASSWORD 'poor'")
    s3.create_bucket(BUCKET)
    yield made
    for server in made:
        postgres.drop_database(server.dbname)
    with postgres.create_database("doctor_end").connect(autocommit=True) as connection:
        connection.execute("DROP ROLE poor")
    postgres.drop_database("doctor_end")


@pytest.fixture
def installed(
    servers: tuple[Server, Server], s3: S3Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    client = s3.client()
    client.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration=dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        ),
    )
    a_rule(s3)
    yield Installation(tmp_path, *servers, s3, monkeypatch.setenv)
    s3.allow(BUCKET)
    s3.plan.clear()


def a_rule(s3: S3Emulator, *more: dict[str, Any]) -> None:
    aborts = {
        "ID": "parts",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 14},
    }
    s3.client().put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [aborts, *more]})


def diagnosed(installed: Installation, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[Any]]:
    capsys.readouterr()
    code = cli.main(["doctor", "--json", "--applications", str(installed.file), *options])
    answer = capsys.readouterr()
    assert answer.out, answer.err
    return code, [one for found in json.loads(answer.out).values() for one in found]


def no_such_bucket(i: Installation) -> None:
    i.entry["store"] = "s3://no-such-bucket/pre?storage_class=GLACIER"


def deletes_archives(i: Installation) -> None:
    a_rule(i.s3, {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "pre/"}, "Expiration": {"Days": 30}})


def moves_archives(i: Installation) -> None:
    move = {"Days": 9, "StorageClass": "DEEP_ARCHIVE"}
    a_rule(i.s3, {"ID": "deep", "Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [move]})


def no_rule(i: Installation) -> None:
    i.s3.client().delete_bucket_lifecycle(Bucket=BUCKET)


def public(i: Installation) -> None:
    i.s3.client().delete_public_access_block(Bucket=BUCKET)


def a_file_for_staging(i: Installation) -> None:
    (i.root / "staging").write_bytes(b"")


#: What is spoiled, how, what it is called, and words of the mend.
PLANTED: dict[str, tuple[Callable[[Installation], Any], str, str, str]] = {
    "a field of applications.yaml": (
        lambda i: i.entry.update(schedule="daily"),
        "applications.yaml",
        "cron expression",
        "glacier-backup applications",
    ),
    "no connection of the database": (
        lambda i: i.entry.update(postgres_conn_id="nobody"),
        "database (nobody)",
        "no Airflow connection nobody",
        "AIRFLOW_CONN_NOBODY",
    ),
    "a database that is away": (
        lambda i: i.connect("dms_db", i.server(port=1)),
        "database (dms_db)",
        "refused",
        "server runs",
    ),
    "a wrong password": (
        lambda i: i.connect("dms_db", i.server(login="poor", password="wrong")),
        "database (dms_db)",
        "password",
        "",
    ),
    "a user that may not read": (
        lambda i: i.connect("dms_db", i.server(login="poor", password="poor")),
        "privileges",
        "public.documents",
        "GRANT pg_read_all_data TO poor",
    ),
    "no client programs": (
        lambda i: i.entry.update(pg_bin_directory=str(i.root)),
        "client programs",
        "",
        "pg_bin_directory",
    ),
    "a catalog that is not made": (
        lambda i: i.entry.update(catalog_schema="another"),
        "catalog (glacier_catalog)",
        "version none",
        "glacier-backup migrate",
    ),
    "no files directory": (lambda i: i.entry.update(files_directory=str(i.root / "away")), "files_directory", "", ""),
    "a directory that is not mounted": (
        lambda i: (i.files / "a.pdf").unlink(),
        "files_directory",
        "it is empty",
        "Mount it",
    ),
    "staging that is a file": (a_file_for_staging, "staging_directory", "no directory", "remove what is there"),
    "no bucket": (no_such_bucket, "bucket", "no-such-bucket", ""),
    "a wrong key": (lambda i: i.s3.deny(BUCKET), "bucket", "AccessDenied", ""),
    "no permission to write": (
        lambda i: i.s3.deny(BUCKET, {"CreateMultipartUpload"}),
        "permission s3:PutObject",
        "not allowed",
        "--fix-print",
    ),
    "no permission to retrieve": (
        lambda i: i.s3.deny(BUCKET, {"RestoreObject"}),
        "permission s3:RestoreObject",
        "not allowed",
        "s3:RestoreObject",
    ),
    "no permission to read": (
        lambda i: i.s3.deny(BUCKET, {"HeadObject"}),
        "permission s3:GetObject",
        "not allowed",
        "s3:GetObject",
    ),
    "a rule that deletes archives": (deletes_archives, "bucket lifecycle", "deletes what is below pre/", "Expiration"),
    "a rule that moves archives": (moves_archives, "bucket lifecycle", "to DEEP_ARCHIVE", "storage_class"),
    "no rule for parts": (no_rule, "bucket lifecycle", "incomplete uploads", "AbortIncompleteMultipartUpload"),
    "a bucket that may be public": (public, "public access", "not blocked", "Block all public access"),
    "no role for checksums": (
        lambda i: i.entry.update(verify="content"),
        "role of S3 Batch Operations",
        "names none",
        "set verify.role_arn",
    ),
    "no queue": (
        lambda i: i.entry.update(notifications={"queue": "no-such-queue"}),
        "queue of notifications",
        "no-such-queue",
        "",
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_wrong_is_named_with_its_mend(
    case: str, installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, about, words, mend = PLANTED[case]
    spoil(installed)
    _, found = diagnosed(installed, capsys)
    named = [one for one in found if one["about"].startswith(about) and one["judgement"] in ("wrong", "doubtful")]
    assert any(words in one["told"] and mend in one["mend"] for one in named), found
    assert "geheim" not in str(found)


def test_what_is_well_is_well_and_nothing_is_left_behind(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir(installed.root))
    _, found = diagnosed(installed, capsys)
    bad = [one for one in found if one["judgement"] in ("wrong", "doubtful") and not about_airflow(one)]
    assert bad == []
    assert {"permission s3:PutObject", "permission s3:RestoreObject", "clock", "client programs"} <= {
        one["about"] for one in found if one["judgement"] == "well"
    }
    client = installed.s3.client()
    assert client.list_objects_v2(Bucket=BUCKET).get("KeyCount") == 0
    assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    assert sorted(os.listdir(installed.root)) == sorted({*before, "applications.yaml"})


@pytest.mark.slow
def test_what_airflow_lacks_is_named(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.support.airflow import initialise_airflow

    initialise_airflow()
    installed.entry["pool"] = "no_such_pool"
    _, found = diagnosed(installed, capsys)
    named = {one["about"]: one["mend"] for one in found if about_airflow(one) and one["judgement"] == "wrong"}
    assert set(named) == {
        "pool",
        "DAG glacier_backup__dms",
        "DAG glacier_restore__dms",
        "scheduler",
        "triggerer",
    }
    assert named["pool"].startswith("airflow pools set no_such_pool")
    assert named["triggerer"] == "Start it: airflow triggerer"


def about_airflow(one: Any) -> bool:
    return one["about"] in ("Airflow", "scheduler", "triggerer", "pool") or one["about"].startswith("DAG ")


def test_the_mends_are_printed_for_this_configuration(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--fix-print", "--applications", str(installed.file)]) == 0
    out = capsys.readouterr().out
    policy = json.loads(out[out.index("{") : out.index("\n}\n") + 2])
    assert policy["Statement"][1]["Resource"] == f"arn:aws:s3:::{BUCKET}/pre/*"
    assert "GRANT pg_read_all_data TO" in out
    assert 'resource "aws_s3_bucket" "dms"' in out
    assert "days_after_initiation = 14" in out
