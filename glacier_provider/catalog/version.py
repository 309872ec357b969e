"""The catalog's version, as its schema has it and as this package brings it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from glacier_provider.errors import CatalogNotReady


@cache
def newest_version() -> str:
    """Return the version that this package brings."""
    names = [path.name for path in (files(__package__) / "migrations" / "versions").iterdir()]
    return max(name[:4] for name in names if name.endswith(".py") and name[:4].isdigit())


def check_version(found: str | None, schema: str) -> None:
    """Return when a schema's version is that of this package; raise CatalogNotReady with what to do otherwise."""
    newest = newest_version()
    if found is not None and found > newest:
        raise CatalogNotReady(
            f"The catalog schema {schema} is at version {found}; this package knows up to {newest}.",
            hint="Upgrade glacier_provider on this machine to the version that other workers have.",
        )
    if found != newest:
        is_there = f"is at version {found}, not {newest}" if found else "is not there yet"
        raise CatalogNotReady(f"The catalog schema {schema} {is_there}.")
