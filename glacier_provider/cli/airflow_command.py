"""``airflow glacier ...`` is ``glacier-backup ...``, for who has Airflow's command line at hand."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def get_airflow_commands() -> list[Any]:
    """Return what Airflow's command line gets from this package (provider key ``cli``); nothing is loaded for it."""
    from airflow.cli.cli_config import ActionCommand, Arg

    rest = Arg(("arguments",), nargs=argparse.REMAINDER, help="a command of glacier-backup, and its options")
    return [
        ActionCommand(
            name="glacier",
            help="Look at the catalog of Glacier backups, and keep it",
            description="The same as glacier-backup: `airflow glacier list --application library`.",
            func=run_for_airflow,
            args=(rest,),
        )
    ]


def run_for_airflow(arguments: argparse.Namespace) -> None:
    """Run one command of `glacier-backup` and end with its exit code."""
    from glacier_provider.cli import main

    sys.exit(main(arguments.arguments or ["--help"]))
