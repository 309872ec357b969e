"""What measured processes and servers begin with, and how they fail."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
#: What a user's shell may have set for other purposes and a measured process must not see.
FOREIGN = ("AIRFLOW", "AWS_", "BOTO_", "GLACIER_", "MOTO_", "PG", "PYTHON", "RCLONE_", "RESTIC_")


class BenchFailed(Exception):
    """A contender or server did not do what it was started for."""


def clean_environment() -> dict[str, str]:
    """Return this process's environment without other tools' settings; loopback is reached without a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    local = "127.0.0.1,localhost"
    return kept | {"NO_PROXY": local, "no_proxy": local, "PYTHONPATH": str(CHECKOUT), "PWD": str(CHECKOUT)}
