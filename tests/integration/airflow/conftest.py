from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.airflow import initialise_airflow
from tests.support.deprecations import deprecations


@pytest.fixture(scope="session", autouse=True)
def airflow() -> None:
    initialise_airflow()


@pytest.fixture(autouse=True)
def _nothing_deprecated() -> Iterator[None]:
    """What these tests run through Airflow uses nothing that Airflow calls deprecated."""
    with deprecations() as found:
        yield
    assert found == []
