"""What a schema without rows never runs, tried on a few living rows: read-only, under the empty search_path of a dump.

Generated columns, checks of tables and domains (in whatever types these are), indexes and partition keys by expression,
the queries of materialized views, as their owners, and unique indexes of these, foreign keys: a restore runs them over
its rows, and fails with them. So it does with a regclass that names an index, which is made after the rows.
Conditions of triggers: a restore runs none, and whoever changes rows later under such a search_path does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from glacier_provider.core.sqlstate import Meaning, meaning_of
from glacier_provider.core.text import names
from glacier_provider.postgres.restore.definitions import trigger_condition
from glacier_provider.postgres.restore.outcome import FailedStatement
from glacier_provider.postgres.restore.session import Refused, RestoringSession
from glacier_provider.postgres.restore.target import named_queries
from glacier_provider.postgres.tools.server import Server, database_errors, error_of
from glacier_provider.postgres.tools.sql import TableName, joined_by_hashes, literal, quoted

_ROWS_LOOKED_AT = 5
_SECONDS = 5
_SECONDS_OF_A_VIEW = 1  # it may read everything before it has a row
SECONDS_OF_ALL_ROWS = 5.0  #: for looking at more than a few rows, all expressions together, the smallest tables first
#: What says nothing of an expression: it is not ours to read, or it writes, which is not tried.
_SAYS_NOTHING = {Meaning.DENIED, Meaning.MEMORY, Meaning.DISK, Meaning.READ_ONLY}
#: Before the rows of other tables may be there: what an index asks for is there, all rows are.
_WITH_THE_ROWS = ("generated column ", "check ", "partition key ", "domain of column ")
_MAY_READ = re.compile(r'(?:\w|")\.(?:"(?:[^"]|"")+"|\w+)\(')  # a function that is not the server's own
_READ = """
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'm', 'f')
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND (n.nspname, c.relname) <> ({})"""


@dataclass(frozen=True, slots=True)
class Reading:
    """An expression that reads other `tables`, whose rows a restore may bring later; SQL that tries it without them.

    In a database that has the schema and no rows `trial` fails, or gives false, when it needs them.
    """

    failed: FailedStatement
    table: TableName
    tables: tuple[TableName, ...]
    trial: str


@dataclass(frozen=True, slots=True)
class Expressions:
    """How many were tried; what a restore would fail with; and conditions of triggers that need a search_path.

    `readings` fail if the rows of other tables come later. `unseen` are those of which a few rows alone were looked at.
    """

    count: int
    failed: tuple[FailedStatement, ...]
    conditions: tuple[FailedStatement, ...]
    readings: tuple[Reading, ...] = ()
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class _Expression:
    schema: str
    table: str
    what: str
    sql: str
    how: str
    runs_as: str
    pages: int
    other_schema: str | None
    other_table: str | None

    @property
    def about(self) -> str:
        return f"{self.what}{' ' if self.how == 'rows' else ' of '}{self.schema}.{self.table}"

    @property
    def name(self) -> TableName:
        return self.schema, self.table

    @property
    def must_hold(self) -> bool:
        return self.how == "holds"

    @property
    def finds_what_is_wrong(self) -> bool:
        return self.how in ("none", "no index")

    @property
    def may_read_others(self) -> bool:
        """Whether it may read other tables while rows come."""
        in_a_domain = self.what.startswith("domain of column ")
        return self.what.startswith(_WITH_THE_ROWS) and (in_a_domain or _MAY_READ.search(self.sql) is not None)

    @property
    def has_more_rows(self) -> bool:
        return self.how in ("value", "holds", "rows")

    def query(self, rows: int | None = _ROWS_LOOKED_AT) -> str:
        """Return SQL that evaluates it on a few rows, or on all, and gives one value."""
        table = f"{quoted(self.schema)}.{quoted(self.table)}"
        limit = "" if rows is None else f" LIMIT {rows}"
        if self.how == "none":
            return self.sql
        if self.how == "rows":
            few = f"(SELECT * FROM ({self.sql.rstrip().rstrip(';')}) AS q{limit}) AS r"
            return f"SELECT pg_catalog.count(r::text) FROM {few}"
        if self.how == "once":
            return f"SELECT ({trigger_condition(self.sql)})::text"
        if self.how == "rows of a trigger":  # old and new have to be of the table's own type
            chosen = f"old.ctid = ANY (ARRAY(SELECT ctid FROM ONLY {table}{limit}))"
            few = f"ONLY {table} AS old, ONLY {table} AS new WHERE {chosen} AND new.ctid = old.ctid"
            return f"SELECT pg_catalog.count(({trigger_condition(self.sql)})::text) FROM {few}"
        if self.how == "no index":
            indexes = f"pg_catalog.pg_class AS i ON i.oid = t.{self.sql} AND i.relkind IN ('i', 'I') AND i.oid >= 16384"
            return f"SELECT t.{self.sql}::text FROM ONLY {table} AS t JOIN {indexes} LIMIT 1"
        return self._over(f"(SELECT * FROM ONLY {table}{limit})")

    def _over(self, rows: str) -> str:
        value = f"pg_catalog.bool_and({self.sql})" if self.must_hold else f"pg_catalog.count(({self.sql})::text)"
        return f"SELECT {value} FROM {rows} AS {quoted(self.table)}"

    def trial(self, rows: Iterable[str]) -> str:
        """Return SQL that evaluates it on these rows, each as text, wherever the table is defined."""
        listed = ", ".join(map(literal, rows))
        of_the_table = f"ARRAY[{listed}]::{quoted(self.schema)}.{quoted(self.table)}[]"
        return self._over(f"(SELECT (one).* FROM pg_catalog.unnest({of_the_table}) AS one)")

    def wrong(self, answer: Sequence[Sequence[str | None]]) -> str | None:
        """Return what an answer says is wrong, None when all is well."""
        if self.must_hold:
            return "a row does not meet it any more" if answer and answer[0][0] == "f" else None
        if not (self.finds_what_is_wrong and answer):
            return None
        if self.what.startswith("foreign key "):
            return f"a row refers to {self.other_schema}.{self.other_table}, where ({answer[0][0]}) is not"
        if self.how == "no index":
            return f"a row names the index {answer[0][0]}, which a restore makes after the rows"
        return "rows are alike now, and it could not be filled with them"


def rehearse_expressions(
    server: Server,
    excluded: frozenset[str],
    *,
    tell: Callable[[], None],
    tables: frozenset[TableName] = frozenset(),
    seconds: float = SECONDS_OF_ALL_ROWS,
) -> Expressions:
    """Evaluate the living database's expressions on a few of its rows, read-only; return what failed.

    Then on all rows, the smallest tables first, as long as that takes no more than `seconds` in all. `excluded` are
    schemas, and `tables` tables, that no dump holds, or no restore replaces: nothing of them is tried, nor what refers
    to them. An expression that takes longer than some seconds is no failure.
    """
    with server.connect(bare=True) as connection, database_errors(server, "looking for expressions"):
        connection.read_only = True
        connection.execute("SELECT set_config('search_path', '', true)")
        user = str((connection.execute("SELECT current_user").fetchone() or ("",))[0])
        with joined_by_hashes(lambda statement: connection.execute(statement.encode())):
            rows = connection.execute(named_queries("expressions.sql")["expressions"].encode()).fetchall()
    with RestoringSession(server.connect(autocommit=True), tell) as session:
        session.text("SET search_path = ''; SET default_transaction_read_only = on")
        tried = _Trying(session, user)
        found = [one for one in (_Expression(*row) for row in rows) if not _is_left_out(one, excluded, tables)]
        for one in found:
            tried.a_few_rows(one)
        tried.all_rows(found, seconds)
    return Expressions(len(found), tuple(tried.failed), tuple(tried.conditions), tuple(tried.readings), tried.unseen)


def _is_left_out(one: _Expression, excluded: frozenset[str], tables: frozenset[TableName]) -> bool:
    other = (one.other_schema or "", one.other_table or "")
    return not excluded.isdisjoint((one.schema, other[0])) or not tables.isdisjoint((one.name, other))


class _Trying:
    """Tries expressions in a session that only reads, and remembers what was wrong."""

    def __init__(self, session: RestoringSession, user: str) -> None:
        self._session, self._user = session, user
        self._wrong: set[_Expression] = set()
        self.failed: list[FailedStatement] = []
        self.conditions: list[FailedStatement] = []
        self.readings: list[Reading] = []
        self.unseen = 0

    def a_few_rows(self, one: _Expression) -> None:
        if one.how == "none":  # it finds a single row only by looking at all
            return
        self._session.text(f"SET statement_timeout = '{_SECONDS_OF_A_VIEW if one.how == 'rows' else _SECONDS}s'")
        if not one.may_read_others:
            self._try(one, one.query())
            return
        self._session.text("BEGIN")
        seen = self._try(one, one.query())
        if seen and one not in self._wrong:
            self._note_reading(one)
        self._session.text("ROLLBACK")

    def all_rows(self, found: Iterable[_Expression], seconds: float) -> None:
        """Look at all rows, the smallest tables first, until the time is over."""
        waiting = [one for one in found if (one.has_more_rows or one.how == "none") and one not in self._wrong]
        end = time.monotonic() + seconds
        for number, one in enumerate(sorted(waiting, key=lambda each: each.pages)):
            left = end - time.monotonic()
            if left <= 0:
                self.unseen += len(waiting) - number
                return
            self._session.text(f"SET statement_timeout = '{max(round(left * 1000), 1)}ms'")
            self.unseen += not self._try(one, one.query(rows=None))

    def _note_reading(self, one: _Expression) -> None:
        """Note the other tables that this transaction has read, for this expression."""
        own = f"{literal(one.schema)}, {literal(one.table)}"
        tables = tuple((str(schema), str(name)) for schema, name in self._session.text(_READ.format(own)))
        if not tables:
            return
        table = f"{quoted(one.schema)}.{quoted(one.table)}"
        rows = self._session.text(f"SELECT t::text FROM ONLY {table} AS t LIMIT {_ROWS_LOOKED_AT}")
        said = f"it reads {names('.'.join(each) for each in tables)}, whose rows may come later"
        texts = [str(text) for (text,) in rows]
        self.readings.append(Reading(FailedStatement(one.about, said, one.sql), one.name, tables, one.trial(texts)))

    def _try(self, one: _Expression, query: str) -> bool:
        """Evaluate an expression, note what is wrong, and tell whether it was evaluated at all."""
        acts = one.runs_as not in ("", self._user)
        try:
            if acts:
                self._session.text(f"SET ROLE {quoted(one.runs_as)}")
            answer = self._session.text(query)
        except Refused as refused:
            return self._refused(one, refused)
        finally:
            if acts:
                self._session.text("RESET ROLE")
        self._note(one, one.wrong(answer))
        return True

    def _refused(self, one: _Expression, refused: Refused) -> bool:
        meaning = meaning_of(refused.state, refused.text)
        if meaning in (Meaning.CUT, Meaning.STARTING):
            raise error_of(meaning, f"The rehearsal was cut: {refused.text}.") from refused
        of_a_view = one.how == "rows" or one.what.startswith("unique index ")
        of_its_owner = meaning is Meaning.DENIED and of_a_view and one.runs_as != ""
        if not of_its_owner and (meaning.passes or meaning in _SAYS_NOTHING):
            return False
        said = f"{refused.text} ({refused.context.splitlines()[0]})" if refused.context else refused.text
        self._note(one, re.sub(r"\s+", " ", said))
        return True

    def _note(self, one: _Expression, wrong: str | None) -> None:
        if wrong is not None:
            self._wrong.add(one)
            of_a_trigger = one.what.startswith("trigger ")
            (self.conditions if of_a_trigger else self.failed).append(FailedStatement(one.about, wrong, one.sql))
