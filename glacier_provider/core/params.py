"""Params of DAG runs: numbers and booleans may be given as text, as templates render them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from glacier_provider.errors import ConfigurationError


def refuse_unknown(given: Iterable[str], known: Sequence[str]) -> None:
    """Raise ConfigurationError for a param that there is not.

    Airflow accepts any name in a run's conf; a misspelt `backup_id` would restore the latest backup instead.
    """
    if unknown := [name for name in given if name not in known]:
        raise ConfigurationError(f"There is no param {unknown[0]!r}.", hint=f"The params are {', '.join(known)}.")


def whole_number(given: Any) -> int:
    """Return a whole number given as such or as text; 0 for anything else."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    return int(given) if isinstance(given, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", given) else 0


def backup_id_of(given: Any, *, hint: str) -> int:
    """Return the id of a backup; raise ConfigurationError with `hint` for what is none."""
    number = whole_number(given)
    if not 1 <= number < 2**63:
        raise ConfigurationError(f"backup_id is {given!r}, which is no backup id.", hint=hint)
    return number


def restore_id_of(given: Any) -> int:
    """Return the id of a restore; raise ConfigurationError for what is none."""
    number = whole_number(given)
    if not 1 <= number < 2**63:
        raise ConfigurationError(f"restore_id is {given!r}, which is no restore id.", hint="Give a number, as in 7.")
    return number


def truth(given: Any, name: str) -> bool:
    """Return a boolean given as such or as text; raise ConfigurationError, naming what it is for, otherwise."""
    text = str(given).strip().lower()
    if text not in ("true", "false"):
        raise ConfigurationError(f"{name} is {given!r}.", hint="Give true or false.")
    return text == "true"


def member(kind: Any, given: Any, name: str) -> Any:
    """Return the member of an Enum; raise ConfigurationError, naming what it is for and the known values, otherwise."""
    try:
        return kind(given)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise ConfigurationError(f"{name} is {given!r}.", hint=f"Known values: {known}.") from None
