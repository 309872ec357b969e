"""The DAGs of all applications by one line of a DAG file, so that upgrading the package upgrades the DAGs::

    from glacier_provider.bundle import *  # Airflow: the DAGs of the Glacier backups

(Airflow reads only files in which the words airflow and dag stand.) The DAG files are read anew for each import of that
line; nothing is read for an import of this module alone. In an installed package they lie in this folder.
"""

from __future__ import annotations

import logging
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

#: Made by the last import of everything.
_made: dict[str, Any] = {}


def dags_folder() -> Path:
    """Return where the package's DAG files are: here, or in a checkout beside the package."""
    here = Path(__file__).parent
    return here if (here / "glacier_backup.py").exists() else here.parents[1] / "dags"


def __getattr__(name: str) -> Any:
    if name == "__all__":
        _made.clear()
        _made.update(_all_dags())
        return list(_made)
    if name in _made:
        return _made[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _all_dags() -> dict[str, Any]:
    """Return the DAGs by their ids, which are the names that they get.

    What is wrong with some application is told by the page and by `glacier-backup applications`; an error here would
    take the others' DAGs away.
    """
    from airflow.sdk import DAG

    from glacier_provider.applications import load_applications

    applications = load_applications()
    for name, problems in applications.wrong.items():
        log.error("%s: no DAGs of %s: %s", applications.origin, name or "the file itself", "; ".join(problems))
    found: dict[str, Any] = {}
    for path in sorted(dags_folder().glob("glacier_*.py")):
        if path.stem != "glacier_applications":
            module = _executed(path)
            found.update({one.dag_id: one for one in vars(module).values() if isinstance(one, DAG)})
    return found


def _executed(path: Path) -> Any:
    """Return a DAG file's module, executed anew; under a name of its own, by which its classes are found again."""
    name = f"{__name__}._{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
