"""In which step of a run an error came up: other steps of the run do not undo its failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def named_step(step: str) -> Iterator[None]:
    """Have an error that ends the block tell, by `step_of`, in which step of a run it came up."""
    try:
        yield
    except BaseException as error:
        with suppress(AttributeError):  # a class with slots has no room for it
            error.glacier_step = step  # type: ignore[attr-defined]
        raise


def step_of(error: object) -> str | None:
    """Return the step in which an error, or one of those that caused it, came up; None when that is not known."""
    while isinstance(error, BaseException):
        if (step := getattr(error, "glacier_step", None)) is not None:
            return str(step)
        error = error.__cause__
    return None
