"""Dumps on the worker: their directory, a directory as one tar archive, archives that are read while they are made.

Stands on `files`: everything is below one open root, and raises the same `FileError` family.
"""

from glacier_provider.staging.directory import (
    free_bytes,
    numbered,
    prepare_staging,
    remove_tree,
    require_directory,
    require_space,
)
from glacier_provider.staging.layout import layout_path, read_layout, write_layout
from glacier_provider.staging.stream import FileStream, Spool, Stream, TarStream
from glacier_provider.staging.tar import DirectorySource, extract_tar

__all__ = [
    "DirectorySource",
    "FileStream",
    "Spool",
    "Stream",
    "TarStream",
    "extract_tar",
    "free_bytes",
    "layout_path",
    "numbered",
    "prepare_staging",
    "read_layout",
    "remove_tree",
    "require_directory",
    "require_space",
    "write_layout",
]
