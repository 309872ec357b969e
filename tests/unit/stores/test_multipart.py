from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.parts import MIB, Part, parts_of
from glacier_provider.stores.multipart import PartBody, send_parts, windows


class Memory:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_at(self, start: int, size: int) -> bytes:
        return self.data[start : start + size]


def test_results_come_in_the_order_of_the_parts() -> None:
    sizes = send_parts(parts_of(95, 10), lambda part: (part.number, part.size), in_flight=4)
    assert sizes == [(number, 10) for number in range(1, 10)] + [(10, 5)]


def test_no_part_is_begun_after_an_error() -> None:
    begun: list[int] = []
    failed = threading.Event()

    def send(part: Part) -> None:
        begun.append(part.number)
        if part.number == 1:
            failed.set()
            raise OSError("broken")
        failed.wait(10)

    with pytest.raises(OSError, match="broken"):
        send_parts(parts_of(1000, 1), send, in_flight=2)
    assert len(begun) <= 3


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(-1, 40)), max_size=8))
def test_a_part_reads_like_a_file_of_its_bytes(moves: list[tuple[int, int]]) -> None:
    data = bytes(range(100))
    body, expected = PartBody(Memory(data), Part(2, 30, 50)), io.BytesIO(data[30:80])
    for position, size in moves:
        assert body.seek(position) == expected.seek(position)
        assert body.read(size) == expected.read(size)
        assert body.tell() == max(expected.tell(), position)


def test_a_part_is_measured_as_clients_measure_files() -> None:
    body = PartBody(Memory(b"x" * 100), Part(1, 0, 60))
    assert (body.seek(0, io.SEEK_END), body.seek(-10, io.SEEK_CUR), len(body)) == (60, 50, 60)
    assert (body.readable(), body.seekable()) == (True, True)


def test_windows_cover_a_part_once() -> None:
    data = bytes(2 * MIB + 7)
    assert [len(window) for window in windows(Memory(data), Part(1, 5, len(data) - 5))] == [MIB, MIB, 2]
