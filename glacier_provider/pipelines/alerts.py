"""What is wrong with an application, told to those who are to be called: each of them once.

Backups and restores have no part in this: a target that fails or hangs is in nobody's way but the next target's, and
in that one's for a time-out only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from glacier_provider.applications import AlertOptions, Application
from glacier_provider.applications.schedule import Schedule, expected_since, proofs_missed
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.alert import NEWS, Alert, AlertTarget, alerts_of
from glacier_provider.core.condition import AgeLimits, Condition, Event, Grade, Trouble, is_to_come, troubles_of
from glacier_provider.core.cost import storage_cost
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.text import some
from glacier_provider.errors import CatalogNotReady, GlacierProviderError
from glacier_provider.pipelines.costs import held
from glacier_provider.pipelines.shared.parallel import in_time

log = logging.getLogger(__name__)

#: The next backup migrates a catalog; of most schedules it comes within a day.
MIGRATED_WITHIN = timedelta(hours=26)
#: The catalog's clock may be behind the scheduler's by so much, or a tenth of a backup's grace.
CLOCK_SKEW = timedelta(minutes=5)
#: A target that fails after so long is not asked again in the same look.
_SLOW_SECONDS = 5.0

#: Tells one target of one alert; raises an error of our family when that did not arrive.
Send = Callable[[AlertTarget, Alert], None]
#: `application`, `target`, `event` and `error`: what could not be told, to whom, and why.
Failure = dict[str, Any]


def tell_alerts(
    application: Application,
    *,
    catalog: Catalog,
    send: Send,
    link: str = "",
    now: datetime | None = None,
    silent: set[str] | None = None,
) -> list[Failure]:
    """Tell every target what it was not told yet; return what could not be told.

    `silent` are the targets that let this look at all applications wait in vain: they are asked another time.
    """
    now, silent = now or datetime.now(UTC), set() if silent is None else silent
    current = current_alerts(application, catalog=catalog, link=link, now=now)
    catalog.alerts.forget(but=current)
    asking = _Asking(application.alerts.timeout_seconds, send, silent)
    return [
        failure for target in targets_of(application) for failure in _tell(target, current, asking, catalog=catalog)
    ]


#: What is remembered of what no catalog can remember, by what it is about: `since`, and the targets that were `told`.
Remembered = dict[str, dict[str, Any]]


def tell_unreachable(
    applications: Sequence[Application],
    error: GlacierProviderError,
    *,
    known: Remembered,
    send: Send,
    link: str = "",
    now: datetime | None = None,
    silent: set[str] | None = None,
) -> list[Failure]:
    """Tell every target once that the catalog of these applications cannot be asked: what else is wrong is not known.

    Who is called for several of them hears of all at once. A catalog that waits for its migration is left a day for
    it: the next backup makes it. `known` remembers it by application, since the catalog cannot; return what could not
    be told, as `tell_alerts`.
    """
    now, silent = now or datetime.now(UTC), set() if silent is None else silent
    waiting: dict[str, tuple[AlertTarget, list[Application]]] = {}
    for application in applications:
        state = _state_of(known, application.name, now)
        if Event.CATALOG_UNREACHABLE.value in application.alerts.on and not _will_be_migrated(error, state, now):
            for target in targets_of(application):
                if target.id not in state["told"]:
                    waiting.setdefault(target.id, (target, []))[1].append(application)
    failures: list[Failure] = []
    for target, of in waiting.values():
        since = min(datetime.fromisoformat(known[one.name]["since"]) for one in of)
        told = f"its catalog cannot be asked: {error.message}"
        if others := [one.name for one in of[1:]]:
            told = f"{told.rstrip('.')}. It is also that of {some(others)}."
        alert = Alert(of[0].name, Event.CATALOG_UNREACHABLE, Grade.CRITICAL, told, error.hint, since, link=link)
        asking = _Asking(max(one.alerts.timeout_seconds for one in of), send, silent)
        failures += _tell_remembered(target, alert, [known[one.name] for one in of], asking)
    return failures


def tell_wrong(
    name: str,
    problems: Sequence[str],
    options: AlertOptions,
    *,
    known: Remembered,
    send: Send,
    link: str = "",
    now: datetime | None = None,
    silent: set[str] | None = None,
) -> list[Failure]:
    """Tell the targets of an application once that its entry is wrong, so that it has no DAGs and no backups."""
    now, silent = now or datetime.now(UTC), set() if silent is None else silent
    if Event.APPLICATION_WRONG.value not in options.on:
        return []
    state = _state_of(known, wrong_key(name), now)
    alert = wrong_alert(name, problems, since=datetime.fromisoformat(state["since"]), link=link)
    asking = _Asking(options.timeout_seconds, send, silent)
    targets = [AlertTarget.from_given(one) for one in options.to]
    waiting = [target for target in targets if target.id not in state["told"]]
    return [failure for target in waiting for failure in _tell_remembered(target, alert, [state], asking)]


def wrong_alert(name: str, problems: Sequence[str], *, since: datetime | None, link: str) -> Alert:
    """Return what is told of an application whose entry is wrong."""
    more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    told = f"no backup of it is made, since its entry in applications.yaml is wrong: {problems[0]}{more}"
    hint = "glacier-backup applications names every mistake of the file."
    return Alert(name, Event.APPLICATION_WRONG, Grade.CRITICAL, told, hint, since, link=link)


def wrong_key(name: str) -> str:
    """Return by what is remembered that an entry is wrong; no application has such a name."""
    return f"wrong {name}"


def _state_of(known: Remembered, key: str, now: datetime) -> dict[str, Any]:
    return known.setdefault(key, {"since": now.isoformat(), "told": []})


def _will_be_migrated(error: GlacierProviderError, state: Mapping[str, Any], now: datetime) -> bool:
    """Whether the next backup most probably mends it: no catalog is there yet, or one of an older version."""
    mended = isinstance(error, CatalogNotReady) and error.hint == CatalogNotReady.hint
    return mended and now - datetime.fromisoformat(state["since"]) < MIGRATED_WITHIN


def targets_of(application: Application) -> list[AlertTarget]:
    return [AlertTarget.from_given(one) for one in application.alerts.to]


def current_alerts(application: Application, *, catalog: Catalog, link: str, now: datetime) -> list[Alert]:
    """Return what is wrong now, and what happened lately, as far as `alerts.on` names it."""
    name = application.name
    _ = catalog.backups.application_id  # from now on the catalog knows it, and since when
    condition = catalog.conditions.of([name])[name]
    troubles = [*_troubles(application, condition, now), *_dear(application, catalog)]
    happenings = catalog.conditions.happenings(name, since=now - NEWS)
    return alerts_of(troubles, happenings, on=application.alerts.on, link=link)


def tell(
    targets: Iterable[AlertTarget], alert: Alert, *, seconds: float, send: Send
) -> list[tuple[AlertTarget, str | None]]:
    """Tell each target of one alert, and return with each why it did not arrive; None: it did."""
    return [(target, _Asking(seconds, send, set()).why_not(target, alert)) for target in targets]


@dataclass(frozen=True, slots=True)
class _Asking:
    """How targets are asked to take an alert: within so many seconds; who was slow in vain is noted as `silent`."""

    seconds: float
    send: Send
    silent: set[str]

    def why_not(self, target: AlertTarget, alert: Alert) -> str | None:
        """Tell a target; return why it did not arrive."""
        began = time.monotonic()
        why = _why_not(target, alert, self.seconds, self.send)
        if why is not None and time.monotonic() - began > min(_SLOW_SECONDS, self.seconds / 2):
            self.silent.add(target.id)
        return why


def _tell(target: AlertTarget, alerts: Sequence[Alert], asking: _Asking, *, catalog: Catalog) -> Iterable[Failure]:
    for alert in alerts:
        if target.id in asking.silent:
            return
        if not catalog.alerts.claim(target.id, alert):
            continue
        why = asking.why_not(target, alert)
        catalog.alerts.record(target.id, alert, error=why)
        if why is not None:
            # The next one would most probably not arrive either, and take as long: they are told another time.
            yield failure_of(target, alert, why)
            return


def _tell_remembered(
    target: AlertTarget, alert: Alert, states: Sequence[dict[str, Any]], asking: _Asking
) -> Iterable[Failure]:
    if target.id in asking.silent:
        return
    why = asking.why_not(target, alert)
    if why is not None:
        yield failure_of(target, alert, why)
        return
    for state in states:
        state["told"].append(target.id)


def failure_of(target: AlertTarget, alert: Alert, why: str) -> Failure:
    """Return what could not be told."""
    return {"application": alert.application, "target": target.name, "event": alert.event.value, "error": why}


def _why_not(target: AlertTarget, alert: Alert, seconds: float, send: Send) -> str | None:
    """Tell a target; return why it did not arrive. What others raise may quote addresses: its type is told."""
    try:
        in_time(lambda: send(target, alert), seconds)
    except GlacierProviderError as error:
        return str(error)
    except TimeoutError:
        return f"it did not answer within {seconds:g} seconds, which are alerts.timeout_seconds"
    except Exception as error:
        log.debug("An alert did not arrive.", exc_info=True)
        return type(error).__name__
    log.info("%s: told %s of %s.", alert.application, target.name, alert.event.value)
    return None


def _troubles(application: Application, condition: Condition, now: datetime) -> list[Trouble]:
    at_once = timedelta()
    missed = _missed(application, condition, now)
    backup = AgeLimits(at_once if missed else None, at_once if missed > 1 else None)
    passed = {kind: proven.passed_at for kind, proven in condition.proven.items()}
    unproven = proofs_missed(application, passed, known_since=condition.known_since, now=now)
    proofs = {kind: AgeLimits(at_once) for kind in ProofKind if kind in unproven}
    found = troubles_of(condition, now=now, backup=backup, proofs=proofs, anomalies=application.anomalies)
    return [one for one in found if missed or one.event is not Event.BACKUP_LATE]


def _missed(application: Application, condition: Condition, now: datetime) -> int:
    """Return how many backups were due that are not there, at most two; of a new application, since it is known.

    One that is dated in the future is none that is there: a clock was, or is, wrong.
    """
    schedule = Schedule(application.schedule, application.timezone)
    grace = schedule.grace(now)
    due = schedule.last_due(now - grace)
    if due is None:
        return 0
    if is_to_come(condition.complete_at, now):
        return 1  # how old it is cannot be told, and that is
    since = condition.complete_since or expected_since(application, condition.known_since, now)
    since += min(CLOCK_SKEW, grace / 10)
    if since >= due:
        return 0
    before = schedule.last_due(due - timedelta(seconds=2))
    return 2 if before is not None and since < before else 1


def _dear(application: Application, catalog: Catalog) -> list[Trouble]:
    most = application.alerts.monthly_cost
    if most is None:
        return []
    prices = application.price_table
    cost = storage_cost(held(catalog.pages.totals([application.name])[application.name]), prices)
    if cost <= Decimal(str(most)):
        return []
    told = f"its archives cost {cost:.2f} {prices.currency} a month, and {most:g} are expected at most"
    hint = f"See what costs how much, and what retention lets go: glacier-backup costs {application.name}"
    return [Trouble(application.name, Event.COST, Grade.WARNING, told, hint, None, f"above {most:g}")]
