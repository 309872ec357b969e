"""The same backup is restored more than once: what was paid for is used as long as it can be read, and then renewed."""

from __future__ import annotations

from typing import Any

import pytest

from glacier_provider.errors import RetrievalRefused, StoreUnavailable
from tests.support.application import ApplicationUnderTest


def lose_and_restore(dms: ApplicationUnderTest, backup_id: int) -> None:
    (dms.files / "doc2.pdf").unlink()
    dms.restore(backup_id)
    assert (dms.files / "doc2.pdf").read_bytes() == b"content 2"


def requests(dms: ApplicationUnderTest) -> int:
    return dms.s3.count("RestoreObject", bucket=dms.bucket)


def test_a_file_that_is_lost_again_is_not_paid_for_again_while_its_copy_is_on_offer(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    lose_and_restore(dms, backup_id)
    lose_and_restore(dms, backup_id)
    assert requests(dms) == 2, "the dump and the file, once"


def test_a_file_that_is_lost_again_after_the_offer_ended_is_requested_again(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    lose_and_restore(dms, backup_id)
    dms.s3.clock.advance(30 * 86400)
    with dms.catalog_server.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.glacier_retrievals SET expires_at = now() - interval '1 minute'")
    lose_and_restore(dms, backup_id)
    assert requests(dms) == 4, "the dump and the file, twice"


def test_a_refusal_that_lasts_is_raised_before_one_that_passes(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry asks for what the store was too busy for, and comes to the same end all the same."""
    dms.back_up()
    (dms.files / "doc2.pdf").unlink()
    planned = dms.plan()
    refusals = iter([StoreUnavailable("It is busy."), RetrievalRefused("No capacity.", hint="Take Bulk.")])

    def refuse(*_: Any, **__: Any) -> None:
        raise next(refusals)

    monkeypatch.setattr(dms.store, "request_retrieval", refuse)
    with pytest.raises(RetrievalRefused) as raised:
        dms.bring(planned)
    assert (raised.value.message, raised.value.hint) == ("2 retrievals were refused: No capacity.", "Take Bulk.")
