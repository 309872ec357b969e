"""What client programs say on stderr: whole messages, which of them tells the cause, and none of the secrets. Pure.

A message is a line with the tool's name and a severity, and the lines that belong to it: the server's DETAIL, HINT and
CONTEXT, the statement, the entry of the table of contents that was being restored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

KEPT_LINES = 200
LINE_LENGTH = 2000  # characters; a statement may be as long as the dump

# pg_dump, pg_restore: 'pg_dump: error: ...'. psql of itself: 'psql: error: ...', 'psql:<stdin>:7: error: ...'. psql of
# the server, with VERBOSITY=verbose: 'psql:<stdin>:7: WARNING:  55000: ...', the severity in the server's language, and
# the SQLSTATE of a warning may be that of an error: which of the two it was, only psql's exit status tells.
_ERROR = re.compile(r"^\w+(:<stdin>:\d+)?: (error|fatal): ")
_WARNING = re.compile(r"^\w+: warning: |^psql:<stdin>:\d+: [^\s:]+: {2}(?!00)[0-9A-Z]{5}: ")
_OF_A_TOOL = re.compile(r"^(pg_\w+|psql)(:<stdin>:\d+)?: ")
_MORE = re.compile(r"^\w+: (detail|hint): ")
_BEFORE = re.compile(r"^pg_restore: (while |from TOC entry )")
#: The server's severity, in any language, and its sentence: there are two spaces between them.
_SERVER = re.compile(r"(?:^|[\s:])[^\s:]+: {2}(?P<text>\S.*)")
_PART = re.compile(r"^(?P<name>[A-Z]+): {2}(?P<text>.*)")
# A process writes a line in pieces: its name, a space, the severity, and all the text with its line end. Those of
# several processes (--jobs) come in any order: one line's name and severity may stand before another's text.
_PIECES = re.compile(r"(?:pg_(?:dump|restore):|error: ?|warning: ?|detail: ?|hint: ?| )+")
_PIECE = re.compile(r"(?P<tool>pg_\w+):|(?P<severity>[a-z]+): ?")
#: Texts by which a line's severity is known, whatever stands before them.
_OF_ERRORS = re.compile(r'could not execute query: |COPY failed for table "')
_ABOUT = re.compile(r"from TOC entry \d+; \d+ \d+ ")
_OF_PROGRESS = re.compile(
    r"(?:while (?:INITIALIZING|PROCESSING TOC|FINALIZING):|no item ready|(?:disabling|enabling) triggers for "
    r"|(?:(?:skipping|processing|processing missed|launching|finished) item|transferring dependency) \d"
    r'|(?:creating|executing|dropping|processing data for table|dumping contents of table) .*"'
    r"|(?:entering|finished) (?:main parallel loop|restore_toc_entries_))"
)
# How a line begins that goes on with the message before it.
_GOES_ON = re.compile(r"[A-Z]+( \d+)?: |Command was: |\s|$")
_OWED = 64  # no more processes write at once
# What pg_dump says of itself when it is somebody else who has to say why.
_EMPTY = re.compile(r"worker process died|PQgetResult\(\) failed|unexpectedly$|lost synchronization")
_SECRET = re.compile(
    r"(?i)(?P<name>\b\w*(?:password|passwd|secret)\w*)(?P<between>\s*=\s*|\s+(?=E?'))"
    r"(?P<value>E?''[^']*''(?!')|E?'(?:[^'\\]|''|\\.)*'|[^\s',;)]+)"
)


def is_error(line: str) -> bool:
    """Tell whether a tool's line reports an error of the tool."""
    return bool(_ERROR.match(line))


def is_warning(line: str) -> bool:
    """Tell whether a tool's line is a warning, or a message of the server to psql."""
    return bool(_WARNING.match(line))


class Voices:
    """Gives each line of a tool as the process wrote it whose text it is, where several write to one stderr.

    What stands before a text may be another process's: of a line that has too much of it, the rest is owed to the one
    that has too little, later.

    >>> Voices().alone('pg_restore:pg_restore: error:  COPY failed for table "t": ERROR:  relation "x" does not exist')
    'pg_restore: error: COPY failed for table "t": ERROR:  relation "x" does not exist'
    >>> two = Voices()
    >>> two.alone("pg_dump:pg_dump: finished item 12 TABLE DATA t")
    'pg_dump: finished item 12 TABLE DATA t'
    >>> two.alone(" error: reconnection failed")
    'pg_dump: error: reconnection failed'
    """

    def __init__(self) -> None:
        self._tools: list[str] = []
        self._severities: list[str] = []

    def alone(self, line: str) -> str:
        """Return the line with the name and the severity of its own process and nothing else before its text."""
        begins = _PIECES.match(line)
        text = line[begins.end() :] if begins else line
        found = list(_PIECE.finditer(begins[0])) if begins else []
        tools = [piece["tool"] for piece in found if piece["tool"]]
        severities = [piece["severity"] for piece in found if piece["severity"]]
        if not tools and self._tools and (begins or (self._severities and not _GOES_ON.match(line))):
            tools, self._tools = self._tools, []
        if _OF_ERRORS.match(text):
            said = ["error"]
        elif _ABOUT.match(text) or (tools and _OF_PROGRESS.match(text)):
            said = []
        elif tools:
            said = (severities or self._severities)[:1]
        else:
            return line
        self._tools = (self._tools + tools[1:])[:_OWED]
        self._severities = (self._severities + severities)[:_OWED]
        for severity in said:
            with suppress(ValueError):  # a text by which an error is known came before its severity
                self._severities.remove(severity)
        return ": ".join([tools[0] if tools else "pg_restore", *said, text])


def without_secrets(line: str) -> str:
    """Return a line without passwords that stand in a statement.

    >>> without_secrets("Command was: CREATE USER MAPPING FOR x SERVER y OPTIONS (user 'a', password 'b c');")
    "Command was: CREATE USER MAPPING FOR x SERVER y OPTIONS (user 'a', password ***);"
    """
    lowered = line.lower()
    if "passw" not in lowered and "secret" not in lowered:  # as nearly all lines, of which a tool may say a million
        return line
    return _SECRET.sub(lambda found: f"{found['name']}{found['between']}***", line)


class Conversation:
    """A tool's messages as they come, line by line; no more than `KEPT_LINES` lines of each kind are kept."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self._lines = 0
        self._before: list[str] = []
        self._open = False

    def take(self, line: str) -> str:
        """Add a line to the message that it belongs to, what is no error and no warning is left out; return which."""
        severity = "error" if is_error(line) else "warning" if is_warning(line) else ""
        if severity:
            self._open = self._lines < KEPT_LINES
            if self._open:
                self.messages.append([*self._before, line])
                self._lines += 1 + len(self._before)
            self._before = []
        elif _BEFORE.match(line):
            self._before = [*self._before[-1:], line]
            self._open = False
        elif (self._before or self._open) and _OF_A_TOOL.match(line) and not _MORE.match(line):
            self._before, self._open = [], False
        elif line and self._open and self._lines < KEPT_LINES:
            self.messages[-1].append(line)
            self._lines += 1
        return severity


def conversation(lines: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the errors and warnings in a tool's lines, each with the lines that belong to it."""
    talk = Conversation()
    for line in lines:
        talk.take(line)
    return tuple(tuple(message) for message in talk.messages)


def server_sentence(message: Sequence[str]) -> str | None:
    """Return what the server said in a message, without its severity; None when it says nothing of the server."""
    for line in message:
        if _BEFORE.match(line) or _PART.match(line):
            continue
        if found := _SERVER.search(line):
            return found["text"].strip()
    return None


def telling(messages: Sequence[Sequence[str]]) -> Sequence[str] | None:
    """Return the error that tells the cause: the first with the server's words, else the first that says anything."""
    errors = [message for message in messages if any(map(is_error, message))]
    told: list[Callable[[Sequence[str]], object]] = [server_sentence, lambda message: not _EMPTY.search(_head(message))]
    for tells in told:
        if found := next((message for message in errors if tells(message)), None):
            return found
    return errors[0] if errors else None


def in_one_line(message: Sequence[str]) -> str:
    """Return the important parts of a message: its sentence, what the server said and advised, and of what object."""
    head = _head(message).rstrip(".")
    sentence = server_sentence(message)
    parts = [head] if sentence is None or sentence.rstrip(".") in head else [f"{head}: {sentence.rstrip('.')}"]
    for line in message:
        if (part := _PART.match(line)) and part["name"] in ("DETAIL", "HINT", "CONTEXT"):
            parts.append(f"{part['name']}: {part['text'].rstrip('.')}")
        elif line.startswith("pg_dump: hint: "):
            parts.append(f"HINT: {line.removeprefix('pg_dump: hint: ').rstrip('.')}")
        elif found := re.match(r"pg_restore: from TOC entry \d+; \d+ \d+ (.*)", line):
            parts[0] = f"{parts[0]} (at {found[1]})"
        elif found := re.match(r"(?:pg_dump: detail: )?Command was: (.{1,300})", line):
            parts.append(f"Statement: {found[1].rstrip()}")
    return ". ".join(parts)


def _head(message: Sequence[str]) -> str:
    return next((line for line in message if is_error(line) or is_warning(line)), message[0])
