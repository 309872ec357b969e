"""What belongs to a database and is not in it: settings, privileges, comment, connection limit.

A dump has them (DATABASE PROPERTIES and what annotates the database), and pg_restore passes them over unless it makes
the database itself. They are read out of its statements and said anew, for a database of any name; nothing of a dump
is executed as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.postgres.dump.disk import table_of_contents
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore.definitions import Token, statements
from glacier_provider.postgres.restore.roles import of_the_database
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a database: `key` tells what it is, so that two databases can be compared; SQL that sets it.

    `shown` is the same for a person: the values of an application's own settings may be secrets.
    """

    key: tuple[str, ...]
    statement: str
    shown: str


# --- from one database of a server to another ----------------------------------------------------------------------

_SETTINGS = """
SELECT coalesce(r.rolname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
  FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS c
 WHERE d.datname = %s"""
_OURS = " AND (s.setrole = 0 OR r.rolname = session_user) ORDER BY s.setrole"  # those of the role prevail
_PRIVILEGES = """
SELECT coalesce(g.rolname, ''), a.privilege_type, a.is_grantable
  FROM pg_catalog.pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
 WHERE d.datname = %s AND d.datacl IS NOT NULL AND a.grantee <> d.datdba"""
#: Settings that are lists of names, each quoted by itself (GUC_LIST_QUOTE).
_LISTS = {"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries"}
_LISTS |= {"temp_tablespaces", "unix_socket_directories"}
_RESTRICTED = "SELECT datacl IS NOT NULL FROM pg_catalog.pg_database WHERE datname = %s"


def copy_properties(connection: Connection, source: str, target: str) -> tuple[str, ...]:
    """Give `target` the settings and privileges of `source`; return what could not be.

    They belong to the cluster of today, not to the dump: what was granted since the backup stays granted.
    """
    name = quoted(target)
    restricted = connection.execute(_RESTRICTED, (source,)).fetchone()
    if restricted and restricted[0]:
        # Not among those that may be refused: the new database must not be more open than the old one.
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC".encode())
    statements = []
    for grantee, privilege, grantable in connection.execute(_PRIVILEGES, (source,)).fetchall():
        whom = quoted(grantee) if grantee else "PUBLIC"
        statements.append(f"GRANT {privilege} ON DATABASE {name} TO {whom}" + " WITH GRANT OPTION" * bool(grantable))
    refused = [_attempt(connection, [statement], statement) for statement in statements]
    return (*(reason for reason in refused if reason), *copy_settings(connection, source, target))


def copy_settings(connection: Connection, source: str, target: str) -> tuple[str, ...]:
    """Give `target` the settings of `source`, and none besides; return what could not be set.

    What is made in a database may ask for them: a generated column, a materialized view.
    """
    wanted = connection.execute(_SETTINGS, (source,)).fetchall()
    there = connection.execute(_SETTINGS, (target,)).fetchall()
    for role, setting in {each[:2] for each in there} - {each[:2] for each in wanted}:
        reset = f"{_whose(role, target)} RESET {_setting(setting)}"
        _attempt(connection, [reset], reset)
    refused = []
    for role, setting, value in wanted:
        beginning = f"{_whose(role, target)} SET {_setting(setting)}"
        if setting.lower() in _LISTS:  # FROM CURRENT, since it cannot be written down as one text
            chosen = f"SELECT set_config({literal(setting)}, {literal(value)}, true)"
            statements = [chosen, f"{beginning} FROM CURRENT"]
        else:  # as it was written, where the session would say it in other words
            statements = [f"{beginning} TO {literal(value)}"]
        refused.append(_attempt(connection, statements, f"{beginning} TO {_shown_value(setting, value)}"))
    return tuple(reason for reason in refused if reason)


def own_settings(connection: Connection, database: str) -> dict[str, str]:
    """Return the settings of an application's own that a session of this user has in a database.

    To set them for another database takes a superuser, or GRANT SET ON PARAMETER; for a session, nothing.
    """
    found = connection.execute(_SETTINGS + _OURS, (database,)).fetchall()
    return {setting: value for _, setting, value in found if "." in setting}


# --- from a dump to a database -------------------------------------------------------------------------------------

_THERE = """
SELECT 'limit', '', '' FROM pg_catalog.pg_database WHERE datname = %(name)s AND datconnlimit <> -1
UNION ALL
SELECT 'template', '', '' FROM pg_catalog.pg_database WHERE datname = %(name)s AND datistemplate
UNION ALL
SELECT 'privileges', '', '' FROM pg_catalog.pg_database WHERE datname = %(name)s AND datacl IS NOT NULL
UNION ALL
SELECT 'comment', '', '' FROM pg_catalog.pg_database
 WHERE datname = %(name)s AND shobj_description(oid, 'pg_database') IS NOT NULL
UNION ALL
SELECT 'label', l.provider, '' FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d
    ON l.classoid = 'pg_catalog.pg_database'::regclass AND l.objoid = d.oid WHERE d.datname = %(name)s
UNION ALL
SELECT 'setting', coalesce(r.rolname, ''), split_part(c, '=', 1)
  FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS c WHERE d.datname = %(name)s"""


def restore_properties(
    server: Server, dump: Path, options: PgRestoreOptions, *, replace: bool, settings_alone: bool = False
) -> tuple[str, ...]:
    """Give the database what the dumped one had: what it has none of, or, `replace`, all. Return what could not be."""
    properties = dumped_properties(table_of_contents(dump).entries, server.dbname, options)
    properties = tuple(one for one in properties if not settings_alone or one.key[0] == "setting")
    with (
        server.connect(autocommit=True, bare=True) as connection,
        database_errors(server, "setting what belongs to the database"),
    ):
        there = {tuple(row) for row in connection.execute(_THERE, {"name": server.dbname}).fetchall()}
        chosen = [one for one in properties if replace or _padded(one.key) not in there]
        return tuple(reason for one in chosen if (reason := _attempt(connection, [one.statement], one.shown)))


def _padded(key: tuple[str, ...]) -> tuple[str, ...]:
    return (*key, "", "")[:3]


def dumped_properties(entries: Iterable[TocEntry], database: str, options: PgRestoreOptions) -> tuple[Property, ...]:
    """Return the properties of the database that was dumped, as statements for `database`."""
    found: list[Property] = []
    for entry in filter(of_the_database, entries):
        if entry.desc == "ACL" and options.privileges is Keep.DROP:
            continue
        for parts in statements(entry.definition):
            found += filter(None, (reader(parts, database) for reader in _READERS))
    return tuple(found)


def _altered(parts: Sequence[Token], database: str) -> Property | None:
    """``ALTER DATABASE x SET name TO 'value', …`` and ``ALTER DATABASE x {CONNECTION LIMIT | IS_TEMPLATE} = y``."""
    if not _begins(parts, "ALTER", "DATABASE") or len(parts) < 5:
        return None
    rest = parts[3:]
    if rest[0].is_word("SET"):
        return _set(rest, "", database)
    number = "".join(token.text for token in rest if token.text.isdigit())
    if rest[0].is_word("CONNECTION") and rest[1].is_word("LIMIT") and number:
        return _property(("limit",), f"ALTER DATABASE {quoted(database)} CONNECTION LIMIT {int(number)}")
    if rest[0].is_word("IS_TEMPLATE") and rest[-1].is_word("TRUE"):
        return _property(("template",), f"ALTER DATABASE {quoted(database)} IS_TEMPLATE true")
    return None


def _role_altered(parts: Sequence[Token], database: str) -> Property | None:
    """``ALTER ROLE r IN DATABASE x SET name TO 'value', …``."""
    if not _begins(parts, "ALTER", "ROLE") or len(parts) < 8 or not parts[3].is_word("IN"):
        return None
    return _set(parts[6:], parts[2].name, database)


def _set(parts: Sequence[Token], role: str, database: str) -> Property | None:
    at = next((index for index, token in enumerate(parts) if token.is_word("TO") or token.text == "="), 0)
    names = [name for token in parts[1:at] if token.is_name for name in token.name.split(".")]
    values = [literal(value) for value in _strings(parts[at + 1 :])]
    if not names or not values:
        return None
    beginning = f"{_whose(role, database)} SET {'.'.join(map(quoted, names))} TO "
    setting, value = ".".join(names), ", ".join(values)
    return Property(("setting", role, setting), beginning + value, beginning + _shown_value(setting, value))


_PRIVILEGE_WORDS = frozenset({"ALL", "CREATE", "CONNECT", "TEMPORARY", "TEMP"})


def _granted(parts: Sequence[Token], database: str) -> Property | None:
    """``GRANT … ON DATABASE x TO y [WITH GRANT OPTION]`` and ``REVOKE … ON DATABASE x FROM y``."""
    if not parts or not parts[0].is_word("GRANT", "REVOKE"):
        return None
    grants = parts[0].is_word("GRANT")
    words = [token.text.upper() for token in parts if token.kind == "word"]
    privileges = [word for word in words[1 : words.index("ON")] if word in _PRIVILEGE_WORDS] if "ON" in words else []
    at = next((index for index, token in enumerate(parts) if token.is_word("TO" if grants else "FROM")), 0)
    if not privileges or not 0 < at < len(parts) - 1:
        return None
    whom = "PUBLIC" if parts[at + 1].is_word("PUBLIC") else quoted(parts[at + 1].name)
    statement = f"{words[0]} {', '.join(privileges)} ON DATABASE {quoted(database)} {'TO' if grants else 'FROM'} {whom}"
    with_option = grants and any(token.is_word("OPTION") for token in parts[at + 2 :])
    return _property(("privileges",), statement + " WITH GRANT OPTION" * with_option)


def _commented(parts: Sequence[Token], database: str) -> Property | None:
    """``COMMENT ON DATABASE x IS '…'``."""
    texts = _strings(parts)
    if not _begins(parts, "COMMENT", "ON", "DATABASE") or not texts:
        return None
    return _property(("comment",), f"COMMENT ON DATABASE {quoted(database)} IS {literal(texts[-1])}")


def _labelled(parts: Sequence[Token], database: str) -> Property | None:
    """``SECURITY LABEL FOR provider ON DATABASE x IS '…'``."""
    texts = _strings(parts)
    if not _begins(parts, "SECURITY", "LABEL", "FOR") or len(parts) < 8 or not texts:
        return None
    provider = parts[3].name
    statement = f"SECURITY LABEL FOR {quoted(provider)} ON DATABASE {quoted(database)} IS {literal(texts[-1])}"
    return _property(("label", provider), statement)


_READERS = (_altered, _role_altered, _granted, _commented, _labelled)


def _property(key: tuple[str, ...], statement: str) -> Property:
    return Property(key, statement, statement)


def _begins(parts: Sequence[Token], *words: str) -> bool:
    return len(parts) > len(words) and all(token.is_word(word) for token, word in zip(parts, words, strict=False))


def _strings(parts: Sequence[Token]) -> list[str]:
    """Return the values of the string constants; pg_dump doubles quotes, and backslashes behind an E."""
    return list(_values(parts))


def _values(parts: Sequence[Token]) -> Iterator[str]:
    for index, token in enumerate(parts):
        if token.kind == "string":
            text = token.text[1:-1].replace("''", "'")
            yield text.replace("\\\\", "\\") if index and parts[index - 1].is_word("E") else text


# --- shared ----------------------------------------------------------------------------------------------------------


def _whose(role: str, database: str) -> str:
    return f"ALTER ROLE {quoted(role)} IN DATABASE {quoted(database)}" if role else f"ALTER DATABASE {quoted(database)}"


def _shown_value(setting: str, value: str) -> str:
    """Return a value for people to read: those of an application's own settings may be secrets."""
    return "***" if "." in setting else value


def _setting(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


def _attempt(connection: Connection, statements: Sequence[str], shown: str) -> str:
    """Run statements in one transaction; return the server's refusal, or nothing."""
    import psycopg

    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement.encode())
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        said = str(error).strip().splitlines()[0]
        return f"Not carried over to the restored database: {shown}; ({said})"
    return ""


# --- a database that somebody has just made ------------------------------------------------------------------------

_FIRST_OF_USERS = 16384  # FirstNormalObjectId
_FRESH = """
WITH ours AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s), made AS (
SELECT 'pg_class'::regclass AS class, oid, relnamespace AS schema FROM pg_catalog.pg_class WHERE relpersistence <> 't'
UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_catalog.pg_proc
UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_catalog.pg_type
UNION ALL SELECT 'pg_namespace'::regclass, oid, oid FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'pg_largeobject_metadata'::regclass, oid, 0 FROM pg_catalog.pg_largeobject_metadata)
SELECT NOT EXISTS (
  SELECT FROM made JOIN pg_catalog.pg_namespace n ON n.oid = made.schema
   WHERE made.oid >= %(first)s AND made.schema NOT IN (SELECT oid FROM ours) AND n.nspname !~ '^pg_(toast|temp)'
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = made.class AND d.objid = made.oid AND d.deptype IN ('e', 'i')))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)"""


def is_fresh(server: Server, *, catalog_schema: str) -> bool:
    """Tell whether nothing was made in this database yet, but for extensions and our catalog."""
    with (
        server.connect(autocommit=True, bare=True) as connection,
        database_errors(server, "looking whether it is empty"),
    ):
        row = connection.execute(_FRESH, {"schema": catalog_schema, "first": _FIRST_OF_USERS}).fetchone()
    return bool(row and row[0])
