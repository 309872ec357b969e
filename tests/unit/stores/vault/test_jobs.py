from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.core.status import RetrievalStatus
from glacier_provider.stores.contract import RetrievalReport
from glacier_provider.stores.vault.jobs import ARCHIVE, INVENTORY, Job, printable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_job(**changes: Any) -> Job:
    return Job(
        **{"id": "j", "action": ARCHIVE, "status": "InProgress", "archive_id": "a", "tier": "Standard", **changes}
    )


def done(hours_ago: float, **changes: Any) -> Job:
    return a_job(status="Succeeded", completed_at=NOW - timedelta(hours=hours_ago), **changes)


@pytest.mark.parametrize(
    ("job", "tier", "serves"),
    [
        (a_job(), "Standard", True),
        (a_job(), "Bulk", True),
        (a_job(), "Expedited", False),
        (a_job(tier=None), "Standard", True),
        (a_job(whole=False), "Standard", False),
        (a_job(action=INVENTORY), "Standard", False),
        (a_job(status="Failed"), "Standard", False),
        (done(1), "Expedited", True),
        (done(21.9, tier="Bulk"), "Expedited", True),
        (done(22.1), "Standard", False),
        (done(30), "Standard", False),
    ],
)
def test_a_job_serves_a_wish_it_fulfils_in_time(job: Job, tier: str, serves: bool) -> None:
    assert job.serves(tier, NOW) is serves


def test_a_report_tells_pending_ready_expired_and_failed_apart() -> None:
    failed = a_job(status="Failed", completed_at=NOW, message="It was too cold.")
    assert [job.report("k", NOW) for job in (a_job(), done(1), done(24), failed)] == [
        RetrievalReport("k", RetrievalStatus.PENDING),
        RetrievalReport("k", RetrievalStatus.READY, NOW + timedelta(hours=23)),
        RetrievalReport("k", RetrievalStatus.AVAILABLE),
        RetrievalReport("k", RetrievalStatus.AVAILABLE, failure="It was too cold."),
    ]


def test_a_failure_without_words_is_a_failure() -> None:
    assert a_job(status="Failed").report("k", NOW).failure == "The job failed."


@pytest.mark.parametrize(("span", "whole"), [("0-9", True), ("0-8", False), ("1-9", False), (None, True)])
def test_a_reply_becomes_a_job(span: str | None, whole: bool) -> None:
    reply = {
        "JobId": "j",
        "Action": ARCHIVE,
        "StatusCode": "Succeeded",
        "ArchiveId": "a",
        "ArchiveSizeInBytes": 10,
        "RetrievalByteRange": span,
        "CompletionDate": "2026-03-01T12:00:00.221Z",
        "JobDescription": "retrieval 1",
        "StatusMessage": None,
        "Tier": "Bulk",
    }
    expected = a_job(
        status="Succeeded", tier="Bulk", token="retrieval 1", whole=whole, completed_at=NOW.replace(microsecond=221_000)
    )
    assert Job.from_reply(reply) == expected


def test_a_token_becomes_printable_ascii() -> None:
    assert printable("retrieval 7 of archive 9") == "retrieval 7 of archive 9"
    assert printable("größe\n\x7f") == "gr\\xf6\\xdfe??"
    assert len(printable("é" * 2000)) == 1024
