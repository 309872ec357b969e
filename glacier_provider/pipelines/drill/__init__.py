"""A drill: a real restore, elsewhere, checked against what was noted at the dump, and thrown away. In its order:

1. `open`: a row for the drill, which backup, and which seed; what drills of ended runs left is cleared
2. `plan`: which files, for the money that is left; where to
3. (the restore's own `request_retrievals` and `poll_retrievals`)
4. `download`: the dump and the sample, out of the stores
5. `database`: restored, and checked from outside
6. `files`: each file of the sample, read once more
7. `clear`: the database, the directory and the staging are gone, whatever happened
8. `close`: what it came to

It takes no lease, since a restore elsewhere takes none, and nothing of it says that the application was restored.

Its row in `proofs` has the kind `drill`; `backup_id` is the backup, `method` where it was restored to: `scratch` (a new
database on the application's server), `private` (a server of the worker's own) or `target` (what `drill.target` names).
Its `figures`, each under the step that wrote it:

=========== =========================================================================================================
`choice`    `seed`, `which` (newest or random), `backup_opened_at`
`plan`      `restore_id`, `into` (in words), `files` (in the sample), `files_wanted` (a number, or "all"),
            `files_of_backup`, `fewer` (whether the budget left some out), `tier`, `cost` (decimal text), `currency`,
            `budget` and `spent` (earlier this month; decimal text), `database_bytes`
`database`  `bytes` (of the restored database), `tables`, `rows`, `server_version`, `checks` (a list of `name`,
            `compared`, `differing`, `found`, `passed`, as `CheckResult.as_dict`), `not_checked` (sentences),
            `warnings` (of the restore)
`files`     `checked`, `bytes`, `differing`, `missing`, `lost`
`clear`     `cleared` (ids of restores), `kept` (databases that its user could not make again)
`spans`     for each step `[began, ended]`: `plan`, `download`, `database`, `checks`, `files`
`times`     in seconds: `plan`, `retrieval` (from the plan to the first download), `download`, `database`, `checks`,
            `files`, and `recovery`: from the plan until database and files were there
=========== =========================================================================================================

Findings have the name of the check that found them (`row_counts`, …, `pg_amcheck`, `references`, `files`,
`assertion …`); besides: `lost` (in no store any more), `not_brought` and `not_restored` (the store or the server said
no), and `not_done` (a step could not be done: the proof is `failed`, as one that could not look).
"""

from __future__ import annotations

from glacier_provider.pipelines.drill.clear import clear_drill
from glacier_provider.pipelines.drill.close import close_drill
from glacier_provider.pipelines.drill.database import check_drilled, restore_and_check, restore_into_place
from glacier_provider.pipelines.drill.download import download_sample
from glacier_provider.pipelines.drill.files import check_files
from glacier_provider.pipelines.drill.open import COMMAND, open_drill, work_of_command
from glacier_provider.pipelines.drill.plan import plan_drill

__all__ = [
    "COMMAND",
    "check_drilled",
    "check_files",
    "clear_drill",
    "close_drill",
    "download_sample",
    "open_drill",
    "plan_drill",
    "restore_and_check",
    "restore_into_place",
    "work_of_command",
]
