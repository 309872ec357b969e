"""Every object becomes what the plan said: in databases of any objects, after any changes, with anything left out.

A few examples each time; more with PLANNED_EXAMPLES (a number) from PLANNED_SEED on, as `make planned` has them. An
example that fails tells its number, and is made smaller with PLANNED_SHRINK=1.
"""

from __future__ import annotations

import os

import pytest

from tests.integration.postgres.conftest import OLDEST, SampleServer
from tests.integration.postgres.planned import AnyDatabase, a_case, shrunk

EXAMPLES = int(os.environ.get("PLANNED_EXAMPLES", "2"))
FIRST = int(os.environ.get("PLANNED_SEED", "1"))


#: The oldest version is for those who ask for more examples than the few that each run of the tests has.
VERSIONS = ["older", "newer"] + ["oldest"] * (OLDEST is not None and "PLANNED_EXAMPLES" in os.environ)


@pytest.fixture(scope="module", params=VERSIONS)
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AnyDatabase:
    sample: SampleServer = request.getfixturevalue(request.param)
    return AnyDatabase(sample.postgres, tmp_path_factory.mktemp("planned"))


@pytest.mark.parametrize("user", ["owner", "superuser"])
@pytest.mark.parametrize("seed", range(FIRST, FIRST + EXAMPLES))
def test_every_object_becomes_what_the_plan_said(databases: AnyDatabase, seed: int, user: str) -> None:
    case = a_case(seed, user)
    found = databases.failures(case)
    if found and os.environ.get("PLANNED_SHRINK"):
        case = shrunk(case, lambda smaller: bool(databases.failures(smaller)))
        found = databases.failures(case)
    assert not found, f"example {seed}: {case}\n\n" + "\n".join(found)
