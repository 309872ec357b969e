"""`free_lease`: who works on an application is told, and what its run left behind, when that run is over, is freed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glacier_provider.catalog.backups import Run, RunEnded, how_it_ended
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.errors import LeaseHeld

#: What a process that is alive all the same then meets is its fence: it changes nothing more.
FREE_ANYHOW = "If you know that it is dead, free it all the same: with --force, on the page by typing the name."
_BY_HAND = "freed by hand"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease of an application. `run` None: no run of Airflow. `ended`: how the run ended, if it did."""

    name: str
    run: Run | None
    since: datetime | None
    prolonged: datetime | None
    ended: str | None

    def told(self, application: str) -> str:
        """Return who it is, in a sentence without its end."""
        run = self.run.dag_run_id if self.run else "none of Airflow"
        return (
            f"{self.name} holds the lease of {application} since {_time(self.since)}, prolonged at "
            f"{_time(self.prolonged)}. Its run is {run}"
        )


@dataclass(frozen=True, slots=True)
class FreedLease:
    """What was freed: `holder` None when nobody held the lease. `ended`: what else was noted as failed, by names."""

    application: str
    holder: Holder | None
    ended: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        if self.holder is None:
            return {"freed": None, "ended": list(self.ended), "text": self.text}
        run = self.holder.run.dag_run_id if self.holder.run else None
        freed = {"freed": self.holder.name, "run": run, "state": self.holder.ended}
        return {**freed, "ended": list(self.ended), "text": self.text}

    @property
    def text(self) -> str:
        """What was done, as a person reads it."""
        rest = f" Noted as failed, since its run is over: {', '.join(self.ended)}." if self.ended else ""
        if self.holder is None:
            return f"Nobody holds the lease of {self.application}.{rest}"
        how = self.holder.ended or "was given up"
        return f"{self.holder.told(self.application)}, and {how}. The lease is free.{rest}"


def lease_of(catalog: Catalog, run_ended: RunEnded) -> Holder | None:
    """Return who holds the lease of the catalog's application; None when nobody does."""
    lease = catalog.backups.lease()
    if lease is None or not lease["held"]:
        return None
    run = catalog.backups.holder_run(lease)
    ended = None if run is None else how_it_ended(run, lease, run_ended)
    return Holder(lease["holder"], run, lease["since"], lease["prolonged"], ended)


def free_lease(catalog: Catalog, run_ended: RunEnded, *, force: bool = False) -> FreedLease:
    """Free the lease of the catalog's application, and note as failed what runs that are over left unfinished.

    Raise LeaseHeld when the run of the holder may be alive, unless forced. Who is alive all the same meets the fence.
    """
    application = catalog.backups.application
    holder = lease_of(catalog, run_ended)
    if holder is not None:
        if holder.ended is None and not force:
            raise LeaseHeld(f"{holder.told(application)}; Airflow does not say that it is over.", hint=FREE_ANYHOW)
        if holder.run is not None:
            catalog.backups.run_is_over(holder.run, holder.ended or _BY_HAND)
        catalog.backups.free_lease(holder.name)
    return FreedLease(application, holder, tuple(_end_what_is_over(catalog, run_ended)))


def _end_what_is_over(catalog: Catalog, run_ended: RunEnded) -> list[str]:
    """Note as failed what is unfinished of runs that are over: a restore that waits for its retrievals has no lease."""
    names: list[str] = []
    for run in catalog.backups.unfinished_runs():
        if state := run_ended(run):
            names += catalog.backups.run_is_over(run, state)
    return names


def _time(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
