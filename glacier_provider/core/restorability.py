"""Can a backup be brought back: what the rehearsal on its day found, and how it is told. Pure.

A backup's report has it under `rehearsal`: for its own database (`in_place`) and for an empty one (`new_server`) a
`Outlook` as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

YES, LOSSES, NO, UNKNOWN = "yes", "losses", "no", "unknown"
_WORDS = {YES: "yes", LOSSES: "with losses", NO: "no", UNKNOWN: "not known"}
_PLACES = {"in_place": "Restores into its database", "new_server": "Restores on a new server"}


@dataclass(frozen=True, slots=True)
class Outlook:
    """`verdict` is yes, losses, no or unknown; `why` and `hint` tell of a no; `found` are losses or failures by name.

    `count` is how many there are, of which `found` are the first.
    """

    verdict: str
    why: str = ""
    hint: str = ""
    found: tuple[str, ...] = ()
    count: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in ("", (), 0)}


def cannot_be_brought_back(report: Mapping[str, Any]) -> str | None:
    """Return why a backup cannot be restored into its database, as its rehearsal found; None when it can, or may."""
    found = _verdict(report, "in_place")
    if found.get("verdict") != NO:
        return None
    reasons = "; ".join(_reasons(found))
    return " ".join(part for part in (reasons and f"{reasons}.", found.get("hint")) if part) or "The rehearsal failed."


def restorability(report: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each place that a rehearsal looked at, with reasons; none when there was no rehearsal.

    >>> restorability({"rehearsal": {"in_place": {"verdict": "losses", "found": ["view a: needs b"], "count": 1}}})
    ['Restores into its database: with losses (view a: needs b).']
    """
    return [_sentence(words, found) for place, words in _PLACES.items() if (found := _verdict(report, place))]


def _sentence(words: str, found: Mapping[str, Any]) -> str:
    reasons = _reasons(found)
    told = f" ({'; '.join(reasons)})" if reasons else ""
    hint = f" {found['hint']}" if found.get("hint") else ""
    return f"{words}: {_WORDS.get(str(found['verdict']), found['verdict'])}{told}.{hint}"


def _reasons(found: Mapping[str, Any]) -> list[str]:
    names = list(found.get("found", ()))
    more = found.get("count", 0) - len(names)
    why = [found["why"].rstrip(".")] if found.get("why") else []
    return why + names + ([f"and {more:,} more"] if more > 0 else [])


def _verdict(report: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    rehearsal = report.get("rehearsal")
    found = rehearsal.get(place) if isinstance(rehearsal, Mapping) else None
    return found if isinstance(found, Mapping) and found.get("verdict") else {}
