"""Messages between a task and its processes: plain values with their length in front.

Both sides are one interpreter of one version, started by the other: `marshal` is safe between them and the quickest.
"""

from __future__ import annotations

import marshal
import os
import struct
from typing import Any

_LENGTH = struct.Struct("=I")


def write_frame(fd: int, message: Any) -> None:
    """Write one message; raise BrokenPipeError when nobody listens any more."""
    data = marshal.dumps(message)
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while len(view):
        view = view[os.write(fd, view) :]


def read_frame(fd: int) -> Any:
    """Return the next message; raise EOFError when there is none and there will be none."""
    return marshal.loads(_read(fd, _LENGTH.unpack(_read(fd, _LENGTH.size))[0]))


def _read(fd: int, size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(fd, size)
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
