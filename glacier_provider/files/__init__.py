"""Attached files: below one open root, safe against symbolic links and traversal.

`root` opens it, by rules that all others keep; `walk` and `directories` tell what is there, `source` reads, `place` and
`temporary` write, `move` sets aside, `ways` tells what would be in the way. Dumps on the worker are in `staging`, which
stands on this.

Every function takes and gives the catalog's names (text, relative, ``/`` between the parts) and raises only the
`FileError` family of `glacier_provider.errors`, and `ArchiveCorrupt` for content that is not what it should be.
"""

from glacier_provider.files.directories import DirectoryWalk, Look
from glacier_provider.files.move import move_aside, move_back
from glacier_provider.files.names import TEMPORARY, name_parts, shown
from glacier_provider.files.place import Placed, Placement
from glacier_provider.files.root import Root
from glacier_provider.files.source import FileSource, hash_file, hash_source, open_source, read_small
from glacier_provider.files.temporary import PendingFile
from glacier_provider.files.walk import Exclusion, FoundFile, walk
from glacier_provider.files.ways import Ways

__all__ = [
    "TEMPORARY",
    "DirectoryWalk",
    "Exclusion",
    "FileSource",
    "FoundFile",
    "Look",
    "PendingFile",
    "Placed",
    "Placement",
    "Root",
    "Ways",
    "hash_file",
    "hash_source",
    "move_aside",
    "move_back",
    "name_parts",
    "open_source",
    "read_small",
    "shown",
    "walk",
]
