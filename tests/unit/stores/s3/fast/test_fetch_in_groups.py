"""In which order a process that brings files does what it does, and that nothing makes it wait for ever."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from glacier_provider.errors import OutOfSpace
from glacier_provider.files.names import TEMPORARY
from glacier_provider.stores.s3.fast import fetch, worker
from glacier_provider.stores.s3.fast.ask import Asker
from glacier_provider.stores.s3.fast.fetch import Fetcher
from glacier_provider.stores.s3.fast.requests import Requests
from glacier_provider.stores.s3.fast.sender import Reply
from glacier_provider.stores.s3.fast.shapes import Credentials, Shape
from glacier_provider.stores.s3.fast.worker import LEAVE_SECONDS, MAY_I, clock
from tests.unit.stores.s3.fast.test_fetch import DATA, ITEM, KEY, _Answers


class _Store(_Answers):
    """The same, but for the archives that it keeps waiting."""

    def __init__(self) -> None:
        super().__init__(Reply(200, b"", [DATA]))
        self.slow: set[int] = set()

    def answers(self, patience: float) -> list[tuple[Any, Reply]]:
        kept = [item for item in self.asked if getattr(item, "archive_id", item) in self.slow]
        self.asked = [item for item in self.asked if getattr(item, "archive_id", item) not in self.slow]
        answered = super().answers(patience)
        self.asked += kept
        return answered


class Bringing:
    """A process that brings files, and what happens there, in order."""

    def __init__(self, directory: Path, store: _Store) -> None:
        self.store = store
        self.happened: list[str] = []
        self.told: dict[int, str] = {}
        self.asked = 0
        self.disk = threading.Event()
        self.disk.set()
        self.failing: set[str] = set()
        self.fetcher = Fetcher(str(directory), (), KEY, self._hear)
        place = self.fetcher._place
        self._durable, self._name = place.make_durable, place.name
        place.make_durable = self._make_durable  # type: ignore[method-assign]
        place.name = self._give_name  # type: ignore[method-assign]

    def _hear(self, answers: Any) -> None:
        for answer in answers:
            if answer == (MAY_I,):
                self.asked += 1
            else:
                self.told[answer[0]] = answer[1]
                self.happened.append(answer[1])

    def _make_durable(self, written: Any, named: Any) -> None:
        self.disk.wait(60)
        what = [f"{len(some)} {one}" for some, one in ((written, "contents"), (named, "names")) if some]
        if any(one.split()[1] in self.failing for one in what):
            raise OSError(5, "Input/output error")
        self._durable(written, named)
        self.happened += [f"{one} durable" for one in what]

    def _give_name(self, file: Any) -> Any:
        self.happened.append("named")
        return self._name(file)

    def give(self, *names: str, left_at: float | None = None, first: int = 1) -> None:
        items = [(number, "key", name, *ITEM[3:]) for number, name in enumerate(names, start=first)]
        self.fetcher.take(("send", len(items), items, clock() if left_at is None else left_at))

    def until(self, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not is_so():
            self.fetcher.turn()
            assert time.monotonic() < deadline, self.happened

    def bring(self, *names: str) -> None:
        self.told.clear()
        self.give(*names)
        self.until(lambda: len(self.told) == len(names))


@pytest.fixture
def bringing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bringing]:
    monkeypatch.setattr(worker, "from_plain", lambda _shape: Mock(spec=Shape))
    monkeypatch.setattr(worker, "Requests", Mock(spec=Requests))
    store = _Store()
    monkeypatch.setattr(worker, "ManyAtOnce", store)
    bringing = Bringing(tmp_path, store)
    yield bringing
    bringing.disk.set()


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_contents_are_durable_before_their_names_and_names_before_they_are_told(bringing: Bringing) -> None:
    bringing.bring("a.bin", "b.bin", "c.bin")
    assert bringing.happened == ["3 contents durable", *["named"] * 3, "3 names durable", *["sent"] * 3]


@pytest.mark.parametrize("failing", ["contents", "names"])
def test_what_the_disk_does_not_take_has_no_name_and_what_has_none_gets_none(
    bringing: Bringing, tmp_path: Path, failing: str
) -> None:
    bringing.failing.add(failing)
    bringing.bring("a.bin", "b.bin")
    assert set(bringing.told.values()) == {"refused"}
    assert ("named" in bringing.happened) is (failing == "names")
    assert files(tmp_path) == []
    bringing.failing.clear()
    bringing.bring("a.bin", "b.bin")
    assert files(tmp_path) == ["a.bin", "b.bin"]


def test_a_process_whose_files_wait_for_the_disk_is_not_idle(bringing: Bringing) -> None:
    bringing.disk.clear()
    bringing.give("a.bin")
    for _ in range(3):
        bringing.fetcher.turn()
        assert not bringing.fetcher.is_idle
    bringing.disk.set()
    bringing.until(lambda: bringing.fetcher.is_idle)
    assert bringing.told == {1: "sent"}
    assert bringing.fetcher._on_the_way == 0


def test_groups_of_which_nothing_gets_its_name_are_over(
    bringing: Bringing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_FREE_IN_A_ROW", 0)  # nobody looks whether a name is free
    (tmp_path / "a.bin").write_bytes(b"of somebody")
    for _ in range(2 * fetch._GROUPS):
        bringing.bring("a.bin")
        assert bringing.told == {1: "refused"}
    assert bringing.fetcher.is_idle
    assert (tmp_path / "a.bin").read_bytes() == b"of somebody"


def test_no_more_files_are_open_than_a_process_may_have(bringing: Bringing, monkeypatch: pytest.MonkeyPatch) -> None:
    bringing.fetcher._most = 1  # files of a group
    bringing.disk.clear()
    bringing.give(*(f"{number}.bin" for number in range(30)))
    for _ in range(40):
        bringing.fetcher.turn()
    # What was asked for by the time that so many groups wait for the disk.
    assert bringing.store.count <= fetch._GROUPS + worker._STARTED_AT_ONCE
    bringing.disk.set()
    bringing.until(lambda: len(bringing.told) == 30)
    assert set(bringing.told.values()) == {"sent"}


def test_as_many_files_as_may_be_open_are_a_group(bringing: Bringing) -> None:
    bringing.fetcher._most = 2
    groups = []
    usual = bringing.fetcher._hand_over

    def hand_over() -> None:
        groups.append(len(bringing.fetcher._group.files))
        usual()

    bringing.fetcher._hand_over = hand_over  # type: ignore[method-assign]
    bringing.bring(*(f"{number}.bin" for number in range(5)))
    assert groups == [2, 2, 1]


def test_what_was_brought_does_not_wait_for_what_is_slow(bringing: Bringing, tmp_path: Path) -> None:
    bringing.store.slow.add(2)
    bringing.give("a.bin", "slow.bin")
    bringing.until(lambda: bringing.told == {1: "sent"})
    assert files(tmp_path) == ["a.bin"]
    bringing.store.slow.clear()
    bringing.until(lambda: bringing.told == {1: "sent", 2: "sent"})


def test_a_directory_that_is_another_one_by_now_gets_the_files(bringing: Bringing, tmp_path: Path) -> None:
    bringing.bring("folder/a.bin")
    (tmp_path / "folder").rename(tmp_path / "former")
    (tmp_path / "folder").mkdir()
    bringing.bring("folder/b.bin")
    assert files(tmp_path) == ["folder/b.bin", "former/a.bin"]


def test_what_cannot_be_written_is_left_to_the_task(
    bringing: Bringing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing.fetcher._place, "write", Mock(side_effect=OutOfSpace("The disk is full.")))
    bringing.bring("a.bin")
    assert bringing.told == {1: "refused"}
    assert bringing.fetcher.is_idle
    assert files(tmp_path) == []


def test_a_name_behind_a_link_is_left_to_the_task_and_not_asked_for(bringing: Bringing, tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path)
    bringing.bring("folder/a.bin")
    assert bringing.told == {1: "refused"}
    assert bringing.store.count == 0


def test_as_much_of_an_answer_is_taken_as_the_archive_has(bringing: Bringing) -> None:
    """Without that, files longer than an error's few words would be asked for twice."""
    bringing.bring("a.bin")
    bringing.fetcher._requests.make.assert_called_once_with("key", most=len(DATA))  # type: ignore[attr-defined]


def test_a_leave_that_is_over_is_asked_for_again_and_an_older_one_takes_none_away(
    bringing: Bringing, tmp_path: Path
) -> None:
    old = clock() - LEAVE_SECONDS - 1
    for time_of_asking in (1, 2):
        bringing.give("a.bin", left_at=old)
        bringing.until(lambda: bringing.asked == time_of_asking)  # noqa: B023
        assert files(tmp_path) == []
        bringing.fetcher.take(("leave", old))
        bringing.fetcher.turn()
    bringing.fetcher.take(("leave", clock()))
    bringing.give("b.bin", left_at=old, first=2)
    bringing.until(lambda: bringing.told.get(2) == "sent")
    assert [path.name for path in tmp_path.iterdir() if path.name != TEMPORARY] == ["a.bin", "b.bin"]


def test_a_leave_of_a_time_to_come_is_none(bringing: Bringing, tmp_path: Path) -> None:
    bringing.give("a.bin", left_at=clock() + 3600)
    bringing.until(lambda: bringing.asked)
    assert files(tmp_path) == []


def test_no_more_bytes_are_on_their_way_than_memory_is_for(bringing: Bringing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BYTES_ON_THE_WAY", 2 * len(DATA))
    names = [f"{number}.bin" for number in range(9)]
    bringing.store.slow.update(range(1, 10))
    bringing.give(*names)
    for _ in range(3):
        bringing.fetcher.turn()
    assert len(bringing.store.asked) == 2
    bringing.store.slow.clear()
    bringing.until(lambda: len(bringing.told) == len(names))


def test_what_follows_new_credentials_is_signed_with_them(bringing: Bringing) -> None:
    made = worker.Requests
    assert isinstance(made, Mock)
    bringing.fetcher.take(("shape", (), ("another key", "another secret", "a token")))
    assert made.call_args.args[1] == Credentials("another key", "another secret", "a token")
    bringing.bring("a.bin")
    assert bringing.fetcher._requests is made.return_value


def test_what_is_asked_for_is_signed_with_what_is_sent(bringing: Bringing) -> None:
    body, told = b"<RestoreRequest/>", list[Any]()
    asker = Asker(body, (), KEY, told.extend)
    asker.take(("send", 1, [(7, "key")], clock()))
    asker.turn()
    asker._requests.make.assert_called_once_with(  # type: ignore[attr-defined]
        "key", query=[("restore", "")], body=body, payload=hashlib.sha256(body).hexdigest()
    )
