"""The backup pipeline, top to bottom as a daily run goes through it.

`open_backup` → `dump_database` → `scan_files` → `upload_database`, `upload_files` → `close_backup`

Each function is one task: it can be killed at any instant and called again with the same arguments. Everything that the
next one needs is in the catalog, in staging or in the store. The dump comes before the scan, so that every file
which the dump's snapshot names is in the scan, unless it was deleted meanwhile (promise 4).
"""

from __future__ import annotations

from glacier_provider.pipelines.backup.close import close_backup
from glacier_provider.pipelines.backup.dump import dump_database, dump_source, upload_database
from glacier_provider.pipelines.backup.open import open_backup
from glacier_provider.pipelines.backup.scan import scan_files
from glacier_provider.pipelines.backup.upload import upload_files

__all__ = [
    "close_backup",
    "dump_database",
    "dump_source",
    "open_backup",
    "scan_files",
    "upload_database",
    "upload_files",
]
