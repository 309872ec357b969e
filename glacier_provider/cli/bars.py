"""Bars of what takes long, on stderr where that is a terminal; elsewhere the log tells, a line now and then."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glacier_provider.cli.arguments import is_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from glacier_provider.pipelines.shared.progress import Progress


@contextmanager
def bars() -> Iterator[None]:
    """Show a bar for each work of pipelines that counts what is done; the log goes on above the bars."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from glacier_provider.pipelines.shared.progress import shown_by

    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[told]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    # stdout is the command's answer, whatever becomes of stderr.
    shown = Bars(*columns, console=console, transient=True, redirect_stdout=False)
    with _log_above(console), shown, shown_by(_Shown(shown).show):
        yield


@contextmanager
def _log_above(console: Console) -> Iterator[None]:
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False, markup=False)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers[:] = [handler]
    try:
        yield
    finally:
        root.handlers[:] = before


class _Shown:
    """The bars of one command, each of one work."""

    def __init__(self, shown: Bars) -> None:
        self._shown = shown
        self._tasks: dict[int, tuple[Progress, TaskID]] = {}

    def show(self, work: Progress) -> None:
        if id(work) not in self._tasks:
            # The work is kept beside its bar, so that no other one gets its id.
            self._tasks[id(work)] = work, self._shown.add_task(work.doing, total=None, told="")
        _, task = self._tasks[id(work)]
        done, whole = work.share
        self._shown.update(task, completed=done, total=whole, told=work.told)
