"""Reading the SQL that pg_dump writes: just enough to take names out of it exactly. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from glacier_provider.postgres.tools.sql import quoted

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<string>'(?:[^']|'')*' | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a quoted identifier, a string or a single character; `name` is the identifier that it stands for."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else self.text

    @property
    def is_name(self) -> bool:
        return self.kind in ("word", "quoted")

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.upper() in words


def tokens(sql: str) -> list[Token]:
    """Split SQL into tokens, without white space and comments."""
    found = _TOKEN.finditer(sql)
    return [Token(str(each.lastgroup), each.group()) for each in found if each.lastgroup != "space"]


def altered_table(sql: str) -> tuple[str, str] | None:
    """Return (schema, name) of ``ALTER [FOREIGN] TABLE [ONLY] schema.name ...``; None when it is another statement."""
    parts = tokens(sql)
    if not parts or not parts[0].is_word("ALTER"):
        return None
    at = 2 if len(parts) > 1 and parts[1].is_word("FOREIGN") else 1
    if len(parts) <= at or not parts[at].is_word("TABLE"):
        return None
    only = len(parts) > at + 1 and parts[at + 1].is_word("ONLY")
    return _qualified(parts, at + 2 if only else at + 1)


def qualified_names(sql: str) -> Iterator[tuple[str, str]]:
    """Yield each (schema, name) that a statement names; of a column's ``table.column`` the same.

    Also what is named in a string: a default counts by ``nextval('schema.sequence'::regclass)``.
    """
    parts = tokens(sql)
    for index, token in enumerate(parts):
        if (found := _qualified(parts, index)) and token.is_name:
            yield found
        elif token.kind == "string" and _is_cast_to(parts, index, "regclass"):
            named = _qualified(tokens(token.text[1:-1].replace("''", "'")), 0)
            if named is not None:
                yield named


def _is_cast_to(parts: list[Token], index: int, name: str) -> bool:
    after = [part.text for part in parts[index + 1 : index + 4]]
    return after == [":", ":", name]


def referenced_table(sql: str) -> tuple[str, str] | None:
    """Return (schema, name) of the table that a foreign key definition references."""
    parts = tokens(sql)
    for index, token in enumerate(parts):
        if token.is_word("REFERENCES"):
            return _qualified(parts, index + 1)
    return None


def type_of_table(sql: str) -> tuple[str, str] | None:
    """Return (schema, name) of the type of ``CREATE TABLE schema.name OF schema.name``; None of any other table."""
    for index, token in enumerate(parts := tokens(sql)):
        if token.is_word("OF") and (found := _qualified(parts, index + 1)):
            return found
        if token.text == "(":
            break
    return None


def wrapper_of_server(sql: str) -> str:
    """Return the name of the foreign-data wrapper of ``CREATE SERVER ... FOREIGN DATA WRAPPER name``."""
    parts = tokens(sql)
    for index, token in enumerate(parts[:-3]):  # a server may be called wrapper
        if token.is_word("FOREIGN") and parts[index + 1].is_word("DATA") and parts[index + 2].is_word("WRAPPER"):
            return parts[index + 3].name
    return ""


_COPIED = re.compile(r'\ACOPY ((?:"(?:[^"]|"")+"|[^\s".(]+)\.(?:"(?:[^"]|"")+"|[^\s".(]+))')


def copied_table(sql: str) -> tuple[str, str] | None:
    """Return (schema, name) of what ``COPY schema.name (columns) FROM stdin`` fills, None of anything else."""
    found = _COPIED.match(sql)
    return _qualified(tokens(found[1]), 0) if found else None


def copy_into(sql: str, table: tuple[str, str]) -> str:
    """Return a COPY statement that fills this table instead.

    >>> copy_into('COPY public."a b" (n) FROM stdin;', ("public", "other"))
    'COPY "public"."other" (n) FROM stdin;'
    """
    return _COPIED.sub(lambda _: f"COPY {quoted(table[0])}.{quoted(table[1])}", sql, count=1)


def attached_partition(sql: str) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Return the partitioned table and its partition of ``ALTER TABLE ... ATTACH PARTITION``, each (schema, name)."""
    parts = tokens(sql)
    for index, token in enumerate(parts[:-1]):
        if token.is_word("ATTACH") and parts[index + 1].is_word("PARTITION"):
            before = (_qualified(parts, at) for at in range(index - 1, -1, -1))
            parent, partition = next(filter(None, before), None), _qualified(parts, index + 2)
            return (parent, partition) if parent and partition else None
    return None


def mentions_on(sql: str, table: tuple[str, str]) -> bool:
    """Tell whether the statement says ``ON [ONLY] schema.name`` or ``TO schema.name`` (an index, trigger, rule...)."""
    parts = tokens(sql)
    for index, token in enumerate(parts):
        if token.is_word("ON", "TO", "FROM"):
            at = index + 2 if len(parts) > index + 1 and parts[index + 1].is_word("ONLY") else index + 1
            if _qualified(parts, at) == table:
                return True
    return False


def trigger_condition(sql: str) -> str | None:
    """Return what stands between the brackets of WHEN in a CREATE TRIGGER, as it is written; None when nothing does."""
    depth, begin, is_next = 0, 0, False
    for found in _TOKEN.finditer(sql):
        text = found.group()
        if depth == 0:
            if found.lastgroup == "space":
                continue
            if is_next and text == "(":
                depth, begin = 1, found.end()
            is_next = found.lastgroup == "word" and text.upper() == "WHEN"
        elif found.lastgroup == "other" and text in "()":
            depth += 1 if text == "(" else -1
            if depth == 0:
                return sql[begin : found.start()]
    return None


def attributes_of_a_routine(parts: Iterable[Token]) -> Iterator[Token]:
    """Yield the tokens from LANGUAGE up to the body of a routine: its arguments and its text may say the same words."""
    depth, begun = 0, False
    for token in parts:
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "other" else 0
        if begun and token.is_word("AS", "BEGIN", "RETURN"):
            return
        begun = begun or (depth == 0 and token.is_word("LANGUAGE"))
        if begun:
            yield token


def granted_roles(sql: str) -> frozenset[str]:
    """Return the roles that the GRANT, REVOKE and ALTER DEFAULT PRIVILEGES statements of an ACL name."""
    return frozenset(role for statement in statements(sql) for role in _roles_of_grant(statement))


def revoked_from(sql: str) -> frozenset[str]:
    """Return the roles from which the REVOKE statements of an ACL take something."""
    found = (statement for statement in statements(sql) if statement and statement[0].is_word("REVOKE"))
    return frozenset(role for statement in found for role in _roles_of_grant(statement))


def policy_roles(sql: str) -> frozenset[str]:
    """Return the roles of ``CREATE POLICY ... TO role, ... [USING | WITH CHECK]``."""
    parts = tokens(sql)
    for index, token in enumerate(parts):
        if token.is_word("USING", "WITH"):
            break
        if token.is_word("TO"):
            return frozenset(_name_list(parts, index + 1))
    return frozenset()


def mapped_roles(sql: str) -> frozenset[str]:
    """Return the role of ``CREATE USER MAPPING FOR role SERVER ...``, none for PUBLIC."""
    parts = tokens(sql)
    after = next((index + 1 for index, token in enumerate(parts) if token.is_word("FOR")), len(parts))
    return frozenset(_name_list(parts, after))


def _roles_of_grant(parts: list[Token]) -> Iterator[str]:
    for index, token in enumerate(parts):
        acting = token.is_word("ROLE", "USER", "AUTHORIZATION") and _follows(parts, index, ("FOR", "SESSION"))
        if acting or token.is_word("TO", "FROM"):
            yield from _name_list(parts, index + 1)


def _follows(parts: list[Token], index: int, words: tuple[str, ...]) -> bool:
    return index > 0 and parts[index - 1].is_word(*words)


def _name_list(parts: list[Token], at: int) -> Iterator[str]:
    """Yield the names of a comma-separated list; PUBLIC and the keywords for the user itself are no roles."""
    while at < len(parts) and parts[at].is_name:
        if not parts[at].is_word("PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE", "DEFAULT"):
            yield parts[at].name
        if at + 1 >= len(parts) or parts[at + 1].text != ",":
            return
        at += 2


def statements(sql: str) -> Iterator[list[Token]]:
    """Yield the tokens of each statement, the last of which may be empty."""
    statement: list[Token] = []
    for token in tokens(sql):
        if token.text == ";" and token.kind == "other":
            yield statement
            statement = []
        else:
            statement.append(token)
    yield statement


def split_statements(sql: str) -> Iterator[tuple[str, list[Token]]]:
    """Yield each statement as it is written, with its tokens."""
    text = ""
    parts: list[Token] = []
    for found in _TOKEN.finditer(sql):
        text += found.group()
        token = Token(str(found.lastgroup), found.group())
        if token.text == ";" and token.kind == "other":
            yield text, parts
            text, parts = "", []
        elif token.kind != "space":
            parts.append(token)
    if parts:
        yield text, parts


def _qualified(parts: list[Token], at: int) -> tuple[str, str] | None:
    if len(parts) < at + 3 or parts[at + 1].text != "." or not (parts[at].is_name and parts[at + 2].is_name):
        return None
    return (parts[at].name, parts[at + 2].name)
