from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.kit import HOUR, S3Kit, StoreKit
from tests.contract.vault_kit import VaultKit, an_emulator
from tests.emulator.s3 import S3Emulator

VAULT = "vault"
CAREFUL = " without the fast path"


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Emulator]:
    """One emulated S3 for the session; each test takes a bucket of its own."""
    hours = {"Expedited": 0.05 * HOUR, "Standard": 5 * HOUR, "Bulk": 48 * HOUR}
    with S3Emulator(retrieval_seconds=hours) as emulator:
        yield emulator


@contextmanager
def a_kit(request: pytest.FixtureRequest, place: str) -> Iterator[StoreKit]:
    """Yield the kit of a vault, or of a storage class of S3."""
    if place == VAULT:
        directory: Path = request.getfixturevalue("tmp_path") / "emulated-vault"
        with an_emulator(directory) as emulator:
            yield VaultKit(emulator)
    else:
        s3: S3Emulator = request.getfixturevalue("s3")
        yield S3Kit(s3, place.removesuffix(CAREFUL), fast=not place.endswith(CAREFUL))
        s3.plan.clear()


@pytest.fixture(params=["GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", f"GLACIER{CAREFUL}", VAULT])
def kit(request: pytest.FixtureRequest) -> Iterator[StoreKit]:
    """Every store in every storage class."""
    with a_kit(request, request.param) as kit:
        yield kit


@pytest.fixture(params=["GLACIER", "DEEP_ARCHIVE", VAULT])
def cold_kit(request: pytest.FixtureRequest) -> Iterator[StoreKit]:
    """The stores whose archives must be retrieved before they are read."""
    with a_kit(request, request.param) as kit:
        yield kit


@pytest.fixture(params=["GLACIER", f"GLACIER{CAREFUL}", VAULT])
def one_kit(request: pytest.FixtureRequest) -> Iterator[StoreKit]:
    """Each store once, in a class that has every tier: how it uploads does not depend on the class."""
    with a_kit(request, request.param) as kit:
        yield kit


@pytest.fixture(params=["GLACIER"])
def naming_kit(request: pytest.FixtureRequest) -> Iterator[StoreKit]:
    """The stores whose caller names the place of an archive: writing it twice is writing it once."""
    with a_kit(request, request.param) as kit:
        yield kit


@pytest.fixture
def s3_kit(s3: S3Emulator) -> Iterator[S3Kit]:
    """The S3 store in class GLACIER."""
    yield S3Kit(s3, "GLACIER")
    s3.plan.clear()


@pytest.fixture
def careful_kit(s3: S3Emulator) -> Iterator[S3Kit]:
    """The same with botocore alone."""
    yield S3Kit(s3, "GLACIER", fast=False)
    s3.plan.clear()


@pytest.fixture
def vault_kit(tmp_path: Path) -> Iterator[VaultKit]:
    """The vault store."""
    with an_emulator(tmp_path / "emulated-vault") as emulator:
        yield VaultKit(emulator)
