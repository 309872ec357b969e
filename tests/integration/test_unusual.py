"""A backup that is much unlike those before it calls somebody, and stops retention."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.condition import AgeLimits, Anomalies, Condition, Event, Grade, troubles_of
from glacier_provider.errors import BackupNotDeletable
from glacier_provider.pipelines.delete import refuse_after_rewrite
from glacier_provider.postgres import Server
from tests.support.backups import a_backup_row, ago
from tests.unit.operators.builders import APPLICATION

GB = 10**9
USUAL = {
    "usual_of": 9,
    "usual_database_bytes": 4 * GB,
    "usual_new_bytes": GB / 10,
    "usual_seconds": 600,
    "database_bytes": 4 * GB,
    "new_bytes": GB / 10,
    "seconds": 600,
    "files": 1000,
    "bytes": 20 * GB,
}


def told(**figures: Any) -> list[tuple[Grade, str]]:
    condition = Condition("dms", complete_id=9, complete_at=ago(hours=1), **{**USUAL, **figures})
    found = troubles_of(condition, now=datetime.now(UTC), backup=AgeLimits())
    assert {one.event for one in found} <= {Event.BACKUP_UNUSUAL}
    return [(one.grade, one.told) for one in found]


@pytest.mark.parametrize(
    ("figures", "grade", "words"),
    [
        ({"rewritten": 900}, Grade.CRITICAL, "900 of 1,000 files have another content than before backup 9"),
        ({"database_bytes": GB}, Grade.WARNING, "the dump of backup 9 has 1.0 GB; 4.0 GB are usual"),
        ({"database_bytes": 20 * GB}, Grade.WARNING, "the dump of backup 9 has 20.0 GB; 4.0 GB are usual"),
        ({"new_bytes": 5 * GB}, Grade.WARNING, "backup 9 has 5.0 GB of new files; 100.0 MB are usual"),
        ({"usual_of": 5, "new_bytes": 5 * GB}, Grade.WARNING, "backup 9 has 5.0 GB of new files; 100.0 MB are usual"),
        ({"seconds": 9 * 3600}, Grade.WARNING, "backup 9 took 9 hours; 10 minutes are usual"),
    ],
)
def test_what_is_much_unlike_before_is_told(figures: dict[str, Any], grade: Grade, words: str) -> None:
    assert told(**figures) == [(grade, words)]


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"rewritten": 9},  # few
        {"rewritten": 200},  # no large share
        {"database_bytes": GB, "usual_of": 4},  # nobody knows yet what is usual
        {"database_bytes": 2 * GB},
        {"database_bytes": 10_000, "usual_database_bytes": 900_000},  # small change
        {"new_bytes": GB / 2},
        {"new_bytes": GB / 2, "usual_new_bytes": 0, "bytes": GB},  # less than 1 GB, whatever is usual
        {"new_bytes": 1.9 * GB},  # less than a tenth of the backup
        {"seconds": 3000},
    ],
)
def test_what_is_not_is_not(figures: dict[str, Any]) -> None:
    assert told(**figures) == []


@pytest.mark.parametrize(
    ("figures", "limits"),
    [
        ({"rewritten": 900}, {"changed_share": 0.95}),
        ({"rewritten": 900}, {"changed_files": 1000}),
        ({"vanished": 900}, {"changed_share": 0.95}),
        ({"database_bytes": GB}, {"dump_smaller": 5}),
        ({"database_bytes": 20 * GB}, {"dump_larger": 6}),
        ({"new_bytes": 5 * GB}, {"new_bytes": 60}),
        ({"seconds": 9 * 3600}, {"duration": 60}),
    ],
)
def test_how_much_is_unlike_is_for_the_configuration_to_say(figures: dict[str, Any], limits: dict[str, float]) -> None:
    entry = {**APPLICATION.to_dict(), "anomalies": limits}
    configured = Application.from_dict(entry).anomalies
    condition = Condition("dms", complete_id=9, complete_at=ago(hours=1), **{**USUAL, **figures})
    given: Any = {"now": datetime.now(UTC), "backup": AgeLimits()}
    assert len(troubles_of(condition, **given)) == 1
    assert troubles_of(condition, **given, anomalies=configured) == []


def test_the_catalogs_own_history_says_what_is_usual(catalog: Catalog, catalog_database: Server) -> None:
    for day in range(8, 1, -1):
        a_backup_row(catalog_database, "dms", "complete", ago(days=day), files=40, new_bytes=1000 * day)
    report = {"new_versions_count": 30}
    a_backup_row(catalog_database, "dms", "complete", ago(hours=1), files=40, new_bytes=5, report=report)
    condition = catalog.conditions.of()["dms"]
    assert (condition.rewritten, condition.new_bytes, condition.usual_of) == (30, 5, 7)
    assert condition.usual_new_bytes == 5000
    assert condition.usual_database_bytes == 1000


def test_a_sudden_rewrite_of_everything_stops_retention(catalog: Catalog, catalog_database: Server) -> None:
    refuse_after_rewrite(APPLICATION, catalog=catalog)
    a_backup_row(catalog_database, "dms", "complete", ago(days=99), files=40, report={"new_versions_count": 40})
    a_backup_row(catalog_database, "dms", "complete", ago(days=3), files=40, report={"new_versions_count": 9})
    refuse_after_rewrite(APPLICATION, catalog=catalog)
    number = a_backup_row(catalog_database, "dms", "complete", ago(days=2), files=40, report={"new_versions_count": 40})
    a_backup_row(catalog_database, "dms", "complete", ago(days=1), files=40)
    with pytest.raises(BackupNotDeletable, match=f"40 files of dms have another content in backup {number}") as refused:
        refuse_after_rewrite(APPLICATION, catalog=catalog)
    assert f"--despite-rewrite {number}" in refused.value.hint
    refuse_after_rewrite(APPLICATION, catalog=catalog, despite=number)
    refuse_after_rewrite(replace(APPLICATION, anomalies=Anomalies(changed_files=99)), catalog=catalog)
    vanished = a_backup_row(catalog_database, "dms", "complete", ago(hours=1), files=40, vanished=60)
    with pytest.raises(BackupNotDeletable, match=f"60 files of dms vanished in backup {vanished}"):
        refuse_after_rewrite(APPLICATION, catalog=catalog, despite=number)
