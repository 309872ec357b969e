"""What every operator of this package shares: the application, its resources, errors that Airflow understands."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, XComNotFound

from glacier_provider.core.dags import BACKUP, RESTORE, UNDO, dag_id_of
from glacier_provider.errors import GlacierProviderError, IllegalMove
from glacier_provider.hooks.figures import tell_figures
from glacier_provider.hooks.ping import ping_failed
from glacier_provider.hooks.resources import Resources, find_application
from glacier_provider.operators.executor import executor_config
from glacier_provider.operators.links import BackupLink, Links
from glacier_provider.pipelines.shared.step import step_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from glacier_provider.applications import Application
    from glacier_provider.catalog.archives import ArchiveRange
    from glacier_provider.catalog.backups import Run

log = logging.getLogger(__name__)


#: Airflow leaves out, in silence, tasks that start after a run's logical date. No run is so early.
ANY_DATE = datetime(1900, 1, 1, tzinfo=UTC)


def default_args(application: Application) -> dict[str, Any]:
    """Return what the tasks of all DAGs of an application have in common: where they run, how they are tried again."""
    return {
        "application": application.name,
        # Without them, Airflow's own defaults hold: [operators] default_queue, and default_pool.
        **({"queue": application.queue} if application.queue else {}),
        **({"pool": application.pool} if application.pool else {}),
        **({"executor_config": told} if (told := executor_config(application)) else {}),
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": timedelta(hours=24),
        "on_failure_callback": record_failure,
    }


def dag_args(kind: str, application: Application) -> dict[str, Any]:
    """Return what the DAGs of all applications have in common, by their kind (`core/dags.py`); for `DAG(**...)`.

    A DAG file adds what is its own, as its schedule. `DAG` is called there: Airflow takes the file of the caller for
    the DAG's.
    """
    return {
        "dag_id": dag_id_of(kind, application.name),
        "catchup": False,
        "tags": ["glacier", _TAGS.get(kind, kind), application.name],
        "default_args": default_args(application),
    }


#: Of the kinds that a person looks for by the name of another one.
_TAGS = {UNDO: RESTORE}


def tells_its_end() -> dict[str, Any]:
    """Return what has the catalog know how a run ended where no task could tell; for `DAG(**...)`."""
    return {"on_failure_callback": run_failed, "on_success_callback": run_succeeded}


class NothingTold(BaseOperator):
    """What a task that was marked by hand has not told is None, of which they say which task to clear.

    Airflow's own error for it is a traceback about XComs.
    """

    def render_template(self, content: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().render_template(content, *args, **kwargs)
        except XComNotFound:
            return None


class GlacierOperator(NothingTold):
    """An operator on one application.

    `application` is its name in applications.yaml, or a mapping with its name and settings.
    """

    template_fields: Sequence[str] = ("application",)
    operator_extra_links: Links = (BackupLink(),)

    def __init__(self, *, application: str | Mapping[str, Any], **kwargs: Any) -> None:
        # The hook and not the method: Airflow tells it the result.
        super().__init__(**{"post_execute": _send_figures, **kwargs})
        self.application = application

    @contextmanager
    def opened(self) -> Iterator[Resources]:
        """Open the application's resources; an error that a retry cannot help fails the task at once."""
        with task_errors(), Resources(find_application(self.application)) as resources:
            yield resources


def _send_figures(context: Context, result: Any = None) -> None:
    """Send the figures that a task returned to where Airflow sends its own."""
    task: Any = context["task"]
    name = task.application if isinstance(task.application, str) else str(task.application["name"])
    tell_figures(name, task.task_id, result, adds=getattr(context["ti"], "map_index", -1) >= 0)


@contextmanager
def task_errors() -> Iterator[None]:
    """Let retryable errors of our family pass, and turn the others into AirflowFailException."""
    try:
        yield
    except GlacierProviderError as error:
        if error.retryable:
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def number_of(value: Any, name: str, task_id: str) -> int:
    """Return a number that an earlier task hands on; raise IllegalMove when it handed on none."""
    if isinstance(value, int | str) and str(value).isdecimal():
        return int(value)
    raise IllegalMove(
        f"The task {task_id} has not told the {name}: it was marked, skipped or cleared by hand.",
        hint=f"Clear the task {task_id} with those that follow it.",
    )


def range_of(value: Any, task_id: str) -> ArchiveRange:
    """Return a range of archives that an earlier task hands on; raise IllegalMove when it handed on none."""
    from glacier_provider.catalog.archives import ArchiveRange

    try:
        return ArchiveRange.from_dict(value)
    except (KeyError, TypeError, ValueError) as error:
        raise IllegalMove(
            f"The task {task_id} has not told which archives are meant: it was marked or skipped by hand.",
            hint=f"Clear the task {task_id} with those that follow it.",
        ) from error


def run_of(context: Context) -> Run:
    """Return the Airflow run of a task's context."""
    from glacier_provider.catalog.backups import Run

    run: Any = context["dag_run"]
    return Run(dag_id=run.dag_id, dag_run_id=run.run_id)


def skip_unless(wanted: bool | str) -> None:
    """Skip the task that is not wanted, as a template says; raise ConfigurationError for neither true nor false."""
    from glacier_provider.core.params import truth

    if not truth(wanted, "wanted"):
        raise AirflowSkipException("This run is not to do it.")


def refuse_unknown_params(context: Context, known: Sequence[str] | None) -> None:
    """Raise ConfigurationError for a param of the run that is none of those known; None: whatever it has."""
    from glacier_provider.core.params import refuse_unknown

    if known is not None:
        refuse_unknown(context["params"], known)


def is_last_try(context: Context) -> bool:
    """Whether Airflow will not try this task again by itself."""
    task_instance: Any = context["ti"]
    return bool(task_instance.try_number > task_instance.max_tries)


def emit_asset_event(operator: BaseOperator, context: Context, extra: Mapping[str, Any]) -> None:
    """Put figures on the events of the operator's outlets."""
    events: Any = context["outlet_events"]
    for asset in operator.outlets:
        events[asset].extra = dict(extra)


def record_failure(context: Context) -> None:
    """Note in the catalog that a backup or restore run failed, and why; for `on_failure_callback`."""
    _record_failure(context)  # a call and no more: Airflow reads a callback's source whenever it parses a DAG


def _record_failure(context: Context) -> None:
    """When the catalog itself cannot be reached, the task log keeps the reason and the next run settles the rest."""
    from glacier_provider.pipelines.shared.failure import note_failure

    task: Any = context["task"]
    error: Any = context.get("exception")
    reason = f"{task.task_id}: {error or 'the task ended without a message'}"
    run, application, is_backup = run_of(context), None, run_of(context).dag_id.startswith(dag_id_of(BACKUP, ""))
    try:
        application = find_application(task.application)
        with Resources(application) as resources:
            note_failure(run, reason, step=step_of(error), catalog=resources.catalog)
            is_backup = is_backup or resources.catalog.backups.of_run(run) is not None
    except GlacierProviderError as trouble:
        log.error("The failure could not be noted in the catalog: %s", trouble)
    except Exception:  # of whatever kind: the monitor is told all the same
        log.exception("The failure could not be noted in the catalog.")
    if application is not None and is_backup:
        ping_failed(application, run, reason)


def run_failed(context: Context) -> None:
    """Note that a run failed, also where no task could tell; for a DAG's `on_failure_callback`."""
    _record_end(context, "failed")


def run_succeeded(context: Context) -> None:
    """Note that a run ended without finishing, its tasks marked by hand; for a DAG's `on_success_callback`."""
    _record_end(context, "success")


def _record_end(context: Context, state: str) -> None:
    """What is complete stays complete, and what a task has told of its failure stays told."""
    from glacier_provider.pipelines.shared.failure import note_end

    dag: Any = context["dag"]
    name = dag.dag_id.partition("__")[2]
    try:
        with Resources(find_application(name)) as resources:
            ended = note_end(run_of(context), state, catalog=resources.catalog)
            if any(one.startswith("backup ") for one in ended):
                reason = f"Its run was over ({state}) before the backup was, and no task told why."
                ping_failed(resources.application, run_of(context), reason)
    except GlacierProviderError as trouble:
        log.error("The end of the run could not be noted in the catalog: %s", trouble)
