"""The applications that the page is about, and their catalogs, opened for reading."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application, Applications, applications_path, load_applications
from glacier_provider.errors import GlacierProviderError
from glacier_provider.hooks.resources import server_of

if TYPE_CHECKING:
    from glacier_provider.catalog.catalog import Catalog

#: A page is not worth waiting longer for; the page says so, and Airflow's other pages do not notice.
CONNECT_SECONDS = "5"
STATEMENT_MILLISECONDS = 20_000


def applications() -> Applications:
    """Return the applications of applications.yaml, read again when it has changed."""
    path = str(applications_path())
    try:
        found = os.stat(path)
    except OSError:
        return load_applications(path)  # its error says what to do
    return _applications(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _applications(path: str, _modified: int, _size: int) -> Applications:
    return load_applications(path)


@contextmanager
def read_only_catalog(application: Application, *, temporary_tables: bool = False) -> Iterator[Catalog]:
    """Open an application's catalog for reading only; PostgreSQL counts making a temporary table as writing."""
    from glacier_provider.catalog.catalog import Catalog

    server = server_of(application.catalog_conn_id)
    server = replace(server, options={"connect_timeout": CONNECT_SECONDS, **server.options})

    def connect() -> Any:
        connection = server.connect(autocommit=True)
        if not temporary_tables:
            connection.execute("SET default_transaction_read_only TO on")
        connection.execute(f"SET statement_timeout TO {STATEMENT_MILLISECONDS}")
        # Questions are short: compiling them takes longer than answering. Each is planned for its own filters.
        connection.execute("SET jit TO off")
        connection.execute("SET plan_cache_mode TO force_custom_plan")
        return connection

    with Catalog(connect, schema=application.catalog_schema, application=application.name) as catalog:
        yield catalog


def problem_of(error: GlacierProviderError) -> dict[str, str]:
    """Return an error as the API tells it."""
    return {"kind": type(error).__name__, "detail": error.message, "hint": error.hint}
