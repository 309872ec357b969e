"""An Airflow that is too old says so in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glacier_provider.errors import ConfigurationError
from glacier_provider.operators import require_airflow


@pytest.mark.parametrize("version", ["3.1.8", "2.11.2", "3.0.0rc1.post4"])
def test_an_old_airflow_is_named_with_what_to_do(version: str) -> None:
    with pytest.raises(ConfigurationError, match=f"needs Apache Airflow 3.2 or newer, and this is {version}.*Upgrade"):
        require_airflow(version)


@pytest.mark.parametrize(("version", "said"), [("3.1.8", "ConfigurationError: glacier_provider needs"), ("3.2.0", "")])
def test_that_is_said_before_anything_else_of_it_is_imported(version: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "__init__.py").write_text(f"__version__ = {version!r}")
    done = subprocess.run(
        [sys.executable, "-c", "import glacier_provider.operators"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said in done.stderr, done.returncode) == (True, 1 if said else 0), done.stderr


@pytest.mark.parametrize("version", ["3.2.0", "3.2.2", "3.4.0b2", "3.10.0", "unheard of"])
def test_a_newer_airflow_is_taken(version: str) -> None:
    require_airflow(version)
