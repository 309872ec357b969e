"""``glacier-backup``: what must work when Airflow does not.

`main` and the parser are here; each module with `add_commands` adds those of its topic, in the order of the help.
`connections` tells where the catalog is found.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from glacier_provider import __version__
from glacier_provider.cli import (
    alerts,
    check,
    completion,
    costs,
    counts,
    deletion,
    doctor,
    drill,
    evidence,
    fetch,
    maintenance,
    metrics,
    notifications,
    show,
    verify,
)
from glacier_provider.cli.connections import log_to_stderr, warn_of_password
from glacier_provider.cli.mistakes import TRACEBACK, told


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for an error (told on stderr, without a traceback), 2 for wrong usage, or 130 for
    Ctrl-C. `check` has the exit codes of monitoring plug-ins instead.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    parser = command_parser()
    completion.complete(parser)
    arguments, rest = parser.parse_known_args(given)
    if rest:
        getattr(arguments, "wrong_usage", parser.error)(f"unrecognized arguments: {' '.join(rest)}")
    arguments.given = given
    log_to_stderr()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or a plug-in's environment may know few characters
            stream.reconfigure(errors="backslashreplace")
    code: int | None = 0
    try:
        warn_of_password(arguments)
        code = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        pass  # the reader (head, a pager) has seen enough: the code is that of what was found, where it is known
    except KeyboardInterrupt:
        print("\nglacier-backup: interrupted. What was under way can be repeated.", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"glacier-backup: {told(error)}", file=sys.stderr)
        return 1
    finally:
        _let_go_of_the_answer()
    return code or 0


def _let_go_of_the_answer() -> None:
    """Have what nobody takes go nowhere: at its end Python would try again, and end with an error of its own."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of `glacier-backup`, with all commands."""
    words = "Look at the catalog of Glacier backups, and keep it."
    parser = argparse.ArgumentParser(prog="glacier-backup", description=words)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (
        show,
        check,
        doctor,
        metrics,
        alerts,
        maintenance,
        fetch,
        deletion,
        verify,
        drill,
        evidence,
        notifications,
        costs,
        counts,
        completion,
    ):
        module.add_commands(commands)
    return parser
