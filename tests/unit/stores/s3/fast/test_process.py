"""What counts as proof that a store has a file, and what the two sides say to each other."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from glacier_provider.errors import FileChanged
from glacier_provider.files import Root
from glacier_provider.stores.s3.fast.process import ProcessSetup, _is_proof, _Sent, contents_of, read_frame, write_frame
from glacier_provider.stores.s3.fast.sender import Reply

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
