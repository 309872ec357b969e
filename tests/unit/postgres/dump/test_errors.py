"""What pg_dump says, and the error that it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider import errors
from glacier_provider.postgres.dump.pg_dump import failure as failure_of
from glacier_provider.postgres.tools.messages import is_error
from glacier_provider.postgres.tools.run import Ended
from glacier_provider.postgres.tools.server import Server

SERVER = Server("127.0.0.1", 5432, "app", "pa55-word", "shop")


def failure(*lines: str, status: int = 1) -> errors.GlacierProviderError:
    ended = Ended("pg_dump", status, tuple(filter(is_error, lines)), (), lines)
    return failure_of(ended, SERVER, Path("/staging/shop.dump.partial"))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("pg_dump: error: could not write to file: No space left on device", errors.OutOfSpace),
        ('pg_dump: error: could not open output file "/s/d": Permission denied', errors.DirectoryUnusable),
        ('pg_dump: error: could not create directory "/s/d": Read-only file system', errors.DirectoryUnusable),
        ("pg_dump: error: query failed: ERROR:  permission denied for table a", errors.DatabaseRefused),
        ('pg_dump: error: query failed: ERROR:  relation "a" does not exist', errors.DatabaseBusy),
        ("pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout", errors.DatabaseBusy),
        ("pg_dump: error: query failed: server closed the connection unexpectedly", errors.DatabaseUnreachable),
        (
            "pg_dump: error: query failed: FATAL:  terminating connection due to administrator command",
            errors.DatabaseUnreachable,
        ),
        # the server's own disk, not staging
        (
            "pg_dump: error: query failed: ERROR:  could not write to file: No space left on device",
            errors.ToolFailed,
        ),
        ("pg_dump: error: something else", errors.ToolFailed),
        ("pg_dump: terminated by user", errors.ToolKilled),
    ],
)
def test_each_message_becomes_the_error_that_tells_what_to_do(
    line: str, error: type[errors.GlacierProviderError]
) -> None:
    assert type(failure("pg_dump: reading schemas", line)) is error


def test_a_kill_is_told_by_its_signal() -> None:
    error = failure(status=-9)
    assert type(error) is errors.ToolKilled
    assert error.retryable
    assert "signal 9" in str(error)
