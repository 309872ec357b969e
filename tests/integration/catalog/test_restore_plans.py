"""What a plan of a restore changes in the catalog, nothing, and what its start notes there."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.restores import Comparison, RestorePage
from glacier_provider.core.archive import Amount
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.errors import IllegalMove, LeaseHeld
from glacier_provider.pipelines.restore.elsewhere import require_over
from glacier_provider.pipelines.restore.lost import note_without
from tests.integration.catalog.test_backups import STORE, a_backup, a_run

ALL = ArchiveRange(0, 2**62)
MANY = 3000


def planned(catalog: Catalog, backup_id: int, run: int, there: list[str]) -> tuple[int, Comparison]:
    request = RestoreRequest.from_params({"backup_id": backup_id, "part": "files"})
    restore_id = catalog.restores.open(a_run(run), backup_id, request)
    present = [(name, size_of(catalog, name)) for name in there]
    backup = catalog.backups.get(backup_id)
    return restore_id, catalog.restores.compare(restore_id, backup, request, present, lambda aside: [])


def size_of(catalog: Catalog, name: str) -> int:
    row = one(catalog, "SELECT original_size AS value FROM glacier_archives WHERE filename = %s", name)
    assert isinstance(row, int)
    return row


def status_of(catalog: Catalog, name: str) -> object:
    return one(catalog, "SELECT retrieval_status AS value FROM glacier_archives WHERE filename = %s", name)


def one(catalog: Catalog, question: str, *values: object) -> object:
    return catalog._database.connection().execute(question.encode(), values).fetchone()["value"]  # type: ignore[index]


def to_request(catalog: Catalog, restore_id: int) -> list[int]:
    return [archive for page in catalog.restores.archives_to_request(restore_id, ALL) for archive in page]


def to_bring(catalog: Catalog, restore_id: int) -> list[int]:
    rows = catalog._database.connection().execute(
        "SELECT archive_id FROM restore_archives WHERE restore_id = %s ORDER BY 1", [restore_id]
    )
    return [row["archive_id"] for row in rows]


def progress(catalog: Catalog, restore_id: int) -> dict[str, int]:
    return {row["status"]: row["archives"] for row in catalog.pages.restore_progress(restore_id).archives}


def test_a_plan_changes_no_archive_and_its_start_notes_what_is_missing(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b", "c"])
    restore_id, compared = planned(catalog, backup_id, 101, ["a"])
    assert [status_of(catalog, name) for name in "abc"] == ["exists"] * 3
    assert compared.present == Amount(1, size_of(catalog, "a"))
    assert [(row["status"], row["source"], row["archives"]) for row in compared.figures] == [("available", "store", 2)]
    assert progress(catalog, restore_id) == {"available": 2}, "what a page shows of it"
    catalog.restores.start(restore_id)
    assert [status_of(catalog, name) for name in "abc"] == ["exists", "available", "available"]
    assert len(to_request(catalog, restore_id)) == 2
    assert progress(catalog, restore_id) == {"available": 2}


def test_a_restore_that_failed_does_not_become_complete(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    restore_id, _ = planned(catalog, backup_id, 101, ["a"])
    catalog.restores.start(restore_id)
    catalog.restores.fail(restore_id, "boom", step="the download")
    with pytest.raises(IllegalMove, match=f"Restore {restore_id} is not running"):
        catalog.restores.complete(restore_id, {})
    assert catalog.restores.get(restore_id)["state"] == "failed"


def test_a_retrieval_that_failed_does_not_become_ready(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b"])
    restore_id, _ = planned(catalog, backup_id, 101, ["a"])
    catalog.restores.start(restore_id)
    with closing(catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1)) as pages:
        ((asked,),) = list(pages)
    catalog.restores.confirm_retrievals([(asked.id, "job")])
    catalog.restores.retrievals_failed([(asked.id, "The job failed.")])
    catalog.restores.retrievals_ready([(asked.id, datetime.now(UTC) + timedelta(days=1))])
    state = one(catalog, "SELECT state AS value FROM glacier_retrievals WHERE id = %s", asked.id)
    assert (state, status_of(catalog, "b")) == ("failed", "available")


def test_a_start_is_noted_once(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    restore_id, _ = planned(catalog, backup_id, 101, [])
    catalog.restores.start(restore_id)
    catalog.restores.placed(to_request(catalog, restore_id))
    catalog.restores.start(restore_id)
    assert status_of(catalog, "a") == "exists"
    assert to_request(catalog, restore_id) == []


@pytest.fixture
def by_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.catalog.restores._ASKED_AT_ONCE", 2)


def begun(catalog: Catalog, *, there: list[str]) -> int:
    """Return a restore of a to e whose requests were begun, and nothing of what is missing noted."""
    restore_id, _ = planned(catalog, a_backup(catalog, 1, list("abcde")), 101, there)
    catalog.restores.start(restore_id, notes_missing=False)
    return restore_id


@pytest.mark.usefixtures("by_twos")
def test_the_first_archives_are_asked_for_before_all_that_is_missing_is_noted(catalog: Catalog) -> None:
    restore_id = begun(catalog, there=["a"])
    with closing(catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1)) as pages:
        first = next(pages)
        assert [status_of(catalog, name) for name in "abcde"] == [
            "exists",
            "available",
            "available",
            "exists",
            "exists",
        ]
        assert progress(catalog, restore_id) == {"available": 4}, "what a page shows of it"
        catalog.restores.confirm_retrievals([(intent.id, None) for intent in first])
        assert progress(catalog, restore_id) == {"available": 2, "pending": 2}
        assert len(next(pages)) == 2
        assert [status_of(catalog, name) for name in "abcde"] == ["exists", "pending", "pending", *["available"] * 2]
        assert progress(catalog, restore_id) == {"available": 2, "pending": 2}


@pytest.mark.usefixtures("by_twos")
def test_what_a_task_that_never_ran_was_to_ask_for_is_missing_all_the_same(catalog: Catalog) -> None:
    restore_id = begun(catalog, there=[])
    [first, *rest] = to_bring(catalog, restore_id)
    assert (
        len(list(catalog.restores.intend_retrievals(restore_id, ArchiveRange(first, first), tier="Bulk", days=1))) == 1
    )
    assert to_request(catalog, restore_id) == [first, *rest]


@pytest.mark.usefixtures("by_twos")
def test_a_step_that_comes_after_one_that_died_notes_what_is_left_and_nothing_twice(catalog: Catalog) -> None:
    restore_id = begun(catalog, there=["a"])
    with closing(catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1)) as pages:
        first = next(pages)
    catalog.restores.placed([intent.archive_id for intent in first[:1]])
    catalog.restores.start(restore_id)
    assert [status_of(catalog, name) for name in "abcde"] == ["exists", "exists", *["available"] * 3]


@pytest.mark.usefixtures("by_twos")
def test_a_restore_that_is_over_notes_nothing_more_as_missing(catalog: Catalog) -> None:
    restore_id = begun(catalog, there=[])
    with closing(catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1)) as pages:
        next(pages)
        catalog.restores.fail(restore_id, "marked by a person")
        newer, _ = planned(catalog, catalog.restores.get(restore_id)["backup_id"], 102, list("cde"))
        catalog.restores.start(newer)
        catalog.restores.take_lease(newer)
        with pytest.raises(IllegalMove, match=f"Restore {restore_id} is over"):
            next(pages)
    assert [status_of(catalog, name) for name in "cde"] == ["exists"] * 3


def test_what_another_restore_brought_since_the_plan_is_not_requested_again(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b"])
    first, _ = planned(catalog, backup_id, 101, ["b"])
    second, _ = planned(catalog, backup_id, 102, [])
    catalog.restores.start(first)
    catalog.restores.placed(to_request(catalog, first))
    catalog.restores.start(second)
    assert (status_of(catalog, "a"), status_of(catalog, "b")) == ("exists", "available")


def test_a_file_that_a_scan_found_again_since_the_plan_is_not_requested(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b"])
    restore_id, _ = planned(catalog, backup_id, 101, ["b"])
    a_backup(catalog, 2, ["b"])
    a_backup(catalog, 3, ["a", "b"])
    catalog.restores.start(restore_id)
    assert status_of(catalog, "a") == "exists"
    assert to_request(catalog, restore_id) == []


def test_a_restore_that_is_planned_again_forgets_its_first_plan(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b"])
    restore_id, _ = planned(catalog, backup_id, 101, [])
    catalog.restores.start(restore_id)
    again, compared = planned(catalog, backup_id, 101, ["a"])
    assert again == restore_id
    assert status_of(catalog, "a") == "exists", "the plan looked, and found it"
    assert compared.present.archives == 1
    catalog.restores.start(again)
    assert (status_of(catalog, "a"), status_of(catalog, "b")) == ("exists", "available")


@pytest.mark.parametrize("knows", ["nothing", "all"])
def test_a_restore_goes_through_its_archives_once_whatever_the_server_knows_of_its_tables(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, knows: str
) -> None:
    for name in ("PAGE_SIZE", "LOOKED_AT_ONCE", "_ASKED_AT_ONCE"):
        monkeypatch.setattr(f"glacier_provider.catalog.restores.{name}", MANY // 30)
    backup_id = a_backup(catalog, 1, [f"file {number}" for number in range(MANY)])
    restore_id, _ = planned(catalog, backup_id, 101, [])  # its rows are new: no statistics tell how many
    catalog.restores.start(restore_id)
    for intents in catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1):
        catalog.restores.confirm_retrievals([(intent.id, None) for intent in intents])
    for count in (
        lambda: sum(look.archives.get(RetrievalStatus.PENDING, 0) for look in looks(catalog, restore_id)),
        lambda: MANY - len(to_request(catalog, restore_id)),
        lambda: sum(map(len, catalog.restores.to_place(restore_id, ALL, orphan_directory="/o"))),
    ):
        with catalog.transaction():
            before = rows_read(catalog)
            assert count() == MANY
            assert rows_read(catalog) - before < 4 * MANY


def looks(catalog: Catalog, restore_id: int) -> list[RestorePage]:
    return list(catalog.restores.looks(restore_id))


def rows_read(catalog: Catalog) -> int:
    """Of archives, by this transaction."""
    count = one(
        catalog,
        "SELECT seq_tup_read + idx_tup_fetch AS value FROM pg_stat_xact_user_tables WHERE relname = %s",
        "glacier_archives",
    )
    assert isinstance(count, int)
    return count


def test_a_look_tells_what_is_waited_for_and_how_much_there_is_of_what(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b", "c", "d"])
    restore_id, _ = planned(catalog, backup_id, 101, ["d"])
    catalog.restores.start(restore_id)
    for intents in catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1):
        catalog.restores.confirm_retrievals([(intent.id, None) for intent in intents[:2]])
    [look] = looks(catalog, restore_id)
    rows = catalog.restores.waited_for(restore_id, look, STORE)
    assert {row["key"] for row in rows} == set(look.waited[STORE]) == {row["key"] for row in rows[:2]}
    assert catalog.restores.waited_for(restore_id, look, STORE, [rows[1]["key"]]) == rows[1:]
    assert look.archives == {RetrievalStatus.PENDING: 2, RetrievalStatus.AVAILABLE: 1}
    assert look.to_request == 1
    catalog.restores.retrievals_ready([(rows[0]["id"], None)])
    [look] = looks(catalog, restore_id)
    assert (look.archives[RetrievalStatus.READY], look.waited) == (1, {STORE: [rows[1]["key"]]})


def test_members_that_went_since_the_scan_are_not_present(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b", "c"])
    catalog._database.connection().execute(
        "DELETE FROM backup_files f USING glacier_archives a WHERE a.id = f.archive_id AND a.filename = 'c'"
    )
    _, compared = planned(catalog, backup_id, 101, ["a", "c"])
    assert compared.present == Amount(1, size_of(catalog, "a"))


def test_a_place_is_kept_by_the_restore_that_its_mark_names_and_by_none_that_has_its_id_now(catalog: Catalog) -> None:
    restore_id, _ = planned(catalog, a_backup(catalog, 1, ["a"]), 101, [])
    opened = catalog.restores.get(restore_id)["opened_at"]
    with pytest.raises(LeaseHeld, match=f"Restore {restore_id} of dms is under way into the same place"):
        require_over(f"dms-restore_{restore_id}_{opened:%Y%m%d%H%M%S}", catalog)
    require_over(f"dms-restore_{restore_id}_20200101000000", catalog)  # of an earlier life of the catalog


def test_what_a_restore_goes_on_without_counts_once(catalog: Catalog) -> None:
    restore_id, _ = planned(catalog, a_backup(catalog, 1, ["a"]), 101, [])
    for names in (["b", "a"], ["b", "c"]):
        note_without(restore_id, names, catalog=catalog)
    outcome = catalog.restores.get(restore_id)["outcome"]
    assert (outcome["lost_count"], outcome["lost"]) == (3, ["a", "b", "c"])
