"""The list of tests that are some seconds long names tests that are there."""

from __future__ import annotations

import re

from tests.conftest import SECONDS_LONG
from tests.support.clean_environment import DAGS

HERE = DAGS.parent


def test_each_test_of_the_list_is_there() -> None:
    for name in SECONDS_LONG:
        path, _, function = name.partition("::")
        assert re.search(rf"^def {function}\(", (HERE / path).read_text(), re.MULTILINE), name
