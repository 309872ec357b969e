"""What pg_amcheck says of a restored database is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.errors import ToolFailed
from glacier_provider.postgres.checks.amcheck import check_pages
from tests.integration.postgres.conftest import SampleServer

ORDER = (
    "CREATE OR REPLACE FUNCTION public.compared(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp({})'"
)
INDEXED = (
    ORDER.format("$1, $2"),
    "CREATE OPERATOR CLASS compared FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,"
    " OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 public.compared(int, int)",
    "CREATE TABLE numbered AS SELECT generate_series(1, 1000) AS n",
    "CREATE INDEX in_order ON numbered (n compared)",
)


def test_an_index_whose_order_is_another_is_a_complaint_that_is_named(sample: SampleServer) -> None:
    server = sample.new(*INDEXED, empty=True)
    clean = check_pages(server, sample.tools, lambda: None)
    assert not isinstance(clean, str), clean
    assert (clean.passed, clean.found) == (True, ())
    sample.run(server, ORDER.format("$2, $1"))
    broken = check_pages(server, sample.tools, lambda: None)
    assert not isinstance(broken, str)
    assert not broken.passed
    assert any("in_order" in said for said in broken.found)


def test_a_pg_amcheck_that_comes_to_no_end_of_its_own_is_no_check(sample: SampleServer, tmp_path: Path) -> None:
    program = tmp_path / "pg_amcheck"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ToolFailed, match=r"pg_amcheck of .* failed"):
        check_pages(sample.new(empty=True), replace(sample.tools, directory=tmp_path), lambda: None)
