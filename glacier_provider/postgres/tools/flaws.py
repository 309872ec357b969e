"""Known holes of client programs by which a dump or a server attacks the worker, and what closed them. Pure.

A worker with such a client is warned, not stopped: a backup with it is worth more than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from glacier_provider.postgres.tools.find import Tools, Version


@dataclass(frozen=True, slots=True)
class Flaw:
    """A hole; `fixed` gives the first sound minor version of each major version that was mended."""

    name: str
    what: str
    fixed: Mapping[int, int]

    def is_in(self, version: Version) -> bool:
        """Tell whether a version has it: every one of a major version that was given up before, none of a later one."""
        if version.major < min(self.fixed):
            return True
        return version.minor < self.fixed.get(version.major, 0)


FLAWS = (
    Flaw(
        "CVE-2025-8714",
        "a superuser of the dumped server runs commands where the dump is restored",
        {13: 22, 14: 19, 15: 14, 16: 10, 17: 6},
    ),
    Flaw(
        "CVE-2026-6477",
        "a hostile server overwrites the memory of pg_dump",
        {14: 23, 15: 18, 16: 14, 17: 10, 18: 4},
    ),
    Flaw(
        "CVE-2026-18408",
        "a name in a dump runs commands where its script is restored",
        {14: 24, 15: 19, 16: 15, 17: 11, 18: 6},
    ),
    Flaw(
        "CVE-2026-116314",
        "a crafted dump runs code in pg_restore",
        {14: 25, 15: 20, 16: 16, 17: 12, 18: 7},
    ),
)


def known_flaws(version: Version) -> tuple[Flaw, ...]:
    """Return the holes that a client of this version has, the oldest first."""
    return tuple(flaw for flaw in FLAWS if flaw.is_in(version))


def security_floor(major: int) -> Version | None:
    """Return the first version of a major version that has none of them; None where that one is not mended any more.

    >>> str(security_floor(17)), security_floor(12), str(security_floor(30))
    ('17.12', None, '30.0')
    """
    if any(major < min(flaw.fixed) for flaw in FLAWS):
        return None
    return Version(major, max(flaw.fixed.get(major, 0) for flaw in FLAWS))


def security_warning(tools: Tools) -> str | None:
    """Return what a person should know of these client tools; None when no hole of them is known here."""
    found = known_flaws(tools.version)
    if not found:
        return None
    floor = security_floor(tools.version.major)
    newer = f"PostgreSQL client {floor} or newer" if floor else "the client of a PostgreSQL version that is maintained"
    holes = "; ".join(f"{flaw.name}: {flaw.what}" for flaw in found)
    return f"{tools} has known holes ({holes}). Upgrade to {newer} on this worker."
