from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.postgres.restore import target
from glacier_provider.postgres.restore.script import ScriptCut, names, preamble, without_transaction
from glacier_provider.postgres.restore.selection import Selection
from glacier_provider.postgres.tools.sql import literal

HEAD = (
    b"--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n-- Started on 2026\n\nBEGIN;\n\n"
    b"SET statement_timeout = 0;\nSET transaction_timeout = 0;\nSET client_encoding = 'UTF8';\n\n"
)
ENTRY = b"--\n-- TOC entry 9 (class 2615 OID 16573)\n-- Name: tools; Type: SCHEMA; Schema: -; Owner: a\n--\n\n"
TAIL = b"COMMIT;\n\n-- Completed on 2026\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(
    st.lists(
        st.sampled_from([b"BEGIN;\n", b"COMMIT;\n", b"x" * 3000 + b"\n", b"SET transaction_timeout = 0;\n", b"-- c\n"])
    ),
    st.lists(st.integers(0, 10**6), max_size=8),
)
def test_only_the_scripts_own_begin_and_commit_are_taken_out(lines: list[bytes], cuts: list[int]) -> None:
    body = ENTRY + b"".join(lines) + b"SELECT 1;\n\n"
    script = b"".join(without_transaction(pieces(HEAD + body + TAIL, cuts), server_major=17))
    assert script == HEAD.replace(b"BEGIN;\n", b"") + body + TAIL.replace(b"COMMIT;\n", b"")


def test_a_server_before_17_is_not_asked_for_what_it_does_not_know() -> None:
    body = ENTRY + b"COPY public.t (a) FROM stdin;\nSET transaction_timeout = 0;\n\\.\n\n"
    script = b"".join(without_transaction([HEAD + body + TAIL], server_major=16))
    assert script.count(b"SET transaction_timeout") == 1
    assert b"SET client_encoding = 'UTF8';" in script


@given(st.integers(0, len(HEAD + ENTRY + TAIL) - len(TAIL) + 7))
def test_a_script_without_its_commit_is_cut(length: int) -> None:
    with pytest.raises(ScriptCut):
        b"".join(without_transaction([(HEAD + ENTRY + TAIL)[:length]], server_major=17))


def test_a_commit_within_a_functions_body_does_not_count() -> None:
    body = ENTRY + b"CREATE FUNCTION f() AS $$\nCOMMIT;\n$$;\n"
    with pytest.raises(ScriptCut):
        b"".join(without_transaction([HEAD + body], server_major=17))


def test_the_opening_begins_tells_its_id_drops_and_prepares() -> None:
    selection = target.selection_setting(Selection(exclude_schemas=frozenset({"it's \\ odd"})))
    text = preamble(
        selection=selection,
        lock_timeout_seconds=1.5,
        schemas=['odd"schema'],
        rows=[(("tools", "settings"), "WHERE NOT built_in")],
    )
    assert text.startswith("BEGIN;\n")
    assert "SET LOCAL lock_timeout = 1500;\n" in text
    assert 'CREATE SCHEMA IF NOT EXISTS "odd""schema";\n' in text
    assert text.endswith('DELETE FROM "tools"."settings" WHERE NOT built_in;\n')
    assert literal(selection) in text
    assert "COMMIT" not in text


def test_long_lists_of_names_are_shortened() -> None:
    assert names(["a", "ü b"]) == '"a", "ü b"'
    assert names(map(str, range(12))).endswith('"9" and 2 more')


def test_each_statement_of_the_sql_files_has_a_name_and_a_purpose() -> None:
    assert set(target.target_queries()) == {
        "schemas",
        "crossings",
        "roles",
        "extensions",
        "configuration_tables",
        "foreign_event_triggers",
        "sessions",
    }
    assert all("-- purpose: " in text for text in target.target_queries().values())
    assert target.drop_statement().count("WITH RECURSIVE selection") == 2
