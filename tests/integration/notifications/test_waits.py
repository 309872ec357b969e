"""A restore hears that its retrievals ended: sooner than polling finds out, and never worse than polling alone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest import mock

import pytest
from airflow.sdk.exceptions import AirflowFailException

from glacier_provider.core.notification import Notification
from glacier_provider.core.store_uri import place_of
from glacier_provider.errors import ArchiveMissing
from glacier_provider.pipelines import restore
from glacier_provider.sensors.glacier_job import GlacierJobSensor
from glacier_provider.stores.queue import receive
from glacier_provider.triggers.glacier_job import DONE, ERROR, FAILED
from tests.emulator.faults import FaultKind
from tests.integration.notifications.waits import SECONDS, OnAVault, Wait, a_wait
from tests.support.airflow import settings_of
from tests.unit.operators.builders import a_context

ELSEWHERE = "another-bucket-or-vault"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What triggers warn of."""
    from glacier_provider.triggers.glacier_job import GlacierJobTrigger

    monkeypatch.setattr(GlacierJobTrigger, "log", logging.getLogger("trigger-under-test"))
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name == "trigger-under-test"]


# --- the message comes ---------------------------------------------------------------------------------------------


def test_a_message_ends_the_wait_long_before_the_next_poll(wait: Wait) -> None:
    assert wait.event_after(wait.an_hour_passes)["status"] == DONE


def test_a_message_that_came_before_anybody_listened_is_heard(s3_wait: Wait) -> None:
    s3_wait.an_hour_passes()
    assert s3_wait.event_after()["status"] == DONE


def test_messages_that_did_their_work_are_deleted(s3_wait: Wait) -> None:
    s3_wait.plan.inject("Notification", FaultKind.DUPLICATE_NOTIFICATION)
    s3_wait.event_after(s3_wait.an_hour_passes)
    hear_all(s3_wait)
    assert s3_wait.messages() == 0


def hear_all(wait: Wait) -> None:
    """Have another restore's trigger find what the first one left, as the next restore would."""
    from glacier_provider.triggers.queue_listener import QueueListener

    async def listen() -> None:
        listening = QueueListener(wait.app.application, wait.restore_id, logging.getLogger("next"))
        for _ in range(3):
            await listening.listen(1)
        listening.stop()

    asyncio.run(asyncio.wait_for(listen(), SECONDS))


def test_a_duplicated_message_costs_no_request(wait: Wait) -> None:
    wait.an_hour_passes()
    notification = a_notice(wait)
    first = hear(wait, notification)
    assert (first.confirmed, first.waiting and first.waiting.ready) == ({notification}, 1)
    before = store_requests(wait)
    assert hear(wait, notification).confirmed == {notification}
    assert store_requests(wait) == before


def a_notice(wait: Wait, name: str = "doc2.pdf", said: str = "completed") -> Notification:
    return Notification(place_of(wait.app.application.store), wait.retrieval(name)["key"], said)


def hear(wait: Wait, *notifications: Notification) -> restore.NotificationsOutcome:
    app = wait.app
    return restore.look_at_notifications(
        app.application, wait.restore_id, notifications, catalog=app.catalog, stores=app.stores
    )


def store_requests(wait: Wait) -> int:
    if wait.vault is not None:
        return wait.vault.count("DescribeJob") + wait.vault.count("ListJobs")
    return wait.app.s3.count("HeadObject") + wait.app.s3.count("ListObjectsV2")


def test_only_what_a_message_names_is_looked_at(wait: Wait) -> None:
    before = store_requests(wait)
    outcome = hear(wait, a_notice(wait))
    assert store_requests(wait) == before + 1
    assert outcome.waiting is not None
    assert outcome.waiting.pending == 2


def test_many_notices_are_looked_at_together(s3_wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    from glacier_provider.pipelines.restore import notifications

    monkeypatch.setattr(notifications, "MOST_ONE_BY_ONE", 1)
    s3_wait.an_hour_passes()
    outcome = hear(s3_wait, a_notice(s3_wait), a_notice(s3_wait, "dms-1.dump"))
    assert outcome.waiting is not None
    assert outcome.waiting.done
    assert len(outcome.confirmed) == 2


# --- the message does not come -------------------------------------------------------------------------------------


def test_a_lost_message_is_made_up_for_by_polling(wait: Wait) -> None:
    wait.plan.inject("Notification", FaultKind.LOSE_NOTIFICATION)
    wait.listen(between=1, without=1)
    assert wait.event_after(wait.an_hour_passes)["status"] == DONE
    assert wait.messages() == 0


def test_a_queue_that_denies_is_told_and_polling_goes_on(wait: Wait, warnings: Any) -> None:
    wait.app.s3.plan.inject("ReceiveMessage", FaultKind.ACCESS_DENIED)
    wait.listen(without=1)
    assert wait.event_after(wait.an_hour_passes)["status"] == DONE
    assert [told for told in warnings() if "sqs:ReceiveMessage" in told and "asked every 1 s instead" in told]


def test_what_is_wrong_with_a_queue_is_warned_of_once(s3_wait: Wait, warnings: Any) -> None:
    s3_wait.app.s3.plan.inject("ReceiveMessage", FaultKind.ACCESS_DENIED)
    s3_wait.listen(without=1)
    s3_wait.event_after(lambda: None, lambda: None, s3_wait.an_hour_passes)
    assert len([told for told in warnings() if "cannot be used" in told]) == 1


def test_a_queue_that_is_not_there_is_told_and_polling_goes_on(s3_wait: Wait, warnings: Any) -> None:
    s3_wait.listen(queue="no-such-queue", without=1)
    s3_wait.an_hour_passes()
    assert s3_wait.event_after()["status"] == DONE
    (told,) = [told for told in warnings() if "cannot be used" in told]
    assert "There is no queue no-such-queue. Run glacier-backup setup-notifications" in told


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.RESET_BEFORE])
def test_a_queue_that_is_out_of_order_is_used_again_later(s3_wait: Wait, kind: FaultKind) -> None:
    s3_wait.app.s3.plan.inject("ReceiveMessage", kind, count=3)  # all tries of the first request
    s3_wait.listen(without=1)
    assert s3_wait.event_after(lambda: None, lambda: None, lambda: None, s3_wait.an_hour_passes)["status"] == DONE
    hear_all(s3_wait)
    assert s3_wait.messages() == 0


def test_messages_that_cannot_be_deleted_harm_nobody(s3_wait: Wait, warnings: Any) -> None:
    s3_wait.app.s3.plan.inject("DeleteMessageBatch", FaultKind.ACCESS_DENIED)
    assert s3_wait.event_after(s3_wait.an_hour_passes)["status"] == DONE
    assert [told for told in warnings() if "sqs:DeleteMessage" in told]


# --- messages that are not ours, or not true -----------------------------------------------------------------------


def foreign_messages(wait: Wait) -> list[Any]:
    ours = wait.message_about(wait.retrieval()["key"])
    return [
        wait.message_about("pre/shop/files/000000000/000000000001-x.pdf"),
        wait.message_about("a" * 138),
        json_with(ours, wait.app.bucket, ELSEWHERE)
        if wait.vault is None
        else json_with(ours, "vaults/dms", "vaults/x"),
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": ELSEWHERE},
        "text that is no JSON",
        "[" * 100_000,
        {"Records": 5},
    ]


def json_with(message: Any, old: str, new: str) -> str:
    import json

    return json.dumps(message).replace(old, new)


def test_messages_of_others_are_left_to_them_and_cost_the_store_nothing(wait: Wait) -> None:
    messages = foreign_messages(wait)
    before = store_requests(wait)
    for message in messages:
        wait.send(message)
    hear_all(wait)
    assert store_requests(wait) == before
    assert wait.messages() == len(messages)


def test_a_true_message_is_heard_among_those_of_others(wait: Wait) -> None:
    for message in foreign_messages(wait):
        wait.send(message)
    assert wait.event_after(lambda: None, wait.an_hour_passes)["status"] == DONE


def test_a_message_that_is_not_true_changes_nothing_but_costs_a_look(wait: Wait, warnings: Any) -> None:
    forged = wait.message_about(wait.retrieval()["key"])

    def still_waiting() -> None:
        assert wait.app.poll(wait.restore_id).pending == 2
        wait.an_hour_passes()

    assert wait.event_after(lambda: wait.send(forged), lambda: None, still_waiting)["status"] == DONE
    assert [told for told in warnings() if "but the store does not" in told]


def test_what_the_store_does_not_bear_out_stays_in_the_queue_for_a_while(s3_wait: Wait) -> None:
    """It may be the store that lags behind its own message."""
    notification = a_notice(s3_wait)
    outcome = hear(s3_wait, notification)
    assert (outcome.confirmed, outcome.unconfirmed) == (set(), {notification})


def test_a_forged_failure_does_not_fail_the_restore(vault_wait: Wait) -> None:
    wait = vault_wait
    forged = wait.message_about(wait.retrieval()["key"], failed=True)
    assert wait.event_after(lambda: wait.send(forged), lambda: None, wait.an_hour_passes)["status"] == DONE


# --- failures ------------------------------------------------------------------------------------------------------


def test_the_message_of_a_failed_job_fails_the_restore(on_a_vault: OnAVault, opened: None) -> None:
    on_a_vault.emulator.faults.inject("InitiateJob", FaultKind.FAIL_JOB, nth=1)
    with settings_of(on_a_vault), on_a_vault.catalog:
        wait = a_wait(on_a_vault)
        event = wait.event_after(wait.an_hour_passes)
        assert event["status"] == FAILED
        sensor = GlacierJobSensor(
            task_id="wait", application=wait.app.application.to_dict(), restore_id=wait.restore_id
        )
        with pytest.raises(AirflowFailException, match=r"RetrievalFailed: .*ended retrievals of restore"):
            sensor.execute_complete(a_context(), event)


def test_an_archive_that_is_gone_fails_the_restore_when_a_message_leads_there(s3_wait: Wait) -> None:
    key = s3_wait.retrieval()["key"]
    s3_wait.app.s3.client().delete_object(Bucket=s3_wait.app.bucket, Key=key)
    # the worker asks again, and says which file it is
    assert s3_wait.event_after(lambda: s3_wait.send(s3_wait.message_about(key)))["status"] == ERROR
    with pytest.raises(ArchiveMissing, match=r"\.pdf"):
        s3_wait.app.poll(s3_wait.restore_id)


def test_a_copy_that_ended_early_is_asked_for_again(s3_wait: Wait) -> None:
    s3_wait.an_hour_passes()
    assert s3_wait.app.poll(s3_wait.restore_id).done
    s3_wait.app.s3.clock.advance(30 * 86400)
    outcome = hear(s3_wait, a_notice(s3_wait, said="expired"))
    assert outcome.waiting is not None
    assert (outcome.waiting.renewed, outcome.waiting.pending) == (1, 1)


def test_an_offer_that_goes_on_is_left_alone(s3_wait: Wait) -> None:
    s3_wait.an_hour_passes()
    assert s3_wait.app.poll(s3_wait.restore_id).done
    outcome = hear(s3_wait, a_notice(s3_wait, said="expired"))
    assert outcome.waiting is not None
    assert (outcome.waiting.renewed, outcome.waiting.pending, outcome.waiting.failed) == (0, 0, 0)


def test_a_request_that_is_just_being_sent_is_not_asked_about(wait: Wait) -> None:
    """Asking about it now could find nothing, and make a second paid request."""
    row = wait.retrieval()
    with wait.app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.glacier_retrievals SET confirmed = false, job_id = NULL")
        connection.execute("UPDATE glacier_catalog.glacier_archives SET retrieval_status = 'available'")
    before = store_requests(wait)
    outcome = hear(wait, Notification(place_of(wait.app.application.store), row["key"], "completed"))
    assert (outcome.waiting, len(outcome.unconfirmed)) == (None, 1)
    assert store_requests(wait) == before


# --- neighbours ----------------------------------------------------------------------------------------------------


def test_a_trigger_that_listens_can_be_taken_away_at_once(s3_wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "LONGEST_WAIT", 20)

    async def run() -> None:
        task = asyncio.ensure_future(anext(s3_wait.trigger().run()))
        await s3_wait.heard_again()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)

    asyncio.run(run())


def test_a_message_received_after_the_end_is_left_for_the_next(s3_wait: Wait) -> None:
    from glacier_provider.triggers.queue_listener import QueueListener

    s3_wait.send(s3_wait.message_about(s3_wait.retrieval()["key"]))
    held = s3_wait.messages()
    listening = QueueListener(s3_wait.app.application, s3_wait.restore_id, logging.getLogger("ended"))
    listening._stopped.set()
    with mock.patch.object(restore, "look_at_notifications") as messages:
        assert asyncio.run(asyncio.wait_for(listening.listen(1), SECONDS)) is None
    messages.assert_not_called()
    assert s3_wait.messages() == held
