"""A large file comes back in runs of pieces, each verified while it comes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from glacier_provider.core.parts import MIB
from glacier_provider.errors import ArchiveCorrupt, GlacierProviderError
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


def test_a_damaged_piece_never_gets_its_name(app: ApplicationUnderTest) -> None:
    planned = app.plan()
    app.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*large.mp4"}, count=1)
    with pytest.raises(ArchiveCorrupt, match="checksum"):
        app.bring(planned)
    assert "films/large.mp4" not in app.contents()
    app.bring(planned)
    assert app.contents()["films/large.mp4"] == LARGE


def test_a_name_that_is_taken_keeps_what_it_has(app: ApplicationUnderTest) -> None:
    planned = app.plan()
    app.write("films/large.mp4", "something else")
    with pytest.raises(GlacierProviderError, match="another content"):
        app.bring(planned)
    assert app.contents()["films/large.mp4"] == b"something else"
