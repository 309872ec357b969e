"""A count that people read has its thousands apart: 12,500 archives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "glacier_provider"

_THINGS = (
    "archives|backups|bytes|copies|documents|entries|files|jobs|locks|manifests|messages|more|objects|orphans|parts|"
    "places|rows|sequences|statements|tables"
)
#: What follows a count in a sentence.
_NOUN = re.compile(rf" (?:(?:lost|new|other|unlogged) )?(?:{_THINGS})\b")
_OF_LOG = re.compile(rf"%d{_NOUN.pattern}")


def bare_counts(source: str) -> Iterator[str]:
    """Yield what a module counts before a noun by `{...}` without a format, or by %d; other calls format themselves."""
    tree = ast.parse(source)
    prose = {id(node.body[0].value) for node in ast.walk(tree) if _has_docstring(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                if (
                    isinstance(value, ast.FormattedValue)
                    and value.format_spec is None
                    and not ast.unparse(value.value).startswith("money(")
                    and isinstance(text, ast.Constant)
                    and _NOUN.match(text.value)
                ):
                    yield f"{node.lineno}: {{{ast.unparse(value.value)}}}{text.value}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield from (f"{node.lineno}: {found[0]}" for found in _OF_LOG.finditer(node.value))


def _has_docstring(node: ast.AST) -> bool:
    body = getattr(node, "body", None)
    return isinstance(body, list) and bool(body) and isinstance(body[0], ast.Expr)


def test_counts_before_nouns_have_their_thousands_apart() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{one}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for one in bare_counts(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "write {count:,}, or counted(count, noun)"


def test_the_reader_sees_what_is_bare_and_nothing_else() -> None:
    source = (
        'f"{n} files"\nf"{len(a)} new archives"\nf"{n:,} files"\nf"{n} filesystem"\nlog.info("%d rows", n)\n'
        'def f():\n    "%d files"\n'
    )
    assert list(bare_counts(source)) == ["1: {n} files", "2: {len(a)} new archives", "5: %d rows"]
