"""The gravest of many errors: where one passes and another does not, trying again would be in vain."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from glacier_provider.errors import GlacierProviderError

#: What failed, by its name, and why.
NamedErrors = Sequence[tuple[str, GlacierProviderError]]

_LOGGED, _TOLD = 100, 5


def gravest(errors: Iterable[GlacierProviderError]) -> GlacierProviderError | None:
    """Return the first error that no retry can help, or the first of all; None when there is none."""
    return min(errors, key=lambda error: error.retryable, default=None)


def raise_gravest(errors: Iterable[GlacierProviderError], told: str) -> None:
    """Raise an error of the gravest one's type, with its hint and caused by it; return when there is none.

    `told` says what failed and comes between the number of errors and the gravest one's message, as in
    ``3 copies could not be deleted: The store is too busy.``
    """
    all_errors = list(errors)
    worst = gravest(all_errors)
    if worst is not None:
        raise type(worst)(f"{len(all_errors):,} {told}: {worst.message}", hint=worst.hint) from worst


def raise_gravest_named(errors: NamedErrors, told: str) -> None:
    """Do the same and name some of what failed, the gravest first."""
    names = [name for name, _ in sorted(errors, key=lambda named: named[1].retryable)]
    raise_gravest([error for _, error in errors], f"{told} ({', '.join(names[:_TOLD])})")


def log_errors(log: logging.Logger, errors: NamedErrors) -> None:
    """Log the first of many errors, a line each."""
    for name, error in errors[:_LOGGED]:
        log.error("%s: %s", name, error)
