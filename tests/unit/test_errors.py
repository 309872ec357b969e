"""The error family: what its docstring draws is what there is, and every error tells what to do next."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider import errors
from glacier_provider.errors import ConfigurationError, GlacierProviderError, ToolFailed, UnsafeCatalogSchema

PACKAGE = Path(errors.__file__).parent
_LINE = re.compile(r"^    (?P<depth>[│ ├└─]*)(?P<name>[A-Z]\w+)(?: {2,}(?P<words>\S.*))?$")


def family() -> list[type[GlacierProviderError]]:
    return [
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, GlacierProviderError) and one.__module__ == errors.__name__
    ]


def drawn() -> Iterator[tuple[str, str, str]]:
    """Yield (class, its parent, the words beside it) from the tree in the module's docstring."""
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := _LINE.match(line):
            depth = len(found["depth"]) // 4
            above[depth:] = [found["name"]]
            yield found["name"], above[depth - 1] if depth else "Exception", found["words"] or ""


def named_in_calls() -> set[str]:
    """Return every name that the package calls, thus every class that it raises."""
    return {
        call.func.id
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }


FAMILY = pytest.mark.parametrize("kind", family(), ids=lambda kind: kind.__name__)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    there = {one.__name__: base.__name__ for one in family() for base in one.__bases__}
    assert {name: parent for name, parent, _ in drawn()} == there


def test_the_tree_says_of_which_errors_a_retry_may_help() -> None:
    said = {name for name, _, words in drawn() if "retry may help" in words}
    assert said == {one.__name__ for one in family() if one.retryable}


@FAMILY
def test_every_class_says_in_a_sentence_what_happened(kind: type[GlacierProviderError]) -> None:
    assert kind.__doc__ is not None
    assert str(kind()).startswith(kind.__doc__.strip())
    assert kind.__doc__.strip().endswith(".")


def test_every_class_that_is_raised_says_what_to_do_next() -> None:
    leaves = {one.__name__ for one in family()} - {base.__name__ for one in family() for base in one.__bases__}
    raised = leaves | named_in_calls()
    assert [one.__name__ for one in family() if one.__name__ in raised and not one.hint] == []


@FAMILY
def test_every_class_decides_whether_a_retry_can_help(kind: type[GlacierProviderError]) -> None:
    assert type(kind.retryable) is bool


def test_a_message_and_its_hint_make_one_text() -> None:
    assert str(ToolFailed("pg_dump ended with 1.")) == "pg_dump ended with 1. See its messages in the task log."
    assert str(ToolFailed("It failed.", hint="Try less.")) == "It failed. Try less."
    assert str(ToolFailed("It failed.", hint="")) == "It failed."


def test_a_hint_given_to_one_error_stays_with_it() -> None:
    ToolFailed("It failed.", hint="Try less.")
    assert ToolFailed.hint == ToolFailed("Another failed.").hint == "See its messages in the task log."


@pytest.mark.parametrize("message", [None, ""])
def test_an_error_is_never_without_words(message: str | None) -> None:
    assert UnsafeCatalogSchema(message, hint="").message == "The catalog schema also holds objects of the application."


@given(kind=st.sampled_from(family()), message=st.none() | st.text(), hint=st.none() | st.text())
def test_errors_travel_between_processes(
    kind: type[GlacierProviderError], message: str | None, hint: str | None
) -> None:
    sent = kind(message, hint=hint)
    for received in (pickle.loads(pickle.dumps(sent)), copy.copy(sent), copy.deepcopy(sent)):
        assert type(received) is kind
        assert (str(received), received.message, received.hint) == (str(sent), sent.message, sent.hint)
        assert received.retryable is kind.retryable


def test_one_except_clause_catches_a_whole_branch() -> None:
    with pytest.raises(ConfigurationError):
        raise UnsafeCatalogSchema
