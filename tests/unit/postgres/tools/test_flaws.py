from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.postgres.tools.find import Tools, Version
from glacier_provider.postgres.tools.flaws import known_flaws, security_floor, security_warning


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (Version(18, 7), []),
        (Version(18, 6), ["CVE-2026-116314"]),
        (Version(17, 10), ["CVE-2026-18408", "CVE-2026-116314"]),
        (Version(17, 12), []),
        (Version(16, 16), []),
        (Version(15, 14), ["CVE-2026-6477", "CVE-2026-18408", "CVE-2026-116314"]),
        (Version(14, 25), []),
        (Version(13, 23), ["CVE-2026-6477", "CVE-2026-18408", "CVE-2026-116314"]),
        (Version(12, 0), ["CVE-2025-8714", "CVE-2026-6477", "CVE-2026-18408", "CVE-2026-116314"]),
        (Version(19, 0), []),
    ],
)
def test_the_holes_of_a_version_are_known(version: Version, names: list[str]) -> None:
    assert [flaw.name for flaw in known_flaws(version)] == names


@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_the_floor_has_no_known_hole_and_the_version_below_it_has_one(major: int) -> None:
    floor = security_floor(major)
    assert floor is not None
    assert not known_flaws(floor)
    assert known_flaws(Version(major, floor.minor - 1))


def test_a_warning_names_the_client_the_holes_and_the_version_to_upgrade_to() -> None:
    text = security_warning(Tools(Path("/opt/bin"), Version(17, 10), "found on PATH"))
    assert text is not None
    for each in ("17.10", "/opt/bin", "CVE-2026-18408", "CVE-2026-116314", "17.12 or newer"):
        assert each in text
    assert security_warning(Tools(Path("/opt/bin"), Version(18, 7), "found on PATH")) is None


def test_no_newer_minor_version_of_an_old_major_version_is_promised() -> None:
    text = security_warning(Tools(Path("/opt/bin"), Version(12, 22), "found on PATH"))
    assert text is not None
    assert "version that is maintained" in text
