"""What a retrieval that is asked for, offered, over or failed changes of its archive, and what it leaves as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.errors import IllegalMove
from tests.integration.catalog.test_backups import STORE, a_backup
from tests.integration.catalog.test_restore_plans import ALL, looks, planned, status_of, to_request

NAMES = ["a", "b", "c", "d"]
AWAY = "s3://another/one"


def begun(catalog: Catalog) -> int:
    restore_id, _ = planned(catalog, a_backup(catalog, 1, NAMES), 101, [])
    catalog.restores.start(restore_id)
    return restore_id


def sql(catalog: Catalog, statement: str, *values: object) -> list[Any]:
    cursor = catalog._database.connection().execute(statement.encode(), values)
    return [tuple(row.values()) for row in cursor.fetchall()] if cursor.description else []


def ids(catalog: Catalog) -> dict[str, int]:
    return dict(sql(catalog, "SELECT filename, id FROM glacier_archives WHERE kind = 'file'"))


def have(catalog: Catalog, **statuses: str) -> None:
    for name, status in statuses.items():
        sql(catalog, "UPDATE glacier_archives SET retrieval_status = %s WHERE filename = %s", status, name)


def statuses(catalog: Catalog) -> str:
    return " ".join(str(status_of(catalog, name)) for name in NAMES)


def asked(catalog: Catalog, restore_id: int, *, confirmed: bool = True) -> dict[str, int]:
    """Ask for all that the restore needs; return the ids of the retrievals."""
    for intents in catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1):
        if confirmed:
            catalog.restores.confirm_retrievals([(intent.id, None) for intent in intents])
    return dict(
        sql(
            catalog,
            "SELECT a.filename, g.id FROM glacier_retrievals g JOIN glacier_archives a ON a.id = g.archive_id"
            " WHERE g.state IN ('requested', 'ready')",
        )
    )


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_a_file_that_is_in_its_place_stays_there_whatever_becomes_of_its_retrieval(catalog: Catalog) -> None:
    restore_id = begun(catalog)
    of = asked(catalog, restore_id)
    have(catalog, a="exists", b="exists", c="exists")
    catalog.restores.confirm_retrievals([(of["a"], None)])
    catalog.restores.retrievals_failed([(of["a"], "no")])
    catalog.restores.retrievals_expired([ids(catalog)["b"]])
    catalog.restores.retrievals_ready([(of["c"], in_days(-1))])
    assert catalog.restores.expire_by_clock(restore_id, margin_seconds=0.0) == 0
    catalog.restores.readable_at_once([ids(catalog)["c"]])
    assert statuses(catalog) == "exists exists exists pending"
    states = dict(sql(catalog, "SELECT id, state FROM glacier_retrievals"))
    assert [states[of[name]] for name in NAMES] == ["failed", "failed", "expired", "requested"]


def test_what_is_staged_is_not_asked_for_by_a_late_answer(catalog: Catalog) -> None:
    of = asked(catalog, begun(catalog), confirmed=False)
    have(catalog, a="local", b="ready")
    catalog.restores.confirm_retrievals([(one, None) for one in of.values()])
    assert statuses(catalog) == "local ready pending pending"


def test_what_is_over_is_not_asked_for_by_a_late_answer(catalog: Catalog) -> None:
    of = asked(catalog, begun(catalog))
    catalog.restores.retrievals_failed([(of["a"], "no")])
    catalog.restores.confirm_retrievals([(of["a"], "job")])
    assert status_of(catalog, "a") == "available"
    assert sql(catalog, "SELECT state, job_id FROM glacier_retrievals WHERE id = %s", of["a"]) == [("failed", None)]


def test_an_offer_that_ended_is_told_from_a_request_that_nobody_knows(catalog: Catalog) -> None:
    of = asked(catalog, begun(catalog))
    catalog.restores.retrievals_ready([(of["a"], in_days(1))])
    catalog.restores.retrievals_expired([ids(catalog)[name] for name in "ab"])
    told = {
        one: (state, error) for one, state, error in sql(catalog, "SELECT id, state, error FROM glacier_retrievals")
    }
    assert told[of["a"]] == ("expired", None)
    assert told[of["b"]] == ("failed", "The store no longer knows of this request.")
    assert statuses(catalog) == "available available pending pending"


def test_what_is_staged_stays_so_when_its_offer_ends_unless_it_is_gone(catalog: Catalog) -> None:
    asked(catalog, begun(catalog))
    have(catalog, a="local", b="local", c="exists")
    catalog.restores.retrievals_expired([ids(catalog)["a"]])
    catalog.restores.retrievals_expired([ids(catalog)[name] for name in "bc"], gone=True)
    assert statuses(catalog) == "local available exists pending"


def test_the_error_of_what_was_refused_goes_when_it_is_taken_or_comes(catalog: Catalog) -> None:
    of = asked(catalog, begun(catalog), confirmed=False)
    for name in NAMES:
        catalog.restores.note_retrieval_error(ids(catalog)[name], "refused")
    catalog.restores.confirm_retrievals([(of["a"], None)])
    catalog.restores.placed([ids(catalog)["b"]])
    catalog.restores.placed([ids(catalog)["c"]], staged=True)
    errors = dict(sql(catalog, "SELECT filename, error FROM glacier_archives WHERE kind = 'file'"))
    assert errors == {"a": None, "b": None, "c": None, "d": "refused"}
    assert statuses(catalog) == "pending exists local available"


def test_offers_that_end_are_renewed_for_the_restore_that_waits_and_for_no_other(catalog: Catalog) -> None:
    first = begun(catalog)
    second, _ = planned(catalog, 1, 102, [])
    catalog.restores.start(second)
    for restore_id, others in ((first, ["c", "d"]), (second, ["a", "b"])):
        forgotten = [ids(catalog)[name] for name in others]
        statement = "DELETE FROM restore_archives WHERE restore_id = %s AND archive_id = ANY(%s)"
        sql(catalog, statement, restore_id, forgotten)
    of = {**asked(catalog, first), **asked(catalog, second)}
    catalog.restores.retrievals_ready([(one, in_days(0.01)) for one in of.values()])
    have(catalog, a="ready", b="ready", c="ready", d="ready")
    assert catalog.restores.expire_by_clock(first, margin_seconds=60.0) == 0
    assert catalog.restores.expire_by_clock(first, margin_seconds=3600.0) == 2
    assert statuses(catalog) == "available available ready ready"


def test_what_is_missing_is_as_its_retrieval_is(catalog: Catalog) -> None:
    """It was believed to be there, and another restore had asked for it before."""
    backup_id = a_backup(catalog, 1, NAMES)
    restore_id, _ = planned(catalog, backup_id, 101, [])
    for name, state, confirmed in (("a", "ready", True), ("b", "requested", True), ("c", "requested", False)):
        sql(
            catalog,
            "INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, state, confirmed, expires_at)"
            " VALUES (%s, %s, 'Bulk', 1, %s, %s, now() + interval '1 day')",
            *(ids(catalog)[name], restore_id, state, confirmed),
        )
    _, compared = planned(catalog, backup_id, 101, [])
    told = {row["status"]: row["archives"] for row in compared.figures}
    assert told == {"ready": 1, "pending": 1, "available": 2}
    catalog.restores.start(restore_id)
    assert statuses(catalog) == "ready pending available available"


def test_an_offer_that_is_over_is_cold_for_a_plan_and_a_start(catalog: Catalog) -> None:
    restore_id = begun(catalog)
    of = asked(catalog, restore_id)
    catalog.restores.retrievals_ready([(of["a"], in_days(-1)), (of["b"], in_days(1))])
    _, compared = planned(catalog, 1, 102, [])
    assert {row["status"]: row["archives"] for row in compared.figures} == {"available": 1, "ready": 1, "pending": 2}
    catalog.restores.retrievals_ready([(of["c"], in_days(-1))])
    catalog.restores.start(restore_id)
    assert statuses(catalog) == "available ready available pending"


def test_an_empty_file_is_asked_for_by_nobody(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    sql(catalog, "UPDATE glacier_archives SET stored_size = 0 WHERE filename = 'a'")
    restore_id, compared = planned(catalog, backup_id, 101, [])
    assert {row["status"]: row["archives"] for row in compared.figures} == {"available": 3, "ready": 1}
    catalog.restores.start(restore_id)
    assert to_request(catalog, restore_id) == [ids(catalog)[name] for name in "bcd"]
    [look] = looks(catalog, restore_id)
    assert look.to_request == 3
    assert [row["filename"] for row in catalog.restores.still_missing(restore_id)] == ["b", "c", "d"]


def test_what_waits_for_another_store_is_not_what_waits_for_this_one(catalog: Catalog) -> None:
    restore_id = begun(catalog)
    sql(catalog, "UPDATE glacier_archives SET store_uri = %s WHERE filename = 'b'", AWAY)
    asked(catalog, restore_id)
    [look] = looks(catalog, restore_id)
    assert {uri: len(keys) for uri, keys in look.waited.items()} == {STORE: 3, AWAY: 1}
    for uri, names in ((STORE, ["a", "c", "d"]), (AWAY, ["b"])):
        assert [row["filename"] for row in catalog.restores.waited_for(restore_id, look, uri)] == names


def test_a_range_has_its_first_and_its_last_and_none_of_its_neighbours(catalog: Catalog) -> None:
    restore_id = begun(catalog)
    _, first, last, _ = sorted(ids(catalog).values())
    wanted = ArchiveRange(first, last)
    assert [one for page in catalog.restores.archives_to_request(restore_id, wanted) for one in page] == [first, last]
    rows = [row for page in catalog.restores.to_place(restore_id, wanted, orphan_directory="/o") for row in page]
    assert [row["id"] for row in rows] == [first, last]
    assert catalog.restores.bytes_of(restore_id, wanted) == sum(row["stored_size"] for row in rows)
    have(catalog, b="exists")
    rows = [row for page in catalog.restores.to_place(restore_id, wanted, orphan_directory="/o") for row in page]
    assert [row["filename"] for row in rows] == ["c"], "what is in its place is not brought again"


@pytest.mark.parametrize(
    ("shares", "smallest", "expected"), [(8, 3, [2, 2]), (8, 4, [4]), (8, 100, [4]), (3, 1, [2, 1, 1])]
)
def test_a_restore_is_shared_as_evenly_as_tasks_are_worth_it(
    catalog: Catalog, shares: int, smallest: int, expected: list[int]
) -> None:
    ranges = catalog.restores.ranges(begun(catalog), shares=shares, smallest=smallest)
    assert [one.archives for one in ranges] == expected


def test_a_restore_that_has_begun_gets_no_other_plan(catalog: Catalog) -> None:
    restore_id = begun(catalog)
    with pytest.raises(IllegalMove, match="has left its planning"):
        catalog.restores.record_plan(restore_id, {})


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_another_restore_has_staged_is_fetched_again_once_that_one_is_over(
    catalog: Catalog, goes_on: bool
) -> None:
    first = begun(catalog)
    have(catalog, a="local")
    if not goes_on:
        catalog.restores.fail(first, "boom", step="x")
    planned(catalog, 1, 102, ["a", "b", "c", "d"][1:])
    assert status_of(catalog, "a") == ("local" if goes_on else "available")


def test_the_last_of_many_losses_counts_while_it_is_cold_alone(catalog: Catalog) -> None:
    restore_id = begun(catalog)
    for _ in range(5):
        of = asked(catalog, restore_id)
        assert catalog.restores.often_lost(restore_id, times=5) == []
        catalog.restores.retrievals_ready([(of["a"], in_days(-1))])
        assert catalog.restores.expire_by_clock(restore_id, margin_seconds=0.0) == 1
    assert catalog.restores.often_lost(restore_id, times=5) == ["a"]
    catalog.restores.placed([ids(catalog)["a"]])
    assert catalog.restores.often_lost(restore_id, times=5) == []
