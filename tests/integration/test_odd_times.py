"""Files with times that no clock of ours tells: far ahead, far back."""

from __future__ import annotations

import os

import pytest

from tests.support.application import ApplicationUnderTest

YEAR_2286, YEAR_1653 = 10**10, -(10**10)


@pytest.mark.parametrize("when", [YEAR_2286, YEAR_1653, 0], ids=["2286", "1653", "1970"])
def test_a_file_or_directory_of_any_time_is_archived_once_and_comes_back(dms: ApplicationUnderTest, when: int) -> None:
    dms.configure(settle_seconds=0)
    dms.write("a.pdf", "a")
    dms.write("sub/b.pdf", "b")
    for name in ("a.pdf", "sub/b.pdf", "sub"):
        os.utime(dms.files / name, (when, when))
    first = dms.back_up()
    assert dms.catalog.backups.get(first)["new_files_count"] == 5
    second = dms.back_up()
    assert dms.catalog.backups.get(second)["new_files_count"] == 0
    (dms.files / "a.pdf").unlink()
    dms.write("later.pdf", "not in the backup")
    os.utime(dms.files / "later.pdf", (when, when))
    dms.restore(first)
    assert (dms.files / "a.pdf").read_text() == "a"
