"""One file of a backup is fetched into a directory, which keeps all that is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glacier_provider import cli
from glacier_provider.errors import ConfigurationError, NameTaken, TargetRefused
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest


def fetched(dms: ApplicationUnderTest, into: Path, *names: str, backup_id: int | str = "latest") -> None:
    planned = dms.plan(backup_id, part="files", only_files=list(names), into={"files_directory": str(into)})
    dms.bring(planned)
    dms.finish(planned["restore_id"])


def test_a_file_comes_into_a_directory_that_holds_other_files(dms: ApplicationUnderTest, tmp_path: Path) -> None:
    dms.write("reports/2024.pdf", "the report")
    backup_id = dms.back_up()
    (dms.files / "reports" / "2024.pdf").unlink()
    into = tmp_path / "desk"
    into.mkdir()
    (into / "of somebody").write_text("x")
    dms.s3.forget_counts()
    fetched(dms, into, "reports/2024.pdf", backup_id=backup_id)
    assert (into / "reports" / "2024.pdf").read_text() == "the report"
    assert sorted(path.name for path in into.iterdir()) == ["of somebody", "reports"]
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 1
    fetched(dms, into, "reports/2024.pdf", backup_id=backup_id)  # it is there: nothing is paid
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 1


def test_what_the_application_still_has_is_copied_and_retrievals_under_way_are_joined(
    dms: ApplicationUnderTest, tmp_path: Path
) -> None:
    dms.back_up()
    dms.s3.forget_counts()
    fetched(dms, tmp_path / "a", "doc1.pdf")
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 0
    (dms.files / "doc1.pdf").unlink()
    fetched(dms, tmp_path / "b", "doc1.pdf")
    fetched(dms, tmp_path / "c", "doc1.pdf")
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 1
    assert [(tmp_path / one / "doc1.pdf").read_bytes() for one in "abc"] == [b"content 1"] * 3


def test_nothing_is_overwritten_and_nothing_asked_for_then(dms: ApplicationUnderTest, tmp_path: Path) -> None:
    dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "doc1.pdf").write_bytes(b"CONTENT 1")
    dms.s3.forget_counts()
    with pytest.raises(NameTaken, match="with another content"):
        fetched(dms, tmp_path / "desk", "doc1.pdf")
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 0
    assert (tmp_path / "desk" / "doc1.pdf").read_bytes() == b"CONTENT 1"


def test_an_unknown_name_and_an_applications_own_directory_are_refused(
    dms: ApplicationUnderTest, tmp_path: Path
) -> None:
    dms.back_up()
    with pytest.raises(ConfigurationError, match=r"has no file .doc9\.pdf."):
        fetched(dms, tmp_path / "desk", "doc9.pdf")
    with pytest.raises(TargetRefused, match="is, lies in, or holds"):
        fetched(dms, dms.files / "sub", "doc1.pdf")
    with pytest.raises(ConfigurationError, match="there is no into"):
        dms.plan(part="files", only_files=["doc1.pdf"])


def test_the_command_shows_its_plan_and_fetches_once_it_may(
    dms: ApplicationUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup_id = dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    dms.s3.forget_counts()
    command = ["fetch", "dms", str(backup_id), "doc1.pdf", "--into", str(tmp_path / "desk")]
    with settings_of(dms):
        assert cli.main(command) == 1, "nobody who calls it takes the file for fetched"
        said = capsys.readouterr()
        assert "To retrieve from the cold: 1" in said.out
        wanted = f"Nothing was asked for, and nothing fetched. To fetch: glacier-backup fetch dms {backup_id} "
        assert said.err.strip().endswith("--yes")
        assert wanted in said.err
        assert cli.main([*command, "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["to_request"]["archives"] == 1
        assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 0
        for _ in range(2):  # the second time it is there
            assert cli.main([*command, "--yes"]) == 0
        assert cli.main(["fetch", "dms", str(backup_id), "doc9.pdf", "--into", str(tmp_path / "desk")]) == 1
    assert "has no file 'doc9.pdf'" in capsys.readouterr().err
    assert {row["state"] for row in dms.catalog.lists.restores()} == {"complete", "failed"}, "none keeps its backup"
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 1
    assert (tmp_path / "desk" / "doc1.pdf").read_bytes() == b"content 1"


def test_a_fetch_that_can_bring_nothing_is_over_and_says_what_to_do(
    dms: ApplicationUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup_id = dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    (key,) = [key for key in dms.keys_in_store() if "doc1.pdf" in key]
    dms.s3.client().delete_object(Bucket=dms.bucket, Key=key)
    with settings_of(dms):
        assert cli.main(["fetch", "dms", str(backup_id), "doc1.pdf", "--into", str(tmp_path / "desk"), "--yes"]) == 1
    said = capsys.readouterr().err
    assert "doc1.pdf of backup 1 is in no store any more" in said
    assert "without_lost" not in said, "the command takes none"
    (restore,) = dms.catalog.lists.restores()
    assert restore["state"] == "failed"
