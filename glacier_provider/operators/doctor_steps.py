"""The task of the DAG `glacier_doctor__<application>`: what can be wrong, seen from a worker that does the backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glacier_provider.core.diagnosis import Judgement
from glacier_provider.hooks.resources import find_application
from glacier_provider.operators.base import GlacierOperator, task_errors

if TYPE_CHECKING:
    from airflow.sdk import Context


class ExamineOperator(GlacierOperator):
    """Look at connections, directories, the store and each permission from here; nothing is changed.

    Return how many findings are `wrong`, `doubtful` and `well`, and the `findings` themselves. They fail no task: who
    asked reads them. What Airflow itself lacks is seen by its API server, not by workers.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.hooks.doctor import examine

        with task_errors():
            found = list(examine(find_application(self.application), of_airflow=False))
        for one in found:
            told = self.log.info if one.judgement is Judgement.WELL else self.log.warning
            told("%s: %s: %s. %s", one.judgement.value, one.about, one.told, one.mend)
        counts = {
            kind: sum(one.judgement is kind for one in found) for kind in Judgement if kind is not Judgement.UNTRIED
        }
        return {
            **{kind.value: count for kind, count in counts.items()},
            "findings": [one.as_dict() for one in found],
        }
