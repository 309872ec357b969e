"""The lines of progress in a task log, on a clock that the test moves."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from unittest import mock

import pytest

from glacier_provider.pipelines.shared.progress import SECONDS_BETWEEN_LINES, Progress, _duration

log = logging.getLogger("tests.progress")
MB = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    stopped = Clock()
    with mock.patch("glacier_provider.pipelines.shared.progress.time", spec=time) as patched:
        patched.monotonic.side_effect = stopped
        yield stopped


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == log.name]


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=log.name)


def test_there_is_one_line_every_some_seconds_and_none_for_each_file(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(log, "Uploaded", archives=1000, size=1000 * MB)
    for _ in range(100):
        clock.now += SECONDS_BETWEEN_LINES / 20
        progress.add(1, MB)
    assert len(said(caplog)) == 5
    assert said(caplog)[0] == "Uploaded: 20 archives (20.0 MB) of 1,000 (1.0 GB), 2.0 MB/s, about 8 min 10 s left"


def test_nothing_is_said_before_it_is_time(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(log, "Uploaded", archives=3, size=3 * MB)
    clock.now += SECONDS_BETWEEN_LINES - 0.01
    progress.add(1, MB)
    assert said(caplog) == []
    clock.now += 0.01
    progress.add(1, MB)
    assert len(said(caplog)) == 1


def test_the_end_is_said_with_the_rate_of_the_whole(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(log, "Restored", archives=2, size=2 * MB)
    progress.add(2, 2 * MB)
    clock.now += 4
    progress.say()
    assert said(caplog) == ["Restored: 2 archives (2.0 MB) of 2 (2.0 MB), 500.0 kB/s"]
    assert (progress.archives, progress.bytes) == (2, 2 * MB)


def test_a_whole_that_nobody_knows_is_not_said(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(log, "Moved")
    clock.now += 2
    progress.add(1, 10)
    progress.say()
    assert said(caplog) == ["Moved: 1 archive (10 B), 5 B/s"]


def test_a_start_without_time_or_bytes_divides_by_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    Progress(log, "Uploaded", archives=1, size=5).say()
    assert said(caplog) == ["Uploaded: 0 archives (0 B) of 1 (5 B), 0 B/s"]


def test_more_bytes_than_were_planned_leave_no_time_below_nothing(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(log, "Uploaded", archives=1, size=5)
    clock.now += 1
    progress.add(1, 8)
    progress.say()
    assert said(caplog) == ["Uploaded: 1 archive (8 B) of 1 (5 B), 8 B/s"]


def test_the_lease_is_prolonged_as_often_as_a_line_is_said(clock: Clock) -> None:
    beats: list[float] = []
    progress = Progress(log, "Uploaded", on_heartbeat=lambda: beats.append(clock.now))
    for _ in range(4):
        clock.now += SECONDS_BETWEEN_LINES
        progress.add(1, 1)
        progress.add(1, 1)
    assert beats == [1010.0, 1020.0, 1030.0, 1040.0]


def test_a_tools_own_line_is_passed_on_and_beats(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    beats: list[str] = []
    progress = Progress(log, "pg_dump", on_heartbeat=lambda: beats.append("heartbeat"))
    progress.heartbeat("dumping contents of table public.documents, 100 %")
    progress.heartbeat()
    assert said(caplog) == ["dumping contents of table public.documents, 100 %"]
    assert beats == ["heartbeat", "heartbeat"]


def test_an_error_of_the_beat_is_not_swallowed(clock: Clock) -> None:
    """A lease that was lost has to end the work."""

    def lost() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        Progress(log, "Uploaded", on_heartbeat=lost).say()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (3661, "1 h 1 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_durations_in_words(seconds: float, expected: str) -> None:
    assert _duration(seconds) == expected
