"""What a database holds, as text and as hashes, and what tells one from another."""

from __future__ import annotations

import difflib
import re
import subprocess
from dataclasses import dataclass

import psycopg

from glacier_provider.postgres import Server, Tools
from glacier_provider.postgres.tools.run import child_environment

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1"""
_HASH = "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"), '')) FROM {} t"
_LARGE_OBJECTS = (
    "SELECT md5(coalesce(string_agg(oid::text || md5(lo_get(oid)), ' ' ORDER BY oid), '')) FROM pg_largeobject_metadata"
)


@dataclass(frozen=True)
class Holding:
    """The definitions of a database, as pg_dump writes them, and a hash of each table's rows (or why there is none)."""

    definitions: str
    rows: dict[str, str]

    def differences(self, other: Holding, most: int = 20) -> list[str]:
        """Return lines that tell what `other` has otherwise; empty when it holds the same."""
        mine, theirs = self.definitions.splitlines(), other.definitions.splitlines()
        changed = [
            line for line in difflib.unified_diff(mine, theirs, lineterm="", n=1) if line[:3] not in ("---", "+++")
        ]
        if changed and sorted(mine) == sorted(theirs):
            changed = []  # the order of what does not depend on each other is by their numbers
        lines = [f"definitions: {len(changed)} lines", *changed[:most]] if changed else []
        names = sorted(self.rows.keys() | other.rows.keys())
        otherwise = [name for name in names if self.rows.get(name) != other.rows.get(name)]
        lines += [f"rows of {name}: {self.rows.get(name)} is {other.rows.get(name)}" for name in otherwise[:most]]
        return [*lines, f"and rows of {len(otherwise) - most} more"] if len(otherwise) > most else lines


def holding(server: Server, tools: Tools) -> Holding:
    """Read all of a database."""
    argv = [tools.path("pg_dump"), "--no-password", "--schema-only"]
    done = subprocess.run(argv, env=child_environment(server), capture_output=True, check=True)
    text = re.sub(r"^\\(un)?restrict .*\n|^-- Name: .*\n|^--\n|^\n", "", done.stdout.decode(), flags=re.MULTILINE)
    with server.connect(autocommit=True) as connection:
        connection.execute("SET row_security = off; SET search_path = ''; SET extra_float_digits = 3")
        tables = [str(name) for (name,) in connection.execute(_TABLES.encode()).fetchall()]
        rows = {name: _hash(connection, _HASH.format(name)) for name in tables}
        rows["large objects"] = _hash(connection, _LARGE_OBJECTS)
    return Holding(text, rows)


def _hash(connection: psycopg.Connection[tuple[object, ...]], query: str) -> str:
    try:
        row = connection.execute(query.encode()).fetchone()
        return str(row[0]) if row else ""
    except psycopg.Error as error:
        return str(error).splitlines()[0]
