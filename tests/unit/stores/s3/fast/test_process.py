"""What counts as proof that a store has a file, and what the two sides say to each other."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from glacier_provider.errors import FileChanged
from glacier_provider.files import Root
from glacier_provider.stores.s3.fast import worker
from glacier_provider.stores.s3.fast.process import (
    ProcessSetup,
    Uploader,
    _is_proof,
    _Sent,
    contents_of,
)
from glacier_provider.stores.s3.fast.requests import Requests
from glacier_provider.stores.s3.fast.sender import Reply
from glacier_provider.stores.s3.fast.shapes import Credentials, Shape
from glacier_provider.stores.s3.fast.worker import read_frame, write_frame

DATA = b"the bytes"
SHA256 = hashlib.sha256(DATA)
RIGHT = base64.b64encode(SHA256.digest()).decode()
WRONG = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("head", "proof"),
    [
        (f"x-amz-checksum-sha256: {RIGHT}", True),
        (f"X-Amz-Checksum-SHA256:{RIGHT} ", True),
        (f"x-amz-checksum-sha256: {WRONG}", False),
        (f'ETag: "{MD5}"\r\nx-amz-checksum-sha256: {WRONG}', False),
        (f'ETag: "{MD5}"', True),
        (f'ETag: "{"0" * 32}"', False),
        (f'ETag: "{MD5}-1"', False),
        ("x-amz-request-id: 1", False),
    ],
)
def test_a_file_is_stored_when_the_reply_shows_its_bytes(head: str, proof: bool) -> None:
    file = _Sent(1, "key", DATA, SHA256.hexdigest(), RIGHT)
    assert _is_proof(Reply(200, f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode(), []), file) is proof


class _Store:
    """Stands for `ManyAtOnce`: answers each request at once, all with this status and these headers."""

    def __init__(self, status: int, head: str) -> None:
        self.reply = Reply(status, f"HTTP/1.1 {status} OK\r\n{head}\r\n\r\n".encode(), [])
        self.asked: list[_Sent] = []

    def __call__(self, *_: Any, **__: Any) -> _Store:
        return self

    def __len__(self) -> int:
        return len(self.asked)

    def start(self, _request: Any, file: _Sent) -> None:
        self.asked.append(file)

    def answers(self, _patience: float) -> list[tuple[_Sent, Reply]]:
        asked, self.asked = self.asked, []
        return [(file, self.reply) for file in asked]


@pytest.mark.parametrize(
    ("status", "head", "word"),
    [
        (200, f"x-amz-checksum-sha256: {RIGHT}", "sent"),
        (200, f"x-amz-checksum-sha256: {WRONG}", "refused"),
        (200, "x-amz-request-id: 1", "refused"),
        (412, f"x-amz-checksum-sha256: {RIGHT}", "refused"),
        (503, "x-amz-request-id: 1", "throttled"),
    ],
)
def test_what_a_process_says_of_a_file_is_what_the_reply_proves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, head: str, word: str
) -> None:
    (tmp_path / "a.bin").write_bytes(DATA)
    monkeypatch.setattr(worker, "from_plain", lambda _shape: Mock(spec=Shape))
    monkeypatch.setattr(worker, "Requests", Mock(spec=Requests))
    monkeypatch.setattr(worker, "ManyAtOnce", _Store(status, head))
    told: list[Any] = []
    setup = ProcessSetup("dms", str(tmp_path), "", 0.0, 1000, 0.0)
    uploader = Uploader(setup, (), Credentials("key", "secret", None), told.extend)
    uploader.take(("send", 1, [(7, 1, "a.bin", None)], 0.0))
    uploader.turn()
    assert [answer[:2] for answer in told] == [(7, word)]


def test_a_file_that_changes_while_it_is_read_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"old bytes")
    setup = ProcessSetup("dms", str(tmp_path), "", 0.0, 1000, 0.0)
    pread = os.pread

    def and_then_it_changes(fd: int, size: int, start: int) -> bytes:
        data = pread(fd, size, start)
        file.write_bytes(b"new bytes")
        return data

    with Root(tmp_path) as root:
        assert contents_of(root, "a.bin", setup) == b"old bytes"
        monkeypatch.setattr(os, "pread", and_then_it_changes)
        with pytest.raises(FileChanged, match="changed while it was read"):
            contents_of(root, "a.bin", setup)


def test_messages_come_as_they_were_said() -> None:
    reading, writing = os.pipe()
    for message in [("send", 3, [(1, 2, "name \xe9")]), [], [(1, "sent", "key", 5, None)]]:
        write_frame(writing, message)
        assert read_frame(reading) == message
    os.write(writing, b"\x10\x00\x00\x00half")
    os.close(writing)
    with pytest.raises(EOFError):
        read_frame(reading)
    os.close(reading)
