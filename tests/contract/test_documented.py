"""What S3's documentation asks of requests, to the letter: also where S3 itself, or botocore, is content with less."""

from __future__ import annotations

import base64
import hashlib
import uuid
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.parts import MIB
from glacier_provider.stores.contract import SmallFiles
from glacier_provider.stores.s3 import upload
from tests.contract.kit import Bytes, FileJournal, a_file, open_s3, some_bytes
from tests.contract.test_tls import DATA, _Planned
from tests.emulator.s3 import S3Emulator


@pytest.fixture
def locked(s3: S3Emulator) -> str:
    """The URI of a store whose archives are locked."""
    bucket = f"documented-{uuid.uuid4().hex[:12]}"
    s3.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    return f"s3://{bucket}/prod?storage_class=GLACIER&object_lock_days=30"


@pytest.mark.parametrize("largest", [64 * MIB, 0], ids=["by the fast path", "with care"])
def test_locked_archives_are_sent_with_the_checksums_that_locks_ask_for(
    s3: S3Emulator, locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(upload, "LARGEST_PIECE", largest)
    store = open_s3(s3.url, locked)
    store.put(b"content", a_file(1))
    store.put_manifest(b"content", a_file(2))
    store.put_large(Bytes(some_bytes(9 * MIB)), a_file(3, size=9 * MIB), FileJournal(tmp_path / "journal"))
    (tmp_path / "a.bin").write_bytes(DATA)
    files = SmallFiles(application="dms", directory=str(tmp_path), settle_seconds=0.0, largest=1000)
    pool: Any = store.upload_pool(files, processes=1, connections=1)  # type: ignore[attr-defined]
    with pool:
        assert all(told for _, told in (*pool.send([_Planned(9)]), *pool.rest()))


def test_many_are_deleted_by_a_request_with_its_md5(s3: S3Emulator) -> None:
    store: Any = open_s3(s3.url, f"s3://{s3.create_bucket(f'documented-{uuid.uuid4().hex[:12]}')}/prod")
    seen: list[tuple[str, bytes]] = []
    store._bucket.client.meta.events.register_last(
        "before-send.s3.DeleteObjects",
        lambda request, **_: seen.append((request.headers["Content-MD5"].decode(), request.body)),
    )
    kept = store.put(b"content", a_file(1)).location
    assert store.delete_all([(kept.key, a_file(1))]) == {}
    ((told, body),) = seen
    assert told == base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
