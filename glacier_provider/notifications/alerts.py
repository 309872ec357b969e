"""A notifier that tells an application's own targets what the product has to say of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from glacier_provider.errors import GlacierProviderError, NotTold

if TYPE_CHECKING:
    from glacier_provider.pipelines.alerts import Failure


#: The password in a URL, which errors of drivers may quote.
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")


class GlacierNotifier(BaseNotifier):
    """Tell the targets of `alerts` of an application what is wrong with it, without waiting for `glacier_alerts`.

    For `on_failure_callback` and `on_success_callback` of tasks and DAGs, and, in the triggerer, for deadlines::

        SomeOperator(..., on_failure_callback=GlacierNotifier(application="library"))

    The messages are those of `glacier_alerts`: a run that opened a backup or a restore is noted as failed, with the
    reason, and nobody is told twice of the same. A failed task of a run that opened none is told as `reported`, to all
    targets and each time.
    """

    template_fields: Sequence[str] = ("application",)

    def __init__(self, *, application: str, context: Any = None) -> None:
        super().__init__(context)
        self.application = application

    def notify(self, context: Any) -> None:
        """Tell; raise NotTold, which names the first target that was not told, ConfigurationError for no such name."""
        _raise_first(_note_and_tell(self.application, context))

    async def async_notify(self, context: Any) -> None:
        """Tell, in a thread: it waits for the catalog and for the targets, and a triggerer waits for nobody."""
        _raise_first(await asyncio.to_thread(_tell, self.application))


def _tell(name: str) -> list[Failure]:
    from glacier_provider.hooks.alerts import tell_application, unreachable_catalogs
    from glacier_provider.hooks.resources import find_application

    application = find_application(name)
    with unreachable_catalogs() as known:
        return tell_application(application, known)


def _note_and_tell(name: str, context: Mapping[str, Any]) -> list[Failure]:
    reason = _reason(context)
    is_ours = reason is None or _noted(name, context, reason)
    return [*([] if is_ours or reason is None else _report(name, context, reason)), *_tell(name)]


def _reason(context: Mapping[str, Any]) -> str | None:
    """Return why what the context is of failed; None: it did not."""
    state = getattr(context.get("dag_run"), "state", None)
    error = context.get("exception")
    if error is None and str(getattr(state, "value", state)) != "failed":
        return None
    text = _without_secrets(str(error or context.get("reason") or "").strip())
    return text or (type(error).__name__ if error is not None else "no task told why")


def _without_secrets(text: str) -> str:
    """Return what an error says without passwords: the task may be anybody's, and what is told goes to other people."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    from glacier_provider.postgres.tools.messages import without_secrets

    return _PASSWORD.sub(r"\1:***@", without_secrets(str(redact(text))))


def _noted(name: str, context: Mapping[str, Any], reason: str) -> bool:
    """Note in the catalog that the run failed; return whether it had opened a backup or a restore."""
    from glacier_provider.catalog.backups import Run
    from glacier_provider.hooks.resources import Resources, find_application
    from glacier_provider.pipelines.shared.failure import note_failure
    from glacier_provider.pipelines.shared.step import step_of

    given: Any = context["dag_run"]
    run, step = Run(dag_id=given.dag_id, dag_run_id=given.run_id), step_of(context.get("exception"))
    try:
        with Resources(find_application(name)) as resources:
            return note_failure(run, f"{_what(context)}: {reason}", step=step, catalog=resources.catalog)
    except GlacierProviderError:
        return False  # of the catalog that cannot be asked, `_tell` tells


def _what(context: Mapping[str, Any]) -> str:
    task: Any = context.get("task")
    return str(task.task_id) if task is not None else "the run"


def _report(name: str, context: Mapping[str, Any], reason: str) -> list[Failure]:
    from glacier_provider.core.alert import a_reported_alert
    from glacier_provider.hooks.alerts import tell_at_once
    from glacier_provider.hooks.resources import find_application

    what = f"{_what(context)} of {context['dag_run'].dag_id} failed: {reason}"
    link = str(getattr(context.get("ti"), "log_url", None) or "")
    return tell_at_once(find_application(name), a_reported_alert(name, what, datetime.now(UTC), link))


def _raise_first(failures: list[Failure]) -> None:
    if failures:
        raise NotTold(f"Not told: {failures[0]['target']} ({failures[0]['error']}).")
