"""Letting the roles that are given objects make them, until the end of a restore; and the one who restores.

Who is given an object has to be allowed to create in its schema, unless a superuser gives it; and a role can own what
it could not have made: a superuser made it, or it lost that privilege. A schema can be closed to its own owner, too.
"""

from __future__ import annotations

from glacier_provider.postgres.restore.session import RestoringSession
from glacier_provider.postgres.tools.sql import literal, quoted


class Creators:
    """Remembers who was let create in which schema by this restore, and takes that back."""

    def __init__(self) -> None:
        self._let: dict[tuple[str, str], tuple[str, ...]] = {}

    def knows(self, schema: str, role: str) -> bool:
        """Tell whether this was asked before."""
        return (schema, role) in self._let

    def let(self, session: RestoringSession, schema: str, role: str, *privileges: str) -> None:
        """Let a role create in a schema, which is there, where it may not already; or have these privileges."""
        if self.knows(schema, role):
            return
        wanted = privileges or ("CREATE",)
        of_it = f"{literal(role)}, pg_catalog.to_regnamespace({literal(quoted(schema))})"
        asked = ", ".join(f"pg_catalog.has_schema_privilege({of_it}, '{each}')" for each in wanted)
        has = session.text(f"SELECT {asked}")[0]
        lacking = tuple(each for each, has_it in zip(wanted, has, strict=True) if has_it == "f")
        self._let[schema, role] = lacking
        if lacking:
            session.text(f"GRANT {', '.join(lacking)} ON SCHEMA {quoted(schema)} TO {quoted(role)}")

    def let_in(self, session: RestoringSession, schema: str, user: str) -> None:
        """Let the user of this session use and create in a schema of its own that is closed to it."""
        self.let(session, schema, user, "CREATE", "USAGE")

    def no_more(self, session: RestoringSession) -> None:
        """Leave the privileges as they are without this restore."""
        for (schema, role), lacked in self._let.items():
            if lacked:
                session.text(f"REVOKE {', '.join(lacked)} ON SCHEMA {quoted(schema)} FROM {quoted(role)}")
        self._let.clear()
