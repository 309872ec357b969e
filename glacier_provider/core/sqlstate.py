"""What an error of a PostgreSQL server means for who met it. Pure.

The SQLSTATE decides where there is one (https://www.postgresql.org/docs/current/errcodes-appendix.html). libpq gives
none for a refused connection, and pg_dump prints none: there the server's English sentence does.
"""

from __future__ import annotations

import re
from enum import Enum


class Meaning(Enum):
    """A cause, by what can be done about it; the value is the hint."""

    CUT = (
        "The connection was cut: look into the server's log for a restart, a crash or an ended session, and at "
        "firewalls and poolers on the way. It is tried again."
    )
    STARTING = "The server starts, stops or recovers at the moment; it is tried again."
    BUSY = "It is tried again; if it lasts, end the other session or raise lock_timeout_seconds."
    RECOVERY = (
        "The standby had to apply a change of its primary that the statement stood in the way of; it is tried again. "
        "If it lasts: raise max_standby_streaming_delay or set hot_standby_feedback = on at the standby, "
        "or use the primary."
    )
    CONNECTIONS = (
        "It is tried again. Of the application's database a backup takes dump.jobs + 2 connections at once (4 unless "
        "told otherwise; 2 with one job, with format: custom or staging: none), of the catalog each task takes "
        "one: raise max_connections, or the CONNECTION LIMIT of the role or the database, or lower dump.jobs."
    )
    CANCELLED = "Somebody, or a watchdog of the server, cancelled the statement; it is tried again."
    READ_ONLY = "It is a standby, or read-only: name the primary in the connection."
    DENIED = "Check user, password, database and privileges of the connection."
    LOCKS = (
        "The server's table of locks is full. Raise max_locks_per_transaction in postgresql.conf and restart the "
        "server: it keeps room for max_locks_per_transaction * (max_connections + max_prepared_transactions) locks."
    )
    MEMORY = (
        "The server had no memory left for the statement: see its log, and its settings work_mem and shared_buffers."
    )
    DISK = (
        "The disk of the database server is full, or at the limit of temp_file_limit; make room there, "
        "then clear this task."
    )
    DAMAGED = "The server met damaged data or a failing disk: see its log, and check its tables with pg_amcheck."
    TOO_LARGE = "A value or row is larger than PostgreSQL can hand out at once (1 GB as text)."
    REFUSED = "The server refused the statement; its log has all of it. Mend the cause, then clear this task."

    @property
    def hint(self) -> str:
        return self.value

    @property
    def passes(self) -> bool:
        """Whether trying again can help."""
        return self in _PASSING


_PASSING = frozenset(
    {Meaning.CUT, Meaning.STARTING, Meaning.BUSY, Meaning.RECOVERY, Meaning.CONNECTIONS, Meaning.CANCELLED}
)

#: By SQLSTATE, or by the two characters of its class. What a class does not say is `REFUSED`.
_BY_STATE = {
    "08": Meaning.CUT,
    "57P01": Meaning.CUT,  # admin_shutdown
    "57P02": Meaning.CUT,  # crash_shutdown
    "57P04": Meaning.CUT,  # database_dropped; on a standby, moved by the primary
    "57P05": Meaning.CUT,  # idle_session_timeout
    "25P03": Meaning.CUT,  # idle_in_transaction_session_timeout
    "25P04": Meaning.CUT,  # transaction_timeout
    "57P03": Meaning.STARTING,  # cannot_connect_now
    "40": Meaning.BUSY,  # serialization_failure, deadlock_detected
    "55P03": Meaning.BUSY,  # lock_not_available
    "55006": Meaning.BUSY,  # object_in_use
    "53300": Meaning.CONNECTIONS,  # too_many_connections
    "57014": Meaning.CANCELLED,  # query_canceled
    "25006": Meaning.READ_ONLY,  # read_only_sql_transaction
    "28": Meaning.DENIED,
    "3D000": Meaning.DENIED,  # invalid_catalog_name
    "42501": Meaning.DENIED,  # insufficient_privilege
    "53100": Meaning.DISK,
    "53400": Meaning.DISK,  # configuration_limit_exceeded: temp_file_limit
    "53": Meaning.MEMORY,
    "54": Meaning.TOO_LARGE,  # program_limit_exceeded
    "58": Meaning.DAMAGED,  # io_error, undefined_file
    "XX001": Meaning.DAMAGED,  # data_corrupted
    "XX002": Meaning.DAMAGED,  # index_corrupted
}

#: By the server's sentence, the more special first.
_BY_TEXT = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"conflict with recovery", Meaning.RECOVERY),
        (r"too many clients|too many connections|connection slots", Meaning.CONNECTIONS),
        (r"starting up|shutting down|recovery mode|not yet accepting|recovery has not yet", Meaning.STARTING),
        (r"during recovery|in a read-only transaction|recovery is in progress", Meaning.READ_ONLY),
        (
            r"server closed the connection|could not connect|connection to server .* failed|terminating connection|"
            r"connection not open|SSL connection has been closed|no connection to the server|"
            r"Connection (reset|timed out)|could not (receive data from|send data to) server|"
            r"idle-session timeout|idle-in-transaction timeout",
            Meaning.CUT,
        ),
        # pg_dump bounds its waits for locks by statement_timeout; its workers do not wait at all
        (
            r"(lock|statement) timeout|could not obtain lock|deadlock|could not serialize|being accessed by",
            Meaning.BUSY,
        ),
        (r"canceling statement due to user request", Meaning.CANCELLED),
        (r"max_locks_per_transaction|out of shared memory", Meaning.LOCKS),
        (r"[Cc]annot enlarge string buffer|exceeds maximum allowed length", Meaning.TOO_LARGE),
        (
            r"missing chunk number|unexpected chunk|invalid page in block|could not read blocks? |data is corrupt|"
            r"could not access status of transaction|invalid memory alloc request|cache lookup failed for|"
            r"could not open file \"(base|pg_tblspc|global)/",
            Meaning.DAMAGED,
        ),
        (r"No space left on device|Disk quota exceeded|temporary file size exceeds", Meaning.DISK),
        (r"out of memory", Meaning.MEMORY),
        (r"permission denied|must be (owner|superuser)|row-level security", Meaning.DENIED),
    )
)


def meaning_of(sqlstate: str | None, text: str) -> Meaning:
    """Return what a server's error means.

    >>> meaning_of("57014", "canceling statement due to statement timeout").name
    'CANCELLED'
    >>> meaning_of("40001", "canceling statement due to conflict with recovery").name
    'RECOVERY'
    """
    told = meaning_of_text(text)
    if sqlstate is None:
        return told or Meaning.REFUSED
    if told in (Meaning.RECOVERY, Meaning.LOCKS, Meaning.READ_ONLY, Meaning.TOO_LARGE, Meaning.DAMAGED):
        return told  # their states are those of other causes, too
    return _BY_STATE.get(sqlstate) or _BY_STATE.get(sqlstate[:2], Meaning.REFUSED)


def meaning_of_text(text: str) -> Meaning | None:
    """Return what a server's sentence in English means, None where it is not known."""
    return next((meaning for pattern, meaning in _BY_TEXT if pattern.search(text)), None)
