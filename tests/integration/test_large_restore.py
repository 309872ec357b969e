"""A large file comes back in runs of pieces, each verified while it comes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from glacier_provider.catalog.restores import Restores
from glacier_provider.core.checksum import Pieces
from glacier_provider.core.parts import MIB
from glacier_provider.errors import ArchiveCorrupt, ArchiveMissing, GlacierProviderError, IllegalMove
from glacier_provider.files import PendingFile, Placement
from glacier_provider.pipelines.restore import download
from tests.emulator.faults import FaultKind
from tests.support.application import ApplicationUnderTest, a_small_dms

LARGE = random.Random(3).randbytes(37 * MIB + 5)


@pytest.fixture
def app(make_application: Callable[..., ApplicationUnderTest], monkeypatch: pytest.MonkeyPatch) -> ApplicationUnderTest:
    """An application with a large file, of which runs of two pieces come at once; it was backed up and is gone."""
    monkeypatch.setattr(download, "READ_AT_ONCE", 16 * MIB)
    app = a_small_dms(make_application(part_size_mib=8))
    app.write("films/large.mp4", LARGE)
    app.back_up()
    (app.files / "films/large.mp4").unlink()
    return app


def test_a_large_file_is_what_it_was(app: ApplicationUnderTest) -> None:
    app.restore()
    assert app.contents()["films/large.mp4"] == LARGE


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE_BODY, FaultKind.UNAVAILABLE, FaultKind.RESET_BEFORE])
def test_a_run_that_breaks_off_is_brought_to_its_end(app: ApplicationUnderTest, kind: FaultKind) -> None:
    app.s3.plan.inject("GetObject", kind, when={"key": "*large.mp4"}, count=2)
    app.restore()
    assert app.contents()["films/large.mp4"] == LARGE
    assert [rule["fired"] for rule in app.s3.plan.rules()] == [2]


def test_a_piece_that_is_damaged_on_its_way_is_asked_for_again(app: ApplicationUnderTest) -> None:
    app.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*large.mp4"}, count=1)
    app.restore()
    assert app.contents()["films/large.mp4"] == LARGE


def test_pieces_that_are_damaged_otherwise_each_time_never_get_their_name_and_nothing_is_lost(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = app.plan()
    found = iter("abcdefgh")
    with monkeypatch.context() as broken:
        broken.setattr(Pieces, "match", lambda *_: False)
        broken.setattr(Pieces, "hexdigest", lambda *_: next(found))
        with pytest.raises(ArchiveCorrupt, match=r"differs from its checksum\. It arrived as another one each time"):
            app.bring(planned)
    assert "films/large.mp4" not in app.contents()
    app.bring(planned)
    assert app.contents()["films/large.mp4"] == LARGE


def test_what_the_store_itself_has_otherwise_is_lost_from_then_on(app: ApplicationUnderTest) -> None:
    planned = app.plan()
    app.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*large.mp4"})
    with pytest.raises(
        ArchiveMissing, match=r"large\.mp4 of backup \d+ is LOST: what the store has is not what was wri"
    ):
        app.bring(planned)
    assert "films/large.mp4" not in app.contents()
    rows = app.catalog.lost.in_backup(planned["backup_id"], limit=9)
    assert app.catalog.lost.places([row["id"] for row in rows]) == [f"films/large.mp4 (backup {planned['backup_id']})"]


def test_a_large_file_is_durable_and_its_restore_asked_for_before_it_gets_its_name(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, done = app.plan(part="files"), list[str]()
    app.ask(planned)
    app.wait(planned["restore_id"])
    monkeypatch.setattr("glacier_provider.pipelines.shared.lease.SECONDS_BETWEEN_HEARTBEATS", -1.0)
    for kind, method in ((PendingFile, "make_durable"), (Restores, "require_going_on"), (Placement, "commit")):
        usual = getattr(kind, method)

        def noted(self: Any, *args: Any, _name: str = method, _usual: Any = usual, **more: Any) -> Any:
            done.append(_name)
            return _usual(self, *args, **more)

        monkeypatch.setattr(kind, method, noted)
    app.download(planned)
    named = done.index("commit")
    assert done[named - 2 : named] == ["make_durable", "require_going_on"]


def test_a_name_that_is_taken_keeps_what_it_has(app: ApplicationUnderTest) -> None:
    planned = app.plan()
    app.write("films/large.mp4", "something else")
    with pytest.raises(GlacierProviderError, match="another content"):
        app.bring(planned)
    assert app.contents()["films/large.mp4"] == b"something else"


def test_nothing_is_being_put_in_place_any_more_when_a_download_has_ended(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread still did then would go by numbers of directories that are others' by now."""
    for number in range(8):
        app.write(f"{number}.bin", str(number))
    app.back_up()
    for path in app.files.rglob("*.bin"):
        path.unlink()
    planned, ended = app.plan(), list[str]()
    app.ask(planned)
    app.wait(planned["restore_id"])
    usual, close = download._Placer.bring, Placement.close

    def bring(placer: download._Placer, row: Any) -> None:
        if row["filename"] == "0.bin":
            raise IllegalMove("It is over.")
        time.sleep(0.3)
        ended.append(row["filename"])
        usual(placer, row)

    def closed(placement: Placement) -> None:
        ended.append("closed")
        close(placement)

    monkeypatch.setattr(download._Placer, "bring", bring)
    monkeypatch.setattr(Placement, "close", closed)
    with pytest.raises(IllegalMove) as told:
        app.download(planned)
    time.sleep(0.5)
    assert ended.count("closed") >= 2
    assert "closed" not in ended[: -ended.count("closed")], told.value
