"""Where a restore goes when it does not go into the application's own places. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from glacier_provider.core.text import nearest
from glacier_provider.errors import ConfigurationError

_EXAMPLE = '{"database": "library_staging", "files_directory": "/srv/staging/uploads"}'
_LONGEST_NAME = 63  # bytes, as PostgreSQL keeps them
_SHOWN = 200  # characters of what was given
#: Databases that every server has for itself.
_OF_THE_SERVER = ("postgres", "template0", "template1")


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """A database, a directory, or both. `name`: that of one of the application's `restore_targets`, or "".

    With a name alone it is still to be looked up. `postgres_conn_id` None is the application's own connection,
    `database` None the one that the connection names.
    """

    name: str = ""
    postgres_conn_id: str | None = None
    database: str | None = None
    files_directory: str | None = None

    @property
    def takes_database(self) -> bool:
        return bool(self.postgres_conn_id or self.database)

    @property
    def takes_files(self) -> bool:
        return bool(self.files_directory)

    @property
    def is_a_name(self) -> bool:
        return not self.takes_database and not self.takes_files

    def __str__(self) -> str:
        if self.name:
            return self.name
        return " and ".join(filter(None, (self.database or self.postgres_conn_id, self.files_directory)))

    def as_dict(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_given(cls, given: Any) -> RestoreTarget | None:
        """Return the target that a name, a mapping, or the text of one gives; None for nothing.

        Raise ConfigurationError, which says what is wrong and gives an example.
        """
        if isinstance(given, str) and given.lstrip().startswith("{"):
            try:
                given = json.loads(given)
            except (ValueError, RecursionError):
                raise _wrong(given, "which is no JSON") from None
        if given is None or given == "":
            return None
        if isinstance(given, str):
            if not _can_be_kept(given):
                raise _wrong(given, "which is no name: it has a NUL, or is no text in UTF-8")
            return cls(name=given.strip())
        if not isinstance(given, Mapping):
            raise _wrong(given, "which is neither a name nor a mapping")
        return cls._from_mapping(given)

    @classmethod
    def _from_mapping(cls, given: Mapping[Any, Any]) -> RestoreTarget:
        known = [one.name for one in fields(cls)]
        for key, value in given.items():
            if key not in known:
                raise ConfigurationError(
                    f"A restore target has no {key!r}{nearest(key, known[1:])}.", hint=f"Give it as in {_EXAMPLE}."
                )
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise _wrong(value, f"which is no text for {key}")
            if value is not None and not _can_be_kept(value):
                raise _wrong(value, f"which is no {key}: it has a NUL, or is no text in UTF-8")
        target = cls(**{key: value for key, value in given.items() if value is not None})
        _check_database(target.database)
        if target.files_directory is not None and not _is_absolute(target.files_directory):
            raise ConfigurationError(
                f"The files_directory of a restore target is {target.files_directory!r}.",
                hint="Give an absolute path below /, without '..', as in /srv/staging/uploads.",
            )
        if target.is_a_name and not target.name:
            raise _wrong(dict(given), "which names neither a database nor a directory")
        return target


def _can_be_kept(text: str) -> bool:
    """Whether a text has neither a NUL nor half a letter, which the catalog cannot keep."""
    return re.search("[\0\ud800-\udfff]", text) is None


def _is_absolute(path: str) -> bool:
    parts = path.split("/")
    return path.startswith("/") and ".." not in parts and any(one not in ("", ".") for one in parts)


def _check_database(name: str | None) -> None:
    if name is None:
        return
    if name in _OF_THE_SERVER:
        raise ConfigurationError(
            f"The database of a restore target is {name!r}, which every server needs for itself.",
            hint=f"Name one of its own, as in {_EXAMPLE}.",
        )
    if len(name.encode()) > _LONGEST_NAME or re.search(r"[\0-\x1f]", name):
        raise ConfigurationError(
            f"The database of a restore target is {name!r}, which is no name of a database.",
            hint=f"It has at most {_LONGEST_NAME:,} bytes.",
        )


def _wrong(given: Any, why: str) -> ConfigurationError:
    said = repr(given)
    shown = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
    return ConfigurationError(
        f"into is {shown}, {why}.", hint=f"Give the name of one of the application's restore_targets, or {_EXAMPLE}."
    )
