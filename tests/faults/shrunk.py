"""Limits of the product made small, so that much happens with little: files go in parts, and come in pieces; and a disk
that does not give some of its files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from glacier_provider.catalog.queries import queries
from glacier_provider.core import parts
from glacier_provider.pipelines.backup import upload
from glacier_provider.pipelines.restore import download
from glacier_provider.pipelines.shared import lease

MIB = 1024 * 1024
LARGEST = "8388608"  # in SQL: what is sent by one request


class Shrunk:
    """`unreadable`: by the last part of its name, the error with which a file cannot be opened."""

    def __init__(self, unreadable: Mapping[str, int]) -> None:
        self._unreadable = unreadable
        self._before: list[tuple[Any, str, Any]] = []

    def start(self) -> None:
        import moto.s3.models

        self._set(parts, "MIN_PART_SIZE", MIB)
        self._set(upload, "SMALL_FILE", MIB)
        self._set(download, "SMALL", MIB)
        self._set(lease, "SECONDS_BETWEEN_HEARTBEATS", 0.5)
        self._set(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1024)
        known: Any = queries()
        known.update({name: text.replace(LARGEST, str(MIB)) for name, text in known.items() if LARGEST in text})
        self._set(os, "open", self._opening(os.open))

    def stop(self) -> None:
        while self._before:
            setattr(*self._before.pop())
        queries.cache_clear()

    def _set(self, owner: Any, name: str, value: Any) -> None:
        self._before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _opening(self, real: Any) -> Any:
        def opening(path: Any, *arguments: Any, **options: Any) -> int:
            if self._unreadable and options.get("dir_fd") is not None:
                number = self._unreadable.get(os.path.basename(os.fsdecode(path)))
                if number:
                    raise OSError(number, os.strerror(number), path)
            return int(real(path, *arguments, **options))

        return opening
