"""The backup pipeline, top to bottom as a daily run goes through it.

1. `open`: `open_backup` looks at whatever can go wrong, before anything is spent.
2. `dump`: `dump_database`, in one of three `forms`. `stream` sends the dump while it is made; `references` keeps the
   names of files that the database knows.
3. `scan`: `scan_files` notes in the catalog what came and went, and shares the new files out.
4. `upload`: `upload_database`, where `dump` could not, and `upload_files`, many at a time.
5. `rehearse`: `rehearse_restore`, beside the uploads, finds out whether the dump can be restored.
6. `close`: `close_backup` writes the manifest and tidies up.

`step` is what these share: a step under the lease.

Each function is one task: it can be killed at any instant and called again with the same arguments. Everything that the
next one needs is in the catalog, in staging or in the store. The dump comes before the scan, so that every file
which the dump's snapshot names is in the scan, unless it was deleted meanwhile (promise 4).
"""

from __future__ import annotations

from glacier_provider.pipelines.backup.close import close_backup
from glacier_provider.pipelines.backup.dump import dump_database
from glacier_provider.pipelines.backup.open import open_backup
from glacier_provider.pipelines.backup.rehearse import rehearse_restore
from glacier_provider.pipelines.backup.scan import scan_files
from glacier_provider.pipelines.backup.upload import upload_database, upload_files

__all__ = [
    "close_backup",
    "dump_database",
    "open_backup",
    "rehearse_restore",
    "scan_files",
    "upload_database",
    "upload_files",
]
