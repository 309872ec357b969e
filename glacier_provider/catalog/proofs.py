"""What the catalog remembers of the tries of the backups: verifications and drills, one row each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from glacier_provider.catalog.backups import Backups, Run
from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.proof import Finding, ProofKind, state_of
from glacier_provider.core.status import ProofState
from glacier_provider.errors import IllegalMove


class Proofs:
    """The verifications and drills of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def open(
        self,
        kind: ProofKind,
        *,
        method: str,
        run: Run | None = None,
        asked_by: str | None = None,
        backup_id: int | None = None,
    ) -> int:
        """Return the id of the proof of this kind that is under way, or of a new one.

        There is one of a kind at a time: whoever comes next goes on with it, also when that is another run; it keeps
        its method and its backup.
        """
        row = self._db.row(
            "open_proof",
            application_id=self._backups.application_id,
            kind=kind.value,
            method=method,
            dag_id=None if run is None else run.dag_id,
            dag_run_id=None if run is None else run.dag_run_id,
            asked_by=asked_by,
            backup_id=backup_id,
        )
        assert row is not None
        return int(row["id"])

    def found_by(
        self, kind: ProofKind, *, method: str, backup_id: int, figures: Mapping[str, Any], finding: Finding
    ) -> int | None:
        """Note what something else than a proof of this kind came upon, as one that has ended, and return its id.

        None while one of this kind is under way: that tells of it when it ends.
        """
        row = self._db.row(
            "note_ended_proof",
            application_id=self._backups.application_id,
            kind=kind.value,
            method=method,
            backup_id=backup_id,
            state=state_of([finding], failed=False).value,
            figures=_json({method: dict(figures)}),
            findings=_json([{"step": method, **finding.as_dict()}]),
        )
        return None if row is None else int(row["id"])

    def get(self, proof_id: int) -> Row:
        """Return a proof: every column, `figures` and `findings` as values; raise IllegalMove for an unknown one."""
        row = self._db.row("proof", application_id=self._backups.application_id, proof_id=proof_id)
        if row is None:
            raise IllegalMove(f"The catalog knows no verification or drill {proof_id} of this application.")
        return row

    def under_way(self, kind: ProofKind) -> Row | None:
        return self._db.row("proof_under_way", application_id=self._backups.application_id, kind=kind.value)

    def note(
        self,
        proof_id: int,
        step: str,
        *,
        figures: Mapping[str, Any] | None = None,
        findings: Iterable[Finding] = (),
    ) -> None:
        """Note what a step of a proof came to, in the place of what the step told before; figures stand under its name.
        Without any, those that stand there stay.

        Raise IllegalMove when the proof has ended.
        """
        noted = self._db.run(
            "note_proof",
            proof_id=proof_id,
            step=step,
            figures=_json({} if figures is None else {step: dict(figures)}),
            findings=_json([{"step": step, **one.as_dict()} for one in findings]),
        )
        if not noted:
            raise _ended(proof_id)

    def close(self, proof_id: int, *, figures: Mapping[str, Any] | None = None, error: str | None = None) -> Row:
        """End a proof by what its steps found and return it; with an `error`, as one that could not look at all of it.

        Raise IllegalMove when it has ended.
        """
        findings = [Finding.from_dict(one) for one in self.get(proof_id)["findings"]]
        state = state_of(findings, failed=error is not None)
        row = self._db.row(
            "close_proof", proof_id=proof_id, state=state.value, figures=_json(dict(figures or {})), error=error
        )
        if row is None:
            raise _ended(proof_id)
        return row

    def newest(self, kind: ProofKind, *, states: Iterable[ProofState] = tuple(ProofState)) -> Row | None:
        """Return the newest proof of a kind in one of these states."""
        wanted = [state.value for state in states]
        return self._db.row("newest_proof", application_id=self._backups.application_id, kind=kind.value, states=wanted)

    def listed(self, *, kind: ProofKind | None = None, limit: int = 100, offset: int = 0) -> list[Row]:
        """Return proofs, the newest first."""
        return self._db.rows(
            "list_proofs",
            application_id=self._backups.application_id,
            kind=None if kind is None else kind.value,
            limit=limit,
            offset=offset,
        )


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _ended(proof_id: int) -> IllegalMove:
    return IllegalMove(
        f"The verification or drill {proof_id} has ended already.", hint="Begin another one: this one stays as it is."
    )
