"""An application under test whose archives go to an emulated vault."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from glacier_provider.core.parts import MIB
from glacier_provider.core.store_uri import VaultUri, parse_store_uri
from glacier_provider.pipelines.reconcile import Reconciled, reconcile
from glacier_provider.stores import client_config
from glacier_provider.stores.contract import ArchiveStore
from glacier_provider.stores.vault.store import VaultStore
from tests.emulator.s3 import a_session
from tests.emulator.vault import VaultEmulator
from tests.support.application import ApplicationUnderTest

VAULT = "dms"


@dataclass
class OnAVault(ApplicationUnderTest):
    """The same as on S3, with a clock that can be moved; `attempts` is how often a request is sent at most."""

    vault: VaultEmulator = field(default=None)  # type: ignore[assignment]
    ahead: timedelta = timedelta()
    attempts: int = 5

    def stores(self, uri: str) -> ArchiveStore:
        if uri not in self._stores:
            place = parse_store_uri(uri)
            assert isinstance(place, VaultUri)
            client = a_session().client("glacier", endpoint_url=self.vault.url, config=client_config(place))
            self._stores[uri] = VaultStore(
                place,
                client=client,
                part_size=8 * MIB,
                attempts=self.attempts,
                now=lambda: datetime.now(UTC) + self.ahead,
            )
        return self._stores[uri]

    def pass_time(self, time: timedelta) -> None:
        """Let time pass, for the vault and for its stores, which another process opens anew."""
        self.vault.clock.advance(time.total_seconds())
        self.ahead += time
        self._stores.clear()

    def take_inventory(self) -> None:
        """Have the vault list what it holds, and the job that asks for the list done."""
        self.vault.take_inventory(VAULT)
        self.vault.complete_jobs(self.vault.job_operations.initiate(VAULT, {"Type": "inventory-retrieval"}))

    def reconciled(self, *, everything: bool = False) -> list[Reconciled]:
        return reconcile(self.application, catalog=self.catalog, stores=self.stores, everything=everything)
