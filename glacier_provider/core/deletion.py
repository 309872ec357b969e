"""What deleting a backup is asked for with, and what it takes away: decided before anything is changed.

A backup is its dump, its manifest, and files. A file goes with it only when no other complete backup contains it and
it has left the attached-files directory; the manifest stays as long as that of a later backup continues it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from glacier_provider.core.archive import Amount, ArchiveKind
from glacier_provider.core.cost import Stored, class_of, early_deletion, money, plain
from glacier_provider.core.params import backup_id_of, refuse_unknown, truth
from glacier_provider.core.prices import Prices
from glacier_provider.core.status import BackupState
from glacier_provider.core.text import counted, readable_amount
from glacier_provider.errors import ConfigurationError


def confirmation(application: str, backup_id: int) -> str:
    """Return the words by which a person confirms the deletion of a backup.

    >>> confirmation("library", 42)
    'library-42'
    """
    return f"{application}-{backup_id}"


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """One deletion as it was asked for; `force` also deletes what a person would rarely mean to."""

    backup_id: int
    confirm: str = ""
    force: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> DeletionRequest:
        """Parse the deletion DAG's params; raise ConfigurationError naming the param and an example."""
        refuse_unknown(params, [one.name for one in fields(cls)])
        hint = "Give the number of one backup, as in 42; `glacier-backup list` shows them."
        return cls(
            backup_id=backup_id_of(params.get("backup_id"), hint=hint),
            confirm=str(params.get("confirm") or "").strip(),
            force=truth(params.get("force", False), "force"),
        )

    def check(self, application: str) -> None:
        """Raise ConfigurationError unless `confirm` names this backup of this application."""
        expected = confirmation(application, self.backup_id)
        if self.confirm != expected:
            raise ConfigurationError(
                f"The deletion of backup {self.backup_id} of {application} is not confirmed: confirm is "
                f"{self.confirm!r}.",
                hint=f'Nothing was changed. To delete it, give "confirm": "{expected}".',
            )


@dataclass(frozen=True, slots=True)
class Going:
    """Archives that go, of one store, kind and day: what an early-deletion fee is reckoned from."""

    store_uri: str
    kind: ArchiveKind
    archived_on: date
    amount: Amount
    padded_bytes: int | None = None  # with each smaller archive as the smallest that some classes bill
    archived_at: datetime | None = None  # the mean of that day; None: its midnight is taken

    def age_days(self, now: datetime) -> Decimal:
        """Return for how many days it has been there, which is what it is billed for at least."""
        since = self.archived_at or datetime(*self.archived_on.timetuple()[:3], tzinfo=UTC)
        return Decimal(max(0.0, (now - since).total_seconds())) / 86400

    @property
    def stored(self) -> Stored:
        """What goes, as prices see it."""
        return Stored(class_of(self.store_uri, self.kind), self.amount.archives, self.amount.bytes, self.padded_bytes)

    def as_dict(self) -> dict[str, Any]:
        return {
            "store_uri": self.store_uri,
            "kind": self.kind.value,
            "archived_on": self.archived_on.isoformat(),
            "archives": self.amount.archives,
            "bytes": self.amount.bytes,
        }


@dataclass(frozen=True, slots=True)
class Staying:
    """Archives of the backup that stay, and why, in words that follow "since"."""

    reason: str
    amount: Amount

    def as_dict(self) -> dict[str, Any]:
        return {"reason": self.reason, "archives": self.amount.archives, "bytes": self.amount.bytes}


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """What deleting one backup will take away and what stays. It changes nothing.

    `refused` says why the backup cannot be deleted, None when it can; `forcible`, whether `force` lifts that. `fee`
    is what deleting before the minimum storage duration costs, in `currency`; None: not reckoned.
    """

    application: str
    backup_id: int
    state: BackupState
    goes: tuple[Going, ...] = ()
    stays: tuple[Staying, ...] = ()
    refused: str | None = None
    forcible: bool = False
    fee: Decimal | None = None
    currency: str = ""

    @property
    def confirm(self) -> str:
        """The words by which a person confirms it."""
        return confirmation(self.application, self.backup_id)

    @property
    def total(self) -> Amount:
        """Everything that goes."""
        return sum((going.amount for going in self.goes), Amount())

    def by_store(self) -> dict[str, Amount]:
        """Return what goes from each store."""
        sums: dict[str, Amount] = {}
        for going in self.goes:
            sums[going.store_uri] = sums.get(going.store_uri, Amount()) + going.amount
        return sums

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-able values."""
        return {
            "application": self.application,
            "backup_id": self.backup_id,
            "state": self.state.value,
            "confirm": self.confirm,
            "archives": self.total.archives,
            "bytes": self.total.bytes,
            "goes": [going.as_dict() for going in self.goes],
            "stays": [staying.as_dict() for staying in self.stays],
            "refused": self.refused,
            "forcible": self.forcible,
            "early_deletion_fee": None if self.fee is None else plain(self.fee),
            "currency": self.currency,
        }

    def lines(self) -> list[str]:
        """Return the plan as a person reads it."""
        said = [f"Backup {self.backup_id} of {self.application} is {self.state.value}."]
        for uri, amount in self.by_store().items():
            said.append(f"To delete from {uri}: {readable_amount(amount)}, {self._kinds(uri)}.")
        if not self.goes:
            said.append("Nothing has to be deleted from a store.")
        said += [f"To keep: {readable_amount(one.amount)}, since {one.reason}." for one in self.stays]
        if self.fee is not None:
            told = "nothing" if self.fee == 0 else money(self.fee, self.currency)
            said.append(f"Fee for deleting before the minimum storage duration: {told}.")
        if self.refused:
            said.append(f"NOT to be deleted: {self.refused}" + (" (unless forced: --force)" if self.forcible else ""))
        return said

    def _kinds(self, uri: str) -> str:
        counts = dict.fromkeys(ArchiveKind, 0)
        for going in self.goes:
            if going.store_uri == uri:
                counts[going.kind] += going.amount.archives
        nouns = {ArchiveKind.DATABASE: "dump", ArchiveKind.FILE: "file", ArchiveKind.MANIFEST: "manifest"}
        return ", ".join(counted(count, nouns[kind]) for kind, count in counts.items() if count)


def with_fee(plan: DeletionPlan, prices: Prices, *, now: datetime) -> DeletionPlan:
    """Return `plan` with its early-deletion fee."""
    deleted = [(going.stored, going.age_days(now)) for going in plan.goes]
    return replace(plan, fee=early_deletion(deleted, prices), currency=prices.currency)
