"""Views that the dump left out, over what it brings: they go with that, and are made again at the end of a restore.

Nothing but the living database has them: pg_dump tells how they are made, with all that belongs to them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from glacier_provider.errors import RestoreFailed
from glacier_provider.postgres.dump.disk import table_of_contents
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore.roles import of_the_database
from glacier_provider.postgres.restore.statements import SETTINGS, in_order
from glacier_provider.postgres.restore.target import Target
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.run import output_of
from glacier_provider.postgres.tools.server import Server

_SECONDS = 300  # pg_dump reads the catalog of the whole database


def views_as_they_are(server: Server, tools: Tools, target: Target) -> list[TocEntry]:
    """Return what makes the views that go and come back, in the order to make it in. Raise RestoreFailed."""
    if not target.rebuilt:
        return []
    reached = server.for_tools()
    with tempfile.TemporaryDirectory(prefix="glacier-") as work:
        path = Path(work) / "views.dump"
        argv = commands.pg_dump_relations(tools, target.rebuilt, database=server.dbname, target=path)
        told = output_of(argv, environment={**reached.environment(), "PGCLIENTENCODING": "UTF8"}, seconds=_SECONDS)
        if told.ended.failed:
            raise RestoreFailed(
                f"The views that the dump left out could not be read: {told.ended.reason.rstrip('.')}.",
                hint="Nothing was changed. Drop these views and make them again after the restore.",
            )
        entries = table_of_contents(path).entries
    return in_order(each for each in entries if each.desc not in SETTINGS and not of_the_database(each))
