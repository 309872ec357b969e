"""Text of a database without an encoding, as psycopg hands it out and takes it; imported where there is one."""

from __future__ import annotations

from typing import Any

from psycopg import postgres
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format
from psycopg.types.string import StrBinaryDumper, StrDumperUnknown

_HANDLER = "surrogateescape"


class _Text(Loader):
    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", _HANDLER)


class _BinaryText(_Text):
    format = Format.BINARY


class _TextParameter(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        super().dump("\0" if "\0" in obj else "")  # which refuses what no text can hold
        return obj.encode("utf-8", _HANDLER)


class _BinaryTextParameter(StrBinaryDumper):
    def dump(self, obj: str) -> Buffer | None:
        return obj.encode("utf-8", _HANDLER)


def escape_bytes(connection: Any) -> None:
    """Have text of a connection without an encoding as `str`; what is no UTF-8 in it as lone surrogates."""
    for name in ("text", "varchar", "bpchar", "name", '"char"'):
        oid = postgres.types[name].oid
        for loader in (_Text, _BinaryText):
            connection.adapters.register_loader(oid, loader)
    connection.adapters.register_loader(0, _Text)  # a type that psycopg does not know
    for dumper in (_BinaryTextParameter, _TextParameter):
        connection.adapters.register_dumper(str, dumper)
