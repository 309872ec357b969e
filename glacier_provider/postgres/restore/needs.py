"""What a dump needs of the server that it is restored into, kept with its backup: asked before anything is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from glacier_provider.errors import RestoreFailed
from glacier_provider.postgres.cluster.tablespaces import check_tablespaces
from glacier_provider.postgres.dump.toc import Toc
from glacier_provider.postgres.restore.plan import (
    MOST_OF_THE_LOCKS,
    check_compression,
    check_dumped_version,
    check_extensions,
    check_roles,
    locks_to_make,
    refuse_crossings,
)
from glacier_provider.postgres.restore.roles import named_roles, of_the_database
from glacier_provider.postgres.restore.selection import Selection
from glacier_provider.postgres.restore.statements import SETTINGS
from glacier_provider.postgres.restore.swap import check_swap
from glacier_provider.postgres.restore.swap.check import check_roles_beside
from glacier_provider.postgres.restore.target import Target, inspect, selection_setting
from glacier_provider.postgres.tools.find import tools_for
from glacier_provider.postgres.tools.options import Exclusions, Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors, require_primary


class Mode(StrEnum):
    """How a database is restored: in one transaction, beside and swapped, or as the server's locks allow."""

    TRANSACTION = "transaction"
    SWAP = "swap"
    AUTO = "auto"


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
    mode: Mode,
    catalog_schema: str,
    pg_bin_directory: str | Path | None = None,
    roles_are_created: bool = False,
) -> None:
    """Return when a restore would be begun, as far as is known before the dump is at hand; change nothing.

    Of a part of the dump it is not known what it needs by name. Raise what `plan_database_restore` and `check_swap`
    raise, and RestoreFailed when one transaction would need many more locks than the server has room for.
    """
    check_compression(tools_for(server, pg_bin_directory, compression=needs.compression), needs.compression)
    if mode is Mode.SWAP:
        check_swap(server, catalog_schema=catalog_schema)
    is_whole = selection.tables is None and not selection.exclude_tables
    is_whole = is_whole and set(selection.exclude_schemas) <= {catalog_schema}
    with server.connect(bare=True) as connection, database_errors(server, "looking at the target database"):
        require_primary(connection, server)
        connection.rollback()
        connection.read_only = True
        target = inspect(connection, selection_setting(selection, exclusions))
        check_dumped_version(needs.server_version, target.version)
        if is_whole:
            check_extensions(needs.extensions, target)
            if not roles_are_created:
                check_roles(_named(needs, options), target, options)
            if mode is Mode.SWAP and options.owner is Keep.KEEP:  # in a new database nothing stays for its owner
                there = [owner for owner in needs.owners if owner in target.roles]
                check_roles_beside(connection, server, there, there)
            if options.tablespaces is Keep.KEEP:
                check_tablespaces(connection, target.user, needs.tablespaces)
    if mode is not Mode.SWAP and selection.tables is None:
        refuse_crossings(target)
        locks = needs.locks + target.locks_to_drop
        if needs.locks and locks > MOST_OF_THE_LOCKS * target.locks:
            _without_locks(
                server, locks, target, may_swap=mode is Mode.AUTO and is_whole, catalog_schema=catalog_schema
            )


def _named(needs: Needs, options: PgRestoreOptions) -> set[str]:
    owners = needs.owners if options.owner is Keep.KEEP else ()
    grantees = needs.grantees if options.privileges is Keep.KEEP else ()
    return {*needs.others, *owners, *grantees}


def _without_locks(server: Server, locks: int, target: Target, *, may_swap: bool, catalog_schema: str) -> None:
    """Return when a swap can be made instead; raise what stands in its way, or that nothing is left."""
    if may_swap:
        check_swap(server, catalog_schema=catalog_schema)
        return
    raise RestoreFailed(
        f"A restore in one transaction takes about {locks:,} locks, and the server has room for {target.locks:,}.",
        hint="Nothing was requested or changed. Raise max_locks_per_transaction on the server; or have the whole "
        "database swapped, with restore.mode swap or auto and nothing left out.",
    )
