"""Completion of `glacier-backup` in bash, zsh and fish, by argcomplete: commands, options, names of applications."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from glacier_provider.cli.arguments import Arguments
from glacier_provider.cli.output import print_answer
from glacier_provider.errors import GlacierProviderError

_PROGRAM = "glacier-backup"


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "completion",
        help="print what makes a shell complete this command",
        description="Print what makes a shell complete glacier-backup. In ~/.bashrc: "
        'eval "$(glacier-backup completion bash)"; for zsh in ~/.zshrc, after compinit; for fish: '
        "glacier-backup completion fish > ~/.config/fish/completions/glacier-backup.fish",
    )
    command.set_defaults(run=_completion)
    command.add_argument("shell", choices=("bash", "zsh", "fish"))
    command.add_argument("--json", action="store_true", help="print JSON")


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end, if it is a shell that asks."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    from argcomplete import autocomplete
    from argcomplete.completers import FilesCompleter, SuppressCompleter

    for action in _actions(parser):
        if _is_application(action):
            action.completer = _application_names  # type: ignore[attr-defined]
        elif action.metavar in ("FILE", "DIR", "PATH"):
            action.completer = FilesCompleter()  # type: ignore[attr-defined]
    autocomplete(parser, default_completer=SuppressCompleter())


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # there is no other way, and argcomplete goes it, too
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action


def _is_application(action: argparse.Action) -> bool:
    return action.dest in ("application", "besides") or (action.metavar == "APPLICATION" and not action.option_strings)


def _application_names(parsed_args: Arguments, **_: Any) -> list[str]:
    """Return the names in applications.yaml; none where that cannot be read."""
    from glacier_provider.applications import load_applications

    with suppress(GlacierProviderError):
        return list(load_applications(getattr(parsed_args, "applications", None)))
    return []


def _completion(arguments: Arguments) -> None:
    from argcomplete.shell_integration import shellcode

    script = shellcode([_PROGRAM], shell=arguments.shell)
    print_answer(arguments, {"shell": arguments.shell, "script": script}, script)
