"""Reading the YAML of `applications.yaml` so that what is wrong in one place leaves the other places readable.

A key that is given twice, a tag that nothing is known of and a value that looks like a date and is none stand for
themselves: each becomes an `Unusable` value, which no field takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glacier_provider.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Unusable:
    """A value that YAML cannot tell. `words` say what it is."""

    words: str

    def __repr__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Doubled:
    """A key that stands twice in one mapping: the keys that lead to the mapping, the key and the second one's line."""

    path: tuple[str, ...]
    key: str
    line: int

    def __str__(self) -> str:
        return f"the key {self.key!r} is given twice (again in line {self.line})"


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says, and the keys that are in doubt because they were given twice."""

    value: Any
    doubled: tuple[Doubled, ...]


def read_document(path: Path, *, unreadable_hint: str) -> Document:
    """Return the YAML document of a file; raise ConfigurationError naming file and line where nothing can be read."""
    import yaml

    try:
        content = path.read_bytes()
        loader = _loader()(content)
        try:
            node = loader.get_single_node()
            doubled = tuple(_doubled(node, (), set()))
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except OSError as exc:
        words = f"Cannot read the file of applications {path}: {exc.strerror}."
        raise ConfigurationError(words, hint=unreadable_hint) from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line if exc.problem_mark else 0
        tab = _tab_before_text(content.splitlines(), line)
        what, hint = (f"there is a tab in column {tab}", _SPACES) if tab else (exc.problem, _QUOTE)
        raise ConfigurationError(f"{path}, line {line + 1}: {what}.", hint=hint) from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        if place := _not_utf_8(content):
            raise ConfigurationError(f"{path}, {place} is not UTF-8.", hint=_UTF_8) from exc
        raise ConfigurationError(f"{path} is not YAML: {type(exc).__name__}.") from exc
    for one in doubled:
        if not one.path:
            raise ConfigurationError(f"{path}, line {one.line}: the key {one.key!r} is given twice.", hint=_ONCE)
    return Document(value, doubled)


def _doubled(node: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[Doubled]:
    """Yield what is given twice; a node that aliases lead to again is looked at once."""
    import yaml

    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _doubled(item, path, seen)
        return
    keys: set[str] = set()
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if name in keys and isinstance(key, yaml.ScalarNode):
            yield Doubled(path, name, key.start_mark.line + 1)
        keys.add(name)
        yield from _doubled(value, (*path, name), seen)


def _tab_before_text(lines: list[bytes], number: int) -> int:
    """Return the column of the first tab before a line's text or in the space behind its key, 0 if there is none."""
    line = lines[number] if number < len(lines) else b""
    at = line[: len(line) - len(line.lstrip())].find(b"\t") + 1
    return at or line.partition(b"#")[0].find(b"\t") + 1


def _not_utf_8(content: bytes) -> str:
    """Return line and column of the first byte that is no UTF-8, "" where there is none."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        return f"line {line}: the byte 0x{content[error.start]:02x} in column {column}"
    return ""


_UTF_8 = "Save the file as UTF-8."
_SPACES = "Correct the file: YAML wants spaces where this tab is."
_QUOTE = 'Correct the file; values that begin with @ or * need quotes, as in schedule: "@daily".'
_ONCE = "Correct the file: leave one of the two."


def _loader() -> Any:
    """Return the safe loader, in C where there is one, that makes `Unusable` of what it cannot tell."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Lenient(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if key.tag == "tag:yaml.org,2002:bool":  # `on` and `off` are names here, as in YAML 1.2
                    key.tag = "tag:yaml.org,2002:str"
            return super().construct_mapping(node, deep)

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except ValueError:  # a date or a number by its looks only
                self.recursive_objects.pop(node, None)
                return Unusable(repr(node.value))

    def unknown_tag(_loader: Any, node: Any) -> Unusable:
        return Unusable(f"a value with the tag {node.tag} (line {node.start_mark.line + 1})")

    Lenient.add_constructor(None, unknown_tag)
    return Lenient
