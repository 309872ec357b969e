"""Each figure is the one that its name says, with its labels, and none is told of what is not there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from glacier_provider.core.condition import Condition, Proven
from glacier_provider.core.metrics import Activity, Measured, StoredClass, metrics_text
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.status import ProofState

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())


def ago(**age: float) -> datetime:
    return NOW - timedelta(**age)


#: An application of which everything can be told, no figure like another.
EVERYTHING = Measured(
    Condition(
        "dms",
        known_since=ago(days=999),
        complete_id=7,
        complete_since=ago(seconds=5000),
        complete_at=ago(seconds=3000),
        files=1_234_567,
        bytes=1_234_567_890_123_457,
        vanished=15,
        report={
            "task_seconds": {"upload_files": 60, "dump_database": 12.5},
            "unreadable_count": 11,
            "unreadable": ["a"],
            "changed_count": 12,
            "unarchived_references_count": 13,
            "other_references_count": 14,
        },
        running_id=8,
        running_since=ago(seconds=70),
        lost=16,
        proven={
            ProofKind.DRILL: Proven(ProofState.FOUND, ago(seconds=80), ago(seconds=90)),
            ProofKind.VERIFICATION: Proven(ProofState.PASSED, ago(seconds=100), ago(seconds=100)),
        },
    ),
    [StoredClass("GLACIER", 21, 22), StoredClass("STANDARD", 23, 24)],
    Activity(31, 32, 33, ago(seconds=34), 35),
    Decimal("3.6"),
    "EUR",
)
TOLD = {
    "glacier_backup_last_complete_timestamp_seconds": SECOND - 3000,
    "glacier_backup_last_complete_id": 7,
    "glacier_backup_duration_seconds": 2000,
    "glacier_backup_task_seconds task=dump_database": 12.5,
    "glacier_backup_task_seconds task=upload_files": 60,
    "glacier_backup_failed": 0,
    "glacier_backup_running_since_timestamp_seconds": SECOND - 70,
    "glacier_backup_restorable": 1,
    "glacier_backup_files": 1_234_567,
    "glacier_backup_bytes": 1_234_567_890_123_457,
    "glacier_backup_differences kind=unreadable": 11,
    "glacier_backup_differences kind=changed": 12,
    "glacier_backup_differences kind=unarchived_references": 13,
    "glacier_backup_differences kind=other_references": 14,
    "glacier_backup_differences kind=vanished": 15,
    "glacier_archives_lost": 16,
    "glacier_proof_last_passed_timestamp_seconds kind=drill": SECOND - 90,
    "glacier_proof_last_passed_timestamp_seconds kind=verification": SECOND - 100,
    "glacier_proof_ok kind=drill": 0,
    "glacier_proof_ok kind=verification": 1,
    "glacier_stored_archives storage_class=GLACIER": 21,
    "glacier_stored_archives storage_class=STANDARD": 23,
    "glacier_stored_bytes storage_class=GLACIER": 22,
    "glacier_stored_bytes storage_class=STANDARD": 24,
    "glacier_storage_cost_per_month currency=EUR": 3.6,
    "glacier_uploads_unfinished": 31,
    "glacier_uploads_unfinished_bytes": 32,
    "glacier_retrievals_waiting": 33,
    "glacier_retrievals_waiting_since_timestamp_seconds": SECOND - 34,
    "glacier_restores_running": 35,
    "glacier_state": 2,
    "glacier_backup_age_seconds": 3000,
    "glacier_proof_age_seconds kind=drill": 90,
    "glacier_proof_age_seconds kind=verification": 100,
}
#: Of an application that nothing was done with yet.
NOTHING = {
    "glacier_backup_failed": 0,
    "glacier_archives_lost": 0,
    "glacier_uploads_unfinished": 0,
    "glacier_uploads_unfinished_bytes": 0,
    "glacier_retrievals_waiting": 0,
    "glacier_restores_running": 0,
    "glacier_state": 2,
}


def figures(*measured: Measured) -> dict[str, dict[str, float]]:
    """Return by application what is told of it: name and labels, and the value."""
    text = metrics_text(measured, catalogs={}, now=NOW)
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        for sample in family.samples:
            if sample.name == "glacier_collected_timestamp_seconds":
                assert sample.value == SECOND
                continue
            labels = dict(sample.labels)
            mine = found.setdefault(labels.pop("application"), {})
            mine[" ".join([sample.name, *(f"{label}={value}" for label, value in labels.items())])] = sample.value
    return found


def test_each_figure_of_each_application_is_told_as_it_is() -> None:
    assert figures(Measured(Condition("new")), EVERYTHING) == {"dms": TOLD, "new": NOTHING}


def test_what_is_wrong_is_a_figure() -> None:
    rehearsal = {"rehearsal": {"in_place": {"verdict": "no", "why": "No role."}}}
    unrestorable = Condition("dms", complete_id=7, complete_at=NOW, report=rehearsal)
    assert figures(Measured(unrestorable))["dms"]["glacier_backup_restorable"] == 0
    late = Condition("dms", complete_id=7, complete_at=ago(hours=30))
    assert figures(Measured(late))["dms"]["glacier_state"] == 1
    failed = Condition("dms", complete_id=7, complete_at=NOW, failed_id=8)
    told = figures(Measured(failed))["dms"]
    assert (told["glacier_backup_failed"], told["glacier_state"]) == (1, 1)
    could_not_look = Condition("dms", proven={ProofKind.DRILL: Proven(ProofState.FAILED, NOW)})
    told = figures(Measured(could_not_look))["dms"]
    assert told["glacier_proof_ok kind=drill"] == 0
    assert "glacier_proof_age_seconds kind=drill" not in told


def test_which_catalogs_could_be_asked_is_told_also_where_there_is_nothing_else_to_tell() -> None:
    text = metrics_text([], catalogs={"b": False, "a": True}, now=NOW)
    assert [line for line in text.splitlines() if not line.startswith("# TYPE")] == [
        "# HELP glacier_catalog_up Whether the catalog could be asked.",
        'glacier_catalog_up{catalog="a"} 1',
        'glacier_catalog_up{catalog="b"} 0',
        "# HELP glacier_collected_timestamp_seconds When these figures were collected.",
        f"glacier_collected_timestamp_seconds {SECOND}",
        "# EOF",
    ]
    assert text.endswith("# EOF\n")
