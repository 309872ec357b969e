"""What is wrong with an application, told to those who are to be called: each of them once.

Backups and restores have no part in this: a target that fails or hangs is in nobody's way but the next target's, and
in that one's for a time-out only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.applications.schedule import Schedule, expected_since, proofs_missed
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.alert import NEWS, Alert, AlertTarget, alerts_of
from glacier_provider.core.condition import AgeLimits, Condition, Event, Grade, Trouble, is_to_come, troubles_of
from glacier_provider.core.cost import storage_cost
from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import GlacierProviderError
from glacier_provider.pipelines.costs import held
from glacier_provider.pipelines.shared.parallel import in_time

log = logging.getLogger(__name__)

#: Tells one target of one alert; raises an error of our family when that did not arrive.
Send = Callable[[AlertTarget, Alert], None]
#: `application`, `target`, `event` and `error`: what could not be told, to whom, and why.
Failure = dict[str, Any]


def tell_alerts(
    application: Application, *, catalog: Catalog, send: Send, link: str = "", now: datetime | None = None
) -> list[Failure]:
    """Tell every target what it was not told yet; return what could not be told."""
    now = now or datetime.now(UTC)
    current = current_alerts(application, catalog=catalog, link=link, now=now)
    catalog.alerts.forget(but=current)
    return [
        failure
        for target in targets_of(application)
        for failure in _tell(target, current, application.alerts.timeout_seconds, catalog=catalog, send=send)
    ]


def tell_unreachable(
    application: Application,
    error: GlacierProviderError,
    *,
    known: dict[str, dict[str, Any]],
    send: Send,
    link: str = "",
    now: datetime | None = None,
) -> list[Failure]:
    """Tell every target once that the catalog cannot be asked: what else is wrong is not known then.

    `known` remembers it by application, since the catalog cannot; return what could not be told, as `tell_alerts`.
    """
    now = now or datetime.now(UTC)
    if Event.CATALOG_UNREACHABLE.value not in application.alerts.on:
        return []
    state = known.setdefault(application.name, {"since": now.isoformat(), "told": []})
    since = datetime.fromisoformat(state["since"])
    told = f"its catalog cannot be asked: {error.message}"
    alert = Alert(application.name, Event.CATALOG_UNREACHABLE, Grade.CRITICAL, told, error.hint, since, link=link)
    failures: list[Failure] = []
    waiting = [target for target in targets_of(application) if target.id not in state["told"]]
    for target, why in tell(waiting, alert, seconds=application.alerts.timeout_seconds, send=send):
        if why is None:
            state["told"].append(target.id)
        else:
            failures.append(failure_of(target, alert, why))
    return failures


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
    return [(target, _why_not(target, alert, seconds, send)) for target in targets]


def _tell(
    target: AlertTarget, alerts: Sequence[Alert], seconds: float, *, catalog: Catalog, send: Send
) -> Iterable[Failure]:
    for alert in alerts:
        if not catalog.alerts.claim(target.id, alert):
            continue
        why = _why_not(target, alert, seconds, send)
        catalog.alerts.record(target.id, alert, error=why)
        if why is not None:
            # The next one would most probably not arrive either, and take as long: they are told another time.
            yield failure_of(target, alert, why)
            return


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
        return f"it did not answer within {seconds:g} seconds"
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
    due = schedule.last_due(now - schedule.grace(now))
    since = condition.complete_since or expected_since(application, condition.known_since, now)
    if due is None or (since >= due and not is_to_come(condition.complete_since, now)):
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
