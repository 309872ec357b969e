"""An Airflow that is too old says so in a sentence."""

from __future__ import annotations

import pytest

from glacier_provider.errors import ConfigurationError
from glacier_provider.operators import require_airflow


@pytest.mark.parametrize("version", ["3.1.8", "2.11.2", "3.0.0rc1.post4"])
def test_an_old_airflow_is_named_with_what_to_do(version: str) -> None:
    with pytest.raises(ConfigurationError, match=f"needs Apache Airflow 3.2 or newer, and this is {version}.*Upgrade"):
        require_airflow(version)


@pytest.mark.parametrize("version", ["3.2.0", "3.2.2", "3.4.0b2", "3.10.0", "unheard of"])
def test_a_newer_airflow_is_taken(version: str) -> None:
    require_airflow(version)
