"""The roles that restoring a dump needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore import definitions
from glacier_provider.postgres.restore.statements import change_of_owner
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions

#: What belongs to the database itself is not restored with its contents.
_OF_THE_DATABASE = ("DATABASE", "DATABASE PROPERTIES")


def named_roles(entries: Iterable[TocEntry], options: PgRestoreOptions) -> tuple[frozenset[str], frozenset[str]]:
    """Return the owners of what would be restored, and all roles that it names, the owners among them."""
    owners: set[str] = set()
    named: set[str] = set()
    for entry in entries:
        if of_the_database(entry):
            continue
        if options.owner is Keep.KEEP and change_of_owner(entry):
            owners.add(entry.owner)
        if entry.desc in ("ACL", "DEFAULT ACL") and options.privileges is Keep.KEEP:
            named |= definitions.granted_roles(entry.definition)
        elif entry.desc == "POLICY":
            named |= definitions.policy_roles(entry.definition)
        elif entry.desc == "USER MAPPING":
            named |= definitions.mapped_roles(entry.definition)
    return frozenset(owners), frozenset(owners | named)


def of_the_database(entry: TocEntry) -> bool:
    """Tell whether an entry is of the database itself: its settings, privileges, comment, which only -C restores."""
    annotation = entry.desc in ("ACL", "COMMENT", "SECURITY LABEL") and entry.schema is None
    return entry.desc in _OF_THE_DATABASE or (annotation and entry.name.startswith("DATABASE "))
