"""Directories of applications that must not lie in each other, or be the same.

Whatever lies among the files of an application is archived with them, and moved aside by its restores; whatever lies in
a staging directory goes with what is staged.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from itertools import count
from typing import TypeVar

from glacier_provider.applications.fields import Fields

_Fields = TypeVar("_Fields", bound=Fields)

_FIELDS = ("files_directory", "orphan_directory", "staging_directory")


def overlaps(applications: Sequence[_Fields]) -> Iterator[tuple[_Fields, str, str, _Fields]]:
    """Yield application, field, a sentence, and whose directory it tells of, for each that is where it must not be.

    Where two applications are in each other's way, both are told of, the one to move with an example: neither may work
    before that is mended.
    """
    files: dict[str, list[_Fields]] = {}
    others: dict[str, list[tuple[_Fields, str]]] = {}
    for each in applications:
        files.setdefault(each.files_directory, []).append(each)
        others.setdefault(each.orphan_directory, []).append((each, "orphan_directory"))
        others.setdefault(each.staging_directory, []).append((each, "staging_directory"))
    told = set()
    for each in applications:
        for field in _FIELDS:
            for wrong, other, its_field in _wrong(each, field, files, others):
                if (each.name, field) not in told:
                    yield each, field, f"{wrong}. Example: {field}: {_free(each, field, applications)}", other
                told.add((each.name, field))
                if other is not each and (other.name, its_field) not in told:
                    sentence = f"must not be, or hold, {_of(each, field)} ({getattr(each, field)})"
                    yield other, its_field, sentence, each


def _wrong(
    each: _Fields, field: str, files: dict[str, list[_Fields]], others: dict[str, list[tuple[_Fields, str]]]
) -> Iterator[tuple[str, _Fields, str]]:
    """Yield what is wrong with where one directory lies, and in which application's directory of which field it is."""
    path = getattr(each, field)
    its_files = field == "files_directory"
    for above in _upwards(path):
        for owner in files.get(above, ()):
            if (its_files and owner is each) or _is_excluded(owner, path):
                continue
            if its_files and above == path:
                if each is not files[path][0]:
                    names = f"{files[path][0].name!r} and {each.name!r}"
                    yield f"{names} both have the files_directory {path}; each needs its own", files[path][0], field
            else:
                place, whose = ("files_directory", "'exclude'") if owner is each else (_of(owner), "its 'exclude'")
                words = f"must not lie inside {place} ({above}), or {whose} must leave it out"
                yield words, owner, "files_directory"
        for holder, name in others.get(above, ()) if its_files and above != path else ():
            place = name if holder is each else _of(holder, name)
            yield f"must not lie inside {place} ({above})", holder, name


def _of(owner: Fields, field: str = "files_directory") -> str:
    return f"{field} of {owner.name!r}"


def _upwards(path: str) -> Iterator[str]:
    """Yield a directory and all that it lies in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _is_excluded(owner: Fields, path: str) -> bool:
    relative = path[len(owner.files_directory) + 1 :]
    above = [f"{name}{end}" for name in _upwards(relative) for end in ("", "/")]
    names = [*above, f"{relative}/x"] if relative else []
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in owner.exclude)


def _free(each: Fields, field: str, applications: Sequence[Fields]) -> str:
    """Return a directory for a field that has nothing to do with any that is taken."""
    taken = {getattr(one, name) for one in applications for name in _FIELDS}
    last = {"files_directory": "uploads", "orphan_directory": "orphan_files", "staging_directory": "staging"}[field]
    names = (f"/srv{number if number > 1 else ''}/{each.name}/{last}" for number in count(1))
    return next(name for name in names if not taken & set(_upwards(name)) and not _lies_above(name, taken))


def _lies_above(directory: str, paths: set[str]) -> bool:
    return any(path.startswith(f"{directory}/") for path in paths)
