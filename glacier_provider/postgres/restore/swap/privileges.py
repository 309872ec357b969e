"""Privileges that pg_restore cannot bring for a user who is no superuser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore import definitions
from glacier_provider.postgres.restore.outcome import FailedStatement
from glacier_provider.postgres.restore.selection import rows_of_members
from glacier_provider.postgres.restore.statements import (
    ROWS,
    change_of_owner,
    closed_schemas,
    definition,
    granted_as,
    schema_of_privileges,
)
from glacier_provider.postgres.restore.target import ROLES
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import quoted

_MAY_NOT_CREATE = """
SELECT nspname, role FROM pg_catalog.pg_namespace, unnest(%s::text[], %s::text[]) AS pair (schema, role)
 WHERE nspname = pair.schema AND NOT has_schema_privilege(role, pg_namespace.oid, 'CREATE')"""

_MAY_FILL = "SELECT has_table_privilege(to_regclass(%s), 'INSERT')"
_MAY_SET = "SELECT has_sequence_privilege(to_regclass(%s), 'UPDATE')"


class Privileges:
    """What a filling does itself beside pg_restore.

    `chains` are entries whose privileges other roles granted: pg_restore would ask for SET SESSION AUTHORIZATION, which
    is a superuser's. And who is given an object has to be allowed to make it in its schema, which is nothing that it
    must have had when it got it: `let_create`, once the schemas are there. `finish` takes that back. What closes a
    schema to its own owner, `closing`, is for the very end. `rows` are those of what extensions make.
    """

    def __init__(self, beside: Server, options: PgRestoreOptions, entries: Sequence[TocEntry]) -> None:
        self._beside, self._entries = beside, entries
        self._let: list[tuple[str, str]] = []
        superuser = self._ask("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")[0][0]
        keeps = options.privileges is Keep.KEEP and not superuser
        closed = closed_schemas(entries) if not superuser else frozenset()
        self.closing = {entry.dump_id: entry for entry in entries if keeps and schema_of_privileges(entry) in closed}
        chains = (entry for entry in entries if keeps and _is_chain(entry))
        self.chains = {entry.dump_id: entry for entry in chains if entry.dump_id not in self.closing}
        members = frozenset() if superuser else rows_of_members(entries)
        self.rows = [entry for entry in entries if entry.dump_id in members]
        given = {(entry.schema, entry.owner) for entry in entries if entry.schema and change_of_owner(entry)}
        others = {pair for pair in given if pair[1] != beside.user}
        self.gives = sorted(others) if options.owner is Keep.KEEP and not superuser else []

    def closed_rows(self) -> Mapping[int, TocEntry]:
        """Return the rows, and values of sequences, of extensions that this user may not bring, by their ids."""
        found: dict[int, TocEntry] = {}
        for entry in self.rows:
            asked = _MAY_FILL if entry.desc == ROWS else _MAY_SET
            if self._ask(asked, (f"{quoted(entry.schema or '')}.{quoted(entry.name)}",))[0][0] is False:
                found[entry.dump_id] = entry
        return found

    def let_create(self) -> None:
        if self.gives:
            schemas, roles = zip(*self.gives, strict=True)
            self._let = [(str(s), str(r)) for s, r in self._ask(_MAY_NOT_CREATE, (list(schemas), list(roles)))]
            for schema, role in self._let:
                self._ask(f"GRANT CREATE ON SCHEMA {quoted(schema)} TO {quoted(role)}")

    def finish(self) -> tuple[FailedStatement, ...]:
        """Grant what others granted, as they did; return what only a role could grant as which this user cannot act."""
        refused: list[FailedStatement] = []
        contents = {entry.dump_id: entry for entry in self._entries}
        by_hand = [*self.chains.values(), *self.closing.values()]
        roles = {str(name): bool(can_act) for name, can_act in self._ask(ROLES)} if by_hand else {}
        for entry in self.chains.values():
            refused += self._grant(entry, contents, roles)
        for schema, role in self._let:
            self._ask(f"REVOKE CREATE ON SCHEMA {quoted(schema)} FROM {quoted(role)}")
        for entry in self.closing.values():
            refused += self._grant(entry, contents, roles)
        return tuple(refused)

    def _grant(
        self, entry: TocEntry, contents: Mapping[int, TocEntry], roles: Mapping[str, bool]
    ) -> Iterator[FailedStatement]:
        text, left = granted_as(definition(entry, contents), roles)
        self._ask(f"BEGIN;\n{text}\nCOMMIT")
        if left:
            reason = f"a role as which {self._beside.user} cannot act granted this"
            yield FailedStatement(str(entry), reason, "\n".join(left))

    def _ask(self, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[object, ...]]:
        doing = "giving privileges in the new database"
        with self._beside.connect(autocommit=True, bare=True) as connection, database_errors(self._beside, doing):
            cursor = connection.execute(statement.encode("utf-8", "surrogateescape"), parameters)
            return cursor.fetchall() if cursor.description else []


def _is_chain(entry: TocEntry) -> bool:
    return entry.desc == "ACL" and any(part.is_word("AUTHORIZATION") for part in definitions.tokens(entry.definition))
