"""What a restore is asked for, and what it will take: decided before anything is requested or moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from glacier_provider.core.archive import Amount
from glacier_provider.core.cost import Stored, TierCost, batch_cost, money, of_tier, plain, retrieval_by_tier
from glacier_provider.core.drill import FileSample
from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.params import backup_id_of, member, refuse_unknown, truth, whole_number
from glacier_provider.core.prices import Prices
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import store_class
from glacier_provider.core.tables import format_table, parse_table
from glacier_provider.core.text import counted, did_you_mean, hours, readable_amount, readable_size, some
from glacier_provider.core.tiers import Tier as Tier  # copies of dags/glacier_restore.py import it from here
from glacier_provider.core.tiers import retrieval_hours
from glacier_provider.errors import ConfigurationError

LATEST = "latest"


class RestorePart(StrEnum):
    """What a restore brings back."""

    EVERYTHING = "everything"  #: database and attached files, as they were together
    DATABASE = "database"  #: the database alone; the directory is left as it is
    FILES = "files"  #: missing files alone; the database is left as it is


#: The name by which copies of dags/glacier_restore.py know it that were made before: they must go on parsing.
Part = RestorePart


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """One restore as it was asked for. `backup_id` None means the newest complete backup.

    `tier` and `days` None stand for the application's settings. `tables` restores only these (schema, name) pairs.
    `approve` asks for a person's approval of the plan, whatever it costs. `accept_errors`: a swap does without the
    statements that fail. `without_lost` goes on without files that no store holds any more. `into`: another database
    and directory than the application's, which then stay as they are. `only_files` names files that are added to that
    directory, whatever else is in it; nothing else is brought. `sample`: a drill, which takes these files
    alone, and out of the stores.
    """

    backup_id: int | None
    part: RestorePart = RestorePart.EVERYTHING
    tier: Tier | None = None
    days: int | None = None
    tables: tuple[tuple[str, str], ...] = ()
    move_orphans: bool = True
    approve: bool = False
    accept_errors: bool = False
    without_lost: bool = False
    into: RestoreTarget | None = None
    only_files: tuple[str, ...] = ()
    sample: FileSample | None = None

    @property
    def database(self) -> bool:
        return self.part in (RestorePart.EVERYTHING, RestorePart.DATABASE)

    @property
    def files(self) -> bool:
        return self.part in (RestorePart.EVERYTHING, RestorePart.FILES)

    @property
    def orphans(self) -> bool:
        """Orphans move only when database and files are restored together, and all of the database is."""
        return self.move_orphans and self.part is RestorePart.EVERYTHING and not self.tables and self.into is None

    @property
    def replaces(self) -> bool:
        """Whether a file that is there with another content than the backup's goes aside, and the backup's comes."""
        return self.move_orphans and self.files and not self.tables and self.into is None

    def with_target(self, targets: Mapping[str, Mapping[str, Any]]) -> RestoreRequest:
        """Return the request with its target looked up among an application's, by name, and what that takes.

        A target without a directory gets no files, one without a database no rows, unless they are asked for: then, and
        for a name that is not there, ConfigurationError.
        """
        if self.into is None:
            if self.only_files:
                raise ConfigurationError(
                    "only_files names files that are to be added to another directory, and there is no into.",
                    hint='Give the directory, as in "into": {"files_directory": "/srv/fetched"}.',
                )
            if self.sample is not None:
                raise ConfigurationError("A sample of the files is for a restore into another place: give into.")
            return self
        target = self.into
        if target.is_a_name:
            if target.name not in targets:
                known = f"; there are: {', '.join(targets)}" if targets else "; there is none in its entry"
                raise ConfigurationError(
                    f"There is no restore target {target.name!r}{did_you_mean(target.name, targets) or known}.",
                    hint="Name one of restore_targets in applications.yaml, or give its database and files_directory.",
                )
            target = RestoreTarget.from_given({**targets[target.name], "name": target.name}) or target
        part = self.part
        if part is RestorePart.EVERYTHING and not target.takes_files:
            part = RestorePart.DATABASE
        elif part is RestorePart.EVERYTHING and not target.takes_database:
            part = RestorePart.FILES
        for wanted, takes, field_name in (
            (RestorePart.DATABASE, target.takes_database, "database"),
            (RestorePart.FILES, target.takes_files, "files_directory"),
        ):
            if part is wanted and not takes:
                raise ConfigurationError(
                    f"The restore target {target} has no {field_name}, and part is {self.part.value}.",
                    hint=f"Give it a {field_name}, or choose another part.",
                )
        if self.only_files and part is not RestorePart.FILES:
            raise ConfigurationError(
                f"only_files names {counted(len(self.only_files), 'file')}, and part is {part.value}.",
                hint='Give them with "part": "files".',
            )
        return replace(self, into=target, part=part)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RestoreRequest:
        """Parse the restore DAG's params; raise ConfigurationError naming the param and an example.

        Numbers and booleans may be given as text, as templates render them.
        """
        refuse_unknown(params, [one.name for one in fields(cls)])
        wanted, hint = params.get("backup_id"), 'Give a number or "latest", as in {"backup_id": 42}.'
        return cls(
            backup_id=None if wanted == LATEST else backup_id_of(wanted, hint=hint),
            part=member(RestorePart, params.get("part") or RestorePart.EVERYTHING, "part"),
            tier=member(Tier, params["tier"], "tier") if params.get("tier") else None,
            days=_days(params.get("days")),
            tables=_tables(params.get("tables")),
            move_orphans=truth(params.get("move_orphans", True), "move_orphans"),
            approve=truth(params.get("approve", False), "approve"),
            accept_errors=truth(params.get("accept_errors", False), "accept_errors"),
            without_lost=truth(params.get("without_lost", False), "without_lost"),
            into=RestoreTarget.from_given(params.get("into")),
            only_files=_file_names(params.get("only_files")),
            sample=FileSample.from_given(params.get("sample")),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "backup_id": self.backup_id or LATEST,
            "part": self.part.value,
            "tier": self.tier.value if self.tier else None,
            "days": self.days,
            "tables": [format_table(schema, name) for schema, name in self.tables],
            "move_orphans": self.move_orphans,
            "approve": self.approve,
            "accept_errors": self.accept_errors,
            "without_lost": self.without_lost,
            "into": self.into.as_dict() if self.into else None,
            "only_files": list(self.only_files),
            **({"sample": self.sample.as_dict()} if self.sample else {}),
        }


def _days(given: Any) -> int | None:
    if given is None or given == "":
        return None
    number = whole_number(given)
    if not 1 <= number <= 365:
        raise ConfigurationError(f"days is {given!r}.", hint="Give a whole number of days from 1 to 365, as in 7.")
    return number


def _tables(given: Any) -> tuple[tuple[str, str], ...]:
    names = given.splitlines() if isinstance(given, str) else given or ()
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"tables is {given!r}.", hint='Give a list of names, as in ["public.documents"].')
    return tuple(parse_table(name) for name in names if name.strip())


def _file_names(given: Any) -> tuple[str, ...]:
    names = given.splitlines() if isinstance(given, str) else given or ()
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"only_files is {given!r}.", hint='Give a list of names, as in ["reports/2024.pdf"].')
    return tuple(dict.fromkeys(name for name in names if name))


_NOTHING = Amount()

#: From so many archives of one store on, one job of S3 Batch Operations asks for all of them.
BATCH_FROM = 20_000
#: It knows no Expedited: https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-initiate-restore-object.html
BATCH_TIERS = (Tier.STANDARD, Tier.BULK)


@dataclass(frozen=True, slots=True)
class Figure:
    """Archives that a restore brings: from which store, or from the orphan directory, or, elsewhere, from the
    application's own directory (`source` "store", "orphan" or "directory").
    """

    store_uri: str
    source: str
    status: RetrievalStatus
    amount: Amount


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore will take. It changes nothing and says why for each part.

    `present`: files already in the directory, nothing to do. `set_aside`: files that an earlier restore moved to the
    orphan directory and that are moved back. `to_request`: archives that must be retrieved from the cold; `pending`
    and `ready`: asked for earlier. `hours`: typical, from and to, by tier; empty when no retrieval is needed.
    `differing`: files present with another content; they go aside for those of the backup if `replaces`. `lost`: files
    that no store holds any more. `known`: what was known of the backup when it was made, a sentence each. `into`: where
    it goes, when not into the application's own places; `to_copy`: files that are copied there from its directory.
    `costs`: estimated, by tier, as `retrieval_by_tier` returns them, from the table that `prices` names. `by_batch`:
    how many archives a job of S3 Batch Operations asks for, by store, and `batch_fee` what its jobs cost beside that.
    """

    backup_id: int
    tier: Tier
    days: int
    present: Amount = _NOTHING
    set_aside: Amount = _NOTHING
    to_request: Amount = _NOTHING
    pending: Amount = _NOTHING
    ready: Amount = _NOTHING
    database_bytes: int = 0
    hours: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    differing: tuple[str, ...] = ()
    differing_count: int = 0
    replaces: bool = False
    lost: tuple[str, ...] = ()
    lost_count: int = 0
    known: tuple[str, ...] = ()
    costs: Mapping[str, TierCost] = field(default_factory=dict)
    prices: str = ""
    currency: str = ""
    budget: Decimal | None = None
    into: str = ""
    to_copy: Amount = _NOTHING
    by_batch: Mapping[str, int] = field(default_factory=dict)
    batch_fee: Decimal = Decimal(0)

    @property
    def cost(self) -> Decimal:
        """What the restore is estimated to cost by the chosen tier."""
        return of_tier(self.costs, self.tier.value).total

    @property
    def over_budget(self) -> bool:
        return self.budget is not None and self.cost > self.budget

    @property
    def to_bring(self) -> Amount:
        """What has to be downloaded."""
        return self.to_request + self.pending + self.ready

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-able values; money is decimal text."""
        return {
            **asdict(replace(self, costs={})),
            "tier": self.tier.value,
            "costs": {tier: cost.as_dict() for tier, cost in self.costs.items()},
            "cost": plain(self.cost),
            "budget": None if self.budget is None else plain(self.budget),
            "over_budget": self.over_budget,
            "batch_fee": plain(self.batch_fee),
        }

    def lines(self) -> list[str]:
        """Return the plan as a person reads it."""
        where = f" into {self.into}" if self.into else ""
        said = [
            f"Backup {self.backup_id}{where}: database {readable_size(self.database_bytes)}, "
            f"{readable_amount(self.present, 'file')} in the directory already.",
            f"To retrieve from the cold: {readable_amount(self.to_request)}.",
        ]
        if self.to_copy.archives:
            what = readable_amount(self.to_copy, "file")
            said.append(f"To copy from the application's own directory, verified, at no cost: {what}.")
        if self.pending.archives or self.ready.archives:
            said.append(f"Retrieved or requested earlier: {readable_amount(self.pending + self.ready)}.")
        if self.set_aside.archives:
            said.append(f"To move back from the orphan directory, at no cost: {readable_amount(self.set_aside)}.")
        for tier, (fewest, most) in self.hours.items() if self.to_request.archives else ():
            chosen = " (chosen)" if tier == self.tier.value else ""
            said.append(f"  {tier}{chosen}: typically {hours(fewest)} to {hours(most)}{self._told_cost(tier)}.")
        said += self._told_money()
        if self.differing_count:
            named = some(self.differing, self.differing_count)
            done = "To be moved aside for those of the backup" if self.replaces else "Left alone"
            said.append(f"{done}, since their content is another: {counted(self.differing_count, 'file')} ({named}).")
        if self.lost_count:
            named = some(self.lost, self.lost_count)
            said.append(
                f"LOST, in no store any more or not as it was written: {counted(self.lost_count, 'file')} ({named})."
            )
        said += self.known
        return said

    def _told_cost(self, tier: str) -> str:
        cost = self.costs.get(tier)
        return "" if cost is None else f", {money(cost.total, self.currency)}"

    def _told_money(self) -> list[str]:
        if not self.costs:
            return []
        parts = of_tier(self.costs, self.tier.value)
        named = {
            "requests": parts.requests,
            "bytes": parts.bytes,
            "reading and looking": parts.reading,
            f"copies for {counted(self.days, 'day')}": parts.temporary_copy,
            "transfer out": parts.transfer_out,
        }
        split = ", ".join(f"{name} {money(amount, self.currency)}" for name, amount in named.items() if amount)
        said = [f"Estimated cost: {money(self.cost, self.currency)}{f' ({split})' if split else ''}, by {self.prices}."]
        if self.by_batch:
            said.append(
                f"{counted(len(self.by_batch), 'job')} of S3 Batch Operations will ask for "
                f"{counted(sum(self.by_batch.values()), 'archive')}, for {money(self.batch_fee, self.currency)} more "
                f"than one by one ({money(self.cost - self.batch_fee, self.currency)})."
            )
        if self.over_budget and self.budget is not None:
            said.append(f"That is more than the budget of {money(self.budget, self.currency)}.")
        return said


def with_costs(
    plan: RestorePlan,
    places: Iterable[tuple[str, Amount, Amount]],
    prices: Prices,
    *,
    budget: float | None,
    now: datetime | None = None,
    look_seconds: int | None = None,
) -> RestorePlan:
    """Return `plan` with its cost by tier; `places`: (store class, what is asked for, what is read without asking).

    With `now` copies are reckoned to the midnight at which they end when they are asked for now; with `look_seconds`
    the looks at what is waited for, which come so often.
    """
    given = list(places)
    return replace(
        plan,
        costs=retrieval_by_tier(
            [Stored(name, asked.archives, asked.bytes) for name, asked, _ in given],
            prices,
            days=plan.days,
            now=now,
            look_seconds=look_seconds,
            alone=1 if plan.database_bytes else 0,
            ready=[Stored(name, ready.archives, ready.bytes) for name, _, ready in given],
        ),
        prices=prices.name,
        currency=prices.currency,
        budget=None if budget is None else Decimal(str(budget)),
    )


def plan_from_figures(
    plan: RestorePlan, figures: Iterable[tuple[str, RetrievalStatus, Amount]], *, retrieval: bool
) -> RestorePlan:
    """Return `plan` with the sums of (source, status, amount) rows; without `retrieval` everything is ready at once."""
    sums: dict[str, Amount] = {}
    for source, status, amount in figures:
        place = _place(source, status, retrieval=retrieval)
        sums[place] = sums.get(place, Amount()) + amount
    return replace(
        plan,
        set_aside=sums.get("set_aside", Amount()),
        to_copy=sums.get("to_copy", Amount()),
        to_request=sums.get("to_request", Amount()),
        pending=sums.get("pending", Amount()),
        ready=sums.get("ready", Amount()),
    )


def _place(source: str, status: RetrievalStatus, *, retrieval: bool) -> str:
    if source == "orphan":
        return "set_aside"
    if source == "directory":
        return "to_copy"
    places = {RetrievalStatus.AVAILABLE: "to_request", RetrievalStatus.PENDING: "pending"}
    return places.get(status, "ready") if retrieval else "ready"


def plan_by_store(
    plan: RestorePlan,
    figures: Iterable[Figure],
    prices: Prices,
    *,
    budget: float | None,
    now: datetime | None = None,
    look_seconds: int | None = None,
    batch: bool = False,
) -> RestorePlan:
    """Return `plan` with the amounts, the hours and the costs of what has to be brought from each store.

    What `plan` sets aside stays; the figures of source "orphan" are added to it. `now` and `look_seconds` as in
    `with_costs`. With `batch` jobs of S3 Batch Operations ask for what is very much of one store.
    """
    by_store: dict[str, list[tuple[str, RetrievalStatus, Amount]]] = {}
    for one in sorted(figures, key=lambda figure: figure.store_uri):
        by_store.setdefault(one.store_uri, []).append((one.source, one.status, one.amount))
    hours_of = {uri: retrieval_hours(uri) for uri in by_store}
    parts = {uri: plan_from_figures(plan, rows, retrieval=bool(hours_of[uri])) for uri, rows in by_store.items()}
    whole = replace(
        plan,
        set_aside=sum((part.set_aside for part in parts.values()), plan.set_aside),
        to_copy=sum((part.to_copy for part in parts.values()), _NOTHING),
        to_request=sum((part.to_request for part in parts.values()), _NOTHING),
        pending=sum((part.pending for part in parts.values()), _NOTHING),
        ready=sum((part.ready for part in parts.values()), _NOTHING),
        hours=_slowest(spans for uri, spans in hours_of.items() if parts[uri].to_request.archives),
    )
    places = [(store_class(uri), part.to_request, part.pending + part.ready) for uri, part in parts.items()]
    planned = with_costs(whole, places, prices, budget=budget, now=now, look_seconds=look_seconds)
    asked = {uri: part.to_request.archives for uri, part in parts.items()}
    return _by_batch(planned, asked, prices) if batch else planned


def _by_batch(plan: RestorePlan, asked: Mapping[str, int], prices: Prices) -> RestorePlan:
    """Return a plan by which jobs ask for what is very much of one store; they cost by each tier that they know."""
    many = {uri: count for uri, count in asked.items() if is_for_a_job(store_class(uri), count)}
    fee = sum((batch_cost(count, prices) for count in many.values()), Decimal(0))
    chosen = plan.tier in BATCH_TIERS
    return replace(
        plan,
        costs=with_jobs(plan.costs, fee),
        by_batch=many if chosen else {},
        batch_fee=fee if chosen else Decimal(0),
    )


def is_for_a_job(store_class: str, archives: int) -> bool:
    """Return whether a job of S3 Batch Operations asks for so many archives of one store, where one may."""
    return archives >= BATCH_FROM and store_class != "VAULT"


def with_jobs(costs: Mapping[str, TierCost], fee: Decimal) -> dict[str, TierCost]:
    """Return what retrievals cost by tier, with the fee of the jobs that ask for them: by the tiers that jobs know."""
    known = {tier.value for tier in BATCH_TIERS}
    return {tier: cost + TierCost(requests=fee) if tier in known else cost for tier, cost in costs.items()}


def _slowest(spans: Iterable[Mapping[Tier, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """Return the hours of each tier of several stores together: a restore waits for the slowest of them."""
    found: dict[str, tuple[float, float]] = {}
    for of_store in spans:
        for tier, (fewest, most) in of_store.items():
            before = found.get(tier.value, (0.0, 0.0))
            found[tier.value] = (max(before[0], fewest), max(before[1], most))
    return {tier.value: found[tier.value] for tier in Tier if tier.value in found}
