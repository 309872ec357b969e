"""Which messages are done with, and which are left in the queue."""

from __future__ import annotations

import pytest

from glacier_provider.core.notification import Notification
from glacier_provider.pipelines.restore import NotificationsOutcome
from glacier_provider.stores.queue.receive import Message
from glacier_provider.triggers.queue_listener import MOST_TIMES, _is_done

OURS, DOUBTED, THEIRS = (Notification("s3://b", key, "completed") for key in ("ours", "doubted", "theirs"))
OUTCOME = NotificationsOutcome(confirmed=frozenset({OURS}), unconfirmed=frozenset({DOUBTED}))


@pytest.mark.parametrize(
    ("notifications", "times", "done"),
    [
        ((OURS,), 1, True),
        ((OURS, OURS), 1, True),
        ((DOUBTED,), MOST_TIMES - 1, False),
        ((DOUBTED,), MOST_TIMES, True),
        ((OURS, DOUBTED), 1, False),
        ((OURS, DOUBTED), MOST_TIMES, True),
        ((THEIRS,), 1, False),
        ((THEIRS,), 100 * MOST_TIMES, False),
        ((OURS, THEIRS), MOST_TIMES, False),
        ((), 100 * MOST_TIMES, False),
        (None, 100 * MOST_TIMES, False),
    ],
)
def test_only_what_concerns_the_restore_is_ever_deleted(
    notifications: tuple[Notification, ...] | None, times: int, done: bool
) -> None:
    assert _is_done(Message("handle", notifications, times), OUTCOME) is done
