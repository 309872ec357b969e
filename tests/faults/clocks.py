"""One clock for all: the store's, the catalog's and the product's own move together, by hours or by months.

The catalog asks PostgreSQL for the time; functions of the same names in its own schema, which its sessions find first,
answer with the time of the store. Modules of the product ask `datetime`; a stand-in answers them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any

from glacier_provider.pipelines.backup import scan
from glacier_provider.postgres import Server

SCHEMA = "glacier_catalog"
ROOMS = tuple(f"glacier_provider.{room}." for room in ("pipelines", "stores", "catalog", "core"))

_AHEAD = """
CREATE SCHEMA IF NOT EXISTS soak;
CREATE TABLE IF NOT EXISTS soak.clock (ahead interval NOT NULL);
INSERT INTO soak.clock SELECT '0' WHERE NOT EXISTS (SELECT FROM soak.clock);
"""
_FUNCTION = """
CREATE OR REPLACE FUNCTION glacier_catalog.{}() RETURNS timestamptz LANGUAGE sql VOLATILE AS
$$ SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM soak.clock) $$
"""
_DEFAULTS = """
SELECT format('ALTER TABLE glacier_catalog.%I ALTER %I SET DEFAULT glacier_catalog.clock_timestamp()',
              c.relname, a.attname)
  FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.adnum
 WHERE c.relnamespace = 'glacier_catalog'::regnamespace
   AND pg_get_expr(d.adbin, d.adrelid) ~ '^(now|clock_timestamp)\\(\\)$'
"""


class _AnyDatetime(type):
    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, datetime)


class _Ahead(datetime, metaclass=_AnyDatetime):
    """What modules of the product have for `datetime`."""

    by: Callable[[], float] = staticmethod(lambda: 0.0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.now(tz) + timedelta(seconds=cls.by())


class Clocks:
    """Moves the clocks of this process, of those that it forks, and of catalogs, by what `ahead` returns in seconds."""

    def __init__(self, ahead: Callable[[], float]) -> None:
        self._ahead = ahead
        self._moved: list[tuple[Any, str, Any]] = []

    def start(self) -> None:
        _Ahead.by = staticmethod(self._ahead)
        for name, module in list(sys.modules.items()):
            if name.startswith(ROOMS) and getattr(module, "datetime", None) is datetime:
                self._set(module, "datetime", _Ahead)
        self._set(scan, "time", SimpleNamespace(time=lambda: time.time() + self._ahead()))

    def _set(self, module: Any, name: str, value: Any) -> None:
        self._moved.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def stop(self) -> None:
        while self._moved:
            setattr(*self._moved.pop())

    def make_catalog(self, server: Server) -> None:
        """Give a catalog whose schema is new a clock that can be set."""
        with server.connect(autocommit=True) as connection:
            connection.execute(_AHEAD)
            for name in ("clock_timestamp", "now"):
                connection.execute(_FUNCTION.format(name))  # type: ignore[call-overload]
            for (statement,) in connection.execute(_DEFAULTS).fetchall():
                connection.execute(statement)

    def set_catalog(self, ask: Callable[..., object]) -> None:
        """Have a catalog's clock show what the others show; `ask` runs a statement in it."""
        ask("UPDATE soak.clock SET ahead = make_interval(secs => %s)", self._ahead(), catalog=True)
