"""The file names that `references_query` gives, kept beside the dump: separated by NUL, which no file name holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glacier_provider.applications import Application
from glacier_provider.core.archive import name_from_bytes
from glacier_provider.core.parts import MIB
from glacier_provider.pipelines.shared.staging import staging_directory_of


@contextmanager
def references_file(application: Application, staging: Path) -> Iterator[Callable[[list[str]], None] | None]:
    """Yield what takes the names in batches, None where the application has no query; they are kept at the end."""
    if not application.references_query:
        yield None
        return
    with open(staging / "references.partial", "wb") as file:

        def keep(names: list[str]) -> None:
            file.write(b"".join(name.encode("utf-8", "surrogateescape") + b"\0" for name in names))

        yield keep
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging / "references.partial", staging / "references")


def referenced_names(application: Application, backup_id: int) -> Iterator[str]:
    """Yield the names that were kept with this backup's dump."""
    rest = b""
    with open(staging_directory_of(application, "backup", backup_id) / "references", "rb") as file:
        while block := file.read(MIB):
            *names, rest = (rest + block).split(b"\0")
            yield from (name_from_bytes(name) for name in names)
