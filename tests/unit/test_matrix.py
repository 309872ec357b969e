"""What the cells of `make matrix` are held to."""

from __future__ import annotations

import tomllib

from packaging.requirements import Requirement

from tests.matrix import HERE, cells, constraints_of


def test_the_lowest_cell_has_the_lower_bound_of_each_dependency() -> None:
    wanted = map(Requirement, tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["dependencies"])
    others = {one.name: one for one in wanted if one.name != "apache-airflow"}
    [lowest] = (cell for cell in cells() if cell.lowest)
    held = {one.name: one for one in map(Requirement, constraints_of(lowest)) if one.name in others}
    for name, dependency in others.items():
        [bound] = (bound.version for bound in dependency.specifier if bound.operator == ">=")
        assert str(held[name].specifier) == f"=={bound}.*"


def test_both_ends_run_everything_and_what_is_between_what_depends_on_airflow() -> None:
    ends = [str(cell) for cell in cells() if "tests/contract" in cell.tests]
    assert ends == [
        "airflow 3.4.0b2, python 3.14, newest dependencies",
        "airflow 3.2.2, python 3.11, lowest dependencies",
    ]
