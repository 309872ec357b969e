"""What a schema without rows never runs, tried on a few living rows: read-only, under the empty search_path of a dump.

Generated columns, checks of tables and domains (in whatever types these are), indexes and partition keys by expression,
the queries of materialized views: a restore runs them over its rows, and fails with them. So it does with a regclass
that names an index, which is made after the rows. Conditions of triggers: a restore runs none, and whoever changes rows
later under such a search_path does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from glacier_provider.core.sqlstate import Meaning, meaning_of
from glacier_provider.postgres.restore.definitions import trigger_condition
from glacier_provider.postgres.restore.outcome import FailedStatement
from glacier_provider.postgres.restore.session import Refused, RestoringSession
from glacier_provider.postgres.restore.target import named_queries
from glacier_provider.postgres.tools.server import Server, database_errors, error_of
from glacier_provider.postgres.tools.sql import joined_by_hashes, quoted

_ROWS_LOOKED_AT = 5
_SECONDS = 5
_SECONDS_OF_A_VIEW = 1  # it may read everything before it has a row
#: What says nothing of an expression: it is not ours to read, or it writes, which is not tried.
_SAYS_NOTHING = {Meaning.DENIED, Meaning.MEMORY, Meaning.DISK, Meaning.READ_ONLY}


@dataclass(frozen=True, slots=True)
class Expressions:
    """How many were tried; what a restore would fail with; and conditions of triggers that need a search_path."""

    count: int
    failed: tuple[FailedStatement, ...]
    conditions: tuple[FailedStatement, ...]


@dataclass(frozen=True, slots=True)
class _Expression:
    schema: str
    table: str
    what: str
    sql: str
    how: str

    @property
    def about(self) -> str:
        return f"{self.what}{' ' if self.how == 'rows' else ' of '}{self.schema}.{self.table}"

    @property
    def must_hold(self) -> bool:
        return self.how == "holds"

    def query(self) -> str:
        """Return SQL that evaluates it on a few rows, and gives one value."""
        table = f"{quoted(self.schema)}.{quoted(self.table)}"
        if self.how == "rows":
            few = f"(SELECT * FROM ({self.sql.rstrip().rstrip(';')}) AS q LIMIT {_ROWS_LOOKED_AT}) AS r"
            return f"SELECT pg_catalog.count(r::text) FROM {few}"
        if self.how == "once":
            return f"SELECT ({trigger_condition(self.sql)})::text"
        if self.how == "rows of a trigger":  # old and new have to be of the table's own type
            chosen = f"old.ctid = ANY (ARRAY(SELECT ctid FROM ONLY {table} LIMIT {_ROWS_LOOKED_AT}))"
            few = f"ONLY {table} AS old, ONLY {table} AS new WHERE {chosen} AND new.ctid = old.ctid"
            return f"SELECT pg_catalog.count(({trigger_condition(self.sql)})::text) FROM {few}"
        if self.how == "no index":
            indexes = f"pg_catalog.pg_class AS i ON i.oid = t.{self.sql} AND i.relkind IN ('i', 'I') AND i.oid >= 16384"
            return f"SELECT t.{self.sql}::text FROM ONLY {table} AS t JOIN {indexes} LIMIT 1"
        few = f"(SELECT * FROM ONLY {table} LIMIT {_ROWS_LOOKED_AT}) AS {quoted(self.table)}"
        value = f"pg_catalog.bool_and({self.sql})" if self.must_hold else f"pg_catalog.count(({self.sql})::text)"
        return f"SELECT {value} FROM {few}"


def rehearse_expressions(server: Server, excluded: frozenset[str], *, tell: Callable[[], None]) -> Expressions:
    """Evaluate the living database's expressions on a few of its rows, read-only; return what failed.

    `excluded` are schemas that no dump holds. An expression that takes longer than some seconds is no failure.
    """
    with server.connect() as connection, database_errors(server, "looking for expressions"):
        connection.read_only = True
        connection.execute("SELECT set_config('search_path', '', true)")
        with joined_by_hashes(lambda statement: connection.execute(statement.encode())):
            rows = connection.execute(named_queries("expressions.sql")["expressions"].encode()).fetchall()
    found = [one for row in rows if (one := _Expression(*row)).schema not in excluded]
    failed: list[FailedStatement] = []
    conditions: list[FailedStatement] = []
    with RestoringSession(server.connect(autocommit=True), tell) as session:
        session.text("SET search_path = ''; SET default_transaction_read_only = on")
        for one in found:
            if (failure := _evaluated(session, one)) is not None:
                of_a_trigger = one.what.startswith("trigger ")
                (conditions if of_a_trigger else failed).append(FailedStatement(one.about, failure, one.sql))
    return Expressions(len(found), tuple(failed), tuple(conditions))


def _evaluated(session: RestoringSession, one: _Expression) -> str | None:
    """Return why an expression cannot be evaluated, or does not hold; None when all is well."""
    seconds = _SECONDS_OF_A_VIEW if one.how == "rows" else _SECONDS
    try:
        session.text(f"SET statement_timeout = '{seconds}s'")
        answer = session.text(one.query())
    except Refused as refused:
        meaning = meaning_of(refused.state, refused.text)
        if meaning in (Meaning.CUT, Meaning.STARTING):
            raise error_of(meaning, f"The rehearsal was cut: {refused.text}.") from refused
        if meaning.passes or meaning in _SAYS_NOTHING:
            return None
        said = f"{refused.text} ({refused.context.splitlines()[0]})" if refused.context else refused.text
        return re.sub(r"\s+", " ", said)
    if one.how == "no index":
        return f"a row names the index {answer[0][0]}, which a restore makes after the rows" if answer else None
    return "a row does not meet it any more" if one.must_hold and answer and answer[0][0] == "f" else None
