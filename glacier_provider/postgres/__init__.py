"""PostgreSQL: dumps that are verified before they count, restores that happen whole or not at all.

Read in this order:

1. `server` and `options`: the values. Where a database is; what a dump and a restore may be asked for.
2. `dump`: `dump_database`, top to bottom, and `follow`, which reads a dump through while it is written; `stream`: the
   same through a pipe.
3. `restore_plan`: what a restore will do, checked against dump and target; `restore`: doing it in one transaction;
   `swap`: doing it beside, in a new database.
4. `toc`, `selection`, `sqltext`, `script`, `commands`: the pure parts. What a dump holds, which of it is restored,
   names in SQL, the script that runs, the command lines.
5. `tools`, `dumpfile`, `live`, `run`: the adapters. The client tools on this worker, a dump on disk, the target
   database, child processes.
"""

from __future__ import annotations

from glacier_provider.postgres.dump.pg_dump import Dump, database_size, dump_database
from glacier_provider.postgres.dump.stream import compressed_here, stream_database
from glacier_provider.postgres.options import DumpFormat, DumpOptions, Keep, RestoreOptions, Selection
from glacier_provider.postgres.restore.plan import DatabasePlan, plan_database_restore
from glacier_provider.postgres.restore.swap import check_swap, swap_database
from glacier_provider.postgres.restore.transaction import RestoredDatabase, restore_database
from glacier_provider.postgres.tools.find import Tools, find_tools, tools_for
from glacier_provider.postgres.tools.run import terminate_tools
from glacier_provider.postgres.tools.server import Server

__all__ = [
    "DatabasePlan",
    "Dump",
    "DumpFormat",
    "DumpOptions",
    "Keep",
    "RestoreOptions",
    "RestoredDatabase",
    "Selection",
    "Server",
    "Tools",
    "check_swap",
    "compressed_here",
    "database_size",
    "dump_database",
    "find_tools",
    "plan_database_restore",
    "restore_database",
    "stream_database",
    "swap_database",
    "terminate_tools",
    "tools_for",
]
