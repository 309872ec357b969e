"""What the store contract needs beside a store: a way to move time, to break things and to count. One kit per store."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from glacier_provider.core.archive import ArchiveKind, Description, Location, Receipt
from glacier_provider.core.parts import MIB
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.stores.contract import ArchiveStore, Retrieval
from tests.emulator.faults import ERROR_KINDS, FaultKind
from tests.emulator.s3 import S3Emulator, a_session

PART = 8 * MIB
HOUR = 3600.0


class StoreKit(Protocol):
    """One store under test. `act` names what a store does: put, begin, part, complete, retrieve, read."""

    def open(self, *, attempts: int = 1) -> ArchiveStore:
        """Open the store with a client of its own, as another process would; each request is tried `attempts` times."""
        ...

    def missing(self) -> ArchiveStore:
        """Open a store whose bucket or vault does not exist."""
        ...

    def deny(self) -> None: ...

    def break_next(self, act: str, kind: FaultKind, *, part: int | None = None, **options: Any) -> None:
        """Let the next such act fail (of this part, counted from 1); `options` are those of a FaultRule."""
        ...

    def mend(self) -> None: ...

    def keys(self) -> list[str]:
        """Return the keys or ids of all archives that are in the store at this moment."""
        ...

    def publish(self) -> None:
        """Make what is in the store at this moment visible to `archives`, where that takes time."""
        ...

    def done(self, act: str) -> int:
        """Return how often the store did this with success, whether its answer arrived or not."""
        ...

    def wait_until_done(self, act: str, times: int) -> None:
        """Return once the store has done this so often; fail after a minute."""
        ...

    def address(self) -> list[str]:
        """Return what `open_again` needs in another process."""
        ...

    def pass_time(self, seconds: float) -> None: ...

    def finish_retrievals(self) -> None: ...


class Waiting:
    """What waits until another process has got somewhere."""

    def done(self, act: str) -> int:
        raise NotImplementedError

    def wait_until_done(self, act: str, times: int) -> None:
        deadline = time.monotonic() + 60
        while self.done(act) < times:
            assert time.monotonic() < deadline, f"{act} was done {self.done(act)} of {times} times"
            time.sleep(0.02)


@dataclass
class S3Kit(Waiting):
    """The S3 store in one storage class, in a bucket of its own. `fast` False has botocore send everything."""

    emulator: S3Emulator
    storage_class: str
    fast: bool = True
    bucket: str = field(default_factory=lambda: f"contract-{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.emulator.create_bucket(self.bucket)

    def open(self, *, attempts: int = 1, prefix: str = "prod", **options: Any) -> ArchiveStore:
        return self._open(self.bucket, prefix, attempts, options)

    def missing(self) -> ArchiveStore:
        return self._open("there-is-no-such-bucket", "prod", 1, {})

    def _open(self, bucket: str, prefix: str, attempts: int, options: dict[str, Any]) -> ArchiveStore:
        uri = f"s3://{bucket}/{prefix}?storage_class={self.storage_class}"
        return open_s3(self.emulator.url, uri, attempts, **{"fast": self.fast, **options})

    def address(self) -> list[str]:
        return [self.emulator.url, f"s3://{self.bucket}/prod?storage_class={self.storage_class}"]

    def deny(self) -> None:
        self.emulator.deny(self.bucket)

    def break_next(self, act: str, kind: FaultKind, *, part: int | None = None, **options: Any) -> None:
        when = {"bucket": self.bucket} | ({} if part is None else {"part": str(part)})
        tries = 2 if self.fast and act in _FAST and kind in _SEEN else 1
        self.emulator.plan.inject(_S3_ACTS[act], kind, when=when, **{"count": tries, **options})

    def mend(self) -> None:
        self.emulator.plan.clear()

    def keys(self) -> list[str]:
        return [archive.key for archive in self.open().archives(described=False)]

    def publish(self) -> None:
        """A listing of a bucket is up to date."""

    def done(self, act: str) -> int:
        return sum(self.emulator.count(_S3_ACTS[act], bucket=self.bucket, status=status) for status in (200, 202, 206))

    def pass_time(self, seconds: float) -> None:
        self.emulator.clock.advance(seconds)

    def finish_retrievals(self) -> None:
        self.pass_time(48 * HOUR + 1)


#: What fails on the fast path is done again on the careful one, and has to fail there as well to be an error. A hang
#: is waited for, and damaged bytes are for whoever verifies them.
_FAST = ("part",)
_SEEN = ERROR_KINDS | {FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER}
_S3_ACTS = {
    "delete": "DeleteObjects",
    "put": "PutObject",
    "begin": "CreateMultipartUpload",
    "part": "UploadPart",
    "complete": "CompleteMultipartUpload",
    "retrieve": "RestoreObject",
    "read": "GetObject",
}


def open_s3(url: str, uri: str, attempts: int = 1, **options: Any) -> ArchiveStore:
    """Open an S3 store at an endpoint; `options` go to S3Store."""
    from botocore.config import Config

    from glacier_provider.stores.s3.store import S3Store, s3_client_config

    place = parse_store_uri(uri)
    assert isinstance(place, S3Uri)
    config = s3_client_config(place).merge(Config(retries={"mode": "standard", "total_max_attempts": attempts}))
    client = a_session().client("s3", endpoint_url=url, config=config)
    return S3Store(place, client=client, **{"part_size": PART, **options})


def open_again(address: list[str], **options: Any) -> ArchiveStore:
    """Open in another process the store of a kit with this address."""
    url, uri = address
    if uri.startswith("s3:"):
        return open_s3(url, uri, **options)
    from tests.contract.vault_kit import open_vault

    return open_vault(url, uri, **options)


class Bytes:
    """A source in memory. `reads` counts the bytes read from it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, start: int, size: int) -> bytes:
        self.reads += size
        return self.data[start : start + size]


class FileJournal:
    """An upload journal in a file, so that another process finds it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def upload_id(self) -> tuple[str, int] | None:
        if not self.path.exists():
            return None
        upload_id, part_size = json.loads(self.path.read_text())
        return upload_id, part_size

    def began(self, upload_id: str, part_size: int) -> None:
        self.path.write_text(json.dumps([upload_id, part_size]))

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def a_file(archive_id: int = 7, **changes: Any) -> Description:
    usual = Description(
        application="library",
        kind=ArchiveKind.FILE,
        archive_id=archive_id,
        backup_id=3,
        filename=f"2024/report-{archive_id}.pdf",
        size=0,
        written_by="0123456789abcdef",
    )
    return replace(usual, **changes)


def stored(store: ArchiveStore, count: int, *, first: int = 1) -> list[Receipt]:
    """Put `count` small archives with consecutive ids."""
    return [store.put(f"archive {n}".encode(), a_file(n)) for n in range(first, first + count)]


def requested(
    store: ArchiveStore, locations: Iterable[Location], *, tier: str = "Bulk", days: int = 2
) -> list[Retrieval]:
    return [
        store.request_retrieval(place, tier=tier, days=days, token=f"restore-1/{place.key}"[:60]) for place in locations
    ]


def readable(kit: StoreKit, store: ArchiveStore, *receipts: Receipt) -> list[Retrieval]:
    """Bring archives back from the cold, where they are in it."""
    if not store.features.retrieval:
        return [Retrieval(receipt.location, "none") for receipt in receipts]
    retrievals = requested(store, [receipt.location for receipt in receipts])
    kit.finish_retrievals()
    return retrievals


def content(store: ArchiveStore, retrieval: Retrieval, start: int, size: int) -> bytes:
    return b"".join(store.read(retrieval.location, start, size, job_id=retrieval.job_id))
