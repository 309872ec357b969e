"""What each session depends on, set when it begins: what was set for a role or a database changes nothing here.

Nothing of it travels in the startup packet, which poolers such as PgBouncer refuse: our own sessions set it by a
statement. The client programs can be told by PGOPTIONS alone, so they get only what really differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import psycopg

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

#: libpq's parameters that keep a connection alive that says nothing for hours, behind a NAT or a firewall.
KEEPALIVES: Mapping[str, str] = {"keepalives_idle": "60", "keepalives_interval": "15", "keepalives_count": "6"}

_NO_TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",  # since 14
    "transaction_timeout",  # since 17
)
#: What changes the meaning of statements or data; client programs depend on it as well.
_COMMON = {
    **dict.fromkeys(_NO_TIMEOUTS, "0"),
    "array_nulls": "on",
    "bytea_output": "hex",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "exit_on_error": "off",
    "lc_monetary": "C",  # by it money becomes text, and text money
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
}
#: What psycopg and our own statements depend on besides; client programs set it themselves.
_OURS = {
    "DateStyle": "ISO",  # psycopg reads no other; the order of day and month stays
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "gin_fuzzy_search_limit": "0",  # else a search finds a part of what there is
    "jit": "off",  # of a query over the catalogs nothing is known, it seems dear, and is compiled for seconds
    "TimeZone": "UTC",
    "row_security": "off",  # an error rather than fewer rows
    "standard_conforming_strings": "on",
    "xmlbinary": "base64",
    "xmloption": "content",
}
#: Encodings of a server whose bytes are taken as they are: it converts none of them to UTF-8.
_AS_BYTES = frozenset({"SQL_ASCII", "MULE_INTERNAL"})


#: Encodings in which some bytes are no character: a database takes them all the same, and in UTF-8 they are nothing.
_WITH_HOLES = frozenset({"WIN874", "WIN1250", "WIN1252", "WIN1253", "WIN1254", "WIN1255", "WIN1257", "WIN1258"})
_WITH_HOLES |= {"LATIN3", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8"}

# A path that names pg_catalog last lets other schemas replace its functions; one that does not name it, none.
_PATH = """
CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.~) 'pg_catalog' THEN
  pg_catalog.set_config('search_path', (
    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s), ', ')
      FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS s
     WHERE s OPERATOR(pg_catalog.<>) 'pg_catalog'), false)
END"""
_NO_PATH = "pg_catalog.set_config('search_path', '', false)"
# What the server was configured with is its owner's choice; a role must not lose what it was told to be safe.
_COMMIT = """
CASE WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' THEN (
  SELECT pg_catalog.set_config('synchronous_commit', 'on', false) FROM pg_catalog.pg_settings
   WHERE name OPERATOR(pg_catalog.=) 'synchronous_commit'
     AND source OPERATOR(pg_catalog.=) ANY ('{database,user,database user}'))
END"""
# Only a superuser may; where nothing is to be done, nothing is asked for.
_TRIGGERS_ON = b"""
SELECT pg_catalog.set_config('session_replication_role', 'origin', false)
 WHERE pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'origin'"""


def begin_session(connection: Connection, *, bare: bool = False) -> None:
    """Set what a session depends on, outside of any transaction; raise psycopg's errors.

    A `bare` session finds nothing but the server's own without a schema: whoever may create a function could plant one
    that fits our statements better than the server's (https://wiki.postgresql.org/wiki/A_Guide_to_CVE-2018-1058).
    Text comes as `str` from a database of any encoding; bytes that are no UTF-8, which only SQL_ASCII can hold, are
    escaped as Python does in file names (surrogateescape).
    """
    import psycopg

    encoding = client_encoding(connection)
    settings = {**_COMMON, **_OURS, "client_encoding": encoding}
    since = {"idle_session_timeout": 140000, "transaction_timeout": 170000}
    version = connection.info.server_version
    chosen = [(name, value) for name, value in settings.items() if version >= since.get(name, 0)]
    calls = ", ".join(f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in chosen)
    connection.execute(f"SELECT {calls}, {_NO_PATH if bare else _PATH}, {_COMMIT}".encode())
    with suppress(psycopg.errors.InsufficientPrivilege):  # it is the catalog that cannot do without its triggers
        connection.execute(_TRIGGERS_ON)
    if encoding == "SQL_ASCII":
        from glacier_provider.postgres.tools.text import escape_bytes

        escape_bytes(connection)


def client_encoding(connection: Connection) -> str:
    """Return the client encoding in which everything that the database holds can travel."""
    server = connection.info.parameter_status("server_encoding") or "UTF8"
    return "SQL_ASCII" if server in _AS_BYTES else "UTF8"


def encoding_of_dumps(connection: Connection) -> str:
    """Return the client encoding in which rows can be dumped whatever bytes they hold."""
    server = connection.info.parameter_status("server_encoding") or "UTF8"
    return server if server in _WITH_HOLES else client_encoding(connection)


# Most servers have another lc_monetary: they are told of ours only where there is money, since a pooler refuses it.
_DIFFERENT = """
SELECT s.name FROM pg_catalog.pg_settings s
  JOIN pg_catalog.json_each_text(%s::pg_catalog.json) AS wanted ON wanted.key = s.name
 WHERE s.reset_val <> wanted.value AND (s.name <> 'lc_monetary' OR EXISTS (
         SELECT FROM pg_catalog.pg_attribute WHERE atttypid = ANY ('{money,money[]}'::pg_catalog.regtype[]))
    OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typbasetype = ANY ('{money,money[]}'::pg_catalog.regtype[])))
 ORDER BY s.name"""

#: What text of money is written and read by, in dumps and restores.
FOR_MONEY: Mapping[str, str] = {"lc_monetary": _COMMON["lc_monetary"]}


def variables_for_tools(connection: Connection) -> Mapping[str, str]:
    """Return the environment in which a client program has such a session in the database of `connection`, too."""
    import json

    found = connection.execute(_DIFFERENT, (json.dumps(_COMMON),)).fetchall()
    variables = {"PGCLIENTENCODING": client_encoding(connection)}
    if found:
        variables["PGOPTIONS"] = options_of({name: _COMMON[name] for (name,) in found})
    return variables


def options_of(settings: Mapping[str, str]) -> str:
    """Return what PGOPTIONS takes for settings: a space parts, a backslash keeps the next character.

    >>> options_of({"app.name": "a b"})
    '-c app.name=a\\\\ b'
    """
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items())


def _escaped(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)
