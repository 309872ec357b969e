"""What a process that brings files believes, and when it gives them their names."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from glacier_provider.files.names import TEMPORARY
from glacier_provider.stores.s3.fast import fetch, worker
from glacier_provider.stores.s3.fast.ask import Asker
from glacier_provider.stores.s3.fast.fetch import Fetcher
from glacier_provider.stores.s3.fast.requests import Requests
from glacier_provider.stores.s3.fast.sender import TOO_LONG, Reply
from glacier_provider.stores.s3.fast.shapes import Credentials, Shape
from glacier_provider.stores.s3.fast.worker import LEAVE_SECONDS, MAY_I, Worker, clock

DATA = b"the bytes"
ITEM = (7, "key", "folder/a.bin", len(DATA), hashlib.sha256(DATA).hexdigest())
KEY = Credentials("key", "secret", None)


class _Answers:
    """Stands for `ManyAtOnce`: answers each request at once, all alike."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[Any] = []
        self.count = 0

    def __call__(self, *_: Any, **__: Any) -> _Answers:
        return self

    def __len__(self) -> int:
        return len(self.asked)

    def start(self, _request: Any, item: Any) -> None:
        self.count += 1
        self.asked.append(item)

    def answers(self, patience: float) -> list[tuple[Any, Reply]]:
        asked, self.asked = self.asked, []
        if not asked:
            time.sleep(min(patience, 0.005))
        return [(item, self.reply) for item in asked]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(worker, "from_plain", lambda _shape: Mock(spec=Shape))
    monkeypatch.setattr(worker, "Requests", Mock(spec=Requests))
    return []


def answering(monkeypatch: pytest.MonkeyPatch, status: int, *body: bytes) -> _Answers:
    answers = _Answers(Reply(status, f"HTTP/1.1 {status} OK\r\n\r\n".encode(), list(body)))
    monkeypatch.setattr(worker, "ManyAtOnce", answers)
    return answers


def turn_until(worker: Worker, told: list[Any]) -> None:
    deadline = time.monotonic() + 60
    while not told:
        worker.turn()
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (200, [DATA], "sent"),
        (200, [DATA[:4], DATA[4:]], "sent"),
        (200, [DATA[:-1]], "refused"),
        (200, [b"the bytez"], "refused"),
        (200, [DATA, b"more"], "refused"),
        (206, [DATA], "refused"),
        (403, [b"<Code>InvalidObjectState</Code>"], "refused"),
        (TOO_LONG, [], "refused"),
        (503, [], "throttled"),
    ],
)
def test_only_the_bytes_that_were_archived_get_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Any], status: int, body: list[bytes], word: str
) -> None:
    answering(monkeypatch, status, *body)
    fetcher = Fetcher(str(tmp_path), (), KEY, told.extend)
    fetcher.take(("send", 1, [ITEM], clock()))
    turn_until(fetcher, told)
    assert told[0][:2] == (7, word)
    path = tmp_path / "folder" / "a.bin"
    assert path.exists() is (word == "sent")
    assert list((tmp_path / TEMPORARY).iterdir()) == []
    if word == "sent":
        assert told == [(7, "sent", path.stat().st_mtime_ns, path.stat().st_ino)]
        assert path.read_bytes() == DATA


def test_a_name_that_is_taken_is_not_even_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.bin").write_bytes(b"of somebody")
    answers = answering(monkeypatch, 200, DATA)
    fetcher = Fetcher(str(tmp_path), (), KEY, told.extend)
    fetcher.take(("send", 1, [ITEM], clock()))
    turn_until(fetcher, told)
    assert (told, answers.count) == ([(7, "refused")], 0)


def test_names_are_no_longer_looked_for_when_many_were_free_until_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    def bring(name: str) -> str:
        told.clear()
        fetcher.take(("send", 1, [(7, "key", name, *ITEM[3:])], clock()))
        turn_until(fetcher, told)
        return str(told[0][1])

    (tmp_path / "taken.bin").write_bytes(b"of somebody")
    answers = answering(monkeypatch, 200, DATA)
    monkeypatch.setattr(fetch, "_FREE_IN_A_ROW", 2)
    fetcher = Fetcher(str(tmp_path), (), KEY, told.extend)
    assert [bring(name) for name in ("taken.bin", "a.bin", "b.bin")] == ["refused", "sent", "sent"]
    assert answers.count == 2
    with monkeypatch.context() as patched:
        patched.setattr(fetcher._place, "is_taken", Mock(side_effect=AssertionError("it is looked for")))
        assert [bring(name) for name in ("c.bin", "taken.bin")] == ["sent", "refused"]
    assert answers.count == 4  # one of them in vain
    assert bring("taken.bin") == "refused"
    assert answers.count == 4  # it is looked for again
    assert (tmp_path / "taken.bin").read_bytes() == b"of somebody"


def test_nothing_gets_a_name_without_a_leave_that_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    answering(monkeypatch, 200, DATA)
    fetcher = Fetcher(str(tmp_path), (), KEY, told.extend)
    fetcher.take(("send", 1, [ITEM], clock() - LEAVE_SECONDS - 1))
    turn_until(fetcher, told)
    assert told == [(MAY_I,)]
    for _ in range(5):
        fetcher.turn()
    assert told == [(MAY_I,)]  # it asks once
    assert not (tmp_path / "folder").exists()
    told.clear()
    fetcher.take(("leave", clock()))
    turn_until(fetcher, told)
    assert told[0][:2] == (7, "sent")


def test_a_disk_that_takes_nothing_gets_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    answering(monkeypatch, 200, DATA)
    fetcher = Fetcher(str(tmp_path), (), KEY, told.extend)
    monkeypatch.setattr(fetcher._place, "make_durable", fail)
    fetcher.take(("send", 1, [ITEM], clock()))
    turn_until(fetcher, told)
    assert told == [(7, "refused")]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (202, b"", "sent"),
        (200, b"", "sent"),
        (409, b"<Error><Code>RestoreAlreadyInProgress</Code></Error>", "sent"),
        (409, b"<Error><Code>OperationAborted</Code></Error>", "refused"),
        (403, b"<Error><Code>InvalidObjectState</Code></Error>", "refused"),
        (404, b"<Error><Code>NoSuchKey</Code></Error>", "refused"),
        (503, b"<Error><Code>SlowDown</Code></Error>", "throttled"),
        (0, b"", "throttled"),
    ],
)
def test_what_the_store_has_taken_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, told: list[Any], status: int, body: bytes, word: str
) -> None:
    answers = answering(monkeypatch, status, body)
    asker = Asker(b"<RestoreRequest/>", (), KEY, told.extend)
    asker.take(("send", 1, [(7, "key")], 0.0))
    turn_until(asker, told)
    assert (told, answers.count) == ([(MAY_I,)], 0)
    told.clear()
    asker.take(("leave", clock()))
    turn_until(asker, told)
    assert told == [(7, word)]


def test_who_is_stopped_among_the_names_of_a_group_gives_no_more_when_it_wakes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(worker, "clock", lambda: now[0])
    answering(monkeypatch, 200, DATA)
    fetcher = Fetcher(str(tmp_path), (), KEY, told.extend)
    usual = fetcher._place.name

    def name(file: Any) -> Any:
        named = usual(file)
        now[0] += 2 * LEAVE_SECONDS  # it was stopped here
        return named

    monkeypatch.setattr(fetcher._place, "name", name)
    items = [(number, "key", f"folder/{number}.bin", *ITEM[3:]) for number in range(3)]
    fetcher.take(("send", 3, items, now[0]))
    deadline = time.monotonic() + 60
    for number in (1, 2):
        while (MAY_I,) not in told:
            fetcher.turn()
            assert time.monotonic() < deadline
        assert len(list(tmp_path.rglob("*.bin"))) == number
        told.clear()
        fetcher.take(("leave", now[0]))
    while not fetcher.is_idle:
        fetcher.turn()
        assert time.monotonic() < deadline
    assert len(list(tmp_path.rglob("*.bin"))) == 3


def test_a_group_for_which_there_is_no_thread_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    """As where a container may have no more processes."""

    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    answering(monkeypatch, 200, DATA)
    fetcher = Fetcher(str(tmp_path), (), KEY, told.extend)
    monkeypatch.setattr(fetcher._place, "make_durable", fail)
    fetcher.take(("send", 1, [ITEM], clock()))
    turn_until(fetcher, told)
    assert told == [(7, "refused")]
