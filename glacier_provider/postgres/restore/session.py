"""One session that restores: SQL goes to the server as bytes, by libpq itself, and every refusal names its statement.

No psql stands between a dump and the server: what psql takes for a command of its own is for the server a syntax error.
"""

from __future__ import annotations

import secrets
import select
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from glacier_provider.postgres.tools.messages import without_secrets
from glacier_provider.postgres.tools.run import stoppable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from glacier_provider.postgres.tools.server import Connection

_FAILED_TRANSACTION = "25P02"
_SHOWN = 2000  # characters of a statement, detail or context that are told


@dataclass(slots=True)
class Refused(Exception):
    """The server refused a statement, or the connection was lost (`state` is then 08006); texts as the server's.

    Of what `run_all` was given, `piece` is the number of the refused one; when that is `unreadable`, none was run.
    """

    state: str
    text: str
    detail: str = ""
    advice: str = ""
    context: str = ""
    statement: str = ""
    piece: int = 0
    unreadable: bool = False

    def __str__(self) -> str:
        return self.text

    def lines(self) -> list[str]:
        """Return all that the server said, a line each, for the task log."""
        told = {"DETAIL": self.detail, "HINT": self.advice, "CONTEXT": self.context, "Statement": self.statement}
        return [f"{self.text} [SQLSTATE {self.state}]", *(f"{name}: {text}" for name, text in told.items() if text)]


class RestoringSession:
    """A connection that runs SQL given as bytes; `idle` is called about once a second while the server works.

    Ends with `terminate_tools`: the running statement is cancelled, and `stopped` tells of it.
    """

    def __init__(self, connection: Connection, idle: Callable[[], None]) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._pgconn.nonblocking = 1
        self._pgconn.notice_handler = self._notice
        self._idle = idle
        self.codec = "utf-8"  # of what `text` sends and gives
        self.warnings: list[str] = []
        self.stopped = False

    @property
    def process(self) -> int:
        """The id of the server process that this session talks to."""
        return self._pgconn.backend_pid

    def stop(self) -> None:
        """Cancel what runs and refuse what follows; from any thread or a signal handler."""
        import psycopg

        self.stopped = True
        try:
            self._connection.cancel()
        except psycopg.Error:  # it has ended
            return

    def run(self, sql: bytes) -> list[tuple[bytes | None, ...]]:
        """Run one or more statements; return the rows of the last that gives some. Raise Refused."""
        return self._rows(self._results(sql))

    def text(self, sql: str) -> list[tuple[str | None, ...]]:
        """As `run`, of SQL that this package wrote."""
        rows = self.run(sql.encode(self.codec, "surrogateescape"))
        return [tuple(None if v is None else v.decode(self.codec, "surrogateescape") for v in row) for row in rows]

    def one(self, sql: str) -> None:
        """Run one statement that others wrote: the server refuses text that holds two. Raise Refused."""
        whole = sql.encode(self.codec, "surrogateescape")
        self._results(whole, send=lambda: self._pgconn.send_query_params(whole, None))

    def run_all(self, pieces: Sequence[bytes]) -> None:
        """Run pieces of SQL, each of one or more statements, in one round trip; raise Refused, which tells the piece.

        Behind each piece stands a mark that no SQL of a dump can know: the server gives it back when that piece is
        done, and none of them hides in an open quote or comment.
        """
        mark = f"glacier_{secrets.token_hex(8)}".encode()
        sql = b"".join(b"%b\n;SELECT %d AS %b;\n" % (piece, number, mark) for number, piece in enumerate(pieces))
        done: list[PGresult] = []
        try:
            self._results(sql, done)
        except Refused as refused:
            refused.piece = _marked(done, mark)
            if len(done) == 1 and self._in_failed_transaction():  # at the first statement, or while reading all
                refused = self._unreadable(pieces) or refused
            refused.statement = _shown(pieces[refused.piece])
            raise refused from None
        if (found := _marked(done, mark)) < len(pieces):
            text = "the statement does not end with its entry"
            raise Refused("42601", text, statement=_shown(pieces[found]), piece=found)

    def copy(self, statement: bytes, chunks: Iterable[bytes]) -> None:
        """Run a COPY FROM STDIN with these bytes. Raise Refused, or what `chunks` raises; the COPY has failed then."""
        import psycopg

        began = self._results(statement)
        if not began or began[-1].status != psycopg.pq.ExecStatus.COPY_IN:
            raise Refused("42601", "the statement does not begin a COPY FROM STDIN", statement=_shown(statement))
        try:
            for chunk in chunks:
                self._guarded(partial(self._pgconn.put_copy_data, chunk), statement)
                self._flush(statement)
        except BaseException:
            self._guarded(lambda: self._pgconn.put_copy_end(b"the rows could not be read"), statement)
            self._finished(statement, quiet=True)
            raise
        self._guarded(lambda: self._pgconn.put_copy_end(), statement)
        self._finished(statement)

    def __enter__(self) -> RestoringSession:
        self._unregister = stoppable(self.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._unregister()
        self._connection.close()

    # --- the protocol ----------------------------------------------------------------------------------------------

    def _results(
        self, sql: bytes, results: list[PGresult] | None = None, send: Callable[[], None] | None = None
    ) -> list[PGresult]:
        if self.stopped:
            raise Refused("57014", "the restore was ended from outside")
        self._guarded(send or (lambda: self._pgconn.send_query(sql)), sql)
        return self._finished(sql, results)

    def _unreadable(self, pieces: Sequence[bytes]) -> Refused | None:
        """Return the refusal of a piece that is no SQL: for its sake the server has run none of them.

        In a failed transaction everything is still read, and only then refused.
        """
        for number, piece in enumerate(pieces):
            try:
                self._results(piece)
            except Refused as refused:
                if refused.state != _FAILED_TRANSACTION:
                    refused.piece, refused.unreadable = number, True
                    return refused
            if not self._in_failed_transaction():
                return None
        return None

    def _in_failed_transaction(self) -> bool:
        import psycopg

        return self._pgconn.transaction_status == psycopg.pq.TransactionStatus.INERROR

    def _finished(self, sql: bytes, results: list[PGresult] | None = None, *, quiet: bool = False) -> list[PGresult]:
        """Wait for the end of what was sent, or for the server to ask for COPY's rows; add to `results`, if given."""
        import psycopg

        status = psycopg.pq.ExecStatus
        results = [] if results is None else results
        failed: PGresult | None = None
        while True:
            self._flush(sql)
            while self._pgconn.is_busy():
                self._await(select.POLLIN)
                self._guarded(self._pgconn.consume_input, sql)
            result = self._pgconn.get_result()
            if result is None:
                break
            results.append(result)
            if result.status == status.FATAL_ERROR:
                failed = result
            elif result.status == status.COPY_IN:
                break
            elif result.status == status.COPY_OUT:
                raise Refused("42601", "a statement of the dump wants to send rows", statement=_shown(sql))
        if failed is not None and not quiet:
            raise self._refusal(failed, sql)
        return results

    def _flush(self, sql: bytes) -> None:
        while self._guarded(self._pgconn.flush, sql):
            if self._await(select.POLLIN | select.POLLOUT) & select.POLLIN:
                self._guarded(self._pgconn.consume_input, sql)

    def _await(self, events: int) -> int:
        poll = select.poll()
        poll.register(self._pgconn.socket, events)
        while not (ready := poll.poll(1000)):
            self._idle()
        return ready[0][1]

    def _guarded(self, call: Callable[[], Any], sql: bytes) -> Any:
        import psycopg

        try:
            return call()
        except psycopg.OperationalError as error:
            said = str(error).strip().splitlines() or ["the connection was lost"]
            raise Refused("08006", said[0], statement=_shown(sql)) from error

    def _refusal(self, result: PGresult, sql: bytes) -> Refused:
        import psycopg

        field = psycopg.pq.DiagnosticField

        def told(name: psycopg.pq.DiagnosticField) -> str:
            return (result.error_field(name) or b"").decode("utf-8", "replace")[:_SHOWN]

        text = told(field.MESSAGE_PRIMARY) or (result.error_message or b"").decode("utf-8", "replace").strip()
        return Refused(
            told(field.SQLSTATE) or "08006",
            text.splitlines()[0] if text else "the connection was lost",
            detail=told(field.MESSAGE_DETAIL),
            advice=told(field.MESSAGE_HINT),
            context=told(field.CONTEXT),
            statement=_shown(sql),
        )

    def _notice(self, result: PGresult) -> None:
        import psycopg

        field = psycopg.pq.DiagnosticField
        severity = result.error_field(field.SEVERITY_NONLOCALIZED) or b""
        if severity == b"WARNING" and len(self.warnings) < 200:
            self.warnings.append((result.error_field(field.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace"))

    @staticmethod
    def _rows(results: list[PGresult]) -> list[tuple[bytes | None, ...]]:
        with_rows = [each for each in results if each.nfields]
        if not with_rows:
            return []
        last = with_rows[-1]
        return [tuple(last.get_value(row, column) for column in range(last.nfields)) for row in range(last.ntuples)]


def _marked(results: Iterable[PGresult], mark: bytes) -> int:
    """Return how many marks came, in order."""
    count = 0
    for result in results:
        if result.nfields == 1 and result.fname(0) == mark and result.get_value(0, 0) == b"%d" % count:
            count += 1
    return count


def _shown(sql: bytes) -> str:
    text = without_secrets(sql.decode("utf-8", "replace").strip())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
