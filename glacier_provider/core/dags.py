"""The DAGs of an application: their kinds, and the ids by which Airflow knows them."""

from __future__ import annotations

BACKUP, RESTORE, DELETE, UNDO = "backup", "restore", "delete", "undo"
VERIFY, DRILL, DOCTOR = "verify", "drill", "doctor"

#: The DAG that calls people, one for all applications.
ALERTS = "glacier_alerts"

KINDS = (BACKUP, RESTORE, DELETE, UNDO, VERIFY, DRILL, DOCTOR)


def dag_id_of(kind: str, application: str) -> str:
    """Return the id of an application's DAG of a kind.

    >>> dag_id_of(BACKUP, "library")
    'glacier_backup__library'
    """
    assert kind in KINDS, kind
    return f"glacier_{kind}__{application}"


def all_dag_ids(application: str) -> list[str]:
    """Return the ids of all DAGs that an application may have; without a schedule or a section it lacks some."""
    return [dag_id_of(kind, application) for kind in KINDS]
