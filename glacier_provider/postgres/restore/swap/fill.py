"""Filling the database beside by pg_restore, with several connections."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glacier_provider.errors import DatabaseUnreachable, RestoreFailed, ToolKilled
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore.outcome import FailedStatement
from glacier_provider.postgres.restore.plan import ROWS_OF_A_MEMBER
from glacier_provider.postgres.restore.swap.privileges import Privileges
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools, server_version
from glacier_provider.postgres.tools.options import PgRestoreOptions
from glacier_provider.postgres.tools.run import Ended, Reporter, TaskLog, Tool
from glacier_provider.postgres.tools.server import Server
from glacier_provider.postgres.tools.session import FOR_MONEY

# What changes what happens to rows that come later, in tables that it does not depend on: a trigger or a NOT VALID
# constraint of a partitioned table reaches its partitions, and pg_restore with several jobs does not wait for their
# rows. The rest of these kinds pg_restore itself leaves for the end.
_REACHING = {"TRIGGER", "CHECK CONSTRAINT", "FK CONSTRAINT"}
_LAST = {"ACL", "DEFAULT ACL", "EVENT TRIGGER", "MATERIALIZED VIEW DATA"}
_NOT_VALID = re.compile(r"NOT VALID;?\s*$")


@dataclass(frozen=True, slots=True)
class Filled:
    """What pg_restore warned of, what it could not restore, and `refused`: grants that this user could not make."""

    warnings: tuple[str, ...] = ()
    failed: tuple[FailedStatement, ...] = ()
    refused: tuple[FailedStatement, ...] = ()


def fill(
    beside: Server,
    tools: Tools,
    dump: Path,
    entries: Sequence[TocEntry],
    options: PgRestoreOptions,
    *,
    jobs: int,
    lenient: bool,
    progress: TaskLog,
    settings: Mapping[str, str] | None = None,
) -> Filled:
    """Restore the dump with `jobs` connections; stop at the first error, or, `lenient`, go on and return them all.

    `settings` are those of the application's own that its database has, for whatever asks for them while it is made.
    Raise RestoreFailed or ToolKilled.
    """
    by_hand = Privileges(beside, options, entries)
    rounds = _rounds(entries, by_hand, jobs)
    with beside.connect(autocommit=True, bare=True) as connection:
        newer = tools.version.major > server_version(connection).major
        reached = beside.for_tools(connection).with_settings({**_for_money(entries), **(settings or {})})
    warnings: list[str] = []
    failed: list[FailedStatement] = []
    closed: Mapping[int, TocEntry] = {}
    with tempfile.TemporaryDirectory(prefix="glacier-") as work:
        for number, chosen in enumerate(rounds):
            if number == 1:  # the schemas are there, and extensions, if the dump has rows of theirs
                by_hand.let_create()
                closed = by_hand.closed_rows()
                warnings += [f"{entry} is not restored: it is {ROWS_OF_A_MEMBER}." for entry in closed.values()]
            chosen = [entry for entry in chosen if entry.dump_id not in closed]
            if not chosen:
                continue
            listed = Path(work) / f"entries-{number}.list"
            listed.write_text(commands.use_list(entry.dump_id for entry in chosen), encoding="ascii")
            argv = commands.pg_restore_into(
                tools, options, dump=dump, database=beside.dbname, jobs=jobs, entries=listed, lenient=lenient or newer
            )
            hearing = Failures(chosen)
            with Tool(argv, reached, hear=hearing.take) as pg_restore:
                ended = pg_restore.watch(
                    Reporter(progress),
                    lambda: f"into {beside.dbname}",
                    enough=lambda: not lenient and hearing.failed,  # noqa: B023, it is asked in this round alone
                )
            found = hearing.found()
            ended = ended if found else _without_settings(ended)
            failed += found or _unnamed(ended)
            warnings += [line for line in ended.warnings if _IGNORED not in line]
            _refuse(ended, failed, lenient)
    refused = by_hand.finish()
    for one in failed:
        progress(f"Not restored: {one}")
    return Filled(tuple(warnings), tuple(failed), refused)


def _for_money(entries: Sequence[TocEntry]) -> Mapping[str, str]:
    """Return what text of money in a dump is read by, if there is any; the new database does not know of it yet."""
    return FOR_MONEY if any(_MONEY.search(entry.definition) for entry in entries) else {}


_MONEY = re.compile(r"\bmoney\b")
# A client sets what is for its own server, too (transaction_timeout, from 17 on), on a server that does not know it: it
# then has to go on after errors, and is stopped at the first of another kind.
_UNKNOWN_SETTING = re.compile(r'unrecognized configuration parameter "')
_IGNORED = "errors ignored on restore"  # said at the very end, with a number that counts some of them twice
_CUT = re.compile(
    r"could not (connect|receive data|send data)|server closed the connection|terminating connection|SSL SYSCALL"
    r"|no connection to the server|connection to (the )?server|(starting up|shutting down|recovery mode)"
)
#: Said of a foreign server, which a materialized view reads; the server's own ends read otherwise.
_FOREIGN = re.compile(r'could not connect to server "')
_FULL = re.compile(r"No space left on device|could not (extend|write to) file")


def _refuse(ended: Ended, failed: Sequence[FailedStatement], lenient: bool) -> None:
    """Raise what ended the filling; what failed for the server's sake alone is nothing that a person could accept."""
    if ended.killed and (lenient or not failed):
        raise ToolKilled("pg_restore was ended from outside. The database is as it was.")
    if not ended.failed:
        return
    first = str(failed[0]) if failed else ended.reason
    told = (*(str(one) for one in failed), *ended.errors)
    text = "\n".join(line for line in told if not _FOREIGN.search(line))
    if _CUT.search(text):
        raise DatabaseUnreachable(f"The server ended a connection while the new database was filled: {_cut(first)}")
    if _FULL.search(text):
        raise RestoreFailed(
            f"pg_restore failed: {_cut(first)}",
            hint="The server's disk is full: old and new database are both there until the old one is dropped.",
        )
    if lenient and failed and any(_IGNORED in line for line in ended.tail):
        return
    raise RestoreFailed(f"pg_restore failed: {_cut(first)}", hint=_hint(first))


def _without_settings(ended: Ended) -> Ended:
    """Return how pg_restore ended, but for settings of its session that the server does not know."""
    others = [line for line in ended.errors if not _UNKNOWN_SETTING.search(line)]
    if ended.status != 1 or not ended.errors or others:
        return ended
    return replace(ended, status=0, errors=(), tail=tuple(line for line in ended.tail if _IGNORED not in line))


def _unnamed(ended: Ended) -> list[FailedStatement]:
    """Return what stands for errors that were counted and not heard."""
    return [FailedStatement("", line) for line in ended.tail if _IGNORED in line]


def _cut(reason: str) -> str:
    return f"{reason.rstrip('.')}. The database is as it was."


def _hint(reason: str) -> str:
    if re.search(r'role ".*" does not exist', reason):
        return "Create the role, or restore with restore: {owner: drop, privileges: drop}."
    if _FOREIGN.search(reason):
        return (
            "A foreign server that is read for it does not answer. Wait for it; or, with restore: {mode: swap, "
            "on_error: list}, everything else is restored beside, what fails is listed, and a person decides."
        )
    return (
        "It would fail again. With restore: {mode: swap, on_error: list} everything else is restored beside, what "
        "fails is listed, and a person decides."
    )


# --- order ---------------------------------------------------------------------------------------------------------


def in_rounds(entries: Iterable[TocEntry]) -> tuple[list[TocEntry], list[TocEntry]]:
    """Part the entries into those that several connections may restore in any order that their dependencies allow, and
    those that have to come after all rows, with what depends on them."""
    first: list[TocEntry] = []
    later: list[TocEntry] = []
    after: set[int] = set()
    for entry in entries:
        if _comes_late(entry) or not after.isdisjoint(entry.dependencies):
            after.add(entry.dump_id)
            later.append(entry)
        else:
            first.append(entry)
    return first, later


def _rounds(entries: Sequence[TocEntry], by_hand: Privileges, jobs: int) -> list[list[TocEntry]]:
    """Return what pg_restore restores, one round after the other; schemas and extensions first, where something has to
    be asked of them.
    """
    left = [entry for entry in entries if entry.dump_id not in {**by_hand.chains, **by_hand.closing}]
    schemas = [entry for entry in left if _is_of_a_schema(entry)] if by_hand.gives or by_hand.rows else []
    schemas += [entry for entry in left if entry.desc == "EXTENSION"] if by_hand.rows else []
    early = {entry.dump_id for entry in schemas}
    left = [entry for entry in left if entry.dump_id not in early]
    rounds = list(in_rounds(left)) if jobs > 1 else [left]
    return [schemas, *rounds]


def _comes_late(entry: TocEntry) -> bool:
    unvalidated = entry.desc == "CONSTRAINT" and _NOT_VALID.search(entry.definition) is not None
    return entry.desc in _REACHING or entry.desc in _LAST or unvalidated


def _is_of_a_schema(entry: TocEntry) -> bool:
    return entry.desc == "SCHEMA" or (entry.desc == "ACL" and entry.schema is None and entry.name.startswith("SCHEMA "))


# --- what failed ---------------------------------------------------------------------------------------------------

# Lines as `Voices` gives them: where several connections restore, the lines of one failure may stand apart.
_FROM_ENTRY = re.compile(r"^pg_restore: from TOC entry (?P<id>\d+); \d")
_REFUSED = re.compile(
    r"^pg_restore: error: (?:could not execute query: (?P<query>.*)"
    r'|COPY failed for table "(?P<table>.*?)": (?P<copy>.*)|(?P<other>.+))$'
)
#: One of these is in each line with which the telling of a failure begins; most lines, a few an entry, have none.
_TELLING = re.compile(r"^pg_restore: (?:from TOC entry |error: )")
_DETAIL = re.compile(r"^(?:DETAIL|CONTEXT):\s+(?P<text>.*)$")
_COMMAND = re.compile(r"^Command was: (?P<text>.*)$")
_SEVERITY = re.compile(r"^[A-Z]+: {2}")
_LONGEST = 300
_MOST = 10_000


class Failures:
    """Reads pg_restore's messages, line by line: each failure with its object, the server's words and the statement.

    An error may have lines of its own (LINE, HINT, DETAIL, CONTEXT) until "Command was:".
    """

    def __init__(self, entries: Iterable[TocEntry]) -> None:
        self._entries = {entry.dump_id: entry for entry in entries}
        self._announced: list[TocEntry] = []
        self._open: FailedStatement | None = None
        self._found: list[FailedStatement] = []

    def take(self, line: str) -> None:
        """Take the next line."""
        if self._open is None and not _TELLING.search(line):
            return
        if found := _FROM_ENTRY.search(line):
            entry = self._entries.get(int(found["id"]))
            self._announced += [entry] if entry else []
        elif found := _REFUSED.search(line):
            self._close()
            table, said = found["table"], found["query"] or found["copy"] or found["other"] or ""
            about = self._object(of_table=table) if table else ""
            self._open = FailedStatement(about, _SEVERITY.sub("", said))
        elif self._open is not None and (found := _DETAIL.match(line)):
            said = f"{self._open.said.rstrip('.')} ({found['text'].rstrip('.')})"
            self._open = FailedStatement(self._open.object, said)
        elif self._open is not None and (found := _COMMAND.match(line)):
            statement = found["text"]
            self._open = FailedStatement(self._object(statement=statement), self._open.said, statement)
            self._close()

    @property
    def failed(self) -> bool:
        """Whether something failed, as far as it has been said."""
        return bool(self._found)

    def found(self) -> list[FailedStatement]:
        """Return what failed, in pg_restore's order."""
        self._close()
        return self._found

    def _object(self, *, statement: str = "", of_table: str = "") -> str:
        """Return the object of a failure: of those that were announced the one that it fits, if it is the only one."""
        fitting = [
            entry
            for entry in self._announced
            if (entry.name == of_table if of_table else bool(statement) and statement in entry.definition)
        ]
        chosen = fitting[:1] or (self._announced if len(self._announced) == 1 else [])
        for entry in chosen:
            self._announced.remove(entry)
            return str(entry)
        return f"TABLE DATA {of_table}" if of_table else ""

    def _close(self) -> None:
        failed, self._open = self._open, None
        if failed is None or len(self._found) >= _MOST:
            return
        if not failed.object:
            failed = FailedStatement(self._object(), failed.said, failed.statement)
        if _about_nothing(failed):
            return
        self._found.append(FailedStatement(*(_shortened(text) for text in failed.as_dict().values())))


def _about_nothing(failed: FailedStatement) -> bool:
    """Tell whether no statement of the dump failed: a worker ended with the error of one, or a setting is unknown."""
    setting = _UNKNOWN_SETTING.match(failed.said) and failed.statement.startswith("SET ")
    return bool(setting) or failed.said.startswith("a worker process died")


def _shortened(text: str) -> str:
    return text[:_LONGEST] + "…" * (len(text) > _LONGEST)
