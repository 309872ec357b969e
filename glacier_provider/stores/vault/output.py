"""The output of vault jobs, window by window, each one verified before it is given out.

GetJobOutput takes a range. The checksum of the range comes with the reply where the range is a node of the archive's
hash tree (https://docs.aws.amazon.com/amazonglacier/latest/dev/checksum-calculations-range.html); windows of 2^n MiB
that begin at multiples of their size always are, the short last one included. A window that breaks off or arrives
damaged is read again by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glacier_provider.core.parts import MIB
from glacier_provider.core.treehash import tree_hash
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ContentDiffers,
    NotInVault,
    RequestRejected,
    StoreUnavailable,
)
from glacier_provider.stores.aws_errors import aws_errors
from glacier_provider.stores.vault.calls import Vault
from glacier_provider.stores.vault.jobs import describe_job

WINDOW = 8 * MIB


def read_output(vault: Vault, job_id: str, start: int, size: int, *, key: str = "") -> Iterator[bytes]:
    """Yield `size` bytes from `start` of a job's output, at most `WINDOW` at a time; that much is in memory.

    Raise ArchiveCold when the output is not there, no longer or not yet; ArchiveCorrupt for a range beyond its end or
    bytes that stay damaged; StoreUnavailable.
    """
    end = start + size
    while start < end:
        following = min(end, (start // WINDOW + 1) * WINDOW)
        yield _window(vault, job_id, start, following - start, key)
        start = following


def _window(vault: Vault, job_id: str, start: int, size: int, key: str) -> bytes:
    try:
        return vault.retrying(lambda: _received(vault, job_id, start, size, key), on=(StoreUnavailable, ArchiveCorrupt))
    except NotInVault as exc:
        raise ArchiveCold(f"The vault no longer offers {vault.url(key)}: its job has expired.") from exc
    except RequestRejected as exc:
        job = describe_job(vault, job_id)
        if job is None or job.status != "Succeeded":
            raise ArchiveCold(f"The vault does not offer {vault.url(key)}: its job is not done.") from exc
        raise ArchiveCorrupt(f"{vault.url(key)} has no {size:,} bytes from byte {start:,} on. {exc.message}") from exc


def _received(vault: Vault, job_id: str, start: int, size: int, key: str) -> bytes:
    """Return one window, complete and as the vault sent it."""
    reply = vault.once("GetJobOutput", key, jobId=job_id, range=f"bytes={start}-{start + size - 1}")
    body: Any = reply["body"]
    try:
        with aws_errors("glacier:GetJobOutput", vault.url(key)):
            data = bytes(body.read())
    finally:
        body.close()
    if len(data) != size:
        raise ArchiveCorrupt(f"{vault.url(key)} gives {len(data):,} of {size:,} bytes from byte {start:,}.")
    checksum = reply.get("checksum")
    if checksum and tree_hash(data).hex() != checksum:
        told = f"{vault.url(key)}: the {size:,} bytes from byte {start:,} arrived damaged."
        raise ContentDiffers(told, found=tree_hash(data).hex())
    return data
