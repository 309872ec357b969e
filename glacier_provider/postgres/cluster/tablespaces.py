"""The tablespaces that a dump names: they are directories of a server, and no dump brings them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from glacier_provider.errors import DatabaseRefused, MissingTablespaces
from glacier_provider.postgres.tools.sql import quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

_LOOKED_UP = """
SELECT spcname, has_tablespace_privilege(oid, 'CREATE') OR oid = (
         SELECT dattablespace FROM pg_catalog.pg_database WHERE datname = current_database())
  FROM pg_catalog.pg_tablespace WHERE spcname = ANY(%s)"""


def check_tablespaces(connection: Connection, user: str, names: Iterable[str]) -> None:
    """Return when the server has these tablespaces and `user`, who is connected, may use them.

    Raise MissingTablespaces or DatabaseRefused.
    """
    wanted = sorted(set(names))
    found: dict[str, bool] = dict(connection.execute(_LOOKED_UP, (wanted,)).fetchall()) if wanted else {}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise MissingTablespaces(
            f"The server does not have the tablespaces {', '.join(missing)}, which the dump names."
        )
    refused = [name for name in wanted if not found[name]]
    if refused:
        raise DatabaseRefused(
            f"The user {user!r} may create nothing in the tablespaces {', '.join(refused)}, which the dump names.",
            hint=f"Nothing was changed. GRANT CREATE ON TABLESPACE {', '.join(map(quoted, refused))} TO {quoted(user)};"
            " or restore with restore: {tablespaces: drop}, into the database's own.",
        )
