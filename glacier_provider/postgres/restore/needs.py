"""What a dump needs of the server that it is restored into, kept with its backup: asked before anything is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from glacier_provider.core.text import names
from glacier_provider.errors import MissingExtensions, MissingRoles, RestoreFailed, ToolMissing
from glacier_provider.postgres.cluster.tablespaces import check_tablespaces
from glacier_provider.postgres.dump.toc import Toc
from glacier_provider.postgres.restore.plan import MOST_OF_THE_LOCKS, locks_to_make, refuse_crossings
from glacier_provider.postgres.restore.roles import named_roles, of_the_database
from glacier_provider.postgres.restore.selection import Selection
from glacier_provider.postgres.restore.statements import SETTINGS
from glacier_provider.postgres.restore.swap import check_swap
from glacier_provider.postgres.restore.target import Target, inspect, selection_setting
from glacier_provider.postgres.tools.find import Version, compressions, tools_for
from glacier_provider.postgres.tools.options import Exclusions, Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors, require_primary


@dataclass(frozen=True, slots=True)
class Needs:
    """What a dump needs: a server's major version at least, a client that reads its compression, and by name what a
    database cannot bring itself. `owners` and `grantees` only as far as they are kept, `others` always: policies name
    them. `locks` is about how many a transaction takes that makes all of it.
    """

    server_version: str = ""
    compression: str = "none"
    owners: tuple[str, ...] = ()
    grantees: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    tablespaces: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    locks: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Needs:
        """Return what `as_dict` gave, after JSON; a backup that noted none needs nothing that is known."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in kept.items() if name in known
        }
        return cls(**values)


def needs_of(toc: Toc) -> Needs:
    """Return what a dump needs, by its table of contents."""
    entries = [each for each in toc.entries if each.desc not in SETTINGS and not of_the_database(each)]
    owners, kept = named_roles(entries, PgRestoreOptions())
    _, others = named_roles(entries, PgRestoreOptions(Keep.DROP, Keep.DROP))
    return Needs(
        server_version=toc.header.server_version,
        compression=toc.header.compression,
        owners=tuple(sorted(owners)),
        grantees=tuple(sorted(kept - owners - others)),
        others=tuple(sorted(others)),
        tablespaces=tuple(sorted({each.tablespace for each in entries if each.tablespace})),
        extensions=tuple(sorted(each.name for each in entries if each.desc == "EXTENSION")),
        locks=locks_to_make(entries),
    )


def check_restore(
    server: Server,
    needs: Needs,
    options: PgRestoreOptions,
    *,
    selection: Selection,
    exclusions: Exclusions,
    swap: bool,
    catalog_schema: str,
    pg_bin_directory: str | Path | None = None,
    roles_are_created: bool = False,
) -> None:
    """Return when a restore would be begun, as far as is known before the dump is at hand; change nothing.

    Raise what `plan_database_restore` and `check_swap` raise, and RestoreFailed when one transaction would need many
    more locks than the server has room for.
    """
    _check_client(server, needs, pg_bin_directory)
    if swap:
        check_swap(server, catalog_schema=catalog_schema)
    with server.connect() as connection, database_errors(server, "looking at the target database"):
        require_primary(connection, server)
        connection.rollback()
        connection.read_only = True
        target = inspect(connection, selection_setting(selection, exclusions))
        _check_version(needs, target)
        _check_extensions(needs, target)
        if not roles_are_created:
            _check_roles(needs, target, options)
        if options.tablespaces is Keep.KEEP:
            check_tablespaces(connection, target.user, needs.tablespaces)
    if not swap and selection.tables is None:
        refuse_crossings(target)
        _check_locks(needs, target)


def _check_client(server: Server, needs: Needs, pg_bin_directory: str | Path | None) -> None:
    tools = tools_for(server, pg_bin_directory, compression=needs.compression)
    if needs.compression not in compressions(tools):
        raise ToolMissing(
            f"The dump is compressed with {needs.compression}, which {tools} cannot read.",
            hint=f"Use client tools built with {needs.compression}: set pg_bin_directory in applications.yaml.",
        )


def _check_version(needs: Needs, target: Target) -> None:
    dumped = Version.parse(needs.server_version)
    if dumped and dumped.major > target.version.major:
        raise RestoreFailed(
            f"The dump is of PostgreSQL {dumped}, the target server is the older {target.version}.",
            hint=f"Nothing was changed. Restore into a server of version {dumped.major} or newer.",
        )


def _check_extensions(needs: Needs, target: Target) -> None:
    missing = [name for name in needs.extensions if name not in target.extensions]
    if missing:
        raise MissingExtensions(f"The target server cannot create the extensions {names(missing)}.")


def _check_roles(needs: Needs, target: Target, options: PgRestoreOptions) -> None:
    named = {*needs.others, *(needs.owners if options.owner is Keep.KEEP else ())}
    named |= set(needs.grantees if options.privileges is Keep.KEEP else ())
    missing = sorted(named - target.roles.keys())
    if missing:
        raise MissingRoles(
            f"The target cluster does not have the roles {names(missing)}.",
            hint="Nothing was requested or changed. Create the roles, or have them created with restore.roles: create.",
        )


def _check_locks(needs: Needs, target: Target) -> None:
    locks = needs.locks + target.locks_to_drop
    if needs.locks and locks > MOST_OF_THE_LOCKS * target.locks:
        raise RestoreFailed(
            f"A restore in one transaction takes about {locks:,} locks, and the server has room for {target.locks:,}.",
            hint="Nothing was requested or changed. Set restore.mode to swap or auto, or raise "
            "max_locks_per_transaction on the server.",
        )
