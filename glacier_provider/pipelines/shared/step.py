"""In which step of a run an error came up: other steps of the run do not undo its failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _StepNote(str):
    """A note on an exception, of whatever kind (PEP 678): tracebacks show it, and `step` names the step."""

    __slots__ = ("step",)
    step: str

    @classmethod
    def of(cls, step: str) -> _StepNote:
        note = cls(f"This came up in the step: {step}.")
        note.step = step
        return note


@contextmanager
def named_step(step: str) -> Iterator[None]:
    """Have an error that ends the block tell, by `step_of`, in which step of a run it came up."""
    try:
        yield
    except BaseException as error:
        error.add_note(_StepNote.of(step))
        raise


def step_of(error: object) -> str | None:
    """Return the step in which an error, or one of those that caused it, came up; None when that is not known."""
    while isinstance(error, BaseException):
        notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, _StepNote)]
        if notes:
            return notes[-1].step
        error = error.__cause__
    return None
