"""The SQL script that pg_restore prints, made to run inside a transaction that is not its own. Pure.

``pg_restore --single-transaction --file=-`` writes ``BEGIN;`` into the head and ``COMMIT;`` near the end. Both are
taken out: whether to commit is decided when pg_restore has ended well, which is after its last byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from glacier_provider.postgres.restore.target import drop_statement
from glacier_provider.postgres.tools.sql import TableName, literal, quoted

HEAD_BYTES = 4096
TAIL_BYTES = 4096
COMMIT = "COMMIT;\n"  #: what psql runs after the whole script
_FIRST_ENTRY = re.compile(rb"^-- (Name|TOC entry|Data for Name|Dependencies)", re.MULTILINE)
_BEGIN = re.compile(rb"^BEGIN;\n", re.MULTILINE)
_TRANSACTION_TIMEOUT = re.compile(rb"^SET transaction_timeout = [^\n]*\n", re.MULTILINE)
_COMMIT = re.compile(rb"^COMMIT;\n((?:--[^\n]*\n|\n|\\unrestrict \w+\n)*)\Z", re.MULTILINE)


# A server process that works on a long statement looks whether its client is still there (servers since 14 can).
_NOTICE_THE_END = (
    "SELECT set_config(name, '2s', true) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval';"
)


class ScriptCut(ValueError):
    """The script does not end as pg_restore ends one."""


def without_transaction(chunks: Iterable[bytes], *, server_major: int) -> Iterator[bytes]:
    """Yield the script without its BEGIN and COMMIT, and without settings that a server before 17 does not know.

    Hold back the last bytes until the end is seen; raise ScriptCut when no COMMIT is there.
    """
    source = iter(chunks)
    held = _edited_head(_take(source, HEAD_BYTES), server_major)
    for chunk in source:
        held += chunk
        if len(held) > TAIL_BYTES:
            yield held[:-TAIL_BYTES]
            held = held[-TAIL_BYTES:]
    if not _COMMIT.search(held):
        raise ScriptCut("the script of pg_restore does not end with COMMIT")
    yield _COMMIT.sub(rb"\1", held)


def _take(source: Iterator[bytes], size: int) -> bytes:
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= size:
            break
    return head


def _edited_head(head: bytes, server_major: int) -> bytes:
    """Edit what stands before the first entry; the rest may hold anything, also these words."""
    first = _FIRST_ENTRY.search(head)
    end = first.start() if first else len(head)
    settings = _BEGIN.sub(b"", head[:end], count=1)
    if server_major < 17:
        settings = _TRANSACTION_TIMEOUT.sub(b"", settings)
    return settings + head[end:]


def preamble(
    *, selection: str, lock_timeout_seconds: float, schemas: Iterable[str], rows: Iterable[tuple[TableName, str]]
) -> str:
    """Return what psql runs before the script: begin, tell the transaction's id, drop what is replaced.

    `selection` is the value of glacier_provider.selection; `schemas` are created when they are missing; `rows` are
    tables of extensions whose rows the script brings, with the condition of these rows. The id is the only output.
    """
    statements = [
        "BEGIN;",
        "SET LOCAL client_min_messages = warning;",
        f"SET LOCAL lock_timeout = {round(lock_timeout_seconds * 1000)};",
        "SET LOCAL statement_timeout = 0;",
        "SET LOCAL idle_in_transaction_session_timeout = 0;",
        "SET LOCAL search_path = '';",
        "SELECT txid_current();",
        "\\o /dev/null",
        _NOTICE_THE_END,
        f"SELECT set_config('glacier_provider.selection', {literal(selection)}, true);",
        drop_statement(),
    ]
    statements += [f"CREATE SCHEMA IF NOT EXISTS {quoted(name)};" for name in schemas]
    statements += [f"DELETE FROM {quoted(table[0])}.{quoted(table[1])} {condition};" for table, condition in rows]
    return "\n".join(statements) + "\n"


def names(values: Iterable[str]) -> str:
    """Return names for a message: quoted, at most ten of them."""
    found = list(values)
    shown = ", ".join(json.dumps(name, ensure_ascii=False) for name in found[:10])
    return shown + (f" and {len(found) - 10} more" if len(found) > 10 else "")
