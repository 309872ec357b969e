"""What the catalog remembers of alerts: who was told what, so that nobody is told twice of the same state."""

from __future__ import annotations

from collections.abc import Sequence

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.alert import Alert
from glacier_provider.core.condition import Event

#: What is over once it has happened: that it is not the case any more says nothing.
_ONCE = (Event.RESTORE_ENDED, Event.RESTORE_FAILED, Event.DELETION, Event.APPROVAL_WAITING)


class Alerts:
    """The alerts of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def claim(self, target: str, alert: Alert) -> bool:
        """Whether this process is the one that tells a target of this state now; `record` has to follow."""
        return self._db.row("claim_alert", **self._key(target, alert)) is not None

    def record(self, target: str, alert: Alert, *, error: str | None = None) -> None:
        """Note that an alert arrived, or why it did not: then it is tried again."""
        self._db.run("record_alert", **self._key(target, alert), error=error)

    def forget(self, but: Sequence[Alert]) -> None:
        """Forget what is over: all but these."""
        self._db.run(
            "forget_alerts",
            application_id=self._backups.application_id,
            events=[one.event.value for one in but],
            states=[one.state for one in but],
            once=[event.value for event in _ONCE],
        )

    def listed(self) -> list[Row]:
        """Return what was told, or could not be, the newest first."""
        return self._db.rows("list_alerts", application_id=self._backups.application_id)

    def _key(self, target: str, alert: Alert) -> Row:
        return {
            "application_id": self._backups.application_id,
            "target": target,
            "event": alert.event.value,
            "state": alert.state,
        }
