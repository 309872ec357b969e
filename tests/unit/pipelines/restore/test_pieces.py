"""The pieces of a large archive: each is hashed as it comes, and a run has as many bytes as were asked for."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from glacier_provider.core.parts import Part
from glacier_provider.errors import ArchiveCorrupt
from glacier_provider.pipelines.restore import download


@pytest.mark.parametrize(("given", "told"), [(b"x" * 9, "more bytes than"), (b"x" * 7, "1 bytes less than")])
def test_a_run_of_pieces_that_is_longer_or_shorter_than_was_asked_for_came_to_harm(given: bytes, told: str) -> None:
    """So it is asked for again, and never taken for what the store has."""
    pieces = Mock(piece_size=4)
    writer = download._PieceWriter(Mock(), pieces, Part(1, 0, 8))
    with pytest.raises(ArchiveCorrupt, match=told):
        (writer.take(given), writer.digests())
