"""A look at what a restore waits for goes through its archives by the page, and tells how they are when it ends."""

from __future__ import annotations

import pytest

from glacier_provider.catalog.restores import Restores
from glacier_provider.errors import CatalogUnavailable
from glacier_provider.pipelines.restore.wait import Waiting
from tests.support.application import ApplicationUnderTest

FILES = 7


@pytest.fixture
def waiting(dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> tuple[ApplicationUnderTest, int]:
    """A restore of some files, and of the dump, that takes an hour to come: four pages."""
    monkeypatch.setattr("glacier_provider.catalog.restores.LOOKED_AT_ONCE", 2)
    dms.configure(settle_seconds=0)
    for path in dms.files.rglob("*"):
        if path.is_file():
            path.unlink()
    for number in range(FILES):
        (dms.files / f"{number}.pdf").write_bytes(b"content %d" % number)
    dms.back_up()
    for number in range(FILES):
        (dms.files / f"{number}.pdf").unlink()
    dms.s3.retrievals_take(3600)
    planned = dms.plan()
    dms.ask(planned)
    return dms, planned["restore_id"]


def test_what_is_ready_is_told_by_the_look_that_finds_it(waiting: tuple[ApplicationUnderTest, int]) -> None:
    app, restore_id = waiting
    assert app.poll(restore_id) == Waiting(pending=FILES + 1, ready=0)
    assert app.poll(restore_id) == Waiting(pending=FILES + 1, ready=0)
    app.s3.clock.advance(7200)
    assert app.poll(restore_id) == Waiting(pending=0, ready=FILES + 1)


def test_what_the_store_no_longer_offers_is_asked_for_again_by_the_look_that_finds_it(
    waiting: tuple[ApplicationUnderTest, int],
) -> None:
    app, restore_id = waiting
    app.catalog._database.connection().execute(
        "UPDATE glacier_retrievals SET state = 'ready', expires_at = now() - interval '1 minute' WHERE archive_id ="
        " (SELECT id FROM glacier_archives WHERE filename = '3.pdf')"
    )
    app.catalog._database.connection().execute(
        "UPDATE glacier_archives SET retrieval_status = 'ready' WHERE filename = '3.pdf'"
    )
    assert app.poll(restore_id) == Waiting(pending=FILES + 1, ready=0, renewed=1)


def test_what_the_catalog_says_of_a_later_page_is_an_error_of_the_look(
    waiting: tuple[ApplicationUnderTest, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, restore_id = waiting
    usual = Restores.looks

    def broken(restores: Restores, restore_id: int, *, after: int = -1) -> object:
        for number, look in enumerate(usual(restores, restore_id, after=after)):
            if number == 1:
                raise CatalogUnavailable("The catalog database broke off.")
            yield look

    monkeypatch.setattr(Restores, "looks", broken)
    with pytest.raises(CatalogUnavailable):
        app.poll(restore_id)
