"""The steps of the deletion of a backup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glacier_provider.operators.base import GlacierOperator, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class _DeletionOperator(GlacierOperator):
    """A step of a deletion.

    `request` holds the deletion DAG's params (see `DeletionRequest.from_params`); None takes the run's own.
    """

    template_fields: Sequence[str] = ("application", "request")

    def __init__(self, *, request: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request

    def asked(self, context: Context) -> Any:
        """Return the request; raise ConfigurationError when it makes no sense."""
        from glacier_provider.core.deletion import DeletionRequest

        given: Any = self.request if self.request is not None else context["params"]
        return DeletionRequest.from_params(dict(given))


class PlanDeletionOperator(_DeletionOperator):
    """Find out what deleting a backup takes away, and change nothing; return the plan.

    Fails when the deletion is not confirmed or the backup cannot be deleted.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import delete

        with self.opened() as r:
            return delete.plan_confirmed_deletion(r.application, self.asked(context), catalog=r.catalog).as_dict()


class DeleteBackupOperator(_DeletionOperator):
    """Delete a backup with what it alone needs; return the figures. It must be confirmed here as well."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import delete

        with self.opened() as r:
            request = self.asked(context)
            request.check(r.application.name)
            return delete.delete_backup(
                r.application,
                request.backup_id,
                run_of(context),
                catalog=r.catalog,
                stores=r.stores,
                force=request.force,
            )
