"""HTTPS as it is used: certificates verified against an authority of one's own, by botocore and by the fast path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.archive import ArchiveKind, Description, Location
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.errors import StoreUntrusted
from glacier_provider.stores.contract import PlannedFile, SmallFiles, WantedFile, WantedRetrieval
from glacier_provider.stores.s3.fast.sender import OneByOne
from glacier_provider.stores.s3.store import S3Store, s3_client_config
from tests.emulator.s3 import S3Emulator
from tests.support.certificates import Authority

PLACE = parse_store_uri("s3://tls/pre?storage_class=GLACIER")
DATA = b"the bytes of a file"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[S3Emulator]:
    with S3Emulator(retrieval_seconds=0, tls=authority.server()) as emulator:
        emulator.client(verify=str(authority.file)).create_bucket(Bucket="tls")
        yield emulator


def a_store(emulator: S3Emulator, **options: Any) -> S3Store:
    assert isinstance(PLACE, S3Uri)
    return S3Store(PLACE, client=emulator.client(config=s3_client_config(PLACE), **options))


class _Planned:
    backup_id, filename, written_by = 1, "a.bin", None

    def __init__(self, number: int) -> None:
        self.id = number


@pytest.fixture
def files(tmp_path: Path) -> SmallFiles:
    (tmp_path / "a.bin").write_bytes(DATA)
    return SmallFiles(application="tls", directory=str(tmp_path), settle_seconds=0.0, largest=1000)


def fine() -> None:
    pass


def test_files_are_sent_asked_for_and_brought_over_tls_by_processes(
    secure: S3Emulator, authority: Authority, files: SmallFiles, tmp_path: Path
) -> None:
    store = a_store(secure, verify=str(authority.file))
    how = {"processes": 1, "connections": 4}
    planned: list[PlannedFile] = [_Planned(number) for number in range(1, 6)]
    with _there(store.upload_pool(files, **how)) as pool:
        sent = [told for _, told in (*pool.send(planned), *pool.rest())]
    keys = [one.key for one in sent if one is not None]
    assert len(keys) == 5
    with _there(store.request_pool(tier="Standard", days=1, may_go_on=fine, **how)) as pool:
        asked = [*pool.send([WantedRetrieval(n, key) for n, key in enumerate(keys)]), *pool.rest()]
    assert [told for _, told in asked] == [True] * 5
    there = tmp_path / "there"
    there.mkdir()
    digest = hashlib.sha256(DATA).hexdigest()
    wanted = [WantedFile(n, key, f"{n}.bin", len(DATA), digest) for n, key in enumerate(keys)]
    with _there(store.download_pool(str(there), may_go_on=fine, **how)) as pool:
        brought = [*pool.send(wanted), *pool.rest()]
    assert all(told is not None for _, told in brought)
    assert [path.read_bytes() for path in sorted(there.glob("*.bin"))] == [DATA] * 5


def test_a_range_is_read_over_tls_by_the_fast_path(
    secure: S3Emulator, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_store(secure, verify=str(authority.file))
    description = Description("tls", ArchiveKind.FILE, 77, 1, filename="b.bin", size=len(DATA))
    location = store.put(DATA, description).location
    store.request_retrieval(location, tier="Standard", days=1, token="a token")
    replies: list[int] = []
    usual = OneByOne.send

    def send(connection: OneByOne, *arguments: Any) -> Any:
        reply = usual(connection, *arguments)
        replies.append(reply.status)
        return reply

    monkeypatch.setattr(OneByOne, "send", send)
    assert _read(store, location) == DATA
    assert replies == [206]


@pytest.mark.parametrize("trust", ["another authority", "another name", "the usual authorities"])
def test_a_certificate_that_is_not_trusted_is_refused_and_says_what_helps(
    secure: S3Emulator, authority: Authority, tmp_path: Path, trust: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    emulator, options = secure, {}
    if trust == "another authority":
        options = {"verify": str(Authority(tmp_path, "stranger").file)}
    elif trust == "another name":
        emulator = S3Emulator(retrieval_seconds=0, tls=authority.server("s3.example.com"))
        options = {"verify": str(authority.file)}
    if emulator is not secure:
        emulator.start()
    try:
        store = a_store(emulator, **options)
        with pytest.raises(StoreUntrusted, match=r"certificate") as refused:
            _read(store, Location(str(PLACE), "pre/tls/files/000/000/000/001"))
        assert ("AWS_CA_BUNDLE" in str(refused.value)) is (trust != "another name")
        assert ("is for another name" in str(refused.value)) is (trust == "another name")
        assert not refused.value.retryable
        assert not emulator.count("GetObject", key="pre/tls/files/000/000/000/001")
    finally:
        if emulator is not secure:
            emulator.stop()


def test_a_process_sends_nothing_where_the_certificate_is_not_trusted(
    secure: S3Emulator, tmp_path: Path, files: SmallFiles
) -> None:
    before = secure.count("PutObject")
    store = a_store(secure, verify=str(Authority(tmp_path, "stranger").file))
    with _there(store.upload_pool(files, processes=1, connections=1)) as pool:
        planned: list[PlannedFile] = [_Planned(99)]
        assert [told for _, told in (*pool.send(planned), *pool.rest())] == [None]
    assert secure.count("PutObject") == before


def _there(pool: Any) -> Any:
    assert pool is not None
    return pool


def _read(store: S3Store, location: Location) -> bytes:
    came: list[bytes] = []
    take: Callable[[bytes], object] = came.append
    store.read_into(location, 0, len(DATA), take)
    return b"".join(came)
