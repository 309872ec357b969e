"""Names of attached files: the catalog's text on one side, the path components of the disk on the other.

Nothing else leads to a file: every function of this package that takes a name takes it through `name_parts`.
"""

from __future__ import annotations

import os

from glacier_provider.core.archive import name_from_bytes
from glacier_provider.core.names import TEMPORARY, name_parts, shown

__all__ = ["TEMPORARY", "name_parts", "shown", "text_of"]


def text_of(entry_name: str) -> str:
    """Return the catalog's text for one component as Python's file functions give it."""
    return name_from_bytes(os.fsencode(entry_name))
