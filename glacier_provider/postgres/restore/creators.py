"""Letting the roles that are given objects make them, until the end of a restore.

Who is given an object has to be allowed to create in its schema, unless a superuser gives it; and a role can own what
it could not have made: a superuser made it, or it lost that privilege.
"""

from __future__ import annotations

from glacier_provider.postgres.restore.session import RestoringSession
from glacier_provider.postgres.tools.sql import literal, quoted


class Creators:
    """Remembers who was let create in which schema by this restore, and takes that back."""

    def __init__(self) -> None:
        self._let: dict[tuple[str, str], bool] = {}

    def knows(self, schema: str, role: str) -> bool:
        """Tell whether this was asked before."""
        return (schema, role) in self._let

    def let(self, session: RestoringSession, schema: str, role: str) -> None:
        """Let a role create in a schema, which is there, where it may not already."""
        if self.knows(schema, role):
            return
        asked = f"has_schema_privilege({literal(role)}, to_regnamespace({literal(quoted(schema))}), 'CREATE')"
        may = session.text(f"SELECT pg_catalog.{asked}")[0][0]
        self._let[schema, role] = may == "f"
        if may == "f":
            session.text(f"GRANT CREATE ON SCHEMA {quoted(schema)} TO {quoted(role)}")

    def no_more(self, session: RestoringSession) -> None:
        """Leave the privileges as they are without this restore."""
        for (schema, role), was_let in self._let.items():
            if was_let:
                session.text(f"REVOKE CREATE ON SCHEMA {quoted(schema)} FROM {quoted(role)}")
        self._let.clear()
