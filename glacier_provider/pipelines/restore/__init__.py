"""The restore pipeline, top to bottom as a restore goes through it.

`plan_restore` → `request_retrievals` → `poll_retrievals` (until nothing is pending) → `download` → `restore_database`
→ `move_orphans` → `close_restore`. Between two polls `look_at_notifications` looks at what messages name. Before all
that, `preview_restore` tells what the plan will be, by what the catalog knows.

Each function is one task: it can be killed at any instant and called again with the same arguments. Nothing reaches its
destination before its checksum is verified; files are only ever added; the database changes in one transaction; orphans
move only after it (promise 5). The catalog is never part of what is restored (promise 6).
"""

from __future__ import annotations

from glacier_provider.pipelines.restore.close import close_restore
from glacier_provider.pipelines.restore.database import restore_database
from glacier_provider.pipelines.restore.download import download
from glacier_provider.pipelines.restore.notifications import NotificationsOutcome, look_at_notifications
from glacier_provider.pipelines.restore.orphans import move_orphans, undo_orphans
from glacier_provider.pipelines.restore.plan import plan_restore, preview_restore
from glacier_provider.pipelines.restore.request import request_retrievals
from glacier_provider.pipelines.restore.wait import (
    Waiting,
    describe_still_missing,
    poll_retrievals,
    raise_failed_retrievals,
)

__all__ = [
    "NotificationsOutcome",
    "Waiting",
    "close_restore",
    "describe_still_missing",
    "download",
    "look_at_notifications",
    "move_orphans",
    "plan_restore",
    "poll_retrievals",
    "preview_restore",
    "raise_failed_retrievals",
    "request_retrievals",
    "restore_database",
    "undo_orphans",
]
