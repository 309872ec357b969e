"""Alembic's entry: runs the migrations on the connection and schema that `migrate` hands over."""

from __future__ import annotations

from alembic import context

from glacier_provider.catalog.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=context.config.attributes["schema"],
    transactional_ddl=True,
)
context.run_migrations()
