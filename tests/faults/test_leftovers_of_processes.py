"""What processes that ended early leave under temporary names is gone when the task ends."""

from __future__ import annotations

from typing import Any

import pytest

from glacier_provider.files.names import TEMPORARY
from glacier_provider.stores.s3.fast import pool
from tests.faults.test_many_restored import _always_by_processes as _always_by_processes
from tests.faults.test_many_restored import away as away
from tests.faults.test_many_restored import last
from tests.faults.world import World


def test_what_a_process_that_ended_early_left_is_cleared_by_its_task(
    away: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where files cannot do without a name until they have theirs."""
    usual, left = pool.read_frame, []

    def read(fd: int) -> Any:
        directory = away.files / TEMPORARY
        if directory.exists() and not left:
            left.append(directory / "0123456789abcdef")
            left[0].write_bytes(b"half of a file")
        return usual(fd)

    monkeypatch.setattr(pool, "read_frame", read)
    away.restore(last(away))
    away.check_all()
    assert left
    assert not (away.files / TEMPORARY).exists()
