"""A person's approval of a restore's plan, where one is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowFailException

from glacier_provider.errors import IllegalMove
from glacier_provider.operators.base import NothingTold, task_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Nothing was asked for while it waits; a plan older than this is better made anew.
PATIENCE = timedelta(days=7)


class ApproveRestoreOperator(NothingTold, ApprovalOperator):
    """Wait, without a worker, until a person approves the plan in Airflow's UI; fail when they reject it.

    `needed` and `lines` are those of `plan_restore`: where no approval is needed the task ends at once.
    """

    template_fields: Sequence[str] = ("application", "needed", "lines")

    def __init__(
        self, *, application: str | Mapping[str, Any], needed: bool | None, lines: Sequence[str] | None, **kwargs: Any
    ) -> None:
        super().__init__(
            subject="Approve the restore?",
            response_timeout=PATIENCE,
            # Airflow would take the time that a task may work for the time that a person may think.
            **{**kwargs, "execution_timeout": None},
        )
        self.application = application
        self.needed = needed
        self.lines = lines

    def execute(self, context: Context) -> Any:
        if self.needed is None or self.lines is None:
            with task_errors():
                raise IllegalMove(
                    "The task plan_restore has not told whether its plan needs an approval: it was marked by hand.",
                    hint="Clear the task plan_restore with those that follow it.",
                )
        if not self.needed:
            self.log.info("No approval is needed: it was not asked for, and no budget is passed.")
            return None
        run: Any = context["dag_run"]
        self.subject = f"Approve the restore {run.run_id}?"
        self.body = "\n".join(f"* {line.strip()}" for line in self.lines)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        if self.REJECT in (event.get("chosen_options") or ()):
            who = (event.get("responded_by_user") or {}).get("name") or "somebody"
            raise AirflowFailException(f"{who} rejected the plan. Nothing was asked for and nothing was changed.")
        return super().execute_complete(context, event)
