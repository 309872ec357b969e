from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.kit import HOUR, S3Kit, StoreKit
from tests.emulator.s3 import S3Emulator


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Emulator]:
    """One emulated S3 for the session; each test takes a bucket of its own."""
    hours = {"Expedited": 0.05 * HOUR, "Standard": 5 * HOUR, "Bulk": 48 * HOUR}
    with S3Emulator(retrieval_seconds=hours) as emulator:
        yield emulator


@pytest.fixture(params=["GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"])
def kit(request: pytest.FixtureRequest, s3: S3Emulator) -> Iterator[StoreKit]:
    """Every store in every storage class."""
    yield S3Kit(s3, request.param)
    s3.plan.clear()


@pytest.fixture(params=["GLACIER", "DEEP_ARCHIVE"])
def cold_kit(request: pytest.FixtureRequest, s3: S3Emulator) -> Iterator[StoreKit]:
    """The stores whose archives must be retrieved before they are read."""
    yield S3Kit(s3, request.param)
    s3.plan.clear()


@pytest.fixture(params=["GLACIER"])
def one_kit(request: pytest.FixtureRequest, s3: S3Emulator) -> Iterator[StoreKit]:
    """Each store once, in a class that has every tier: how it uploads does not depend on the class."""
    yield S3Kit(s3, request.param)
    s3.plan.clear()


@pytest.fixture
def s3_kit(s3: S3Emulator) -> Iterator[S3Kit]:
    """The S3 store in class GLACIER."""
    yield S3Kit(s3, "GLACIER")
    s3.plan.clear()
