"""Restoring a database beside the one that is there, and swapping the two.

A new database of the same server is made like the old one, filled by pg_restore with several jobs, and analyzed, while
the application goes on with the old one. Then one transaction renames both: nobody ever sees half of it. The old
database stays under another name until somebody drops it. Whatever fails before the renaming leaves the application's
database untouched; a database that was filled by then is kept, and the next try goes on with it.

Quicker than one transaction, and not bound by max_locks_per_transaction; but all of the database or nothing of it, and
the restoring user must be able to create databases.

`names`, `maintenance`, then as it goes: `check`, `beside`, `fill`, `statistics`, `sessions` and `rename`; `whole` is
their sequence.
"""

from __future__ import annotations

from glacier_provider.postgres.restore.swap.check import check_swap
from glacier_provider.postgres.restore.swap.names import Swap
from glacier_provider.postgres.restore.swap.whole import drop_beside, restore_by_swap

__all__ = ["Swap", "check_swap", "drop_beside", "restore_by_swap"]
