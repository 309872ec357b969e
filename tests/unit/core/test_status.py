from __future__ import annotations

import itertools
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.status import (
    ARCHIVE_MOVES,
    BACKUP_MOVES,
    BATCH_JOB_MOVES,
    LIVE_ARCHIVE_STATES,
    PROOF_MOVES,
    RESTORE_MOVES,
    RETRIEVAL_MOVES,
    ArchiveState,
    BackupState,
    BatchJobState,
    ProofState,
    RestoreState,
    RetrievalState,
    RetrievalStatus,
    lowest,
)

_STATUSES = st.sampled_from(RetrievalStatus)
LIFECYCLES: list[tuple[type[StrEnum], Mapping[Any, frozenset[Any]]]] = [
    (BackupState, BACKUP_MOVES),
    (ArchiveState, ARCHIVE_MOVES),
    (RetrievalState, RETRIEVAL_MOVES),
    (RestoreState, RESTORE_MOVES),
    (ProofState, PROOF_MOVES),
    (BatchJobState, BATCH_JOB_MOVES),
]


def test_the_order_is_that_of_the_seed() -> None:
    assert [str(status) for status in RetrievalStatus] == ["available", "pending", "ready", "local", "exists"]
    for nearer, further in itertools.combinations(reversed(RetrievalStatus), 2):
        assert lowest([nearer, further]) is further


@given(st.lists(_STATUSES, min_size=1))
def test_the_lowest_is_one_of_the_parts_and_none_is_below_it(statuses: list[RetrievalStatus]) -> None:
    order = list(RetrievalStatus)
    found = lowest(statuses)
    assert found in statuses
    assert all(order.index(found) <= order.index(status) for status in statuses)


@given(st.lists(_STATUSES), st.lists(_STATUSES))
def test_the_lowest_of_parts_is_the_lowest_of_the_whole(
    one: list[RetrievalStatus], other: list[RetrievalStatus]
) -> None:
    assert lowest([lowest(one), lowest(other)]) is lowest([*one, *other])


def test_nothing_to_fetch_exists() -> None:
    assert lowest([]) is RetrievalStatus.EXISTS


@pytest.mark.parametrize(("states", "moves"), LIFECYCLES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_state_has_its_moves_and_no_move_stays(
    states: type[StrEnum], moves: Mapping[Any, frozenset[Any]]
) -> None:
    assert set(moves) == set(states)
    for state, following in moves.items():
        assert following <= set(states)
        assert state not in following


@pytest.mark.parametrize(("states", "moves"), LIFECYCLES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_state_can_be_reached_from_the_first(states: type[StrEnum], moves: Mapping[Any, frozenset[Any]]) -> None:
    reached = {next(iter(states))}
    while more := set().union(*(moves[state] for state in reached)) - reached:
        reached |= more
    assert reached == set(states)


def test_an_archive_in_the_store_is_only_left_by_deletion_or_loss() -> None:
    assert ARCHIVE_MOVES[ArchiveState.ARCHIVED] == {ArchiveState.DELETING, ArchiveState.LOST}
    assert BACKUP_MOVES[BackupState.COMPLETE] == {BackupState.DELETING, BackupState.FAILED}, "its dump is lost"


def test_a_name_is_free_again_once_its_archive_is_given_up_deleted_or_lost() -> None:
    assert set(ArchiveState) - LIVE_ARCHIVE_STATES == {
        ArchiveState.DELETING,
        ArchiveState.DELETED,
        ArchiveState.FAILED,
        ArchiveState.LOST,
    }
