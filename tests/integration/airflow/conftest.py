from __future__ import annotations

import pytest

from tests.support.airflow import initialise_airflow


@pytest.fixture(scope="session", autouse=True)
def airflow() -> None:
    initialise_airflow()
