"""The step in which a run failed is known of whatever ended it, also through what it was turned into."""

from __future__ import annotations

import traceback

import pytest

from glacier_provider.errors import StoreUnavailable
from glacier_provider.pipelines.shared.step import named_step, step_of


class Slotted(Exception):
    __slots__ = ()


@pytest.mark.parametrize("ending", [StoreUnavailable("busy"), KeyboardInterrupt(), SystemExit(1), Slotted()])
def test_any_error_tells_its_step_and_comes_through_as_it_is(ending: BaseException) -> None:
    with pytest.raises(type(ending)) as raised, named_step("the dump"):
        raise ending
    assert raised.value is ending
    assert step_of(ending) == "the dump"
    assert "the dump" in "".join(traceback.format_exception(ending))


def test_the_step_is_known_of_what_it_caused() -> None:
    cause, told = StoreUnavailable(), RuntimeError("as Airflow says it")
    with pytest.raises(StoreUnavailable), named_step("the scan"):
        raise cause
    told.__cause__ = cause
    assert step_of(told) == "the scan"


def test_the_text_of_the_error_stays_as_it_was() -> None:
    with pytest.raises(StoreUnavailable) as raised, named_step("the scan"):
        raise StoreUnavailable("busy", hint="Wait.")
    assert str(raised.value) == "busy Wait."


@pytest.mark.parametrize("error", [None, "a text", RuntimeError()])
def test_without_a_step_none_is_told(error: object) -> None:
    if isinstance(error, RuntimeError):
        error.add_note("another's note")
    assert step_of(error) is None
