"""Restore a PostgreSQL application's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glacier_provider.operators.base import GlacierOperator, number_of, refuse_unknown_params, run_of, skip_unless

if TYPE_CHECKING:
    from airflow.sdk import Context


class SelectivePgRestoreOperator(GlacierOperator):
    """Restore the staged dump of a restore in one transaction, without the catalog and what else is excluded.

    The dump's table of contents is edited by exact identity; what excluded and restored objects have to do with each
    other is found out before anything is changed. Return a dict of `restored`, `removed` (entries) and `warnings`.
    """

    template_fields: Sequence[str] = ("application", "restore_id")
    ui_color = "#fce5cd"

    def __init__(self, *, restore_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.restore_id = restore_id

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            return restore.restore_database(
                r.application,
                number_of(self.restore_id, "restore's id", "plan_restore"),
                catalog=r.catalog,
                server=r.server,
                elsewhere=r.elsewhere,
            )

    def on_kill(self) -> None:
        from glacier_provider.postgres import terminate_tools

        terminate_tools()


class UndoDatabaseOperator(GlacierOperator):
    """Bring back the database that a restore replaced, out of the dump that it made of it: the last one, or `dump`.

    What was written since is gone. The task is skipped unless it is `wanted`, and fails when the run has a param that
    is not among `params_known`: a misspelt one must not bring back what was not meant. Return a dict of `restored`,
    `removed` (entries) and `warnings`.
    """

    template_fields: Sequence[str] = ("application", "restore_id", "dump", "wanted")
    ui_color = "#fce5cd"

    def __init__(
        self,
        *,
        restore_id: int | str,
        dump: str | None = None,
        wanted: bool | str = True,
        params_known: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.restore_id = restore_id
        self.dump = dump
        self.wanted = wanted
        self.params_known = params_known

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.core.params import restore_id_of
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            refuse_unknown_params(context, self.params_known)
            skip_unless(self.wanted)
            return restore.undo_database(
                r.application,
                restore_id_of(self.restore_id),
                catalog=r.catalog,
                server=r.server,
                path=self.dump or None,
                run=run_of(context),
            )

    def on_kill(self) -> None:
        from glacier_provider.postgres import terminate_tools

        terminate_tools()
