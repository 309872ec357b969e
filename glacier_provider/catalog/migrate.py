"""Bring the catalog's schema to this package's version, by Alembic, under an advisory lock.

Every run calls `migrate` first. When the schema is current, that is one SELECT and Alembic is not imported.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from glacier_provider.catalog.database import Connect, catalog_errors
from glacier_provider.catalog.version import check_version, newest_version
from glacier_provider.errors import CatalogError, UnsafeCatalogSchema

if TYPE_CHECKING:
    import psycopg

#: One number for every catalog of a cluster: two first uses at once wait for each other.
ADVISORY_LOCK = 0x676C6163
VERSION_TABLE = "catalog_version"


def current_version(connection: psycopg.Connection[Any], schema: str) -> str | None:
    """Return the version of the schema in the database, or None when there is none."""
    from psycopg import sql

    table = connection.execute("SELECT to_regclass(format('%%I.%%I', %s::text, %s::text))", [schema, VERSION_TABLE])
    if _first(table.fetchone()) is None:
        return None
    version = connection.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(schema, VERSION_TABLE)))
    found = _first(version.fetchone())
    return None if found is None else str(found)


def check(connect: Connect, schema: str) -> None:
    """Return when the schema is current; raise CatalogNotReady otherwise."""
    with catalog_errors(), connect() as connection:
        found = current_version(connection, schema)
    check_version(found, schema)


def migrate(connect: Connect, schema: str) -> str:
    """Create or upgrade the schema; return its version.

    Raise UnsafeCatalogSchema when the schema holds objects but no catalog, CatalogNotReady when it is newer than
    this package.
    """
    newest = newest_version()
    with catalog_errors(), connect() as connection:
        found = current_version(connection, schema)
        if found is not None and found > newest:
            check_version(found, schema)
    if found != newest:
        with catalog_errors():
            _upgrade_saying_what_is_missing(connect, schema)
    return newest


def _upgrade_saying_what_is_missing(connect: Connect, schema: str) -> None:
    """Upgrade; raise psycopg's own error instead of SQLAlchemy's, and CatalogError with the GRANT that is missing."""
    from psycopg.errors import InsufficientPrivilege
    from sqlalchemy.exc import DBAPIError

    try:
        _upgrade(connect, schema)
    except DBAPIError as error:
        if error.orig is None:
            raise
        if not isinstance(error.orig, InsufficientPrivilege):
            raise error.orig from None
        said = str(error.orig).strip().splitlines()[0]
        raise CatalogError(
            f"The catalog's user may not create or upgrade the schema {schema} ({said}).",
            hint=_missing_grant(connect, schema),
        ) from None


def _missing_grant(connect: Connect, schema: str) -> str:
    """Return what the database's owner has to run."""
    asked = (
        "SELECT quote_ident(current_user), quote_ident(current_database()), quote_ident(%(schema)s), "
        "to_regnamespace(quote_ident(%(schema)s)) IS NOT NULL, "
        "(SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = %(schema)s)"
    )
    with connect() as connection:
        row: Any = connection.execute(asked, {"schema": schema}).fetchone()
    user, database, quoted, exists, owner = row.values() if isinstance(row, dict) else row
    if not exists:
        return f"As owner of the database or as superuser: GRANT CREATE ON DATABASE {database} TO {user};"
    return (
        f"The schema belongs to {owner}. Migrate as that role, or as it: ALTER SCHEMA {quoted} OWNER TO {user}; and "
        f"the same for its tables; for a schema that is empty: GRANT USAGE, CREATE ON SCHEMA {quoted} TO {user};"
    )


def _upgrade(connect: Connect, schema: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        _claim_schema(connection, schema)
        config = Config()
        config.set_main_option("script_location", str(files(__package__) / "migrations"))
        config.attributes.update(connection=connection, schema=schema)
        command.upgrade(config, "head")
    engine.dispose()


def _claim_schema(connection: Any, schema: str) -> None:
    """Create the schema, or refuse one that holds something else."""
    from sqlalchemy import text

    foreign = connection.execute(
        text(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema"
            " AND NOT EXISTS (SELECT FROM pg_class v WHERE v.relnamespace = n.oid AND v.relname = :version) LIMIT 1"
        ),
        {"schema": schema, "version": VERSION_TABLE},
    ).scalar()
    if foreign:
        raise UnsafeCatalogSchema(f"The schema {schema} is to hold the catalog, but already holds {foreign}.")
    exists = connection.execute(text("SELECT to_regnamespace(quote_ident(:schema))"), {"schema": schema}).scalar()
    quoted = connection.dialect.identifier_preparer.quote(schema)
    if exists is None:
        connection.execute(text(f"CREATE SCHEMA {quoted}"))
    connection.execute(text(f"SET LOCAL search_path TO {quoted}, pg_catalog"))


def _first(row: Any) -> Any:
    if row is None:
        return None
    return next(iter(row.values())) if isinstance(row, dict) else row[0]
