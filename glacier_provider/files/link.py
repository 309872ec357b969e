"""Giving a finished file its name: at once, and never over another file."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Any

_RENAME_NOREPLACE = 1
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def rename_new(source: bytes, source_dir: int, target: bytes, target_dir: int) -> None:
    """Rename a file within two open directories of one file system; raise FileExistsError when `target` is taken.

    One system call (``renameat2`` with ``RENAME_NOREPLACE``) where the file system has it; else a hard link and the
    removal of the old name, which a crash between the two leaves as two names of one file; else, where there are no
    hard links either (FAT, some network file systems), a look and a rename.
    """
    try:
        _rename_noreplace(source, source_dir, target, target_dir)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
        _rename_by_link(source, source_dir, target, target_dir)


def _rename_noreplace(source: bytes, source_dir: int, target: bytes, target_dir: int) -> None:
    function = _renameat2()
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if function(source_dir, source, target_dir, target, _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@cache
def _renameat2() -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc 2.28, musl 1.2.4
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
    return function


def _rename_by_link(source: bytes, source_dir: int, target: bytes, target_dir: int) -> None:
    try:
        os.link(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
        _rename_by_looking(source, source_dir, target, target_dir)
    else:
        os.unlink(source, dir_fd=source_dir)


def _rename_by_looking(source: bytes, source_dir: int, target: bytes, target_dir: int) -> None:
    try:
        os.stat(target, dir_fd=target_dir, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
