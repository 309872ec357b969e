"""What is done is committed by number, by time, and whatever ends the block; and it is kept until then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from unittest import mock

import pytest

from glacier_provider.pipelines.shared.group import GROUP, GroupCommit


class Commits:
    """Takes groups, and fails as often as told."""

    def __init__(self, *, failures: int = 0) -> None:
        self.groups: list[list[int]] = []
        self._failures = failures

    def __call__(self, group: list[int]) -> None:
        if self._failures:
            self._failures -= 1
            raise ConnectionError
        self.groups.append(group)


@pytest.fixture
def clock() -> Iterator[mock.Mock]:
    with mock.patch("glacier_provider.pipelines.shared.group.time", spec=time) as patched:
        patched.monotonic.return_value = 1000.0
        yield patched.monotonic


def test_a_full_group_is_committed_and_the_rest_at_the_end() -> None:
    commits = Commits()
    with GroupCommit(commits) as done:
        for number in range(2 * GROUP + 1):
            done.add(number)
        assert [len(group) for group in commits.groups] == [GROUP, GROUP]
    assert [number for group in commits.groups for number in group] == list(range(2 * GROUP + 1))


@pytest.mark.parametrize("ending", [RuntimeError, KeyboardInterrupt])
def test_whatever_ends_the_block_what_is_done_is_committed(ending: type[BaseException]) -> None:
    commits = Commits()

    def work() -> None:
        with GroupCommit(commits) as done:
            done.add(1)
            raise ending

    with pytest.raises(ending):
        work()
    assert commits.groups == [[1]]


def test_a_slow_group_is_committed_after_its_time(clock: mock.Mock) -> None:
    commits = Commits()
    done = GroupCommit(commits, seconds=2.0)
    done.add(1)
    assert commits.groups == []
    clock.return_value += 2.5
    done.add(2)
    done.add(3)
    assert commits.groups == [[1, 2]]


def test_nothing_done_is_nothing_committed() -> None:
    commits = Commits()
    with GroupCommit(commits):
        pass
    assert commits.groups == []


def test_a_commit_that_failed_is_tried_again_at_the_end_of_the_block() -> None:
    commits = Commits(failures=1)

    def work() -> None:
        with GroupCommit(commits, size=2) as done:
            for number in range(4):
                done.add(number)

    with pytest.raises(ConnectionError):
        work()
    assert commits.groups == [[0, 1]]


def test_it_can_be_entered_for_each_page() -> None:
    commits = Commits()
    done = GroupCommit(commits)
    for page in ([1, 2], [3]):
        with done:
            for number in page:
                done.add(number)
    assert commits.groups == [[1, 2], [3]]


def test_what_waits_too_long_is_committed_though_nothing_follows(clock: mock.Mock) -> None:
    commits = Commits()
    group: GroupCommit[int] = GroupCommit(commits, seconds=2.0)
    group.add(1)
    group.commit_if_late()
    assert commits.groups == []
    clock.return_value += 2.1
    group.commit_if_late()
    assert commits.groups == [[1]]
