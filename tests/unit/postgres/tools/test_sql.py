from __future__ import annotations

import pytest

from glacier_provider.postgres.tools.sql import literal


@pytest.mark.parametrize(("text", "expected"), [("a", "E'a'"), ("it's", "E'it''s'"), ("\\", "E'\\\\'")])
def test_literals(text: str, expected: str) -> None:
    assert literal(text) == expected
