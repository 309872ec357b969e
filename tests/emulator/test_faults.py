"""The clock and the fault plan by themselves."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.clock import Clock
from tests.emulator.faults import (
    BODY_KINDS,
    ERROR_KINDS,
    GLACIER_ERRORS,
    JOB_KINDS,
    NOTIFICATION_KINDS,
    REQUEST_KINDS,
    RETRIEVAL_KINDS,
    S3_ERRORS,
    TASK_KINDS,
    BodyCut,
    Fault,
    FaultKind,
    FaultPlan,
    FaultRule,
    faulty_chunks,
)

# --- clock ---


def test_a_clock_moves_and_stands_still() -> None:
    clock = Clock(speed=0)
    start = clock.now()
    assert clock.now() == start
    assert clock.advance(90) == start + timedelta(seconds=90)
    assert clock.advance(timedelta(hours=-1)) == start + timedelta(seconds=90, hours=-1)
    assert clock.now().tzinfo is UTC


def test_a_clock_runs_at_its_speed() -> None:
    clock = Clock(speed=1e6)
    before = clock.timestamp()
    threading.Event().wait(0.01)
    assert clock.timestamp() - before >= 1e4


def test_a_clock_can_be_set_only_to_an_aware_moment() -> None:
    clock = Clock(speed=0)
    moment = datetime(2030, 5, 1, tzinfo=UTC)
    assert clock.set(moment) == moment == clock.now()
    with pytest.raises(ValueError, match="aware"):
        clock.set(datetime(2030, 5, 1))


def test_changing_the_speed_does_not_jump() -> None:
    clock = Clock(speed=0)
    before = clock.now()
    clock.set_speed(5)
    assert clock.now() - before < timedelta(minutes=1)
    with pytest.raises(ValueError):
        clock.set_speed(-1)


def test_a_clock_tells_how_long_to_wait() -> None:
    clock = Clock(speed=0)
    assert clock.real_seconds_until(clock.timestamp() + 10) is None
    assert clock.real_seconds_until(clock.timestamp() - 10) == 0
    clock.set_speed(100)
    assert clock.real_seconds_until(clock.timestamp() + 1000) == pytest.approx(10, abs=0.5)


def test_a_clock_survives_in_its_file(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock.json", speed=0)
    moment = clock.advance(timedelta(days=3))
    again = Clock(tmp_path / "clock.json", speed=7)
    assert again.now() == moment
    assert again.speed == 0


def test_listeners_hear_of_every_change() -> None:
    clock, heard = Clock(speed=0), []
    clock.on_change(lambda: heard.append(clock.timestamp()))
    clock.advance(1)
    clock.set_speed(0)
    assert len(heard) == 2


def test_a_clock_obeys_control_requests() -> None:
    clock = Clock(speed=0)
    state = clock.control({"set": "2030-01-01T00:00:00+00:00", "advance_seconds": 60, "speed": 0})
    assert state["now"] == "2030-01-01T00:01:00+00:00"
    with pytest.raises(ValueError, match="forward"):
        clock.control({"forward": 1})


# --- plan ---


def strikes(plan: FaultPlan, times: int, operation: str = "Put", **context: Any) -> list[int]:
    return [number for number in range(1, times + 1) if plan.decide(operation, **context)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"nth": 2}, [2]),
        ({"after": 4}, [5, 6]),
        ({"after": 2, "nth": 2}, [4]),
        ({"every": 3}, [3, 6]),
        ({"count": 2}, [1, 2]),
        ({"after": 1, "every": 2, "count": 1}, [3]),
        ({"probability": 0}, []),
    ],
)
def test_a_rule_strikes_the_events_it_names(options: dict[str, Any], expected: list[int]) -> None:
    plan = FaultPlan(FaultRule("Put", FaultKind.UNAVAILABLE, **options))
    assert strikes(plan, 6) == expected


def test_operations_and_context_are_matched_with_wildcards() -> None:
    rule = FaultRule("Upload*", FaultKind.TIMEOUT, when={"vault": "photo*", "size": "7"})
    assert rule.matches("UploadArchive", {"vault": "photos", "size": 7})
    assert not rule.matches("DeleteArchive", {"vault": "photos", "size": 7})
    assert not rule.matches("UploadArchive", {"vault": "letters", "size": 7})
    assert not rule.matches("UploadArchive", {"vault": "photos"})


def test_a_predicate_decides_in_the_process() -> None:
    plan = FaultPlan()
    plan.inject("Put", "reset_after", predicate=lambda context: context["size"] > 5)
    assert strikes(plan, 3, size=5) == []
    assert strikes(plan, 1, size=6) == [1]


def test_only_kinds_that_can_be_performed_are_counted() -> None:
    plan = FaultPlan(FaultRule("*", FaultKind.FAIL_JOB, nth=1))
    assert plan.decide("InitiateJob", REQUEST_KINDS) == ()
    assert [fault.kind for fault in plan.decide("InitiateJob", RETRIEVAL_KINDS)] == [FaultKind.FAIL_JOB]


def test_chances_repeat_with_their_seed() -> None:
    def chances(seed: int) -> list[int]:
        return strikes(FaultPlan(FaultRule("Put", FaultKind.THROTTLING, probability=0.4), seed=seed), 50)

    assert chances(1) == chances(1)
    assert chances(1) != chances(2)
    assert 5 < len(chances(1)) < 40


def test_a_request_fails_once_but_may_be_slow_too() -> None:
    plan = FaultPlan(
        FaultRule("Put", FaultKind.UNAVAILABLE, count=1),
        FaultRule("Put", FaultKind.RESET_AFTER, count=1),
        FaultRule("Put", FaultKind.HANG),
    )
    assert [fault.kind for fault in plan.decide("Put")] == ["unavailable", "hang"]
    assert [fault.kind for fault in plan.decide("Put")] == ["reset_after", "hang"]
    assert plan.counts() == {"unavailable": 1, "reset_after": 1, "hang": 2}


def test_rules_can_be_removed_and_the_log_stays(tmp_path: Path) -> None:
    plan = FaultPlan(log_path=tmp_path / "log")
    number = plan.inject("Put", FaultKind.HANG)
    plan.inject("Get", FaultKind.HANG)
    plan.decide("Put", vault="photos", size=None)
    plan.remove(number)
    assert plan.decide("Put") == ()
    plan.clear()
    assert plan.decide("Get") == ()
    again = FaultPlan(log_path=tmp_path / "log")
    assert again.counts() == {"hang": 1}
    assert again.log()[0]["context"] == {"vault": "photos"}
    again.forget_log()
    assert FaultPlan(log_path=tmp_path / "log").log() == []


def test_a_torn_last_line_of_the_log_is_skipped(tmp_path: Path) -> None:
    plan = FaultPlan(FaultRule("Put", FaultKind.HANG), log_path=tmp_path / "log")
    plan.decide("Put")
    with (tmp_path / "log").open("a") as log:
        log.write('{"operation": "Pu')
    assert FaultPlan(log_path=tmp_path / "log").counts() == {"hang": 1}


def test_a_plan_obeys_control_requests() -> None:
    plan = FaultPlan()
    plan.control("POST", "", {"operation": "Put", "kind": "hang", "count": 1})
    plan.control("POST", "", [{"operation": "Get", "kind": "hang"}])
    assert [rule["operation"] for rule in plan.control("GET", "", {})["rules"]] == ["Put", "Get"]
    plan.control("POST", "", {"clear": True, "seed": 3, "rules": {"operation": "Put", "kind": "reset_before"}})
    plan.decide("Put")
    (rule,) = plan.control("GET", "", {})["rules"]
    assert (rule["kind"], rule["seen"], rule["fired"]) == ("reset_before", 1, 1)
    log = plan.control("GET", "/log", {})
    assert log["counts"] == {"reset_before": 1}
    assert log["log"][0]["operation"] == "Put"
    assert plan.control("DELETE", "", {}) == {"rules": []}
    assert plan.control("DELETE", "/log", {})["log"] == []


@pytest.mark.parametrize(
    "request_body",
    [
        {"operation": "Put", "kind": "explode"},
        {"operation": "Put"},
        {"operation": "Put", "kind": "hang", "often": 1},
        {"rule": {}},
        {"operation": "Put", "kind": "hang", "probability": 2},
    ],
)
def test_a_wrong_rule_is_refused_and_nothing_is_armed(request_body: dict[str, Any]) -> None:
    plan = FaultPlan()
    with pytest.raises(ValueError):
        plan.control("POST", "", request_body)
    assert plan.rules() == []


def test_a_plan_can_be_asked_by_many_threads() -> None:
    plan = FaultPlan(FaultRule("Put", FaultKind.HANG, every=2))
    threads = [threading.Thread(target=strikes, args=(plan, 50)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plan.counts() == {"hang": 100}


def test_every_kind_has_its_place_and_every_error_its_answer() -> None:
    of_jobs = JOB_KINDS - RETRIEVAL_KINDS  # a retrieval from a vault and a batch job both may fail
    places = (REQUEST_KINDS, BODY_KINDS, RETRIEVAL_KINDS, of_jobs, TASK_KINDS, NOTIFICATION_KINDS)
    groups = Counter(kind for group in places for kind in group)
    assert groups == dict.fromkeys(FaultKind, 1)
    assert set(GLACIER_ERRORS) == set(S3_ERRORS) == set(ERROR_KINDS)


def test_a_rule_may_change_the_answer_of_its_kind() -> None:
    usual = Fault(FaultKind.THROTTLING, FaultRule("*", FaultKind.THROTTLING))
    assert usual.answer(GLACIER_ERRORS).code == "ThrottlingException"
    assert usual.answer(S3_ERRORS).status == 503
    own = FaultRule("*", FaultKind.ERROR, status=418, code="Teapot", message="short and stout")
    answer = Fault(FaultKind.ERROR, own).answer(S3_ERRORS)
    assert (answer.status, answer.code, answer.message) == (418, "Teapot", "short and stout")


# --- bodies ---


def spoiled(data: bytes, *rules: FaultRule, chunk: int = 4) -> tuple[bytes, bool, float]:
    """Return what arrives of a body, whether it was cut, and the seconds it took."""
    pauses: list[float] = []
    chunks = (data[i : i + chunk] for i in range(0, len(data), chunk))
    faults = [Fault(rule.kind, rule) for rule in rules]
    arrived, cut = b"", False
    try:
        for piece in faulty_chunks(chunks, len(data), faults, sleep=pauses.append):
            arrived += piece
    except BodyCut:
        cut = True
    return arrived, cut, sum(pauses)


def test_a_body_without_body_faults_arrives_whole() -> None:
    assert spoiled(b"0123456789", FaultRule("*", FaultKind.HANG)) == (b"0123456789", False, 0)


@pytest.mark.parametrize(("at", "arrives"), [(None, b"01234"), (0, b""), (3, b"012"), (4, b"0123"), (9, b"012345678")])
def test_a_truncated_body_ends_early(at: int | None, arrives: bytes) -> None:
    assert spoiled(b"0123456789", FaultRule("*", FaultKind.TRUNCATE_BODY, at=at)) == (arrives, True, 0)


@pytest.mark.parametrize("at", [None, 0, 4, 9])
def test_a_corrupted_body_differs_in_one_byte(at: int | None) -> None:
    data = b"0123456789"
    arrived, cut, _ = spoiled(data, FaultRule("*", FaultKind.CORRUPT_BODY, at=at))
    differing = [place for place in range(10) if arrived[place] != data[place]]
    assert (differing, len(arrived), cut) == ([5 if at is None else at], 10, False)


def test_a_slow_body_takes_its_seconds() -> None:
    arrived, _, seconds = spoiled(b"0123456789", FaultRule("*", FaultKind.SLOW_BODY, seconds=3))
    assert arrived == b"0123456789"
    assert seconds == pytest.approx(3)


def test_body_faults_add_up() -> None:
    arrived, cut, seconds = spoiled(
        b"0123456789",
        FaultRule("*", FaultKind.SLOW_BODY, seconds=10),
        FaultRule("*", FaultKind.CORRUPT_BODY, at=1),
        FaultRule("*", FaultKind.TRUNCATE_BODY, at=4),
    )
    assert (arrived, cut) == (b"0\xce23", True)
    assert seconds == pytest.approx(4)
