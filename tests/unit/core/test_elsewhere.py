"""Where a restore goes elsewhere: what is given becomes a target, or a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.plan import RestorePart, RestoreRequest
from glacier_provider.errors import ConfigurationError

TARGETS = {
    "staging": {"database": "library_staging", "files_directory": "/srv/staging"},
    "rows": {"postgres_conn_id": "rows_db"},
    "files": {"files_directory": "/srv/files"},
}


def asked(into: Any, **params: Any) -> RestoreRequest:
    return RestoreRequest.from_params({"backup_id": 1, "into": into, **params}).with_target(TARGETS)


def test_a_name_is_looked_up_and_a_mapping_or_its_text_is_taken_as_it_is() -> None:
    named = asked("staging").into
    assert named == RestoreTarget("staging", None, "library_staging", "/srv/staging")
    assert asked({"database": "x"}).into == asked('{"database": "x"}').into == RestoreTarget(database="x")
    assert asked(None).into is None is asked("").into


def test_what_is_recorded_is_what_was_meant_whatever_the_file_says_later() -> None:
    request = asked("staging")
    assert RestoreRequest.from_params(request.as_dict()).with_target({}) == request


def test_a_target_takes_what_it_has_a_place_for() -> None:
    assert [asked(one).part for one in ("staging", "rows", "files")] == [
        RestorePart.EVERYTHING,
        RestorePart.DATABASE,
        RestorePart.FILES,
    ]
    with pytest.raises(ConfigurationError, match="rows has no files_directory, and part is files"):
        asked("rows", part="files")


def test_elsewhere_no_orphans_move_and_nothing_is_replaced() -> None:
    assert (asked("staging").orphans, asked("staging").replaces) == (False, False)


@pytest.mark.parametrize(
    ("into", "match"),
    [
        ("stagin", "did you mean 'staging'"),
        ({"files_directory": "uploads"}, "files_directory of a restore target is 'uploads'"),
        ({"files_directory": "/srv/../etc"}, "files_directory of a restore target"),
        ({"database": "postgres"}, "every server needs for itself"),
        ({"databse": "x"}, "has no 'databse'; did you mean 'database'"),
        ({}, "names neither a database nor a directory"),
        (7, "neither a name nor a mapping"),
        ("{", "no JSON"),
        ('{"a":' * 5000, "no JSON"),
        ({"database": "x\ud800"}, "is no database: it has a NUL, or is no text in UTF-8"),
        ('{"files_directory": "/srv/\\udce9"}', "is no files_directory: it has a NUL"),
        ({"postgres_conn_id": "x\0"}, "is no postgres_conn_id: it has a NUL"),
        ("x\0", "is no name: it has a NUL"),
        ([1] * 10**5, r"into is \[1, .*…, which is neither a name nor a mapping"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused_in_words(into: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as said:
        asked(into)
    assert said.value.hint
