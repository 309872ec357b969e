"""Numbers as people read them, in messages and on the command line. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from glacier_provider.core.archive import Amount

#: So many names are kept in a report; the counts in it are always exact.
NAMED = 100


def readable_size(size: int) -> str:
    """Return a size as people read it, in powers of 1000.

    >>> readable_size(999), readable_size(1_500_000)
    ('999 B', '1.5 MB')
    """
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def hours(count: float) -> str:
    """Return hours as people read them.

    >>> hours(5 / 60), hours(12)
    ('5 minutes', '12 hours')
    """
    if count < 1:
        minutes = round(count * 60)
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{count:g} hour{'' if count == 1 else 's'}"


def readable_seconds(seconds: float) -> str:
    """Return a time as people read it.

    >>> readable_seconds(0.4), readable_seconds(380), readable_seconds(7325)
    ('0 s', '6 min 20 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def readable_amount(amount: Amount, noun: str = "archive") -> str:
    """Return how many archives there are and their size.

    >>> readable_amount(Amount(2, 1_500_000))
    '2 archives (1.5 MB)'
    """
    return f"{counted(amount.archives, noun)} ({readable_size(amount.bytes)})"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun.

    >>> counted(1, "file"), counted(12500, "file"), counted(2, "copy"), counted(2, "day")
    ('1 file', '12,500 files', '2 copies', '2 days')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun[-1] == "y" and noun[-2] not in "aeiou" else f"{number:,} {noun}s"


def grouped(number: object) -> str:
    """Return a whole number with its thousands apart; anything else, such as the word `all`, as it is.

    >>> grouped(12500), grouped("all")
    ('12,500', 'all')
    """
    return f"{number:,}" if isinstance(number, int) else str(number)


def in_words(value: object) -> str:
    """Return what a report holds as people read it: names with what they are, things one after another.

    >>> in_words({"rows": 12500, "mode": "counts"}), in_words(["a", None])
    ('rows 12,500, mode counts', 'a; none')
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {in_words(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(in_words, value))
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return grouped(value)


def nearest(word: object, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown word: the known one that was probably meant, or all of them.

    >>> nearest("glacier", ["GLACIER", "STANDARD"]), nearest("x", ["GLACIER", "STANDARD"])
    ("; did you mean 'GLACIER'?", '; there are: GLACIER, STANDARD')
    """
    known = list(known)
    return did_you_mean(word, known) or f"; there are: {', '.join(known)}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return the end of a sentence that asks for the known word that was probably meant, "" where there is none.

    >>> did_you_mean("libary", ["library"]), did_you_mean("shop", ["library"])
    ("; did you mean 'library'?", '')
    """
    from difflib import get_close_matches  # not for whoever makes no mistakes

    by_letters = {one.casefold(): one for one in known}
    close = get_close_matches(str(word).casefold(), by_letters, n=1)
    return f"; did you mean {by_letters[close[0]]!r}?" if close else ""


def plain_text(text: str) -> str:
    r"""Return a text as mails, JSON and databases take it: what cannot be printed is written as Python escapes it, but
    for line breaks and tabs.

    >>> plain_text("caf\udce9\x00.pdf\r\n")
    'caf\\udce9\\x00.pdf\n'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text.replace("\r\n", "\n"))


def names(values: Iterable[str]) -> str:
    """Return names for a message: quoted, at most ten of them.

    >>> names(["a", "ü b"])
    '"a", "ü b"'
    """
    found = list(values)
    shown = ", ".join(json.dumps(name, ensure_ascii=False) for name in found[:10])
    return shown + (f" and {len(found) - 10:,} more" if len(found) > 10 else "")


def some(names: Sequence[str], count: int | None = None, *, most: int = 5) -> str:
    """Return the first of these names, and how many more there are of `count` in all.

    >>> some(["a", "b", "c"], 12, most=2)
    'a, b and 10 more'
    """
    more = (len(names) if count is None else count) - min(most, len(names))
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
