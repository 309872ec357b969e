"""The mutations that `make mutants` tries can be made: their texts and tests are where the table says."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.__main__ import Outcomes, verdict
from tests.mutants.mutation import Mutation, NotFoundOnce, Promise
from tests.mutants.table import MUTATIONS

ROOT = Path(__file__).parents[2]


@cache
def names_of_tests(path: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


def test_the_text_of_each_mutation_is_in_its_file_once_and_is_changed() -> None:
    for mutation in MUTATIONS:
        source = mutation.read(ROOT)
        changed = mutation.applied_to(source)
        assert changed != source, mutation.name
        if mutation.module:
            ast.parse(changed)


def test_each_mutation_names_tests_that_there_are() -> None:
    for mutation in MUTATIONS:
        for test in mutation.tests:
            path, _, name = test.partition("::")
            assert not name or name.partition("[")[0] in names_of_tests(path), test
            assert names_of_tests(path), test


def test_each_mutation_has_a_name_of_its_own_and_each_promise_has_mutations() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert sorted(set(names)) == sorted(names)
    assert {mutation.promise for mutation in MUTATIONS} == set(Promise)


def test_a_text_that_is_not_there_or_twice_is_told_by_the_name_of_its_mutation() -> None:
    mutation = Mutation("a sentence", Promise.ORDER, "dags/x.py", "a", "b", ())
    for source, said in (("x", "'a sentence': the text is not in dags/x.py"), ("aa", "the text is 2 times in")):
        with pytest.raises(NotFoundOnce, match=said):
            mutation.applied_to(source)
    assert replace(mutation, text="aa").applied_to("aa") == "b"


@pytest.mark.parametrize(
    ("outcomes", "killed", "said"),
    [
        (Outcomes(failed=frozenset({"t.py::b", "t.py::a"})), True, "killed by t.py::a"),
        (Outcomes(passed=frozenset({"t.py::a"})), False, "SURVIVED"),
        (Outcomes(failed=frozenset({"t.py::a"}), broken=("NameError: x",)), False, "ERROR: NameError: x"),
        (Outcomes(), False, "ERROR: no test was run"),
    ],
)
def test_a_mutation_is_killed_by_a_test_that_fails_and_by_nothing_else(
    outcomes: Outcomes, killed: bool, said: str
) -> None:
    assert verdict(outcomes) == (killed, said)
