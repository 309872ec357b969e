"""The gravest of many errors: where one passes and another does not, trying again would be in vain."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import NoReturn

from glacier_provider.core.text import counted
from glacier_provider.errors import GlacierProviderError, OutOfSpace

#: What failed, by its name, and why.
NamedErrors = Sequence[tuple[str, GlacierProviderError]]

_LOGGED, _TOLD = 100, 5
#: What has failed for so long, and so often, without a success is ended: more of it would fail, each after its time.
IN_VAIN_SECONDS = 600.0
_IN_A_ROW = 20


def gravest(errors: Iterable[GlacierProviderError]) -> GlacierProviderError | None:
    """Return the first error that no retry can help, or the first of all; None when there is none."""
    return min(errors, key=lambda error: error.retryable, default=None)


def raise_gravest(errors: Iterable[GlacierProviderError], noun: str, told: str) -> None:
    """Raise an error of the gravest one's type, with its hint and caused by it; return when there is none.

    `noun` is what failed, one of it, and `told` how, as in ``3 copies could not be deleted: The store is too busy.``
    """
    all_errors = list(errors)
    worst = gravest(all_errors)
    if worst is not None:
        _raise_for_all(worst, len(all_errors), noun, told)


def _raise_for_all(worst: GlacierProviderError, count: int, noun: str, told: str) -> NoReturn:
    raise type(worst)(f"{counted(count, noun)} {told}: {worst.message}", hint=worst.hint) from worst


def raise_gravest_named(errors: NamedErrors, noun: str, told: str) -> None:
    """Do the same and name some of what failed, the gravest first."""
    names = [name for name, _ in sorted(errors, key=lambda named: named[1].retryable)]
    raise_gravest([error for _, error in errors], noun, f"{told} ({', '.join(names[:_TOLD])})")


def log_errors(log: logging.Logger, errors: NamedErrors) -> None:
    """Log the first of many errors, a line each."""
    for name, error in errors[:_LOGGED]:
        log.error("%s: %s", name, error)


class GatheredErrors:
    """What failed of very many: all of it is counted, the first of it kept, of what lasts as much as of what passes."""

    def __init__(self, noun: str, told: str) -> None:
        """`noun` and `told` as in `raise_gravest`."""
        self._noun, self._told = noun, told
        self._count = 0
        self._kept: dict[bool, list[tuple[str, GlacierProviderError]]] = {False: [], True: []}
        self._in_vain = 0
        self._since = 0.0

    def succeeded(self) -> None:
        self._in_vain = 0

    def add(self, name: str, error: GlacierProviderError) -> None:
        """Note that one thing failed.

        Raise the error when more of it would fail: the disk is full, or nothing has succeeded for ten minutes.
        """
        self._count += 1
        kept = self._kept[error.retryable]
        if len(kept) < _LOGGED:
            kept.append((name, error))
        if self._in_vain == 0:
            self._since = time.monotonic()
        self._in_vain += 1
        if isinstance(error, OutOfSpace):
            raise error
        seconds = time.monotonic() - self._since
        if self._in_vain >= _IN_A_ROW and seconds > IN_VAIN_SECONDS:
            told = f"For {seconds / 60:,.0f} minutes all has failed, {counted(self._in_vain, 'archive')} in a row"
            raise type(error)(f"{told}: {error.message}", hint=error.hint) from error

    def log(self, log: logging.Logger) -> None:
        """Log the first of them, a line each."""
        log_errors(log, [*self._kept[False], *self._kept[True]][:_LOGGED])

    def raise_gravest(self, *, named: bool) -> None:
        """Raise as `raise_gravest`, or as `raise_gravest_named`; return when nothing failed."""
        kept = [*self._kept[False], *self._kept[True]]
        if not kept:
            return
        told = f"{self._told} ({', '.join([name for name, _ in kept[:_TOLD]])})" if named else self._told
        _raise_for_all(kept[0][1], self._count, self._noun, told)
