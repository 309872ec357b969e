"""Names of tables: as people write them, and as PostgreSQL spells them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glacier_provider.core.tables import format_table, parse_table
from glacier_provider.errors import ConfigurationError

_IDENTIFIERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(_IDENTIFIERS, _IDENTIFIERS)
@example("public", 'a"b')
@example('"', '""')
@example("My App", "T.1")
@example(" ", "\n")
@example("a.b", 'a"."b')
def test_every_name_comes_back(schema: str, table: str) -> None:
    assert parse_table(format_table(schema, table)) == (schema, table)


@given(_IDENTIFIERS, _IDENTIFIERS, _IDENTIFIERS, _IDENTIFIERS)
def test_different_tables_stay_different(schema: str, table: str, other_schema: str, other_table: str) -> None:
    same = (schema, table) == (other_schema, other_table)
    assert (format_table(schema, table) == format_table(other_schema, other_table)) is same


@given(st.text())
def test_any_text_is_a_table_or_refused(text: str) -> None:
    try:
        schema, table = parse_table(text)
    except ConfigurationError:
        return
    assert schema
    assert table
    assert parse_table(format_table(schema, table)) == (schema, table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("public.documents", ("public", "documents")),
        ("documents", ("public", "documents")),
        ("  audit . log  ", ("audit", "log")),
        ("Documents", ("public", "Documents")),
        ("App.Documents", ("App", "Documents")),
        ('"My App"."T.1"', ("My App", "T.1")),
        ('"a""b"', ("public", 'a"b')),
        ("public.my table", ("public", "my table")),
        ("größe.straße", ("größe", "straße")),
        ("public.t$1", ("public", "t$1")),
        ("public.*", ("public", "*")),  # no pattern: the table of this name
    ],
)
def test_what_people_write(text: str, expected: tuple[str, str]) -> None:
    assert parse_table(text) == expected


@pytest.mark.parametrize(
    "text", ["", "  ", ".", "a.", ".b", "a.b.c", '""', '"a', 'a"', 'a"b', '"a"b', '"a".""', '"""', '"a" "b"', "a\0b"]
)
def test_what_names_no_table_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"names no table.*public\.documents") as caught:
        parse_table(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "table", "expected"),
    [
        ("public", "documents", "public.documents"),
        ("public", "Documents", 'public."Documents"'),
        ("_a1$", "1a", '_a1$."1a"'),
        ("my app", 'a"b', '"my app"."a""b"'),
    ],
)
def test_quotes_stand_where_postgresql_needs_them(schema: str, table: str, expected: str) -> None:
    assert format_table(schema, table) == expected
