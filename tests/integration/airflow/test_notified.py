"""A restore through Airflow that hears of its retrievals: the whole DAG, with its sensor deferred to the triggerer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.applications import NotificationOptions
from glacier_provider.stores.queue.setup import set_up
from tests.emulator.clock import Clock
from tests.emulator.s3 import S3Emulator
from tests.emulator.vault import VaultEmulator
from tests.integration.notifications.waits import HOUR, VAULT, OnAVault, clients_of
from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest, Make, a_small_dms, titles

NEVER = 86_400  # seconds between two polls


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Emulator]:
    """An emulated S3, with SQS and SNS, whose retrievals take an hour of a clock that stands still."""
    with S3Emulator(retrieval_seconds=HOUR, clock=Clock(speed=0)) as emulator:
        yield emulator


@pytest.fixture
def on_s3(make_application: Make) -> ApplicationUnderTest:
    return a_small_dms(make_application())


@pytest.fixture
def on_a_vault(on_s3: ApplicationUnderTest, tmp_path: Path) -> Iterator[ApplicationUnderTest]:
    with VaultEmulator(
        tmp_path / "emulated-vault", clock=on_s3.s3.clock, standard_seconds=HOUR, sns_endpoint_url=on_s3.s3.url
    ) as emulator:
        emulator.client().create_vault(vaultName=VAULT)
        application = replace(on_s3.application, store=f"glacier://{VAULT}")
        yield OnAVault(application, on_s3.server, on_s3.catalog, on_s3.catalog_server, on_s3.s3, vault=emulator)


@pytest.mark.parametrize("place", ["on_s3", "on_a_vault"])
def test_a_restore_goes_on_when_the_message_comes(place: str, request: pytest.FixtureRequest) -> None:
    dms: ApplicationUnderTest = request.getfixturevalue(place)
    setup = set_up(dms.application.name, dms.application.store, client=clients_of(dms))
    dms.configure(notifications=NotificationOptions(queue=setup.queue, poll_seconds=NEVER))
    assert run_dag(dms, "backup").state == "success"
    dms.sql("DELETE FROM tags")
    dms.sql("DELETE FROM documents WHERE id = 2")
    (dms.files / "doc2.pdf").unlink()
    outcome = dms.s3.count("ReceiveMessage")
    with meanwhile(lambda: dms.s3.count("ReceiveMessage") > outcome, lambda: dms.s3.clock.advance(HOUR)):
        ran = run_dag(dms, "restore", {"backup_id": "latest"})
    assert ran.state == "success", ran.tasks
    assert (dms.files / "doc2.pdf").read_bytes() == b"content 2"
    assert len(titles(dms)) == 3


@contextmanager
def meanwhile(condition: Callable[[], bool], work: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread as soon as a condition holds."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.05):
            if condition():
                work()
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
