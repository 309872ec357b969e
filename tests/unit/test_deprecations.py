"""Nothing of ours uses what Airflow calls deprecated; `tests/integration/airflow` asks it of whole runs."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

from tests.support.deprecations import deprecations

_IMPORTS = """
import importlib, json, pkgutil
from tests.support import clean_environment
from tests.support.deprecations import deprecations
with deprecations() as found:
    import glacier_provider
    for module in pkgutil.walk_packages(glacier_provider.__path__, "glacier_provider."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print("found", json.dumps(found))
"""


def test_no_module_imports_what_is_deprecated() -> None:
    """In a process of its own, where nothing was imported before."""
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "found []"


def test_the_dags_of_all_applications_are_imported_without_a_warning() -> None:
    """Whoever's it is: people would read it in the log of each parsing."""
    applications = Path(__file__).parents[2] / "dags" / "applications.yaml"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import airflow\nfrom glacier_provider.bundle import *\nprint(*dir())"],
        env=os.environ | {"GLACIER_APPLICATIONS": str(applications)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "glacier_backup__" in done.stdout


def test_a_use_of_ours_is_found_and_anothers_is_not() -> None:
    import glacier_provider

    ours = compile("warnings.warn('Airflow 4 has none', DeprecationWarning)", glacier_provider.__file__, "exec")
    with warnings.catch_warnings(record=True), deprecations() as found:
        exec(ours, {"warnings": warnings})
        warnings.warn("Airflow 4 has none", DeprecationWarning, stacklevel=1)
        exec(ours.replace(co_filename=glacier_provider.__file__), {"warnings": warnings})
    assert [one.rpartition("/")[2] for one in found] == ["__init__.py:1: Airflow 4 has none"] * 2
