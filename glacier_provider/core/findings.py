"""What is known of a backup since the day when it was made, as sentences: what it lacks, or holds otherwise. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from glacier_provider.core.text import counted, some

#: In the report of a backup: the patterns of what it left out, by the configuration of its day.
EXCLUDED_FILES = "excluded_files"


def known_of_backup(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each kind of shortfall that the report of a backup tells of.

    >>> list(known_of_backup({"changed_count": 1, "changed": [{"name": "a.pdf"}]}))
    ['Holds an earlier content of 1 file, which had changed without being archived: a.pdf.']
    """
    for key, words in _SHORTFALLS.items():
        count = report.get(f"{key}_count") or 0
        if count:
            names = [one["name"] if isinstance(one, Mapping) else one for one in report.get(key) or ()]
            yield f"{words.format(counted(count, _NOUNS.get(key, 'file')))}: {some(names, count)}."


def told_of_count(members: int, counted_then: int | None) -> Iterator[str]:
    """Yield a sentence when the catalog knows more files of a backup than were counted on its day, or fewer.

    >>> list(told_of_count(3, 5))
    ['The catalog knows 3 files of it, and 5 were counted when it was made: 2 of them cannot be brought.']
    >>> list(told_of_count(6, 5))
    ['The catalog knows 6 files of it, and 5 were counted when it was made.']
    """
    if counted_then is None or members == counted_then:
        return
    told = f"The catalog knows {counted(members, 'file')} of it, and {counted_then:,} were counted when it was made"
    missing = counted_then - members
    yield f"{told}: {missing:,} of them cannot be brought." if missing > 0 else f"{told}."


_SHORTFALLS = {
    "changed": "Holds an earlier content of {}, which had changed without being archived",
    "unarchived_references": "Does not hold {} that the database names",
    "unreadable": "Does not hold {} that could not be read",
    "other_references": "Holds another content of {} than the database says",
    "missing_stores": "Needs what went to {} that cannot be found any more",
}
_NOUNS = {"missing_stores": "store"}
