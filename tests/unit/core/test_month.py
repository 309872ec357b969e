"""A month on one page: what an auditor reads, and nothing that a browser would do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from glacier_provider.core.month import MonthFacts, days_without_backup, month_bounds, month_page
from glacier_provider.core.proof import ProofKind

SINCE = datetime(2026, 11, 1, tzinfo=UTC)


def backup(day: int, state: str = "complete") -> dict[str, Any]:
    opened = SINCE + timedelta(days=day - 1, hours=2)
    figures = {"database_bytes": 10**6, "files_count": 3, "files_bytes": 10**9, "new_files_count": 1}
    return {
        "id": day,
        "state": state,
        "opened_at": opened,
        "closed_at": opened + timedelta(minutes=5),
        "error": None,
        **figures,
    }


def proof(kind: str, state: str, **changes: Any) -> dict[str, Any]:
    began = SINCE + timedelta(days=2)
    told = {
        "asked_by": None,
        "dag_run_id": "scheduled__1",
        "error": None,
        "findings": [],
        "number": 7,
        "sha256": "ab" * 32,
    }
    figures: dict[str, Any] = {"database": {"bytes": 1_200_000_000, "tables": 41}, "times": {"recovery": 380.0}}
    figures["plan"] = {"cost": "0.12", "currency": "USD"}
    when = {"began_at": began, "ended_at": began + timedelta(minutes=7), "backup_id": 2}
    return {"kind": kind, "state": state, "figures": figures, **told, **when, **changes}


def facts(**changes: Any) -> MonthFacts:
    values: dict[str, Any] = {
        "application": "library",
        "month": "2026-11",
        "since": SINCE,
        "until": SINCE + timedelta(days=5),
        "made_at": SINCE + timedelta(days=5),
        "version": "0.1.0",
        "store": "s3://bucket/prefix",
        "schedule": "@daily",
        "backups": [backup(1), backup(2), backup(3, "failed"), backup(5)],
        "proofs": [proof("drill", "passed")],
        "restores": [],
        "newest_backup": backup(5),
        "passed": {ProofKind.DRILL: SINCE + timedelta(days=2)},
        "known_since": SINCE - timedelta(days=90),
        "last_evidence": (7, "ab" * 32),
        "storage": "1.20 USD",
        "prices": "list prices",
    }
    return MonthFacts(**{**values, **changes})


def text_of(page: str) -> str:
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.append(data)

    Reader().feed(page)
    return " ".join(" ".join(found).split())


def test_the_page_tells_backups_proofs_ages_money_and_how_to_check_it() -> None:
    told = text_of(month_page(facts()))
    for sentence in (
        "Backups of library, November 2026",
        "3 complete, 1 failed",
        "Days without a complete backup 3, 4",
        "Backup 2: 1.2 GB, 41 tables, 6 min 20 s",
        "1.20 USD",
        "0.12 USD",
        "Age of the last verification that passed, at the end never",
        f"The last document is number 7, SHA-256 {'ab' * 32}",
    ):
        assert sentence in told


def test_the_page_asks_nothing_of_the_network_and_runs_nothing() -> None:
    page = month_page(facts())
    assert not re.search(r"<script|<link|<img|src=|href=|@import|url\(|javascript:", page, re.IGNORECASE)


def test_what_comes_from_elsewhere_is_text() -> None:
    hostile = "<script>alert(1)</script>\x1b"
    finding = {"what": "lost", "told": hostile, "count": 1, "names": [hostile], "grave": True}
    one = proof(
        "drill", "found", error=hostile, asked_by=hostile, findings=[finding], figures={"plan": 1, "database": []}
    )
    checks = proof("drill", "found", figures={"database": {"checks": [{"name": hostile, "passed": False}, 5]}})
    bad = {**backup(1), "error": hostile}
    page = month_page(facts(proofs=[one, checks], backups=[bad], store=hostile, schedule=hostile))
    assert "<script" not in page
    assert "\x1b" not in page


def test_days_before_the_first_backup_and_the_day_that_goes_on_are_not_missed() -> None:
    assert days_without_backup(facts(known_since=SINCE + timedelta(days=3), backups=[])) == [4, 5]
    assert days_without_backup(facts(known_since=None, backups=[])) == []


def test_what_is_under_way_is_not_done_and_what_could_not_look_did_not_pass() -> None:
    one = facts(
        backups=[backup(1), backup(2, "running")],
        until=SINCE + timedelta(days=2),
        proofs=[proof("drill", state) for state in ("passed", "found", "failed")],
    )
    assert days_without_backup(one) == [2]
    told = text_of(month_page(one))
    assert "Backups 1 complete, 0 failed" in told
    assert "Drills 1 passed, 2 not" in told


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "november", "2026-11-01", "9999-12", "٢٠٢٦-11", ""])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        month_bounds(text)


def test_a_month_ends_where_the_next_begins() -> None:
    assert month_bounds("2026-12") == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_a_failed_backup_that_was_deleted_since_was_no_complete_one() -> None:
    """The page of a month that is long over is made anew when somebody asks for it."""
    gone = {**backup(3, "deleted"), "error": "dump_database: the disk was full"}
    told = facts(backups=[backup(1, "deleted"), backup(2, "deleting"), gone, backup(5)])
    assert days_without_backup(told) == [3, 4]
    assert "3 complete, 1 failed" in text_of(month_page(told))
