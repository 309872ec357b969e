"""The catalog: the only memory between tasks. Open it for one application, ask its parts, close it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Self

from glacier_provider.catalog.alerts import Alerts
from glacier_provider.catalog.archives import Archives
from glacier_provider.catalog.backups import Backups, RunEnded
from glacier_provider.catalog.batch import Batch
from glacier_provider.catalog.checks import Checks
from glacier_provider.catalog.conditions import Conditions
from glacier_provider.catalog.counts import Counts
from glacier_provider.catalog.database import Connect, Database
from glacier_provider.catalog.deletions import Deletions
from glacier_provider.catalog.drills import Drills
from glacier_provider.catalog.evidence import EvidenceRows
from glacier_provider.catalog.lists import Lists
from glacier_provider.catalog.lost import Lost
from glacier_provider.catalog.migrate import check, migrate
from glacier_provider.catalog.pages import Pages
from glacier_provider.catalog.proofs import Proofs
from glacier_provider.catalog.rebuild import Rebuild
from glacier_provider.catalog.reconciliation import Reconciliation
from glacier_provider.catalog.restores import Restores
from glacier_provider.catalog.scans import Scans
from glacier_provider.catalog.writers import Writers
from glacier_provider.errors import GlacierProviderError, LeaseHeld


class Catalog:
    """The catalog as one application sees it, on one connection that opens with the first question.

    `connect` returns a new psycopg connection; `run_ended` tells of a run that holds the lease whether it is over.
    Every method of its parts raises the `CatalogError` family.
    """

    def __init__(self, connect: Connect, *, schema: str, application: str, run_ended: RunEnded | None = None) -> None:
        self._connect = connect
        self._run_ended = run_ended
        self.schema = schema
        self._database = Database(connect, schema)
        self.lists = Lists(self._database)
        self.pages = Pages(self._database)
        self.counts = Counts(self._database)
        self.conditions = Conditions(self._database)
        self.backups = Backups(self._database, application, run_ended)
        self.alerts = Alerts(self._database, self.backups)
        self.writers = Writers(self._database)
        self.archives = Archives(self._database, self.backups, self.writers)
        self.scans = Scans(self._database, self.backups)
        self.deletions = Deletions(self._database, self.backups)
        self.checks = Checks(self._database, self.backups)
        self.proofs = Proofs(self._database, self.backups)
        self.evidence = EvidenceRows(self._database, self.backups)
        self.drills = Drills(self._database, self.backups)
        self.batch = Batch(self._database, self.backups)
        self.lost = Lost(self._database, self.backups)
        self.reconciliation = Reconciliation(self._database, self.backups, self.writers)
        self.rebuild = Rebuild(self._database, self.backups)
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

    def beside(self) -> Catalog:
        """Return the same catalog, behind the same fence, on a connection of its own: for what has to be seen while a
        transaction runs."""
        beside = Catalog(self._connect, schema=self.schema, application=self.backups.application)
        beside._database.fence = self._database.fence
        return beside

    def unfenced(self) -> None:
        """End the fence that came with a lease: what comes next is of no step."""
        self._database.fence = None

    @contextmanager
    def alone(self, work: str) -> Iterator[None]:
        """Let one process at a time do a work of this name; raise LeaseHeld when another one does it.

        The lock lives in the connection: it ends with its process, however that ends.
        """
        with self._database.alone(work) as is_alone:
            if not is_alone:
                raise LeaseHeld(f"Another process is at work on {work}.")
            yield

    @contextmanager
    def fenced(self, holder: str) -> Iterator[Callable[[], None]]:
        """Keep a lease that was just taken, for as long as the block lasts; yields a function that prolongs it now.

        It is prolonged on a connection of its own, which is opened when it is due: what a transaction does would be
        seen by nobody before its end. Within the block, every statement that changes something raises LeaseLost once
        another run has taken the lease, and so does that function. Any other error of ours is LeaseLost then, too: who
        sleeps while others clear what it worked with meets what looks like damage.
        """
        fence = self._database.fence
        with self.beside() as keeper:
            try:
                yield lambda: keeper.backups.prolong_lease(holder, fence)
            except GlacierProviderError as error:
                keeper.backups.raise_if_overtaken(fence, error)
                raise
            finally:
                self._database.fence = None

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
