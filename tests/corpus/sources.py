"""PostgreSQL's regression tests, from Debian's source packages: their SQL, their data, and the C functions they call.

Nothing of it is kept in the repository: it comes by the apt that the machine has, from the archives that the machine
names, and is built below a cache directory, once.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

#: Debian keeps each version in the release that ships it; the newest is in the one that is never released.
UNRELEASED = "sid"
PROGRAMS = {"apt-get": "apt", "gcc": "gcc", "make": "make", "perl": "perl", "bison": "bison", "flex": "flex"}
_WITHOUT = ("readline", "icu", "zlib")


class NoSources(Exception):
    """The sources cannot be had here; says why, and what to do."""


def regression_tests(major: int, cache: Path) -> Path:
    """Return the built ``src/test/regress`` of a major version, from the cache or made now. Raise NoSources."""
    missing = sorted(package for program, package in PROGRAMS.items() if which(program) is None)
    if missing:
        raise NoSources(f"missing: apt-get install {' '.join(missing)}")
    place = cache.absolute() / f"postgresql-{major}"
    found = place / "built"
    if not found.is_symlink():
        place.mkdir(parents=True, exist_ok=True)
        tree = _unpacked(_downloaded(major, place))
        _build(tree)
        found.symlink_to(tree.name)
    return found / "src" / "test" / "regress"


def _downloaded(major: int, place: Path) -> Path:
    """Have apt bring the source package; an archive may name a version that it no longer, or not yet, has."""
    _run("apt-get", *_options(place), "update")
    wanted = f"postgresql-{major}"
    for version in _versions(wanted, place):
        try:
            _run("apt-get", *_options(place), "source", "--download-only", f"{wanted}={version}", cwd=place)
        except NoSources:
            continue
        archives = [*place.glob(f"{wanted}_{version.split('-')[0]}.orig.tar.*")]
        if archives:
            return archives[0]
    raise NoSources(f"the archives that apt knows here have no source package {wanted}")


def _options(place: Path) -> tuple[str, ...]:
    """Return what has apt look for sources alone, in lists of its own."""
    lists = place / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    named = place / "sources.list"
    if not named.exists():
        named.write_text("".join(f"deb-src {archive} {release} main\n" for archive, release in sorted(_archives())))
    settings = {"Etc::SourceList": named, "Etc::SourceParts": "/dev/null", "State::Lists": lists}
    return tuple(f"-oDir::{name}={value}" for name, value in settings.items())


def _archives() -> set[tuple[str, str]]:
    """Return where packages of this machine come from, with releases; the first one's unreleased packages besides."""
    told = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    found = [(uri, release) for uri, release in (line.split() for line in told.splitlines())]
    if not found:
        raise NoSources("apt knows no archive here; apt-get update")
    return {*found, (found[0][0], UNRELEASED)}


def _versions(package: str, place: Path) -> Iterator[str]:
    """Yield the versions of a source package, the newest first."""
    told = _run("apt-cache", *_options(place), "showsrc", "--only-source", package)
    versions = dict.fromkeys(re.findall(r"^Version: (\S+)", told, flags=re.MULTILINE))
    yield from sorted(versions, key=lambda text: [int(n) for n in re.findall(r"\d+", text)], reverse=True)


def _unpacked(archive: Path) -> Path:
    names = _run("tar", "tf", archive.name, cwd=archive.parent).splitlines()
    _run("tar", "xf", archive.name, "--no-same-owner", cwd=archive.parent)
    return archive.parent / names[0].split("/")[0]


def _build(tree: Path) -> None:
    """Build the functions in C and the runner; no server is made."""
    _run("./configure", *(f"--without-{each}" for each in _WITHOUT), "CFLAGS=-O1", cwd=tree)
    for arguments in (("src/backend", "generated-headers"), ("src/test/regress",), ("contrib/spi",)):
        _run("make", "-s", "-C", *arguments, cwd=tree)


def _run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise NoSources(f"{' '.join(argv[:1] + argv[-2:])} failed: {' '.join(said)}")
    return done.stdout
