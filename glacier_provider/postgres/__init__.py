"""PostgreSQL: dumps that are verified before they count, restores that happen whole or not at all.

What others need of it is here. Read in this order; each room says in its docstring what is in it:

1. `tools`: where a database is, which client tools fit it, how they are called and run.
2. `dump`: `dump_to_path` and `dump_to_stream`, top to bottom, and what a dump holds.
3. `checks`: what a database is known by, in the dump's snapshot and after a restore.
4. `restore`: `plan_database_restore` changes nothing; `restore_in_transaction` does what it planned,
   `restore_by_swap` fills a new database that takes the old one's name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glacier_provider.postgres.cluster.properties import is_fresh, restore_properties
    from glacier_provider.postgres.cluster.roles import create_roles, read_roles, role_statements
    from glacier_provider.postgres.dump.disk import table_of_contents
    from glacier_provider.postgres.dump.pg_dump import Dump, dump_to_path
    from glacier_provider.postgres.dump.snapshot import database_size, extent_of
    from glacier_provider.postgres.dump.stream import compressed_here, decompress, dump_to_stream
    from glacier_provider.postgres.restore.outcome import RestoredDatabase
    from glacier_provider.postgres.restore.plan import DatabasePlan, plan_database_restore
    from glacier_provider.postgres.restore.selection import Selection
    from glacier_provider.postgres.restore.swap import check_swap, drop_beside, restore_by_swap
    from glacier_provider.postgres.restore.transaction import restore_in_transaction, restore_planned
    from glacier_provider.postgres.tools.find import Tools, find_tools, tools_for
    from glacier_provider.postgres.tools.flaws import security_warning
    from glacier_provider.postgres.tools.options import (
        DumpFormat,
        Exclusions,
        Keep,
        OnError,
        PgDumpOptions,
        PgRestoreOptions,
    )
    from glacier_provider.postgres.tools.run import terminate_tools
    from glacier_provider.postgres.tools.server import OPTION_VARIABLES, Server

#: Where each name is. Its module is loaded when it is first asked for: a command that reads the catalog makes no dump.
_ROOMS = {
    "cluster.properties": ("is_fresh", "restore_properties"),
    "cluster.roles": ("create_roles", "read_roles", "role_statements"),
    "dump.disk": ("table_of_contents",),
    "dump.pg_dump": ("Dump", "dump_to_path"),
    "dump.snapshot": ("database_size", "extent_of"),
    "dump.stream": ("compressed_here", "decompress", "dump_to_stream"),
    "restore.outcome": ("RestoredDatabase",),
    "restore.plan": ("DatabasePlan", "plan_database_restore"),
    "restore.selection": ("Selection",),
    "restore.swap": ("check_swap", "drop_beside", "restore_by_swap"),
    "restore.transaction": ("restore_in_transaction", "restore_planned"),
    "tools.find": ("Tools", "find_tools", "tools_for"),
    "tools.flaws": ("security_warning",),
    "tools.options": ("DumpFormat", "Exclusions", "Keep", "OnError", "PgDumpOptions", "PgRestoreOptions"),
    "tools.run": ("terminate_tools",),
    "tools.server": ("OPTION_VARIABLES", "Server"),
}

__all__ = [
    "OPTION_VARIABLES",
    "DatabasePlan",
    "Dump",
    "DumpFormat",
    "Exclusions",
    "Keep",
    "OnError",
    "PgDumpOptions",
    "PgRestoreOptions",
    "RestoredDatabase",
    "Selection",
    "Server",
    "Tools",
    "check_swap",
    "compressed_here",
    "create_roles",
    "database_size",
    "decompress",
    "drop_beside",
    "dump_to_path",
    "dump_to_stream",
    "extent_of",
    "find_tools",
    "is_fresh",
    "plan_database_restore",
    "read_roles",
    "restore_by_swap",
    "restore_in_transaction",
    "restore_planned",
    "restore_properties",
    "role_statements",
    "security_warning",
    "table_of_contents",
    "terminate_tools",
    "tools_for",
]


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"{__name__}.{room}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
