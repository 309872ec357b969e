"""What `references_query` gives, kept beside the dump: file names, separated by NUL, which no file name holds."""

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
            file.write(b"".join(map(_record, filter(None, names))))

        yield keep
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging / "references.partial", staging / "references")


def _record(reference: str) -> bytes:
    """Return a name; what is expected of its file follows an empty one."""
    name, behind, expected = reference.encode("utf-8", "surrogateescape").partition(b"\0")
    return name + b"\0" + (b"\0" + expected + b"\0" if behind and name else b"") if name else b""


def referenced_names(application: Application, backup_id: int) -> Iterator[tuple[str, str | None]]:
    """Yield the names that were kept with this backup's dump, each with what the database expects of its file."""
    name: str | None = None
    expects = False
    for field in _fields(application, backup_id):
        if expects:
            assert name is not None
            yield name, field.decode("utf-8", "replace")
            name, expects = None, False
        elif not field:
            expects = True
        else:
            if name is not None:
                yield name, None
            name = name_from_bytes(field)
    if name is not None:
        yield name, None


def _fields(application: Application, backup_id: int) -> Iterator[bytes]:
    rest = b""
    with open(staging_directory_of(application, "backup", backup_id) / "references", "rb") as file:
        while block := file.read(MIB):
            *fields, rest = (rest + block).split(b"\0")
            yield from fields
