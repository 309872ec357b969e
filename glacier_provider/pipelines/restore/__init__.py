"""The restore pipeline, top to bottom as a restore goes through it: a module for each task, to be read in this order.

1. `plan`: what is missing, and what it takes to bring it; its preview, by what the catalog knows
2. `request`: what only the cold has is asked for, once
3. `wait`: a look at a time, until nothing is pending; between two of them, `notifications`: at what messages name
4. `download`: the dump into staging, files to their places
5. `database`: what was chosen of the dump; before that, by `safety`, a dump of what it replaces
6. `orphans`: files that the backup does not contain, aside, and back
7. `close`: the outcome, and what is tidied up

`step` is what these share with each other; `pipelines.shared`, what they share with backups.

Each function is one task: it can be killed at any instant and called again with the same arguments. Nothing reaches its
destination before its checksum is verified; files are only ever added; the database changes in one transaction; orphans
move only after it (promise 5). The catalog is never part of what is restored (promise 6).
"""

from __future__ import annotations

from glacier_provider.pipelines.restore.close import close_restore
from glacier_provider.pipelines.restore.database import restore_database, undo_database
from glacier_provider.pipelines.restore.download import download_archives
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
    "download_archives",
    "look_at_notifications",
    "move_orphans",
    "plan_restore",
    "poll_retrievals",
    "preview_restore",
    "raise_failed_retrievals",
    "request_retrievals",
    "restore_database",
    "undo_database",
    "undo_orphans",
]
