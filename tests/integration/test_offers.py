"""Offers that end while others are awaited, that end too early again and again, or before they were fetched."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from glacier_provider.errors import ArchiveCold, RetrievalFailed
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.restore import download, pools
from glacier_provider.pipelines.restore.wait import MOST_RENEWALS, Waiting
from tests.integration.test_looks import FILES
from tests.integration.test_looks import waiting as waiting
from tests.support.application import ApplicationUnderTest, a_small_dms

AppAndId = tuple[ApplicationUnderTest, int]


def offered(app: ApplicationUnderTest, names: str, minutes: int) -> None:
    """Have the catalog know of offers that end after some minutes."""
    chosen = f"SELECT id FROM glacier_archives WHERE coalesce(filename, '') LIKE '{names}'"
    connection = app.catalog._database.connection()
    connection.execute(
        f"UPDATE glacier_retrievals SET state = 'ready', expires_at = now() + interval '{minutes} minutes'"
        f" WHERE state = 'requested' AND archive_id IN ({chosen})".encode()
    )
    connection.execute(f"UPDATE glacier_archives SET retrieval_status = 'ready' WHERE id IN ({chosen})".encode())


def test_an_offer_that_ends_soon_is_asked_for_again_while_others_are_awaited(waiting: AppAndId) -> None:
    app, restore_id = waiting
    offered(app, "3.pdf", 30)
    offered(app, "4.pdf", 90)
    assert app.poll(restore_id) == Waiting(pending=FILES, ready=1, renewed=1)


def test_an_offer_that_ends_soon_is_fetched_when_nothing_else_is_awaited(waiting: AppAndId) -> None:
    app, restore_id = waiting
    offered(app, "%", 30)
    assert app.poll(restore_id) == Waiting(pending=0, ready=FILES + 1)


@pytest.mark.parametrize("times", [MOST_RENEWALS - 1, MOST_RENEWALS])
def test_what_is_lost_again_and_again_ends_the_wait_and_is_named(waiting: AppAndId, times: int) -> None:
    app, restore_id = waiting
    connection = app.catalog._database.connection()
    connection.execute(
        "UPDATE glacier_archives SET retrieval_status = 'available' WHERE filename = '3.pdf'; "
        "UPDATE glacier_retrievals g SET state = 'expired' FROM glacier_archives a"
        " WHERE a.id = g.archive_id AND a.filename = '3.pdf'"
    )
    connection.execute(
        "INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, state)"
        " SELECT archive_id, restore_id, tier, days, state"
        f" FROM glacier_retrievals, generate_series(2, {times}) WHERE state = 'expired'".encode()
    )
    look = app.poll(restore_id)
    if times < MOST_RENEWALS:
        assert look == Waiting(pending=FILES + 1, ready=0, renewed=1)
        return
    assert look == Waiting(pending=FILES, ready=0, failed=1)
    with pytest.raises(RetrievalFailed, match=rf"3\.pdf: lost {MOST_RENEWALS} times or more"):
        restore.raise_failed_retrievals(restore_id, catalog=app.catalog)


def test_what_ended_before_it_was_fetched_is_said_and_asked_for_again(waiting: AppAndId) -> None:
    app, restore_id = waiting
    app.s3.clock.advance(7200)
    assert app.poll(restore_id).done
    app.s3.clock.advance(365 * 86400)
    planned = {"restore_id": restore_id, "ranges": [{"first": 0, "last": 2**62, "archives": FILES + 1}]}
    with pytest.raises(ArchiveCold, match=rf"{FILES + 1} archives .* can no longer be read: .* has expired"):
        app.download(planned)
    app.ask(planned)
    app.s3.clock.advance(7200)
    assert app.poll(restore_id) == Waiting(pending=0, ready=FILES + 1)
    app.download(planned)
    assert len(app.contents()) == FILES


def test_a_dump_that_was_staged_and_is_gone_is_asked_for_again_once_its_offer_ended(waiting: AppAndId) -> None:
    app, restore_id = waiting
    planned = {"restore_id": restore_id, "ranges": [{"first": 0, "last": 2**62, "archives": FILES + 1}]}
    app.s3.clock.advance(7200)
    app.poll(restore_id)
    app.download(planned)
    shutil.rmtree(app.application.staging_directory)
    app.s3.clock.advance(365 * 86400)
    with pytest.raises(ArchiveCold, match=r"1 archive of restore .* can no longer be read"):
        app.download(planned)
    app.ask(planned)
    app.s3.clock.advance(7200)
    assert app.poll(restore_id).done
    app.download(planned)
    app.finish(restore_id)


def test_what_is_staged_is_not_waited_for(waiting: AppAndId) -> None:
    app, restore_id = waiting
    offered(app, "%", 300)
    connection = app.catalog._database.connection()
    connection.execute("UPDATE glacier_archives SET retrieval_status = 'local' WHERE kind = 'database'")
    assert app.poll(restore_id) == Waiting(pending=0, ready=FILES + 1)


@pytest.mark.parametrize("by_processes", [True, False])
@pytest.mark.parametrize("name", ["SMALL", "READ_WHOLE"])
def test_archives_of_any_size_come_wherever_small_ones_end(
    make_application: Callable[..., ApplicationUnderTest],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    by_processes: bool,
) -> None:
    app = a_small_dms(make_application())
    wanted = {f"{size}.bin": b"x" * size for size in (0, 1, 99, 100, 101)}
    for one, content in wanted.items():
        app.write(one, content)
    app.back_up()
    for one in wanted:
        (app.files / one).unlink()
    monkeypatch.setattr(pools, "PROCESSES_FROM", 0 if by_processes else 10**9)
    monkeypatch.setattr(download, name, 100)
    app.restore()
    assert wanted.items() <= app.contents().items()


def test_a_backup_in_two_classes_comes_from_the_cold_one_and_the_warm_one(
    make_application: Callable[..., ApplicationUnderTest],
) -> None:
    app = a_small_dms(make_application())
    app.back_up()
    app.configure(store=app.application.store.replace("GLACIER", "GLACIER_IR"))
    app.write("warm.pdf", "of today")
    app.back_up()
    before = app.contents()
    for name in before:
        (app.files / name).unlink()
    app.restore()
    assert app.contents() == before


def test_what_a_job_is_to_ask_for_is_asked_for_by_nobody_else(waiting: AppAndId) -> None:
    """Another restore has planned one, and AWS cannot be asked just now."""
    app, _ = waiting
    planned = app.plan()
    restore_id = planned["restore_id"]
    connection = app.catalog._database.connection()
    connection.execute("DELETE FROM glacier_retrievals")
    connection.execute("UPDATE glacier_archives SET retrieval_status = 'available' WHERE retrieval_status = 'pending'")
    assert app.catalog.batch.plan_retrievals(restore_id, app.application.store, tier="Bulk", days=1) == FILES + 1
    before = app.s3.count("RestoreObject", bucket=app.bucket)
    app.ask(planned)
    assert app.s3.count("RestoreObject", bucket=app.bucket) == before


def test_what_nobody_knows_to_be_sent_is_asked_for_by_the_tier_that_was_meant(
    waiting: AppAndId, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = waiting
    monkeypatch.setattr(pools, "PROCESSES_FROM", 0)
    bucket = app.s3.objects.bucket(app.bucket)
    assert bucket is not None
    for key in bucket.keys.values():
        if (thaw := getattr(key, "thaw", None)) is not None:  # nobody had asked for it
            thaw.ready_at = thaw.expires_at = 0.0
    connection = app.catalog._database.connection()
    connection.execute("UPDATE glacier_retrievals SET confirmed = false, tier = 'Standard', days = 9")
    connection.execute("UPDATE glacier_archives SET retrieval_status = 'available' WHERE retrieval_status = 'pending'")
    app.ask(app.plan(tier="Bulk", days=2))
    thaws = [key.thaw for key in bucket.keys.values() if getattr(key, "thaw", None) is not None]
    assert {(thaw.tier, thaw.days) for thaw in thaws} == {("Standard", 9)}
    assert len(thaws) == FILES + 1
