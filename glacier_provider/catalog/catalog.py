"""The catalog: the only memory between tasks. Open it for one application, ask its parts, close it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from glacier_provider.catalog.archives import Archives
from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Connect, Database
from glacier_provider.catalog.listing import Listing
from glacier_provider.catalog.migrate import check, migrate
from glacier_provider.catalog.overview import Overview
from glacier_provider.catalog.restores import Restores
from glacier_provider.catalog.scans import Scans


class Catalog:
    """The catalog as one application sees it, on one connection that opens with the first question.

    `connect` returns a new psycopg connection. Every method of its parts raises the `CatalogError` family.
    """

    def __init__(self, connect: Connect, *, schema: str, application: str) -> None:
        self._connect = connect
        self.schema = schema
        self._database = Database(connect, schema)
        self.listing = Listing(self._database)
        self.overview = Overview(self._database)
        self.backups = Backups(self._database, application)
        self.archives = Archives(self._database, self.backups)
        self.scans = Scans(self._database, self.backups)
        self.restores = Restores(self._database, self.backups, self.scans)

    def migrate(self) -> str:
        """Create or upgrade the schema and return its version; see `migrate.migrate`."""
        return migrate(self._connect, self.schema)

    def check(self) -> None:
        """Return when the schema is current; raise CatalogNotReady otherwise."""
        check(self._connect, self.schema)

    def transaction(self) -> AbstractContextManager[None]:
        """Let several verbs take effect together or not at all."""
        return self._database.transaction()

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
