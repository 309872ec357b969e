"""pg_amcheck of a database that was restored: whether its tables and indexes are sound, page by page."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from glacier_provider.core.checks import CheckResult
from glacier_provider.core.drill import AMCHECK
from glacier_provider.core.text import NAMED
from glacier_provider.errors import ToolFailed
from glacier_provider.postgres.tools.commands import conninfo
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.run import Tool
from glacier_provider.postgres.tools.server import Server, database_errors

_CORRUPTION = 2  # pg_amcheck's exit status: it looked at everything, and complains
_LONGEST = 300
_RELATIONS = """
SELECT rolsuper, (SELECT count(*) FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'),
       (SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'i', 'm', 't', 'S'))
  FROM pg_catalog.pg_roles WHERE rolname = current_user"""


def check_pages(server: Server, tools: Tools, tell: Callable[[], None]) -> CheckResult | str:
    """Return what pg_amcheck says of a database that is thrown away later: it makes its extension in it.

    A sentence where it cannot be asked: it needs a client that has it, a server with the extension, and a superuser.
    Raise ToolFailed when it does not come to an end.
    """
    program = tools.path("pg_amcheck")
    if not os.access(program, os.X_OK):
        return f"The client in {tools.directory} has no pg_amcheck."
    with server.connect(autocommit=True, bare=True) as connection, database_errors(server, "asking for amcheck"):
        row = connection.execute(_RELATIONS).fetchone()
    is_superuser, available, relations = row if row is not None else (False, 0, 0)
    if not is_superuser:
        return f"pg_amcheck needs a superuser, and {server.user!r} is none."
    if not available:
        return "The server does not have the extension amcheck."
    argv = [program, "--install-missing", "--no-password", conninfo(server.dbname)]
    said: list[str] = []
    with Tool(argv, server.for_tools(), stdout=subprocess.PIPE) as tool:
        stdout = tool.process.stdout
        assert stdout is not None  # asked for by PIPE
        for line in stdout:
            tell()
            if len(said) < NAMED and line.strip():
                said.append(line.decode("utf-8", "replace").strip()[:_LONGEST])
        while not tool.ends_within(1):
            tell()
        ended = tool.ended()
    if ended.status not in (0, _CORRUPTION):
        raise ToolFailed(f"pg_amcheck of {server} failed: {ended.reason}.")
    if ended.status == 0:
        return CheckResult(AMCHECK, relations)
    return CheckResult(AMCHECK, relations, max(1, len(said)), tuple(said))
