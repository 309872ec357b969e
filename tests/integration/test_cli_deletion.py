"""``glacier-backup delete`` and ``retention``: plan, typed confirmation, deletion."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from glacier_provider import cli
from glacier_provider.core.retention import Retention
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def kept(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    """Three backups; `once.txt` is in the first alone."""
    dms.write("once.txt", "once")
    dms.back_up()
    (dms.files / "once.txt").unlink()
    dms.back_up()
    dms.back_up()
    return dms


@pytest.fixture
def run(kept: ApplicationUnderTest, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command in this process, with the connections that the application's tasks have."""

    def run(*argv: object) -> Answer:
        capsys.readouterr()
        with settings_of(kept):
            code = cli.main([str(argument) for argument in argv])
        return Answer(code, *capsys.readouterr())

    return run


def states(app: ApplicationUnderTest) -> list[str]:
    return [row["state"] for row in reversed(app.catalog.lists.backups())]


def test_without_a_confirmation_the_plan_is_shown_and_nothing_changes(run: Run, kept: ApplicationUnderTest) -> None:
    answer = run("delete", "dms", 1)
    assert answer.code == 0
    assert "1 dump, 1 file" in answer.out
    assert "they are still in the attached-files directory" in answer.out
    assert "Fee for deleting before the minimum storage duration: less than 0.01 USD" in answer.out
    assert "--yes-delete dms-1" in answer.out
    assert states(kept) == ["complete"] * 3


@pytest.mark.parametrize("backup_id", [1, 3])
def test_what_is_proposed_is_a_command_that_works(run: Run, kept: ApplicationUnderTest, backup_id: int) -> None:
    """Backup 3 is the newest: its deletion has to be forced, and the proposal says so."""
    proposed = run("delete", "dms", backup_id).out.partition("glacier-backup ")[2].strip()
    assert ("--force" in proposed) == (backup_id == 3)
    answer = run(*shlex.split(proposed))
    assert answer.code == 0, answer.err
    assert states(kept)[backup_id - 1] == "deleted"


def test_without_a_rule_retention_is_one_line(run: Run) -> None:
    assert run("retention", "dms").out == "dms has no retention rule: all 3 backups stay.\n"


def test_the_plan_as_json_has_what_a_fee_is_reckoned_from(run: Run) -> None:
    plan = run("delete", "dms", 1, "--json").json
    assert (plan["confirm"], plan["archives"], plan["refused"]) == ("dms-1", 2, None)
    assert {one["kind"] for one in plan["goes"]} == {"database", "file"}
    assert all(one["store_uri"].startswith("s3://") and one["archived_on"] for one in plan["goes"])


def test_a_confirmed_deletion_is_done(run: Run, kept: ApplicationUnderTest) -> None:
    answer = run("delete", "dms", 1, "--yes-delete", "dms-1")
    assert (answer.code, "Backup 1 is deleted: 2 archives." in answer.out) == (0, True), answer.err
    assert states(kept) == ["deleted", "complete", "complete"]


@pytest.mark.parametrize("confirmation", ["dms", "1", "dms-2", "DMS-1", "library-1"])
def test_another_confirmation_changes_nothing(run: Run, kept: ApplicationUnderTest, confirmation: str) -> None:
    answer = run("delete", "dms", 1, "--yes-delete", confirmation)
    assert answer.code == 1
    assert "is not confirmed" in answer.err
    assert states(kept) == ["complete"] * 3


def test_the_newest_is_refused_until_it_is_forced(run: Run, kept: ApplicationUnderTest) -> None:
    answer = run("delete", "dms", 3, "--yes-delete", "dms-3")
    assert (answer.code, "newest complete backup" in answer.err) == (1, True)
    assert states(kept) == ["complete"] * 3
    assert run("delete", "dms", 3, "--yes-delete", "dms-3", "--force").code == 0
    assert states(kept) == ["complete", "complete", "deleted"]


def test_without_a_rule_every_backup_stays_and_says_why(run: Run) -> None:
    rows = run("retention", "dms", "--json").json
    assert {tuple(row["reasons"]) for row in rows} == {("there is no retention rule",)}


def test_a_rule_tells_what_may_go_and_deletes_it_when_that_is_confirmed(run: Run, kept: ApplicationUnderTest) -> None:
    kept.application = replace(kept.application, retention=Retention(keep_last=1))
    assert [(row["backup_id"], row["may_go"]) for row in run("retention", "dms", "--json").json] == [
        (3, False),
        (2, True),
        (1, True),
    ]
    assert "it is the newest complete backup" in run("retention", "dms").out
    refused = run("retention", "dms", "--delete")
    assert (refused.code, "--yes-delete dms" in refused.err) == (1, True)
    assert states(kept) == ["complete"] * 3
    assert "2 backups are deleted" in run("retention", "dms", "--delete", "--yes-delete", "dms").out
    assert states(kept) == ["deleted", "deleted", "complete"]


def test_deleted_backups_can_be_listed(run: Run) -> None:
    run("delete", "dms", 1, "--yes-delete", "dms-1")
    (row,) = run("list", "--application", "dms", "--state", "deleted", "--json").json
    assert (row["id"], row["retrieval_status"]) == (1, None)


def test_retention_deletes_nothing_after_a_sudden_rewrite_until_a_person_has_seen_it(
    run: Run, kept: ApplicationUnderTest
) -> None:
    kept.configure(retention=Retention(keep_last=1))
    with kept.catalog_server.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.application_data_backups SET files_count = 40,"
            " report = report || '{\"new_versions_count\": 40}' WHERE id = 2"
        )
    asked = ("retention", "dms", "--delete", "--yes-delete", "dms")
    refused = run(*asked)
    assert refused.code == 1
    assert "40 files of dms have another content in backup 2" in refused.err
    assert run(*asked, "--despite-rewrite", 1).code == 1
    assert states(kept) == ["complete"] * 3
    seen = run(*asked, "--despite-rewrite", 2)
    assert (seen.code, states(kept)) == (0, ["deleted", "deleted", "complete"])
